"""The sandbox serves its simulators over real HTTP, goes on after a kill, and delivers its webhooks."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trueup.connectors.sdk.webhook import refuse
from trueup.kernel.errors import Broken, Busy, Unsettled
from trueup.sandbox import host
from trueup.sandbox.chaos import RATES

CONNECTORS = Path(__file__).parent / "connectors"


@pytest.fixture
def acme(tmp_path):
    with host.running(tmp_path / "sandbox", systems=["acme"], extra=[CONNECTORS], seed=7) as sandbox:
        yield sandbox


@pytest.fixture
def client(acme):
    connector = acme.host.connectors["acme"]
    made = connector.client(connector.manifest, acme.connection("acme"))
    yield made
    made.close()


def put(client, key: str) -> None:
    client.call("PUT", f"/things/{key}", json={"name": f"Thing {key}"})


class Inbox:
    """A hub that keeps what it is sent; `answers` are its next statuses, then 202."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.raw: list[bytes] = []
        self.answers: list[int] = []
        self.url = ""

    def wait_for(self, count: int) -> None:
        until = time.monotonic() + 10
        while len(self.bodies) < count and time.monotonic() < until:
            time.sleep(0.01)
        assert len(self.bodies) >= count


@contextmanager
def listening() -> Iterator[Inbox]:
    inbox = Inbox()

    class Hub(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            status = inbox.answers.pop(0) if inbox.answers else 202
            if status < 300:
                inbox.raw.append(raw)
                inbox.headers.append({name.lower(): value for name, value in self.headers.items()})
                inbox.paths.append(self.path)
                inbox.bodies.append(json.loads(raw))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    inbox.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_client_reaches_the_vendors_own_paths_behind_the_prefix(acme, client):
    assert acme.connection("acme").base_url == f"{acme.url}/acme/api"
    put(client, "t1")
    assert client.get("thing", "t1") is not None
    assert client.get("thing", "t2") is None
    assert acme.control.dump()["acme"]["things"]["t1"]["name"] == "Thing t1"
    assert acme.control.writes() == {"acme": {"PUT /api/things/t1": 1}}


def test_credentials_are_for_the_owner_only_and_stay_the_same(tmp_path):
    kept = []
    for _ in range(2):
        with host.running(tmp_path, systems=["acme"], extra=[CONNECTORS]) as sandbox:
            assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600
            kept.append((sandbox.connection("acme").credentials, sandbox.connection("acme").webhook_secret))
    assert kept[0] == kept[1]


def test_a_folder_belongs_to_one_seed(tmp_path):
    with host.running(tmp_path, systems=["acme"], extra=[CONNECTORS], seed=1):
        pass
    with pytest.raises(Broken, match="seed 1"):
        host.Host(tmp_path, url="http://127.0.0.1:1", seed=2, systems=["acme"], extra=[CONNECTORS])


def test_the_switchboard_wants_its_token(acme):
    place = http.client.HTTPConnection("127.0.0.1", int(acme.url.rsplit(":", 1)[1]))
    place.request("GET", "/_control/state", headers={"Authorization": "Bearer guess"})
    assert place.getresponse().status == 401
    place.close()


def test_a_person_acts_and_a_wrong_act_is_explained(acme):
    acme.control.act("acme", "create", table="things", row={"id": "t9"})
    assert acme.control.dump()["acme"]["things"]["t9"]["id"] == "t9"
    assert acme.control.state()["pending_webhooks"] == 1
    for method in ("_routes", "fly"):
        with pytest.raises(Broken, match=f"nobody in acme can {method}"):
            acme.control.act("acme", method)
    with pytest.raises(Broken, match="no fault named fire"):
        acme.control.faults(["fire"])


def test_a_restarted_sandbox_goes_on(tmp_path):
    for round in (1, 2):
        with host.running(tmp_path, systems=["acme"], extra=[CONNECTORS]) as sandbox:
            connector = sandbox.host.connectors["acme"]
            made = connector.client(connector.manifest, sandbox.connection("acme"))
            put(made, "same")
            made.close()
            assert sandbox.control.writes() == {"acme": {"PUT /api/things/same": round}}
            assert sandbox.control.state()["pending_webhooks"] == round


def test_webhooks_arrive_in_order_and_signed(acme, client):
    with listening() as inbox:
        acme.control.hub(inbox.url)
        for number in range(30):
            put(client, f"t{number}")
        inbox.wait_for(30)
        assert [body["id"] for body in inbox.bodies] == [f"t{number}" for number in range(30)]
        assert set(inbox.paths) == {"/hooks/acme"}
        scheme = acme.host.connectors["acme"].manifest.webhook
        secret = acme.connection("acme").webhook_secret
        assert refuse(scheme, secret, inbox.headers[0], inbox.raw[0], time.time()) is None
        until = time.monotonic() + 5
        while acme.control.state()["pending_webhooks"] and time.monotonic() < until:
            time.sleep(0.01)
        assert acme.control.state()["pending_webhooks"] == 0
        acme.control.hub("")


def test_a_webhook_is_sent_again_until_the_hub_takes_it_and_given_up_when_it_says_never(acme, client):
    with listening() as inbox:
        inbox.answers = [500, 503, 429, 202, 410, 202]
        acme.control.hub(inbox.url)
        for key in ("first", "hopeless", "third"):
            put(client, key)
        inbox.wait_for(2)
        assert [body["id"] for body in inbox.bodies] == ["first", "third"]
        acme.control.hub("")


def test_a_broken_connection_is_unsettled_and_the_write_is_there(acme, client, monkeypatch):
    monkeypatch.setitem(RATES, "unk", 1.0)
    acme.control.faults(["unk"])
    with pytest.raises(Unsettled):
        put(client, "lost")
    assert client.get("thing", "lost") is not None
    assert acme.control.writes()["acme"] == {"PUT /api/things/lost": 1}


@pytest.mark.parametrize(("fault", "comes"), [("before", False), ("late", True)])
def test_a_connection_that_breaks_first_leaves_nothing_and_one_that_is_served_late_leaves_it_later(
    acme, client, fault, comes
):
    acme.stage("acme").fault(fault, late_seconds=0.4)
    with pytest.raises(Unsettled):
        put(client, "lost")
    assert client.get("thing", "lost") is None
    ends = time.monotonic() + 5
    while acme.host.late() and time.monotonic() < ends:
        time.sleep(0.02)
    assert (client.get("thing", "lost") is not None) is comes
    assert acme.control.writes()["acme"] == ({"PUT /api/things/lost": 1} if comes else {})


def test_a_sandbox_that_ends_takes_its_late_writes_with_it(tmp_path):
    with host.running(tmp_path, systems=["acme"], extra=[CONNECTORS]) as sandbox:
        connector = sandbox.host.connectors["acme"]
        made = connector.client(connector.manifest, sandbox.connection("acme"))
        sandbox.stage("acme").fault("late", late_seconds=60.0)
        with pytest.raises(Unsettled):
            put(made, "lost")
        made.close()
        assert sandbox.host.late() == 1
    assert sandbox.host.late() == 0


def test_what_a_person_does_in_the_same_process_is_announced_too(acme):
    with listening() as inbox:
        acme.control.hub(inbox.url)
        simulator = acme.simulator("acme")
        with simulator.lock:
            simulator.create("things", {"id": "by hand", "name": "Thing"})
        inbox.wait_for(1)
        acme.control.hub("")


def test_lost_and_repeated_webhooks_are_as_many_as_the_seed_says(acme, client):
    acme.control.faults(["dup", "drop", "ooo"])
    with listening() as inbox:
        for number in range(60):
            put(client, f"t{number}")
        waiting = sorted(acme.simulator("acme").store.table("_outgoing"))
        wanted = sum(acme.host.chaos.deliveries("acme", number) for number in waiting)
        acme.control.hub(inbox.url)
        inbox.wait_for(wanted)
        until = time.monotonic() + 5
        while acme.control.state()["pending_webhooks"] and time.monotonic() < until:
            time.sleep(0.01)
        assert len(inbox.bodies) == wanted
        acme.control.hub("")


@pytest.mark.parametrize("fault", ["429", "5xx"])
def test_a_refused_moment_is_busy_and_nothing_is_there(acme, client, monkeypatch, fault):
    monkeypatch.setitem(RATES, fault, 1.0)
    acme.control.faults([fault])
    with pytest.raises(Busy):
        put(client, "early")
    assert acme.control.writes()["acme"] == {}


def test_as_a_process_it_starts_quickly_and_survives_a_kill(tmp_path):
    # the process finds the built-in connectors only
    from trueup.sandbox import control

    if not host.connectors():
        pytest.skip("no connector with a simulator")
    system = sorted(host.connectors())[0]
    with control.process(tmp_path, systems=[system]) as first:
        before = first.connection(system)
        began = time.monotonic()
    with control.process(tmp_path, systems=[system]) as second:
        assert second.connection(system).credentials == before.credentials
        assert second.state()["systems"] == [system]
        assert time.monotonic() - began < 10
