"""Failure stories of what comes in: nothing is skipped, nothing is swallowed, and what is gone is gone for a reason."""

import json
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import acme_house
import pytest
from acme_house import rows, work

from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Read
from trueup.connectors.sdk.wire import Connection, Page, Record
from trueup.pipeline.house import System
from trueup.pipeline.poll import look_back, poll

NOON = datetime(2026, 8, 3, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def plain(database):
    """The house, built once."""
    house = acme_house.build(database)
    yield house
    for system in house.systems.values():
        system.client.close()


@pytest.fixture
def house(plain, empty):
    """A house with nothing in it."""
    plain.reactions.clear()
    return plain


@dataclass
class Row:
    """One record of the vendor's: `seen_from` is when readers can see it, later than its stamp when it is late."""

    id: str
    stamp: datetime
    seen_from: datetime
    fields: dict[str, object] = field(default_factory=dict)
    state: str = "there"


class Vendor(VendorClient):
    """A vendor with a plain reader by stamp: what becomes visible behind the cursor, the cursor alone never sees."""

    def __init__(self, manifest, connection):
        super().__init__(manifest, connection)
        self.now = NOON
        self.rows: dict[str, Row] = {}
        self.size = 20

    def put(self, id, *, late=0.0, **fields):
        """Save a record now; readers see it so many seconds later."""
        self.rows[id] = Row(id, self.now, self.now + timedelta(seconds=late), fields)

    def changes(self, object, cursor):
        """Return one page of records with later stamps than the cursor."""
        visible = [row for row in self.rows.values() if row.seen_from <= self.now and row.state == "there"]
        behind = sorted(
            (row.stamp, row.id) for row in visible if [row.stamp.isoformat(), row.id] > json.loads(cursor or '["", ""]')
        )
        page = behind[: self.size]
        last = json.dumps([page[-1][0].isoformat(), page[-1][1]]) if page else cursor or '["", ""]'
        return Page(tuple(self.record(self.rows[id]) for _, id in page), last, len(behind) > self.size)

    def record(self, row, *, deleted=False):
        """Write a record as it goes over the wire."""
        body = {
            "id": row.id,
            "at": row.stamp.isoformat(),
            "name": row.id,
            "country": "de",
            "currency": "EUR",
            **row.fields,
        }
        return Record("Account", row.id, row.stamp.isoformat(), json.dumps(body).encode(), deleted)


def at(house, **read):
    """Let the vendor be the house's `sales`, read as declared; gives the system and the vendor."""
    there = house.systems["sales"]
    facts = there.connector.manifest.model_copy(update={"reads": {"Account": Read(kind="customer", **read)}})
    vendor = Vendor(facts, Connection("sales", "https://nowhere.example"))
    return System("sales", "crm", replace(there.connector, manifest=facts), vendor), vendor


def pass_by(house, vendor, seconds):
    """Let time go by for the vendor, and for what we remember on the database's clock."""
    vendor.now += timedelta(seconds=seconds)
    with house.database.transaction() as tx:
        tx.run("update cursor_trail set created_at = created_at - make_interval(secs => %s)", (seconds,))
        tx.run("update cursors set looked_back_at = looked_back_at - make_interval(secs => %s)", (seconds,))


def read_for(house, system, vendor, minutes, dice=None, every=30.0):
    """Poll for some minutes; with dice, people save records meanwhile, a third of them visible up to 10 minutes late."""
    for turn in range(int(minutes * 60 / every)):
        if dice is not None:
            for n in range(dice.randint(0, 4)):
                vendor.put(f"A{turn}-{n}", late=dice.uniform(1, 600) if dice.random() < 0.33 else 0)
        pass_by(house, vendor, every)
        while poll(house, system, "Account")[1]:
            pass
        look_back(house, system, "Account")


# --- F7: a cursor must not pass what is not visible yet ---------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_f7_a_record_that_becomes_visible_behind_the_cursor_is_not_missed(house, seed):
    system, vendor = at(house, overlap_seconds=600)
    read_for(house, system, vendor, 30, random.Random(seed))
    read_for(house, system, vendor, 25)
    work(house)
    assert {row["external_id"] for row in rows(house, "select external_id from inbox")} == set(vendor.rows)
    objects = rows(house, "select version from objects where kind = 'customer'")
    assert [row["version"] for row in objects] == [1] * len(vendor.rows), "what is read again has no second effect"
    (counted,) = rows(house, "select records from cursors")
    assert counted["records"] == len(vendor.rows)


def test_f7_without_the_overlap_the_same_vendor_would_lose_records(house):
    system, vendor = at(house, overlap_seconds=0)
    read_for(house, system, vendor, 30, random.Random(1))
    read_for(house, system, vendor, 25)
    kept = {row["external_id"] for row in rows(house, "select external_id from inbox")}
    assert len(set(vendor.rows) - kept) > 3


def test_f7_a_record_later_than_the_first_reading_is_found_too(house):
    system, vendor = at(house, overlap_seconds=600)
    vendor.put("LATE", late=590)
    pass_by(house, vendor, 1)
    vendor.put("SOON")
    read_for(house, system, vendor, 25)
    assert {row["external_id"] for row in rows(house, "select external_id from inbox")} == {"LATE", "SOON"}


def test_f7_a_look_back_that_broke_off_begins_again(house):
    system, vendor = at(house, overlap_seconds=600)
    vendor.put("LATE", late=300)
    pass_by(house, vendor, 1)
    vendor.put("SOON")
    poll(house, system, "Account")
    pass_by(house, vendor, 800)
    vendor.changes, whole = lambda *_: (_ for _ in ()).throw(ValueError("killed")), vendor.changes
    with pytest.raises(ValueError, match="killed"):
        look_back(house, system, "Account")
    vendor.changes = whole
    assert look_back(house, system, "Account") == 1
    assert look_back(house, system, "Account") == 0, "it is not time again"


def test_f7_the_trail_does_not_grow(house):
    system, vendor = at(house, overlap_seconds=600)
    read_for(house, system, vendor, 60)
    (trail,) = rows(house, "select count(*) as marks from cursor_trail")
    assert trail["marks"] <= 2 * 5 + 6
