"""A database with a clock that can be turned, for each file."""

import pytest

from trueup.sandbox.rigs.world import Stage


@pytest.fixture(scope="module")
def stage(database_url):
    """The stage simulated runs are played on."""
    made = Stage(database_url)
    yield made
    made.close()
