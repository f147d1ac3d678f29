"""What the business says about a billing run, rule by rule."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from frames_for_tests import entries, eur, expenses, facts, in_eur, projects, rates

from trueup.billing.frames import RunFacts
from trueup.billing.holds import REASONS
from trueup.billing.run import plan_run
from trueup.billing.terms import ExpenseRule, Terms
from trueup.kernel.errors import Broken

AUGUST = date(2026, 8, 31)
CARD = rates({"rate": eur("200")})
RETAINER = {
    "method": "retainer", "monthly_fee": eur("10000"), "included_minutes": 50 * 60, "overage_rate": eur("220"),
    "fees_due": ["2026-08"],
}  # fmt: skip


def buckets(charges: pl.DataFrame) -> list[tuple[str, str, int | None, str]]:
    rows = charges.select("fact", "bucket", "minutes", "amount").rows()
    return [(fact, bucket, minutes, in_eur(amount)) for fact, bucket, minutes, amount in rows]


# --- approval ---------------------------------------------------------------------------------------------------------


def test_submitted_time_is_held_with_the_value_it_would_have_and_is_no_charge() -> None:
    plan = plan_run(facts(entries({"status": "submitted"}), rates=CARD), AUGUST, "2026-08")
    assert plan.charges.is_empty()
    assert plan.holds.select("scope", "code", "amount", "minutes").rows() == [
        ("tim_1", "APPROVAL_MISSING", eur("1600"), 480)
    ]


@pytest.mark.parametrize("status", ["draft", "rejected"])
def test_time_nobody_submitted_is_not_looked_at(status: str) -> None:
    plan = plan_run(facts(entries({"status": status}), rates=CARD), AUGUST, "2026-08")
    assert plan.charges.is_empty()
    assert plan.holds.is_empty()


def test_work_after_the_last_day_waits_for_the_next_run_and_late_work_before_it_is_taken() -> None:
    plan = plan_run(
        facts(
            entries(
                {"gid": "tim_july", "worked_on": date(2026, 7, 30)},
                {"gid": "tim_september", "worked_on": date(2026, 9, 1)},
            ),
            rates=CARD,
        ),
        AUGUST,
        "2026-08",
    )
    assert plan.charges["fact"].to_list() == ["tim_july"]
    assert plan.invoices.select("code", "invoice_date").rows() == [("D01-DE01-2026-08", AUGUST)]


# --- what is not charged ----------------------------------------------------------------------------------------------


def test_time_on_a_fixed_fee_is_covered_and_non_billable_time_stays_apart() -> None:
    plan = plan_run(
        facts(
            entries({"gid": "tim_paid"}, {"gid": "tim_internal", "billable": False}),
            projects=projects({"method": "fixed_fee"}),
        ),
        AUGUST,
        "2026-08",
    )
    assert buckets(plan.charges) == [
        ("tim_internal", "non_billable", 480, "0.00"),
        ("tim_paid", "covered_by_fixed_fee", 480, "0.00"),
    ]
    assert plan.invoices.is_empty()


def test_time_on_a_project_nobody_knows_is_held_and_not_lost() -> None:
    plan = plan_run(facts(entries({"project": "prj_unknown"}), rates=CARD), AUGUST, "2026-08")
    assert buckets(plan.charges) == [("tim_1", "held", 480, "0.00")]
    assert plan.holds["code"].to_list() == ["ENTITY_UNMAPPED"]


# --- daily allowance --------------------------------------------------------------------------------------------------


def test_a_daily_allowance_is_billed_at_its_rate_whatever_the_traveller_was_paid() -> None:
    days = [{"gid": f"exp_{n}", "amount": eur(paid), "category": "Per diem"} for n, paid in enumerate(("38.50", "14"))]
    rule = ExpenseRule(daily_rate=Decimal(45))
    known = replace(
        facts(
            expenses=expenses(*days, {"gid": "exp_back", "amount": eur("-14"), "category": "Per diem"}),
            projects=projects({"pass_through": True, "markup_ppm": 50_000}),
        ),
        terms={"prj_1": Terms(expenses={"Per diem": rule})},
    )
    plan = plan_run(known, date(2026, 8, 31), "2026-08")
    assert plan.charges.select("fact", "amount", "spent").sort("fact").rows() == [
        ("exp_0", eur("45"), eur("38.50")), ("exp_1", eur("45"), eur("14")), ("exp_back", eur("-45"), eur("-14")),
    ]  # fmt: skip
    assert '"daily_rate":450000' in plan.charges["trace"][0]


# --- retainer ---------------------------------------------------------------------------------------------------------


def test_a_retainer_bills_its_fee_and_the_hours_above_the_included_ones() -> None:
    worked = entries(
        {"gid": "tim_1", "source_order": 1, "minutes": 40 * 60},
        {"gid": "tim_2", "source_order": 2, "minutes": 21 * 60},
    )
    plan = plan_run(facts(worked, projects=projects(RETAINER)), AUGUST, "2026-08")
    assert buckets(plan.charges) == [
        ("prj_1", "on_draft", None, "10000.00"),
        ("tim_1", "covered_by_fixed_fee", 2400, "0.00"),
        ("tim_2", "covered_by_fixed_fee", 600, "0.00"),
        ("tim_2", "on_draft", 660, "2420.00"),
    ]
    assert plan.invoice_lines.select("line_key", "description", "quantity", "unit", "rate", "net").rows() == [
        ("0-fee-retainer", "Retainer 2026-08", 1, "count", eur("10000"), eur("10000")),
        ("3-overage", "Hours above the retainer at 220.00 EUR per hour", 660, "minute", eur("220"), eur("2420")),
    ]


def test_minutes_covered_before_in_the_month_count_and_a_billed_fee_is_not_billed_again() -> None:
    again = {**RETAINER, "period_included_used": 50 * 60 - 30, "fees_due": []}
    plan = plan_run(facts(entries({"minutes": 90}), projects=projects(again)), AUGUST, "2026-08")
    assert buckets(plan.charges) == [
        ("tim_1", "covered_by_fixed_fee", 30, "0.00"),
        ("tim_1", "on_draft", 60, "220.00"),
    ]


def test_a_month_without_work_bills_the_fee_and_an_ended_contract_does_not() -> None:
    active = plan_run(facts(projects=projects(RETAINER)), AUGUST, "2026-08")
    ended = plan_run(facts(projects=projects({**RETAINER, "contract_active": False})), AUGUST, "2026-08")
    assert active.invoices["net"].to_list() == [eur("10000")]
    assert ended.charges.is_empty()


def test_a_fee_that_had_to_wait_is_billed_with_the_next_one() -> None:
    plan = plan_run(facts(projects=projects({**RETAINER, "fees_due": ["2026-07", "2026-08"]})), AUGUST, "2026-08")
    assert plan.charges.select("key", "service_on").rows() == [
        ("prj_1/0/fee-2026-07", date(2026, 7, 31)),
        ("prj_1/0/fee-2026-08", AUGUST),
    ]
    assert plan.invoice_lines.select("description", "quantity", "net").rows() == [
        ("Retainer 2026-07, Retainer 2026-08", 2, eur("20000"))
    ]


def test_unapproved_retainer_time_is_worth_what_it_would_add() -> None:
    worked = entries(
        {"gid": "tim_1", "source_order": 2, "minutes": 49 * 60},
        {"gid": "tim_2", "source_order": 1, "minutes": 2 * 60, "status": "submitted"},
    )
    plan = plan_run(facts(worked, projects=projects(RETAINER)), AUGUST, "2026-08")
    assert plan.holds.select("scope", "amount", "minutes").rows() == [("tim_2", eur("220"), 120)]
    assert plan.charges.filter(pl.col("kind") == "overage").is_empty()


# --- expenses ---------------------------------------------------------------------------------------------------------

TRAVEL = {"pass_through": True, "pass_through_line": "D01-L2", "markup_ppm": 100_000}


def test_an_expense_is_charged_on_with_its_markup() -> None:
    plan = plan_run(facts(expenses=expenses({"amount": eur("432.10")}), projects=projects(TRAVEL)), AUGUST, "2026-08")
    [charge] = plan.charges.to_dicts()
    assert (in_eur(charge["amount"]), charge["line_key"]) == ("475.31", "2-expense-Hotel")
    assert (in_eur(charge["spent"]), charge["contract_line"]) == ("432.10", "D01-L2")


@pytest.mark.parametrize(
    ("amount", "receipt", "held"),
    [("25.00", False, False), ("25.01", False, True), ("25.01", True, False), ("24.00", False, False)],
)
def test_an_expense_above_the_limit_needs_its_receipt(amount: str, receipt: bool, held: bool) -> None:
    spent = expenses({"amount": eur(amount), "has_receipt": receipt})
    plan = plan_run(facts(expenses=spent, projects=projects(TRAVEL)), AUGUST, "2026-08")
    assert plan.holds["code"].to_list() == (["RECEIPT_MISSING"] if held else [])


@pytest.mark.parametrize(("billable", "pass_through"), [(False, True), (True, False)])
def test_an_expense_the_client_does_not_pay_stays_apart(billable: bool, pass_through: bool) -> None:
    spent = expenses({"amount": eur("99"), "billable": billable})
    project = projects({**TRAVEL, "pass_through": pass_through})
    plan = plan_run(facts(expenses=spent, projects=project), AUGUST, "2026-08")
    assert buckets(plan.charges) == [("exp_1", "non_billable", None, "0.00")]


def test_a_refund_lowers_the_line_and_never_makes_a_document_below_zero() -> None:
    refund = {"gid": "exp_refund", "amount": eur("-80"), "category": "Airfare"}
    fare = {"gid": "exp_fare", "amount": eur("200"), "category": "Airfare"}
    both = plan_run(facts(expenses=expenses(fare, refund), projects=projects(TRAVEL)), AUGUST, "2026-08")
    alone = plan_run(facts(expenses=expenses(refund), projects=projects(TRAVEL)), AUGUST, "2026-08")
    assert both.invoice_lines.select("quantity", "net").rows() == [(2, eur("132"))]
    assert alone.invoices.is_empty()
    assert alone.holds.select("code", "amount").rows() == [("CREDIT_DUE", eur("-88"))]


# --- holds ------------------------------------------------------------------------------------------------------------


def test_clean_charges_are_billed_beside_held_ones() -> None:
    worked = entries(
        {"gid": "tim_1", "source_order": 1, "minutes": 300, "status": "submitted"},
        {"gid": "tim_2", "source_order": 2, "minutes": 300, "role": "Analyst"},
        {"gid": "tim_3", "source_order": 3, "minutes": 300},
        {"gid": "tim_4", "source_order": 4, "minutes": 300},
        {"gid": "tim_5", "source_order": 5, "minutes": 300},
    )
    plan = plan_run(facts(worked, rates=CARD, projects=projects({"cap": eur("2600")})), AUGUST, "2026-08")
    assert plan.invoices["net"].to_list() == [eur("2600")]
    assert [(code, in_eur(amount)) for code, amount in plan.holds.select("code", "amount").rows()] == [
        ("APPROVAL_MISSING", "1000.00"),
        ("RATE_MISSING", "0.00"),
        ("CAP_EXCEEDED", "400.00"),
    ]


def test_a_customer_without_a_tax_treatment_holds_everything_and_every_reason_is_listed() -> None:
    untaxed = {**TRAVEL, "buyer_country": "FR", "buyer_has_tax_id": False, "cap": eur("1000")}
    spent = expenses({"amount": eur("30"), "has_receipt": False})
    plan = plan_run(facts(entries({}), spent, projects(untaxed), CARD), AUGUST, "2026-08")
    assert plan.invoices.is_empty()
    assert plan.charges.select("key", "bucket", "hold_code", "amount").rows() == [
        ("exp_1/1/expense", "held", "RECEIPT_MISSING", eur("33")),
        ("tim_1/1/0-300", "held", "TAX_UNDETERMINED", eur("1000")),
        ("tim_1/1/300-480", "held", "CAP_EXCEEDED", eur("600")),
    ]
    assert plan.holds.select("scope", "code", "amount", "minutes").rows() == [
        ("exp_1", "RECEIPT_MISSING", eur("33"), 0),
        ("exp_1", "TAX_UNDETERMINED", eur("33"), 0),
        ("tim_1", "CAP_EXCEEDED", eur("600"), 180),
        ("tim_1", "TAX_UNDETERMINED", eur("1600"), 480),
    ]


def test_an_inactive_contract_holds_its_charges() -> None:
    plan = plan_run(facts(entries({}), rates=CARD, projects=projects({"contract_active": False})), AUGUST, "2026-08")
    assert plan.holds["code"].to_list() == ["CONTRACT_INACTIVE"]


def test_an_entry_shortened_after_it_was_billed_asks_for_a_credit_note() -> None:
    shortened = {"minutes": 420, "open_minutes": -60, "allocated_amount": eur("1600"), "fact_version": 2}
    plan = plan_run(facts(entries(shortened, {"gid": "tim_2"}), rates=CARD), AUGUST, "2026-08")
    assert plan.invoices["net"].to_list() == [eur("1600")]
    assert plan.charges.filter(pl.col("fact") == "tim_1").select("key", "bucket", "minutes", "amount").rows() == [
        ("tim_1/2/480-420", "held", -60, eur("-200"))
    ]
    assert plan.holds["code"].to_list() == ["CREDIT_DUE"]


def test_an_entry_billed_above_what_it_is_worth_now_asks_for_a_credit_note_and_leaves_the_cap_alone() -> None:
    dearer = {"open_minutes": 60, "allocated_amount": eur("1700"), "fact_version": 2}
    capped = projects({"cap": eur("1600")})
    plan = plan_run(facts(entries(dearer, {"gid": "tim_2"}), rates=CARD, projects=capped), AUGUST, "2026-08")
    assert plan.charges.select("fact", "bucket", "hold_code", "amount").rows() == [
        ("tim_1", "held", "CREDIT_DUE", eur("-100")),
        ("tim_2", "on_draft", None, eur("1600")),
    ]


def test_an_entry_lengthened_after_it_was_billed_is_billed_for_the_difference() -> None:
    longer = {"minutes": 540, "open_minutes": 60, "allocated_amount": eur("1600"), "fact_version": 2}
    plan = plan_run(facts(entries(longer), rates=CARD), AUGUST, "2026-08")
    assert buckets(plan.charges) == [("tim_1", "on_draft", 60, "200.00")]


def test_every_hold_has_a_sentence() -> None:
    plan = plan_run(facts(entries({"role": None})), AUGUST, "2026-08")
    assert plan.holds["sentence"].to_list() == [REASONS["RATE_MISSING"].sentence]


# --- documents --------------------------------------------------------------------------------------------------------


def test_lines_group_time_by_role_and_rate_and_expenses_by_category() -> None:
    card = rates(
        {"gid": "rul_1", "rate": eur("165.50")},
        {"gid": "rul_2", "rate": eur("170"), "valid_from": date(2026, 8, 10)},
        {"gid": "rul_3", "role": "Senior Consultant", "rate": eur("1200")},
    )
    worked = entries(
        {"gid": "tim_1"},
        {"gid": "tim_2"},
        {"gid": "tim_3", "worked_on": date(2026, 8, 10)},
        {"gid": "tim_4", "role": "Senior Consultant"},
    )
    spent = expenses(
        {"gid": "exp_1", "amount": eur("10")},
        {"gid": "exp_2", "amount": eur("20")},
        {"gid": "exp_3", "amount": eur("5"), "category": "Airfare"},
    )
    plan = plan_run(facts(worked, spent, projects(TRAVEL), card), AUGUST, "2026-08")
    lines = plan.invoice_lines.select("line_key", "description", "quantity", "net").rows()
    assert [(key, text, quantity, in_eur(net)) for key, text, quantity, net in lines] == [
        ("1-time-Consultant-0000165.50", "Consultant at 165.50 EUR per hour", 960, "2648.00"),
        ("1-time-Consultant-0000170.00", "Consultant at 170.00 EUR per hour", 480, "1360.00"),
        ("1-time-Senior Consultant-0001200.00", "Senior Consultant at 1200.00 EUR per hour", 480, "9600.00"),
        ("2-expense-Airfare", "Expenses: Airfare", 1, "5.50"),
        ("2-expense-Hotel", "Expenses: Hotel", 2, "33.00"),
    ]


def test_tax_is_rounded_once_on_the_invoice_and_not_line_by_line() -> None:
    roles = ["A", "B", "C"]
    card = rates(*[{"gid": f"rul_{role}", "role": role, "rate": eur("33.33")} for role in roles])
    worked = entries(*[{"gid": f"tim_{role}", "role": role, "minutes": 60} for role in roles])
    [invoice] = plan_run(facts(worked, rates=card), AUGUST, "2026-08").invoices.to_dicts()
    assert [in_eur(invoice[part]) for part in ("net", "tax", "gross")] == ["99.99", "19.00", "118.99"]


def test_each_legal_entity_gets_its_own_document_in_its_own_currency() -> None:
    both = projects(
        {"project": "prj_de", "code": "D24-DE01"},
        {
            "project": "prj_us", "code": "D24-US01", "currency": "USD", "seller_country": "US", "buyer_country": "US",
            "legal_entity": "US01", "bill_to": "cus_2", "terms_days": 45,
        },
    )  # fmt: skip
    card = rates({"gid": "rul_e", "rate": eur("200")}, {"gid": "rul_u", "rate": eur("240"), "currency": "USD"})
    worked = entries({"gid": "tim_1", "project": "prj_de"}, {"gid": "tim_2", "project": "prj_us"})
    plan = plan_run(facts(worked, projects=both, rates=card), AUGUST, "2026-08")
    columns = ["code", "legal_entity", "currency", "bill_to", "due_on", "tax_treatment", "net", "gross"]
    assert plan.invoices.select(columns).rows() == [
        ("D24-DE01-2026-08", "DE01", "EUR", "cus_1", date(2026, 9, 30), "domestic_de", eur("1600"), eur("1904")),
        ("D24-US01-2026-08", "US01", "USD", "cus_2", date(2026, 10, 15), "domestic_us", eur("1920"), eur("1920")),
    ]


def test_nothing_to_bill_makes_no_invoice() -> None:
    plan = plan_run(facts(), AUGUST, "2026-08")
    assert (plan.charges.height, plan.invoices.height, plan.invoice_lines.height, plan.holds.height) == (0, 0, 0, 0)


def test_a_missing_column_is_our_fault_and_stops_the_run() -> None:
    whole = facts()
    with pytest.raises(Broken, match="entries lacks allocated_amount"):
        plan_run(RunFacts(whole.entries.drop("allocated_amount"), whole.expenses, whole.projects, whole.rates),
                 AUGUST, "2026-08")  # fmt: skip


def test_yen_has_no_cents() -> None:
    japan = projects({"currency": "JPY", "seller_country": "JP", "buyer_country": "US"})
    card = rates({"currency": "JPY", "rate": 100_010_000})
    [charge] = plan_run(
        facts(entries({"minutes": 1}), projects=japan, rates=card), AUGUST, "2026-08"
    ).charges.to_dicts()
    assert charge["amount"] == 1_670_000
