"""Vendors' calls: believed or not, kept once, answered after the commit; hostile bytes never break the hub."""

import gc
import json
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from wire import call, raw_call

from trueup.connectors.sdk.webhook import sign
from trueup.entrypoints.api import app, hooks
from trueup.kernel.errors import Busy
from trueup.pipeline.receive import MAX_BYTES, Reception
from trueup.store import embedded, migrate
from trueup.store.database import Database
from trueup.store.inbox import Arrival


@pytest.fixture
def secret(sandbox):
    return lambda system: sandbox.connection(system).webhook_secret


@pytest.fixture
def signed(house, secret):
    def make(system: str, body: bytes, *, at: float | None = None, key: str | None = None) -> dict[str, str]:
        scheme = house.systems[system].connector.manifest.webhook
        stamp = str(int(time.time() if at is None else at))
        headers = sign(scheme, key or secret(system), stamp, body)
        return headers | {"Content-Type": "application/json"}

    return make


def change_event(record: str, entity: str = "Account") -> bytes:
    header = {"entityName": entity, "recordIds": [record], "changeType": "UPDATE"}
    return json.dumps({"schema": "s", "payload": {"ChangeEventHeader": header}, "event": {"replayId": 1}}).encode()


def kept(house, external_id: str) -> list[dict]:
    with house.database.transaction() as tx:
        return tx.rows("select * from inbox where external_id = %s", (external_id,))


def kept_as(house, body: bytes) -> list[dict]:
    with house.database.transaction() as tx:
        return tx.rows("select * from inbox where body = %s", (body,))


def counts(house) -> tuple[int, int]:
    with house.database.transaction() as tx:
        return tx.value("select count(*) from inbox"), tx.value("select count(*) from refused_calls")


def test_an_authentic_call_is_kept_as_it_came(house, base, signed):
    body = change_event("001000000000001AAA")
    answer = call(base, "POST", "/hooks/salesforce", body, signed("salesforce", body))
    assert answer.status == 200
    (row,) = kept(house, "001000000000001AAA")
    assert (row["system"], row["object"], row["lane"], row["origin"]) == ("salesforce", "Account", "notice", "webhook")
    assert row["body"] == body
    assert "x-trueup-signature" not in row["headers"]


def test_a_call_that_comes_again_is_answered_the_same_and_kept_once(house, base, signed):
    body = change_event("001000000000002AAA")
    headers = signed("salesforce", body)
    assert [call(base, "POST", "/hooks/salesforce", body, headers).status for _ in range(3)] == [200, 200, 200]
    (row,) = kept(house, "001000000000002AAA")
    assert row["duplicates"] == 2


def test_a_thousand_calls_at_once_are_all_kept(house, base, signed):
    bodies = [change_event(f"003{number:012d}AAA", "Opportunity") for number in range(300)]
    sent = [(body, signed("salesforce", body)) for body in bodies] * 3
    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(lambda one: call(base, "POST", "/hooks/salesforce", *one).status, sent))
    assert statuses == [200] * 900
    with house.database.transaction() as tx:
        row = tx.row(
            "select count(*) as rows, sum(duplicates) as again from inbox where object = 'Opportunity' and external_id like '003%%'"
        )
    assert (row["rows"], row["again"]) == (300, 600)


def forged(name: str, body: bytes, signed, secret) -> tuple[bytes, dict[str, str] | list[tuple[str, str]]]:
    good = signed("salesforce", body)
    signature = good["X-Trueup-Signature"]
    stamp = good["X-Trueup-Timestamp"]
    now = time.time()
    return {
        "unsigned": (body, {"Content-Type": "application/json"}),
        "tampered body": (body + b" ", good),
        "tampered signature": (body, good | {"X-Trueup-Signature": signature[:-1] + ("0" if signature[-1] != "0" else "1")}),
        "truncated signature": (body, good | {"X-Trueup-Signature": signature[:40]}),
        "no prefix": (body, good | {"X-Trueup-Signature": signature.removeprefix("sha256=")}),
        "another prefix": (body, good | {"X-Trueup-Signature": signature.replace("sha256=", "sha1=")}),
        "endless signature": (body, good | {"X-Trueup-Signature": "sha256=" + "a" * 4000}),
        "not ascii": (body, good | {"X-Trueup-Signature": "sha256=\xe9\xe9"}),
        "another system's secret": (body, signed("salesforce", body, key=secret("netsuite"))),
        "stale": (body, signed("salesforce", body, at=now - 360)),
        "from the future": (body, signed("salesforce", body, at=now + 360)),
        "milliseconds": (body, signed("salesforce", body, at=now * 1000)),
        "no timestamp": (body, {k: v for k, v in good.items() if k != "X-Trueup-Timestamp"}),
        "empty timestamp": (body, good | {"X-Trueup-Timestamp": ""}),
        "float timestamp": (body, good | {"X-Trueup-Timestamp": f"{now:.2f}"}),
        "moved between timestamp and body": (b"1" + body, good | {"X-Trueup-Timestamp": stamp[:-1]}),
        "two signatures": (body, [*good.items(), ("X-Trueup-Signature", "sha256=" + "0" * 64)]),
        "two timestamps": (body, [*good.items(), ("X-Trueup-Timestamp", "0")]),
        "another scheme": (body, {"X-BambooHR-Signature": signature, "X-BambooHR-Timestamp": stamp}),
    }[name]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "unsigned", "tampered body", "tampered signature", "truncated signature", "no prefix", "another prefix",
        "endless signature", "not ascii", "another system's secret", "stale", "from the future", "milliseconds",
        "no timestamp", "empty timestamp", "float timestamp", "moved between timestamp and body", "two signatures",
        "two timestamps", "another scheme",
    ],
)  # fmt: skip
def test_a_call_that_is_not_believed_leaves_nothing_but_a_count(house, base, signed, secret, name):
    before = counts(house)
    body, headers = forged(name, change_event("001000000000009AAA"), signed, secret)
    answer = call(base, "POST", "/hooks/salesforce", body, headers)
    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["status"], problem["retryable"]) == ("call_not_believed", 401, False)
    assert problem["trace_id"]
    assert counts(house) == (before[0], before[1] + 1)
    assert kept(house, "001000000000009AAA") == []


DEEP = b'{"payload":' * 70 + b"1" + b"}" * 70
AUTHENTIC_BUT_WRONG = {
    "A1 empty": b"",
    "A1 whitespace": b"  \n",
    "A2 not UTF-8": b'{"payload": "\xff\xc0\xaf"}',
    "A2 UTF-16": change_event("x").decode().encode("utf-16"),
    "A3 byte order mark": b"\xef\xbb\xbf" + change_event("x"),
    "A4 NUL": b'{"payload": {"ChangeEventHeader": {"entityName": "Account", "recordIds": ["00\\u00001"]}}}',
    "A5 lone surrogate": b'{"payload": {"ChangeEventHeader": {"entityName": "Account", "recordIds": ["\\ud800"]}}}',
    "A6 a key twice": b'{"payload": {}, "payload": {}}',
    "A8 deep": DEEP,
    "A8 100,000 brackets": b"[" * 100_000,
    "A11 NaN": b'{"payload": NaN}',
    "A12 1e400": b'{"payload": 1e400}',
    "A13 5,000 digits": b'{"payload": ' + b"9" * 5000 + b"}",
    "A14 trailing comma": b'{"payload": {},}',
    "A14 trailing bytes": change_event("x") + b"}",
    "A15 prototype": b'{"__proto__": {"payload": 1}}',
    "A17 gzip": bytes.fromhex("1f8b0800000000000003abaee50200430ea64a02000000"),
    "a list": b"[]",
    "a number": b"7",
    "no header": b'{"payload": 7}',
    "ids that are none": b'{"payload": {"ChangeEventHeader": {"entityName": "Account", "recordIds": [null, 7, {}]}}}',
    "an endless id": change_event("0" * 2999 + "1"),
    "markup": change_event("<script>alert(1)</script>"),
    "nothing we read": change_event("00Q000000000001AAA", "Lead"),
    "one megabyte": b'{"a": "' + b"x" * (MAX_BYTES - 9) + b'"}',
}


@pytest.mark.parametrize("body", AUTHENTIC_BUT_WRONG.values(), ids=AUTHENTIC_BUT_WRONG)
def test_an_authentic_call_that_is_wrong_is_kept_and_answered_2xx(house, base, signed, body):
    began = time.monotonic()
    answer = call(base, "POST", "/hooks/salesforce", body, signed("salesforce", body))
    assert answer.status == 200
    assert time.monotonic() - began < 2
    assert len(kept_as(house, body)) == 1


def test_the_content_type_does_not_matter_when_the_call_is_authentic(house, base, signed):
    body = change_event("001000000000010AAA")
    headers = signed("salesforce", body) | {"Content-Type": "text/plain; charset=utf-7"}
    assert call(base, "POST", "/hooks/salesforce", body, headers).status == 200
    assert len(kept(house, "001000000000010AAA")) == 1


@pytest.mark.parametrize("path", ["/hooks/nobody", "/hooks/kantata", "/hooks/", "/hooks/salesforce/x", "/hooks/..%2F"])
def test_a_system_that_does_not_call_is_not_found(base, path):
    answer = call(base, "POST", path, b"{}")
    assert answer.status == 404
    assert answer.json()["code"] == "not_found"


def test_only_post_is_allowed(base):
    answer = call(base, "GET", "/hooks/salesforce")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["code"] == "method_not_allowed"


def test_a_body_over_the_limit_is_refused_before_the_rest_is_read(house, base):
    before = counts(house)
    head = b"POST /hooks/salesforce HTTP/1.1\r\nHost: hub\r\nContent-Length: 60000000\r\n\r\n"
    assert raw_call(base, head).startswith(b"HTTP/1.1 413")
    chunked = b"POST /hooks/salesforce HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n"
    part = b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n"
    assert raw_call(base, chunked + part + b"1\r\nx\r\n").startswith(b"HTTP/1.1 413")
    assert counts(house) == before


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        (b"Content-Length: -1\r\n\r\n", (400,)),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, 401)),
        (b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", (400,)),
        (b"X: " + b"a" * 100_000 + b"\r\nContent-Length: 2\r\n\r\n{}", (431,)),
        (b"".join(b"X-%d: a\r\n" % n for n in range(1000)) + b"Content-Length: 2\r\n\r\n{}", (431,)),
    ],
    ids=["negative length", "length and chunks", "two lengths", "a header of 100 kB", "1,000 headers"],
)
def test_impossible_heads_are_refused(base, head, statuses):
    answer = raw_call(base, b"POST /hooks/salesforce HTTP/1.1\r\nHost: hub\r\n" + head)
    assert int(answer.split(b" ")[1]) in statuses


def test_a_body_that_never_ends_is_given_up(base, monkeypatch, house):
    monkeypatch.setattr(hooks, "BODY_SECONDS", 0.2)
    head = b"POST /hooks/salesforce HTTP/1.1\r\nHost: hub\r\nContent-Length: 10\r\n\r\n{"
    assert raw_call(base, head).startswith(b"HTTP/1.1 408")


def test_a_bad_row_does_not_take_its_group_along(house):
    def one(record: str, object_name: str = "Account") -> hooks.Call:
        reception = Reception(200, (Arrival(object_name, record, "", b"{}"),))
        return hooks.Call("salesforce", reception, 2)

    calls = [one("0010000000000G1AAA"), one("a\x00b"), one("0010000000000G2AAA")]
    assert hooks.write(house.database, calls) == [None, None, None]
    assert len(kept(house, "0010000000000G1AAA")) == len(kept(house, "0010000000000G2AAA")) == 1
    with house.database.transaction() as tx:
        assert tx.value("select count(*) from inbox where object = 'unreadable' and body = '{}'") == 1


class Away:
    """A database that cannot be reached."""

    def __init__(self) -> None:
        self.asked = 0

    def transaction(self):
        self.asked += 1
        raise Busy("the database cannot be reached")


def test_when_the_database_is_away_nobody_waits_for_every_call(house):
    away = Away()
    calls = [hooks.Call("salesforce", Reception(200, (Arrival("Account", str(n), "", b"{}"),)), 2) for n in range(500)]
    outcomes = hooks.write(away, calls)
    assert len(outcomes) == 500
    assert all(isinstance(outcome, Busy) for outcome in outcomes)
    assert away.asked <= 10


def test_when_the_database_is_away_the_vendor_is_told_to_come_again(house, signed, secret):
    broken = type(house)(Away(), house.systems, {}, {}, house.ownership, house.firm)
    body = change_event("001000000000011AAA")
    with app.running(app.create(broken)) as base:
        answer = call(base, "POST", "/hooks/salesforce", body, signed("salesforce", body))
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["retryable"] is True
        assert call(base, "POST", "/hooks/salesforce", body, {}).status == 401
        assert call(base, "GET", "/healthz").status == 503


def test_a_database_that_comes_back_is_used_again(house, sandbox, signed, tmp_path, monkeypatch):
    """The vendor is told to come again while PostgreSQL is stopped, and what was answered 200 is there afterwards."""
    monkeypatch.setattr(hooks, "COMMIT_SECONDS", 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        url = embedded.start(tmp_path)
        gc.collect()
        migrate.migrate(url)
        database = Database(url, size=4).open()
        own = type(house)(database, house.systems, {}, {}, house.ownership, house.firm)
        answers: dict[str, list[str]] = {"200": [], "503": []}

        def knock(base: str, number: int) -> int:
            body = change_event(f"001{number:012d}BAK")
            status = call(base, "POST", "/hooks/salesforce", body, signed("salesforce", body)).status
            answers[str(status)].append(f"001{number:012d}BAK")
            return status

        try:
            with app.running(app.create(own)) as base:
                assert knock(base, 0) == 200
                embedded.stop(tmp_path)
                assert {knock(base, number) for number in range(1, 4)} == {503}
                assert call(base, "GET", "/healthz").status == 503
                embedded.start(tmp_path)
                gc.collect()
                ends = time.monotonic() + 60
                while knock(base, 8) != 200:
                    assert time.monotonic() < ends
                assert {knock(base, number) for number in range(9, 20)} == {200}
                assert call(base, "GET", "/healthz").status == 200
            with database.transaction() as tx:
                rows = tx.rows("select external_id from inbox")
            assert {row["external_id"] for row in rows} >= set(answers["200"])
        finally:
            database.close()
            embedded.destroy(tmp_path)


def test_a_server_that_stops_answers_what_it_has_kept(house, signed):
    """Whatever was answered 200 is in the inbox, however the server ends."""
    answered: list[str] = []
    with app.running(app.create(house)) as base:
        stop = threading.Event()

        def keep_calling() -> None:
            for number in range(2000):
                if stop.is_set():
                    return
                record = f"001{number:012d}ZZZ"
                body = change_event(record)
                try:
                    if call(base, "POST", "/hooks/salesforce", body, signed("salesforce", body)).status == 200:
                        answered.append(record)
                except OSError:
                    return

        caller = threading.Thread(target=keep_calling)
        caller.start()
        time.sleep(0.5)
    stop.set()
    caller.join()
    with house.database.transaction() as tx:
        rows = tx.rows("select external_id from inbox where external_id = any(%s)", (answered,))
    assert {row["external_id"] for row in rows} == set(answered)
    assert answered


def test_the_simulators_webhooks_are_taken(house, base, sandbox):
    sandbox.control.hub(base)
    try:
        sandbox.control.advance()
        until = time.monotonic() + 30
        while sandbox.control.state()["pending_webhooks"] and time.monotonic() < until:
            time.sleep(0.05)
        assert sandbox.control.state()["pending_webhooks"] == 0
    finally:
        sandbox.control.hub("")
    with house.database.transaction() as tx:
        rows = tx.rows("select system, count(*) as n from inbox where origin = 'webhook' group by system")
    assert {row["system"] for row in rows} >= {"salesforce", "bamboohr"}


def test_health_says_that_the_database_answers(base):
    assert call(base, "GET", "/healthz").json() == {"status": "ok"}
