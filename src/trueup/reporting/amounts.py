"""Exact amounts for readers: units become major units with their currency, never added up across currencies."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from trueup.kernel.money import from_units


@dataclass(frozen=True, slots=True)
class Amount:
    """An exact amount of one currency.

    amount    major units
    currency  ISO 4217
    """

    amount: Decimal
    currency: str


def amount_of(units: int, currency: str) -> Amount:
    """Return units of a currency as an amount.

    >>> amount_of(12_340_000, "EUR")
    Amount(amount=Decimal('12.34'), currency='EUR')
    """
    return Amount(from_units(int(units), currency), currency)


def sums(parts: Iterable[tuple[str | None, int | None]]) -> tuple[Amount, ...]:
    """Add up (currency, units) per currency, in the order of the codes; parts without a currency are left out.

    >>> [str(one.amount) for one in sums([("USD", 10_000), ("EUR", 20_000), ("USD", 10_000)])]
    ['0.02', '0.02']
    """
    totals: dict[str, int] = {}
    for currency, units in parts:
        if currency:
            totals[currency] = totals.get(currency, 0) + int(units or 0)
    return tuple(amount_of(totals[currency], currency) for currency in sorted(totals))


def together(parts: Iterable[Amount]) -> tuple[Amount, ...]:
    """Add up amounts per currency, in the order of the codes."""
    totals: dict[str, Decimal] = {}
    for part in parts:
        totals[part.currency] = totals.get(part.currency, Decimal(0)) + part.amount
    return tuple(Amount(totals[currency], currency) for currency in sorted(totals))


def weight(amounts: Iterable[Amount]) -> Decimal:
    """Return a figure to sort by: face values side by side. It is no sum, and is never shown."""
    return sum((abs(part.amount) for part in amounts), Decimal(0))
