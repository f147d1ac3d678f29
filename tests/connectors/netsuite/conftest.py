"""One simulated account behind real HTTP, with a customer, a project and a person in it."""

import httpx2
import pytest
from netsuite_bodies import FIRM, Web, connect, customer, job

from trueup.sandbox import host


@pytest.fixture
def sandbox(tmp_path):
    with host.running(tmp_path, systems=["netsuite"]) as running:
        running.simulator("netsuite").seed(FIRM)
        yield running


@pytest.fixture
def account(sandbox):
    return sandbox.simulator("netsuite")


@pytest.fixture
def client(sandbox):
    made = connect(sandbox)
    yield made
    made.close()


@pytest.fixture
def web(sandbox):
    """The account's web services, called without our client."""
    connection = sandbox.connection("netsuite")
    with httpx2.Client(base_url=connection.base_url, trust_env=False) as http:
        yield Web(http, connection)


@pytest.fixture
def buyer(web):
    """The id of a German customer."""
    return web.put("customer", "cus_buyer", customer())


@pytest.fixture
def project(web, buyer):
    """The id of the buyer's project."""
    return web.put("job", "prj_plant", job(buyer))
