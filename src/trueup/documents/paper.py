"""The invoice on paper: a PDF/A by Typst, with the entity's own template where the workspace has one.

The template gets everything as text, formatted here, and only arranges it; it never calculates.
Fonts are those inside the typst wheel, so the same invoice gives the same bytes on every machine.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.resources import files
from typing import Any, Literal

from trueup.documents.arithmetic import signed
from trueup.documents.invoice import CATEGORIES, Address, EInvoice, Line, Party
from trueup.kernel.errors import Refused
from trueup.kernel.money import round_money

STANDARD: Literal["a-3b"] = "a-3b"
"""PDF/A-3b: archivable, and may carry the e-invoice."""

UNITS = {"HUR": "h", "MIN": "min", "C62": ""}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the annex: what was done, by whom, when.

    line     number of the invoice line (BT-126)
    minutes  None where it is not about time
    amount   as it stands in the line; rows of a line add up to it
    """

    line: str
    day: date
    person: str
    task: str
    minutes: int | None
    amount: Decimal


def our_template() -> str:
    """Return the template that ships with the house."""
    return files("trueup.documents").joinpath("templates", "invoice.typ").read_text("utf-8")


def pdf(invoice: EInvoice, entries: Sequence[Entry] = (), *, draft: bool = False, template: str | None = None) -> bytes:
    """Return the invoice as PDF/A-3b.

    draft     mark every page: it is not posted, and not to be paid
    template  Typst text of the firm's own, which stands alone; ours when None
    Raises    Refused when the template cannot be set, with what Typst says.
    """
    import typst

    source = our_template() if template is None else template
    given = {"invoice": json.dumps(values(invoice, entries, draft=draft), ensure_ascii=False, sort_keys=True)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about a firm's own template; it is shown by Typst's own tools
        try:
            made: Any = typst.Compiler(
                source.encode(),
                ignore_system_fonts=True,
                sys_inputs=given,
            ).compile(
                format="pdf",
                pdf_standards=[STANDARD],
                timestamp=int(datetime.combine(invoice.issued_on, time(), UTC).timestamp()),
            )
        except RuntimeError as wrong:
            where = "our template" if template is None else "templates/invoice.typ"
            raise Refused(f"{where} cannot be set: {wrong}", "template") from wrong
    if not isinstance(made, bytes):
        raise Refused("the template makes no PDF", "template")
    return made


def values(invoice: EInvoice, entries: Sequence[Entry], *, draft: bool = False) -> dict[str, Any]:
    """Return everything a template may show, as text; amounts have thousands separators."""
    money, total = _money(invoice.currency), invoice.totals
    payment = invoice.payment
    rows = [("Net", total.net)]
    rows += [(_tax_name(tax.category, tax.rate), tax.amount) for tax in invoice.taxes]
    rows += [("Total", total.gross)]
    rows += [("Paid before", -total.prepaid)] if total.prepaid else []
    rows += [("Rounding", total.rounding)] if total.rounding else []
    named = {line.key: line.name for line in invoice.lines}
    return {
        "kind": "Credit note" if invoice.credit else "Invoice",
        "draft": draft,
        "number": invoice.number,
        "currency": invoice.currency,
        "seller": _party(invoice.seller),
        "buyer": _party(invoice.buyer),
        "facts": [
            [name, value]
            for name, value in (
                ("Draft" if draft else "Number", invoice.number),
                ("Date", _day(invoice.issued_on)),
                ("Due", _day(invoice.due_on)),
                ("Service period", _span(invoice.starts_on, invoice.ends_on)),
                ("Your reference", invoice.buyer_reference),
                ("Order", invoice.order),
                ("Contract", invoice.contract),
                ("Project", invoice.project),
                ("Corrects invoice", ", ".join(one.number for one in invoice.preceding)),
            )
            if value
        ],
        "lines": [_line(line, money) for line in invoice.lines],
        "adjustments": [
            [one.reason or ("Charge" if one.charge else "Allowance"), money(one.amount if one.charge else -one.amount)]
            for one in invoice.adjustments
        ],
        "totals": [[name, money(amount)] for name, amount in rows if amount is not None],
        "due": ["To be credited" if invoice.credit else "To pay", money(total.due)],
        "reasons": [tax.reason for tax in invoice.taxes if tax.reason],
        "notes": [note for note in invoice.notes if note not in {tax.reason for tax in invoice.taxes}],
        "terms": invoice.terms or "",
        "payment": [
            [name, value]
            for name, value in (
                ("IBAN", payment.account),
                ("BIC", payment.bank),
                ("Account holder", payment.account_name),
                ("Reference", payment.reference),
            )
            if value
        ]
        if payment and not draft
        else [],
        "annex": _annex(entries, named, money),
    }


def _money(currency: str) -> Any:
    def text(amount: Decimal) -> str:
        rounded = round_money(amount, currency)
        return f"{rounded if rounded == amount else amount:,f}"

    return text


def _day(day: date | None) -> str:
    return day.isoformat() if day else ""


def _span(starts_on: date | None, ends_on: date | None) -> str:
    return " to ".join(day.isoformat() for day in dict.fromkeys((starts_on, ends_on)) if day)


def _tax_name(category: str, rate: Decimal | None) -> str:
    share = f" {rate.normalize():f} %" if rate else ""
    return f"VAT{share}" + (f" ({CATEGORIES.get(category, category)})" if category != "S" else "")


def _party(party: Party) -> dict[str, Any]:
    contact = party.contact
    return {
        "name": party.name,
        "address": _address(party.address),
        "facts": [
            [name, value]
            for name, value in (
                ("VAT id", party.vat_id),
                ("Tax number", party.tax_number),
                ("Registered", party.registration.value if party.registration else None),
                ("Contact", contact.name if contact else None),
                ("Phone", contact.phone if contact else None),
                ("E-mail", contact.email if contact else None),
            )
            if value
        ],
    }


def _address(address: Address) -> list[str]:
    place = " ".join(part for part in (address.post_code, address.city) if part)
    return [part for part in (address.street, address.more, place, address.region, address.country) if part]


def _line(line: Line, money: Any) -> dict[str, Any]:
    unit = UNITS.get(line.unit, line.unit)
    per = f" / {line.price_quantity.normalize():f} {unit}" if line.price_quantity else f" / {unit}" if unit else ""
    return {
        "key": line.key,
        "name": line.name,
        "detail": [part for part in (line.description, line.note, _span(line.starts_on, line.ends_on)) if part],
        "quantity": f"{line.quantity.normalize():,f} {unit}".strip(),
        "price": f"{money(line.price)}{per}",
        "net": money(line.net),
        "adjustments": [
            [one.reason or "", money(one.amount if one.charge else -one.amount)] for one in line.adjustments
        ]
        if signed(line.adjustments)
        else [],
    }


def _annex(entries: Sequence[Entry], named: dict[str, str], money: Any) -> list[dict[str, Any]]:
    """Return the entries by line, each group with its sum."""
    groups = []
    for key, name in named.items():
        rows = [one for one in entries if one.line == key]
        if not rows:
            continue
        minutes = [one.minutes for one in rows if one.minutes is not None]
        groups.append(
            {
                "line": key,
                "name": name,
                "rows": [
                    [one.day.isoformat(), one.person, one.task, _hours(one.minutes), money(one.amount)] for one in rows
                ],
                "hours": _hours(sum(minutes)) if minutes else "",
                "amount": money(sum((one.amount for one in rows), Decimal(0))),
            }
        )
    return groups


def _hours(minutes: int | None) -> str:
    """Write minutes as hours and minutes, exact: 7:20."""
    if minutes is None:
        return ""
    return f"{'-' if minutes < 0 else ''}{abs(minutes) // 60}:{abs(minutes) % 60:02d}"
