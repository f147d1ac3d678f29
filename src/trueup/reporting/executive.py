"""The firm on one page: billed, earned, owed, sold ahead and used, each figure with the sentence that defines it."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import polars as pl

from trueup.billing.wip import contract_positions
from trueup.kernel.clock import now
from trueup.kernel.money import from_units
from trueup.kernel.periods import previous_month
from trueup.reporting import metrics
from trueup.reporting.amounts import Amount
from trueup.reporting.metrics import Definition, Figure, definitions
from trueup.reporting.work import Work, held_once, work
from trueup.store.database import Tx

SHOWN = (
    "billed",
    "recognised",
    "unbilled",
    "deferred",
    "receivables",
    "dso",
    "utilisation",
    "backlog",
    "margin",
)
"""Figures the page shows; all of them are on the page of figures."""


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
    span = metrics.span(tx)
    listed = work(tx)
    figures = [one for one in metrics.figures(tx, cost=cost) if one.name in SHOWN]
    return Executive(
        now(),
        span.closed,
        span.first,
        span.last,
        tuple(figures),
        tuple(_months(tx)),
        tuple(listed),
        held_once(tx),
        _kept(tx),
        tuple(one for one in definitions() if one.name in SHOWN),
        cost,
    )


def _months(tx: Tx) -> list[Month]:
    found = []
    for row in tx.rows("select distinct legal_entity, period from positions order by period, legal_entity"):
        entity, period = row["legal_entity"], row["period"]
        moved = contract_positions(
            metrics.positions(tx, period, entity), metrics.positions(tx, previous_month(period), entity)
        )
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
