"""The feed of business events: every reader sees all of them, in one order, and finds the place again."""

import http.client
import json
import threading
import time
from urllib.parse import urlsplit

import pytest
from wire import call

import horizon
from trueup.entrypoints.api import app
from trueup.model.events import CATALOGUE
from trueup.store import changes
from trueup.store.changes import Event


@pytest.fixture(scope="module")
def reader(api):
    return api("events:read", name="reader")


def tell(house, *keys: str, name: str = "invoice.posted", subject: str = "inv_x", seen: bool = True) -> None:
    with house.database.transaction() as tx:
        changes.tell(tx, [Event(key, name, subject, "invoice", {"code": key, "amount": "1.00"}, 7) for key in keys])
    if seen:
        horizon.passed(house.database)


def read_all(reader, path: str, limit: int) -> list[dict]:
    found, after = [], ""
    while True:
        page = reader.get(f"{path}limit={limit}{after}").json()
        found += page["events"]
        assert len(page["events"]) <= limit
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


def test_events_are_read_to_the_end_once_and_in_order(house, reader):
    keys = [f"page/{number}" for number in range(7)]
    for key in keys:
        tell(house, key, subject="inv_paging")
    found = read_all(reader, "/v1/events?subject=inv_paging&", 3)
    assert [one["data"]["code"] for one in found] == keys
    assert found[0] == {
        "specversion": "1.0",
        "id": found[0]["id"],
        "type": "org.trueup.invoice.posted.v1",
        "source": "trueup",
        "subject": "inv_paging",
        "time": found[0]["time"],
        "datacontenttype": "application/json",
        "dataschema": "/v1/events/types",
        "message": "7",
        "data": {"code": "page/0", "amount": "1.00"},
    }
    assert reader.get(f"/v1/events/{found[0]['id']}").json() == found[0]


def test_next_is_null_at_the_end_and_the_cursor_goes_on_later(house, reader):
    tell(house, "resume/1", subject="inv_resume")
    first = reader.get("/v1/events?subject=inv_resume").json()
    assert (len(first["events"]), first["next"]) == (1, None)
    nothing = reader.get(f"/v1/events?subject=inv_resume&after={first['cursor']}").json()
    assert nothing == {"events": [], "next": None, "cursor": first["cursor"]}
    tell(house, "resume/2", subject="inv_resume")
    more = reader.get(f"/v1/events?subject=inv_resume&after={first['cursor']}").json()
    assert [one["data"]["code"] for one in more["events"]] == ["resume/2"]


def test_an_event_that_is_committed_late_is_not_skipped(house, reader):
    """A transaction that began first and commits last has a lower number: readers wait for it rather than pass it."""
    slow, quick = threading.Event(), threading.Event()

    def commit_late() -> None:
        with house.database.transaction() as tx:
            changes.tell(tx, [Event("late", "invoice.posted", "inv_order", "invoice", {"code": "late"})])
            slow.set()
            quick.wait(10)

    thread = threading.Thread(target=commit_late)
    thread.start()
    slow.wait(10)
    tell(house, "early", subject="inv_order", seen=False)
    assert reader.get("/v1/events?subject=inv_order").json()["events"] == []
    quick.set()
    thread.join()
    horizon.passed(house.database)
    assert [one["data"]["code"] for one in read_all(reader, "/v1/events?subject=inv_order&", 1)] == ["late", "early"]


def test_events_are_filtered_by_their_full_type(house, reader):
    tell(house, "type/1", subject="inv_type")
    tell(house, "type/2", name="invoice.paid", subject="inv_type")
    found = reader.get("/v1/events?subject=inv_type&type=org.trueup.invoice.paid.v1").json()["events"]
    assert [one["data"]["code"] for one in found] == ["type/2"]
    assert reader.get("/v1/events?type=org.trueup.nothing.v1").status == 400
    assert reader.get("/v1/events?subject=inv_nothing").json() == {"events": [], "next": None, "cursor": None}


def test_a_batch_is_an_array_of_cloud_events(house, reader):
    tell(house, "batch/1", "batch/2", subject="inv_batch")
    accept = {"Accept": "application/cloudevents-batch+json"}
    answer = reader.get("/v1/events?subject=inv_batch&limit=1", accept)
    assert answer.headers["content-type"] == "application/cloudevents-batch+json"
    assert [one["data"]["code"] for one in answer.json()] == ["batch/1"]
    following = answer.headers["link"].partition(">")[0][1:]
    last = reader.get("/" + following.split("/", 3)[3], accept)
    assert [one["data"]["code"] for one in last.json()] == ["batch/2"]
    assert "link" not in last.headers


@pytest.mark.parametrize("after", ["x", "A" * 30, "%00", "MTIzNDU2Nzg5MDEyMTIz", "é", "-1", "1.2"])
def test_a_cursor_that_is_none_is_refused(reader, after):
    answer = reader.get("/v1/events?after=" + after.replace("é", "%C3%A9"))
    assert answer.status == 400


def test_a_cursor_belongs_to_its_filters(house, reader):
    tell(house, "own/1", subject="inv_own")
    cursor = reader.get("/v1/events?subject=inv_own").json()["cursor"]
    assert reader.get(f"/v1/events?after={cursor}").json()["code"] == "bad_cursor"


@pytest.mark.parametrize("number", ["0", "-1", "999999999", str(2**63), str(10**30), "x"])
def test_an_event_that_does_not_exist(reader, number):
    assert reader.get(f"/v1/events/{number}").status in (404, 422)


def test_the_catalogue_lists_every_type_with_its_schema(reader):
    types = reader.get("/v1/events/types").json()["types"]
    assert [one["type"] for one in types] == [f"org.trueup.{name}.v1" for name in CATALOGUE]
    assert all(one["meaning"] and one["data_schema"]["type"] == "object" for one in types)


class Stream:
    """A reader of server-sent events."""

    def __init__(self, base: str, token: str, path: str = "/v1/events/stream", **headers: str) -> None:
        place = urlsplit(base)
        self.connection = http.client.HTTPConnection(place.hostname, place.port, timeout=15)
        self.connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} | headers)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200
        assert self.answer.getheader("content-type").startswith("text/event-stream")
        assert self.answer.readline() == b": begin\n"

    def next(self) -> dict[str, str]:
        found: dict[str, str] = {}
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if not line and "data" in found:
                return found
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                found[name] = value

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


def test_a_stream_tells_what_happens_and_goes_on_where_it_broke(house, base, reader):
    tell(house, "stream/before", subject="inv_stream")
    path = "/v1/events/stream?subject=inv_stream"
    stream = Stream(base, reader.token, path)
    tell(house, "stream/1", "stream/2", subject="inv_stream")
    first, second = stream.next(), stream.next()
    stream.close()
    assert (first["event"], json.loads(first["data"])["data"]["code"]) == ("invoice.posted", "stream/1")
    assert json.loads(second["data"])["data"]["code"] == "stream/2"
    again = Stream(base, reader.token, path, **{"Last-Event-ID": first["id"]})
    assert json.loads(again.next()["data"]) == json.loads(second["data"])
    tell(house, "stream/3", subject="inv_stream")
    assert json.loads(again.next()["data"])["data"]["code"] == "stream/3"
    again.close()
    page = reader.get(f"/v1/events?subject=inv_stream&after={second['id']}").json()
    assert [one["data"]["code"] for one in page["events"]] == ["stream/3"]


def test_a_stream_does_not_keep_the_server_from_stopping(house, reader):
    with app.running(app.create(house)) as base:
        stream = Stream(base, reader.token)
        began = time.monotonic()
    assert time.monotonic() - began < 2.5
    stream.close()


def test_a_stream_wants_a_token(base):
    assert call(base, "GET", "/v1/events/stream").status == 401
