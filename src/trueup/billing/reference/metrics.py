"""The firm's figures, the definition: plain Decimals, one entity and currency at a time."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from trueup.kernel.money import round_money

ZERO = Decimal(0)


def rounded(value: Decimal, digits: int = 1) -> Decimal:
    """Round a figure half away from zero."""
    return value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def ratio(numerator: Decimal, denominator: Decimal, factor: int = 1) -> Decimal | None:
    """Return numerator / denominator x factor to a tenth; None where there is nothing to divide by.

    >>> ratio(Decimal(1_840_000), Decimal(2_310_000), 90)
    Decimal('71.7')
    """
    return rounded(numerator * factor / denominator) if denominator else None


def count_back(owed: Decimal, months: Sequence[tuple[int, Decimal]]) -> Decimal | None:
    """Take whole months of billing off what is owed, from the newest; None where the months do not reach that far.

    months  (days, billed), the newest first

    >>> count_back(Decimal(5), [(31, Decimal(4)), (28, Decimal(2))])
    Decimal('45.0')
    """
    days, left = ZERO, max(owed, ZERO)
    for length, billed in months:
        if left <= 0:
            break
        if billed > left:
            return rounded((days * billed + length * left) / billed)
        days, left = days + length, left - max(billed, ZERO)
    return None if left > 0 else rounded(days)


def effective_rate(billed: Decimal, hours: Decimal, currency: str) -> Decimal | None:
    """Return billed value per billed hour, to the cent."""
    return round_money(billed / hours, currency) if hours else None


def closing(
    opening: Decimal, bookings: Decimal, change_orders: Decimal, cancelled: Decimal, recognised: Decimal, fx: Decimal
) -> Decimal:
    """Roll the backlog forward."""
    return opening + bookings + change_orders - cancelled - recognised + fx
