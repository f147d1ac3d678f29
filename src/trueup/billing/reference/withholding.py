"""What a customer withholds from one invoice."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from trueup.kernel.money import round_money


@dataclass(frozen=True, slots=True)
class Term:
    """Who withholds how much: rate 0.1 is 10 % of the base, net or gross; bill_to None is every customer."""

    bill_to: str | None
    rate: Decimal
    base: str
    valid_from: date


def term_of(terms: Sequence[Term], bill_to: str, on: date) -> Term | None:
    """Return the term that applies on a day: the customer's own before the general one, the latest first."""
    fitting = [term for term in terms if term.bill_to in (None, bill_to) and term.valid_from <= on]
    own = [term for term in fitting if term.bill_to is not None] or fitting
    return max(own, key=lambda term: (term.valid_from, term.rate, term.base), default=None)


def withheld(net: Decimal, tax: Decimal, term: Term | None, currency: str) -> tuple[Decimal, Decimal]:
    """Return what is withheld and what is received.

    >>> withheld(Decimal("100000.00"), Decimal("18000.00"), Term(None, Decimal("0.1"), "net", date(2026, 1, 1)), "INR")
    (Decimal('10000.00'), Decimal('108000.00'))
    """
    if term is None:
        return Decimal("0.00"), net + tax
    kept = round_money((net + tax if term.base == "gross" else net) * term.rate, currency)
    return kept, net + tax - kept
