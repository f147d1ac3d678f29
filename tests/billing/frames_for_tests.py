"""Short ways to write facts: defaults for every column, money as major-unit text."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from trueup.billing.frames import ENTRIES, EXPENSES, MILESTONES, PROJECTS, RATES, RunFacts, Shape
from trueup.kernel.money import from_units, to_units

Row = Mapping[str, Any]

ENTRY: Row = {
    "gid": "tim_1", "fact_version": 1, "source_order": 1, "contract": "con_1", "project": "prj_1",
    "role": "Consultant", "resource": "res_1", "worked_on": date(2026, 8, 3), "minutes": 480,
    "allocated_amount": 0, "billable": True, "status": "approved",
}  # fmt: skip
EXPENSE: Row = {
    "gid": "exp_1", "fact_version": 1, "source_order": 1, "contract": "con_1", "project": "prj_1",
    "resource": "res_1", "spent_on": date(2026, 8, 3), "category": "Hotel", "amount": 0,
    "billable": True, "status": "approved", "has_receipt": True,
}  # fmt: skip
PROJECT: Row = {
    "project": "prj_1", "code": "D01-DE01", "contract": "con_1", "legal_entity": "DE01", "currency": "EUR",
    "bill_to": "cus_1", "terms_days": 30, "seller_country": "DE", "buyer_country": "DE", "buyer_has_tax_id": True,
    "contract_active": True, "method": "time_and_materials", "line_key": "D01-L1", "cap": None, "cap_used": 0,
    "pass_through": False, "pass_through_line": None, "markup_ppm": 0, "monthly_fee": None,
    "included_minutes": None, "overage_rate": None, "period_included_used": 0, "fees_due": (),
}  # fmt: skip
RATE: Row = {
    "gid": "rul_1", "contract": "con_1", "role": "Consultant", "currency": "EUR", "rate": 0,
    "valid_from": date(2026, 1, 1), "valid_to": None,
}  # fmt: skip
MILESTONE: Row = {
    "gid": "mil_1", "fact_version": 1, "key": "D01-M1", "name": "Design", "contract": "con_1", "project": "prj_1",
    "contract_line": "D01-L1", "sequence": 1, "open_amount": 0, "acceptance_required": True, "completed_on": None,
    "accepted_on": None, "status": "completed",
}  # fmt: skip


def eur(amount: str) -> int:
    return to_units(Decimal(amount), "EUR")


def in_eur(amount: int) -> str:
    return f"{from_units(amount, 'EUR'):.2f}"


def frame(shape: Shape, default: Row, rows: list[Row]) -> pl.DataFrame:
    schema = {name: column.dtype for name, column in shape.columns.items()}
    return pl.DataFrame([{**default, **row} for row in rows], schema=schema)


def entries(*rows: Row) -> pl.DataFrame:
    opened: list[Row] = [{"open_minutes": row.get("minutes", ENTRY["minutes"]), **row} for row in rows]
    return frame(ENTRIES, ENTRY, opened)


def expenses(*rows: Row) -> pl.DataFrame:
    opened: list[Row] = [{"open_amount": row["amount"], **row} for row in rows]
    return frame(EXPENSES, EXPENSE, opened)


def projects(*rows: Row) -> pl.DataFrame:
    return frame(PROJECTS, PROJECT, list(rows))


def rates(*rows: Row) -> pl.DataFrame:
    return frame(RATES, RATE, list(rows))


def milestones(*rows: Row) -> pl.DataFrame:
    return frame(MILESTONES, MILESTONE, list(rows))


def facts(
    entries: pl.DataFrame | None = None,
    expenses: pl.DataFrame | None = None,
    projects: pl.DataFrame | None = None,
    rates: pl.DataFrame | None = None,
) -> RunFacts:
    return RunFacts(
        entries=ENTRIES.empty() if entries is None else entries,
        expenses=EXPENSES.empty() if expenses is None else expenses,
        projects=frame(PROJECTS, PROJECT, [{}]) if projects is None else projects,
        rates=RATES.empty() if rates is None else rates,
    )
