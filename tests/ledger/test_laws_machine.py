"""The laws of S28 under any order and repetition of what people and systems do, over real PostgreSQL.

TRUEUP_LEDGER_SCHEDULES sets how many schedules each of the two tests tries (6 when not given); `make laws` tries
thousands and says how many schedules and steps there were.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from laws import LAWS, broken
from ledger_machine import KEYS, MINUTES, PICK, Firm, Ledger

from trueup.processes import rerating

SCHEDULES = int(os.environ.get("TRUEUP_LEDGER_SCHEDULES", "6"))
EVERY = settings(
    max_examples=SCHEDULES, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck), database=None,
    phases=(Phase.generate, Phase.shrink) if SCHEDULES < 100 else (Phase.generate,),
)  # fmt: skip


@pytest.fixture(scope="module")
def firm(database):
    opened = Firm(database)
    yield opened
    opened.office.close()


def test_any_schedule_keeps_every_law(firm):
    run_state_machine_as_test(lambda: Ledger(firm), settings=EVERY)


DAYS = st.sampled_from(["2026-08-05"] * 3 + ["2026-08-01", "2026-09-02"])
ROLES = st.sampled_from(["Consultant"] * 4 + ["Senior", "Nobody"])
STEPS = st.one_of(
    st.tuples(st.just("approve_edit_or_unapprove"), KEYS, MINUTES, st.sampled_from(["ok", "ok", "ok", "sent"]), ROLES, DAYS),
    st.tuples(st.just("bill"), st.sampled_from([False, False, True]), PICK),
    st.tuples(st.just("bill_a_month_and_post_it"), st.booleans()),
    st.tuples(st.just("bill_a_month_and_post_it"), st.just(value=True)),
    st.tuples(st.just("finish_the_milestone"), st.sampled_from(["2026-08-20", "2026-09-30"])),
    st.tuples(st.sampled_from(["post", "post", "pay", "void"]), PICK),
    st.tuples(st.just("credit"), PICK, st.sampled_from([None, 1, 30]), st.booleans(), st.booleans()),
    st.tuples(st.just("credited_in_the_erp"), PICK, st.sampled_from([1, 30, 60])),
    st.tuples(
        st.just("rerate"), st.sampled_from([90, 100, 133]), st.sampled_from(rerating.POLICIES),
        st.sampled_from(["X01", "X02"]), st.booleans(),
    ),
    st.tuples(
        st.just("adjust"), st.sampled_from(["e1", "e2", "e3", "e4", "r1"]),
        st.sampled_from(["write_off", "postponed", "non_billable", "courtesy", "write_down"]), st.booleans(),
    ),
    st.tuples(st.just("decide"), PICK, st.sampled_from(["approve", "approve", "approve", "reject", "undo"])),
    st.tuples(st.just("raise_the_cap"), st.sampled_from([1500, 3000])),
    st.tuples(st.just("hold_or_let_go"), KEYS),
    st.tuples(st.just("two_at_once"), PICK, st.sampled_from(["same", "next", "milestone", "credit"])),
    st.tuples(st.just("release_a_brake"), PICK),
    st.tuples(st.sampled_from(["close_a_month"])),
)  # fmt: skip


@settings(EVERY)
@given(steps=st.lists(STEPS, min_size=12, max_size=24))
def test_any_long_schedule_keeps_every_law(firm, steps):
    found = Ledger(firm)
    found.every_law_holds()
    found.what_was_posted_stays()
    for name, *with_what in steps:
        if name != "decide" or found.decisions:
            getattr(found, name)(*with_what)
        found.every_law_holds()
        found.what_was_posted_stays()


TAMPERING = {
    "I1 a charge is on documents": "update allocations set amount = amount + 10000 where charge like 'tim%%'",
    "I1 what stands": "update allocations set minutes = minutes - 1 where minutes > 1",
    "I2": "update objects set body = jsonb_set(body, '{net}', '\"1.00\"') where kind = 'invoice'",
    "I4 what is on documents": "update time_entries set status = 'submitted'",
    "I4 the price": "update charges set minutes = minutes + 1 where kind = 'time'",
    "I5 revenue to date": "update positions set recognised = recognised * 2, billed = billed + recognised where method = 'milestone'",
    "I5 revenue is the whole": "update positions set recognised = recognised - 1, billed = billed - 1 where method = 'milestone'",
    "I5 a capped line": "update objects set body = jsonb_set(body, '{lines,0,cap}', '\"-1.00\"') where body ->> 'code' = 'X01'",
    "I6": "update positions set recognised = recognised + 10000, unbilled = unbilled + 10000",
    "I7 debits": "update revenue_postings set debit = debit + 1 where debit > 0",
    "I7 every journal": "update objects set body = jsonb_set(body, '{total_debit}', '\"1\"') where kind = 'journal_reference'",
    "I8 all buckets of an approved entry": "update time_entries set minutes = minutes + 1",
    "I8 all buckets of an approved expense": "update expense_lines set amount = amount + 10000",
    "I9": "update objects set body = jsonb_set(body, '{tax}', '\"9999\"') where body ->> 'invoice_type' = 'credit'",
    "I10": "delete from document_numbers",
    "I11": "update charges set trace = '{}'",
    "I12": "update revenue_postings set created_at = now() + interval '1 day'",
    "every bucket": "update buckets set quantity = quantity + 1 where bucket = 'invoiced'",
}


@pytest.mark.parametrize("law", TAMPERING)
def test_each_law_sees_its_break(firm, law):
    found = Ledger(firm)
    found.spend("r1", 100)
    found.finish_the_milestone("2026-08-20")
    found.bill_a_month_and_post_it(post=True)
    found.close_a_month()
    found.credit(0, None, again=False, whole=True)
    assert broken(found.database) == {}
    with found.database.transaction() as tx:
        tx.run("set local session_replication_role = replica")
        assert tx.run(TAMPERING[law]) > 0
    assert [name for name in broken(found.database) if name.startswith(law)]


def test_every_law_has_a_break_that_it_sees():
    assert [law for law in LAWS if not any(law.startswith(seen) for seen in TAMPERING)] == []
