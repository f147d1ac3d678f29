"""A small office over a real database, emptied and opened anew for each test."""

import pytest
from counting import TRIED
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


def pytest_terminal_summary(terminalreporter):
    """Say how many schedules ran and what was done in them."""
    if TRIED["schedules"]:
        verbs = sorted((name, n) for name, n in TRIED.items() if name not in ("schedules", "steps"))
        said = ", ".join(f"{name} {n:,}" for name, n in verbs)
        terminalreporter.write_line(f"laws: {TRIED['schedules']:,} schedules, {TRIED['steps']:,} steps ({said})")
