"""Exact money: one arithmetic for the whole house.

Objects and the wire hold `Decimal` in major units with an ISO 4217 code. SQL and the vectorised path hold *units*:
integers of minor units x 10^4, so that a rate with four more digits than the currency still fits exactly.
Rounding is half away from zero, so that a credit mirrors its invoice (EN 16931, BR-CO-17).
"""

from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

from babel.core import get_global

UNIT_DIGITS = 4
"""Digits kept below the minor unit: a unit is 10^-4 of a cent."""

_FRACTIONS = get_global("currency_fractions")
_NO_MONEY = {"XXX", "XTS"}
"""Codes of ISO 4217 that are no money: `no currency is involved`, and `reserved for tests`."""
_KNOWN: frozenset[str] = frozenset(get_global("all_currencies")) - _NO_MONEY
# CLDR counts the digits that tills use; in these countries they leave out the subunit that ISO 4217 and ledgers keep.
_ISO = dict.fromkeys(["AFN", "ALL", "IRR", "KPW", "LAK", "LBP", "MGA", "MMK", "RSD", "SOS", "SYP", "YER"], 2) | {
    "IQD": 3
}


def known_currency(code: str) -> bool:
    """Say whether the code is an ISO 4217 alphabetic code that CLDR lists, and of money."""
    return code in _KNOWN


def minor_digits(currency: str) -> int:
    """Return the digits of the currency's minor unit: 2 for EUR, 0 for JPY, 3 for KWD.

    Source    ISO 4217 minor units, through CLDR where that counts the same.

    >>> minor_digits("EUR"), minor_digits("JPY"), minor_digits("KWD")
    (2, 0, 3)
    """
    if currency in _ISO:
        return _ISO[currency]
    digits = _FRACTIONS.get(currency, _FRACTIONS["DEFAULT"])
    return int(digits[0])


def round_money(amount: Decimal, currency: str) -> Decimal:
    """Round to the currency's minor unit, half away from zero.

    >>> round_money(Decimal("-1622.835"), "EUR")
    Decimal('-1622.84')
    """
    return amount.quantize(Decimal(1).scaleb(-minor_digits(currency)), ROUND_HALF_UP)


def to_units(amount: Decimal, currency: str) -> int:
    """Turn a major-unit amount into units (minor units x 10^4), exactly.

    Raises    ValueError when the amount has more digits than units can hold.

    >>> to_units(Decimal("12.34"), "EUR")
    12340000
    """
    if not amount.is_finite():
        raise ValueError(f"{amount} is no amount")
    # Not `scaleb`: it rounds to 28 digits, and what is lost there would pass for exact.
    numerator, denominator = amount.as_integer_ratio()
    scale: int = 10 ** (minor_digits(currency) + UNIT_DIGITS)
    whole, rest = divmod(numerator * scale, denominator)
    if rest:
        raise ValueError(f"{amount} {currency} has more digits than can be kept exactly")
    return whole


def from_units(units: int, currency: str) -> Decimal:
    """Turn units into a major-unit amount with at least the currency's minor digits.

    >>> from_units(12340000, "EUR"), from_units(50000, "JPY")
    (Decimal('12.34'), Decimal('5'))
    """
    digits = minor_digits(currency)
    amount = Decimal(units).scaleb(-(digits + UNIT_DIGITS))
    cent = Decimal(1).scaleb(-digits)
    rounded = amount.quantize(cent)
    return rounded if rounded == amount else amount.normalize()


def split(total: Decimal, weights: Sequence[int | Decimal], currency: str) -> list[Decimal]:
    """Share out by weight so that the parts add up to the whole, to the minor unit.

    Largest remainder; a tie goes to the lowest index.

    >>> split(Decimal("100.00"), [1, 1, 1], "EUR")
    [Decimal('33.34'), Decimal('33.33'), Decimal('33.33')]
    """
    whole = sum(Decimal(weight) for weight in weights)
    if whole <= 0:
        raise ValueError("weights must add up to more than zero")
    cent = Decimal(1).scaleb(-minor_digits(currency))
    exact = [total * Decimal(weight) / whole for weight in weights]
    parts = [share.quantize(cent, ROUND_DOWN) for share in exact]
    missing = int((total - sum(parts)) / cent)
    by_remainder = sorted(range(len(parts)), key=lambda i: (-abs(exact[i] - parts[i]), i))
    for i in by_remainder[: abs(missing)]:
        parts[i] += cent if missing > 0 else -cent
    return parts


def round_units(numerator: int, denominator: int, currency: str) -> int:
    """Divide units exactly and round to the minor unit, half away from zero.

    The vectorised path does the same in Int128; a property test keeps the two equal.

    >>> round_units(1_655_000_000 * 2, 60 * 2, "EUR")
    27580000
    """
    step: int = 10**UNIT_DIGITS
    scale = denominator * step
    magnitude = (abs(numerator) * 2 + scale) // (2 * scale) * step
    return magnitude if numerator >= 0 else -magnitude
