"""Labour checks: what an entry says that a working time law, or plain sense, does not allow. They never price anything."""

from collections.abc import Collection, Sequence
from datetime import date

import holidays
import polars as pl

from trueup.billing.frames import Shape, day, maybe, text, whole
from trueup.billing.labour_packs import FLOOR, SEVERITIES, Pack

DAY = 1440
NIGHT_FROM, NIGHT_TO = 23 * 60, 6 * 60

TIMES = Shape(
    "times",
    "one time entry; clock times where the time system knows them",
    {
        "fact": text("the time entry"),
        "resource": text("who worked"),
        "worked_on": day("the day it begins on"),
        "minutes": whole("minutes of work"),
        "starts": maybe(whole("minutes after midnight it begins")),
        "ends": maybe(whole("minutes after midnight of the same day it ends; above 1440 in the next day")),
        "break_minutes": maybe(whole("minutes of break within it")),
    },
)
PEOPLE = Shape(
    "people",
    "one person",
    {
        "resource": text("the person"),
        "country": text("ISO 3166 alpha-2 of the employer"),
        "region": maybe(text("state or part of the country")),
        "hired_on": maybe(day("first day")),
        "terminated_on": maybe(day("last day, counted")),
        "locked_to": maybe(day("last day of the locked period of the employer")),
    },
)
LEAVE = Shape("leave", "one day off", {"resource": text("the person"), "day": day("the day")})
HOLIDAYS = Shape(
    "holidays",
    "one public holiday",
    {"country": text("ISO 3166 alpha-2"), "region": maybe(text("part of it")), "day": day("the day")},
)
FINDINGS = Shape(
    "labour_findings",
    "one check one person's day does not pass; its first entry stands for the day",
    {
        "fact": text("first entry of the day"),
        "resource": text("who worked"),
        "worked_on": day("the day"),
        "check": text("DAILY_MAX, REST_11H, BREAK_MISSING ..."),
        "severity": text("info, warn, block_approval or block_payroll"),
        "pack": text("whose rule"),
        "figure": whole("minutes, days or count that was found"),
        "limit": whole("what is allowed, in the same measure"),
    },
)


def labour_findings(
    entries: pl.DataFrame,
    people: pl.DataFrame,
    packs: Sequence[Pack],
    today: date,
    *,
    leave: pl.DataFrame | None = None,
    off: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """List what does not pass, judged by the packs of each person's place.

    entries  `TIMES`
    people   `PEOPLE`; entries of others are left out
    packs    `labour_packs.PACKS` or a firm's own
    today    days after it are the future
    leave    `LEAVE`
    off      `HOLIDAYS` (see `public_holidays`)
    Returns  `FINDINGS`, sorted by resource, day, check, pack
    """
    seen = TIMES.read(entries).join(PEOPLE.read(people), on="resource", how="inner")
    days = (
        seen.sort("starts", "fact", nulls_last=True)
        .group_by(
            "resource", "worked_on", "country", "region", "hired_on", "terminated_on", "locked_to", maintain_order=True
        )
        .agg(
            pl.col("fact").min(),
            pl.col("minutes").sum(),
            pl.col("starts").min(),
            pl.col("ends").max(),
            whole_day=pl.col("starts").is_not_null().all() & pl.col("ends").is_not_null().all(),
            pauses=pl.col("break_minutes").fill_null(0).sum(),
            gaps=(pl.col("starts") - pl.col("ends").cum_max().shift(1)).clip(lower_bound=0).sum(),
            overlaps=(pl.col("starts") < pl.col("ends").cum_max().shift(1)).sum().cast(pl.Int64),
        )
        .sort("resource", "worked_on")
    )
    common = _everywhere(
        days, today, LEAVE.empty() if leave is None else leave, HOLIDAYS.empty() if off is None else off
    )
    found = [
        rows.with_columns(check=pl.lit(check), severity=pl.lit(FLOOR.severity(check)), pack=pl.lit(FLOOR.name))
        for check, rows in common
    ]
    for pack in packs:
        here = pl.col("worked_on") >= pack.valid_from
        if pack.countries:
            here &= pl.col("country").is_in(list(pack.countries))
        if pack.region is not None:
            here &= pl.col("region") == pack.region
        found += [
            rows.filter(here).with_columns(
                check=pl.lit(check), severity=pl.lit(pack.severity(check)), pack=pl.lit(pack.name)
            )
            for check, rows in _by_pack(days, pack)
        ]  # fmt: skip
    return pl.concat(FINDINGS.write(one) for one in found).sort("resource", "worked_on", "check", "pack")


Checked = list[tuple[str, pl.DataFrame]]


def _everywhere(days: pl.DataFrame, today: date, leave: pl.DataFrame, off: pl.DataFrame) -> Checked:
    unemployed = (pl.col("worked_on") < pl.col("hired_on")) | (pl.col("worked_on") > pl.col("terminated_on"))
    holiday = pl.concat(
        [
            days.join(off.filter(pl.col("region").is_null()), left_on=["country", "worked_on"],
                      right_on=["country", "day"], how="semi"),
            days.join(off.filter(pl.col("region").is_not_null()), left_on=["country", "region", "worked_on"],
                      right_on=["country", "region", "day"], how="semi"),
        ]
    ).unique(["resource", "worked_on"])  # fmt: skip
    return [
        ("OVER_24H", _said(days.filter(pl.col("minutes") > DAY), "minutes", DAY)),
        ("OVERLAP", _said(days.filter("whole_day", pl.col("overlaps") > 0), "overlaps", 0)),
        ("FUTURE", _said(days.filter(pl.col("worked_on") > today), "minutes", 0)),
        ("NOT_EMPLOYED", _said(days.filter(unemployed), "minutes", 0)),
        ("LOCKED_PERIOD", _said(days.filter(pl.col("worked_on") <= pl.col("locked_to")), "minutes", 0)),
        (
            "LEAVE",
            _said(
                days.join(leave.rename({"day": "worked_on"}), on=["resource", "worked_on"], how="semi"), "minutes", 0
            ),
        ),
        ("HOLIDAY", _said(holiday, "minutes", 0)),
    ]


def _by_pack(days: pl.DataFrame, pack: Pack) -> Checked:
    found: Checked = []
    if pack.daily_max is not None:
        found.append(("DAILY_MAX", _said(days.filter(pl.col("minutes") > pack.daily_max), "minutes", pack.daily_max)))
    if pack.break_after is not None:
        without = (
            (pl.col("pauses") + pl.col("gaps") == 0) & (pl.col("minutes") > pack.break_after) & pl.col("whole_day")
        )
        found.append(("BREAK_MISSING", _said(days.filter(without), "minutes", pack.break_after)))
    if pack.night_max is not None:
        night = (pl.col("starts") < NIGHT_TO) | (pl.col("ends") > NIGHT_FROM)
        long = days.filter("whole_day", night & (pl.col("minutes") > pack.night_max))
        found.append(("NIGHT_MAX", _said(long, "minutes", pack.night_max)))
    if pack.rest is not None:
        found.append(("REST_11H", _said(_rested(days).filter(pl.col("slept") < pack.rest), "slept", pack.rest)))
    if pack.days_in_a_row is not None:
        run = _in_a_row(days).filter(pl.col("row_of_days") > pack.days_in_a_row)
        found.append(("WEEKLY_REST", _said(run, "row_of_days", pack.days_in_a_row)))
    if pack.weekly_overtime is not None:
        over = _weeks(days).filter(pl.col("week_minutes") > pack.weekly_overtime)
        found.append(("OVERTIME_WEEK", _said(over, "week_minutes", pack.weekly_overtime)))
    if pack.weekly_average is not None:
        found.append(("WEEKLY_AVERAGE", _averages(days, pack)))
    return found


def _said(days: pl.DataFrame, figure: str, limit: int) -> pl.DataFrame:
    return days.select(
        "fact", "resource", "worked_on", "country", "region", pl.col(figure).alias("figure"), limit=pl.lit(limit)
    )


def _rested(days: pl.DataFrame) -> pl.DataFrame:
    # Rest is between two days that follow each other and both have their clock times.
    before = pl.col("worked_on").shift(1).over("resource")
    follows = pl.col("worked_on") - before == pl.duration(days=1)
    known = pl.col("whole_day") & pl.col("whole_day").shift(1).over("resource")
    slept = pl.col("starts") + DAY - pl.col("ends").shift(1).over("resource")
    return days.with_columns(slept=pl.when(follows & known).then(slept)).filter(pl.col("slept").is_not_null())


def _in_a_row(days: pl.DataFrame) -> pl.DataFrame:
    worked = days.filter(pl.col("minutes") > 0)
    follows = pl.col("worked_on").diff().over("resource") == pl.duration(days=1)
    numbered = worked.with_columns(run=(~follows.fill_null(value=False)).cum_sum().over("resource"))
    return numbered.with_columns(row_of_days=pl.int_range(1, pl.len() + 1).over("resource", "run"))


def _weeks(days: pl.DataFrame) -> pl.DataFrame:
    """Return the first day worked of each week, with the week's minutes; weeks begin on Monday."""
    return (
        days.with_columns(week=pl.col("worked_on").dt.truncate("1w"))
        .group_by("resource", "week", "country", "region", maintain_order=True)
        .agg(pl.col("worked_on").min(), pl.col("fact").first(), week_minutes=pl.col("minutes").sum())
    )


def _averages(days: pl.DataFrame, pack: Pack) -> pl.DataFrame:
    # A week without an entry counts as nought: the sum of the reference period against its limit, whole numbers.
    weeks = _weeks(days)
    past = weeks.select("resource", earlier="week", earlier_minutes="week_minutes")
    span = pl.duration(weeks=pack.weeks - 1)
    limit = (pack.weekly_average or 0) * pack.weeks
    return (
        weeks.join(past, on="resource")
        .filter((pl.col("earlier") <= pl.col("week")) & (pl.col("earlier") >= pl.col("week") - span))
        .group_by("resource", "week", "country", "region", "worked_on", "fact")
        .agg(total=pl.col("earlier_minutes").sum())
        .filter(pl.col("total") > limit)
        .select(
            "fact", "resource", "worked_on", "country", "region",
            figure=pl.col("total") // pack.weeks, limit=pl.lit(pack.weekly_average),
        )
    )  # fmt: skip


def blocking(findings: pl.DataFrame, configured: Collection[str]) -> set[str]:
    """Return the facts whose billing waits (hold LABOUR_CHECK): none unless the firm names a severity or a check.

    findings    `FINDINGS`
    configured  severities (block_payroll) and checks (OVER_24H) that stop billing
    """
    named = pl.col("severity").is_in(list(configured)) | pl.col("check").is_in(list(configured))
    return set(findings.filter(named)["fact"])


def paid_minutes_california(minutes: pl.Expr) -> pl.Expr:
    """Return what a day is paid as, in half minutes: 8 hours once, to 12 hours at 1.5, above at 2.

    >>> pl.select(paid_minutes_california(pl.lit(780)) / 120).item()
    16.0
    """
    return minutes * 2 + (minutes - 480).clip(lower_bound=0) + (minutes - 720).clip(lower_bound=0)


def public_holidays(places: Collection[tuple[str, str | None]], years: Collection[int]) -> pl.DataFrame:
    """Return the public holidays of countries and regions; a place the calendar does not know has none.

    Returns  `HOLIDAYS`
    """
    known = holidays.list_supported_countries()
    rows = []
    for country, region in sorted(places, key=lambda place: (place[0], place[1] or "")):
        if country in known:
            part = region if region in known[country] else None
            found = holidays.country_holidays(country, subdiv=part, years=sorted(years))
            rows += [(country, region if part else None, on) for on in sorted(found)]
    return pl.DataFrame(rows, schema={n: c.dtype for n, c in HOLIDAYS.columns.items()}, orient="row").unique(
        maintain_order=True
    )


def worst_first(findings: pl.DataFrame) -> pl.DataFrame:
    """Sort findings by severity, the gravest first, then by person and day."""
    rank = pl.col("severity").replace_strict(
        {name: place for place, name in enumerate(SEVERITIES)}, return_dtype=pl.Int64
    )
    return findings.with_columns(rank=rank).sort(
        "rank", "resource", "worked_on", "check", "pack", descending=[True, False, False, False, False]
    ).drop("rank")  # fmt: skip
