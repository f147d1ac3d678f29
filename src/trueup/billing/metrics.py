"""The figures on the pages: each with its definition, its formula and the version of both, in one registry.

Vendors divide by different things under the same name, so a figure is never shown without its sentence.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

import polars as pl

from trueup.billing.frames import (
    BACKLOG_LINES,
    BACKLOG_MOVES,
    BILLED_MONTHS,
    CAPACITY,
    CONTRACT_POSITIONS,
    CYCLE_DAYS,
    HELD_NOW,
    MARGINS,
    REALISED,
    RECEIVABLE_DAYS,
    RECEIVABLES,
    UNBILLED_WORK,
    WORK_USED,
)
from trueup.billing.rounding import HOUR, product, rounded
from trueup.kernel.money import from_units

TENTH = Decimal("0.1")


COST = frozenset({"margin", "margin_actual", "margin_standard"})
"""Figures made of what people cost: readers need the right to see it."""

LEAK_AFTER = 30
"""Days after which work nobody bills, and holds nobody solves, count as leakage."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What one figure means.

    name         key in the API
    title        as shown
    unit         money, days, percent or count
    per          grain: what it is worked out for
    definition   one sentence for the reader
    formula      what is divided by what
    numerator    what stands above the line
    denominator  what stands below; None where nothing is divided
    owner        who answers for the figure
    drill        page that lists the records behind it
    version      raised whenever definition or formula changes
    """

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
    version: int = 1


_ALL = (
    Metric(
        "billed",
        "Billed",
        "money",
        "legal entity and currency",
        "Net of all posted invoices less posted credit notes, to date.",
        "posted invoices net - posted credit notes net",
        numerator="posted invoices net less credits",
        denominator=None,
        owner="Finance",
        drill="/billing",
        version=1,
    ),
    Metric(
        "recognised",
        "Recognised revenue",
        "money",
        "legal entity and currency",
        "Revenue earned to date by the method of each performance obligation or contract line, credits deducted.",
        "sum of the recognised amounts of all obligations",
        numerator="recognised amounts to date",
        denominator=None,
        owner="Finance",
        drill="/projects",
        version=2,
    ),
    Metric(
        "unbilled",
        "Unbilled (WIP)",
        "money",
        "legal entity and currency",
        "Earned and not billed yet: unbilled receivables, and contract assets netted per contract.",
        "sum over contracts of unbilled receivable + contract asset",
        numerator="recognised - billed where above zero",
        denominator=None,
        owner="Finance",
        drill="/projects",
        version=2,
    ),
    Metric(
        "deferred",
        "Deferred revenue",
        "money",
        "legal entity and currency",
        "Billed and not earned yet, netted per contract.",
        "sum over contracts of max(0, billed - recognised)",
        numerator="billed - recognised where above zero",
        denominator=None,
        owner="Finance",
        drill="/projects",
        version=1,
    ),
    Metric(
        "receivables",
        "Accounts receivable",
        "money",
        "legal entity and currency",
        "What customers still owe on posted invoices, tax included.",
        "sum of the open balances of posted invoices, gross",
        numerator="open balances gross",
        denominator=None,
        owner="Receivables",
        drill="/billing?show=open",
        version=1,
    ),
    Metric(
        "dso",
        "Days sales outstanding",
        "days",
        "legal entity and currency",
        "Days of billing that are still unpaid, simple method, tax included on both sides.",
        "receivables gross / billed gross of the period x days of the period",
        numerator="receivables gross",
        denominator="billed gross of the period",
        owner="Receivables",
        drill="/billing?show=open",
        version=1,
    ),
    Metric(
        "dso_count_back",
        "Days sales outstanding, count-back",
        "days",
        "legal entity and currency",
        "Whole months of billing, the newest first, that make up what is owed, tax included; empty where twelve months do not reach.",
        "days of the months taken off receivables + rest / billed of the next month x its days",
        numerator="receivables gross",
        denominator="billed gross of each month",
        owner="Receivables",
        drill="/billing?show=open",
        version=1,
    ),
    Metric(
        "best_possible_dso",
        "Best possible DSO",
        "days",
        "legal entity and currency",
        "Days outstanding if everybody paid on the due day.",
        "receivables not yet due gross / billed gross of the period x days of the period",
        numerator="receivables not yet due gross",
        denominator="billed gross of the period",
        owner="Receivables",
        drill="/billing?show=open",
        version=1,
    ),
    Metric(
        "average_days_delinquent",
        "Average days delinquent",
        "days",
        "legal entity and currency",
        "Days outstanding because customers pay late.",
        "days sales outstanding - best possible DSO",
        numerator="overdue receivables gross",
        denominator="billed gross of the period",
        owner="Receivables",
        drill="/billing?show=open",
        version=1,
    ),
    Metric(
        "wip_days",
        "WIP days",
        "days",
        "legal entity and currency",
        "Days of billing that are earned and not billed.",
        "unbilled / billed net in 12 months x 365",
        numerator="unbilled at the month end",
        denominator="billed net in the twelve months before",
        owner="Finance",
        drill="/projects",
        version=1,
    ),
    Metric(
        "lock_up",
        "Lock-up",
        "days",
        "legal entity and currency",
        "Days from work to cash: not billed yet, and billed and not paid.",
        "WIP days + days sales outstanding",
        numerator="unbilled, and receivables",
        denominator="billed net in 12 months, and billed gross of the period",
        owner="Finance",
        drill="/projects",
        version=1,
    ),
    Metric(
        "utilisation",
        "Billable utilisation",
        "percent",
        "firm",
        "Share of the available time that was approved as billable.",
        "approved billable minutes / available minutes; available = weekdays employed x weekly hours / 5",
        numerator="approved billable minutes",
        denominator="available minutes: weekdays employed x weekly hours / 5",
        owner="Delivery",
        drill="/projects",
        version=1,
    ),
    Metric(
        "client_utilisation",
        "Client utilisation",
        "percent",
        "firm",
        "Share of the available time that was approved on clients' projects, billable or not.",
        "approved minutes on projects / available minutes",
        numerator="approved minutes on projects",
        denominator="available minutes: weekdays employed x weekly hours / 5",
        owner="Delivery",
        drill="/projects",
        version=1,
    ),
    Metric(
        "billing_realisation",
        "Billing realisation",
        "percent",
        "legal entity and currency",
        "Share of the standard value of billed time that was billed.",
        "billed net of time / minutes at their rate",
        numerator="billed net of time, credits taken off",
        denominator="standard value: minutes at the rate in force",
        owner="Finance",
        drill="/billing",
        version=1,
    ),
    Metric(
        "collection_realisation",
        "Collection realisation",
        "percent",
        "legal entity and currency",
        "Share of billed time that was paid.",
        "collected net of time / billed net of time",
        numerator="collected, in proportion to each invoice",
        denominator="billed net of time, credits taken off",
        owner="Receivables",
        drill="/billing?show=open",
        version=1,
    ),
    Metric(
        "overall_realisation",
        "Overall realisation",
        "percent",
        "legal entity and currency",
        "Share of the standard value of billed time that was paid.",
        "collected net of time / minutes at their rate",
        numerator="collected, in proportion to each invoice",
        denominator="standard value: minutes at the rate in force",
        owner="Finance",
        drill="/billing",
        version=1,
    ),
    Metric(
        "effective_rate",
        "Effective rate",
        "money",
        "legal entity and currency",
        "What an hour of billed time brought, net; billed hours, not all hours.",
        "billed net of time / billed hours",
        numerator="billed net of time, credits taken off",
        denominator="hours billed",
        owner="Finance",
        drill="/billing",
        version=1,
    ),
    Metric(
        "backlog",
        "Backlog",
        "money",
        "currency",
        "Contracted and not earned yet, on active contracts, change orders included.",
        "sum over contract lines of max(0, amount - recognised)",
        numerator="contracted - recognised",
        denominator=None,
        owner="Sales",
        drill="/compare",
        version=1,
    ),
    Metric(
        "backlog_roll_forward",
        "Backlog, roll-forward",
        "money",
        "currency and step",
        "How contracted and not earned moved in the period, contracts in any state.",
        "opening + bookings + change orders - cancelled - recognised + exchange = closing",
        numerator="contracted - recognised, by cause",
        denominator=None,
        owner="Sales",
        drill="/compare",
        version=1,
    ),
    Metric(
        "leakage",
        "Leakage",
        "money",
        "legal entity and currency",
        "Value of approved, billable work older than 30 days that is on no document and under no hold, and of holds open for more than 30 days.",
        "work older than 30 days at its rate + holds older than 30 days",
        numerator="value that nobody is billing",
        denominator=None,
        owner="Finance",
        drill="/billing",
        version=1,
    ),
    Metric(
        "invoice_cycle_median",
        "Invoice cycle, median",
        "days",
        "stage",
        "Days from the last service on an invoice to its date, to posting, and in all: half of the invoices took no longer.",
        "median over posted invoices of the days of a stage",
        numerator="days of a stage",
        denominator="posted invoices",
        owner="Finance",
        drill="/billing",
        version=1,
    ),
    Metric(
        "invoice_cycle_p90",
        "Invoice cycle, nine in ten",
        "days",
        "stage",
        "Days from the last service on an invoice to its date, to posting, and in all: nine in ten took no longer.",
        "90th percentile (nearest rank) over posted invoices of the days of a stage",
        numerator="days of a stage",
        denominator="posted invoices",
        owner="Finance",
        drill="/billing",
        version=1,
    ),
    Metric(
        "hold_count",
        "Holds",
        "count",
        "hold code and currency",
        "Open holds.",
        "count of open holds",
        numerator="open holds",
        denominator=None,
        owner="Finance",
        drill="/billing",
        version=1,
    ),
    Metric(
        "hold_value",
        "Held value",
        "money",
        "hold code and currency",
        "What open holds hold back.",
        "sum of what open holds hold",
        numerator="held value",
        denominator=None,
        owner="Finance",
        drill="/billing",
        version=1,
    ),
    Metric(
        "hold_age",
        "Hold age, median",
        "days",
        "hold code and currency",
        "Days that half of the open holds have been open for at most.",
        "median over open holds of today - day opened",
        numerator="days open",
        denominator="open holds",
        owner="Finance",
        drill="/billing",
        version=1,
    ),
    Metric(
        "margin",
        "Project margin",
        "percent",
        "currency",
        "Share of recognised revenue left after labour at cost rates and expenses.",
        "(recognised - labour - expenses) / recognised",
        numerator="recognised - labour - expenses",
        denominator="recognised",
        owner="Finance",
        drill="/projects",
        version=1,
    ),
    Metric(
        "margin_actual",
        "Margin by project",
        "money",
        "project",
        "Revenue of a project left after labour at each person's cost rate of the day, and expenses.",
        "recognised - labour at actual cost - expenses",
        numerator="recognised - labour - expenses",
        denominator=None,
        owner="Finance",
        drill="/projects",
        version=1,
    ),
    Metric(
        "margin_standard",
        "Margin by project at standard cost",
        "money",
        "project",
        "Revenue of a project left after labour at the average cost rate of the role, and expenses: what the mix of people did is the difference to the actual margin.",
        "recognised - minutes x average cost rate of the role - expenses",
        numerator="recognised - labour at standard - expenses",
        denominator=None,
        owner="Finance",
        drill="/projects",
        version=1,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every figure pages, API and command line show, by name."""


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


def tenths(numerator: pl.Expr, denominator: pl.Expr, factor: int | pl.Expr = 1) -> pl.Expr:
    """Divide, multiply and round half away from zero to a tenth; Int64 tenths, null where there is nothing to divide by.

    >>> pl.select(tenths(pl.lit(1_840_000), pl.lit(2_310_000), 90)).item()
    717
    """
    below = denominator.cast(pl.Int128)
    top = product(product(numerator, factor), 10) * below.sign()
    size = below.abs().clip(lower_bound=1)
    magnitude = ((top.abs() * 2 + size) // (size * 2)).cast(pl.Int64)
    return pl.when(below == 0).then(None).when(top < 0).then(-magnitude).otherwise(magnitude)


def receivable_days(spans: pl.DataFrame) -> pl.DataFrame:
    """Work out how many days of billing are unpaid, would be unpaid at best, and are unbilled.

    spans    `RECEIVABLE_DAYS`
    Returns  legal_entity, currency, dso, best_possible_dso, average_days_delinquent, wip_days, lock_up i64 tenths of a
             day or null
    """
    days = pl.col("days")
    return (
        RECEIVABLE_DAYS.read(spans)
        .with_columns(
            dso=tenths(pl.col("owed"), pl.col("billed"), days),
            best_possible_dso=tenths(pl.col("not_due"), pl.col("billed"), days),
            average_days_delinquent=tenths(pl.col("owed") - pl.col("not_due"), pl.col("billed"), days),
            wip_days=tenths(pl.col("unbilled"), pl.col("billed_year"), 365),
        )
        .with_columns(lock_up=pl.col("wip_days") + pl.col("dso"))
        .select(
            "legal_entity",
            "currency",
            "dso",
            "best_possible_dso",
            "average_days_delinquent",
            "wip_days",
            "lock_up",
        )
        .sort("legal_entity", "currency")
    )


def count_back(months: pl.DataFrame) -> pl.DataFrame:
    """Take whole months of billing off what is owed, from the newest.

    months   `BILLED_MONTHS`
    Returns  legal_entity, currency, dso_count_back i64 tenths of a day, null where the months do not reach that far
    """
    group = ("legal_entity", "currency")
    taken = pl.col("billed").clip(lower_bound=0)
    found = (
        BILLED_MONTHS.read(months)
        .sort(*group, "month", descending=[False, False, True])
        .with_columns(
            left=pl.col("owed").clip(lower_bound=0) - (taken.cum_sum().over(group) - taken),
            passed=pl.col("days").cum_sum().over(group) - pl.col("days"),
        )
        # Months before the balance is used up count whole, the one in which it is by its share.
        .with_columns(last=pl.col("left") < pl.col("billed"), rest=pl.col("left") - taken)
    )
    top = product(pl.col("passed"), pl.col("billed")) + product(pl.col("days"), pl.col("left"))
    partly = pl.when((pl.col("left") > 0) & pl.col("last")).then(tenths(top, pl.col("billed")))
    wholly = pl.when((pl.col("left") > 0) & (pl.col("rest") == 0)).then((pl.col("passed") + pl.col("days")) * 10)
    nothing = pl.when(pl.col("owed") <= 0).then(pl.lit(0, pl.Int64))
    return (
        found.with_columns(days_back=pl.coalesce(nothing, partly, wholly))
        .group_by(group)
        .agg(dso_count_back=pl.col("days_back").drop_nulls().first())
        .sort(group)
    )


def labour_ratios(used: pl.DataFrame) -> pl.DataFrame:
    """Return utilisation, billable and on clients' projects.

    used     `WORK_USED`
    Returns  utilisation, client_utilisation i64 tenths of a percent or null
    """
    return WORK_USED.read(used).select(
        utilisation=tenths(pl.col("billable"), pl.col("available"), 500),
        client_utilisation=tenths(pl.col("client"), pl.col("available"), 500),
    )


def realisation(realised: pl.DataFrame) -> pl.DataFrame:
    """Return what became of the standard value of billed time.

    realised  `REALISED`
    Returns   legal_entity, currency, billing_realisation, collection_realisation, overall_realisation i64 tenths of a
              percent or null, effective_rate i64 units per hour or null
    """
    minutes = pl.col("minutes")
    return (
        REALISED.read(realised)
        .select(
            "legal_entity",
            "currency",
            billing_realisation=tenths(pl.col("billed"), pl.col("standard"), 100),
            collection_realisation=tenths(pl.col("collected"), pl.col("billed"), 100),
            overall_realisation=tenths(pl.col("collected"), pl.col("standard"), 100),
            effective_rate=pl.when(minutes > 0).then(
                rounded(product(pl.col("billed"), HOUR), minutes.clip(lower_bound=1))
            ),
        )
        .sort("legal_entity", "currency")
    )


def roll_forward(moves: pl.DataFrame) -> pl.DataFrame:
    """Roll the backlog forward.

    moves    `BACKLOG_MOVES`
    Returns  moves + closing i64 units
    """
    closing = (
        pl.col("opening")
        + pl.col("bookings")
        + pl.col("change_orders")
        - pl.col("cancelled")
        - pl.col("recognised")
        + pl.col("fx")
    )
    return BACKLOG_MOVES.read(moves).with_columns(closing=closing).sort("currency")


def leakage(work: pl.DataFrame, today: date, after: int = LEAK_AFTER) -> pl.DataFrame:
    """Add up what nobody is billing.

    work     `UNBILLED_WORK`
    after    days; what is older counts
    Returns  legal_entity, currency, leakage i64 units; sorted; a currency with no old work is there with 0
    """
    old = pl.col("since") < today - timedelta(days=after)
    found = UNBILLED_WORK.read(work).group_by("legal_entity", "currency").agg(leakage=pl.col("value").filter(old).sum())
    return found.sort("legal_entity", "currency")


def hold_ages(holds: pl.DataFrame, today: date) -> pl.DataFrame:
    """Count open holds per code and currency, with their value and median age.

    holds    `HELD_NOW`
    Returns  code, currency str, count, value i64 units, age i64 tenths of a day; sorted
    """
    age = (pl.lit(today) - pl.col("opened_on")).dt.total_days()
    return (
        HELD_NOW.read(holds)
        .group_by("code", "currency")
        .agg(
            count=pl.len().cast(pl.Int64),
            value=pl.col("value").sum(),
            age=(age.median() * 10).cast(pl.Int64),
        )
        .sort("code", "currency")
    )


def cycle(stages: pl.DataFrame) -> pl.DataFrame:
    """Return median and ninetieth percentile (nearest rank) of the days of each stage.

    stages   `CYCLE_DAYS`
    Returns  stage str, median, p90 i64 tenths of a day; sorted
    """
    return (
        CYCLE_DAYS.read(stages)
        .group_by("stage")
        .agg(
            median=(pl.col("days").median() * 10).cast(pl.Int64),
            p90=pl.col("days").sort().get((pl.len().cast(pl.Int64) * 9 + 9) // 10 - 1) * 10,
        )
        .sort("stage")
    )


def _tenth(numerator: Decimal, denominator: Decimal) -> Decimal | None:
    return None if denominator == 0 else (numerator / denominator).quantize(TENTH, ROUND_HALF_UP)
