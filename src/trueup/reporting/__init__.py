"""Questions, each a file: SQL, a row type, a function."""
