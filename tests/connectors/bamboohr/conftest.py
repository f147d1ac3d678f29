from bamboo_account import account  # noqa: F401
