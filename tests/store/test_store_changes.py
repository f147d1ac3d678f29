"""Why everything is as it is; and a reader of events never misses one."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import horizon
from trueup.store import changes
from trueup.store.changes import Change, Event

WRITERS = 6
EACH = 40


def event(key, name="invoice.posted", subject="inv_1", **data):
    return Event(key, name, subject, "invoice", data)


def tell(database, *events, seen=True):
    with database.transaction() as tx:
        told = changes.tell(tx, events)
    if seen:
        horizon.passed(database)
    return told


def read(database, after=(0, 0), limit=1000, **filters):
    with database.transaction() as tx:
        return changes.read_events(tx, after, limit, **filters)


def cursor_of(row):
    return row["transaction"], row["number"]


def test_an_event_is_told_once(empty):
    first = event("invoice.posted/inv_1/3", amount="5.00")
    assert tell(empty, first, first) == [first]
    assert tell(empty, first, event("invoice.posted/inv_1/4")) == [event("invoice.posted/inv_1/4")]
    assert tell(empty) == []
    assert [row["data"] for row in read(empty)] == [{"amount": "5.00"}, {}]


def test_an_event_knows_what_made_it(empty):
    with empty.transaction() as tx:
        changes.tell(tx, [Event("k", "invoice.posted", 'inv "1"', "invoice", {"reason": 'a "quoted" \\ name'}, 17)])
    horizon.passed(empty)
    (row,) = read(empty)
    assert (row["name"], row["subject"], row["kind"], row["message"]) == ("invoice.posted", 'inv "1"', "invoice", 17)
    assert row["data"] == {"reason": 'a "quoted" \\ name'}
    with empty.transaction() as tx:
        assert changes.event(tx, row["number"])["subject"] == 'inv "1"'
        assert changes.event(tx, 10**9) is None


def test_events_are_read_page_by_page(empty):
    for number in range(7):
        tell(empty, event(f"k{number}"))
    found, after = [], (0, 0)
    while page := read(empty, after, 3):
        found += page
        after = cursor_of(page[-1])
    assert [row["number"] for row in found] == sorted(row["number"] for row in found)
    assert len(found) == 7


def test_events_of_one_transaction_are_paged_without_loss(empty):
    tell(empty, *(event(f"k{number}") for number in range(5)))
    first = read(empty, (0, 0), 2)
    rest = read(empty, cursor_of(first[-1]))
    assert len(first) + len(rest) == 5


def test_events_can_be_chosen_by_name_and_subject(empty):
    tell(empty, event("a"), event("b", name="invoice.paid"), event("c", subject="inv_2"))
    assert len(read(empty, name="invoice.posted")) == 2
    assert len(read(empty, subject="inv_1")) == 2
    assert len(read(empty, name="invoice.paid", subject="inv_2")) == 0


def test_an_event_behind_an_unfinished_one_waits_for_it(empty):
    with empty.transaction() as slow:
        changes.tell(slow, [event("slow")])
        tell(empty, event("quick"), seen=False)
        assert read(empty) == []
        with empty.transaction() as tx:
            assert changes.last_event(tx) == (0, 0)
    horizon.passed(empty)
    assert {row["number"] for row in read(empty)} == {1, 2}
    with empty.transaction() as tx:
        assert changes.last_event(tx) == cursor_of(read(empty)[-1])
    assert read(empty, changes_cursor(empty)) == []


def changes_cursor(database):
    with database.transaction() as tx:
        return changes.last_event(tx)


def test_no_committed_event_is_skipped_while_many_write(empty):
    done = threading.Event()
    chance = random.Random(7)
    pauses = [[chance.choice((0, 0, 0, 0.001, 0.004)) for _ in range(EACH)] for _ in range(WRITERS)]

    def write(writer):
        kept = []
        for number, pause in enumerate(pauses[writer]):
            key = f"{writer}/{number}"
            try:
                with empty.transaction() as tx:
                    changes.tell(tx, [event(key)])
                    time.sleep(pause)
                    if number % 10 == 9:
                        raise RuntimeError("rolled back")
            except RuntimeError:
                continue
            kept.append(key)
        return kept

    seen = []

    def follow():
        after = (0, 0)
        while True:
            last = done.is_set()
            while page := read(empty, after, 7):
                seen.extend(page)
                after = cursor_of(page[-1])
            if last:
                return

    reader = threading.Thread(target=follow)
    reader.start()
    with ThreadPoolExecutor(WRITERS) as pool:
        written = {key for kept in pool.map(write, range(WRITERS)) for key in kept}
    horizon.passed(empty)
    done.set()
    reader.join(30)
    with empty.transaction() as tx:
        keys = {row["number"]: row["key"] for row in tx.rows("select number, key from events")}
    assert {keys[row["number"]] for row in seen} == written
    assert len(seen) == len(written) == WRITERS * EACH * 9 // 10


def change(gid="cus_1", version=1, verdict="accept", **more):
    decision = {"verdict": verdict, "sentence": 'crm says "so"', "fields": {"name": [None, "Acme \\ Söhne\t"]}}
    return Change(gid, "customer", version, "crm", [decision], **more)


def test_the_history_of_an_object_is_kept_in_order(empty):
    with empty.transaction() as tx:
        changes.write(tx, [change(), change("cus_2")])
        changes.write(tx, [])
        changes.write(
            tx,
            [change(version=2, message=9, system="crm", mapping="m", mapping_version=3, mapping_digest="d")],
        )
    with empty.transaction() as tx:
        first, second = changes.history(tx, "cus_1")
    assert (first["version"], second["version"]) == (1, 2)
    assert first["decisions"] == change().decisions
    assert (
        second["message"],
        second["system"],
        second["mapping"],
        second["mapping_version"],
        second["mapping_digest"],
    ) == (
        9,
        "crm",
        "m",
        3,
        "d",
    )


def proposals(database, state="open"):
    with database.transaction() as tx:
        rows = tx.rows(
            "select gid, field, system, value, message from proposals where state = %s order by 1, 2, 3", (state,)
        )
    return [tuple(row.values()) for row in rows]


def propose(database, *items):
    with database.transaction() as tx:
        changes.propose(tx, items)


def test_what_a_non_owner_said_stands_until_it_says_something_else(empty):
    propose(empty, ("cus_1", "name", "erp", "ACME", "crm owns it", 1), ("cus_1", "name", "psa", None, "crm owns it", 2))
    propose(empty, ("cus_1", "name", "erp", {"a": 1}, "crm owns it", 3), ("cus_1", "name", "erp", ["Acme"], "same", 4))
    assert proposals(empty) == [("cus_1", "name", "erp", ["Acme"], 4), ("cus_1", "name", "psa", None, 2)]


def test_a_proposal_ends_when_its_system_comes_round_and_opens_again_when_it_does_not(empty):
    propose(empty, ("cus_1", "name", "erp", "ACME", "crm owns it", 1), ("cus_1", "name", "psa", "X", "crm owns it", 2))
    with empty.transaction() as tx:
        changes.settle_proposals(tx, [("cus_1", "name", "erp"), ("cus_9", "name", "erp")])
        changes.settle_proposals(tx, [])
    assert [row[2] for row in proposals(empty)] == ["psa"]
    assert [row[2] for row in proposals(empty, "settled")] == ["erp"]
    propose(empty, ("cus_1", "name", "erp", "ACME!", "crm owns it", 5))
    assert [row[2] for row in proposals(empty)] == ["erp", "psa"]


@pytest.mark.parametrize("value", [True, 0, "", "null", {"a": [1, None]}])
def test_any_value_can_be_proposed(empty, value):
    propose(empty, ("cus_1", "name", "erp", value, "crm owns it", None))
    assert proposals(empty)[0][3] == value
