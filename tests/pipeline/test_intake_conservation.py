"""Received = applied + superseded + ignored + quarantined + in flight, and one that is broken breaks nobody else."""

import time
from concurrent.futures import ThreadPoolExecutor

import acme_house
import pytest
from acme_house import ACCOUNT, DEAL, arrival, held, keep, message, rows, work

from trueup.kernel.errors import Busy
from trueup.kernel.ids import derive
from trueup.pipeline import poll
from trueup.pipeline.ingest import ingest
from trueup.reporting.conservation import conservation
from trueup.store import changes, inbox
from trueup.store.changes import Event
from trueup.store.inbox import Arrival


@pytest.fixture
def house(empty):
    made = acme_house.build(empty)
    yield made
    for system in made.systems.values():
        system.client.close()


def account(house):
    with house.database.transaction() as tx:
        return conservation(tx)


def test_every_end_of_a_message_is_counted_and_duplicates_come_on_top(house):
    keep(house, arrival("Account", ACCOUNT), arrival("Account", ACCOUNT | {"type": "Internal", "id": "A2"}))
    keep(house, arrival("Account", ACCOUNT | {"currency": None, "id": "A3"}))
    keep(house, arrival("Deal", DEAL | {"account": "A9"}))
    work(house)
    keep(house, arrival("Account", ACCOUNT | {"at": "2026-07-01", "name": "Older"}))
    work(house)
    keep(house, arrival("Account", ACCOUNT), arrival("Account", ACCOUNT | {"id": "A8"}))
    (hour,) = account(house).hours
    assert (hour.received, hour.applied, hour.superseded, hour.ignored, hour.quarantined, hour.in_flight) == (
        6, 1, 1, 1, 1, 2,
    )  # fmt: skip
    assert (hour.unexplained, hour.duplicates, account(house).holds) == (0, 1, True)


def test_a_message_that_ends_in_nothing_is_named(house):
    (number,) = keep(house, arrival("Account", ACCOUNT))
    with house.database.transaction() as tx:  # what a bug would do: the end is written, the decision is not
        tx.run("update inbox set state = 'applied', settled_at = now(), gid = 'x' where number = %s", (number,))
    found = account(house)
    assert (found.holds, [one.number for one in found.nowhere]) == (False, [number])
    assert "retry it" in found.nowhere[0].why


def test_an_answered_call_whose_record_was_never_kept_is_named(house):
    with house.database.transaction() as tx:
        (number,) = inbox.keep(tx, "sales", [Arrival("Account", "A1", "", b"{}")], origin="webhook", lane="notice")
        inbox.settle(tx, [inbox.Settlement(number, "applied", "fetched the record as it is now")])
    assert [one.number for one in account(house).nowhere] == [number]


def test_a_message_accepted_and_then_left_is_named(house):
    (number,) = keep(house, arrival("Account", ACCOUNT))
    with house.database.transaction() as tx:
        tx.run("update inbox set due_at = now() - interval '1 hour' where number = %s", (number,))
    (left,) = account(house).stuck
    assert (left.number, "60 minutes" in left.why) == (number, True)


@pytest.mark.parametrize(
    ("sql", "constraint"),
    [
        ("delete from inbox", "keeps everything"),
        ("update inbox set state = 'ignored', rule = null", "inbox_ignored_names_its_rule"),
        ("update inbox set state = 'superseded', reason = null", "inbox_superseded_has_a_reason"),
        ("update inbox set state = 'quarantined', reason = null", "inbox_quarantined_has_a_reason"),
        ("update inbox set state = 'applied', gid = null, reason = null", "inbox_applied_to_something"),
        ("update inbox set state = 'waiting', waits_for = '{}'", "inbox_waits_for_something"),
        ("update inbox set state = 'skipped'", "inbox_state_check"),
    ],
)
def test_the_database_lets_no_message_go_to_nowhere(house, sql, constraint):
    keep(house, arrival("Account", ACCOUNT))
    with pytest.raises(Exception, match=constraint), house.database.transaction() as tx:
        tx.run(sql)
    assert rows(house, "select state from inbox") == [{"state": "pending"}]


def test_one_poisoned_record_of_fifty_blocks_only_itself(house):
    bodies = [arrival("Account", ACCOUNT | {"id": f"A{n}"}) for n in range(50)]
    bodies[17] = Arrival("Account", "A17", "2026", b'{"id": "A17", "name": ')
    keep(house, *bodies)
    work(house)
    ended = {
        row["state"]: row["n"] for row in rows(house, "select state, count(*)::int as n from inbox group by state")
    }
    assert ended == {"applied": 49, "quarantined": 1}
    assert account(house).holds


def test_f5_one_record_told_many_times_to_two_workers_has_one_effect(house):
    def tell(_):
        with house.database.transaction() as tx:
            inbox.keep(tx, "sales", [arrival("Account", ACCOUNT)] * 100, origin="webhook", lane="master")
        ingest(house, "master")

    with ThreadPoolExecutor(2) as workers:
        list(workers.map(tell, range(100)))
    work(house)
    assert rows(house, "select duplicates from inbox") == [{"duplicates": 9_999}]
    assert rows(house, "select count(*)::int as n from changes") == [{"n": 1}]
    assert rows(house, "select name from events") == [{"name": "customer.changed"}]


def test_f11_a_crash_while_the_claim_is_held_swallows_nothing(house):
    (number,) = keep(house, arrival("Account", ACCOUNT))

    def claim_and_die():
        with house.database.transaction() as tx:
            assert [one.number for one in inbox.claim(tx, "master", 10)] == [number]
            inbox.settle(tx, [inbox.Settlement(number, "applied", "about to")])
            victim = tx.value("select pg_backend_pid()")
            with house.database.transaction() as other:
                other.value("select pg_terminate_backend(%s)", (victim,))
            tx.value("select 1")

    with pytest.raises(Busy):
        claim_and_die()
    work(house)
    assert message(house, number)["state"] == "applied"
    assert held(house, derive("customer", "sales", "Account", "A1")) is not None


def test_a_reader_of_our_events_misses_nothing_while_eight_writers_hold_transactions_open(house):
    def write(writer):
        for n in range(40):
            with house.database.transaction() as tx:
                changes.tell(tx, [Event(f"e/{writer}/{n}", "object.deleted", "cus_x", "customer", {}, None)])
                time.sleep(0.004 if (n + writer) % 5 == 0 else 0)

    seen, at = [], (0, 0)
    with ThreadPoolExecutor(7) as writers:  # the reader and seven writers fill the pool
        running = [writers.submit(write, writer) for writer in range(7)]
        ends = time.monotonic() + 30
        while time.monotonic() < ends and (not all(one.done() for one in running) or len(seen) < 280):
            with house.database.transaction() as tx:
                found = changes.read_events(tx, at, 50)
            seen += [event["number"] for event in found]
            at = (found[-1]["transaction"], found[-1]["number"]) if found else at
        for one in running:
            one.result()
    assert (len(seen), len(set(seen))) == (280, 280)


def test_a_call_that_names_nothing_we_read_is_kept_and_ignored_by_a_rule(house):
    with house.database.transaction() as tx:
        (number,) = inbox.keep(tx, "sales", [Arrival("unnamed", "", "", b"{}")], origin="webhook", lane="notice")
    poll.fetch_announced(house, "test")
    ended = message(house, number)
    assert (ended["state"], ended["rule"]) == ("ignored", "names_no_record")
