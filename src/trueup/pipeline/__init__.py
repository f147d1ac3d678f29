"""The five verbs: receive, ingest, deliver, reconcile, replay."""
