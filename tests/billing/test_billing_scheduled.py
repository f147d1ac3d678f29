"""A bill by schedule is all that is due less all that was billed, whichever months were billed and skipped."""

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
from frames_for_tests import eur, in_eur, projects
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing import schedules
from trueup.billing.frames import RunPlan
from trueup.billing.reference import schedules as plain
from trueup.billing.scheduled import SCHEDULED, bill_schedules
from trueup.kernel.money import from_units, to_units
from trueup.kernel.periods import last_day

few = settings(deadline=None, max_examples=20)
LINE: dict[str, Any] = {
    "contract_line": "D01-L1", "kind": "instalments", "total": eur("100000"), "starts_on": date(2026, 1, 1),
    "ends_on": None, "count": 12, "every_months": 1, "anchor_day": 1, "in_advance": False, "lead_days": 0,
    "proration": "actual_days",
}  # fmt: skip
MINE: dict[str, Any] = {
    "fact": "D01-L1/schedule", "name": "Data", "project": "prj_1", "line_currency": "EUR", "method": "fixed_fee",
    "has_milestones": False, "billed": 0, "billed_period": None,
}  # fmt: skip


def bill(
    period: str, *lines: dict[str, Any], prices: Any = (), progress: Any = (), project: dict[str, Any] | None = None
) -> RunPlan:
    """Bill lines given as what differs from the two rows above."""
    rows = [{**LINE, **MINE, **line} for line in lines]
    for row in rows:
        row["fact"] = f"{row['contract_line']}/schedule"

    def frame(shape: Any, some: list[Any]) -> pl.DataFrame:
        return pl.DataFrame(some, schema={name: column.dtype for name, column in shape.columns.items()}, orient="row")

    return bill_schedules(
        frame(SCHEDULED, [[row[name] for name in SCHEDULED.columns] for row in rows]),
        frame(schedules.SCHEDULE_LINES, [[row[name] for name in schedules.SCHEDULE_LINES.columns] for row in rows]),
        frame(schedules.SERVICE_PRICES, list(prices)),
        frame(schedules.STATEMENTS, list(progress)),
        projects({"method": "fixed_fee", **(project or {})}),
        period,
    )


@few
@given(st.integers(0, 100_000_000), st.integers(1, 15), st.lists(st.booleans(), min_size=16, max_size=16))
def test_whatever_months_are_skipped_the_money_is_what_is_due(cents: int, count: int, billed: list[bool]) -> None:
    total, so_far, last = Decimal(cents) / 100, 0, None
    parts = plain.instalments(total, count, "EUR")
    for number, happens in enumerate(billed):
        period = f"{2026 + number // 12}-{number % 12 + 1:02d}"
        if not happens:
            continue
        line = {"total": to_units(total, "EUR"), "count": count, "billed": so_far, "billed_period": last}
        plan = bill(period, line)
        so_far += plan.charges["amount"].sum()
        last = period if plan.charges.height else last
        assert from_units(so_far, "EUR") == sum(parts[: number + 1])
        assert plan.invoices["net"].sum() == plan.charges["amount"].sum()
        assert bill(period, {**line, "billed": so_far, "billed_period": last}).charges.is_empty()


def test_lines_of_one_project_share_a_draft_with_one_tax() -> None:
    plan = bill("2026-03", {"total": eur("100")}, {"contract_line": "D01-L2", "total": eur("33.33"), "count": 1})
    [invoice] = plan.invoices.to_dicts()
    assert (invoice["code"], invoice["invoice_date"]) == ("D01-DE01-2026-03-S", date(2026, 3, 31))
    assert (in_eur(invoice["net"]), in_eur(invoice["tax"])) == ("58.33", "11.08")
    assert plan.invoice_lines.select("line_key", "description", "charge_kind").rows() == [
        ("0-schedule-D01-L1", "Data: instalments 1 to 3", "schedule"),
        ("0-schedule-D01-L2", "Data: instalment 1", "schedule"),
    ]


def test_service_billed_in_advance_is_of_the_days_it_is_for() -> None:
    line = {"kind": "service_period", "in_advance": True, "lead_days": 10}
    prices = [("D01-L1", date(2026, 1, 1), eur("3000"))]
    plan = bill("2026-01", line, prices=prices)
    assert plan.charges.select("amount", "service_on").rows() == [(eur("6000"), date(2026, 2, 28))]
    later = bill("2026-02", {**line, "billed": eur("6000"), "billed_period": "2026-01"}, prices=prices)
    assert later.invoice_lines["description"].to_list() == ["Data: 2026-03-01 to 2026-03-31"]


def test_a_raised_total_is_caught_up_with_the_next_bill() -> None:
    line = {"kind": "percent_complete", "total": eur("92000"), "billed": eur("48000"), "billed_period": "2026-03"}
    plan = bill("2026-04", line, progress=[("D01-L1", date(2026, 3, 20), 60, 100)])
    assert [in_eur(amount) for amount in plan.charges["amount"]] == ["7200.00"]
    assert plan.invoice_lines["description"].to_list() == ["Data: correction of earlier periods"]


def test_every_reason_is_listed_and_nothing_of_it_is_drafted() -> None:
    project = {"contract_active": False, "buyer_country": "FR", "buyer_has_tax_id": False}
    plan = bill("2026-01", {"line_currency": "USD", "has_milestones": True}, project=project)
    codes = ["CONTRACT_INACTIVE", "CURRENCY_MISMATCH", "METHOD_NOT_ALLOWED", "TAX_UNDETERMINED"]
    assert plan.holds["code"].to_list() == codes
    assert plan.charges.select("bucket", "hold_code", "invoice_code").rows() == [("held", codes[0], None)]
    assert plan.invoices.is_empty()


def test_a_line_below_zero_waits_alone() -> None:
    over = {"contract_line": "D01-L2", "billed": eur("99999"), "billed_period": "2026-01"}
    plan = bill("2026-02", {}, over)
    assert plan.holds.select("scope", "code").rows() == [("D01-L2/schedule", "CREDIT_DUE")]
    assert [in_eur(net) for net in plan.invoices["net"]] == ["16666.67"]


def test_nothing_is_due_before_the_beginning() -> None:
    assert bill("2025-12", {}).charges.is_empty()
    assert last_day("2025-12") < LINE["starts_on"]
