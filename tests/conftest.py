"""What tests of several rooms share: one PostgreSQL for the session, and a database of their own for each module."""

import gc
import itertools
import os
import warnings

import psycopg
import pytest
from hypothesis import HealthCheck, settings

import emptied
from trueup.store import embedded

NUMBERS = itertools.count(1)

# A slow machine is no failing test. The same cases are tried each time, so that a red is about a change and not about
# luck; new ones are drawn with TRUEUP_DRAW=1, and by `make laws`.
DRAWS = bool(os.environ.get("TRUEUP_DRAW") or os.environ.get("TRUEUP_LEDGER_SCHEDULES"))
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=not DRAWS)
settings.load_profile("house")


def pytest_collection_modifyitems(items):
    """Let the scenarios begin: they take longest. The runner keeps each file together (`--dist loadfile`)."""
    items.sort(key=lambda item: item.get_closest_marker("scenario") is None)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """Run one embedded PostgreSQL; gives the URL of its first database."""
    folder = tmp_path_factory.mktemp("postgres")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the server is meant to outlive the object that started it
        url = embedded.start(folder)
        gc.collect()
    yield url
    embedded.destroy(folder)


@pytest.fixture(scope="module")
def database_url(postgres):
    """Make an empty database for a module; gives its URL."""
    name = f"test_{next(NUMBERS)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    yield postgres.replace("/trueup?", f"/{name}?")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def database(database_url):
    """Give a module's database with our tables and the engine's."""
    from trueup import engine  # here, because the pure tests need no engine and begin faster without
    from trueup.store import migrate
    from trueup.store.database import Database

    migrate.migrate(database_url)
    opened = Database(database_url, name="test", size=12).open()
    engine.Engine(opened).prepare()
    yield opened
    opened.close()


@pytest.fixture
def empty(database):
    """Empty every table of ours; gives the database."""
    emptied.empty(database)
    return database
