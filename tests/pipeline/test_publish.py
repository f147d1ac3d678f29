"""Business events told to subscribers, over real HTTP: signed, each under its own id, none lost, none told by two."""

import base64
import hashlib
import hmac
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import small_firm
from trueup.connectors.sdk.courier import Courier, Subscriber, refused_address, refused_literal, signature
from trueup.kernel.errors import Broken
from trueup.pipeline import publish
from trueup.pipeline.publish import Publisher
from trueup.store import changes, subscriptions
from trueup.store.changes import Event

KEY = b"0123456789abcdefghijklmnop"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
PATIENCE = 30.0


class Endpoint:
    """Somebody's server: keeps what it was sent, and answers as it is told to."""

    def __init__(self):
        self.calls = []
        self.answers = {}
        self.usual = 200
        self.seconds = 0.0
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                time.sleep(outer.seconds)
                with outer.lock:
                    outer.calls.append((dict(self.headers), body))
                status = outer.answers.get(self.headers["webhook-id"], outer.usual)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", self.path + "elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/events"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ids(self):
        with self.lock:
            return [int(headers["webhook-id"]) for headers, _ in self.calls]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def endpoint():
    made = Endpoint()
    yield made
    made.close()


@pytest.fixture
def house(empty, endpoint, monkeypatch):
    monkeypatch.setattr(publish, "AWAY_SECONDS", (0.2,))
    built = small_firm.build(empty)
    built.subscribers = {"books": Subscriber("books", endpoint.url, SECRET, private_network=True, in_flight=8)}
    with empty.transaction() as tx:
        subscriptions.register(tx, ["books"])
    yield built
    for system in built.systems.values():
        system.client.close()


def about(house, **more):
    """Change what is said of the subscriber."""
    old = house.subscribers["books"]
    fields = {name: getattr(old, name) for name in old.__slots__}
    house.subscribers = {"books": Subscriber(**{**fields, **more})}


@contextmanager
def publishing(house, *workers):
    publishers = [Publisher(house, worker) for worker in workers or ("w1",)]
    threads = [threading.Thread(target=one.run, daemon=True) for one in publishers]
    for thread in threads:
        thread.start()
    try:
        yield publishers
    finally:
        for one in publishers:
            one.stop()
        for thread in threads:
            thread.join(10)


def tell(house, count, name="invoice.posted", subject="inv_a", first=0, kind="invoice"):
    """Let something happen; return the numbers of the events."""
    with house.database.transaction() as tx:
        told = [
            Event(f"{name}/{subject}/{first + n}", name, subject, kind, {"code": f"C{n}", "amount": "1.00"})
            for n in range(count)
        ]
        changes.tell(tx, told)
        return [row["number"] for row in tx.rows("select number from events order by number desc limit %s", (count,))]


def wait(house, wanted, state="told"):
    """Wait until so many sendings are in a state; return them."""
    ends = time.monotonic() + PATIENCE
    while True:
        with house.database.transaction() as tx:
            rows = subscriptions.sendings(tx, "books", state, 10_000)
        if len(rows) == wanted or time.monotonic() > ends:
            assert len(rows) == wanted, rows
            return rows
        time.sleep(0.02)


def test_every_event_is_told_once_as_a_signed_cloud_event(house, endpoint):
    numbers = tell(house, 50)
    with publishing(house):
        wait(house, 50)
    assert sorted(endpoint.ids()) == sorted(numbers)
    headers, body = endpoint.calls[0]
    stamp, number = headers["webhook-timestamp"], headers["webhook-id"]
    right = hmac.new(KEY, f"{number}.{stamp}.".encode() + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(right).decode()}"
    assert abs(int(stamp) - time.time()) < 60
    event = json.loads(body)
    assert (event["specversion"], event["id"], event["type"]) == ("1.0", number, "org.trueup.invoice.posted.v1")
    assert event["data"]["amount"] == "1.00"


def test_only_what_was_asked_for_is_told_and_amounts_of_cost_are_not(house, endpoint):
    about(house, types=("journal.posted",))
    tell(house, 5)
    tell(house, 2, "journal.posted", "jrn_a", kind="journal_reference")
    with publishing(house):
        wait(house, 2)
    said = sorted((json.loads(body)["data"] for _, body in endpoint.calls), key=str)
    assert said == [{"code": "C0"}, {"code": "C1"}]


def test_events_about_one_object_come_in_order_where_that_was_asked_for(house, endpoint):
    about(house, ordered=True)
    endpoint.seconds = 0.005
    for n in range(12):
        tell(house, 3, first=10 * n)
        tell(house, 3, subject="inv_b", first=10 * n)
    with publishing(house, "w1", "w2"):
        wait(house, 72)
    for subject in ("inv_a", "inv_b"):
        order = [int(json.loads(body)["id"]) for _, body in endpoint.calls if json.loads(body)["subject"] == subject]
        assert order == sorted(order)
        assert len(order) == 36


def test_two_workers_tell_no_event_twice(house, endpoint):
    numbers = tell(house, 400)
    with publishing(house, "w1", "w2"):
        wait(house, 400)
    assert sorted(endpoint.ids()) == sorted(numbers)


def test_a_subscriber_that_is_away_is_asked_rarely_and_loses_nothing(house, endpoint):
    endpoint.usual = 503
    numbers = tell(house, 30)
    with publishing(house):
        ends = time.monotonic() + PATIENCE
        while len(endpoint.calls) < 9 and time.monotonic() < ends:
            time.sleep(0.05)
        time.sleep(1.0)
        asked = len(endpoint.calls)
        assert asked <= 24, "after the first calls one at a time asks whether it is back"
        endpoint.usual = 200
        wait(house, 30)
    with house.database.transaction() as tx:
        (state,) = subscriptions.listing(tx)
    assert (state["sent"], state["waiting"], state["failed"], state["unread"], state["misses"]) == (30, 0, 0, 0, 0)
    assert set(endpoint.ids()) == set(numbers)


def test_a_refused_event_holds_up_no_other_and_waits_for_a_person_in_the_end(house, endpoint, monkeypatch):
    monkeypatch.setattr(publish, "RETRY_SECONDS", (0.05, 0.05))
    numbers = tell(house, 10)
    bad = numbers[4]
    endpoint.answers = {str(bad): 400}
    with publishing(house):
        (row,) = wait(house, 1, "failed")
        wait(house, 9)
        assert (row["event"], row["attempts"], row["status"]) == (bad, 3, 400)
        endpoint.answers = {}
        with house.database.transaction() as tx:
            assert subscriptions.resend(tx, "books") == 1
        wait(house, 10)
    assert endpoint.ids().count(bad) == 4


def test_a_redirect_is_a_refusal_and_is_not_followed(house, endpoint):
    endpoint.usual = 302
    tell(house, 1)
    with publishing(house):
        ends = time.monotonic() + PATIENCE
        while not endpoint.calls and time.monotonic() < ends:
            time.sleep(0.02)
        time.sleep(0.3)
    with house.database.transaction() as tx:
        (row,) = subscriptions.sendings(tx, "books", "due", 10)
    assert (row["status"], len(endpoint.calls)) == (302, 1)


def test_who_answers_410_is_told_nothing_more_until_a_person_says_so(house, endpoint):
    endpoint.usual = 410
    tell(house, 20)
    with publishing(house):
        ends = time.monotonic() + PATIENCE
        state = None
        while time.monotonic() < ends and state != "gone":
            with house.database.transaction() as tx:
                state = subscriptions.listing(tx)[0]["state"]
            time.sleep(0.02)
        assert state == "gone"
        asked = len(endpoint.calls)
        time.sleep(0.4)
        assert len(endpoint.calls) == asked
        endpoint.usual = 200
        with house.database.transaction() as tx:
            assert subscriptions.set_state(tx, "books", "active", "")
        wait(house, 20)


def test_what_a_dead_worker_was_sending_goes_out_again_under_the_same_id(house, endpoint):
    (number,) = tell(house, 1)
    with house.database.transaction() as tx:
        (taken,) = subscriptions.claim(tx, "books", 5, "dead", 600, (), ordered=False)
    assert taken.row["number"] == number
    with publishing(house):
        time.sleep(0.3)
        assert not endpoint.calls
        with house.database.transaction() as tx:
            assert subscriptions.release(tx, "dead") == 1
        wait(house, 1)
    assert endpoint.ids() == [number]
    with house.database.transaction() as tx:  # the dead one's word comes too late
        late = subscriptions.Told("books", number, taken.attempts, "failed", 500, "late")
        assert subscriptions.settle(tx, [late]) == 0


def test_an_event_that_is_committed_late_is_told_although_later_ones_were_read_before(house, endpoint):
    with house.database.transaction() as slow:
        changes.tell(slow, [Event("slow", "invoice.posted", "inv_s", "invoice", {"code": "slow"})])
        with publishing(house):
            tell(house, 5)
            time.sleep(0.4)
            assert not endpoint.calls, "nothing is told beyond a transaction that may still commit"
            slow._connection.commit()
            wait(house, 6)
    assert len(set(endpoint.ids())) == 6


PRIVATE = (
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:53aa:64c:0:0:80ff:fffe",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_of_our_own_network_is_called(address):
    assert refused_address(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111"])
def test_a_public_address_is_called(address):
    assert refused_address(address) is None


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "127.1", "0177.0.0.1", "::1"])
def test_an_address_in_disguise_is_an_address(host):
    assert refused_literal(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_of_our_own_network_gets_no_connection(endpoint, host):
    import asyncio

    subscriber = Subscriber("books", endpoint.url.replace("127.0.0.1", host), SECRET)

    async def post():
        courier = Courier()
        try:
            return await courier.post(subscriber, "1", b"{}")
        finally:
            await courier.close()

    reply = asyncio.run(post())
    assert (reply.status, endpoint.calls) == (None, [])
    assert "no public address" in reply.detail


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"url": "http://example.org/x"}, "https"),
        ({"url": "https://10.0.0.1/x"}, "no public address"),
        ({"url": "https://user:word@example.org/x"}, "https://host/path"),
        ({"url": "file:///etc/passwd"}, "https://host/path"),
        ({"secret": "whsec_"}, "secret"),
        ({"secret": "whsec_c2hvcnQ="}, "secret"),
    ],
)
def test_an_unfit_subscriber_is_refused_at_the_start(more, word):
    fields = {"name": "books", "url": "https://example.org/x", "secret": SECRET}
    Subscriber(**fields).check()
    with pytest.raises(Broken, match=word):
        Subscriber(**{**fields, **more}).check()


def test_the_secret_is_shown_to_nobody():
    assert SECRET not in repr(Subscriber("books", "https://example.org/x", SECRET))
    assert signature(KEY, "1", "2", b"3") != signature(KEY, "1", "2", b"4")
