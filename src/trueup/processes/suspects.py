"""Finds work that must not be billed before a person has looked at it: reported twice, or against a labour rule.

What a person has released stays released: the hold is not found again.
"""

from datetime import date, timedelta

import polars as pl

from trueup.billing.frames import STOPS
from trueup.billing.labour import PEOPLE, TIMES, labour_findings, public_holidays
from trueup.billing.labour_packs import PACKS
from trueup.kernel.periods import last_day
from trueup.pipeline.house import Firm
from trueup.store import ledger, working_time
from trueup.store.database import Tx, array

WEEKS_BEFORE = 17
"""The longest reference period of a pack."""


def suspects(tx: Tx, firm: Firm, entries: pl.DataFrame, today: date) -> pl.DataFrame:
    """Return a stop for every entry that waits for a person's decision.

    entries  `ENTRIES`: what billing looks at
    today    the last day the run looks at: for labour checks, days after it are the future
    Returns  `STOPS`
    """
    opened = entries.filter(pl.col("billable") & (pl.col("open_minutes") > 0))
    if opened.is_empty() or (firm.duplicates == "ignore" and not firm.labour_blocking):
        return STOPS.empty()
    found = pl.concat([_twice(tx, firm, opened), _unlawful(tx, firm, opened, today)])
    if found.is_empty():
        return found
    waived = _released(tx, found["scope"].unique().to_list())
    return found.join(waived, on=["scope", "code"], how="anti")


def _twice(tx: Tx, firm: Firm, opened: pl.DataFrame) -> pl.DataFrame:
    """Find entries that say what an earlier one says: same person, day, minutes, project, task and note."""
    if firm.duplicates == "ignore":
        return STOPS.empty()
    return ledger.frame(
        tx,
        """
        with alike as (
            select t.gid, row_number() over w as place, first_value(t.gid) over w as first
            from time_entries t
            where t.project = any(%(projects)s::text[]) and t.tombstone is null and t.billable
                and t.status in ('submitted', 'approved') and trim(t.notes) <> ''
                and t.worked_on between %(first)s and %(last)s
            window w as (
                partition by t.resource, t.worked_on, t.minutes, t.project, t.task, lower(trim(t.notes))
                order by t.created_at, t.source_order, t.gid)
        )
        select a.gid, 'DUPLICATE_SUSPECT' from alike a
        where a.place > 1 and (%(anywhere)s or not exists (
            select from crosswalk x join crosswalk y on y.system = x.system where x.gid = a.gid and y.gid = a.first))
        """,
        {
            "projects": array(opened["project"].unique().sort()),
            "first": opened["worked_on"].min(),
            "last": opened["worked_on"].max(),
            "anywhere": firm.duplicates == "everywhere",
        },
        {name: column.dtype for name, column in STOPS.columns.items()},
    )


def _unlawful(tx: Tx, firm: Firm, opened: pl.DataFrame, today: date) -> pl.DataFrame:
    """Find every entry of a person's day that does not pass a check which blocks billing."""
    if not firm.labour_blocking:
        return STOPS.empty()
    days = opened["worked_on"].to_list()
    countries = {code: entity.country for code, entity in firm.entities.items()}
    staff = working_time.staff(tx, list(countries))
    times = working_time.times(tx, list(countries), min(days) - timedelta(weeks=WEEKS_BEFORE), max(days))
    people = PEOPLE.write(
        staff.with_columns(
            pl.col("legal_entity").replace_strict(countries, return_dtype=pl.String).alias("country"),
            pl.Series("locked_to", [month and last_day(month) for month in staff["locked"]], dtype=pl.Date),
        )
        if staff.height
        else staff
    )
    off = public_holidays({(country, None) for country in people["country"].unique()}, {day.year for day in days})
    late = set(times.filter("fresh")["fact"])
    broken = labour_findings(TIMES.write(times), people, PACKS, today, off=off).filter(
        pl.col("check").is_in(list(firm.labour_blocking))
        & ((pl.col("check") != "LOCKED_PERIOD") | pl.col("fact").is_in(list(late)))
    )
    return opened.join(broken.select("resource", "worked_on").unique(), on=["resource", "worked_on"]).select(
        scope="gid", code=pl.lit("LABOUR_CHECK")
    )


def _released(tx: Tx, scopes: list[str]) -> pl.DataFrame:
    return ledger.frame(
        tx,
        """
        select distinct scope, code from holds
        where scope = any(%(scopes)s::text[]) and code in ('DUPLICATE_SUSPECT', 'LABOUR_CHECK')
            and released_at is not null and released_by <> 'billing'
        """,
        {"scopes": array(scopes)},
        {name: column.dtype for name, column in STOPS.columns.items()},
    )
