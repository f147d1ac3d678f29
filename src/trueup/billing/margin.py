"""What the work cost and what is left of the revenue: labour at the cost rate of the day, expenses, margin."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from trueup.billing.frames import (
    COST_PROJECTS,
    COST_RATES,
    LABOUR,
    LINE_POSITIONS,
    MARGINS,
    ROLE_RATES,
    ROLE_TIME,
    SPENT,
    WORKED,
)
from trueup.billing.rounding import HOUR, product, rounded

PLACE = ("project", "contract", "legal_entity", "currency")


@dataclass(frozen=True, slots=True)
class LabourCost:
    """Labour cost by project and month of approval.

    labour    `LABOUR`, sorted by project and period
    problems  sentences: time that has no cost rate, or one in another currency, and is not counted
    """

    labour: pl.DataFrame
    problems: tuple[str, ...]


def labour_cost(worked: pl.DataFrame, cost_rates: pl.DataFrame, projects: pl.DataFrame) -> LabourCost:
    """Cost approved time at the person's cost rate in force on the day of work, in the month it was approved.

    worked      `WORKED`
    cost_rates  `COST_RATES`
    projects    `COST_PROJECTS`
    Raises      Broken when a frame lacks a column.
    """
    by_start = COST_RATES.read(cost_rates).sort("valid_from").rename({"currency": "cost_currency"})
    costed = (
        WORKED.read(worked)
        .sort("worked_on", "gid")
        .join_asof(
            by_start,
            left_on="worked_on",
            right_on="valid_from",
            by="resource",
            strategy="backward",
            check_sortedness=False,
        )
        .join(COST_PROJECTS.read(projects), on="project", how="left", validate="m:1")
        .with_columns(
            period=pl.col("approved_on").dt.strftime("%Y-%m"),
            amount=rounded(product(pl.col("minutes"), pl.col("rate")), HOUR),
        )
    )
    countable = (pl.col("cost_currency") == pl.col("currency")).fill_null(value=False)
    labour = (
        costed.filter(countable)
        .group_by(*PLACE, "period")
        .agg(pl.col("minutes", "amount").sum())
        .sort("project", "period")
    )
    return LabourCost(LABOUR.write(labour), _problems(costed.filter(~countable)))


def _problems(left_out: pl.DataFrame) -> tuple[str, ...]:
    cases = left_out.group_by("resource", "rate", "cost_currency", "project", "currency").agg(
        pl.len().alias("count"), pl.col("minutes").sum()
    )
    return tuple(sorted(_sentence(case) for case in cases.iter_rows(named=True)))


def _sentence(case: dict[str, object]) -> str:
    what = f"{case['count']} time entries ({case['minutes']} minutes) of {case['resource']} on {case['project']}"
    if case["currency"] is None:
        return f"{what} are not costed: the project is not known."
    if case["rate"] is None:
        return f"{what} are not costed: no cost rate is in force on the day; enter one."
    return f"{what} are not costed: the cost rate is in {case['cost_currency']}, the project in {case['currency']}."


def project_margins(
    lines: pl.DataFrame, labour: pl.DataFrame, spent: pl.DataFrame, projects: pl.DataFrame, upto: date
) -> pl.DataFrame:
    """Set revenue, labour and expenses of each project against each other, to date.

    lines     `LINE_POSITIONS` at the month end
    labour    `LABOUR` of the months up to it
    spent     `SPENT`; lines approved after the month end are left out
    projects  `COST_PROJECTS`; a project is its contract in one legal entity and currency
    upto      month end
    Returns   `MARGINS`, sorted by project; every project has a row
    """
    revenue = (
        LINE_POSITIONS.read(lines).group_by("contract", "legal_entity", "currency").agg(pl.col("recognised").sum())
    )
    work = (
        LABOUR.read(labour)
        .filter(pl.col("period") <= f"{upto:%Y-%m}")
        .group_by("project")
        .agg(labour=pl.col("amount").sum())
    )
    paid = (
        SPENT.read(spent).filter(pl.col("approved_on") <= upto).group_by("project").agg(expenses=pl.col("amount").sum())
    )
    return MARGINS.write(
        COST_PROJECTS.read(projects)
        .join(revenue, on=["contract", "legal_entity", "currency"], how="left")
        .join(work, on="project", how="left")
        .join(paid, on="project", how="left")
        .with_columns(pl.col("recognised", "labour", "expenses").fill_null(0))
        .with_columns(margin=pl.col("recognised") - pl.col("labour") - pl.col("expenses"))
        .sort("project")
    )


def standard_labour(worked: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Cost time at the standard of its role: the average rate of everybody who has the role, in the project's currency.

    worked   `ROLE_TIME`
    rates    `ROLE_RATES`
    Returns  project str, labour i64 units, null where a role has no rate in the currency; sorted
    """
    standards = ROLE_RATES.read(rates).group_by("role", "currency").agg(total=pl.col("rate").sum(), people=pl.len())
    people = pl.col("people").cast(pl.Int64)
    cost = rounded(product(pl.col("minutes"), pl.col("total")), people * HOUR)
    return (
        ROLE_TIME.read(worked)
        .join(standards, on=["role", "currency"], how="left")
        .with_columns(cost=pl.when(people > 0).then(cost))
        .group_by("project")
        .agg(labour=pl.when(pl.col("cost").null_count() == 0).then(pl.col("cost").sum()))
        .sort("project")
    )
