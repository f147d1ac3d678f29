"""API, pages, command line, worker: where the house meets people and machines."""
