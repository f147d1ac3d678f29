"""One day's allowance over `Decimal`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from trueup.kernel.money import round_money


@dataclass(frozen=True)
class Rate:
    """The allowance of a place (None for the rest of the country) from a day on; cuts and incidentals per day."""

    country: str
    place: str | None
    valid_from: date
    currency: str
    full_day: Decimal
    edge_share: Decimal
    breakfast: Decimal
    lunch: Decimal
    dinner: Decimal
    incidentals: Decimal


def percent_cuts(full_day: Decimal, percents: Sequence[Decimal], currency: str) -> list[Decimal]:
    """Return the cuts for meals as percentages of the full day."""
    return [round_money(full_day * percent / 100, currency) for percent in percents]


def rate_of(rates: Sequence[Rate], country: str, place: str | None, on: date) -> Rate | None:
    """Return the rate in force: of the place, or else of the country; the newest that has begun."""
    begun = [rate for rate in rates if rate.country == country and rate.valid_from <= on]
    for wanted in ([place] if place is not None else []) + [None]:
        mine = [rate for rate in begun if rate.place == wanted]
        if mine:
            return max(mine, key=lambda rate: rate.valid_from)
    return None


def paid(rate: Rate, edge: bool, given: Sequence[bool]) -> Decimal:
    """Return what a day pays; `given` says which of breakfast, lunch and dinner somebody else paid."""
    before = round_money(rate.full_day * rate.edge_share, rate.currency) if edge else rate.full_day
    meals = (rate.breakfast, rate.lunch, rate.dinner)
    cut = sum((meal for meal, was_given in zip(meals, given, strict=True) if was_given), Decimal(0))
    return max(before - cut, rate.incidentals)


def billed(paid: Decimal | None, rule: str, fixed: Decimal | None) -> Decimal | None:
    """Return what the client is billed for a day: as_paid, fixed_daily or nothing."""
    return {"as_paid": paid, "fixed_daily": fixed}.get(rule, Decimal(0))
