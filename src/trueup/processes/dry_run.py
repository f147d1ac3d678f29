"""The dry run of a month's billing: what a run would draft, hold and warn of, in amounts and names a person reads.

Starts on   a person's question; nothing is written
Ends with   drafts, lines, holds, warnings and totals
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from trueup.billing.parts import parts_for
from trueup.billing.run import plan_run
from trueup.kernel.money import from_units
from trueup.kernel.periods import last_day
from trueup.pipeline.house import House
from trueup.processes import decided, prepaid
from trueup.processes.brakes import braked
from trueup.processes.facts import count_entries, run_facts
from trueup.store import ledger, objects, periods
from trueup.store.database import Tx

Row = dict[str, Any]


def preview(house: House, period: str, entity: str) -> dict[str, Any]:
    """Say what a run would do, and do nothing; part by part, as the run itself would.

    Returns   done (the month was billed already: a run would do nothing), closed, parts,
              totals    by currency: invoices, net, tax, gross, held
              invoices  code, bill_to, customer, project, project_code, dates, tax, amounts, prepaid (set off) or None
              lines     by invoice, with their currency
              holds     code, scope, project_code, amount, minutes, sentence
              warnings  code, project_code, sentence; stop nothing
              Amounts are decimals in major units.
    """
    with house.database.transaction() as tx:
        parts = parts_for(count_entries(tx, entity, last_day(period)), house.firm.entries_per_part)
        plans = []
        advances: dict[str, prepaid.SetOff] = {}
        for part in parts:
            facts = run_facts(tx, house.firm, entity, last_day(period), period, part)
            plan = braked(tx, house.firm, plan_run(facts, last_day(period), period), facts, entity)
            plan = decided.adjusted(tx, house.firm, plan, entity)
            named = facts.projects.select("project", project_code="code", priced_in="currency")
            advances |= prepaid.set_off(tx, house.firm, plan)
            plans.append((plan.invoices, plan.invoice_lines, plan.holds, plan.warnings, named))
        invoices, lines, holds, warnings, projects = (pl.concat(frames) for frames in zip(*plans, strict=True))
        run = ledger.run_of(tx, f"{period}/{entity}/billing")
        return {
            "period": period,
            "legal_entity": entity,
            "done": run is not None and run["state"] == "done",
            "closed": periods.is_closed(tx, entity, period),
            "parts": len(parts),
            "totals": _totals(invoices, holds),
            **_named(tx, invoices, lines, holds, warnings, projects, advances),
        }


def _totals(invoices: pl.DataFrame, holds: pl.DataFrame) -> dict[str, Row]:
    """Add up by currency; what waits for two reasons waits once."""
    waiting = holds.unique(["scope", "kind"], keep="first", maintain_order=True)
    found: dict[str, Row] = {}
    for currency in sorted({*invoices["currency"], *waiting["currency"].drop_nulls()}):
        mine = invoices.filter(pl.col("currency") == currency)
        held = waiting.filter(pl.col("currency") == currency)
        found[currency] = {
            "invoices": mine.height,
            **{name: from_units(int(mine[name].sum()), currency) for name in ("net", "tax", "gross")},
            "held": from_units(int(held["amount"].sum()), currency),
        }
    return found


def _named(
    tx: Tx, invoices: pl.DataFrame, lines: pl.DataFrame, holds: pl.DataFrame, warnings: pl.DataFrame,
    projects: pl.DataFrame, advances: Mapping[str, prepaid.SetOff],
) -> dict[str, list[Row]]:  # fmt: skip
    """Return the rows with names and in major units, each list in an order of its own."""
    customers = objects.load(tx, sorted(set(invoices["bill_to"].drop_nulls())))
    money = dict(invoices.select("code", "currency").iter_rows())
    in_project = {row["project"]: row for row in projects.iter_rows(named=True)}

    def code(project: str | None) -> str | None:
        return in_project[project]["project_code"] if project in in_project else None

    def major(row: Row, currency: str | None, *names: str) -> Row:
        if currency is None:
            return row
        return {k: from_units(v, currency) if k in names and v is not None else v for k, v in row.items()}

    return {
        "invoices": [
            {
                **major(row, row["currency"], "net", "tax", "gross"),
                "customer": customers[row["bill_to"]].body["name"] if row["bill_to"] in customers else None,
                "project_code": code(row["project"]),
                "prepaid": from_units(advances[row["code"]].gross, row["currency"])
                if row["code"] in advances
                else None,
            }
            for row in invoices.sort("code").iter_rows(named=True)
        ],
        "lines": [
            {**major(row, money[row["invoice_code"]], "net", "rate"), "currency": money[row["invoice_code"]]}
            for row in lines.sort("invoice_code", "line_key").iter_rows(named=True)
        ],
        "holds": [
            {**major(row, row["currency"], "amount"), "project_code": code(row["project"])}
            for row in holds.sort("scope", "code").iter_rows(named=True)
        ],
        "warnings": [
            {
                **major(row, in_project[row["project"]]["priced_in"], "amount", "limit"),
                "currency": in_project[row["project"]]["priced_in"],
                "project_code": code(row["project"]),
            }
            for row in warnings.sort("project", "code", "limit").iter_rows(named=True)
        ],
    }
