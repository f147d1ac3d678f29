"""The laws of S28 under any order and repetition of what people and systems do, over real PostgreSQL.

TRUEUP_LEDGER_SCHEDULES sets how many schedules are tried (6 when not given), each of up to 14 steps.
"""

import os
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from laws import broken
from office import Office

from small_firm import gid_of
from trueup.kernel.errors import Busy, Held, Refused
from trueup.processes import adjustments, corrections, rerating

SCHEDULES = int(os.environ.get("TRUEUP_LEDGER_SCHEDULES", "6"))
KEYS = st.sampled_from(["e1", "e2", "e3"])
MINUTES = st.sampled_from([1, 20, 60, 95, 240, 480])
PICK = st.integers(0, 5)


class Ledger(RuleBasedStateMachine):
    """One capped time-and-material deal, one milestone, three entries, and everything that can happen to them."""

    def __init__(self, database):
        super().__init__()
        self.database = database
        self.office = Office(database)
        self.office.deal("X01", 100, cap=900)
        self.office.deal("X03", 0, method="fixed_fee", goal=5000)
        self.months = iter([f"{year}-{month:02d}" for year in (2026, 2027, 2028) for month in range(8, 13)])
        self.decisions = []

    def teardown(self):
        self.office.close()

    @rule(key=KEYS, minutes=MINUTES, state=st.sampled_from(["ok", "ok", "ok", "sent"]))
    def approve_edit_or_unapprove(self, key, minutes, state):
        self.office.work(key, minutes, state=state)

    @initialize()
    def begin_with_billed_work(self):
        for key, minutes in (("e1", 240), ("e2", 480), ("e3", 95)):
            self.office.work(key, minutes)
        self.office.run(next(self.months))
        self.office.post("X01-DE01-2026-08")

    @rule()
    def bill(self):
        month = next(self.months, None)
        if month:
            self.office.run(month)
            before = self.office.invoices()
            self.office.run(month)
            assert self.office.invoices() == before, "I3: billing twice changes nothing"

    @rule()
    def finish_the_milestone(self):
        self.office.milestone("X03")

    def chosen(self, pick, *states):
        found = sorted(
            code for code, (kind, status, _) in self.office.invoices().items() if kind == "invoice" and status in states
        )
        return found[pick % len(found)] if found else None

    @rule(pick=PICK)
    def post(self, pick):
        if code := self.chosen(pick, "draft"):
            self.office.post(code)

    @rule(pick=PICK)
    def pay(self, pick):
        if code := self.chosen(pick, "posted"):
            self.office.say(code, status="paid", balance="0.00")

    @rule(pick=PICK)
    def void(self, pick):
        if code := self.chosen(pick, "draft"):
            self.office.say(code, status="voided")

    @rule(pick=PICK, minutes=st.sampled_from([None, 1, 30]), again=st.booleans(), whole=st.booleans())
    def credit(self, pick, minutes, again, whole):
        code = self.chosen(pick, "posted", "paid")
        if code is None:
            return
        with self.database.transaction() as tx:
            gid = gid_of(self.office.house, "invoice", code)
            on_it = tx.rows("select distinct fact from charges where document = %s order by fact", (gid,))
            fact = on_it[pick % len(on_it)]["fact"]
            if fact.startswith("mil"):
                minutes = None
            try:
                corrections.credit(
                    tx, self.office.house, gid, by="Ana", reason="as agreed", again=again,
                    facts=None if whole else {fact: minutes},
                )  # fmt: skip
            except Held:
                tx.run("rollback")

    @rule(rate=st.sampled_from([90, 100, 133]), policy=st.sampled_from(rerating.POLICIES))
    def rerate(self, rate, policy):
        self.office.rate("X01", rate)
        found = rerating.propose(
            self.office.house, date(2026, 1, 1), None, policy, by="Ana", reason="the price changed"
        )  # fmt: skip
        self.decisions += found["adjustments"]

    @rule(
        key=KEYS,
        kind=st.sampled_from(["write_off", "postponed", "non_billable", "courtesy", "write_down"]),
    )
    def adjust(self, key, kind):
        gid = self.office.entries.get(key)
        if gid is None:
            return
        until = date(2027, 1, 15) if kind == "postponed" else None
        try:
            made = adjustments.propose(
                self.office.house, kind, [gid], by="Ana", reason="as agreed with the client", until=until
            )
        except Refused:
            return
        self.decisions.append(made["number"])

    @precondition(lambda self: self.decisions)
    @rule(pick=PICK, what=st.sampled_from(["approve", "approve", "reject", "undo"]))
    def decide(self, pick, what):
        number = self.decisions[pick % len(self.decisions)]
        try:
            if what == "undo":
                adjustments.undo(self.office.house, number, by="Bo", reason="on second thoughts")
            else:
                getattr(adjustments, what)(self.office.house, number, by="Bo")
        except (Refused, Held, Busy):
            pass

    @invariant()
    def every_law_holds(self):
        assert broken(self.database) == {}


def test_any_schedule_keeps_every_law(database):
    run_state_machine_as_test(
        lambda: Ledger(database),
        settings=settings(
            max_examples=SCHEDULES,
            stateful_step_count=14,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )


STEPS = st.one_of(
    st.tuples(st.just("approve_edit_or_unapprove"), KEYS, MINUTES, st.sampled_from(["ok", "ok", "ok", "sent"])),
    st.tuples(st.sampled_from(["bill", "bill", "finish_the_milestone"])),
    st.tuples(st.sampled_from(["post", "post", "pay", "void"]), PICK),
    st.tuples(st.just("credit"), PICK, st.sampled_from([None, 1, 30]), st.booleans(), st.booleans()),
    st.tuples(st.just("rerate"), st.sampled_from([90, 100, 133]), st.sampled_from(rerating.POLICIES)),
    st.tuples(
        st.just("adjust"), KEYS, st.sampled_from(["write_off", "postponed", "non_billable", "courtesy", "write_down"])
    ),
    st.tuples(st.just("decide"), PICK, st.sampled_from(["approve", "approve", "approve", "reject", "undo"])),
)


@settings(max_examples=SCHEDULES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(steps=st.lists(STEPS, min_size=20, max_size=30))
def test_any_long_schedule_keeps_every_law(database, steps):
    found = Ledger(database)
    try:
        found.begin_with_billed_work()
        for name, *given in steps:
            if name != "decide" or found.decisions:
                getattr(found, name)(*given)
            found.every_law_holds()
    finally:
        found.teardown()


@pytest.mark.parametrize("seen", [1])
def test_the_laws_see_a_break(database, seen):
    office = Office(database)
    office.deal("X01", 100)
    office.work("e1", 60)
    office.run()
    with database.transaction() as tx:
        tx.run("update allocations set minutes = minutes - %s", (seen,))
    assert "I1 what stands on documents is what lies in on_draft and invoiced" in broken(database)
    office.close()
