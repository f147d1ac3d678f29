"""Schedule billing: instalments, progress and periods of service are billed with the month's billing run.

Starts on   the billing run of a month for a legal entity, where the firm has schedules
Held by     an inactive contract, a line that milestones bill too, more billed than the schedule asks for, tax
Ends with   drafts in the ERP, one a project; a month that was skipped is billed with the next
Undo        void the draft in the ERP; a posted invoice is corrected by a credit
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from trueup import engine
from trueup.billing.frames import RunPlan, Shape
from trueup.billing.scheduled import KIND, SCHEDULED, bill_schedules
from trueup.billing.schedules import SCHEDULE_LINES, SERVICE_PRICES, STATEMENTS, Schedule
from trueup.kernel.money import to_units
from trueup.pipeline.house import Firm, House
from trueup.processes.drafts import OPEN, carry_out
from trueup.processes.facts import lines_with_orders, projects_of
from trueup.store import acts, holds, ledger, objects
from trueup.store.database import Tx, array
from trueup.store.ledger import Move
from trueup.store.objects import Held


@dataclass(frozen=True, slots=True)
class ScheduleFacts:
    """What the schedule billing of a legal entity looks at.

    scheduled   `SCHEDULED`
    lines       `SCHEDULE_LINES`
    prices      `SERVICE_PRICES`
    statements  `STATEMENTS`
    projects    `PROJECTS` of the entity
    """

    scheduled: pl.DataFrame
    lines: pl.DataFrame
    prices: pl.DataFrame
    statements: pl.DataFrame
    projects: pl.DataFrame


@engine.process
def schedule_billing(work: engine.Work, period: str, entity: str) -> Any:
    """Bill one month's schedules of one legal entity, as one remembered step."""
    return work.step(bill, period, entity, work.key)


def start(tx: Tx, firm: Firm, period: str, entity: str) -> str | None:
    """Queue the month's schedules of a legal entity; None where the firm has none. The same month is billed once."""
    if not firm.schedules:
        return None
    return engine.start(tx, "schedule_billing", f"{period}/{entity}", period, entity)


def plan(facts: ScheduleFacts, period: str) -> RunPlan:
    """Decide what schedules bill by the end of a month, touching nothing."""
    return bill_schedules(facts.scheduled, facts.lines, facts.prices, facts.statements, facts.projects, period)


@acts.looks_again
def bill(house: House, period: str, entity: str, process: str) -> dict[str, Any]:
    """Bill what schedules let us bill; doing it twice does it once."""
    run = f"{period}/{entity}/schedules"
    with house.database.transaction() as tx:
        acts.begin(tx, "schedule_billing", (period, entity, process), house.edition, entity=entity, period=period)
        if not ledger.begin_run(tx, run, "schedule", entity, period):
            return {"run": run, "already": "done"}
        facts = schedule_facts(tx, house.firm, entity, period)
        planned = plan(facts, period)
        asked = facts.scheduled.filter((pl.col("billed_period") < period).fill_null(value=True))["fact"].to_list()
        _accrue(tx, asked, planned.charges, run)
        figures = carry_out(tx, house, planned, run, process, entity, [])
        _end_holds(tx, facts.scheduled["fact"].to_list(), planned.holds, run)
        ledger.end_run(tx, run, figures)
        return {"run": run, **figures}


def preview(house: House, period: str, entity: str) -> dict[str, Any]:
    """Say what the schedules of a month would bill, and do nothing."""
    with house.database.transaction() as tx:
        planned = plan(schedule_facts(tx, house.firm, entity, period), period)
    return {
        "invoices": planned.invoices.to_dicts(),
        "lines": planned.invoice_lines.to_dicts(),
        "holds": planned.holds.to_dicts(),
    }


def schedule_facts(tx: Tx, firm: Firm, entity: str, period: str) -> ScheduleFacts:
    """Read the schedules of a legal entity's contract lines, their terms, and what was billed of each.

    The contracts are locked until the transaction ends, so that two months are not billed side by side.
    """
    projects = projects_of(tx, firm, entity, period)
    by_contract = dict(projects.select("contract", "project").iter_rows())
    contracts = objects.load(tx, by_contract, lock=True)
    with_milestones = {
        (held.body["contract"], held.body["line_key"])
        for held in objects.of_kind(tx, "milestone")
        if held.status != "cancelled"
    }
    billed = _billed(tx, [_fact(line) for line in firm.schedules])
    scheduled, lines = [], []
    for contract in contracts.values():
        for line in _lines(tx, contract, entity):
            schedule = firm.schedules.get(line["key"])
            if schedule is None:
                continue
            so_far, last = billed.get(_fact(schedule.line), (0, None))
            scheduled.append(
                (
                    schedule.line, _fact(schedule.line), firm.packages[line["package"]].name, by_contract[contract.gid],
                    line["currency"], line["billing_method"], (contract.gid, line["key"]) in with_milestones, so_far,
                    last,
                )
            )  # fmt: skip
            lines.append(_terms(schedule, Decimal(line["amount"]), line["currency"]))
    currencies = {row[0]: row[4] for row in scheduled}
    mine = [firm.schedules[line] for line in currencies]
    return ScheduleFacts(
        _frame(scheduled, SCHEDULED),
        _frame(lines, SCHEDULE_LINES),
        _frame([(s.line, on, to_units(price, currencies[s.line])) for s in mine for on, price in s.prices], SERVICE_PRICES),
        _frame([(s.line, on, share.numerator, share.denominator) for s in mine for on, share in s.progress], STATEMENTS),
        projects,
    )  # fmt: skip


def _fact(line: str) -> str:
    """Return what the charges of a schedule are on: all of a line's months are shares of one thing."""
    return f"{line}/schedule"


def _lines(tx: Tx, contract: Held, entity: str) -> list[dict[str, Any]]:
    return [line for line in lines_with_orders(tx, contract) if line["legal_entity"] == entity]


def _terms(schedule: Schedule, amount: Decimal, currency: str) -> tuple[Any, ...]:
    return (
        schedule.line,
        schedule.kind,
        to_units(amount if schedule.amount is None else schedule.amount, currency),
        schedule.starts_on,
        schedule.ends_on,
        schedule.count,
        schedule.every_months,
        schedule.anchor_day,
        schedule.due == "advance",
        schedule.lead_days,
        schedule.proration,
    )


def _billed(tx: Tx, facts: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return what stands billed on each schedule, credits taken off, and the last month that was billed."""
    rows = tx.rows(
        """
        select c.fact, sum(a.amount)::bigint as amount, max(c.period) as period from charges c
        join allocations a on a.charge = c.key where c.kind = %(kind)s and c.fact = any(%(facts)s) group by c.fact
        """,
        {"kind": KIND, "facts": list(facts)},
    )
    return {row["fact"]: (row["amount"], row["period"]) for row in rows}


def _accrue(tx: Tx, asked: Sequence[str], charges: pl.DataFrame, run: str) -> None:
    """Let what is due leave its source, so that it lies in a bucket before it is billed or held; or go back."""
    due = dict.fromkeys(asked, 0) | {
        fact: max(0, amount) for fact, amount in charges.select("fact", "amount").iter_rows()
    }
    lying: dict[str, list[Mapping[str, Any]]] = {}
    for row in tx.rows(
        """
        select fact, bucket, quantity from buckets
        where fact = any(%(facts)s::text[]) and bucket = any(%(open)s) and quantity > 0 order by fact, bucket for update
        """,
        {"facts": array(list(due)), "open": list(OPEN)},
    ):
        lying.setdefault(row["fact"], []).append(row)
    moves = []
    for fact, amount in due.items():
        more = amount - sum(row["quantity"] for row in lying.get(fact, ()))
        if more > 0:
            reason = "due by its schedule"
            moves.append(Move(f"{run}/{fact}/due", fact, 0, "amount", "source", "unbilled", more, reason, "billing"))
        for lies in lying.get(fact, ()):
            back = min(lies["quantity"], max(0, -more))
            more += back
            reason = "the schedule asks for less now"
            key = f"{run}/{fact}/{lies['bucket']}/back"
            moves.append(Move(key, fact, 0, "amount", lies["bucket"], "source", back, reason, "billing"))
    ledger.move(tx, moves)


def _end_holds(tx: Tx, facts: Sequence[str], planned: pl.DataFrame, run: str) -> None:
    still = set(planned.select("code", "scope").iter_rows())
    over = [hold for hold in holds.open_of(tx, scopes=facts) if (hold["code"], hold["scope"]) not in still]
    holds.release(tx, [hold["number"] for hold in over], "schedule_billing", f"the reason is gone (run {run})")


def _frame(rows: Sequence[tuple[Any, ...]], shape: Shape) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={name: column.dtype for name, column in shape.columns.items()}, orient="row")
