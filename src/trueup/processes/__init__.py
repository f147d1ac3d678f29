"""Durable business processes, one a file."""
