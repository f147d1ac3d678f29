"""Currency over `Decimal` and exact fractions: convert, revalue, realise."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from trueup.billing.reference.schedules import of_share


@dataclass(frozen=True)
class Quote:
    """One base unit costs `rate` of the currency, as published."""

    source: str
    purpose: str
    base: str
    currency: str
    published_on: date
    rate: Decimal


def quote(quotes: Sequence[Quote], source: str, purpose: str, currency: str, on: date) -> Quote | None:
    """Return the newest quote published by a day."""
    mine = [
        one
        for one in quotes
        if (one.source, one.purpose, one.currency) == (source, purpose, currency) and one.published_on <= on
    ]
    return max(mine, key=lambda one: one.published_on, default=None)


def convert(
    amount: Decimal, currency: str, target: str, on: date, quotes: Sequence[Quote], source: str, purpose: str
) -> Decimal | None:
    """Convert an amount, rounded once to the target's minor unit; None where no quote was published by the day."""
    if currency == target:
        return amount
    base = next((one.base for one in quotes if one.source == source), None)
    share = Fraction(1)
    for code, power in ((target, 1), (currency, -1)):
        if code == base:
            continue
        found = quote(quotes, source, purpose, code, on)
        if found is None:
            return None
        share *= Fraction(found.rate) ** power
    return of_share(amount, share, target)


def revalue(value: Decimal, booked: Decimal, monetary: bool, before: Decimal) -> tuple[Decimal, Decimal]:
    """Return the gain to date of an open item, and what of it is new; an advance has none.

    value  the open amount at the rate of the month end
    """
    unrealised = value - booked if monetary else Decimal(0)
    return unrealised, unrealised - before


def realise(
    invoice: Decimal, booked: Decimal, payments: Sequence[tuple[Decimal, Decimal]], home: str
) -> list[tuple[Decimal, Decimal]]:
    """Return for each payment (foreign amount, cash) the booked value it settles and what it gained."""
    rows, paid, settled = [], Decimal(0), Decimal(0)
    for amount, cash in payments:
        paid += amount
        upto = of_share(booked, Fraction(paid) / Fraction(invoice), home)
        rows.append((upto - settled, cash - (upto - settled)))
        settled = upto
    return rows
