"""A small firm's August in a real database, for every question of the read side."""

import pytest

import small_firm


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm after its month end; the ERP has refused the cost journal."""
    with small_firm.opened(database_url) as built:
        yield built


@pytest.fixture
def tx(house):
    """One transaction to ask in; nothing of it stays."""
    with house.database.transaction() as tx:
        yield tx
        tx.run("rollback")
