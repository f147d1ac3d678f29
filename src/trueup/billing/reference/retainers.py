"""One retainer over `Decimal`: a list of lots, used, expired and rolled over month by month."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from trueup.billing.reference.schedules import of_share


@dataclass(frozen=True)
class Month:
    """One month's terms and use; minutes, and money in major units."""

    fee: Decimal
    included: int
    used: int
    overage_rate: Decimal
    roll_months: int
    roll_cap: int
    oldest_first: bool = True
    expected_breakage: Fraction = Fraction(0)


@dataclass(frozen=True)
class Row:
    """One month worked out."""

    used: int
    from_roll_over: int
    overage: int
    expired: int
    rolled: int
    billed: Decimal
    recognised: Decimal
    liability: Decimal


@dataclass(frozen=True)
class Lot:
    """What one month's fee bought: minutes left and bought, the fee, and how long it may still be used."""

    left: int
    size: int
    fee: Decimal
    breakage: Fraction
    months_left: int
    earned: Decimal = Decimal(0)


def retainer_table(months: Sequence[Month], currency: str) -> list[Row]:
    """Work out every month of a retainer, in order."""
    lots: list[Lot] = []
    liability, rows = Decimal(0), []
    for month in months:
        own = Lot(month.included, month.included, month.fee, month.expected_breakage, month.roll_months)
        order = [*lots, own] if month.oldest_first else [own, *lots]
        wanted, used = month.used, []
        for lot in order:
            taken = min(lot.left, wanted)
            wanted -= taken
            used.append((lot is own, replace(lot, left=lot.left - taken), taken))
        open_lots = [lot for is_own, lot, _ in used if not is_own]
        own = next(lot for is_own, lot, _ in used if is_own)
        staying = [lot for lot in open_lots if lot.months_left > 1]
        carried = sum(lot.left for lot in staying)
        rolls = min(own.left, max(0, month.roll_cap - carried)) if month.roll_months else 0
        expired = sum(lot.left for lot in open_lots if lot.months_left <= 1) + own.left - rolls
        closed = [lot if lot.months_left > 1 else replace(lot, left=0) for lot in open_lots] + [
            replace(own, left=rolls)
        ]
        now = [_earned(lot, currency) for lot in closed]
        over = of_share(month.overage_rate, Fraction(wanted, 60), currency)
        recognised = over + sum(earned - lot.earned for earned, lot in zip(now, closed, strict=True))
        billed = month.fee + over
        liability += billed - recognised
        from_roll_over = sum(taken for is_own, _, taken in used if not is_own)
        rows.append(Row(month.used, from_roll_over, wanted, expired, carried + rolls, billed, recognised, liability))
        lots = [
            replace(lot, earned=earned, months_left=lot.months_left - (lot is not closed[-1]))
            for earned, lot in zip(now, closed, strict=True)
            if lot.months_left > (0 if lot is closed[-1] else 1)
        ]
    return rows


def _earned(lot: Lot, currency: str) -> Decimal:
    """Return what a lot has earned by its minutes used or expired; all of its fee once none is left."""
    gone = lot.size - lot.left
    if gone == lot.size:
        return lot.fee
    expected = lot.size * (1 - lot.breakage)
    return (
        min(lot.fee, of_share(lot.fee, Fraction(gone) / expected, currency))
        if expected
        else lot.fee
        if gone
        else Decimal(0)
    )


def share_out(uses: Sequence[tuple[str, int]], covered: int) -> dict[str, tuple[int, int]]:
    """Share a month's covered minutes over (project, minutes) in their order; gives (covered, overage) by project."""
    shares: dict[str, tuple[int, int]] = {}
    for project, minutes in uses:
        here = min(minutes, covered)
        covered -= here
        had = shares.get(project, (0, 0))
        shares[project] = (had[0] + here, had[1] + minutes - here)
    return shares
