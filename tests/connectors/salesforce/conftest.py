"""One simulated account for each test, behind real HTTP."""

import pytest
from salesforce_org import Org

from trueup.sandbox import host


@pytest.fixture
def org(tmp_path):
    with host.running(tmp_path, systems=["salesforce"]) as sandbox:
        made = Org(sandbox)
        yield made
        for client in made.clients:
            client.close()
