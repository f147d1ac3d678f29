"""Advances drawn down over invoices, one after the other over `Decimal`."""

from collections.abc import Sequence
from decimal import Decimal

from trueup.kernel.money import round_money


def apply_advances(
    advances: Sequence[tuple[Decimal, Decimal]], invoices: Sequence[Decimal], currency: str
) -> list[tuple[int, int, Decimal, Decimal]]:
    """Set advances (gross, VAT within) off against invoices (gross).

    Returns   (advance, invoice, applied, VAT of the advance within it), by position, nought left out
    """
    left, used = [gross for gross, _ in advances], []
    taken_tax = [Decimal(0)] * len(advances)
    for invoice, owed in enumerate(invoices):
        for advance, (gross, tax) in enumerate(advances):
            applied = min(owed, left[advance])
            if applied > 0:
                owed -= applied
                left[advance] -= applied
                upto = round_money(tax * (gross - left[advance]) / gross, currency)
                used.append((advance, invoice, applied, upto - taken_tax[advance]))
                taken_tax[advance] = upto
    return sorted(used)


def draw_down(
    advances: Sequence[tuple[Decimal, Decimal]], invoices: Sequence[tuple[Decimal, Decimal]], currency: str
) -> list[tuple[Decimal, Decimal, Decimal, Decimal, Decimal]]:
    """Return of each invoice (gross, VAT): applied, VAT deducted, due, VAT due with it, left of all advances."""
    used = apply_advances(advances, [gross for gross, _ in invoices], currency)
    left, rows = sum((gross for gross, _ in advances), Decimal(0)), []
    for number, (gross, tax) in enumerate(invoices):
        mine = [(applied, of_tax) for _, invoice, applied, of_tax in used if invoice == number]
        applied = sum((one for one, _ in mine), Decimal(0))
        deducted = sum((one for _, one in mine), Decimal(0))
        left -= applied
        rows.append((applied, deducted, gross - applied, tax - deducted, left))
    return rows
