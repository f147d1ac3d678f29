"""The arithmetic of EN 16931 to the last digit: what every amount of an invoice must be, and which one is not.

The official rules let a tax amount differ by less than 1.00 (BR-CO-17), so a document that passes them may still be
wrong by cents. Here nothing may differ: each amount is rounded once, to the currency's minor unit, half away from
zero, and totals are only added up.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, localcontext

from trueup.documents.findings import Finding
from trueup.documents.invoice import UNTAXED, Adjustment, EInvoice, Line, Tax, Totals
from trueup.kernel.money import minor_digits, round_money

ZERO = Decimal(0)
DIGITS = 60
"""Significant digits of intermediate results: longer than any product of two amounts that a document may state."""

Group = tuple[str, Decimal | None]
"""Category and rate."""


def line_net(line: Line, currency: str) -> Decimal:
    """Return what BT-131 must be: quantity x price / price quantity, rounded once, less allowances, plus charges.

    Raises    ZeroDivisionError for a price for no units.
    """
    with localcontext(prec=DIGITS):
        exact = line.quantity * line.price / (Decimal(1) if line.price_quantity is None else line.price_quantity)
        return round_money(exact, currency) + signed(line.adjustments)


def signed(adjustments: Sequence[Adjustment]) -> Decimal:
    """Return the sum of charges less allowances."""
    return sum((one.amount if one.charge else -one.amount for one in adjustments), ZERO)


def tax_amount(base: Decimal, rate: Decimal | None, currency: str) -> Decimal:
    """Return the tax on a base, rounded once.

    rate  percent; None is none

    >>> tax_amount(Decimal("3986.34"), Decimal(19), "EUR"), tax_amount(Decimal("-6491.34"), Decimal(25), "EUR")
    (Decimal('757.40'), Decimal('-1622.84'))
    """
    with localcontext(prec=DIGITS):
        return round_money(base * (rate or ZERO) / 100, currency)


def group_of(category: str | None, rate: Decimal | None) -> Group:
    """Return the row of the tax breakdown something belongs to; categories without tax have one row each.

    >>> group_of("S", Decimal("19.00")) == group_of("S", Decimal("19")), group_of("AE", None)
    (True, ('AE', None))
    """
    if category in UNTAXED and not rate:
        return category or "", None
    return category or "", rate


def bases(lines: Sequence[Line], adjustments: Sequence[Adjustment]) -> dict[Group, Decimal]:
    """Return the taxable base of every category and rate (BT-116), in the order they are met."""
    found: dict[Group, Decimal] = {}
    for line in lines:
        group = group_of(line.category, line.rate)
        found[group] = found.get(group, ZERO) + line.net
    for one in adjustments:
        group = group_of(one.category, one.rate)
        found[group] = found.get(group, ZERO) + (one.amount if one.charge else -one.amount)
    return found


def breakdown(
    lines: Sequence[Line],
    adjustments: Sequence[Adjustment],
    currency: str,
    reasons: Mapping[str, tuple[str | None, str | None]],
) -> tuple[Tax, ...]:
    """Return the tax breakdown of lines and document-level adjustments: one rounding for each category and rate.

    reasons  category -> reason and VATEX code, for categories that have one
    """
    rates = {group_of(one.category, one.rate): one.rate for one in adjustments}
    rates |= {group_of(one.category, one.rate): one.rate for one in lines}
    return tuple(
        Tax(
            category,
            rates[category, rate],
            base,
            tax_amount(base, rate, currency),
            *reasons.get(category, (None, None)),
        )
        for (category, rate), base in bases(lines, adjustments).items()
    )


def totals(
    lines: Sequence[Line],
    adjustments: Sequence[Adjustment],
    taxes: Sequence[Tax],
    *,
    prepaid: Decimal | None = None,
    rounding: Decimal | None = None,
) -> Totals:
    """Add everything up; nothing is rounded here any more."""
    of_lines = sum((line.net for line in lines), ZERO)
    allowances = [one.amount for one in adjustments if not one.charge]
    charges = [one.amount for one in adjustments if one.charge]
    net = of_lines + signed(adjustments)
    tax = sum((one.amount for one in taxes), ZERO)
    return Totals(
        lines=of_lines,
        allowances=sum(allowances, ZERO) if allowances else None,
        charges=sum(charges, ZERO) if charges else None,
        net=net,
        tax=tax,
        gross=net + tax,
        prepaid=prepaid,
        rounding=rounding,
        due=net + tax - (prepaid or ZERO) + (rounding or ZERO),
    )


def cash_rounding(amount: Decimal, step: Decimal, currency: str) -> Decimal:
    """Return what BT-114 must be so that the amount to pay is a multiple of the smallest coin.

    >>> cash_rounding(Decimal("1234.53"), Decimal("0.05"), "CHF")
    Decimal('0.02')
    """
    with localcontext(prec=DIGITS):
        steps = round_money(amount / step, "JPY")  # a currency without digits: a whole number, half away from zero
        return round_money(steps * step - amount, currency)


def recompute(invoice: EInvoice) -> tuple[Finding, ...]:
    """Work out every amount anew and return those that differ, however little.

    Every amount is judged by the amounts stated below it, so that one wrong cent is named where it stands.
    """
    with localcontext(prec=DIGITS):
        return (
            *_digits(invoice),
            *_lines(invoice),
            *_adjustments("document", invoice.adjustments, invoice.currency),
            *_taxes(invoice),
            *_totals(invoice),
        )


def _differs(term: str, name: str, stated: Decimal | None, exact: Decimal, where: str = "") -> Iterator[Finding]:
    """Yield a finding when an amount is not what it must be; an amount that is not stated stands for nothing."""
    said = ZERO if stated is None else stated
    if said == exact:
        return
    place = f" of {where}" if where else ""
    sentence = f"{name}{place} is {plain(said)}, it must be {plain(exact)}"
    yield Finding("error", f"EXACT-{term}", sentence, term, where or None, said, exact, said - exact)


def plain(amount: Decimal) -> str:
    """Write a decimal without exponent."""
    return format(amount, "f")


def _digits(invoice: EInvoice) -> Iterator[Finding]:
    """Yield amounts with more digits than the currency has."""
    total = invoice.totals
    stated = [
        ("BT-106", total.lines), ("BT-107", total.allowances), ("BT-108", total.charges), ("BT-109", total.net),
        ("BT-110", total.tax), ("BT-112", total.gross), ("BT-113", total.prepaid), ("BT-114", total.rounding),
        ("BT-115", total.due),
        *(("BT-116", tax.base) for tax in invoice.taxes), *(("BT-117", tax.amount) for tax in invoice.taxes),
        *(("BT-131", line.net) for line in invoice.lines),
    ]  # fmt: skip
    for term, amount in stated:
        if amount is not None and round_money(amount, invoice.currency) != amount:
            digits = minor_digits(invoice.currency)
            yield Finding(
                "error", f"DIGITS-{term}", f"{plain(amount)} has more than {digits} decimals of {invoice.currency}", term,
                None, amount, round_money(amount, invoice.currency), amount - round_money(amount, invoice.currency),
            )  # fmt: skip


def _lines(invoice: EInvoice) -> Iterator[Finding]:
    for line in invoice.lines:
        where = f"line {line.key}"
        if line.price_quantity is not None and line.price_quantity <= 0:
            sentence = f"the price of {where} is for {plain(line.price_quantity)} units"
            yield Finding("error", "EXACT-BT-149", sentence, "BT-149", where, line.price_quantity)
            continue
        yield from _differs("BT-131", "the net amount", line.net, line_net(line, invoice.currency), where)
        yield from _adjustments(where, line.adjustments, invoice.currency)


def _adjustments(where: str, adjustments: Sequence[Adjustment], currency: str) -> Iterator[Finding]:
    on_line = where != "document"
    for one in adjustments:
        if one.base is not None and one.percent is not None:
            exact = tax_amount(one.base, one.percent, currency)
            allowance, charge = ("BT-136", "BT-141") if on_line else ("BT-92", "BT-99")
            kind = "charge" if one.charge else "allowance"
            named = f"the {kind} {one.reason}" if one.reason else f"the {kind}"
            yield from _differs(charge if one.charge else allowance, named, one.amount, exact, where)


def _taxes(invoice: EInvoice) -> Iterator[Finding]:
    """Yield what is wrong with the breakdown: rows missing, doubled or too many, bases, amounts."""
    wanted = bases(invoice.lines, invoice.adjustments)
    seen: set[Group] = set()
    for tax in invoice.taxes:
        group = group_of(tax.category, tax.rate)
        where = _named(group)
        if group in seen:
            yield Finding("error", "EXACT-BG-23", f"the tax of {where} is broken down twice", "BG-23", where, tax.base)
            continue
        seen.add(group)
        if invoice.lines:
            yield from _differs("BT-116", "the taxable amount", tax.base, wanted.get(group, ZERO), where)
        yield from _differs("BT-117", "the tax", tax.amount, tax_amount(tax.base, tax.rate, invoice.currency), where)
    for group, base in wanted.items():
        if group not in seen:
            sentence = f"lines of {_named(group)} for {plain(base)} have no row in the tax breakdown"
            yield Finding("error", "EXACT-BG-23", sentence, "BG-23", _named(group), None, base)


def _named(group: Group) -> str:
    category, rate = group
    return f"category {category}" + (f" at {plain(rate.normalize())} %" if rate is not None else "")


def _totals(invoice: EInvoice) -> Iterator[Finding]:
    said, adjustments = invoice.totals, invoice.adjustments
    if invoice.lines:
        lines = sum((line.net for line in invoice.lines), ZERO)
        yield from _differs("BT-106", "the sum of the lines", said.lines, lines)
        allowances = sum((one.amount for one in adjustments if not one.charge), ZERO)
        yield from _differs("BT-107", "the sum of the allowances", said.allowances, allowances)
        charges = sum((one.amount for one in adjustments if one.charge), ZERO)
        yield from _differs("BT-108", "the sum of the charges", said.charges, charges)
        net = said.lines - (said.allowances or ZERO) + (said.charges or ZERO)
        yield from _differs("BT-109", "the total without tax", said.net, net)
    if invoice.taxes:
        yield from _differs("BT-110", "the tax", said.tax, sum((tax.amount for tax in invoice.taxes), ZERO))
    yield from _differs("BT-112", "the total with tax", said.gross, said.net + (said.tax or ZERO))
    due = said.gross - (said.prepaid or ZERO) + (said.rounding or ZERO)
    yield from _differs("BT-115", "the amount to pay", said.due, due)
