"""Reads what billing looks at: one frame for each shape, straight from the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from trueup.billing.frames import ENTRIES, EXPENSES, FX_RATES, PAID_SHARES, PROJECTS, RATES, STOPS, RunFacts, Shape
from trueup.billing.parts import WHOLE, Part
from trueup.billing.terms import Terms, terms_for
from trueup.kernel.money import from_units, to_units
from trueup.kernel.periods import last_day, next_month
from trueup.pipeline.house import Firm
from trueup.processes import tax_facts
from trueup.processes.retainer_facts import with_roll_over
from trueup.processes.suspects import suspects
from trueup.store import adjustments, ledger, objects
from trueup.store.database import Tx, array
from trueup.store.objects import Held

Line = Mapping[str, Any]


def run_facts(tx: Tx, firm: Firm, entity: str, upto: date, period: str, part: Part = WHOLE) -> RunFacts:
    """Return everything a billing run of one legal entity looks at, or a part of the run."""
    projects = projects_of(tx, firm, entity, period, part)
    rates = rates_of(tx, projects["contract"].unique().to_list())
    asked = {"projects": array(projects["project"]), "upto": upto}
    ready = ~pl.col("gid").is_in(adjustments.postponed(tx, entity, upto))
    entries = _frame(tx, ENTRIES, _ENTRIES, asked).filter(ready)
    facts = RunFacts(
        entries=entries,
        expenses=_frame(tx, EXPENSES, _EXPENSES, asked).filter(ready),
        projects=projects,
        rates=pl.concat([rates, _list_card(firm)], how="diagonal") if firm.list_rates else rates,
        stops=pl.concat([_stops(tx, entity), suspects(tx, firm, entries, upto)]),
    )
    return _with_terms(tx, firm, entity, period, facts) if firm.terms else facts


def _with_terms(tx: Tx, firm: Firm, entity: str, period: str, facts: RunFacts) -> RunFacts:
    """Add the terms of each project, with what is used of their limits, and the columns only terms look at."""
    ours = facts.projects["project"].to_list()
    terms = terms_of(tx, firm, entity, last_day(period), ours)
    params = {"projects": array(ours), "period": period}
    tasks = ledger.frame(
        tx,
        """
        select t.gid, t.task, coalesce(k.body ->> 'name', t.task), coalesce(r.body ->> 'name', t.resource)
        from time_entries t
        left join objects k on k.gid = t.task
        left join objects r on r.gid = t.resource
        where t.project = any(%(projects)s::text[]) and t.tombstone is null and t.status in ('submitted', 'approved')
        """,
        params,
        {"gid": pl.String, "task": pl.String, "task_name": pl.String, "person": pl.String},
    )
    spent = ledger.frame(
        tx,
        """
        select e.gid, e.currency, coalesce(a.amount, 0)::bigint from expense_lines e
        left join lateral (
            select sum(amount) as amount from (
                select amount from charges where fact = e.gid and kind = 'expense'
                union all
                select -amount from reopenings where fact = e.gid and kind = 'expense') priced) a on true
        where e.project = any(%(projects)s::text[])
        """,
        params,
        {"gid": pl.String, "currency_spent": pl.String, "allocated_amount": pl.Int64},
    )
    billed = ledger.frame(
        tx,
        """
        select c.project, sum(a.amount)::bigint from charges c join allocations a on a.charge = c.key
        where c.project = any(%(projects)s::text[]) and c.kind in ('time', 'overage', 'minimum')
            and to_char(c.service_on, 'YYYY-MM') = %(period)s group by c.project
        """,
        params,
        {"project": pl.String, "period_billed": pl.Int64},
    )
    return replace(
        facts,
        entries=facts.entries.drop("task", "task_name", "person", strict=False).join(tasks, on="gid", how="left"),
        expenses=facts.expenses.drop("currency_spent", "allocated_amount", strict=False).join(
            spent, on="gid", how="left"
        ),
        projects=with_roll_over(
            tx, facts.projects.drop("period_billed", strict=False).join(billed, on="project", how="left"), terms, period
        ),
        terms=terms,
        fx_rates=pl.DataFrame(
            [(fx.base, fx.quote, fx.purpose, fx.on, int(fx.rate.scaleb(8)), fx.source) for fx in firm.fx_rates],
            schema={name: column.dtype for name, column in FX_RATES.columns.items()},
            orient="row",
        ),
        closed=tuple(_closed(tx, entity)),
        paid=_paid(tx, facts, [project for project, of in terms.items() if of.payers]),
    )


def _paid(tx: Tx, facts: RunFacts, projects: Sequence[str]) -> pl.DataFrame:
    """Return what each of several payers has on documents of facts that were billed in part and are open again."""
    shared, schema = pl.col("project").is_in(projects), _plain_columns(PAID_SHARES)
    entries = facts.entries.filter(
        shared & (pl.col("open_minutes") > 0) & (pl.col("open_minutes") != pl.col("minutes"))
    )
    expenses = facts.expenses.filter(shared & (pl.col("open_amount") > 0) & (pl.col("open_amount") != pl.col("amount")))
    gids = [*entries["gid"], *expenses["gid"]]
    if not gids:
        return pl.DataFrame(schema=schema)
    return ledger.frame(
        tx,
        """
        select s.fact, i.body ->> 'customer', sum(s.amount)::bigint, coalesce(sum(s.minutes), 0)::bigint
        from (
            select fact, document, amount, minutes from charges
            where fact = any(%(gids)s::text[]) and document is not null and kind in ('time', 'overage', 'delta', 'expense')
            union all
            select c.fact, c.document, -r.amount, -r.minutes from reopenings r join charges c on c.key = r.charge
            where r.fact = any(%(gids)s::text[]) and c.document is not null
                and c.kind in ('time', 'overage', 'delta', 'expense')) s
        join objects i on i.gid = s.document
        group by 1, 2 order by 1, 2
        """,
        {"gids": array(gids)},
        schema,
    )


def terms_of(
    tx: Tx, firm: Firm, entity: str, on: date | None = None, of: Sequence[str] | None = None
) -> dict[str, Terms]:
    """Return the terms of each project of a legal entity, less what is used of orders and caps.

    on  day of the documents, for what tax looks at of several payers; None where nothing is taxed
    of  these projects alone; None for all
    """
    liable = tax_facts.nexus_of(tx, firm, entity, on) if on else {}
    every = objects.of_kind(tx, "project", {"legal_entity": entity}) if of is None else objects.load(tx, of).values()
    projects = list(every)
    contracts = objects.load(tx, {project.body["contract"] for project in projects})
    drawn = _drawn(tx, [project.gid for project in projects])
    found: dict[str, Terms] = {}
    for project in projects:
        contract = contracts[project.body["contract"]]
        main = main_line(contract, entity)
        terms = terms_for(firm.terms, main["key"], contract.body["code"], main["package"])
        currency = project.body["currency"]

        def so_far(what: str, name: str, project: Held = project, currency: str = currency) -> Decimal:
            return from_units(drawn.get((what, project.gid, name), 0), currency)

        customers = objects.load(tx, {payer.bill_to for payer in terms.payers})
        found[project.gid] = replace(
            terms,
            purchase_orders=tuple(
                replace(order, amount=max(Decimal(0), order.amount - so_far("order", order.number)))
                for order in terms.purchase_orders
            ),
            task_caps=tuple(replace(cap, used=so_far("task", cap.task)) for cap in terms.task_caps),
            minimum=terms.minimum
            and replace(
                terms.minimum,
                starts_on=_date(contract.body["starts_on"]),
                ends_on=_date(contract.body["ends_on"]),
            ),
            payers=tuple(
                replace(
                    payer,
                    country=known.body["country"],
                    has_tax_id=bool(known.body["tax_id"]),
                    **_payer(tax_facts.buyer(firm, entity, known, liable)),
                )
                if (known := customers.get(payer.bill_to))
                else payer
                for payer in terms.payers
            ),
        )
    return found


def _payer(buyer: Mapping[str, Any]) -> dict[str, Any]:
    return {"region" if name == "buyer_region" else name: value for name, value in buyer.items()}


def _drawn(tx: Tx, projects: Sequence[str]) -> dict[tuple[str, str, str], int]:
    rows = tx.rows(
        """
        select 'order' as what, c.project, c.purchase_order as name, sum(a.amount)::bigint as amount
        from charges c join allocations a on a.charge = c.key
        where c.project = any(%(projects)s::text[]) and c.purchase_order is not null and c.amount > 0 group by c.project, c.purchase_order
        union all
        select 'task', c.project, t.task, sum(a.amount)::bigint
        from charges c join allocations a on a.charge = c.key join time_entries t on t.gid = c.fact
        where c.project = any(%(projects)s::text[]) and c.kind = 'time' and t.task is not null group by c.project, t.task
        """,
        {"projects": array(projects)},
    )
    return {(row["what"], row["project"], row["name"]): row["amount"] for row in rows}


def _closed(tx: Tx, entity: str) -> list[str]:
    rows = tx.rows(
        "select distinct period from runs where kind = 'month_end' and state = 'done' and legal_entity = %s order by period",
        (entity,),
    )
    return [row["period"] for row in rows]


def _stops(tx: Tx, entity: str) -> pl.DataFrame:
    """Return what persons and other checks have stopped: their holds carry no period, a billing run's do."""
    return ledger.frame(
        tx,
        """
        select scope, code from holds
        where released_at is null and period is null and (legal_entity is null or legal_entity = %(entity)s)
            and code = any(%(codes)s)
        """,
        {"entity": entity, "codes": list(STOPPING)},
        {name: column.dtype for name, column in STOPS.columns.items()},
    )


STOPPING = ("MANUAL", "LABOUR_CHECK", "DUPLICATE_SUSPECT", "CHANGE_ORDER_PENDING", "POLICY_BREACH", "BUDGET_EXCEEDED")
"""Holds that others than the billing run place, and that it obeys."""


def _list_card(firm: Firm) -> pl.DataFrame:
    rows = [
        (line.key, None, line.role, line.currency, to_units(line.rate, line.currency), line.valid_from, line.valid_to,
         line.resource, None, None, "list")
        for line in firm.list_rates
    ]  # fmt: skip
    return pl.DataFrame(rows, schema={name: column.dtype for name, column in RATES.columns.items()}, orient="row")


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _plain_columns(shape: Shape, *besides: str) -> dict[str, Any]:
    return {name: column.dtype for name, column in shape.columns.items() if not column.optional or name in besides}


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
    return ledger.frame(tx, sql, params, _plain_columns(shape))


# Each fact is looked up by itself, in the order of the index: a part of a run reads what is its own, however much there is.
_ENTRIES = """
    with seen as materialized (
        select * from time_entries
        where project = any(%(projects)s::text[]) and worked_on <= %(upto)s and tombstone is null
            and status in ('submitted', 'approved'))
    select t.gid, t.version, t.source_order, p.body ->> 'contract', t.project, t.role, t.resource, t.worked_on,
        t.minutes::bigint, t.minutes - coalesce(f.quantity, 0)::bigint, coalesce(a.amount, 0)::bigint, t.billable, t.status
    from (select * from seen order by gid) t
    join objects p on p.gid = t.project
    left join lateral (
        select sum(quantity) as quantity from buckets
        where fact = t.gid
            and bucket in ('on_draft', 'invoiced', 'credited', 'written_off', 'non_billable', 'covered_by_fixed_fee')) f on true
    left join lateral (
        select sum(amount) as amount from (
            select amount from charges
            where fact = t.gid and f.quantity is not null and kind in ('time', 'overage', 'delta')
            union all
            select -amount from reopenings
            where fact = t.gid and f.quantity is not null and kind in ('time', 'overage', 'delta')) priced) a on true
"""
# A refund is below zero and lies in no bucket: that a charge stands for it says that nothing of it is open.
_EXPENSES = """
    select e.gid, e.version, e.source_order, p.body ->> 'contract', e.project, e.resource, e.spent_on, e.category, e.amount,
        case when e.amount < 0 and exists (
            select from charges c where c.fact = e.gid and c.kind = 'expense'
                and not exists (select from reopenings r where r.charge = c.key)) then 0
        else e.amount - coalesce(f.quantity, 0) end::bigint, e.billable, e.status, e.has_receipt
    from expense_lines e
    join objects p on p.gid = e.project
    left join lateral (
        select sum(quantity) as quantity from buckets
        where fact = e.gid
            and bucket in ('on_draft', 'invoiced', 'credited', 'written_off', 'non_billable', 'covered_by_fixed_fee')) f on true
    where e.tombstone is null and e.project = any(%(projects)s::text[]) and e.spent_on <= %(upto)s
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
        for held in objects.naming(tx, "rate_line", "contract", contracts)
        if held.status == "active"
    ]
    return pl.DataFrame(rows, schema=_plain_columns(RATES), orient="row")


def main_line(contract: Held, entity: str) -> Line:
    """Return the line that says how a contract's time is billed in one legal entity."""
    lines = [line for line in contract.body["lines"] if line["legal_entity"] == entity]
    return next((line for line in lines if line["billing_method"] != "pass_through"), lines[0])


def lines_with_orders(tx: Tx, contract: Held) -> list[dict[str, Any]]:
    """Return a contract's lines with what active change orders add to them: amount and cap, by entity and method."""
    return _amended(contract, objects.naming(tx, "contract", "amends", [contract.body["code"]]))


def _amended(contract: Held, orders: Sequence[Held]) -> list[dict[str, Any]]:
    lines = [dict(line) for line in contract.body["lines"]]
    for order in orders:
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


def projects_of(tx: Tx, firm: Firm, entity: str, period: str, part: Part = WHOLE) -> pl.DataFrame:
    """Return one row for each project of a legal entity, with what its contract says and what was used of it."""
    projects = objects.of_kind(tx, "project", {"legal_entity": entity})
    return _projects(tx, firm, [one for one in projects if part.has(one.body["contract"])], period)


def count_entries(tx: Tx, entity: str, upto: date) -> int:
    """Return how many time entries a billing run of a legal entity looks at."""
    projects = [one.gid for one in objects.of_kind(tx, "project", {"legal_entity": entity})]
    return int(
        tx.value(
            """
            select count(*) from time_entries where project = any(%s::text[]) and worked_on <= %s
                and tombstone is null and status in ('submitted', 'approved')
            """,
            (projects, upto),
        )
    )


def _projects(tx: Tx, firm: Firm, projects: Sequence[Held], period: str) -> pl.DataFrame:
    contracts = objects.load(tx, {project.body["contract"] for project in projects})
    customers = objects.load(tx, {project.body["customer"] for project in projects})
    used = _used(tx, [project.gid for project in projects], period)
    orders: dict[str, list[Held]] = {}
    for order in objects.naming(tx, "contract", "amends", (one.body["code"] for one in contracts.values())):
        orders.setdefault(order.body["amends"], []).append(order)
    rows = [
        _project_row(
            firm,
            project,
            contracts[project.body["contract"]],
            orders.get(contracts[project.body["contract"]].body["code"], ()),
            customers.get(project.body["customer"]),
            used,
            period,
        )
        for project in projects
    ]
    frame = pl.DataFrame(rows, schema=_plain_columns(PROJECTS, "credit_hold"), orient="row")
    return tax_facts.with_supplies(tx, firm, frame, contracts, customers, period)


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
    firm: Firm,
    project: Held,
    contract: Held,
    orders: Sequence[Held],
    customer: Held | None,
    used: Mapping[str, Mapping[str, Any]],
    period: str,
) -> tuple[Any, ...]:
    body, entity = project.body, firm.entities[project.body["legal_entity"]]
    lines = [line for line in _amended(contract, orders) if line["legal_entity"] == entity.code]
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
        bool(customer and customer.body.get("credit_hold")),
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
