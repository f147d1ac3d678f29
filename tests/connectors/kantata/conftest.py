"""One simulated account for each test, behind real HTTP."""

import pytest
from kantata_office import Office

from trueup.sandbox import host


@pytest.fixture
def office(tmp_path):
    with host.running(tmp_path, systems=["kantata"]) as sandbox:
        made = Office(sandbox)
        yield made
        for client in made.clients:
            client.close()
