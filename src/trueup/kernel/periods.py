"""Days, months and half-open periods."""

import re
from datetime import date, timedelta

_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


def month_of(day: date) -> str:
    """Return the accounting month a day lies in, as `2026-08`."""
    return f"{day.year:04d}-{day.month:02d}"


def first_day(month: str) -> date:
    """Return the first day of a month written `2026-08`.

    Raises    ValueError when the text is not a month.
    """
    if not _MONTH.fullmatch(month):
        raise ValueError(f"{month!r} is not a month; write it like 2026-08")
    return date(int(month[:4]), int(month[5:]), 1)


def last_day(month: str) -> date:
    """Return the last day of a month.

    >>> last_day("2026-02")
    datetime.date(2026, 2, 28)
    """
    return first_day(next_month(month)) - timedelta(days=1)


def next_month(month: str) -> str:
    """Return the month after."""
    start = first_day(month)
    return month_of(start.replace(day=28) + timedelta(days=4))


def previous_month(month: str) -> str:
    """Return the month before."""
    return month_of(first_day(month) - timedelta(days=1))


def fiscal_year(day: date, starts: int = 1) -> int:
    """Return the fiscal year a day lies in, named by the calendar year in which it begins.

    starts  month in which fiscal years begin, 1 to 12

    >>> fiscal_year(date(2026, 3, 31), 4), fiscal_year(date(2026, 4, 1), 4)
    (2025, 2026)
    """
    return day.year if day.month >= starts else day.year - 1
