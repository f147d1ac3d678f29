"""One project, and all of them: sold, delivered, invoiced, earned, cost; milestones, people, holds, systems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from trueup.billing.frames import MARGINS
from trueup.billing.metrics import margins
from trueup.kernel.money import from_units, round_money
from trueup.reporting.amounts import Amount, amount_of
from trueup.reporting.billing_desk import POSTED, HeldItem, InvoiceRow, invoices, items
from trueup.reporting.deals import SoldLine, sold_lines
from trueup.store import objects
from trueup.store.database import Tx
from trueup.store.objects import Held

_MARGINS = {name: column.dtype for name, column in MARGINS.columns.items()}


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """One project in a list; all amounts net, in its own currency.

    sold        value of its contract lines, change orders included
    delivered   value of approved work and completed milestones, billed or not
    invoiced    posted invoices less posted credits
    held        value that may not be billed yet
    recognised  revenue to date, at the last closed month
    cost        labour and expenses to date; None when the reader may not see cost
    margin      percent of what is recognised; None when there is nothing to divide by, or cost is hidden
    """

    gid: str
    code: str
    name: str
    status: str
    customer: str | None
    customer_gid: str | None
    contract: str
    legal_entity: str
    currency: str
    manager: str | None
    practice: str | None
    starts_on: date | None
    ends_on: date | None
    sold: Decimal
    delivered: Decimal
    invoiced: Decimal
    held: Decimal
    held_items: int
    recognised: Decimal
    cost: Decimal | None
    margin: Decimal | None
    breaks: int


@dataclass(frozen=True, slots=True)
class MethodRow:
    """One line of the contract, as far as the project delivers it.

    cap_used  of the cap: on documents already, credits taken off; None without a cap
    """

    key: str
    billing_method: str
    package: str
    sold: Decimal
    added: Decimal
    delivered: Decimal
    invoiced: Decimal
    to_come: Decimal
    recognised: Decimal
    cap: Decimal | None
    cap_used: Decimal | None


@dataclass(frozen=True, slots=True)
class MilestoneRow:
    """One milestone."""

    gid: str
    code: str
    name: str
    amount: Amount
    planned_on: date | None
    completed_on: date | None
    accepted_on: date | None
    acceptance_required: bool
    status: str
    invoice: str | None
    held: bool


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One person's time on the project, in minutes."""

    gid: str
    name: str
    role: str | None
    approved: int
    billable: int
    submitted: int
    planned: int | None


@dataclass(frozen=True, slots=True)
class MonthRow:
    """What one closed month added. Cost is None when the reader may not see it."""

    period: str
    recognised: Decimal
    labour: Decimal | None
    expense: Decimal | None
    minutes: int


@dataclass(frozen=True, slots=True)
class SystemRow:
    """The project in one system, and what was last asked of it."""

    system: str
    object: str
    external_id: str | None
    state: str
    said: str


@dataclass(frozen=True, slots=True)
class Project:
    """One project, whole."""

    row: ProjectRow
    methods: tuple[MethodRow, ...]
    milestones: tuple[MilestoneRow, ...]
    people: tuple[PersonRow, ...]
    months: tuple[MonthRow, ...]
    holds: tuple[HeldItem, ...]
    invoices: tuple[InvoiceRow, ...]
    systems: tuple[SystemRow, ...]
    submitted_minutes: int
    deal: str
    orders: tuple[str, ...]


def projects(tx: Tx, *, cost: bool = False, only: str | None = None) -> tuple[ProjectRow, ...]:
    """Return all projects, by code.

    cost  whether the reader may see what people cost
    only  one project's identifier
    """
    held = [one for one in objects.of_kind(tx, "project") if only is None or one.gid == only]
    gids = [one.gid for one in held]
    sold = _sold(tx, held)
    people = objects.load(
        tx, {one.body[name] for one in held for name in ("manager", "customer") if one.body.get(name)}
    )
    figures = _figures(tx, gids)
    earned = _earned(tx, gids)
    return tuple(
        _row(one, people, sold, figures.get(one.gid, {}), earned.get(one.gid, {}), cost)
        for one in sorted(held, key=lambda one: str(one.body["code"]))
    )


def find_project(tx: Tx, identifier: str) -> str | None:
    """Return the identifier of a project by its code or our own identifier."""
    found = tx.value(
        "select gid from objects where kind = 'project' and (gid = %(id)s or body ->> 'code' = %(id)s) limit 1",
        {"id": identifier},
    )
    return None if found is None else str(found)


def project(tx: Tx, gid: str, *, cost: bool = False) -> Project | None:
    """Return one project with everything that belongs to it; None when there is no such project.

    cost  whether the reader may see what people cost
    """
    rows = projects(tx, cost=cost, only=gid)
    if not rows:
        return None
    row = rows[0]
    contract = objects.one(tx, row.contract)
    orders = (
        [
            one.body["code"]
            for one in objects.of_kind(tx, "contract", {"amends": contract.body["code"]})
            if one.status == "active"
        ]
        if contract
        else []
    )
    people = _people(tx, gid)
    return Project(
        row,
        _methods(tx, row, contract),
        _milestones(tx, gid),
        people,
        _months(tx, gid, row.currency, cost),
        items(tx, project=gid, limit=200),
        invoices(tx, project=gid),
        _systems(tx, gid),
        sum(person.submitted for person in people),
        contract.body["code"] if contract else "",
        tuple(sorted(orders)),
    )


def _sold(tx: Tx, held: Sequence[Held]) -> dict[tuple[str, str], Decimal]:
    contracts = objects.load(tx, {one.body["contract"] for one in held})
    found: dict[tuple[str, str], Decimal] = {}
    for line in sold_lines(tx, list(contracts.values())):
        key = (line.contract, line.legal_entity)
        found[key] = found.get(key, Decimal(0)) + line.amount
    return found


def _figures(tx: Tx, gids: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = tx.rows(
        """
        select p.gid,
            coalesce(c.charged, 0)::bigint as charged, coalesce(i.invoiced, 0)::bigint as invoiced,
            coalesce(h.amount, 0)::bigint as held, coalesce(h.delivered, 0)::bigint as held_delivered,
            coalesce(h.items, 0)::int as held_items, coalesce(b.breaks, 0)::int as breaks
        from unnest(%(gids)s::text[]) as p (gid)
        left join (
            select c.project, sum(a.amount) as charged from charges c join allocations a on a.charge = c.key
            where c.project = any(%(gids)s) group by c.project) c on c.project = p.gid
        left join (
            select c.project, sum(a.amount) as invoiced from charges c join allocations a on a.charge = c.key
            join objects d on d.gid = a.document
            where c.project = any(%(gids)s) and d.status = any(%(posted)s) group by c.project) i on i.project = p.gid
        left join (
            select project, sum(amount) as amount, sum(amount) filter (where approved) as delivered, count(*) as items
            from (select project, scope, max(amount) as amount, bool_and(code <> 'APPROVAL_MISSING') as approved
                from holds where released_at is null and project = any(%(gids)s) group by project, scope) once
            group by project) h on h.project = p.gid
        left join (
            select coalesce(o.body ->> 'project', t.project, b.gid) as project, count(*) as breaks from breaks b
            left join objects o on o.gid = b.gid left join time_entries t on t.gid = b.gid
            where b.closed_at is null group by 1) b on b.project = p.gid
        """,
        {"gids": list(gids), "posted": list(POSTED)},
    )
    return {row["gid"]: row for row in rows}


def _earned(tx: Tx, gids: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = tx.rows(
        """
        select project, sum(recognised)::bigint as recognised, sum(labour)::bigint as labour, sum(expense)::bigint as expense
        from margins where project = any(%s) group by project
        """,
        (list(gids),),
    )
    return {row["project"]: row for row in rows}


def _row(
    one: Held,
    people: Mapping[str, Held],
    sold: Mapping[tuple[str, str], Decimal],
    figures: Mapping[str, Any],
    earned: Mapping[str, Any],
    cost: bool,
) -> ProjectRow:
    body = one.body
    currency, entity = body["currency"], body["legal_entity"]
    manager, customer = people.get(body["manager"] or ""), people.get(body["customer"])
    recognised, labour, expense = (earned.get(name, 0) for name in ("recognised", "labour", "expense"))
    share = None
    if cost and recognised:
        left = recognised - labour - expense
        facts = (one.gid, body["contract"], entity, currency, recognised, labour, expense, left)
        share = margins(pl.DataFrame([facts], schema=_MARGINS, orient="row"))[currency]
    return ProjectRow(
        one.gid,
        body["code"],
        body["name"],
        one.status,
        customer.body["name"] if customer else None,
        body["customer"],
        body["contract"],
        entity,
        currency,
        manager.body["name"] if manager else None,
        body["practice"],
        _day(body["starts_on"]),
        _day(body["ends_on"]),
        sold.get((body["contract"], entity), round_money(Decimal(0), currency)),
        from_units(figures.get("charged", 0) + figures.get("held_delivered", 0), currency),
        from_units(figures.get("invoiced", 0), currency),
        from_units(figures.get("held", 0), currency),
        figures.get("held_items", 0),
        from_units(recognised, currency),
        from_units(labour + expense, currency) if cost else None,
        share,
        figures.get("breaks", 0),
    )


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _methods(tx: Tx, row: ProjectRow, contract: Held | None) -> tuple[MethodRow, ...]:
    """Return the contract's lines this project delivers; what is held counts where its kind of charge belongs."""
    if contract is None:
        return ()
    lines = [line for line in sold_lines(tx, [contract]) if line.legal_entity == row.legal_entity]
    charged = {
        one["contract_line"]: one
        for one in tx.rows(
            """
            select c.contract_line, sum(a.amount)::bigint as charged,
                coalesce(sum(a.amount) filter (where c.kind = 'time'), 0)::bigint as capped,
                coalesce(sum(a.amount) filter (where d.status = any(%(posted)s)), 0)::bigint as invoiced
            from charges c join allocations a on a.charge = c.key left join objects d on d.gid = a.document
            where c.project = %(project)s group by c.contract_line
            """,
            {"project": row.gid, "posted": list(POSTED)},
        )
    }
    waiting = {
        one["expense"]: one["amount"]
        for one in tx.rows(
            """
            select scope_kind = 'expense_line' as expense, sum(amount)::bigint as amount from (
                select scope, scope_kind, max(amount) as amount from holds
                where released_at is null and project = %s group by scope, scope_kind
                having bool_and(code <> 'APPROVAL_MISSING')) once
            group by 1
            """,
            (row.gid,),
        )
    }
    recognised = {
        one["line_key"]: one["recognised"]
        for one in tx.rows(
            """
            select line_key, sum(recognised)::bigint as recognised from positions p
            where contract = %s and legal_entity = %s and period = (
                select max(period) from positions q where q.contract = p.contract and q.legal_entity = p.legal_entity)
            group by line_key
            """,
            (contract.gid, row.legal_entity),
        )
    }
    main = next((line.key for line in lines if line.billing_method != "pass_through"), None)
    found = []
    for line in lines:
        part = charged.get(line.key, {"charged": 0, "capped": 0, "invoiced": 0})
        held = waiting.get(line.billing_method == "pass_through", 0)
        held = held if line.key == main or line.billing_method == "pass_through" else 0
        found.append(_method(line, part, held, recognised.get(line.key, 0)))
    return tuple(found)


def _method(line: SoldLine, part: Mapping[str, int], held: int, recognised: int) -> MethodRow:
    delivered = from_units(part["charged"] + held, line.currency)
    return MethodRow(
        line.key,
        line.billing_method,
        line.package,
        line.amount,
        line.added,
        delivered,
        from_units(part["invoiced"], line.currency),
        max(Decimal(0), line.amount - delivered),
        from_units(recognised, line.currency),
        line.cap,
        from_units(part["capped"], line.currency) if line.cap is not None else None,
    )


def _milestones(tx: Tx, gid: str) -> tuple[MilestoneRow, ...]:
    invoiced = {
        row["fact"]: row["code"]
        for row in tx.rows(
            """
            select c.fact, d.body ->> 'code' as code from charges c join objects d on d.gid = c.document
            where c.project = %s and c.kind = 'milestone'
            """,
            (gid,),
        )
    }
    held = {
        row["scope"] for row in tx.rows("select scope from holds where project = %s and released_at is null", (gid,))
    }
    found = sorted(objects.of_kind(tx, "milestone", {"project": gid}), key=lambda one: (one.body["sequence"], one.gid))
    return tuple(
        MilestoneRow(
            one.gid,
            one.body["code"],
            one.body["name"],
            Amount(Decimal(one.body["amount"]), one.body["currency"]),
            _day(one.body["planned_on"]),
            _day(one.body["completed_on"]),
            _day(one.body["accepted_on"]),
            one.body["acceptance_required"],
            one.status,
            invoiced.get(one.gid),
            one.gid in held,
        )
        for one in found
    )


def _people(tx: Tx, gid: str) -> tuple[PersonRow, ...]:
    rows = tx.rows(
        """
        select r.gid, r.body ->> 'name' as name, coalesce(max(t.role), r.body ->> 'role') as role,
            coalesce(sum(t.minutes) filter (where t.status = 'approved'), 0)::bigint as approved,
            coalesce(sum(t.minutes) filter (where t.status = 'approved' and t.billable), 0)::bigint as billable,
            coalesce(sum(t.minutes) filter (where t.status = 'submitted'), 0)::bigint as submitted,
            (select sum((a.body ->> 'planned_minutes')::bigint)::bigint from objects a
                where a.kind = 'assignment' and a.body ->> 'project' = %(project)s and a.body ->> 'resource' = r.gid
                    and a.tombstone is null and a.status <> 'released') as planned
        from objects r
        left join time_entries t on t.resource = r.gid and t.project = %(project)s and t.tombstone is null
        where r.kind = 'resource' and (t.gid is not null or exists (
            select from objects a where a.kind = 'assignment' and a.body ->> 'project' = %(project)s
                and a.body ->> 'resource' = r.gid and a.tombstone is null))
        group by r.gid, r.body order by approved desc, name
        """,
        {"project": gid},
    )
    return tuple(PersonRow(**row) for row in rows)


def _months(tx: Tx, gid: str, currency: str, cost: bool) -> tuple[MonthRow, ...]:
    rows = tx.rows("select * from margins where project = %s order by period", (gid,))
    return tuple(
        MonthRow(
            row["period"],
            amount_of(row["recognised"], currency).amount,
            amount_of(row["labour"], currency).amount if cost else None,
            amount_of(row["expense"], currency).amount if cost else None,
            row["minutes"],
        )
        for row in rows
    )


def _systems(tx: Tx, gid: str) -> tuple[SystemRow, ...]:
    rows = tx.rows(
        """
        select distinct on (d.system, d.object) d.system, d.object, coalesce(c.external_id, d.external_id) as external_id,
            d.state, coalesce(d.cause, '') as said
        from deliveries d left join crosswalk c on c.gid = d.gid and c.system = d.system and c.object = d.object
        where d.gid = %s order by d.system, d.object, d.sequence desc
        """,
        (gid,),
    )
    return tuple(SystemRow(**row) for row in rows)
