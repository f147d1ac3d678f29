"""The REST API and the webhook routes."""
