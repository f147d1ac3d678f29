"""What a reader by time cannot see is found by reading everything again; how a record is gone decides what follows."""

import json
from dataclasses import replace

import acme_house
import pytest
from acme_house import ACCOUNT, held, message, rows, work

from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Read
from trueup.connectors.sdk.wire import Page, Record
from trueup.kernel.errors import Refused
from trueup.kernel.ids import derive
from trueup.pipeline import poll, sweep
from trueup.store import holds, inbox, sweeps
from trueup.store.inbox import Arrival


class Shop(VendorClient):
    """A vendor of a few accounts, read by stamp without overlap, two to a page."""

    def __init__(self, manifest, connection):
        super().__init__(manifest, connection)
        self.records, self.listed, self.seen_by_us, self.asked = {}, set(), True, []

    def put(self, record, *, listed=True):
        self.records[record["id"]] = record
        (self.listed.add if listed else self.listed.discard)(record["id"])

    def changes(self, object, cursor):
        after = tuple(json.loads(cursor)) if cursor else ("", "")
        if not self.seen_by_us:
            return Page((), cursor or json.dumps(after), False)
        found = sorted((self.records[id]["at"], id) for id in self.listed & set(self.records))
        found = [key for key in found if key > after]
        return Page(
            tuple(self._record(object, id) for _, id in found[:2]),
            json.dumps(found[:2][-1] if found else after),
            len(found) > 2,
        )

    def fetch(self, object, external_ids):
        self.asked += external_ids
        if self.seen_by_us == "refused":
            raise Refused("no access to Account", "INVALID_TYPE", 400, "")
        return [self._record(object, id) for id in external_ids if self.seen_by_us and id in self.records]

    def _record(self, object, id):
        record = self.records[id]
        return Record(object, id, record["at"], json.dumps(record).encode())


def gid(id):
    return derive("customer", "sales", "Account", id)


@pytest.fixture
def house(empty):
    made = acme_house.build(empty)
    system = made.systems["sales"]
    facts = system.connector.manifest.model_copy(update={"reads": {"Account": Read(kind="customer")}})
    client = Shop(facts, system.client.connection)
    made.systems = {"sales": replace(system, connector=replace(system.connector, manifest=facts), client=client)}
    yield made
    client.close()


def declare(house, **facts):
    system = house.systems["sales"]
    read = Read(kind="customer", **facts)
    manifest = system.connector.manifest.model_copy(update={"reads": {"Account": read}})
    house.systems = {"sales": replace(system, connector=replace(system.connector, manifest=manifest))}


def shop(house):
    return house.systems["sales"].client


def fill(house, count=5):
    for n in range(1, count + 1):
        shop(house).put(ACCOUNT | {"id": f"A{n}", "name": f"Acme {n}", "at": f"2026-08-01T10:00:0{n}Z"})
    read_on(house)


def read_on(house):
    poll.poll_all(house, house.systems["sales"], lambda _: True)
    poll.fetch_announced(house, "test")
    work(house)


def ask(house):
    with house.database.transaction() as tx:
        return sweeps.ask(tx, "sales", "Account", "a test asks")


def last_sweep(house):
    with house.database.transaction() as tx:
        return sweeps.latest(tx)[0]


def test_a_record_whose_stamp_lies_before_the_cursor_is_found_by_the_sweep(house):
    fill(house)
    shop(house).put(ACCOUNT | {"id": "A9", "at": "2026-07-01T10:00:00Z"})
    read_on(house)
    assert held(house, gid("A9")) is None  # a reader by time has passed that place
    ask(house)
    read_on(house)
    assert held(house, gid("A9")).status == "active"
    assert (last_sweep(house)["fresh"], last_sweep(house)["vanished"]) == (1, {})


def test_a_sweep_of_what_we_hold_already_has_no_effect(house):
    fill(house)
    before = rows(house, "select gid, version from objects order by gid")
    changed = rows(house, "select count(*) as n from changes")
    ask(house)
    read_on(house)
    assert rows(house, "select gid, version from objects order by gid") == before
    assert rows(house, "select count(*) as n from changes") == changed
    assert rows(house, "select sum(duplicates)::int as n from inbox") == [{"n": 5}]  # counted and visible


def test_a_record_that_cannot_be_read_while_others_can_was_deleted(house):
    fill(house)
    del shop(house).records["A3"]
    ask(house)
    read_on(house)
    assert (held(house, gid("A3")).tombstone, held(house, gid("A2")).tombstone) == ("deleted", None)
    assert last_sweep(house)["vanished"] == {"deleted": 1}


def test_a_record_missing_from_a_vendor_that_lists_deletions_is_hidden_and_may_come_back(house):
    declare(house, tells_deletions=True)
    fill(house)
    lost = shop(house).records.pop("A3")
    ask(house)
    read_on(house)
    assert held(house, gid("A3")).tombstone == "hidden"
    shop(house).put(lost)  # the permission is back, the record has not changed
    ask(house)
    read_on(house)
    assert held(house, gid("A3")).tombstone is None
    assert held(house, gid("A3")).body["name"] == "Acme 3"
    del shop(house).records["A3"]
    ask(house)
    read_on(house)
    assert held(house, gid("A3")).tombstone == "hidden"  # a second time too


def test_a_deletion_the_vendor_tells_later_is_stronger_than_hidden(house):
    declare(house, tells_deletions=True)
    fill(house)
    del shop(house).records["A3"]
    ask(house)
    read_on(house)
    acme_house.keep(house, Arrival("Account", "A3", "2026-08-09", b'{"id": "A3"}', deleted=True))
    work(house)
    assert held(house, gid("A3")).tombstone == "deleted"


def test_a_record_that_was_put_away_stays_what_it_was(house):
    declare(house, archived="closed")
    fill(house)
    shop(house).put(shop(house).records["A3"] | {"closed": True}, listed=False)
    ask(house)
    read_on(house)
    assert held(house, gid("A3")).tombstone is None
    (found,) = rows(house, "select reason from inbox where deleted")
    assert found["reason"] == "put away"
    assert last_sweep(house)["vanished"] == {"archived": 1}


def test_a_record_a_filter_leaves_out_of_the_list_but_that_can_be_read_is_kept(house):
    fill(house)
    shop(house).put(shop(house).records["A3"] | {"name": "Acme Three", "at": "2026-08-02"}, listed=False)
    ask(house)
    read_on(house)
    assert (held(house, gid("A3")).tombstone, held(house, gid("A3")).body["name"]) == (None, "Acme Three")


@pytest.mark.parametrize("lost", [False, "refused"])
def test_a_permission_lost_for_the_object_concludes_nothing(house, lost):
    fill(house)
    shop(house).seen_by_us = lost
    shop(house).listed.discard("A3")
    ask(house)
    read_on(house)
    ended = last_sweep(house)
    assert rows(house, "select gid from objects where tombstone is not null") == []
    assert ended["finished_at"] is not None
    assert "does not let us read" in ended["inconclusive"] if lost else "permission" in ended["inconclusive"]


def test_a_gap_that_names_no_record_is_answered_by_reading_everything(house):
    fill(house)
    shop(house).put(ACCOUNT | {"id": "A9", "at": "2026-07-01T10:00:00Z"})
    with house.database.transaction() as tx:
        (number,) = inbox.keep(tx, "sales", [Arrival("Account", "", "1", b"{}")], origin="webhook", lane="notice")
    poll.fetch_announced(house, "test")
    read_on(house)
    assert held(house, gid("A9")) is not None
    assert message(house, number)["reason"] == "names no record: the whole object is read again"
    assert "announced a gap" in last_sweep(house)["reason"]


def test_a_reader_away_for_longer_than_the_vendor_remembers_reads_everything_again(house):
    declare(house, retention_hours=72)
    fill(house)
    shop(house).put(ACCOUNT | {"id": "A9", "at": "2026-07-01T10:00:00Z"})
    with house.database.transaction() as tx:
        tx.run("update cursors set read_at = now() - interval '4 days'")
    read_on(house)
    assert held(house, gid("A9")) is not None
    assert last_sweep(house)["reason"] == "away for 96 hours; sales lists changes and deletions for 72"


def test_a_sweep_is_due_by_itself(house):
    fill(house)
    assert rows(house, "select count(*) as n from sweeps") == [{"n": 0}]
    with house.database.transaction() as tx:
        tx.run("update cursors set created_at = now() - interval '8 days'")
    read_on(house)
    read_on(house)
    assert rows(house, "select count(*) as n from sweeps where finished_at is not null") == [{"n": 1}]


def test_a_sweep_asked_for_again_in_its_middle_starts_over(house):
    fill(house)
    assert ask(house)
    sweep.step(house, house.systems["sales"], "Account")
    shop(house).put(ACCOUNT | {"id": "A0", "at": "2026-07-01T10:00:00Z"})
    assert not ask(house)
    assert rows(house, "select count(*) as n from swept") == [{"n": 0}]
    read_on(house)
    assert held(house, gid("A0")) is not None


def test_a_billed_thing_never_vanishes_silently(house):
    fill(house)
    goal = derive("milestone", "x")
    with house.database.transaction() as tx:
        tx.run(
            """
            insert into objects (gid, kind, status, body)
            select %s, 'milestone', 'completed', body from objects limit 1
            """,
            (goal,),
        )
        tx.run(
            """
            insert into charges (key, fact, fact_version, kind, project, contract, legal_entity, currency, amount, bucket, document,
                service_on, period, run, trace)
            values ('k', %s, 1, 'milestone', 'p', 'c', 'DE01', 'EUR', 1000000, 'on_draft', 'inv', '2026-08-01', '2026-08', 'r', '{}')
            """,
            (goal,),
        )
        tx.run("insert into crosswalk (system, object, external_id, gid) values ('sales', 'Goal', 'M1', %s)", (goal,))
    (number,) = acme_house.keep(house, Arrival("Goal", "M1", "2026-08-09", b"{}", deleted=True))
    work(house)
    assert message(house, number)["state"] == "applied"
    with house.database.transaction() as tx:
        (hold,) = holds.open_of(tx, codes=["RECORD_VANISHED"])
    assert (hold["scope"], hold["amount"], hold["currency"]) == (goal, 1000000, "EUR")
    assert hold["reason"].startswith("sales deleted M1. It was billed.")
    assert rows(house, "select amount from charges") == [{"amount": 1000000}]
