"""Turns an invoice as we hold it into an EN 16931 invoice, or says everything that is missing for one.

Our figures are never changed to fit: a line whose amount is a sum of entries that were rounded one by one keeps its
amount and states the cents as an allowance or charge, so that every line of the document can be worked out again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from trueup.documents.arithmetic import ZERO, breakdown, cash_rounding, line_net, plain, totals
from trueup.documents.invoice import (
    CREDIT,
    INVOICE,
    Address,
    Adjustment,
    Contact,
    EInvoice,
    Identifier,
    Line,
    Party,
    Payment,
    Preceding,
    Tax,
)
from trueup.documents.xml import clean
from trueup.kernel.errors import Refused
from trueup.kernel.money import minor_digits
from trueup.model.customer import Customer
from trueup.model.invoice import Invoice, InvoiceLine

HOUR, MINUTE, PIECE = "HUR", "MIN", "C62"
"""UN/ECE recommendation 20."""

TRANSFER, SEPA_TRANSFER = "30", "58"
"""UNTDID 4461."""

TREATED: Mapping[str, str] = {
    "reverse_charge": "AE",
    "outside_scope": "O",
    "export": "G",
    "intra_community": "K",
    "exempt": "E",
    "zero_rated": "Z",
}
"""Tax treatment -> category; what begins with `domestic` follows its rate, sales tax is charged."""

REASONS: dict[str, tuple[str, str | None]] = {
    "AE": ("Reverse charge: the customer accounts for the VAT", "VATEX-EU-AE"),
    "O": ("Not subject to VAT", "VATEX-EU-O"),
    "G": ("Export outside the EU", "VATEX-EU-G"),
    "K": ("Intra-community supply", "VATEX-EU-IC"),
    "E": ("Exempt from VAT", None),
}
"""Category -> reason and VATEX code. Which article exempts is for the firm to say, in its letterhead's note."""

WITHOUT_VAT = frozenset({"US"})
"""Countries whose untaxed sales are outside VAT instead of at its zero rate."""

ROUNDED = "Rounding of single entries"
ADJUSTED = "Adjustment of the line"
UNSENT = frozenset({"draft", "submitted"})


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What a legal entity's documents say of it: `entities/CODE.yaml`, `letterhead`.

    name          as registered
    country       ISO 3166 alpha-2
    registration  number in the register of companies, and `registration_scheme` its ISO 6523 code, if any
    endpoint      electronic address, with its scheme (EAS); the e-mail address when there is none
    cash_step     smallest coin the amount to pay is rounded to, in major units, for example 0.05; None does not round
    note          printed on every document
    """

    code: str
    name: str
    country: str
    street: str | None = None
    more: str | None = None
    city: str | None = None
    post_code: str | None = None
    region: str | None = None
    vat_id: str | None = None
    tax_number: str | None = None
    registration: str | None = None
    registration_scheme: str | None = None
    legal_form: str | None = None
    contact: str | None = None
    phone: str | None = None
    email: str | None = None
    endpoint: str | None = None
    endpoint_scheme: str | None = None
    iban: str | None = None
    bic: str | None = None
    bank: str | None = None
    cash_step: Decimal | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around an invoice and is no part of it.

    contract   our code of the contract; project likewise
    corrects   number and day of the invoice a credit takes back
    treatment  tax treatment and rate (a share) of the invoice a credit corrects, where the credit states none
    starts_on  first and, `ends_on`, last day of service
    entries    line key -> how many charges its amount is the sum of
    prepaid    what was paid before, tax included
    """

    contract: str | None = None
    project: str | None = None
    order: str | None = None
    corrects: Preceding | None = None
    treatment: tuple[str | None, Decimal | None] = (None, None)
    starts_on: date | None = None
    ends_on: date | None = None
    entries: Mapping[str, int] = field(default_factory=dict)
    prepaid: Decimal | None = None


def issue(invoice: Invoice, customer: Customer, seller: Letterhead, around: Around | None = None) -> EInvoice:
    """Return the invoice in the standard's terms; a draft is called by our code instead of a number.

    Raises    Refused, with everything that is missing or does not come out, in one sentence each.
    """
    around = around or Around()
    treatment = invoice.tax_treatment or around.treatment[0]
    share = invoice.tax_rate if invoice.tax_rate is not None else around.treatment[1]
    wrong: list[str] = []
    category = category_of(treatment, share or ZERO, seller.country)
    if category is None:
        wrong.append(
            f"the tax treatment {treatment!r} has no category in EN 16931" if treatment else "it has no tax treatment"
        )
    kept = category or "S"
    rate = None if kept == "O" else (share or ZERO) * 100
    wrong += _missing(seller, customer, kept)
    if not invoice.lines:
        wrong.append("it has no lines")
    lines = tuple(
        _line(one, place, kept, rate, invoice.currency, around.entries.get(one.key, 1))
        for place, one in enumerate(invoice.lines, start=1)
    )
    credit = invoice.invoice_type == "credit"
    taxes = _taxes(lines, invoice, credit)
    gross = sum((line.net for line in lines), ZERO) + sum((tax.amount for tax in taxes), ZERO)
    due = gross - (around.prepaid or ZERO)
    rounding = cash_rounding(due, seller.cash_step, invoice.currency) if seller.cash_step else None
    summed = totals(lines, (), taxes, prepaid=around.prepaid, rounding=rounding or None)
    for name, ours, stated in (
        ("net", summed.net, invoice.net), ("tax", summed.tax or ZERO, invoice.tax), ("total", summed.gross, invoice.gross)
    ):  # fmt: skip
        if ours != stated:
            wrong.append(f"the books say {plain(stated)} {invoice.currency} {name}, its lines make {plain(ours)}")
    if wrong:
        raise Refused(
            f"no document can be made of {invoice.number or invoice.code}: {'; '.join(wrong)}", "document_incomplete"
        )
    return EInvoice(
        number=invoice.number or invoice.code,
        type_code=CREDIT if credit else INVOICE,
        issued_on=invoice.invoice_date,
        due_on=None if credit else invoice.due_on,
        currency=invoice.currency,
        buyer_reference=customer.customer_number,
        project=around.project,
        contract=around.contract,
        order=around.order,
        terms=_terms(customer, around, credit),
        notes=_notes(kept, seller),
        preceding=(around.corrects,) if around.corrects else (),
        starts_on=around.starts_on,
        ends_on=around.ends_on,
        delivered_on=around.ends_on,
        delivered_to=customer.country if kept == "K" else None,
        seller=_seller(seller, kept),
        buyer=_buyer(customer, kept),
        payment=None if credit else _payment(invoice, seller),
        lines=lines,
        taxes=taxes,
        totals=summed,
    )


def category_of(treatment: str | None, share: Decimal, country: str) -> str | None:
    """Return the category of a tax treatment (UNCL 5305), or None when it has none.

    share    rate as a share of the net
    country  the seller's

    >>> category_of("domestic_de", Decimal("0.19"), "DE"), category_of("domestic_us", Decimal(0), "US")
    ('S', 'O')
    """
    if treatment is None:
        return None
    if treatment.startswith("domestic"):
        if share:
            return "S"
        return "O" if country in WITHOUT_VAT else "Z"
    if treatment.startswith("sales_tax"):
        return "S"
    return TREATED.get(treatment)


def _missing(seller: Letterhead, customer: Customer, category: str) -> list[str]:
    """Return what the letterhead and the customer lack."""
    needed = {"street": seller.street, "city": seller.city, "post_code": seller.post_code}
    if category in ("AE", "K", "G"):
        needed["vat_id"] = seller.vat_id
    elif category != "O":
        needed["vat_id or tax_number"] = seller.vat_id or seller.tax_number
    lacking = [name for name, value in needed.items() if not value]
    found = [f"entities/{seller.code}.yaml lacks letterhead: {', '.join(lacking)}"] if lacking else []
    if category in ("AE", "K") and vat_id(customer.tax_id) is None:
        found.append(f"the customer {customer.name} has no VAT id with its country in front")
    return found


def vat_id(text: str | None) -> str | None:
    """Return a VAT identifier without spaces, or None when it does not begin with a country (BR-CO-09).

    >>> vat_id("fr 12 345678901"), vat_id("12-3456789")
    ('FR12345678901', None)
    """
    plainly = (text or "").replace(" ", "").upper()
    return plainly if plainly[:2].isalpha() and len(plainly) > 4 else None


def _line(
    one: InvoiceLine, place: int, category: str, rate: Decimal | None, currency: str, entries: int
) -> Line:  # fmt: skip
    quantity, unit, price, per = _priced(one)
    line = Line(
        key=str(place),
        name=clean(one.description) or "Services",
        quantity=quantity,
        unit=unit,
        price=price,
        price_quantity=per,
        net=one.net,
        category=category,
        rate=rate,
    )
    missing = one.net - line_net(line, currency)
    if not missing:
        return line
    half = Decimal(5).scaleb(-minor_digits(currency) - 1)
    reason = ROUNDED if abs(missing) <= half * (entries + 1) else ADJUSTED
    return Line(
        key=line.key,
        name=line.name,
        quantity=quantity,
        unit=unit,
        price=price,
        price_quantity=per,
        net=one.net,
        category=category,
        rate=rate,
        adjustments=(Adjustment(missing > 0, abs(missing), reason),),
    )


def _priced(one: InvoiceLine) -> tuple[Decimal, str, Decimal, Decimal | None]:
    """Return quantity, unit, price and the quantity the price is for; the price is never below zero (BR-27).

    Hours that are no whole ten-thousandths are written as the minutes they are, priced per sixty.
    """
    quantity, unit, per = one.quantity, PIECE, None
    if one.unit == "hour":
        minutes = (quantity * 60).quantize(Decimal(1))
        hours = (minutes / 60).quantize(Decimal("0.0001"))
        if hours * 60 == minutes:
            quantity, unit = hours, HOUR
        else:
            quantity, unit, per = minutes, MINUTE, Decimal(60)
    if one.rate is None or not quantity:
        # Several prices in one line: what it costs is for all of it.
        if quantity and (quantity > 0) == (one.net >= 0):
            return quantity, unit, abs(one.net), abs(quantity)
        return Decimal(-1 if one.net < 0 else 1), PIECE, abs(one.net), None
    return (quantity, unit, one.rate, per) if one.rate >= 0 else (-quantity, unit, -one.rate, per)


def _taxes(lines: Sequence[Line], invoice: Invoice, credit: bool) -> tuple[Tax, ...]:
    """Return the breakdown; the last credit of an invoice takes the cent of tax that is left over (S20)."""
    worked_out = breakdown(lines, (), invoice.currency, REASONS)
    cent = Decimal(1).scaleb(-minor_digits(invoice.currency))
    if credit and len(worked_out) == 1 and abs(worked_out[0].amount - invoice.tax) == cent:
        one = worked_out[0]
        return (Tax(one.category, one.rate, one.base, invoice.tax, one.reason, one.reason_code),)
    return worked_out


def _terms(customer: Customer, around: Around, credit: bool) -> str:
    if credit:
        number = around.corrects.number if around.corrects else ""
        return f"Credited against invoice {number}" if number else "Credited to your account"
    return f"Payable within {customer.payment_terms_days} days"


def _notes(category: str, seller: Letterhead) -> tuple[str, ...]:
    said = [REASONS["AE"][0] if category == "AE" else "", clean(seller.note or "")]
    return tuple(note for note in said if note)


def _seller(seller: Letterhead, category: str) -> Party:
    """Return the seller; outside the scope of VAT its VAT id must not stand on the invoice (BR-O-02)."""
    registered = Identifier(seller.registration, seller.registration_scheme) if seller.registration else None
    shown = vat_id(seller.vat_id) if category != "O" else None
    address = seller.endpoint or seller.email
    return Party(
        name=clean(seller.name),
        address=Address(seller.country, seller.street, seller.more, seller.city, seller.post_code, seller.region),
        identifier=None if registered or shown else Identifier(seller.code),  # BR-CO-26: one of the three is needed
        registration=registered,
        vat_id=shown,
        tax_number=seller.tax_number,
        legal_form=seller.legal_form,
        endpoint=Identifier(address, (seller.endpoint_scheme or "EM") if seller.endpoint else "EM")
        if address
        else None,
        contact=Contact(seller.contact, seller.phone, seller.email)
        if seller.contact or seller.phone or seller.email
        else None,
    )


def _buyer(customer: Customer, category: str) -> Party:
    return Party(
        name=clean(customer.legal_name or customer.name),
        address=Address(customer.country, region=customer.region),
        vat_id=vat_id(customer.tax_id) if category != "O" else None,
        endpoint=Identifier(customer.billing_email, "EM") if customer.billing_email else None,
    )


def _payment(invoice: Invoice, seller: Letterhead) -> Payment | None:
    if not seller.iban:
        return None
    return Payment(
        SEPA_TRANSFER if invoice.currency == "EUR" else TRANSFER,
        invoice.number or invoice.code,
        seller.iban.replace(" ", ""),
        clean(seller.name),
        seller.bic,
    )
