"""What a change of terms costs or brings for what is billed already: the definition of `billing.rerating`."""

from decimal import Decimal

from trueup.kernel.money import round_money


def rate_delta(minutes: int, old_rate: Decimal, new_rate: Decimal, currency: str) -> Decimal:
    """Return what an entry billed at the old rate is worth more at the new one; rates per hour.

    >>> rate_delta(3840, Decimal(200), Decimal(210), "EUR")
    Decimal('640.00')
    """
    return round_money(minutes * new_rate / 60, currency) - round_money(minutes * old_rate / 60, currency)


def fee_catch_up(old_fee: Decimal, new_fee: Decimal, progress: Decimal, billed: Decimal, currency: str) -> Decimal:
    """Return what a changed fee brings at once for the progress made (0..1), when the old fee's share is billed.

    What the old fee's share still lacks of `billed` is due besides, by the ordinary rule, and is no catch-up.

    >>> fee_catch_up(Decimal(80000), Decimal(92000), Decimal("0.6"), Decimal(48000), "EUR")
    Decimal('7200.00')
    """
    due = round_money(new_fee * progress, currency) - billed
    ordinary = round_money(old_fee * progress, currency) - billed
    return due - ordinary
