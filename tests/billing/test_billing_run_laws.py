"""What must be true of every billing run, whatever the contracts say."""

import contract_sets
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing.buckets import broken_laws, settle
from trueup.billing.frames import RunFacts, RunPlan
from trueup.billing.reference import run as reference
from trueup.billing.run import plan_run
from trueup.kernel.periods import last_day

PERIOD = "2026-08"
END = last_day(PERIOD)

many = settings(deadline=None, max_examples=35)
some = settings(deadline=None, max_examples=12)


@many
@given(contract_sets.run_facts())
def test_the_vectorised_run_and_the_reference_agree_to_the_last_unit(facts: RunFacts) -> None:
    plan = reference.seen(plan_run(facts, END, PERIOD))
    expected = reference.plan_run(facts, END, PERIOD)
    assert plan.charges == expected.charges
    assert plan.holds == expected.holds
    assert plan.lines == expected.lines
    assert plan.invoices == expected.invoices


@many
@given(contract_sets.termed_facts())
def test_both_engines_agree_to_the_last_unit_whatever_the_terms_say(facts: RunFacts) -> None:
    plan = reference.seen(plan_run(facts, END, PERIOD))
    expected = reference.plan_run(facts, END, PERIOD)
    assert plan.charges == expected.charges
    assert plan.holds == expected.holds
    assert plan.lines == expected.lines
    assert plan.invoices == expected.invoices


@some
@given(contract_sets.termed_facts())
def test_terms_lose_no_minute_and_no_cent(facts: RunFacts) -> None:
    assert broken_laws(facts, plan_run(facts, END, PERIOD), END) == []


@some
@given(contract_sets.termed_facts(fresh=True))
def test_a_second_run_bills_nothing_new_whatever_the_terms_say(facts: RunFacts) -> None:
    first = plan_run(facts, END, PERIOD)
    second = plan_run(settle(facts, first), END, PERIOD)
    assert second.invoices.is_empty()


@some
@given(contract_sets.run_facts())
def test_every_open_minute_and_amount_is_in_exactly_one_bucket_and_documents_add_up(facts: RunFacts) -> None:
    assert broken_laws(facts, plan_run(facts, END, PERIOD), END) == []


@some
@given(contract_sets.run_facts())
def test_a_second_run_gives_nothing_new(facts: RunFacts) -> None:
    first = plan_run(facts, END, PERIOD)
    second = plan_run(settle(facts, first), END, PERIOD)
    final = ["on_draft", "covered_by_fixed_fee", "non_billable"]
    assert second.charges.filter(pl.col("bucket").is_in(final)).is_empty()
    assert second.invoices.is_empty()
    waiting = first.charges.filter(~pl.col("bucket").is_in(final))
    same = ["key", "bucket", "amount", "minutes", "hold_code"]
    assert second.charges.select(same).equals(waiting.select(same))


@some
@given(contract_sets.run_facts(), st.integers(0, 1000))
def test_the_order_of_rows_plays_no_part(facts: RunFacts, seed: int) -> None:
    shuffled = RunFacts(
        entries=facts.entries.sample(fraction=1, shuffle=True, seed=seed),
        expenses=facts.expenses.sample(fraction=1, shuffle=True, seed=seed),
        projects=facts.projects.sample(fraction=1, shuffle=True, seed=seed),
        rates=facts.rates.sample(fraction=1, shuffle=True, seed=seed),
    )
    assert_same(plan_run(facts, END, PERIOD), plan_run(shuffled, END, PERIOD))


def assert_same(one: RunPlan, other: RunPlan) -> None:
    assert one.charges.equals(other.charges)
    assert one.invoices.equals(other.invoices)
    assert one.invoice_lines.equals(other.invoice_lines)
    assert one.holds.equals(other.holds)
