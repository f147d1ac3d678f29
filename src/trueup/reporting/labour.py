"""Labour checks of a month: every working time rule an entry does not keep, by severity, person and day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from trueup.billing.labour import PEOPLE, TIMES, labour_findings, public_holidays, worst_first
from trueup.billing.labour_packs import PACKS
from trueup.kernel.periods import first_day, last_day
from trueup.store import working_time
from trueup.store.database import Tx

SENTENCES: Mapping[str, str] = {
    "OVER_24H": "More than 24 hours on one day: {figure} minutes.",
    "OVERLAP": "Entries overlap {figure} times.",
    "FUTURE": "Time is entered for a day that has not come.",
    "NOT_EMPLOYED": "The person was not employed on that day.",
    "LOCKED_PERIOD": "The month is closed at the employer.",
    "LEAVE": "The person was on leave.",
    "HOLIDAY": "The day is a public holiday.",
    "DAILY_MAX": "{figure} minutes of work on one day; {limit} are allowed.",
    "BREAK_MISSING": "{figure} minutes of work without a break; one is due after {limit}.",
    "NIGHT_MAX": "{figure} minutes of work on a day with night work; {limit} are allowed.",
    "REST_11H": "{figure} minutes of rest since the day before; {limit} are due.",
    "WEEKLY_REST": "{figure} days of work in a row; {limit} are allowed.",
    "OVERTIME_WEEK": "{figure} minutes in the week; those above {limit} are paid more.",
    "WEEKLY_AVERAGE": "{figure} minutes a week on average; {limit} are allowed.",
}
WEEKS_BEFORE = 17
"""The longest reference period of a pack: what was worked before the month counts towards its averages."""


@dataclass(frozen=True, slots=True)
class LabourFinding:
    """One check one person's day does not pass.

    fact      first entry of the day
    pack      whose rule
    figure    minutes, days or count that was found
    limit     what is allowed, in the same measure
    """

    fact: str
    resource: str
    person: str
    legal_entity: str
    worked_on: date
    check: str
    severity: str
    pack: str
    figure: int
    limit: int
    sentence: str


def labour_checks(
    tx: Tx, countries: Mapping[str, str], period: str, today: date, entity: str | None = None
) -> list[LabourFinding]:
    """Return the month's findings, the gravest first.

    countries  legal entity -> country; people of other employers are left out
    period     2026-08
    today      days after it are the future
    entity     employer, None for all
    Raises     ValueError when the period is not a month.
    """
    first, last = first_day(period), last_day(period)
    employers = [code for code in countries if entity in (None, code)]
    staff = working_time.staff(tx, employers)
    locked = [None if month is None else last_day(month) for month in staff["locked"]]
    people = PEOPLE.write(
        staff.with_columns(
            pl.col("legal_entity").replace_strict(dict(countries), return_dtype=pl.String).alias("country"),
            pl.Series("locked_to", locked, dtype=pl.Date),
        )
        if staff.height
        else staff
    )
    entries = working_time.times(tx, employers, first - timedelta(weeks=WEEKS_BEFORE), last)
    # An entry of a closed month is late only when it came after the closing; all others were there in time.
    off = public_holidays({(country, None) for country in people["country"].unique()}, {first.year})
    found = labour_findings(TIMES.write(entries), people, PACKS, today, off=off)
    late = set(entries.filter("fresh")["fact"])
    kept = worst_first(
        found.filter(
            pl.col("worked_on").is_between(first, last)
            & ((pl.col("check") != "LOCKED_PERIOD") | pl.col("fact").is_in(list(late)))
        )
    ).join(staff.select("resource", "person", "legal_entity"), on="resource", how="left", maintain_order="left")
    return [
        LabourFinding(**row, sentence=SENTENCES[row["check"]].format(figure=row["figure"], limit=row["limit"]))
        for row in kept.iter_rows(named=True)
    ]
