"""A signed call that carries a whole record: kept once in the record's own lane, and taken in without another call."""

import json
import time
from pathlib import Path

import pytest

import small_firm
from trueup.connectors.sdk import registry
from trueup.connectors.sdk.webhook import sign
from trueup.connectors.sdk.wire import Connection
from trueup.entrypoints.api.hooks import Call, write
from trueup.pipeline.house import System
from trueup.pipeline.receive import hear

PUSHED = Path(__file__).parents[2] / "benchmarks" / "pushed"
SECRET = "a-secret-of-a-time-tool"


@pytest.fixture
def system():
    connector = registry.load("timely", [PUSHED])
    client = connector.client(connector.manifest, Connection("timely", "http://127.0.0.1:9", webhook_secret=SECRET))
    yield System("timely", "psa", connector, client)
    client.close()


def call(system, entry):
    body = json.dumps({"entry": entry}).encode()
    headers = sign(system.connector.manifest.webhook, SECRET, str(int(time.time())), body)
    return hear(system, {name.lower(): value for name, value in headers.items()}, body), len(body)


def entry(**more):
    return {"id": "e1", "at": "1", "who": "w1", "project": "p1", "day": "2026-08-03", "minutes": 60, "billable": True,
            "status": "approved", **more}  # fmt: skip


def inbox_rows(database):
    with database.transaction() as tx:
        return tx.rows("select object, external_id, stamp, lane, origin, duplicates, state from inbox order by number")


def test_the_record_is_kept_in_its_own_lane_and_a_second_call_is_counted(empty, system):
    small_firm.build(empty)
    heard, size = call(system, entry())
    assert (heard.status, heard.arrivals, [lane for lane, _ in heard.records]) == (200, (), ["volume"])
    again, _ = call(system, entry())
    changed, _ = call(system, entry(minutes=90, at="2"))
    outcome = write(empty, [Call("timely", one, size) for one in (heard, again, changed)])
    assert outcome == [None, None, None]
    one = {"object": "entry", "external_id": "e1", "lane": "volume", "origin": "webhook", "state": "pending"}
    assert inbox_rows(empty) == [{**one, "stamp": "1", "duplicates": 1}, {**one, "stamp": "2", "duplicates": 0}]


def test_an_authentic_call_without_the_record_it_should_carry_is_kept_for_a_person(system):
    body = b'{"something": "else"}'
    headers = sign(system.connector.manifest.webhook, SECRET, str(int(time.time())), body)
    heard = hear(system, {name.lower(): value for name, value in headers.items()}, body)
    assert (heard.status, heard.records) == (200, ())
    assert [one.object for one in heard.arrivals] == ["unreadable"]
    assert heard.arrivals[0].body == body


def test_a_forged_record_is_not_kept(system):
    body = json.dumps({"entry": entry()}).encode()
    assert (
        hear(system, {"x-timely-signature": "0" * 64, "x-timely-timestamp": str(int(time.time()))}, body).status == 401
    )
