"""Reads what billing looks at: one frame for each shape, straight from the tables."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from trueup.billing.frames import ENTRIES, EXPENSES, PROJECTS, RATES, RunFacts, Shape
from trueup.kernel.money import to_units
from trueup.kernel.periods import next_month
from trueup.pipeline.house import Firm
from trueup.store import adjustments, ledger, objects
from trueup.store.database import Tx, array
from trueup.store.objects import Held

Line = Mapping[str, Any]


def run_facts(tx: Tx, firm: Firm, entity: str, upto: date, period: str) -> RunFacts:
    """Return everything a billing run of one legal entity looks at."""
    projects = projects_of(tx, firm, entity, period)
    later = adjustments.postponed(tx, entity, upto)
    ready = ~pl.col("gid").is_in(later)
    return RunFacts(
        entries=_frame(tx, ENTRIES, _ENTRIES, {"entity": entity, "upto": upto}).filter(ready),
        expenses=_frame(tx, EXPENSES, _EXPENSES, {"entity": entity, "upto": upto}).filter(ready),
        projects=projects,
        rates=rates_of(tx, projects["contract"].unique().to_list()),
    )


def facts_as_new(tx: Tx, firm: Firm, entity: str, gids: Sequence[str], period: str) -> RunFacts:
    """Return some facts of a legal entity as if nothing of them had been billed, and no cap: what they are worth now.

    Reads the facts named and their projects alone, whatever else there is.
    """
    chosen = {"gids": array(gids)}
    entries = _frame(tx, ENTRIES, _ENTRIES_AS_NEW, chosen)
    expenses = _frame(tx, EXPENSES, _EXPENSES_AS_NEW, chosen)
    codes = {*entries["project"].to_list(), *expenses["project"].to_list()}
    held = [project for project in objects.load(tx, codes).values() if project.body["legal_entity"] == entity]
    projects = _projects(tx, firm, held, period).with_columns(
        cap=pl.lit(None, pl.Int64), fees_due=pl.lit([], pl.List(pl.String))
    )
    return RunFacts(
        entries=entries,
        expenses=expenses,
        projects=projects,
        rates=rates_of(tx, projects["contract"].unique().to_list()),
    )


_ENTRIES_AS_NEW = """
    select t.gid, t.version, t.source_order, p.body ->> 'contract', t.project, t.role, t.resource, t.worked_on,
        t.minutes::bigint, t.minutes::bigint, 0::bigint, t.billable, t.status
    from time_entries t join objects p on p.gid = t.project
    where t.gid = any(%(gids)s::text[]) and t.tombstone is null
"""
_EXPENSES_AS_NEW = """
    select e.gid, e.version, e.source_order, p.body ->> 'contract', e.project, e.resource, e.spent_on, e.category, e.amount,
        e.amount, e.billable, e.status, e.has_receipt
    from expense_lines e join objects p on p.gid = e.project
    where e.gid = any(%(gids)s::text[]) and e.tombstone is null
"""


def _frame(tx: Tx, shape: Shape, sql: Any, params: Mapping[str, Any]) -> pl.DataFrame:
    return ledger.frame(tx, sql, params, {name: column.dtype for name, column in shape.columns.items()})


_ENTRIES = """
    select t.gid, t.version, t.source_order, p.body ->> 'contract', t.project, t.role, t.resource, t.worked_on,
        t.minutes::bigint, t.minutes - coalesce(f.quantity, 0)::bigint, coalesce(a.amount, 0)::bigint, t.billable, t.status
    from time_entries t
    join objects p on p.gid = t.project
    left join (
        select fact, sum(quantity) as quantity from buckets
        where bucket in ('on_draft', 'invoiced', 'credited', 'written_off', 'non_billable', 'covered_by_fixed_fee')
        group by fact) f on f.fact = t.gid
    left join (
        select fact, sum(amount) as amount from (
            select fact, amount from charges where kind in ('time', 'overage', 'delta')
            union all select fact, -amount from reopenings where kind in ('time', 'overage', 'delta')) priced
        group by fact) a on a.fact = t.gid
    where t.tombstone is null and p.body ->> 'legal_entity' = %(entity)s and t.worked_on <= %(upto)s
        and t.status in ('submitted', 'approved')
"""
_EXPENSES = """
    select e.gid, e.version, e.source_order, p.body ->> 'contract', e.project, e.resource, e.spent_on, e.category, e.amount,
        e.amount - coalesce(f.quantity, 0)::bigint, e.billable, e.status, e.has_receipt
    from expense_lines e
    join objects p on p.gid = e.project
    left join (
        select fact, sum(quantity) as quantity from buckets
        where bucket in ('on_draft', 'invoiced', 'credited', 'written_off', 'non_billable', 'covered_by_fixed_fee')
        group by fact) f on f.fact = e.gid
    where e.tombstone is null and p.body ->> 'legal_entity' = %(entity)s and e.spent_on <= %(upto)s
"""


def rates_of(tx: Tx, contracts: Sequence[str]) -> pl.DataFrame:
    """Return the rate lines of contracts."""
    rows = [
        (
            held.gid,
            held.body["contract"],
            held.body["role"],
            held.body["currency"],
            to_units(Decimal(held.body["rate"]), held.body["currency"]),
            date.fromisoformat(held.body["valid_from"]),
            date.fromisoformat(held.body["valid_to"]) if held.body["valid_to"] else None,
        )
        for held in objects.rate_lines(tx, contracts)
    ]
    return pl.DataFrame(rows, schema={name: column.dtype for name, column in RATES.columns.items()}, orient="row")


def main_line(contract: Held, entity: str) -> Line:
    """Return the line that says how a contract's time is billed in one legal entity."""
    lines = [line for line in contract.body["lines"] if line["legal_entity"] == entity]
    return next((line for line in lines if line["billing_method"] != "pass_through"), lines[0])


def lines_with_orders(tx: Tx, contract: Held) -> list[dict[str, Any]]:
    """Return a contract's lines with what active change orders add to them: amount and cap, by entity and method."""
    lines = [dict(line) for line in contract.body["lines"]]
    for order in objects.of_kind(tx, "contract", {"amends": contract.body["code"]}):
        if order.status != "active":
            continue
        for added in order.body["lines"]:
            for line in lines:
                if (line["legal_entity"], line["billing_method"]) == (added["legal_entity"], added["billing_method"]):
                    line["amount"] = str(Decimal(line["amount"]) + Decimal(added["amount"]))
                    if line["cap"] is not None and added["cap"] is not None:
                        line["cap"] = str(Decimal(line["cap"]) + Decimal(added["cap"]))
                    break
    return lines


def projects_of(tx: Tx, firm: Firm, entity: str, period: str) -> pl.DataFrame:
    """Return one row for each project of a legal entity, with what its contract says and what was used of it."""
    return _projects(tx, firm, objects.of_kind(tx, "project", {"legal_entity": entity}), period)


def _projects(tx: Tx, firm: Firm, projects: Sequence[Held], period: str) -> pl.DataFrame:
    contracts = objects.load(tx, {project.body["contract"] for project in projects})
    customers = objects.load(tx, {project.body["customer"] for project in projects})
    used = _used(tx, [project.gid for project in projects], period)
    rows = [
        _project_row(
            tx,
            firm,
            project,
            contracts[project.body["contract"]],
            customers.get(project.body["customer"]),
            used,
            period,
        )
        for project in projects
    ]
    return pl.DataFrame(rows, schema={name: column.dtype for name, column in PROJECTS.columns.items()}, orient="row")


def _used(tx: Tx, projects: Sequence[str], period: str) -> dict[str, dict[str, Any]]:
    rows = tx.rows(
        """
        select c.project,
            coalesce(sum(a.amount) filter (where c.kind in ('time', 'delta', 'adjustment')), 0)::bigint as cap_used,
            coalesce(sum(c.minutes - coalesce(r.minutes, 0))
                filter (where c.bucket = 'covered_by_fixed_fee' and c.period = %(period)s), 0)::bigint as covered,
            array_agg(split_part(c.key, '#', 1)) filter (where c.kind = 'fee' and r.charge is null) as fees
        from charges c
        left join (select charge, sum(amount) as amount from allocations group by charge) a on a.charge = c.key
        left join (select charge, sum(minutes) as minutes from reopenings group by charge) r on r.charge = c.key
        where c.project = any(%(projects)s) group by c.project
        """,
        {"projects": list(projects), "period": period},
    )
    return {row["project"]: row for row in rows}


def _project_row(
    tx: Tx,
    firm: Firm,
    project: Held,
    contract: Held,
    customer: Held | None,
    used: Mapping[str, Mapping[str, Any]],
    period: str,
) -> tuple[Any, ...]:
    body, entity = project.body, firm.entities[project.body["legal_entity"]]
    lines = [line for line in lines_with_orders(tx, contract) if line["legal_entity"] == entity.code]
    main = next((line for line in lines if line["billing_method"] != "pass_through"), lines[0])
    travel = next((line for line in lines if line["billing_method"] == "pass_through"), None)
    currency = body["currency"]
    so_far = used.get(project.gid, {})

    def units(value: str | None) -> int | None:
        return None if value is None else to_units(Decimal(value), currency)

    return (
        project.gid,
        body["code"],
        contract.gid,
        entity.code,
        currency,
        body["customer"],
        customer.body["payment_terms_days"] if customer else 30,
        entity.country,
        customer.body["country"] if customer else None,
        bool(customer and customer.body["tax_id"]),
        contract.status == "active",
        main["billing_method"],
        main["key"],
        units(main["cap"]),
        so_far.get("cap_used", 0),
        travel is not None,
        travel["key"] if travel else None,
        int(Decimal(travel["markup_share"] or 0) * 1_000_000) if travel else 0,
        units(main["monthly_fee"]),
        int(Decimal(main["included_hours"]) * 60) if main["included_hours"] is not None else None,
        units(main["overage_rate"]),
        so_far.get("covered", 0),
        _fees_due(contract, main, period, so_far.get("fees") or []),
    )


def _fees_due(contract: Held, main: Line, period: str, billed: Sequence[str]) -> list[str]:
    """Return the months up to the period whose retainer fee is on no document yet."""
    if main["billing_method"] != "retainer" or not contract.body["starts_on"]:
        return []
    done = {key.rpartition("fee-")[2] for key in billed}
    month = contract.body["starts_on"][:7]
    last = min(period, (contract.body["ends_on"] or "9999-12")[:7])
    due = []
    while month <= last:
        if month not in done:
            due.append(month)
        month = next_month(month)
    return due
