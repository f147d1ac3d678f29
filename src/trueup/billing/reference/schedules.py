"""Milestones in percent, percent complete, instalments and periods of service, one at a time over `Decimal`.

Amounts are major units of the currency that is given; days are plain dates.
"""

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from trueup.kernel.money import minor_digits, round_money, split

Prices = Sequence[tuple[date, Decimal]]


def milestone_amounts(fee: Decimal, percents: Sequence[Decimal], currency: str) -> list[Decimal]:
    """Split a fee by percentages, largest remainder.

    Raises    ValueError when they do not add up to 100.
    """
    if sum(percents) != 100:
        raise ValueError(f"the milestones must add up to 100 % of the fee; add up now: {sum(percents):f} %")
    return split(fee, percents, currency)


def retained(amount: Decimal, percent: Decimal, currency: str) -> Decimal:
    """Return what is kept back of a milestone until it is accepted."""
    return round_money(amount * percent / 100, currency)


def of_share(total: Decimal, share: Fraction, currency: str) -> Decimal:
    """Return a share of a total, rounded once, half away from zero; the share keeps full precision."""
    cent = Decimal(1).scaleb(-minor_digits(currency))
    exact = Fraction(total) * share / Fraction(cent)
    whole, rest = divmod(abs(exact), 1)
    cents = int(whole) + (1 if rest >= Fraction(1, 2) else 0)
    return (cents if exact >= 0 else -cents) * cent


def percent_complete(
    steps: Sequence[tuple[Decimal, Fraction]], currency: str, *, credit_at_once: bool = False
) -> list[Decimal]:
    """Return the bills of a fee by progress; too much is carried, or credited at once.

    steps  (fee as agreed then, share done)
    """
    bills: list[Decimal] = []
    for fee, share in steps:
        open_amount = of_share(fee, share, currency) - sum(bills)
        bills.append(open_amount if credit_at_once else max(Decimal(0), open_amount))
    return bills


def instalments(total: Decimal, count: int, currency: str) -> list[Decimal]:
    """Cut a total into equal parts by cumulative rounding."""
    upto = [of_share(total, Fraction(number, count), currency) for number in range(count)] + [total]
    return [after - before for before, after in pairwise(upto)]


@dataclass(frozen=True)
class Segment:
    """Part of one period of service with one price; `from_on` and `to_on` are counted."""

    period_from: date
    due_on: date
    from_on: date
    to_on: date
    price: Decimal
    amount: Decimal


def boundary(year: int, month: int, anchor: int) -> date:
    """Return the anchor day of a month (months beyond 12 or below 1 run on), clipped to its length.

    >>> boundary(2026, 2, 31), boundary(2026, 0, 15)
    (datetime.date(2026, 2, 28), datetime.date(2025, 12, 15))
    """
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    return date(year, month, min(anchor, calendar.monthrange(year, month)[1]))


def days_between(start: date, stop: date, rule: str) -> int:
    """Count the days from a day to before another, by the rule."""
    if rule != "thirty_360":
        return (stop - start).days
    place = [(day.year * 12 + day.month) * 30 + min(day.day, 30) for day in (start, stop)]
    return place[1] - place[0]


def service_segments(
    starts_on: date,
    ends_on: date | None,
    prices: Prices,
    currency: str,
    upto: date,
    *,
    every_months: int = 1,
    anchor_day: int = 1,
    in_advance: bool = False,
    lead_days: int = 0,
    rule: str = "actual_days",
) -> list[Segment]:
    """Return every part of a period of service that is due by a day, priced, oldest first.

    Raises    ValueError when no price counts on the first day.
    """
    if not any(on <= starts_on for on, _ in prices):
        raise ValueError("no price counts on the first day of service")
    found: list[Segment] = []
    step = -1
    while (begins := boundary(starts_on.year, starts_on.month + step * every_months, anchor_day)) <= upto + timedelta(
        days=lead_days
    ):
        stops = boundary(starts_on.year, starts_on.month + (step + 1) * every_months, anchor_day)
        step += 1
        first, last = max(begins, starts_on), min(stops - timedelta(days=1), ends_on or date.max)
        due = first - timedelta(days=lead_days) if in_advance else last
        if first <= last and due <= upto:
            parts = _parts((begins, stops), first, last, prices, rule)
            found += [
                Segment(begins, due, start, end, price, of_share(price, share, currency))
                for start, end, price, share in parts
            ]
    return found


def _parts(
    period: tuple[date, date], first: date, last: date, prices: Prices, rule: str
) -> list[tuple[date, date, Decimal, Fraction]]:
    begins, stops = period
    full = (first, last) == (begins, stops - timedelta(days=1))
    if rule == "whole_month" or (rule == "none" and full):
        return [(first, last, _price_on(prices, first), Fraction(1))]
    if rule == "none":
        return []
    starts = sorted({first, *(on for on, _ in prices if first < on <= last)})
    ends = [start - timedelta(days=1) for start in starts[1:]] + [last]
    whole = days_between(begins, stops, rule)
    return [
        (start, end, _price_on(prices, start), Fraction(days_between(start, end + timedelta(days=1), rule), whole))
        for start, end in zip(starts, ends, strict=True)
    ]


def _price_on(prices: Prices, on: date) -> Decimal:
    return max(price for price in prices if price[0] <= on)[1]


def differences(billed: Sequence[Segment], now: Sequence[Segment]) -> list[tuple[date, Decimal]]:
    """Return what has to be credited (below zero) and charged where periods billed in advance came out otherwise."""
    keyed = [{(one.period_from, one.from_on, one.price): one.amount for one in some} for some in (billed, now)]
    keys = sorted(keyed[0].keys() | keyed[1].keys())
    moved = [(key[1], keyed[1].get(key, Decimal(0)) - keyed[0].get(key, Decimal(0))) for key in keys]
    return [(on, amount) for on, amount in moved if amount]
