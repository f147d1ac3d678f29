"""The canonical data model: what the firm talks about."""
