"""A small firm's August in a real database, for every question of the read side."""

import pytest

import small_firm
from trueup.store import migrate
from trueup.store.database import Database


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm after its month end; the ERP has refused the cost journal."""
    migrate.migrate(database_url)
    database = Database(database_url).open()
    built = small_firm.build(database)
    yield small_firm.fill(built)
    for system in built.systems.values():
        system.client.close()
    database.close()


@pytest.fixture
def tx(house):
    """One transaction to ask in; nothing of it stays."""
    with house.database.transaction() as tx:
        yield tx
        tx.run("rollback")
