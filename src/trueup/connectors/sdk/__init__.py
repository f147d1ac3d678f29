"""The only way out over HTTP, and the kit every connector is built from."""
