"""One simulated account for each test, behind real HTTP."""

import pytest
from bamboo_account import Account

from trueup.sandbox import host


@pytest.fixture
def account(tmp_path):
    with host.running(tmp_path, systems=["bamboohr"]) as sandbox:
        made = Account(sandbox)
        yield made
        for client in made.clients:
            client.close()
