"""The figures on the pages: each with its definition, its formula and the version of both, in one registry.

Vendors divide by different things under the same name, so a figure is never shown without its sentence.
"""

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

import polars as pl

from trueup.billing.frames import BACKLOG_LINES, CAPACITY, CONTRACT_POSITIONS, MARGINS, RECEIVABLES
from trueup.kernel.money import from_units

TENTH = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Metric:
    """What one figure means.

    name        key in the API
    title       as shown
    unit        money, days or percent
    per         what it is worked out for
    definition  one sentence for the reader
    formula     what is divided by what
    version     raised whenever definition or formula changes
    """

    name: str
    title: str
    unit: str
    per: str
    definition: str
    formula: str
    version: int = 1


_ALL = (
    Metric(
        "billed",
        "Billed",
        "money",
        "legal entity and currency",
        "Net of all posted invoices less posted credit notes, to date.",
        "posted invoices net - posted credit notes net",
    ),
    Metric(
        "recognised",
        "Recognised revenue",
        "money",
        "legal entity and currency",
        "Revenue earned to date by the method of each contract line, credits deducted.",
        "sum of the recognised amounts of all contract lines",
    ),
    Metric(
        "unbilled",
        "Unbilled (WIP)",
        "money",
        "legal entity and currency",
        "Earned and not billed yet, netted per contract.",
        "sum over contracts of max(0, recognised - billed)",
    ),
    Metric(
        "deferred",
        "Deferred revenue",
        "money",
        "legal entity and currency",
        "Billed and not earned yet, netted per contract.",
        "sum over contracts of max(0, billed - recognised)",
    ),
    Metric(
        "receivables",
        "Accounts receivable",
        "money",
        "legal entity and currency",
        "What customers still owe on posted invoices, tax included.",
        "sum of the open balances of posted invoices, gross",
    ),
    Metric(
        "dso",
        "Days sales outstanding",
        "days",
        "legal entity and currency",
        "Days of billing that are still unpaid, simple method, tax included on both sides.",
        "receivables gross / billed gross of the period x days of the period",
    ),
    Metric(
        "utilisation",
        "Billable utilisation",
        "percent",
        "firm",
        "Share of the available time that was approved as billable.",
        "approved billable minutes / available minutes; available = weekdays employed x weekly hours / 5",
    ),
    Metric(
        "backlog",
        "Backlog",
        "money",
        "currency",
        "Contracted and not earned yet, on active contracts, change orders included.",
        "sum over contract lines of max(0, amount - recognised)",
    ),
    Metric(
        "margin",
        "Project margin",
        "percent",
        "currency",
        "Share of recognised revenue left after labour at cost rates and expenses.",
        "(recognised - labour - expenses) / recognised",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every figure pages and API show, by name."""


def book_totals(contracts: pl.DataFrame) -> pl.DataFrame:
    """Add up billed, recognised, unbilled and deferred.

    contracts  `CONTRACT_POSITIONS`
    Returns    legal_entity, currency str, billed, recognised, unbilled, deferred i64 units to date; sorted
    """
    amounts = ["billed", "recognised", "unbilled", "deferred"]
    seen = CONTRACT_POSITIONS.read(contracts)
    return seen.group_by("legal_entity", "currency").agg(pl.col(amounts).sum()).sort("legal_entity", "currency")


def receivables(invoices: pl.DataFrame) -> pl.DataFrame:
    """Add up what customers still owe.

    invoices  `RECEIVABLES`: posted invoices
    Returns   legal_entity, currency str, receivables i64 units gross; sorted
    """
    seen = RECEIVABLES.read(invoices)
    owed = seen.group_by("legal_entity", "currency").agg(receivables=pl.col("balance").sum())
    return owed.sort("legal_entity", "currency")


def dso(receivables: Decimal, billed: Decimal, days: int) -> Decimal | None:
    """Return days sales outstanding, simple method, to a tenth of a day; None when nothing was billed.

    receivables  open balance, gross, major units
    billed       billed in the period, gross, the same currency
    days         days of the period

    >>> dso(Decimal(1_840_000), Decimal(2_310_000), 90)
    Decimal('71.7')
    """
    return _tenth(receivables * days, billed)


def available_minutes(people: pl.DataFrame, first: date, last: date) -> Decimal:
    """Return the working time of everybody: weekdays between hire and termination, a fifth of the week each.

    people  `CAPACITY`
    first   first day of the period
    last    last day of the period, counted
    """
    start = pl.max_horizontal(pl.col("hired_on"), pl.lit(first))
    end = pl.min_horizontal(pl.col("terminated_on"), pl.lit(last))
    there = CAPACITY.read(people).with_columns(start=start, end=end).filter(pl.col("start") <= pl.col("end"))
    weekdays = pl.business_day_count("start", pl.col("end") + pl.duration(days=1)).cast(pl.Int64)
    fifths = there.select((weekdays * pl.col("weekly_minutes")).sum()).item()
    return Decimal(fifths) / 5


def utilisation(billable_minutes: int, available: Decimal) -> Decimal | None:
    """Return billable utilisation in percent, to a tenth; None when nobody was available.

    billable_minutes  approved billable minutes of the period
    available         see `available_minutes`

    >>> utilisation(1312 * 60, Decimal(1640 * 60))
    Decimal('80.0')
    """
    return _tenth(Decimal(billable_minutes) * 100, available)


def backlog(lines: pl.DataFrame) -> pl.DataFrame:
    """Add up what is contracted and not earned yet.

    lines    `BACKLOG_LINES`; lines of contracts that are not active are left out
    Returns  currency str, backlog i64 units; sorted by currency
    """
    active = BACKLOG_LINES.read(lines).filter("contract_active")
    ahead = (pl.col("amount") - pl.col("recognised")).clip(lower_bound=0)
    return active.group_by("currency").agg(backlog=ahead.sum()).sort("currency")


def margins(projects: pl.DataFrame) -> dict[str, Decimal | None]:
    """Return the margin of each currency in percent, to a tenth; None where nothing is recognised.

    projects  `MARGINS`
    """
    totals = (
        MARGINS.read(projects)
        .group_by("currency")
        .agg(pl.col("margin").sum(), pl.col("recognised").sum())
        .sort("currency")
    )
    return {
        currency: _tenth(from_units(margin, currency) * 100, from_units(recognised, currency))
        for currency, margin, recognised in totals.iter_rows()
    }


def _tenth(numerator: Decimal, denominator: Decimal) -> Decimal | None:
    return None if denominator == 0 else (numerator / denominator).quantize(TENTH, ROUND_HALF_UP)
