"""Month end: revenue, cost and margin of a legal entity's month, and the journals that carry them to the ERP.

Starts on   a month end of a legal entity (a person, the API, the schedule), after the month's drafts were posted
Ends with   positions and margins frozen for the month, balanced journals expected in the ERP, period.closed
Undo        the next month's difference: a position is a function of the facts, so a correction books itself; a month
            that was reopened, and is the last, is booked again by what changed, in journals of its own
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from trueup import engine
from trueup.billing.frames import (
    ACCEPTANCES,
    COST_PROJECTS,
    COST_RATES,
    DOCUMENT_TOTALS,
    EARNINGS,
    LINE_POSITIONS,
    ORIGINS,
    POSTED,
    POSTINGS,
    PROGRESS,
    REVENUE_LINES,
    WORKED,
    Shape,
)
from trueup.billing.journals import (
    JournalPlan,
    by_origin,
    document_changes,
    late_services,
    plan_journals,
    postings,
)
from trueup.billing.margin import LabourCost, labour_cost
from trueup.billing.obligations import release_advances
from trueup.billing.revenue import ObligationFacts, RevenueFacts, RevenuePlan, recognise
from trueup.billing.run import plan_run
from trueup.kernel.errors import Held as Waits
from trueup.kernel.ids import derive
from trueup.kernel.money import from_units, to_units
from trueup.kernel.periods import last_day, previous_month
from trueup.pipeline.house import House
from trueup.pipeline.ingest import author
from trueup.processes.commands import commands
from trueup.processes.facts import lines_with_orders, main_line, run_facts
from trueup.processes.obligation_facts import advances_of, obligation_facts
from trueup.store import acts, changes, deliveries, ledger, objects, periods
from trueup.store.changes import Event
from trueup.store.database import Tx, array
from trueup.store.objects import Held


@engine.process
def month_end(work: engine.Work, period: str, entity: str) -> Any:
    """Close one month of one legal entity, as one remembered step."""
    return work.step(close, period, entity, work.key)


def start(tx: Tx, period: str, entity: str) -> str:
    """Queue a month end; the same month is closed once."""
    return engine.start(tx, "month_end", f"{period}/{entity}", period, entity)


def close(house: House, period: str, entity: str, process: str, revision: int = 1) -> dict[str, Any]:
    """Freeze the month's positions and margins and ask the ERP for the journals; doing it twice does it once.

    revision  above 1 for a month that was reopened: what it booked stands, and the difference is booked beside it
    """
    run = f"{period}/{entity}/month_end" + (f"/{revision}" if revision > 1 else "")
    with house.database.transaction() as tx:
        if not ledger.begin_run(tx, run, "month_end", entity, period):
            return {"run": run, "already": "done"}
        acts.happened(tx, "month_end", (period, entity), house.edition, entity=entity)
        periods.require_open(tx, entity, period, "the month end")
        _check_order(tx, entity, period)
        again = revision > 1 and _is_booked(tx, entity, period)
        mark = f"-R{revision}" if again else ""
        revenue, unclear = _revenue(tx, house, entity, period, since=period if again else previous_month(period))
        split = by_origin(revenue.lines, revenue.origins, _query(tx, ORIGINS, _BOOKED, {"entity": entity}), period)
        _check_late(tx, house, split, entity, period)
        labour, problems = _labour(tx, entity, period)
        journals = plan_journals(revenue.contracts, labour, period, mark)
        if again:
            revenue = _set_aside(tx, revenue, entity, period)
        _freeze(tx, revenue, entity, period)
        _margins(tx, entity, period, revenue, labour)
        _schedules(tx, house, revenue, entity, period, process)
        _journals(tx, house, journals, period, process)
        _post(tx, journals, split, entity, period, mark)
        _advances(tx, house, revenue, entity, period)
        figures = {
            "contracts": revenue.contracts.height,
            "journals": journals.journals["code"].to_list(),
            "problems": [*unclear, *revenue.problems, *problems, *journals.problems],
        }
        ledger.end_run(tx, run, figures)
        key = f"period.closed/{period}/{entity}" + (f"/booked{mark}" if again else "")
        closed = Event(key, "period.closed", entity, "legal_entity", {"code": period})
        house.react(tx, changes.tell(tx, [closed]))
        return {"run": run, **figures}


def _is_booked(tx: Tx, entity: str, period: str) -> bool:
    """Say whether the month was booked before: its first closing is a run of its own."""
    sql = "select exists (select from runs where run = %s and state = 'done')"
    return bool(tx.value(sql, (f"{period}/{entity}/month_end",)))


def _set_aside(tx: Tx, revenue: RevenuePlan, entity: str, period: str) -> RevenuePlan:
    """Let the positions of a month that is booked again make room; what they told of changed estimates is kept."""
    told = tx.rows(
        """
        delete from positions where legal_entity = %s and period = %s
        returning contract, line_key as contract_line, obligation, estimate_change as told
        """,
        (entity, period),
    )
    tx.run(
        "delete from advance_positions where period = %s and contract = any(%s::text[])",
        (period, array(sorted({row["contract"] for row in told}))),
    )
    keys = ("contract", "contract_line", "obligation")
    schema = {**dict.fromkeys(keys, pl.String), "told": pl.Int64}
    before = pl.DataFrame(told, schema=schema)
    lines = revenue.lines.join(before, on=keys, how="left", maintain_order="left").with_columns(
        estimate_change=pl.col("estimate_change") + pl.col("told").fill_null(0)
    )
    return replace(revenue, lines=lines.drop("told"))


def _check_order(tx: Tx, entity: str, period: str) -> None:
    """Months close in order: a position is the difference to the one before."""
    later = tx.value("select min(period) from positions where legal_entity = %s and period > %s", (entity, period))
    if later is not None:
        raise Waits(
            f"{entity} has closed {later} already; {period} can only be corrected in the open month", "PERIOD_CLOSED"
        )


def _check_late(tx: Tx, house: House, split: pl.DataFrame, entity: str, period: str) -> None:
    """Refuse revenue for services of closed months where the firm wants a person to decide; else it is booked now."""
    if house.firm.late_revenue != "refuse":
        return
    closed = tx.rows(
        "select distinct legal_entity, period from positions where legal_entity = %s and period < %s", (entity, period)
    )
    late = late_services(split, pl.DataFrame(closed, schema={"legal_entity": pl.String, "period": pl.String}))
    if late.height:
        named = objects.load(tx, late["contract"].unique().to_list())
        what = "; ".join(
            f"{_text(row['recognised'], row['currency'])} {row['currency']} of {named[row['contract']].body['code']} "
            f"{row['contract_line']} for {row['origin_period']}"
            for row in late.iter_rows(named=True)
        )
        raise Waits(
            f"{entity} {period} has revenue for closed months: {what}. Correct the facts, or set late_revenue: "
            "next_open_period to book it in the open month",
            "PERIOD_CLOSED",
        )


_BOOKED = """
    select contract, contract_line, obligation, legal_entity, currency, origin_period, sum(credit - debit)::bigint
    from revenue_postings where legal_entity = %(entity)s and account = '4000' and obligation is not null
    group by contract, contract_line, obligation, legal_entity, currency, origin_period
"""
_DOCUMENTS = """
    select coalesce(i.body ->> 'contract', o.body ->> 'contract') as contract, %(entity)s::text,
        i.body ->> 'currency' as currency,
        sum(case when i.body ->> 'invoice_type' = 'credit' then -1 else 1 end * (i.body ->> 'net')::numeric) as net,
        sum(case when i.body ->> 'invoice_type' = 'credit' then -1 else 1 end * (i.body ->> 'tax')::numeric) as tax
    from objects i left join objects o on o.gid = i.body ->> 'corrects'
    where i.kind = 'invoice' and i.tombstone is null and i.status in ('posted', 'part_paid', 'paid', 'credited')
        and coalesce(i.body ->> 'legal_entity', o.body ->> 'legal_entity') = %(entity)s
        and (i.body ->> 'invoice_date')::date <= %(upto)s
        and coalesce(i.body ->> 'contract', o.body ->> 'contract') is not null
    group by 1, 3
"""
_DOCUMENTS_BOOKED = """
    select contract, legal_entity, currency,
        (sum(debit - credit) filter (where account = '1100')
            - coalesce(sum(credit - debit) filter (where account = '2300'), 0))::bigint,
        coalesce(sum(credit - debit) filter (where account = '2300'), 0)::bigint
    from revenue_postings where legal_entity = %(entity)s and journal like 'DOC-%%'
    group by contract, legal_entity, currency
"""


def _post(tx: Tx, plan: JournalPlan, split: pl.DataFrame, entity: str, period: str, mark: str) -> None:
    """Write the subledger: the month's journals by obligation and month of service, and what documents book."""
    totals = [
        (row["contract"], entity, row["currency"], to_units(row["net"], row["currency"]), to_units(row["tax"], row["currency"]))
        for row in tx.rows(_DOCUMENTS, {"entity": entity, "upto": last_day(period)})
    ]  # fmt: skip
    booked = _query(tx, DOCUMENT_TOTALS, _DOCUMENTS_BOOKED, {"entity": entity})
    documents = document_changes(_frame(totals, DOCUMENT_TOTALS), booked)
    tx.copy("revenue_postings", tuple(POSTINGS.columns), postings(plan, split, documents, period, mark).rows())


def _advances(tx: Tx, house: House, revenue: RevenuePlan, entity: str, period: str) -> None:
    """Freeze how much of each advance in foreign currency has been earned, at the rate of its own day."""
    contracts = [contract for contract in _contracts(tx, entity) if contract.body["code"] in house.firm.obligations]
    advances = advances_of(house.firm.obligations, contracts)
    states = release_advances(advances, revenue.contracts.filter(pl.col("legal_entity") == entity))
    named = states.join(advances.select("contract", "advance", "functional_currency"), on=["contract", "advance"])
    columns = (
        "contract", "advance", "amount", "released", "functional", "functional_released", "functional_currency",
    )  # fmt: skip
    tx.copy("advance_positions", (*columns, "period"), [(*row, period) for row in named.select(columns).rows()])


def _frame(rows: Sequence[Sequence[Any]], shape: Shape) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={name: column.dtype for name, column in shape.columns.items()}, orient="row")


def _query(tx: Tx, shape: Shape, sql: Any, params: Mapping[str, Any]) -> pl.DataFrame:
    return ledger.frame(tx, sql, params, {name: column.dtype for name, column in shape.columns.items()})


def _revenue(tx: Tx, house: House, entity: str, period: str, since: str) -> tuple[RevenuePlan, tuple[str, ...]]:
    upto = last_day(period)
    lines, milestones = _lines(tx, house, entity)
    declared, unclear = _obligations(tx, house, entity, upto)
    facts = RevenueFacts(
        lines=lines,
        charges=_earnings(tx, house, entity, period, upto),
        milestones=milestones,
        progress=_progress(tx, house, entity, upto),
        posted=_query(tx, POSTED, _POSTED, {"entity": entity}),
        declared=declared,
    )
    previous = _query(tx, LINE_POSITIONS, _PREVIOUS, {"entity": entity, "period": since})
    return recognise(facts, upto, previous), unclear


def _obligations(tx: Tx, house: House, entity: str, upto: date) -> tuple[ObligationFacts, tuple[str, ...]]:
    """Return declared obligations with what approved time, expenses and signed milestones say of them."""
    contracts = [contract for contract in _contracts(tx, entity) if contract.body["code"] in house.firm.obligations]
    if not contracts:
        return ObligationFacts(), ()
    done: dict[str, list[tuple[str, Any, int]]] = {}
    worked = tx.rows(
        """
        select p.body ->> 'contract' as contract, t.worked_on as day, sum(t.minutes)::bigint as quantity
        from time_entries t join objects p on p.gid = t.project
        where p.legal_entity = %s and t.status = 'approved' and t.tombstone is null and t.worked_on <= %s
        group by 1, 2
        """,
        (entity, upto),
    )
    spent = tx.rows(
        """
        select p.body ->> 'contract' as contract, e.spent_on as day, sum(e.amount)::bigint as quantity
        from expense_lines e join objects p on p.gid = e.project
        where p.legal_entity = %s and e.status in ('approved', 'posted', 'reimbursed') and e.tombstone is null
            and e.spent_on <= %s
        group by 1, 2
        """,
        (entity, upto),
    )
    # Labour is costed by month of work, and counts from the month's last day.
    labour = _labour_to_date(tx, entity, upto, by_month=True).labour
    for measure, rows in (("minutes", worked), ("cost", spent)):
        for row in rows:
            done.setdefault(row["contract"], []).append((measure, row["day"], row["quantity"]))
    for row in labour.iter_rows(named=True):
        done.setdefault(row["contract"], []).append(("cost", last_day(row["period"]), row["amount"]))
    accepted: dict[tuple[str, str], list[tuple[Any, int]]] = {}
    for contract in contracts:
        for milestone in objects.of_kind(tx, "milestone", {"contract": contract.gid}):
            body = milestone.body
            signed = _day(body["accepted_on"] if body["acceptance_required"] else body["completed_on"])
            if signed and body["completed_on"] and milestone.status != "cancelled":
                day = max(signed, date.fromisoformat(body["completed_on"]))
                units = to_units(Decimal(body["amount"]), body["currency"])
                accepted.setdefault((contract.gid, body["line_key"]), []).append((day, units))
    return obligation_facts(house.firm.obligations, contracts, entity, done, accepted)


_POSTED = """
    select a.contract, a.contract_line,
        case when i.body ->> 'invoice_type' = 'credit' then 'credit'
            when i.body ->> 'corrects' is not null then 'rebill' else 'invoice' end,
        (case when i.body ->> 'invoice_type' = 'credit' then -a.amount else a.amount end)::bigint,
        (i.body ->> 'invoice_date')::date, a.origin_period
    from (
        select c.contract, c.contract_line, l.document, to_char(c.service_on, 'YYYY-MM') as origin_period,
            sum(l.amount) as amount
        from allocations l join charges c on c.key = l.charge where c.legal_entity = %(entity)s
        group by 1, 2, 3, 4) a
    join objects i on i.gid = a.document
    where i.status in ('posted', 'part_paid', 'paid', 'credited')
"""
_PREVIOUS = """
    select contract, line_key, obligation, legal_entity, currency, method, claim, recognised, billed, provision,
        estimate_change, 0::bigint, 0::bigint, 0::bigint
    from positions where legal_entity = %(entity)s and period = %(period)s
"""


def _contracts(tx: Tx, entity: str) -> list[Held]:
    """Return the active contracts (change orders are part of what they amend) that have a project in the entity."""
    projects = objects.of_kind(tx, "project", {"legal_entity": entity})
    return list(objects.load(tx, {project.body["contract"] for project in projects}).values())


def _lines(tx: Tx, house: House, entity: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows, accepted = [], []
    for contract in _contracts(tx, entity):
        by_milestone = set()
        for line in lines_with_orders(tx, contract):
            if line["legal_entity"] != entity:
                continue
            method = house.firm.packages[line["package"]].revenue_method
            hours = line["estimated_hours"]
            rows.append(
                (
                    contract.gid,
                    line["key"],
                    entity,
                    line["currency"],
                    method,
                    to_units(Decimal(line["amount"]), line["currency"]),
                    None if hours is None else int(Decimal(hours) * 60),
                )
            )
            if method == "milestone":
                by_milestone.add(line["key"])
        for milestone in objects.of_kind(tx, "milestone", {"contract": contract.gid}):
            body = milestone.body
            if body["line_key"] in by_milestone:
                accepted.append(
                    (
                        contract.gid,
                        body["line_key"],
                        to_units(Decimal(body["amount"]), body["currency"]),
                        body["acceptance_required"],
                        _day(body["completed_on"]),
                        _day(body["accepted_on"]),
                        milestone.status,
                    )
                )
    return _frame(rows, REVENUE_LINES), _frame(accepted, ACCEPTANCES)


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _earnings(tx: Tx, house: House, entity: str, period: str, upto: date) -> pl.DataFrame:
    """Return what is on documents, and what is held now, priced as a run would price it."""
    written = _query(
        tx,
        EARNINGS,
        """
        select contract, contract_line, amount, bucket, null::text, service_on from charges
        where legal_entity = %(entity)s and kind <> 'milestone' and service_on <= %(upto)s
        union all
        -- A credit note takes off itself; a draft that was voided is taken off here.
        select c.contract, c.contract_line, -r.amount, c.bucket, null::text, c.service_on
        from reopenings r join charges c on c.key = r.charge
        where c.legal_entity = %(entity)s and c.kind <> 'milestone' and c.service_on <= %(upto)s
            and r.place in ('on_draft', 'invoiced')
        """,
        {"entity": entity, "upto": upto},
    )
    waiting = plan_run(run_facts(tx, house.firm, entity, upto, period), upto, period).charges
    held = waiting.filter((pl.col("bucket") == "held") & (pl.col("kind") != "fee")).select(
        "contract", "contract_line", "amount", "bucket", "hold_code", earned_on="service_on"
    )
    return pl.concat([written, held])


def _progress(tx: Tx, house: House, entity: str, upto: date) -> pl.DataFrame:
    """Return approved time on lines that earn by hours."""
    rows = tx.rows(
        """
        select p.gid, p.body ->> 'contract' as contract, sum(t.minutes)::bigint as minutes, max(t.worked_on) as worked_on
        from time_entries t join objects p on p.gid = t.project
        where p.legal_entity = %s and t.status = 'approved' and t.tombstone is null and t.worked_on <= %s
        group by p.gid, p.body ->> 'contract'
        """,
        (entity, upto),
    )
    contracts = objects.load(tx, {row["contract"] for row in rows})
    found = []
    for row in rows:
        line = main_line(contracts[row["contract"]], entity)
        if house.firm.packages[line["package"]].revenue_method == "hours":
            found.append((row["contract"], line["key"], row["minutes"], row["worked_on"]))
    return _frame(found, PROGRESS)


def _labour(tx: Tx, entity: str, period: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return what the month adds to labour cost: everything approved to date less what earlier months booked."""
    cost = _labour_to_date(tx, entity, last_day(period))
    booked = {
        row["project"]: row
        for row in tx.rows(
            "select project, sum(labour)::bigint as labour, sum(minutes)::bigint as minutes from margins where legal_entity = %s group by project",
            (entity,),
        )
    }
    none = {"labour": 0, "minutes": 0}
    month = [
        {
            **row,
            "amount": row["amount"] - booked.get(row["project"], none)["labour"],
            "minutes": row["minutes"] - booked.get(row["project"], none)["minutes"],
        }
        for row in cost.labour.iter_rows(named=True)
    ]
    return pl.DataFrame(month, schema=cost.labour.schema), cost.problems


def _labour_to_date(tx: Tx, entity: str, upto: date, *, by_month: bool = False) -> LabourCost:
    """Return labour cost of the approved time to date; all of it in the month of `upto`, or each in its month of work."""
    worked = _query(
        tx,
        WORKED,
        """
        select t.gid, t.project, t.resource, t.worked_on, t.minutes::bigint,
            case when %(by_month)s then t.worked_on else %(upto)s::date end from time_entries t
        join objects p on p.gid = t.project
        where p.legal_entity = %(entity)s and t.status = 'approved' and t.tombstone is null and t.worked_on <= %(upto)s
        """,
        {"entity": entity, "upto": upto, "by_month": by_month},
    )
    rates = [
        (
            rate.body["resource"],
            to_units(Decimal(rate.body["amount"]), rate.body["currency"]),
            rate.body["currency"],
            date.fromisoformat(rate.body["valid_from"]),
        )
        for rate in objects.of_kind(tx, "cost_rate")
        if rate.status == "active"
    ]
    projects = [
        (project.gid, project.body["contract"], entity, project.body["currency"])
        for project in objects.of_kind(tx, "project", {"legal_entity": entity})
    ]
    return labour_cost(worked, _frame(rates, COST_RATES), _frame(projects, COST_PROJECTS))


def _freeze(tx: Tx, revenue: RevenuePlan, entity: str, period: str) -> None:
    rows = []
    for row in revenue.lines.iter_rows(named=True):
        open_value = row["recognised"] - row["billed"]
        rows.append(
            (
                row["contract"], row["contract_line"], period, entity, row["currency"], row["method"], row["recognised"],
                row["billed"], max(0, -open_value), max(0, open_value), row["obligation"], row["claim"], row["provision"],
                row["estimate_change"],
            )
        )  # fmt: skip
    tx.copy(
        "positions",
        (
            "contract", "line_key", "period", "legal_entity", "currency", "method", "recognised", "billed", "deferred",
            "unbilled", "obligation", "claim", "provision", "estimate_change",
        ),
        rows,
    )  # fmt: skip


def _margins(tx: Tx, entity: str, period: str, revenue: RevenuePlan, labour: pl.DataFrame) -> None:
    """Freeze what the month added to each project: revenue, labour, expenses."""
    earned = {row["contract"]: row["recognised_delta"] for row in revenue.contracts.iter_rows(named=True)}
    cost = {row["project"]: row for row in labour.iter_rows(named=True)}
    spent = {
        row["project"]: row["amount"]
        for row in tx.rows(
            """
            select e.project, (sum(e.amount) - coalesce((select sum(m.expense) from margins m where m.project = e.project), 0))::bigint as amount
            from expense_lines e join objects p on p.gid = e.project
            where p.legal_entity = %s and e.status in ('approved', 'posted', 'reimbursed') and e.tombstone is null
                and e.spent_on <= %s
            group by e.project
            """,
            (entity, last_day(period)),
        )
    }
    rows = [
        (
            project.gid,
            period,
            entity,
            project.body["currency"],
            earned.get(project.body["contract"], 0),
            cost[project.gid]["amount"] if project.gid in cost else 0,
            spent.get(project.gid, 0),
            cost[project.gid]["minutes"] if project.gid in cost else 0,
        )
        for project in objects.of_kind(tx, "project", {"legal_entity": entity})
    ]
    before = {
        row["project"]: row
        for row in tx.rows("delete from margins where legal_entity = %s and period = %s returning *", (entity, period))
    }
    columns = ("project", "period", "legal_entity", "currency", "recognised", "labour", "expense", "minutes")
    added = [
        (*row[:4], *(value + before[row[0]][name] for name, value in zip(columns[4:], row[4:], strict=True)))
        if row[0] in before
        else row
        for row in rows
    ]
    tx.copy("margins", columns, added)


def _schedules(tx: Tx, house: House, revenue: RevenuePlan, entity: str, period: str, process: str) -> None:
    """Write each line's month into its revenue schedule."""
    gids = {
        (row["contract"], row["contract_line"], row["obligation"]): derive(
            "revenue_schedule", row["contract"], row["contract_line"], entity, *_own_key(row)
        )
        for row in revenue.lines.iter_rows(named=True)
    }
    held = objects.load(tx, gids.values())
    items = []
    for row in revenue.lines.iter_rows(named=True):
        gid = gids[(row["contract"], row["contract_line"], row["obligation"])]
        open_value = row["recognised"] - row["billed"]
        month = {
            "period": period,
            "recognised": _text(row["recognised"], row["currency"]),
            "billed": _text(row["billed"], row["currency"]),
            "deferred": _text(max(0, -open_value), row["currency"]),
            "unbilled": _text(max(0, open_value), row["currency"]),
        }
        before = [one for one in held[gid].body["periods"] if one["period"] != period] if gid in held else []
        values = {
            "contract": row["contract"],
            "line_key": row["contract_line"],
            **({"obligation": row["obligation"]} if _own_key(row) else {}),
            "method": row["method"],
            "currency": row["currency"],
            "legal_entity": entity,
            "periods": [*before, month],
        }
        items.append(("revenue_schedule", gid, values if gid in held else {**values, "status": "active"}))
    author(tx, house, items, actor=process)


def _own_key(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the obligation's key; nothing where the contract line is one by itself."""
    return () if row["obligation"] == row["contract_line"] else (row["obligation"],)


def _journals(tx: Tx, house: House, plan: JournalPlan, period: str, process: str) -> None:
    """Expect the journals, and ask the ERP to post them."""
    items = []
    for row in plan.journals.iter_rows(named=True):
        currency = row["currency"]
        lines = [
            {
                "account": line["account"],
                "debit": _text(line["debit"], currency),
                "credit": _text(line["credit"], currency),
                "contract": line["contract"],
                "memo": line["memo"],
            }
            for line in plan.lines.filter(pl.col("code") == row["code"]).iter_rows(named=True)
        ]
        values = {
            "code": row["code"],
            "legal_entity": row["legal_entity"],
            "currency": currency,
            "period": period,
            "journal_type": row["journal_type"],
            "posted_on": last_day(period),
            "lines": lines,
            "total_debit": _text(row["total_debit"], currency),
            "total_credit": _text(row["total_credit"], currency),
            "status": "expected",
        }
        items.append(("journal_reference", derive("journal_reference", row["code"]), values))
    author(tx, house, items, actor=process)
    deliveries.ask(
        tx,
        [
            c
            for _, gid, _ in items
            for c in commands(house, "erp", "journal_reference", gid, "post", process=process, priority=15)
        ],
    )


def _text(units: int, currency: str) -> str:
    return format(from_units(units, currency), "f")
