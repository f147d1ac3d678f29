"""A small office over a real database, emptied and opened anew for each test."""

import pytest
from office import Office

from trueup import engine
from trueup.store import migrate
from trueup.store.database import Database


@pytest.fixture(scope="module")
def database(database_url):
    """Give a database with our tables and the engine's."""
    migrate.migrate(database_url)
    opened = Database(database_url, size=8).open()
    engine.Engine(opened).prepare()
    yield opened
    opened.close()


@pytest.fixture
def office(database):
    """Give an office with nothing in it."""
    opened = Office(database)
    yield opened
    opened.close()
