"""Brakes: each bound holds the invoice that breaks it, a normal run passes, and both engines find the same."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from frames_for_tests import entries, eur, facts, projects, rates
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing import brakes
from trueup.billing.brakes import Bounds, History, Shape, brake, empty_history, findings
from trueup.billing.frames import CHARGES, HOLDS, INVOICE_LINES, INVOICES, RunPlan
from trueup.billing.holds import REASONS
from trueup.billing.reference import brakes as plain
from trueup.billing.run import plan_run

DAY = date(2026, 8, 3)
CODE = "D01-DE01-2026-08"


def rows(shape: Shape, *given_rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(
        list(given_rows), schema={name: column.dtype for name, column in shape.columns.items()}, orient="row"
    )


def august(**project: Any) -> RunPlan:
    """One entry of eight hours at 100.00 on one draft."""
    seen = facts(entries({}), projects=projects(project), rates=rates({"rate": eur("100.00")}))
    return plan_run(seen, date(2026, 8, 31), "2026-08")


def quiet() -> History:
    """What was before August, and nothing of it strange."""
    before = [
        {"code": f"B{n}", "contract": "con_1", "legal_entity": "DE01", "currency": "EUR",
         "invoice_date": date(2026, 4 + n, 28), "net": eur("700.00")}
        for n in range(3)
    ]  # fmt: skip
    return replace(
        empty_history(),
        days=rows(brakes.DAYS, {"resource": "res_1", "worked_on": DAY, "minutes": 480}),
        facts=rows(
            brakes.CHECKED,
            {"fact": "tim_1", "resource": "res_1", "worked_on": DAY, "changed_after_approval": False},
        ),
        caps=rows(brakes.CAPS_LEFT, {"project": "prj_1", "cap_left": eur("800.00")}),
        rates=rows(brakes.RATE_DATES, {"gid": "rul_1", "valid_from": date(2026, 1, 1), "valid_to": DAY}),
        invoices=rows(brakes.PAST_INVOICES, *before),
        closed=rows(brakes.CLOSED, {"legal_entity": "DE01", "period": "2026-07"}),
    )


BAD: dict[str, tuple[History, str]] = {
    "minutes_a_day": (
        replace(quiet(), days=rows(brakes.DAYS, {"resource": "res_1", "worked_on": DAY, "minutes": 1441})),
        "res_1 on 2026-08-03 has 1441 minutes of work; a day has 1440.",
    ),
    "over_cap": (
        replace(quiet(), caps=rows(brakes.CAPS_LEFT, {"project": "prj_1", "cap_left": eur("799.99")})),
        "Time of 800.00 EUR is above the 799.99 EUR left of the cap of prj_1.",
    ),
    "times_mean": (
        replace(quiet(), invoices=quiet().invoices.with_columns(net=pl.lit(eur("266.66")))),
        "The invoice of 800.00 EUR is above 799.98 EUR, the allowed multiple of the mean of the last 3 invoices.",
    ),
    "rate_dates": (
        replace(quiet(), rates=rows(
            brakes.RATE_DATES, {"gid": "rul_1", "valid_from": date(2026, 8, 4), "valid_to": None})),
        "1 charges use a rate that is not in force on the day of work, first rul_1 on 2026-08-03.",
    ),
    "after_approval": (
        replace(quiet(), facts=quiet().facts.with_columns(changed_after_approval=pl.lit(value=True))),
        "1 facts were changed after their approval, first tim_1.",
    ),
    "closed_period": (
        replace(quiet(), closed=rows(brakes.CLOSED, {"legal_entity": "DE01", "period": "2026-08"})),
        "The month 2026-08 is closed.",
    ),
}  # fmt: skip


def test_a_normal_run_does_not_brake() -> None:
    plan = august()
    assert plan.invoices.height == 1
    assert brake(plan, quiet(), Bounds()) is plan
    assert brake(plan, empty_history(), Bounds(rate_dates=False)) is plan


@pytest.mark.parametrize("bound", list(BAD))
def test_each_bound_holds_the_invoice_that_breaks_it_and_says_why(bound: str) -> None:
    history, sentence = BAD[bound]
    braked = brake(august(), history, Bounds())
    assert (braked.invoices.height, braked.invoice_lines.height) == (0, 0)
    [charge] = braked.charges.select("bucket", "hold_code", "invoice_code", "line_key", "minutes").rows()
    assert charge == ("held", "BRAKE", None, None, 480)
    [hold] = braked.holds.rows(named=True)
    assert hold["scope"] == CODE
    assert (hold["code"], hold["amount"], hold["minutes"]) == ("BRAKE", eur("800.00"), 480)
    assert hold["sentence"] == f"{CODE}: {sentence}"
    assert "BRAKE" in REASONS


def test_a_bound_that_is_switched_off_does_not_brake() -> None:
    off = Bounds(None, None, False, None, 6, 3, False, False, False, False)
    for history, _ in BAD.values():
        assert findings(august(), history, off) == plain.findings(august(), history, off) == []


def test_sixteen_fees_of_one_contract_on_one_day_are_too_many() -> None:
    plan = august(method="retainer", monthly_fee=eur("10.00"), fees_due=["2026-08"], included_minutes=None)
    others = replace(
        quiet(),
        fixed=rows(brakes.FIXED_ITEMS, {"contract": "con_1", "service_on": date(2026, 8, 31), "items": 15}),
    )
    [found] = findings(plan, others, Bounds(times_mean=None))
    assert (found.bound, found.figure, found.limit) == ("fixed_lines_a_day", 16, 15)
    assert findings(plan, quiet(), Bounds(times_mean=None)) == []


def test_an_invoice_below_zero_brakes() -> None:
    plan = august()
    negative = replace(plan, invoices=plan.invoices.with_columns(net=-pl.col("net")))
    assert [one.bound for one in findings(negative, quiet(), Bounds())] == ["negative"]


def test_a_beginning_is_no_outlier() -> None:
    young = replace(quiet(), invoices=quiet().invoices.head(2).with_columns(net=pl.lit(eur("1.00"))))
    assert findings(august(), young, Bounds()) == []


def test_what_a_person_released_at_this_net_passes_and_another_net_does_not() -> None:
    history, _ = BAD["closed_period"]
    document = CODE
    same = replace(history, released=rows(brakes.RELEASED, {"document": document, "net": eur("800.00")}))
    other = replace(history, released=rows(brakes.RELEASED, {"document": document, "net": eur("799.00")}))
    assert brake(august(), same, Bounds()).invoices.height == 1
    assert brake(august(), other, Bounds()).invoices.height == 0


# --- both engines -----------------------------------------------------------------------------------------------------

SOME_DAY = st.integers(0, 3).map(lambda n: DAY + timedelta(days=n))
NAMES = st.sampled_from(["a", "b"])


def column(name: str) -> Any:
    return {
        "kind": st.sampled_from(["time", "fee", "milestone"]),
        "bucket": st.sampled_from(["on_draft", "on_draft", "held"]),
        "amount": st.integers(-2, 6), "net": st.integers(-2, 6), "minutes": st.integers(1, 4),
        "cap_left": st.none() | st.integers(-1, 8), "items": st.integers(0, 2), "valid_from": SOME_DAY,
        "valid_to": st.none() | SOME_DAY, "service_on": SOME_DAY, "worked_on": SOME_DAY, "invoice_date": SOME_DAY,
        "changed_after_approval": st.booleans(), "rate_line": st.none() | st.sampled_from(["a", "b", "c"]),
        "resource": st.none() | NAMES,
    }.get(name, NAMES)  # fmt: skip


def some(shape: Shape, *keys: str) -> Any:
    one = st.fixed_dictionaries({name: column(name) for name in shape.columns})
    unique = (lambda row: tuple(row[key] for key in keys)) if keys else None
    return st.lists(one, max_size=6, unique_by=unique).map(lambda found: rows(shape, *found))


def a_plan(charged: list[dict[str, Any]], invoiced: list[dict[str, Any]]) -> RunPlan:
    codes = {one["code"] for one in invoiced}
    kept = [one for one in charged if one["bucket"] != "on_draft" or one["invoice_code"] in codes]
    return RunPlan(
        rows(CHARGES, *[{name: one.get(name) for name in CHARGES.columns} for one in kept]),
        rows(INVOICES, *[{name: one.get(name) for name in INVOICES.columns} for one in invoiced]),
        INVOICE_LINES.empty(),
        HOLDS.empty(),
    )


CHARGED = st.lists(st.fixed_dictionaries({
    name: column(name) for name in
    ("fact", "kind", "project", "contract", "service_on", "amount", "bucket", "invoice_code", "rate_line")
}), max_size=8)  # fmt: skip
INVOICED = st.lists(st.fixed_dictionaries({
    name: column(name) for name in
    ("code", "project", "contract", "legal_entity", "currency", "invoice_date", "period", "net")
}), max_size=2, unique_by=lambda one: one["code"])  # fmt: skip
PLANS = st.builds(a_plan, CHARGED, INVOICED)
HISTORIES = st.builds(
    History, some(brakes.DAYS, "resource", "worked_on").map(lambda f: f.drop_nulls()), some(brakes.CHECKED, "fact"),
    some(brakes.CAPS_LEFT, "project"), some(brakes.RATE_DATES, "gid"), some(brakes.PAST_INVOICES, "code"),
    some(brakes.FIXED_ITEMS, "contract", "service_on"), some(brakes.CLOSED, "legal_entity", "period"),
    st.just(brakes.RELEASED.empty()),
)  # fmt: skip
TIGHT = st.builds(
    Bounds, st.none() | st.integers(1, 3), st.none() | st.integers(0, 3), st.booleans(), st.none() | st.integers(1, 3),
    st.integers(1, 3), st.integers(0, 2), st.booleans(), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(PLANS, HISTORIES, TIGHT)
def test_the_fast_way_finds_what_the_definition_finds(plan: RunPlan, history: History, bounds: Bounds) -> None:
    assert findings(plan, history, bounds) == plain.findings(plan, history, bounds)
