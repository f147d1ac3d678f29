"""The firm's figures, each with its definition: the SQL that reads them, the function that works them out, one answer for
pages, API and command line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from trueup.billing import metrics
from trueup.billing.frames import (
    BACKLOG_LINES,
    BACKLOG_MOVES,
    BILLED_MONTHS,
    CAPACITY,
    CYCLE_DAYS,
    HELD_NOW,
    LINE_POSITIONS,
    MARGINS,
    REALISED,
    RECEIVABLE_DAYS,
    RECEIVABLES,
    ROLE_RATES,
    ROLE_TIME,
    UNBILLED_WORK,
    WORK_USED,
    Shape,
)
from trueup.billing.margin import standard_labour
from trueup.billing.metrics import COST, METRICS
from trueup.billing.wip import contract_positions
from trueup.kernel.clock import now
from trueup.kernel.money import from_units, round_units, to_units
from trueup.kernel.periods import first_day, last_day, month_of, next_month, previous_month
from trueup.reporting.deals import sold_lines
from trueup.reporting.owed import Owed, owed
from trueup.store.database import Tx

MONTHS = 3
"""Closed months that outstanding days, utilisation and realisation look at."""

YEAR = 12
"""Months that counting back and WIP days look at."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    value         amount, days, percent or count; None when there is nothing to divide by
    legal_entity  None when the figure is for the firm or a currency
    currency      None when the figure is no money and of no currency
    label         what else it is for: a project, a stage, a hold code, a step
    """

    name: str
    legal_entity: str | None
    currency: str | None
    value: Decimal | None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """What a figure means; see `billing.metrics.Metric`."""

    name: str
    title: str
    unit: str
    per: str
    definition: str
    formula: str
    numerator: str
    denominator: str | None
    owner: str
    drill: str
    version: int


@dataclass(frozen=True, slots=True)
class Span:
    """What the figures are of.

    closed       legal entity -> last closed month
    first, last  days that rates look at; None before the first month end
    """

    closed: dict[str, str]
    first: date | None
    last: date | None


def definitions(*, cost: bool = True) -> tuple[Definition, ...]:
    """Return what every figure means; those made of cost only for readers who may see it."""
    return tuple(
        Definition(**{one.name: getattr(metric, one.name) for one in fields(Definition)})
        for metric in METRICS.values()
        if cost or metric.name not in COST
    )


def figures(tx: Tx, *, cost: bool = False, name: str | None = None) -> tuple[Figure, ...]:
    """Return the firm's figures at the last closed month of each legal entity, in the order of the registry.

    cost  whether the reader may see what people cost
    name  one figure only; None returns all
    """
    at = span(tx)
    found = [*_books(tx, at.closed), *_backlog(tx, at.closed), *_leakage(tx), *_holds(tx), *_cycle(tx)]
    found += _receivables(tx, at, found)
    if at.first and at.last:
        found += [*_time(tx, at.first, at.last), *_realised(tx, at.first, at.last), *_moves(tx, at)]
    if cost:
        found += _margins(tx, at)
    order = {key: place for place, key in enumerate(METRICS)}
    wanted = [one for one in found if name is None or one.name == name]
    return tuple(
        sorted(wanted, key=lambda one: (order[one.name], one.legal_entity or "", one.currency or "", one.label or ""))
    )


def span(tx: Tx) -> Span:
    """Return which months are closed, and which days rates look at."""
    rows = tx.rows(
        "select legal_entity, max(period) as period from positions group by legal_entity order by legal_entity"
    )
    closed = {row["legal_entity"]: row["period"] for row in rows}
    if not closed:
        return Span(closed, None, None)
    months = tx.rows("select distinct period from positions order by period desc limit %s", (MONTHS,))
    return Span(closed, first_day(months[-1]["period"]), last_day(max(closed.values())))


def _frame(shape: Shape, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={name: column.dtype for name, column in shape.columns.items()}, orient="row")


def positions(tx: Tx, period: str, entity: str | None = None) -> pl.DataFrame:
    """Return frozen positions of a month as `LINE_POSITIONS`."""
    rows = tx.rows(
        """
        select contract, line_key, obligation, legal_entity, currency, method, claim, recognised, billed, provision,
            estimate_change
        from positions
        where period = %(period)s and (%(entity)s::text is null or legal_entity = %(entity)s)
        """,
        {"period": period, "entity": entity},
    )
    return _frame(LINE_POSITIONS, [(*row.values(), 0, 0, 0) for row in rows])


def _books(tx: Tx, closed: Mapping[str, str]) -> list[Figure]:
    """Return billed, recognised, unbilled and deferred of each legal entity at its last month end."""
    found = []
    for entity, period in closed.items():
        moved = contract_positions(positions(tx, period, entity), positions(tx, previous_month(period), entity))
        for row in metrics.book_totals(moved).iter_rows(named=True):
            found += [
                Figure(name, entity, row["currency"], from_units(row[name], row["currency"]))
                for name in ("billed", "recognised", "unbilled", "deferred")
            ]
    return found


def _tenths(value: int | None) -> Decimal | None:
    return None if value is None else Decimal(value).scaleb(-1)


def _receivables(tx: Tx, at: Span, books: Sequence[Figure]) -> list[Figure]:
    """Return receivables now, and days outstanding of what was billed in the closed months, credits taken off."""
    invoices = owed(tx)
    totals = metrics.receivables(
        _frame(RECEIVABLES, [(one.legal_entity, one.currency, to_units(one.balance, one.currency)) for one in invoices])
    )
    found = [
        Figure("receivables", row["legal_entity"], row["currency"], from_units(row["receivables"], row["currency"]))
        for row in totals.iter_rows(named=True)
    ]
    if not (at.first and at.last):
        return found
    unbilled = {(one.legal_entity, one.currency): one.value for one in books if one.name == "unbilled"}
    year = _billed_net(tx, at.last)
    spans, months = [], []
    for row in totals.iter_rows(named=True):
        place = (row["legal_entity"], row["currency"])
        mine = [one for one in invoices if (one.legal_entity, one.currency) == place and one.day <= at.last]
        open_then = sum((one.balance for one in mine), Decimal(0))
        amounts = (
            open_then,
            sum((one.balance for one in mine if one.due_on and one.due_on > at.last), Decimal(0)),
            sum((one.gross - one.credited for one in mine if one.day >= at.first), Decimal(0)),
        )
        open_units, not_due, billed = (to_units(amount, place[1]) for amount in amounts)
        days = (at.last - at.first).days + 1
        waiting = to_units(unbilled.get(place) or Decimal(0), place[1])
        spans.append(
            (*place, open_units, not_due, billed, days, waiting, to_units(year.get(place, Decimal(0)), place[1]))
        )
        months += _months_of(place, mine, at.last, open_units)
    for row in metrics.receivable_days(_frame(RECEIVABLE_DAYS, spans)).iter_rows(named=True):
        found += [
            Figure(name, row["legal_entity"], row["currency"], _tenths(row[name]))
            for name in ("dso", "best_possible_dso", "average_days_delinquent", "wip_days", "lock_up")
        ]
    return [
        *found,
        *(
            Figure("dso_count_back", row["legal_entity"], row["currency"], _tenths(row["dso_count_back"]))
            for row in metrics.count_back(_frame(BILLED_MONTHS, months)).iter_rows(named=True)
        ),
    ]


def _months_of(place: tuple[str, str], invoices: Sequence[Owed], last: date, open_units: int) -> list[tuple[Any, ...]]:
    month, rows = month_of(last), []
    for _ in range(YEAR):
        billed = sum((one.gross - one.credited for one in invoices if month_of(one.day) == month), Decimal(0))
        rows.append((*place, month, last_day(month).day, to_units(billed, place[1]), open_units))
        month = previous_month(month)
    return rows


def _billed_net(tx: Tx, last: date) -> dict[tuple[str, str], Decimal]:
    """Return what was billed in the twelve months up to a day, net, credits taken off."""
    month = month_of(last)
    for _ in range(YEAR):
        month = previous_month(month)
    rows = tx.rows(
        """
        select coalesce(i.body ->> 'legal_entity', o.body ->> 'legal_entity') as entity, i.body ->> 'currency' as currency,
            sum(case when i.body ->> 'invoice_type' = 'credit' then -1 else 1 end * (i.body ->> 'net')::numeric) as net
        from objects i left join objects o on o.gid = i.body ->> 'corrects'
        where i.kind = 'invoice' and i.tombstone is null and i.status in ('posted', 'part_paid', 'paid', 'credited')
            and (i.body ->> 'invoice_date')::date between %s and %s
        group by 1, 2
        """,
        (first_day(next_month(month)), last),
    )
    return {(row["entity"], row["currency"]): row["net"] for row in rows}


def _time(tx: Tx, first: date, last: date) -> list[Figure]:
    people = tx.rows(
        """
        select gid, (coalesce(body ->> 'weekly_hours', '0')::numeric * 60)::bigint as weekly_minutes,
            (body ->> 'hired_on')::date as hired_on, (body ->> 'terminated_on')::date as terminated_on
        from objects where kind = 'resource' and tombstone is null and body ->> 'hired_on' is not null
        """
    )
    worked = tx.row(
        """
        select coalesce(sum(minutes) filter (where billable), 0)::bigint as billable,
            coalesce(sum(minutes) filter (where p.gid is not null), 0)::bigint as client
        from time_entries t
        left join objects p on p.gid = t.project and p.kind = 'project' and p.body ->> 'customer' is not null
        where t.status = 'approved' and t.worked_on between %s and %s
            and (t.tombstone is null or exists (select from charges c where c.fact = t.gid and c.document is not null))
        """,
        (first, last),
    )
    available = metrics.available_minutes(_frame(CAPACITY, [tuple(row.values()) for row in people]), first, last)
    counted = worked or {"billable": 0, "client": 0}
    used = _frame(WORK_USED, [(int(available * 5), counted["billable"], counted["client"])])
    (row,) = metrics.labour_ratios(used).iter_rows(named=True)
    return [Figure(name, None, None, _tenths(row[name])) for name in ("utilisation", "client_utilisation")]


def _realised(tx: Tx, first: date, last: date) -> list[Figure]:
    """Return what became of the standard value of the time on invoices of the closed months."""
    paid = {one.gid: (one.gross, one.gross - one.credited - one.balance) for one in owed(tx)}
    totals: dict[tuple[str, str], list[int]] = {}
    for row in tx.rows(
        """
        select c.document, c.legal_entity, c.currency, c.rate, sum(c.minutes)::bigint as minutes,
            sum(a.amount)::bigint as billed
        from charges c
        join objects i on i.gid = c.document and i.status in ('posted', 'part_paid', 'paid', 'credited')
        join (select l.charge, sum(l.amount) as amount from allocations l
            join objects d on d.gid = l.document and d.status in ('posted', 'part_paid', 'paid', 'credited')
            group by l.charge) a on a.charge = c.key
        where c.kind in ('time', 'overage') and c.rate is not null
            and (i.body ->> 'invoice_date')::date between %s and %s
        group by c.document, c.legal_entity, c.currency, c.rate
        """,
        (first, last),
    ):
        currency = row["currency"]
        gross, came = paid.get(row["document"], (Decimal(0), Decimal(0)))
        share = to_units(gross, currency)
        collected = (
            round_units(row["billed"] * to_units(max(came, Decimal(0)), currency), share, currency) if share else 0
        )
        sums = totals.setdefault((row["legal_entity"], currency), [0, 0, 0, 0])
        standard = round_units(row["minutes"] * row["rate"], 60, currency)
        for at, part in enumerate((row["minutes"], standard, row["billed"], collected)):
            sums[at] += part
    found = []
    realised = metrics.realisation(_frame(REALISED, [(*place, *sums) for place, sums in totals.items()]))
    for row in realised.iter_rows(named=True):
        place = (row["legal_entity"], row["currency"])
        found += [
            Figure(name, *place, _tenths(row[name]))
            for name in ("billing_realisation", "collection_realisation", "overall_realisation")
        ]
        rate = row["effective_rate"]
        found.append(Figure("effective_rate", *place, None if rate is None else from_units(rate, row["currency"])))
    return found


def _backlog(tx: Tx, closed: Mapping[str, str]) -> list[Figure]:
    earned = {
        (row["contract"], row["line_key"], row["legal_entity"]): row["recognised"]
        for row in tx.rows(
            """
            select contract, line_key, legal_entity, period, sum(recognised)::bigint as recognised from positions
            group by contract, line_key, legal_entity, period
            """
        )
        if closed.get(row["legal_entity"]) == row["period"]
    }
    lines = [
        (
            line.currency,
            to_units(line.amount, line.currency),
            earned.get((line.contract, line.key, line.legal_entity), 0),
            line.active,
        )
        for line in sold_lines(tx)
    ]
    return [
        Figure("backlog", None, row["currency"], from_units(row["backlog"], row["currency"]))
        for row in metrics.backlog(_frame(BACKLOG_LINES, lines)).iter_rows(named=True)
    ]


def _moves(tx: Tx, at: Span) -> list[Figure]:
    """Roll the backlog forward over the closed months: what was signed, changed, ended and earned."""
    if not (at.first and at.last):
        return []
    eve = previous_month(month_of(at.first))
    earned: dict[str, dict[str, int]] = {}
    by_contract: dict[tuple[str, str], int] = {}
    for row in tx.rows(
        "select contract, legal_entity, currency, period, sum(recognised)::bigint as recognised from positions "
        "group by contract, legal_entity, currency, period"
    ):
        sums = earned.setdefault(row["currency"], {"before": 0, "now": 0})
        if row["period"] == min(eve, at.closed[row["legal_entity"]]):
            sums["before"] += row["recognised"]
        if row["period"] == at.closed[row["legal_entity"]]:
            sums["now"] += row["recognised"]
            key = (row["contract"], row["currency"])
            by_contract[key] = by_contract.get(key, 0) + row["recognised"]
    steps: dict[str, dict[str, int]] = {}
    for row in tx.rows(
        """
        select c.gid, c.status, c.body ->> 'contract_type' as type, (c.body ->> 'signed_on')::date as signed_on,
            c.updated_at::date as updated_on, l ->> 'currency' as currency, sum((l ->> 'amount')::numeric) as amount
        from objects c, jsonb_array_elements(c.body -> 'lines') l
        where c.kind = 'contract' and c.tombstone is null and c.status not in ('draft', 'lost')
            and coalesce((c.body ->> 'signed_on')::date, '-infinity'::date) <= %s
        group by c.gid, l ->> 'currency'
        """,
        (at.last,),
    ):
        sums = steps.setdefault(
            row["currency"], dict.fromkeys(("opening", "bookings", "change_orders", "cancelled"), 0)
        )
        units = to_units(row["amount"], row["currency"])
        signed_now = row["signed_on"] is not None and row["signed_on"] >= at.first
        changed = "change_orders" if row["type"] == "change_order" else "bookings"
        sums[changed if signed_now else "opening"] += units
        if row["status"] == "terminated":
            left = units - by_contract.get((row["gid"], row["currency"]), 0)
            sums["cancelled" if signed_now or row["updated_on"] >= at.first else "opening"] += (
                left if signed_now or row["updated_on"] >= at.first else -left
            )
    rows = []
    for currency, sums in steps.items():
        recognised = earned.get(currency, {"before": 0, "now": 0})
        opening = sums["opening"] - recognised["before"]
        changes = (sums["bookings"], sums["change_orders"], sums["cancelled"])
        rows.append((currency, opening, *changes, recognised["now"] - recognised["before"], 0))
    steps_in_order = ("opening", "bookings", "change_orders", "cancelled", "recognised", "fx", "closing")
    return [
        Figure(
            "backlog_roll_forward", None, row["currency"], from_units(row[step], row["currency"]), f"{at_step}. {step}"
        )
        for row in metrics.roll_forward(_frame(BACKLOG_MOVES, rows)).iter_rows(named=True)
        for at_step, step in enumerate(steps_in_order, 1)
    ]


def _leakage(tx: Tx) -> list[Figure]:
    """Return what nobody is billing: old work without document or hold, and old holds."""
    rows = [
        (
            row["legal_entity"],
            row["currency"],
            row["worked_on"],
            round_units(row["minutes"] * to_units(row["rate"], row["currency"]), 60, row["currency"]),
        )
        for row in tx.rows(
            """
            select p.body ->> 'legal_entity' as legal_entity, p.body ->> 'currency' as currency, t.worked_on,
                (r.body ->> 'rate')::numeric as rate, sum(t.minutes - coalesce(f.quantity, 0))::bigint as minutes
            from time_entries t
            join objects p on p.gid = t.project
            cross join lateral (
                select o.body from objects o
                where o.kind = 'rate_line' and o.status = 'active' and o.body ->> 'contract' = p.body ->> 'contract'
                    and o.body ->> 'role' = t.role and o.body ->> 'currency' = p.body ->> 'currency'
                    and (o.body ->> 'valid_from')::date <= t.worked_on
                    and coalesce((o.body ->> 'valid_to')::date, 'infinity'::date) >= t.worked_on
                order by (o.body ->> 'valid_from')::date desc limit 1) r
            left join (select fact, sum(quantity) as quantity from buckets
                where bucket not in ('source', 'unbilled') group by fact) f on f.fact = t.gid
            where t.status = 'approved' and t.billable and t.tombstone is null
                and t.minutes > coalesce(f.quantity, 0)
                and not exists (select from holds h where h.scope = t.gid and h.released_at is null)
            group by 1, 2, 3, 4
            """
        )
    ]
    rows += [
        (row["legal_entity"], row["currency"], row["opened_on"], row["amount"])
        for row in tx.rows(
            """
            select distinct on (scope) scope, legal_entity, currency, opened_at::date as opened_on, amount from holds
            where released_at is null and legal_entity is not null and currency is not null order by scope, opened_at
            """
        )
    ]
    return [
        Figure("leakage", row["legal_entity"], row["currency"], from_units(row["leakage"], row["currency"]))
        for row in metrics.leakage(_frame(UNBILLED_WORK, rows), now().date()).iter_rows(named=True)
    ]


def _holds(tx: Tx) -> list[Figure]:
    rows = tx.rows("select code, currency, opened_at::date as opened_on, amount from holds where released_at is null")
    found = []
    for row in metrics.hold_ages(_frame(HELD_NOW, [tuple(one.values()) for one in rows]), now().date()).iter_rows(
        named=True
    ):
        place = (None, row["currency"])
        found.append(Figure("hold_count", *place, Decimal(row["count"]), row["code"]))
        if row["currency"]:
            found.append(Figure("hold_value", *place, from_units(row["value"], row["currency"]), row["code"]))
        found.append(Figure("hold_age", *place, _tenths(row["age"]), row["code"]))
    return found


def _cycle(tx: Tx) -> list[Figure]:
    """Return the days from the last service on each posted invoice to its date, to posting, in all, and under holds."""
    rows = []
    for row in tx.rows(
        """
        select max(c.service_on) as served_on, (i.body ->> 'invoice_date')::date as dated_on,
            (i.body ->> 'posted_on')::date as posted_on,
            coalesce(max(h.released_at::date - h.opened_at::date), 0) as held
        from objects i
        join allocations a on a.document = i.gid
        join charges c on c.key = a.charge
        left join holds h on h.scope = c.fact and h.released_at is not null
        where i.kind = 'invoice' and i.body ->> 'invoice_type' = 'invoice' and i.tombstone is null
            and i.body ->> 'posted_on' is not null
        group by i.gid
        """
    ):
        stages = {
            "drafting": (row["dated_on"] - row["served_on"]).days,
            "sending": (row["posted_on"] - row["dated_on"]).days,
            "total": (row["posted_on"] - row["served_on"]).days,
            "held": row["held"],
        }
        rows += [(stage, max(0, days)) for stage, days in stages.items()]
    return [
        Figure(f"invoice_cycle_{kind}", None, None, _tenths(row[kind]), row["stage"])
        for row in metrics.cycle(_frame(CYCLE_DAYS, rows)).iter_rows(named=True)
        for kind in ("median", "p90")
    ]


def _margins(tx: Tx, at: Span) -> list[Figure]:
    rows = tx.rows(
        """
        select m.project, p.body ->> 'contract' as contract, m.legal_entity, m.currency,
            sum(m.recognised)::bigint as recognised, sum(m.labour)::bigint as labour, sum(m.expense)::bigint as expense
        from margins m join objects p on p.gid = m.project
        group by m.project, p.body ->> 'contract', m.legal_entity, m.currency
        """
    )
    projects = [(*row.values(), row["recognised"] - row["labour"] - row["expense"]) for row in rows]
    found = [
        Figure("margin", None, currency, value)
        for currency, value in metrics.margins(_frame(MARGINS, projects)).items()
    ]
    standard = _standard(tx, at)
    codes = {
        row["gid"]: row["code"]
        for row in tx.rows("select gid, body ->> 'code' as code from objects where kind = 'project'")
    }
    for row in rows:
        place = (row["legal_entity"], row["currency"])
        actual = from_units(row["recognised"] - row["labour"] - row["expense"], row["currency"])
        found.append(Figure("margin_actual", *place, actual, codes[row["project"]]))
        labour = standard.get(row["project"], 0)
        at_standard = (
            None if labour is None else from_units(row["recognised"] - labour - row["expense"], row["currency"])
        )
        found.append(Figure("margin_standard", *place, at_standard, codes[row["project"]]))
    return found


def _standard(tx: Tx, at: Span) -> dict[str, int | None]:
    """Return labour of each project at the average cost rate of its roles, for the time its closed months have costed."""
    worked = [
        (row["project"], row["role"], row["currency"], row["minutes"])
        for entity, period in at.closed.items()
        for row in tx.rows(
            """
            select t.project, t.role, p.body ->> 'currency' as currency, sum(t.minutes)::bigint as minutes
            from time_entries t join objects p on p.gid = t.project
            where p.body ->> 'legal_entity' = %s and t.status = 'approved' and t.tombstone is null and t.worked_on <= %s
            group by 1, 2, 3
            """,
            (entity, last_day(period)),
        )
    ]
    rates = [
        (row["resource"], row["role"], row["currency"], to_units(row["rate"], row["currency"]))
        for row in tx.rows(
            """
            select distinct on (c.body ->> 'resource') c.body ->> 'resource' as resource, r.body ->> 'role' as role,
                c.body ->> 'currency' as currency, (c.body ->> 'amount')::numeric as rate
            from objects c join objects r on r.gid = c.body ->> 'resource'
            where c.kind = 'cost_rate' and c.status = 'active' and r.body ->> 'role' is not null
                and (c.body ->> 'valid_from')::date <= %s
            order by c.body ->> 'resource', (c.body ->> 'valid_from')::date desc
            """,
            (at.last or date.max,),
        )
    ]
    found = standard_labour(_frame(ROLE_TIME, worked), _frame(ROLE_RATES, rates))
    return dict(found.select("project", "labour").iter_rows())
