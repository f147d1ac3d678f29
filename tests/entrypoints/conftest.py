"""A house over a real database, connected to the simulators, and its web server."""

from dataclasses import replace
from urllib.parse import urlencode

import pytest
from wire import OURS, Api, call

from trueup.entrypoints import bootstrap
from trueup.entrypoints.api import app
from trueup.entrypoints.demo import write_workspace
from trueup.sandbox import host
from trueup.settings import load
from trueup.store import access


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    """All simulators, in a thread."""
    folder = tmp_path_factory.mktemp("firm")
    with host.running(folder / "sandbox", seed=1) as running:
        yield running


@pytest.fixture(scope="module")
def house(sandbox, database_url):
    """A house with the demo firm's rules and an empty database."""
    folder = sandbox.host.folder.parent
    workspace = write_workspace(folder, sandbox.control.firm(), sandbox.control, "127.0.0.1:0")
    settings = replace(load(workspace, {}), database=database_url)
    database = bootstrap.open_database(settings)
    built = bootstrap.build(settings, database)
    yield built
    for system in built.systems.values():
        system.client.close()
    database.close()


@pytest.fixture(scope="module")
def base(house):
    """The web server's address."""
    with app.running(app.create(house)) as url:
        yield url


@pytest.fixture(scope="module")
def api(house, base):
    """Make a caller with some scopes."""

    def make(*scopes: str, name: str | None = None) -> Api:
        with house.database.transaction() as tx:
            return Api(base, access.issue(tx, name or "caller " + " ".join(scopes), scopes))

    return make


@pytest.fixture(scope="module")
def visit(house, base):
    """Make a reader of the pages with some scopes, who follows no redirects."""

    def make(*scopes, name="Ana M"):
        with house.database.transaction() as tx:
            token = access.issue(tx, name, scopes)

        def get(path, **headers):
            return call(base, "GET", path, headers={"Cookie": f"trueup_token={token}", **headers})

        def post(path, fields, **headers):
            body = urlencode(fields, doseq=True).encode()
            return call(base, "POST", path, body, {"Cookie": f"trueup_token={token}", **OURS, **headers})

        get.post = post
        get.token = token
        return get

    return make


@pytest.fixture(scope="module")
def reader(visit):
    """Make calls as a person who sees work and money and may act, whoever they are."""
    person = visit("work:read", "money:read", "act", name="Di")

    def ask(method, path, **fields):
        return person(path) if method == "GET" else person.post(path, fields)

    return ask
