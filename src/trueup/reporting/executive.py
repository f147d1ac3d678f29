"""The firm on one page: billed, earned, owed, sold ahead and used, each figure with the sentence that defines it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from trueup.billing import metrics
from trueup.billing.frames import (
    BACKLOG_LINES,
    CAPACITY,
    LINE_POSITIONS,
    MARGINS,
    RECEIVABLES,
    Shape,
)
from trueup.billing.metrics import METRICS
from trueup.billing.wip import contract_positions
from trueup.kernel.clock import now
from trueup.kernel.money import from_units, to_units
from trueup.kernel.periods import first_day, last_day, previous_month
from trueup.reporting.amounts import Amount
from trueup.reporting.deals import sold_lines
from trueup.reporting.owed import owed
from trueup.reporting.work import Work, held_once, work
from trueup.store.database import Tx

MONTHS = 3
"""Months that days of sales outstanding and utilisation look at."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    value         amount, days or percent; None when there is nothing to divide by
    legal_entity  None when the figure is for the firm or a currency
    currency      None when the figure is no money and of no currency
    """

    name: str
    legal_entity: str | None
    currency: str | None
    value: Decimal | None


@dataclass(frozen=True, slots=True)
class Definition:
    """What a figure means."""

    name: str
    title: str
    unit: str
    per: str
    definition: str
    formula: str
    version: int


@dataclass(frozen=True, slots=True)
class Month:
    """One closed month of one legal entity: what it added, and where it ended."""

    period: str
    legal_entity: str
    currency: str
    billed: Decimal
    recognised: Decimal
    unbilled: Decimal
    deferred: Decimal


@dataclass(frozen=True, slots=True)
class Executive:
    """Everything the page shows.

    closed       legal entity -> last closed month
    first, last  days that outstanding days and utilisation look at; None before the first month end
    work         what needs a person, the most money first
    kept         what the hub stopped or found: name -> how often
    margin_seen  False when the reader may not see cost: then there is no margin figure
    """

    made_at: datetime
    closed: dict[str, str]
    first: date | None
    last: date | None
    figures: tuple[Figure, ...]
    months: tuple[Month, ...]
    work: tuple[Work, ...]
    held: tuple[Amount, ...]
    kept: dict[str, int]
    definitions: tuple[Definition, ...]
    margin_seen: bool

    def value(self, name: str, legal_entity: str | None = None, currency: str | None = None) -> Decimal | None:
        """Return one figure's value."""
        for figure in self.figures:
            if (figure.name, figure.legal_entity, figure.currency) == (name, legal_entity, currency):
                return figure.value
        return None


def executive(tx: Tx, *, cost: bool = False) -> Executive:
    """Return the firm's figures at the last closed month of each legal entity.

    cost  whether the reader may see what people cost; without it there is no margin
    """
    closed = _closed(tx)
    last = last_day(max(closed.values())) if closed else None
    first = first_day(_months_back(tx, MONTHS)) if closed else None
    listed = work(tx)
    figures = [
        *_books(tx, closed),
        *_owed(tx, first, last),
        *([_utilisation(tx, first, last)] if first and last else []),
        *_backlog(tx, closed),
        *(_margin(tx) if cost else []),
    ]
    return Executive(
        now(),
        closed,
        first,
        last,
        tuple(figures),
        tuple(_months(tx)),
        tuple(listed),
        held_once(tx),
        _kept(tx),
        definitions(),
        cost,
    )


def definitions() -> tuple[Definition, ...]:
    """Return what every figure means."""
    return tuple(
        Definition(m.name, m.title, m.unit, m.per, m.definition, m.formula, m.version) for m in METRICS.values()
    )


def _closed(tx: Tx) -> dict[str, str]:
    rows = tx.rows(
        "select legal_entity, max(period) as period from positions group by legal_entity order by legal_entity"
    )
    return {row["legal_entity"]: row["period"] for row in rows}


def _months_back(tx: Tx, count: int) -> str:
    rows = tx.rows("select distinct period from positions order by period desc limit %s", (count,))
    return str(rows[-1]["period"])


def _frame(shape: Shape, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={name: column.dtype for name, column in shape.columns.items()}, orient="row")


def _positions(tx: Tx, period: str, entity: str | None = None) -> pl.DataFrame:
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
        positions = contract_positions(_positions(tx, period, entity), _positions(tx, previous_month(period), entity))
        for row in metrics.book_totals(positions).iter_rows(named=True):
            found += [
                Figure(name, entity, row["currency"], from_units(row[name], row["currency"]))
                for name in ("billed", "recognised", "unbilled", "deferred")
            ]
    return found


def _months(tx: Tx) -> list[Month]:
    found = []
    for row in tx.rows("select distinct legal_entity, period from positions order by period, legal_entity"):
        entity, period = row["legal_entity"], row["period"]
        moved = contract_positions(_positions(tx, period, entity), _positions(tx, previous_month(period), entity))
        totals = moved.group_by("currency").agg(pl.col(pl.Int64).sum()).sort("currency")
        found += [
            Month(
                period,
                entity,
                total["currency"],
                from_units(total["billed_delta"], total["currency"]),
                from_units(total["recognised_delta"], total["currency"]),
                from_units(total["unbilled"], total["currency"]),
                from_units(total["deferred"], total["currency"]),
            )
            for total in totals.iter_rows(named=True)
        ]
    return found


def _owed(tx: Tx, first: date | None, last: date | None) -> list[Figure]:
    """Return receivables now, and days outstanding of what was billed in the closed months, credits taken off."""
    invoices = owed(tx)
    totals = metrics.receivables(
        _frame(RECEIVABLES, [(one.legal_entity, one.currency, to_units(one.balance, one.currency)) for one in invoices])
    )
    found = []
    for total in totals.iter_rows(named=True):
        entity, currency = total["legal_entity"], total["currency"]
        found.append(Figure("receivables", entity, currency, from_units(total["receivables"], currency)))
        if first and last:
            mine = [o for o in invoices if (o.legal_entity, o.currency) == (entity, currency) and o.day <= last]
            open_then = sum((one.balance for one in mine), Decimal(0))
            billed = sum((one.gross - one.credited for one in mine if one.day >= first), Decimal(0))
            found.append(Figure("dso", entity, currency, metrics.dso(open_then, billed, (last - first).days + 1)))
    return found


def _utilisation(tx: Tx, first: date, last: date) -> Figure:
    people = tx.rows(
        """
        select gid, (coalesce(body ->> 'weekly_hours', '0')::numeric * 60)::bigint as weekly_minutes,
            (body ->> 'hired_on')::date as hired_on, (body ->> 'terminated_on')::date as terminated_on
        from objects where kind = 'resource' and tombstone is null and body ->> 'hired_on' is not null
        """
    )
    worked = tx.value(
        """
        select coalesce(sum(minutes), 0)::bigint from time_entries t
        where status = 'approved' and billable and worked_on between %s and %s
            and (tombstone is null or exists (select from charges c where c.fact = t.gid and c.document is not null))
        """,
        (first, last),
    )
    available = metrics.available_minutes(_frame(CAPACITY, [tuple(row.values()) for row in people]), first, last)
    return Figure("utilisation", None, None, metrics.utilisation(worked, available))


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


def _margin(tx: Tx) -> list[Figure]:
    rows = tx.rows(
        """
        select m.project, p.body ->> 'contract' as contract, m.legal_entity, m.currency,
            sum(m.recognised)::bigint as recognised, sum(m.labour)::bigint as labour, sum(m.expense)::bigint as expense
        from margins m join objects p on p.gid = m.project
        group by m.project, p.body ->> 'contract', m.legal_entity, m.currency
        """
    )
    projects = [(*row.values(), row["recognised"] - row["labour"] - row["expense"]) for row in rows]
    found = metrics.margins(_frame(MARGINS, projects))
    return [Figure("margin", None, currency, value) for currency, value in found.items()]


def _kept(tx: Tx) -> dict[str, int]:
    """Count what would have gone wrong without anybody seeing it."""
    return (
        tx.row(
            """
        select (select coalesce(sum(duplicates), 0)::bigint from inbox) as repeated_messages_dropped,
            (select count(*) from deliveries d where state = 'confirmed' and exists (
                select from delivery_attempts a where a.key = d.key and a.outcome = 'unknown')) as silences_settled,
            (select count(*) from inbox where state = 'superseded' and lane <> 'notice') as late_messages_passed_over,
            (select count(*) from refused_calls) as calls_not_believed,
            (select count(*) from breaks where closed_at is null) as disagreements_named
        """
        )
        or {}
    )
