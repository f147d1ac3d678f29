"""How much an entry counts and what it is worth, one entry after the other: the definition of `billing.measuring`."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from trueup.billing.terms import Exchange, Increment, Overtime, RateOrder, Terms, Tiers
from trueup.kernel.money import UNIT_DIGITS, minor_digits, round_money

Row = dict[str, Any]
DIRECTIONS = {"up": ROUND_CEILING, "nearest": ROUND_HALF_UP, "down": ROUND_FLOOR}
SIX_MINUTES_TENTH = Decimal("0.6")
"""Minutes in a hundredth of an hour."""


@dataclass
class Measure:
    """How much one entry counts.

    counted      minutes after increments and the day's minimum
    weight       the same, each minute times its multiplier
    cost_weight  as weight, for the cost
    tier_value   sum of minutes x rate over the tiers; None without tiers
    tier_rate    rate of its first minute; None without tiers
    """

    counted: Decimal
    weight: Decimal
    cost_weight: Decimal
    tier_value: Decimal | None = None
    tier_rate: Decimal | None = None


def rate_for(entry: Row, currency: str, rates: Iterable[Row], order: RateOrder) -> tuple[Row | None, str | None]:
    """Return the rate line of the service date, or the hold code that says why there is none."""
    day, ranks = entry["worked_on"], order.ranks()
    fitting = []
    for line in rates:
        wanted = {name: line.get(name) for name in ("resource", "role", "task", "project", "contract")}
        filled = {name: value for name, value in wanted.items() if value is not None}
        in_time = line["valid_from"] <= day and (line["valid_to"] is None or line["valid_to"] >= day)
        if line["currency"] == currency and in_time and all(entry.get(n) == value for n, value in filled.items()):
            who = next((name for name in ("resource", "role") if name in filled), "any")
            where = next((name for name in ("task", "project", "contract") if name in filled), "any")
            rank = ranks[line.get("tier") or "negotiated", who, where]
            fitting.append(((rank, -len(filled), tuple(filled)), line))
    if not fitting:
        return None, "RATE_MISSING"
    first = min(card for card, _ in fitting)
    newest = max(line["valid_from"] for card, line in fitting if card == first)
    best = [line for card, line in fitting if card == first and line["valid_from"] == newest]
    return (best[0], None) if len(best) == 1 else (None, "RATE_AMBIGUOUS")


def fx_rate(published: Sequence[Row], exchange: Exchange, currency: str, day: date) -> Decimal | None:
    """Return what one unit of the rate lines' currency is worth, by the policy; a missing day takes the last before."""
    if exchange.policy == "fixed":
        return exchange.rate
    pair = [
        row for row in published if (row["from_currency"], row["to_currency"]) == (exchange.currency, currency)
    ]  # fmt: skip
    pair.sort(key=lambda row: (row["day"], row["source"]))
    days = [row for row in pair if row["purpose"] == "day"]
    if exchange.policy == "period_average":
        month = (day.year, day.month)
        averages = [row for row in pair if row["purpose"] == "average" and (row["day"].year, row["day"].month) == month]
        if averages:
            return Decimal(averages[-1]["rate_e8"]).scaleb(-8)
        same = [row["rate_e8"] for row in days if (row["day"].year, row["day"].month) == month]
        mean = Fraction(sum(same), len(same)) if same else None
        return None if mean is None else Decimal(int(mean + Fraction(1, 2))).scaleb(-8)
    before = [row for row in days if row["day"] <= day]
    return Decimal(before[-1]["rate_e8"]).scaleb(-8) if before else None


def final_rate(rate: Decimal, fx: Decimal | None, terms: Terms, currency: str) -> Decimal:
    """Return the hourly rate after exchange and line discount, to four digits below the minor unit."""
    digits = Decimal(1).scaleb(-minor_digits(currency) - UNIT_DIGITS)
    return (rate * (fx or 1) * (1 - terms.discount_share)).quantize(digits, ROUND_HALF_UP)


def stepped(minutes: Decimal, increment: Increment) -> Decimal:
    """Round minutes to the increment.

    >>> stepped(Decimal(50), Increment(15))
    Decimal('60')
    """
    steps = (minutes / increment.minutes).quantize(Decimal(1), DIRECTIONS[increment.direction])
    return steps * increment.minutes


def measure(time: Sequence[Row], terms: Terms, free: int) -> dict[str, Measure]:
    """Measure entries in the order in which they use up days, weeks and lines.

    time   entries, sorted
    free   how many of them, from the front, are billed or can be: the total a price by volume looks at
    """
    used: dict[Any, Decimal] = defaultdict(Decimal)

    def take(key: Any, amount: Decimal) -> Decimal:
        before = used[key]
        used[key] += amount
        return before

    found: dict[str, Measure] = {}
    for entry in time:
        minutes, day = Decimal(entry["minutes"]), (entry["resource"], entry["worked_on"])
        scope = {"day_per_task": ("task", *day, entry["task"]), "line": ("line", entry["role"])}
        key = scope.get(terms.increment.scope)
        before = take(key, minutes) if key else Decimal(0)
        counted = stepped(before + minutes, terms.increment) - stepped(before, terms.increment)
        before = take(("minimum", *day), counted)
        counted = _lifted(before + counted, terms) - _lifted(before, terms)
        if terms.hours_2dp_first:
            counted = (counted / 60).quantize(Decimal("0.01"), ROUND_HALF_UP) * 60
        late = Decimal(0)
        if terms.overtime:
            late = _above(take(("day", *day), counted), counted, terms.overtime.after_daily_minutes)
            week = entry["worked_on"] - timedelta(days=entry["worked_on"].weekday())
            regular = counted - late
            before = take(("week", entry["resource"], week), regular)
            late += _above(before, regular, terms.overtime.after_weekly_minutes)
        kind = terms.time_types.get(entry["time_type"] or "")
        bill, cost = (kind.bill, kind.cost) if kind else (Decimal(1), Decimal(1))
        accepted = terms.overtime is None or terms.overtime.accepted
        found[entry["gid"]] = Measure(
            counted,
            (counted - late) * bill + late * (stacked(bill, terms.overtime) if accepted else bill),
            (counted - late) * cost + late * stacked(cost, terms.overtime),
        )
    if terms.tiers:
        _price_by_tiers(time, found, terms.tiers, free)
    return found


def stacked(multiplier: Decimal, overtime: Overtime | None) -> Decimal:
    """Return the multiplier of an hour of overtime whose time type has one of its own; 1 is none."""
    if overtime is None:
        return multiplier
    if multiplier == 1:
        return overtime.multiplier
    ways = {"add": multiplier + overtime.multiplier, "multiply": multiplier * overtime.multiplier}
    return ways.get(overtime.stack, max(multiplier, overtime.multiplier))


def worth(measured: Measure, rate: Decimal | None, currency: str) -> Decimal:
    """Return the price of a whole entry, rounded once."""
    if measured.tier_value is not None:
        if not measured.counted:
            return round_money(Decimal(0), currency)
        return _rounded(
            Fraction(measured.tier_value) * Fraction(measured.weight) / Fraction(measured.counted), currency
        )
    return _rounded(Fraction(measured.weight) * Fraction(rate or 0), currency)


def charged_minutes(weight: Decimal, whole: int, start: int, end: int) -> int:
    """Return the minutes to print for a range of an entry's minutes, cumulatively rounded."""
    total = weight.quantize(Decimal(1), ROUND_HALF_UP)

    def upto(mark: int) -> int:
        return int((total * mark / max(whole, 1)).quantize(Decimal(1), ROUND_HALF_UP))

    return upto(end) - upto(start)


def _rounded(minute_value: Fraction, currency: str) -> Decimal:
    exact = minute_value / 60 * 10 ** minor_digits(currency)
    minor = int(abs(exact) + Fraction(1, 2))
    return (Decimal(minor) if exact >= 0 else -Decimal(minor)).scaleb(-minor_digits(currency))


def _lifted(counted: Decimal, terms: Terms) -> Decimal:
    return max(counted, Decimal(terms.minimum_minutes)) if counted else Decimal(0)


def _above(before: Decimal, amount: Decimal, limit: int | None) -> Decimal:
    if limit is None:
        return Decimal(0)
    return max(before + amount - limit, Decimal(0)) - max(before - limit, Decimal(0))


def _price_by_tiers(time: Sequence[Row], found: dict[str, Measure], tiers: Tiers, free: int) -> None:
    def bucket(entry: Row) -> Any:
        return (entry["worked_on"].year, entry["worked_on"].month) if tiers.per == "month" else None

    totals: dict[Any, Decimal] = defaultdict(Decimal)
    for entry in time[:free]:
        totals[bucket(entry)] += found[entry["gid"]].counted
    position: dict[Any, Decimal] = defaultdict(Decimal)
    for entry in time:
        measured, where = found[entry["gid"]], bucket(entry)
        start = position[where]
        position[where] += measured.counted
        low, value, first = Decimal(0), Decimal(0), None
        for step in tiers.steps:
            high = Decimal(10**13) if step.up_to_minutes is None else Decimal(step.up_to_minutes)
            inside = max(min(start + measured.counted, high) - max(start, low), Decimal(0))
            value += inside * step.rate
            first = step.rate if first is None and start < high else first
            low = high
        if tiers.kind == "volume":
            first = next(s.rate for s in tiers.steps if s.up_to_minutes is None or totals[where] <= s.up_to_minutes)
            value = measured.counted * first
        measured.tier_value, measured.tier_rate = value, first
