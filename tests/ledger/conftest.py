"""A small office over a real database, emptied and opened anew for each test."""

import pytest
from counting import TRIED
from office import Office


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
