"""Labour checks once more, person by person and day by day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from trueup.billing.labour_packs import FLOOR, Pack


@dataclass(frozen=True, slots=True)
class Time:
    """One entry; starts and ends in minutes after midnight."""

    fact: str
    resource: str
    worked_on: date
    minutes: int
    starts: int | None = None
    ends: int | None = None
    break_minutes: int | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Who worked, and where he is employed."""

    resource: str
    country: str
    region: str | None = None
    hired_on: date | None = None
    terminated_on: date | None = None
    locked_to: date | None = None


Found = tuple[str, str, date, str, str, str, int, int]
"""fact, resource, day, check, severity, pack, figure, limit."""


def labour_findings(
    entries: Sequence[Time], people: Sequence[Person], packs: Sequence[Pack], today: date
) -> list[Found]:
    """List what does not pass, sorted by person, day, check and pack; leave and holidays are left to the fast way."""
    found: list[Found] = []
    for person in people:
        mine = [one for one in entries if one.resource == person.resource]
        days = {on: [one for one in mine if one.worked_on == on] for on in sorted({one.worked_on for one in mine})}

        def say(on: date, check: str, pack: Pack, figure: int, limit: int, days: dict[date, list[Time]] = days,
                person: Person = person) -> None:  # fmt: skip
            first = min(one.fact for one in days[on])
            found.append((first, person.resource, on, check, pack.severity(check), pack.name, figure, limit))

        for on, day in days.items():
            worked = sum(one.minutes for one in day)
            if worked > 1440:
                say(on, "OVER_24H", FLOOR, worked, 1440)
            if _clocked(day) and _overlaps(day):
                say(on, "OVERLAP", FLOOR, _overlaps(day), 0)
            if on > today:
                say(on, "FUTURE", FLOOR, worked, 0)
            if (person.hired_on and on < person.hired_on) or (person.terminated_on and on > person.terminated_on):
                say(on, "NOT_EMPLOYED", FLOOR, worked, 0)
            if person.locked_to and on <= person.locked_to:
                say(on, "LOCKED_PERIOD", FLOOR, worked, 0)
            for pack in packs:
                if _applies(pack, person, on):
                    for check, figure, limit in _day(days, on, pack):
                        say(on, check, pack, figure, limit)
    return sorted(found, key=lambda one: (one[1], one[2], one[3], one[5]))


def _applies(pack: Pack, person: Person, on: date) -> bool:
    here = not pack.countries or person.country in pack.countries
    return here and pack.region in (None, person.region) and on >= pack.valid_from


def _clocked(day: Sequence[Time]) -> bool:
    return all(one.starts is not None and one.ends is not None for one in day)


def _spans(day: Sequence[Time]) -> list[tuple[int, int]]:
    ordered = sorted(day, key=lambda one: (one.starts or 0, one.fact))
    return [(one.starts, one.ends) for one in ordered if one.starts is not None and one.ends is not None]


def _overlaps(day: Sequence[Time]) -> int:
    spans = _spans(day)
    return sum(1 for place in range(1, len(spans)) if spans[place][0] < max(end for _, end in spans[:place]))


def _gaps(day: Sequence[Time]) -> int:
    spans = _spans(day)
    return sum(
        max(0, spans[place][0] - max(end for _, end in spans[:place])) for place in range(1, len(spans))
    )  # fmt: skip


def _day(days: dict[date, list[Time]], on: date, pack: Pack) -> list[tuple[str, int, int]]:
    day, found = days[on], []
    worked = sum(one.minutes for one in day)
    spans = _spans(day) if _clocked(day) else []
    if pack.daily_max is not None and worked > pack.daily_max:
        found.append(("DAILY_MAX", worked, pack.daily_max))
    if spans:
        pauses = sum(one.break_minutes or 0 for one in day) + _gaps(day)
        if pack.break_after is not None and pauses == 0 and worked > pack.break_after:
            found.append(("BREAK_MISSING", worked, pack.break_after))
        starts, ends = spans[0][0], max(end for _, end in spans)
        night = starts < 6 * 60 or ends > 23 * 60
        if pack.night_max is not None and night and worked > pack.night_max:
            found.append(("NIGHT_MAX", worked, pack.night_max))
        before = days.get(on - timedelta(days=1), [])
        if pack.rest is not None and before and _clocked(before):
            slept = starts + 1440 - max(end for _, end in _spans(before))
            if slept < pack.rest:
                found.append(("REST_11H", slept, pack.rest))
    in_a_row = 0
    while sum(one.minutes for one in days.get(on - timedelta(days=in_a_row), [])) > 0:
        in_a_row += 1
    if pack.days_in_a_row is not None and in_a_row > pack.days_in_a_row:
        found.append(("WEEKLY_REST", in_a_row, pack.days_in_a_row))
    return found + _week(days, on, pack)


def _week(days: dict[date, list[Time]], on: date, pack: Pack) -> list[tuple[str, int, int]]:
    monday = on - timedelta(days=on.weekday())
    if any(monday + timedelta(days=n) in days for n in range(on.weekday())):
        return []  # the first day worked speaks for the week
    found = []

    def between(first: date) -> int:
        inside = [one for at, day in days.items() if first <= at < monday + timedelta(days=7) for one in day]
        return sum(one.minutes for one in inside)

    if pack.weekly_overtime is not None and between(monday) > pack.weekly_overtime:
        found.append(("OVERTIME_WEEK", between(monday), pack.weekly_overtime))
    if pack.weekly_average is not None:
        total = between(monday - timedelta(weeks=pack.weeks - 1))
        if total > pack.weekly_average * pack.weeks:
            found.append(("WEEKLY_AVERAGE", total // pack.weeks, pack.weekly_average))
    return found


def paid_hours_california(hours: Decimal) -> Decimal:
    """Return the hours a day is paid as.

    >>> paid_hours_california(Decimal(13))
    Decimal('16.0')
    """
    half, double = max(min(hours, Decimal(12)) - 8, Decimal(0)), max(hours - 12, Decimal(0))
    return min(hours, Decimal(8)) + half * Decimal("1.5") + double * 2
