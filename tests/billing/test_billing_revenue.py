"""What is earned at month end, what stays unbilled or deferred, and the journals that say so."""

from datetime import date
from typing import Any

import polars as pl
import pytest
from frames_for_tests import eur
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing.frames import (
    ACCEPTANCES,
    COST_PROJECTS,
    COST_RATES,
    EARNINGS,
    LABOUR,
    LINE_POSITIONS,
    POSTED,
    PROGRESS,
    REVENUE_LINES,
    SPENT,
    WORKED,
    Shape,
)
from trueup.billing.journals import plan_journals
from trueup.billing.margin import labour_cost, project_margins
from trueup.billing.revenue import RevenueFacts, RevenuePlan, recognise

Row = dict[str, Any]
AUGUST, SEPTEMBER, OCTOBER = date(2026, 8, 31), date(2026, 9, 30), date(2026, 10, 31)
NOTHING = LINE_POSITIONS.empty()

LINE: Row = {
    "contract": "con_1", "contract_line": "L1", "legal_entity": "DE01", "currency": "EUR", "method": "as_invoiced",
    "fee": 0, "estimated_minutes": None,
}  # fmt: skip
CHARGE: Row = {"contract": "con_1", "contract_line": "L1", "bucket": "on_draft", "hold_code": None, "earned_on": AUGUST}
MILESTONE: Row = {
    "contract": "con_1", "contract_line": "L1", "acceptance_required": True, "completed_on": None,
    "accepted_on": None, "status": "completed",
}  # fmt: skip
HOURS: Row = {"contract": "con_1", "contract_line": "L1", "approved_on": AUGUST}
INVOICE: Row = {"contract": "con_1", "contract_line": "L1", "document": "invoice", "dated_on": AUGUST}


def rows(shape: Shape, default: Row, given_rows: list[Row] | None) -> pl.DataFrame:
    schema = {name: column.dtype for name, column in shape.columns.items()}
    return pl.DataFrame([{**default, **row} for row in given_rows or []], schema=schema)


def facts(
    lines: list[Row] | None = None,
    charges: list[Row] | None = None,
    milestones: list[Row] | None = None,
    progress: list[Row] | None = None,
    posted: list[Row] | None = None,
) -> RevenueFacts:
    return RevenueFacts(
        rows(REVENUE_LINES, LINE, [{}] if lines is None else lines),
        rows(EARNINGS, CHARGE, charges),
        rows(ACCEPTANCES, MILESTONE, milestones),
        rows(PROGRESS, HOURS, progress),
        rows(POSTED, INVOICE, posted),
    )


def recognised(plan: RevenuePlan) -> list[int]:
    return plan.lines["recognised"].to_list()


def position(plan: RevenuePlan) -> Row:
    [row] = plan.contracts.select(
        "recognised", "billed", "unbilled", "deferred", "recognised_delta", "unbilled_delta", "deferred_delta"
    ).to_dicts()
    return row


# --- as invoiced ------------------------------------------------------------------------------------------------------


def test_time_billed_a_month_later_is_unbilled_in_between() -> None:
    worked = [
        {"amount": eur("42000"), "earned_on": date(2026, 1, 31)},
        {"amount": eur("38500"), "earned_on": date(2026, 2, 28)},
        {"amount": eur("45250"), "earned_on": date(2026, 3, 31)},
    ]
    invoiced = [
        {"net": eur("42000"), "dated_on": date(2026, 2, 28)},
        {"net": eur("38500"), "dated_on": date(2026, 3, 31)},
        {"net": eur("45250"), "dated_on": date(2026, 4, 30)},
    ]
    everything = facts(charges=worked, posted=invoiced)
    previous, table = NOTHING, []
    for end in (date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30)):
        plan = recognise(everything, end, previous)
        table.append((position(plan)["recognised_delta"], position(plan)["unbilled"]))
        previous = plan.lines
    assert table == [
        (eur("42000"), eur("42000")),
        (eur("38500"), eur("38500")),
        (eur("45250"), eur("45250")),
        (0, 0),
    ]


@pytest.mark.parametrize(
    ("bucket", "hold", "earned"),
    [
        ("on_draft", None, True),
        ("invoiced", None, True),
        ("credited", None, True),
        ("held", "TAX_UNDETERMINED", True),
        ("held", "RECEIPT_MISSING", False),
        ("held", "CONTRACT_INACTIVE", False),
        ("over_cap", "CAP_EXCEEDED", False),
        ("held", "CAP_EXCEEDED", False),
        ("non_billable", None, False),
    ],
)
def test_a_charge_is_earned_unless_something_but_the_tax_is_missing(
    bucket: str, hold: str | None, earned: bool
) -> None:
    plan = recognise(facts(charges=[{"amount": eur("100"), "bucket": bucket, "hold_code": hold}]), AUGUST, NOTHING)
    assert recognised(plan) == [eur("100") if earned else 0]


def test_late_work_is_earned_in_the_month_it_was_approved() -> None:
    late = facts(charges=[{"amount": eur("100"), "earned_on": date(2026, 10, 5)}])
    assert recognised(recognise(late, SEPTEMBER, NOTHING)) == [0]
    assert recognised(recognise(late, OCTOBER, NOTHING)) == [eur("100")]


def test_a_credit_lowers_what_is_earned_and_what_is_billed_alike() -> None:
    credited = facts(
        charges=[{"amount": eur("8000"), "bucket": "invoiced"}],
        posted=[
            {"net": eur("8000")},
            {"net": eur("800"), "document": "credit", "dated_on": date(2026, 9, 20)},
        ],
    )
    august = recognise(credited, AUGUST, NOTHING)
    september = recognise(credited, SEPTEMBER, august.lines)
    assert position(august)["recognised"] == eur("8000")
    assert position(september)["recognised_delta"] == eur("-800")
    assert (position(september)["unbilled"], position(september)["deferred"]) == (0, 0)


# --- the other methods ------------------------------------------------------------------------------------------------


def test_a_milestone_is_earned_when_the_client_signs() -> None:
    signed_later = facts(
        lines=[{"method": "milestone"}],
        milestones=[
            {"amount": eur("36000"), "completed_on": date(2026, 9, 18), "accepted_on": date(2026, 10, 12)},
            {"amount": eur("12000"), "completed_on": date(2026, 9, 1), "acceptance_required": False},
            {"amount": eur("99"), "accepted_on": date(2026, 9, 1)},
            {"amount": eur("77"), "completed_on": date(2026, 9, 1), "accepted_on": date(2026, 9, 1), "status": "cancelled"},
        ],
    )  # fmt: skip
    assert recognised(recognise(signed_later, SEPTEMBER, NOTHING)) == [eur("12000")]
    assert recognised(recognise(signed_later, OCTOBER, NOTHING)) == [eur("48000")]


def test_hours_earn_their_share_of_the_fee_with_full_precision_and_never_more_than_the_fee() -> None:
    months = [(date(2026, 1, 31), 120, 600), (date(2026, 2, 28), 150, 600), (date(2026, 3, 31), 180, 640),
              (date(2026, 4, 30), 190, 640), (date(2026, 5, 31), 40, 640)]  # fmt: skip
    progress = [{"minutes": hours * 60, "approved_on": end} for end, hours, _ in months]
    previous, earned = NOTHING, []
    for end, _, estimate in months:
        line = {"method": "hours", "fee": eur("90000"), "estimated_minutes": estimate * 60}
        plan = recognise(facts(lines=[line], progress=progress), end, previous)
        earned += plan.lines["recognised_delta"].to_list()
        previous = plan.lines
    assert earned == [eur("18000"), eur("22500"), eur("22781.25"), eur("26718.75"), 0]


def test_hours_without_an_estimate_are_named_and_earn_nothing() -> None:
    plan = recognise(facts(lines=[{"method": "hours", "fee": eur("1")}], progress=[{"minutes": 60}]), AUGUST, NOTHING)
    assert recognised(plan) == [0]
    assert plan.problems == ("L1 of con_1 earns by hours but has no estimate; enter the estimated hours.",)


def test_a_retainer_earns_each_month_s_fee_and_its_overage() -> None:
    charges = [{"amount": eur("10000")}, {"amount": eur("660")}, {"amount": eur("10000"), "earned_on": SEPTEMBER}]
    year = facts(lines=[{"method": "ratable"}], charges=charges)
    assert recognised(recognise(year, AUGUST, NOTHING)) == [eur("10660")]
    assert recognised(recognise(year, SEPTEMBER, NOTHING)) == [eur("20660")]


def test_a_document_of_no_known_line_is_named() -> None:
    plan = recognise(facts(posted=[{"contract_line": "L9", "net": eur("5")}]), AUGUST, NOTHING)
    assert plan.problems == (
        "A posted document names L9 of con_1, which is no line of a contract; its net is not counted.",
    )


# --- netting and journals ---------------------------------------------------------------------------------------------


def test_one_contract_is_netted_and_two_are_not() -> None:
    lines = [{}, {"contract_line": "L2"}, {"contract": "con_2"}]
    plan = recognise(
        facts(
            lines=lines,
            charges=[{"amount": eur("100")}, {"amount": eur("50"), "contract": "con_2"}],
            posted=[{"contract_line": "L2", "net": eur("70")}],
        ),
        AUGUST,
        NOTHING,
    )
    assert plan.contracts.select("contract", "unbilled", "deferred").rows() == [
        ("con_1", eur("30"), 0),
        ("con_2", eur("50"), 0),
    ]


def test_billing_ahead_and_then_working_it_off_gives_these_journals() -> None:
    everything = facts(
        charges=[{"amount": eur("36000")}, {"amount": eur("60000"), "earned_on": SEPTEMBER}],
        posted=[{"net": eur("72000")}],
    )
    august = recognise(everything, AUGUST, NOTHING)
    september = recognise(everything, SEPTEMBER, august.lines)
    columns = ["code", "line", "account", "debit", "credit", "contract"]
    assert plan_journals(august.contracts, LABOUR.empty(), "2026-08").lines.select(columns).rows() == [
        ("REV-DE01-2026-08", 1, "2400", eur("36000"), 0, "con_1"),
        ("REV-DE01-2026-08", 2, "4000", 0, eur("36000"), "con_1"),
    ]
    plan = plan_journals(september.contracts, LABOUR.empty(), "2026-09")
    assert plan.lines.select(columns).rows() == [
        ("REV-DE01-2026-09", 1, "1150", eur("24000"), 0, "con_1"),
        ("REV-DE01-2026-09", 2, "2400", eur("36000"), 0, "con_1"),
        ("REV-DE01-2026-09", 3, "4000", 0, eur("60000"), "con_1"),
    ]
    assert plan.journals.select("code", "journal_type", "period", "total_debit", "total_credit").rows() == [
        ("REV-DE01-2026-09", "revenue", "2026-09", eur("60000"), eur("60000"))
    ]


def test_a_month_that_is_run_again_books_nothing() -> None:
    everything = facts(charges=[{"amount": eur("100")}], posted=[{"net": eur("70")}])
    once = recognise(everything, AUGUST, NOTHING)
    again = recognise(everything, AUGUST, once.lines)
    assert plan_journals(again.contracts, LABOUR.empty(), "2026-08").journals.is_empty()


def test_a_line_that_disappeared_is_reversed() -> None:
    before = recognise(facts(charges=[{"amount": eur("100")}]), AUGUST, NOTHING)
    gone = recognise(facts(lines=[]), SEPTEMBER, before.lines)
    lines = plan_journals(gone.contracts, LABOUR.empty(), "2026-09").lines
    assert lines.select("account", "debit", "credit").rows() == [("1150", 0, eur("100")), ("4000", eur("100"), 0)]


def test_a_journal_that_does_not_balance_is_not_made_and_is_named() -> None:
    sound = recognise(facts(charges=[{"amount": eur("100")}]), AUGUST, NOTHING).contracts
    plan = plan_journals(sound.with_columns(unbilled_delta=pl.lit(eur("90"))), LABOUR.empty(), "2026-08")
    assert plan.journals.is_empty()
    assert plan.lines.is_empty()
    assert [problem.split(":")[0] for problem in plan.problems] == ["REV-DE01-2026-08 is not made"]


def test_one_entity_in_two_currencies_is_named() -> None:
    lines = [{}, {"contract": "con_2", "currency": "USD"}]
    charges = [{"amount": eur("100")}, {"amount": eur("100"), "contract": "con_2"}]
    plan = plan_journals(recognise(facts(lines, charges), AUGUST, NOTHING).contracts, LABOUR.empty(), "2026-08")
    assert plan.journals.is_empty()
    assert "EUR and USD" in plan.problems[0]


money = st.integers(-(10**6), 10**6).map(lambda minor: minor * 10_000)
charged = st.fixed_dictionaries(
    {
        "contract": st.sampled_from(["con_1", "con_2"]),
        "amount": money,
        "bucket": st.sampled_from(["on_draft", "invoiced", "held", "over_cap"]),
        "hold_code": st.sampled_from([None, "TAX_UNDETERMINED", "RECEIPT_MISSING"]),
        "earned_on": st.sampled_from([AUGUST, SEPTEMBER]),
    }
)
posting = st.fixed_dictionaries(
    {
        "contract": st.sampled_from(["con_1", "con_2"]),
        "net": money.map(abs),
        "document": st.sampled_from(["invoice", "credit"]),
        "dated_on": st.sampled_from([AUGUST, SEPTEMBER]),
    }
)


@settings(deadline=None, max_examples=15)
@given(st.lists(charged, max_size=6), st.lists(posting, max_size=6))
def test_journals_balance_and_two_months_book_what_one_position_says(charges: list[Row], posted: list[Row]) -> None:
    everything = facts([{}, {"contract": "con_2", "legal_entity": "UK01", "currency": "GBP"}], charges, posted=posted)
    august = recognise(everything, AUGUST, NOTHING)
    september = recognise(everything, SEPTEMBER, august.lines)
    at_once = recognise(everything, SEPTEMBER, NOTHING)
    booked = pl.concat(
        [
            plan_journals(august.contracts, LABOUR.empty(), "2026-08").lines,
            plan_journals(september.contracts, LABOUR.empty(), "2026-09").lines,
        ]
    )
    assert booked["debit"].sum() == booked["credit"].sum()
    assert balances(booked) == balances(plan_journals(at_once.contracts, LABOUR.empty(), "2026-09").lines)
    open_value = pl.col("unbilled") - pl.col("deferred")
    assert at_once.contracts.select((open_value == pl.col("recognised") - pl.col("billed")).all()).item()


def balances(lines: pl.DataFrame) -> dict[tuple[str, str], int]:
    net = lines.group_by("account", "contract").agg((pl.col("debit") - pl.col("credit")).sum())
    return {(account, contract): amount for account, contract, amount in net.rows() if amount}


# --- cost and margin --------------------------------------------------------------------------------------------------

PROJECTS = rows(COST_PROJECTS, {}, [
    {"project": "prj_1", "contract": "con_1", "legal_entity": "DE01", "currency": "EUR"},
    {"project": "prj_2", "contract": "con_2", "legal_entity": "DE01", "currency": "EUR"},
])  # fmt: skip
COST_CARD = rows(COST_RATES, {"resource": "res_1", "currency": "EUR"}, [
    {"rate": eur("80"), "valid_from": date(2026, 1, 1)},
    {"rate": eur("85.50"), "valid_from": date(2026, 9, 1)},
])  # fmt: skip
ENTRY: Row = {"gid": "tim_1", "project": "prj_1", "resource": "res_1", "minutes": 50, "approved_on": SEPTEMBER}


def test_labour_costs_the_rate_of_the_day_in_the_month_of_approval() -> None:
    worked = rows(WORKED, ENTRY, [{"worked_on": AUGUST}, {"gid": "tim_2", "worked_on": date(2026, 9, 1)}])
    found = labour_cost(worked, COST_CARD, PROJECTS)
    assert found.labour.select("project", "period", "minutes", "amount").rows() == [
        ("prj_1", "2026-09", 100, eur("66.67") + eur("71.25"))
    ]
    assert found.problems == ()


def test_time_without_a_usable_cost_rate_is_named_and_not_counted() -> None:
    worked = rows(WORKED, {**ENTRY, "worked_on": AUGUST}, [
        {"resource": "res_2"},
        {"gid": "tim_2", "project": "prj_9"},
        {"gid": "tim_3", "project": "prj_2"},
    ])  # fmt: skip
    dollars = PROJECTS.with_columns(
        currency=pl.when(pl.col("project") == "prj_2").then(pl.lit("USD")).otherwise("currency")
    )
    found = labour_cost(worked, COST_CARD, dollars)
    assert found.labour.is_empty()
    assert found.problems == (
        "1 time entries (50 minutes) of res_1 on prj_2 are not costed: the cost rate is in EUR, the project in USD.",
        "1 time entries (50 minutes) of res_1 on prj_9 are not costed: the project is not known.",
        "1 time entries (50 minutes) of res_2 on prj_1 are not costed: no cost rate is in force on the day; enter one.",
    )


def test_the_cost_journal_has_a_line_per_project_and_one_counter_line() -> None:
    worked = rows(WORKED, {**ENTRY, "worked_on": AUGUST, "minutes": 60}, [{}, {"gid": "tim_2", "project": "prj_2"}])
    labour = labour_cost(worked, COST_CARD, PROJECTS).labour
    nothing = recognise(facts(lines=[]), SEPTEMBER, NOTHING).contracts
    plan = plan_journals(nothing, labour, "2026-09")
    assert plan.lines.select("code", "account", "debit", "credit", "project").rows() == [
        ("COST-DE01-2026-09", "5000", eur("80"), 0, "prj_1"),
        ("COST-DE01-2026-09", "5000", eur("80"), 0, "prj_2"),
        ("COST-DE01-2026-09", "5090", 0, eur("160"), None),
    ]
    assert plan_journals(nothing, labour, "2026-10").journals.is_empty()


def test_margin_is_revenue_less_labour_less_expenses() -> None:
    lines = recognise(facts(charges=[{"amount": eur("1000")}]), AUGUST, NOTHING).lines
    labour = labour_cost(
        rows(WORKED, {**ENTRY, "worked_on": AUGUST}, [{"minutes": 300, "approved_on": AUGUST}, {"gid": "tim_2"}]),
        COST_CARD,
        PROJECTS,
    ).labour
    spent = rows(SPENT, {"project": "prj_1"}, [
        {"amount": eur("150"), "approved_on": AUGUST},
        {"amount": eur("999"), "approved_on": SEPTEMBER},
    ])  # fmt: skip
    found = project_margins(lines, labour, spent, PROJECTS, AUGUST)
    assert found.select("project", "recognised", "labour", "expenses", "margin").rows() == [
        ("prj_1", eur("1000"), eur("400"), eur("150"), eur("450")),
        ("prj_2", 0, 0, 0, 0),
    ]
