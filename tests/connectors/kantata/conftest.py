from kantata_office import office  # noqa: F401
