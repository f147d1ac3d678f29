"""What one lent hour costs the borrower, and what both earn on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from trueup.kernel.money import from_units, round_units, to_units


@dataclass(frozen=True, slots=True)
class Rule:
    """A transfer price: cost_plus and share take 0.1 for 10 %, fixed an amount per hour in the lender's currency."""

    kind: str
    value: Decimal
    valid_from: date


@dataclass(frozen=True, slots=True)
class Transfer:
    """The charge between two entities, in both currencies, with both margins."""

    amount: Decimal
    amount_borrower: Decimal
    cost: Decimal
    lender_margin: Decimal
    borrower_margin: Decimal


def rule_of(rules: Sequence[Rule], on: date) -> Rule | None:
    """Return the rule of a pair of entities on a day: the one that began last."""
    return max((rule for rule in rules if rule.valid_from <= on), key=lambda rule: rule.valid_from, default=None)


def transfer(
    minutes: int, cost_rate: Decimal, client_amount: Decimal, rule: Rule, fx: Decimal, lender: str, borrower: str
) -> Transfer:
    """Price lent time, every amount rounded once.

    fx                borrower's currency for one of the lender's; 1 where they are the same
    lender, borrower  ISO 4217

    >>> found = transfer(
    ...     600, Decimal(80), Decimal(2000), Rule("cost_plus", Decimal("0.1"), date(2026, 1, 1)), Decimal("1.17"), "GBP", "EUR"
    ... )
    >>> found.amount, found.amount_borrower, found.borrower_margin
    (Decimal('880.00'), Decimal('1029.60'), Decimal('970.40'))
    """
    hours = Fraction(minutes, 60)
    exact = {
        "cost_plus": hours * Fraction(cost_rate) * (1 + Fraction(rule.value)),
        "share": Fraction(client_amount) * Fraction(rule.value) / Fraction(fx),
        "fixed": hours * Fraction(rule.value),
    }[rule.kind]
    amount, cost = _cents(exact, lender), _cents(hours * Fraction(cost_rate), lender)
    other = _cents(Fraction(amount) * Fraction(fx), borrower)
    return Transfer(amount, other, cost, amount - cost, client_amount - other)


def _cents(exact: Fraction, currency: str) -> Decimal:
    one = to_units(Decimal(1), currency)
    return from_units(round_units(exact.numerator * one, exact.denominator, currency), currency)


def postings(found: Transfer, client_amount: Decimal) -> tuple[list[tuple[str, Decimal, Decimal]], ...]:
    """Return the lender's and the borrower's lines: account, debit, credit."""
    nought = Decimal(0)
    lender = [("1190", found.amount, nought), ("4900", nought, found.amount)]
    borrower = [
        ("1150", client_amount, nought), ("4000", nought, client_amount),
        ("5200", found.amount_borrower, nought), ("2150", nought, found.amount_borrower),
    ]  # fmt: skip
    return lender, borrower
