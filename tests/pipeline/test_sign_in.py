"""Signing in to an account that is overloaded, or does not know us: nobody is ever locked out by the hub."""

import sys
import threading
from pathlib import Path

import pytest

from trueup.connectors.netsuite.client import NetSuite
from trueup.connectors.sdk import registry
from trueup.connectors.sdk.wire import Connection
from trueup.kernel.errors import Busy
from trueup.pipeline.pace import SharedBudget
from trueup.sandbox import host
from trueup.store import budgets

sys.path.append(str(Path(__file__).parents[1] / "connectors" / "netsuite"))
from netsuite_bodies import FIRM, customer


@pytest.fixture
def sandbox(tmp_path):
    with host.running(tmp_path, systems=["netsuite"]) as running:
        running.simulator("netsuite").seed(FIRM)
        yield running


@pytest.fixture
def account(sandbox):
    return sandbox.simulator("netsuite")


def connect(database, sandbox, **credentials):
    """One worker's client, over the shared budget."""
    base = sandbox.connection("netsuite")
    connection = Connection(base.system, base.base_url, {**base.credentials, **credentials}, base.token_url, "", {})
    manifest = registry.load("netsuite").manifest
    client = NetSuite(manifest, connection)
    client.read_tries = 1
    client.pace.shared = SharedBudget(database, "erp", manifest.title, manifest.limits)
    return client


def counted(account):
    """Count how often a token is asked for."""
    asked = []
    give = account.sign_in.token

    def token(request):
        asked.append(request)
        return give(request)

    account.sign_in.token = token
    return asked


def open_again(database):
    with database.transaction() as tx:
        tx.run("update budgets set paused_until = null")
        tx.run("update sign_ins set next_at = null")


def test_f14_others_take_four_of_five_slots_and_the_close_still_posts_everything_once(empty, sandbox, account):
    """The overload looks like a failed login; it is waited for, and signing in is not repeated."""
    asked = counted(account)
    clients = [connect(empty, sandbox) for _ in range(2)]
    account.crowd(5, taken=4, takes_seconds=0.02, disguises=True)
    left = [f"cus_{number}" for number in range(24)]
    lock = threading.Lock()
    seen = []

    def post(client):
        while True:
            with lock:
                if not left:
                    return
                key = left.pop()
            try:
                with client.pace.using("posting", "DE01"):
                    client.send("customer", key, customer(companyName=f"Buyer {key}"), None)
            except Busy as busy:
                with lock:
                    seen.append(str(busy))
                    left.append(key)
                open_again(empty)  # the pause itself is shown elsewhere; here it would only take long

    threads = [threading.Thread(target=post, args=(client,)) for client in clients for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=90)
    assert not any(thread.is_alive() for thread in threads)
    assert len(account.store.table("customer")) == 24
    assert any("too many calls at a time" in text for text in seen)
    assert len(asked) <= 2 * len(clients)  # one sign-in and one renewal a worker, whatever the number of refusals
    with empty.transaction() as tx:
        assert tx.value("select slots from budgets") < 4
        assert tx.value("select count(*) from sign_in_failures") == 0
    for client in clients:
        client.close()


def test_a_wrong_credential_stops_the_connector_with_a_clear_message_after_one_attempt(empty, sandbox, account):
    asked = counted(account)
    clients = [connect(empty, sandbox, client_id="nobody-knows-this") for _ in range(3)]
    said = []
    for _ in range(10):
        for client in clients:
            with pytest.raises(Busy) as busy:
                client.get("customer", "1")
            said.append(str(busy.value))
    assert len(asked) == 1
    assert "correct the credentials" in said[-1]
    assert "trueup budget resume erp" in said[-1]
    for client in clients:
        client.close()


def test_corrected_credentials_begin_anew_by_themselves(empty, sandbox, account):
    wrong = connect(empty, sandbox, client_id="nobody-knows-this")
    with pytest.raises(Busy):
        wrong.get("customer", "1")
    right = connect(empty, sandbox)
    assert right.get("customer", "1") is None
    wrong.close()
    right.close()


def test_credentials_that_worked_before_are_tried_at_most_five_times_an_hour(empty, sandbox, account):
    client = connect(empty, sandbox)
    assert client.get("customer", "1") is None
    asked = counted(account)
    account.sign_in._granted = lambda *_: None  # from now on nothing we say is believed
    account.sign_in.revoke()
    for _ in range(30):
        client.auth.forget()
        with pytest.raises(Busy):
            client.get("customer", "1")
        open_again(empty)
    assert len(asked) == budgets.SIGN_INS_AN_HOUR
    with empty.transaction() as tx:
        assert tx.value("select stopped_at is not null from sign_ins")
        assert budgets.resume_sign_in(tx, "erp")
    client.close()


def test_one_worker_signs_in_at_a_time(empty, sandbox):
    with empty.transaction() as tx:
        assert budgets.may_sign_in(tx, "erp", "one", "m").may
        assert not budgets.may_sign_in(tx, "erp", "other", "m").may
        tx.run("update sign_ins set until = clock_timestamp() - interval '1 second'")
        assert budgets.may_sign_in(tx, "erp", "other", "m").may  # the first one died


def test_a_key_that_is_refused_is_sent_once_and_not_again(empty, tmp_path):
    with host.running(tmp_path, systems=["bamboohr"]) as sandbox:
        base = sandbox.connection("bamboohr")
        connector = registry.load("bamboohr")
        asked = []
        answer = sandbox.host.answer
        sandbox.host.answer = lambda *arguments: asked.append(arguments) or answer(*arguments)
        clients = []
        for _ in range(3):
            wrong = Connection(
                base.system, base.base_url, {**base.credentials, "api_key": "not-this-one"}, base.token_url, "", {}
            )
            client = connector.client(connector.manifest, wrong)
            client.pace.shared = SharedBudget(empty, "people", "The HR system", connector.manifest.limits)
            clients.append(client)
        for _ in range(3):
            for client in clients:
                with pytest.raises(Busy) as busy:
                    client.get("employee", "1")
        assert len(asked) == 1
        assert "correct the credentials" in str(busy.value)
        for client in clients:
            client.close()
