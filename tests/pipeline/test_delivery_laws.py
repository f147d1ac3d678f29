"""P2 and P3 under every schedule Hypothesis can think of: two workers that crash anywhere, calls that break off, writes
that come late, time that passes. The target's own journal is the judge. Time passes by moving the ledger's instants back:
the clock of the database is the only one that is asked."""

import os
import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from target import KEY_LIFE, LAG, LATEST, TIMEOUT, build, command

from trueup.model import delivery
from trueup.pipeline import deliver, settling
from trueup.pipeline.read_back import read_back
from trueup.pipeline.windows import Gate, Posting
from trueup.store import deliveries

SCHEDULES = int(os.environ.get("TRUEUP_EFFECT_SCHEDULES", "8"))
GIDS = ("cus_one", "cus_two")
WORKERS = ("one", "two")
FAULTS = st.sampled_from(["", "before", "after", "late", "late", "busy"])
TABLES = ("regressions", "delivery_bodies", "delivery_attempts", "deliveries", "crosswalk", "events", "systems")
LEASE = settling.lease_seconds(TIMEOUT)


class Effects(RuleBasedStateMachine):
    """Effects of one class on one target."""

    database = None
    dedupe = "A"

    def __init__(self):
        super().__init__()
        with self.database.transaction() as tx:
            tx.run("update deliveries set undoes = null where undoes is not null")
            for table in TABLES:
                tx.run(f"delete from {table}")
        self.house, self.system, self.books = build(self.database, self.dedupe)
        self.asked = dict.fromkeys(GIDS, 0)
        self.hands = {}
        self.clock = 0.0
        self.looked_at = time.monotonic()

    def tick(self):
        """Let the target's clock go on with the database's, which a slow machine lets run on between two steps."""
        passed, self.looked_at = time.monotonic() - self.looked_at, time.monotonic()
        self.clock += passed
        self.books.pass_time(passed)

    # --- what happens ----------------------------------------------------------------------------------------------

    @initialize()
    def begin(self):
        self.ask("cus_one")

    @rule(gid=st.sampled_from(GIDS))
    def ask(self, gid):
        self.asked[gid] += 1
        with self.database.transaction() as tx:
            deliveries.ask(tx, [command(gid, self.asked[gid], self.dedupe)])

    @rule(worker=st.sampled_from(WORKERS))
    def claim(self, worker):
        """A worker takes what there is, and writes down what it will send."""
        if worker in self.hands:
            return
        with self.database.transaction() as tx:
            claimed = deliveries.claim(tx, "target", 10, worker, LEASE)
            gate = Gate(tx, "target", self.system.role, Posting())
            until = self.clock + LEASE - settling.attempt_seconds(TIMEOUT)
            ready, results = deliver._prepare(tx, self.house, self.system, claimed, gate, until)
        if claimed:
            self.hands[worker] = (claimed, ready, results)

    @rule(worker=st.sampled_from(WORKERS), fault=FAULTS, late=st.floats(0.1, LATEST))
    def call(self, worker, fault, late):
        """It makes its calls; each may break off in its own way."""
        if worker not in self.hands or not self.hands[worker][1]:
            return
        self.tick()
        claimed, ready, results = self.hands[worker]
        done = []
        for item in ready:
            self.books.fault, self.books.late = fault, late
            done.append(deliver._do(self.system, item, self.clock))
            self.books.fault = ""
        self.hands[worker] = (claimed, [], [*results, *done])

    @rule(worker=st.sampled_from(WORKERS))
    def settle(self, worker):
        """It writes down what came of them."""
        if worker in self.hands and not self.hands[worker][1]:
            claimed, _, results = self.hands.pop(worker)
            with self.database.transaction() as tx:
                deliver._settle(tx, self.house, self.system, claimed, results)

    @rule(
        worker=st.sampled_from(WORKERS),
        fault=FAULTS,
        late=st.floats(0.1, LATEST),
        seconds=st.sampled_from([1.0, 4.0, LAG + 1, LATEST, LATEST + LAG + 1]),
    )
    def hand(self, worker, fault, late, seconds):
        """It does all three, some time after it did something the last time."""
        self.time(seconds)
        self.claim(worker)
        self.call(worker, fault, late)
        self.settle(worker)

    @rule(worker=st.sampled_from(WORKERS))
    def die(self, worker):
        """It is gone, wherever it was; others learn of it."""
        if self.hands.pop(worker, None):
            with self.database.transaction() as tx:
                deliveries.release(tx, worker)

    @rule(seconds=st.sampled_from([0.5, LAG, LATEST / 2, LATEST + LAG, LEASE, KEY_LIFE * 0.9, KEY_LIFE * 2]))
    def time(self, seconds):
        """Time passes; workers that hold something may have been frozen all the while."""
        self.clock += seconds
        self.books.pass_time(seconds)
        with self.database.transaction() as tx:
            tx.run(
                """
                update deliveries set due_at = due_at - make_interval(secs => %(s)s),
                    lease_until = lease_until - make_interval(secs => %(s)s),
                    silent_at = silent_at - make_interval(secs => %(s)s),
                    first_sent_at = first_sent_at - make_interval(secs => %(s)s),
                    sent_at = sent_at - make_interval(secs => %(s)s),
                    accepted_at = accepted_at - make_interval(secs => %(s)s),
                    read_back_at = read_back_at - make_interval(secs => %(s)s)
                """,
                {"s": seconds},
            )
            tx.run("update systems set paused_until = null")

    @precondition(lambda self: self.dedupe == "A")
    @rule()
    def look_back(self):
        read_back(self.house, self.system)

    # --- what is always so -----------------------------------------------------------------------------------------

    @invariant()
    def a_business_effect_happens_once(self):
        for gid in GIDS:
            assert len(self.books.of(gid)) <= 1, self.books.journal

    @invariant()
    def one_write_of_an_object_is_under_way(self):
        with self.database.transaction() as tx:
            rows = tx.rows(
                "select gid from deliveries where state = any(%s) group by gid having count(*) > 1",
                (list(delivery.OUT),),
            )
        assert rows == []

    def teardown(self):
        """Let everything heal, and compare the ends."""
        for worker in WORKERS:
            self.die(worker)
        for turn in range(60):
            self.claim("one")
            self.call("one", "", 1.0)
            self.settle("one")
            self.time(1.0 if turn < 6 else LATEST)
            read_back(self.house, self.system)
            if self.ended():
                break
        self.a_business_effect_happens_once()
        with self.database.transaction() as tx:
            rows = tx.rows("select key, gid, state, code, external_id from deliveries order by sequence")
            left = [row for row in rows if row["state"] not in ("confirmed", "parked")]
        if self.dedupe == "D":
            assert all(row["state"] in ("confirmed", "parked", "due") for row in rows), rows
            assert all(row["code"] == "silence" for row in rows if row["state"] == "parked"), rows
            return
        assert not left, left
        for gid in GIDS:
            if self.asked[gid]:
                (there,) = self.books.of(gid)
                assert {row["external_id"] for row in rows if row["gid"] == gid} == {there.id}
                assert there.value == self.asked[gid], (self.books.journal, rows)

    def made(self):
        """Return how many documents there are of the first object."""
        return len(self.books.of("cus_one"))

    def ended(self):
        if self.books.coming:
            return False  # a read-back is later than what can come late: `settling.wrong` sees to it
        with self.database.transaction() as tx:
            tx.run("update deliveries set read_back_at = now() where read_back_at is not null")
            left = tx.value(
                "select count(*) from deliveries where state = any(%s) or read_back_at is not null",
                (list(delivery.OPEN),),
            )
        return not left


@pytest.mark.parametrize("dedupe", "ABCD")
def test_an_effect_happens_once_whatever_breaks_off_crashes_freezes_or_comes_late(database, dedupe):
    machine = type("Effects", (Effects,), {"database": database, "dedupe": dedupe})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=SCHEDULES,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


# --- schedules that somebody thought of -----------------------------------------------------------------------------


def begun(database, dedupe):
    made = type("Effects", (Effects,), {"database": database, "dedupe": dedupe})()
    made.begin()
    return made


@pytest.fixture
def machine(database):
    """Effects of class C, the first one asked for."""
    return begun(database, "C")


def healed(machine):
    machine.teardown()
    assert machine.made() == 1


def test_a_worker_that_was_frozen_past_its_lease_sends_nothing_when_it_wakes(machine):
    machine.claim("one")
    machine.time(LEASE + 1)
    machine.hand("two", "", 1.0, 1.0)
    machine.hand("two", "", 1.0, LATEST + LAG + 1)
    machine.hand("two", "", 1.0, 1.0)
    assert machine.made() == 1, "another has made it, after the cool-down"
    machine.call("one", "", 1.0)
    assert machine.made() == 1
    machine.settle("one")
    healed(machine)


def test_a_worker_that_sent_at_the_very_end_of_its_lease_is_given_the_whole_cool_down(machine):
    machine.claim("one")
    machine.time(LEASE - settling.attempt_seconds(TIMEOUT) - 1)
    machine.call("one", "late", LATEST)
    machine.time(settling.attempt_seconds(TIMEOUT) + 2)
    for _ in range(4):
        machine.hand("two", "", 1.0, 1.0)
    assert machine.made() == 0, "nobody made it anew: what was sent last can still come"
    healed(machine)


def test_silence_is_counted_from_the_last_call_and_not_from_the_first(machine):
    machine.hand("one", "busy", 1.0, 1.0)
    machine.hand("one", "late", LATEST, LATEST + LAG + 1)
    for _ in range(3):
        machine.hand("one", "", 1.0, LAG + 1)
    assert machine.made() == 0
    healed(machine)


def test_what_has_come_and_is_not_shown_yet_is_not_made_again(machine):
    machine.hand("one", "late", LATEST, 1.0)
    machine.time(LATEST + 1)
    for _ in range(3):
        machine.hand("one", "", 1.0, 1.0)
    assert machine.made() == 1
    healed(machine)


def test_while_nobody_knows_whether_the_first_landed_the_second_is_not_sent(machine):
    machine.ask("cus_one")
    machine.hand("one", "late", LATEST / 2, 1.0)
    machine.hand("one", "", 1.0, 1.0)
    machine.hand("two", "", 1.0, 1.0)
    assert machine.books.journal == []
    healed(machine)
    assert machine.books.journal == [("cus_one", 1), ("cus_one", 2)]


def test_an_upsert_that_comes_late_over_the_next_one_is_read_back_and_healed(database):
    machine = begun(database, "A")
    machine.ask("cus_one")
    machine.hand("one", "late", LATEST, 1.0)
    machine.hand("one", "", 1.0, 1.0)
    machine.hand("one", "", 1.0, 1.0)
    assert machine.books.journal == [("cus_one", 1), ("cus_one", 2)]
    machine.time(LATEST)
    assert machine.books.of("cus_one")[0].value == 1, "the older value stands over the newer"
    healed(machine)
    assert machine.books.journal[-1] == ("cus_one", 2)
    with database.transaction() as tx:
        (found,) = deliveries.regressions(tx)
    assert (found["key"], found["fields"]) == (
        "target/thing/cus_one/2",
        [{"path": "value", "ours": "2", "theirs": "1"}],
    )
