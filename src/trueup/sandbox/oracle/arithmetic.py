"""Exact arithmetic of the oracle: money to two decimals, whole minutes, plain days and months."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

Json = dict[str, Any]
Facts = Mapping[str, Any]
Months = dict[str, dict[str, dict[str, Decimal]]]
"""Amounts by name, per project code and month."""

ZERO = Decimal("0.00")


def cents(amount: Decimal) -> Decimal:
    """Round to two decimals, half away from zero.

    >>> cents(Decimal("0.125")), cents(Decimal("-0.125"))
    (Decimal('0.13'), Decimal('-0.13'))
    """
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def tenths(number: Decimal) -> str:
    """Write a number with one decimal, rounded half away from zero."""
    return str(number.quantize(Decimal("0.1"), ROUND_HALF_UP))


def text(amount: Decimal) -> str:
    """Write money with two decimals; there is no minus zero."""
    rounded = cents(amount)
    return str(rounded if rounded else ZERO)


def whole_minutes(minutes: int, part: Decimal, whole: Decimal) -> int:
    """Return the minutes that belong to a part of an amount, in proportion."""
    return int((Decimal(minutes) * part / whole).quantize(Decimal(1), ROUND_HALF_UP))


def last_day(month: str) -> str:
    """Return the last day of a month.

    >>> last_day("2026-09"), last_day("2026-12")
    ('2026-09-30', '2026-12-31')
    """
    year, number = int(month[:4]), int(month[5:])
    following = date(year + number // 12, number % 12 + 1, 1)
    return (following - timedelta(days=1)).isoformat()


def days_after(day: str, days: int) -> str:
    """Return the day that comes so many days later."""
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def weekdays(first: date, last: date) -> int:
    """Count Mondays to Fridays between two days, both included."""
    return sum((first + timedelta(days=n)).weekday() < 5 for n in range((last - first).days + 1))


def in_force(lines: Iterable[Facts], day: str) -> Facts | None:
    """Return the line with the latest start that is valid on the day, or None."""
    valid = [one for one in lines if one["valid_from"] <= day and (not one.get("valid_to") or one["valid_to"] >= day)]
    return max(valid, key=lambda one: one["valid_from"], default=None)


def amounts() -> defaultdict[str, Decimal]:
    """Return an empty table of amounts by name: what nobody entered is zero."""
    return defaultdict(lambda: ZERO)


def add_up(rows: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    """Add rows of amounts name by name."""
    total: dict[str, Decimal] = {}
    for row in rows:
        for name, amount in row.items():
            total[name] = total.get(name, ZERO) + amount
    return total


def written(row: Mapping[str, Decimal]) -> Json:
    """Write a row of amounts."""
    return {name: text(amount) for name, amount in row.items()}
