"""UBL 2.1: an invoice as `Invoice` or `CreditNote`, written and read.

Source    EN 16931-3-2 (syntax binding); OASIS UBL 2.1, order of elements.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal

from lxml import etree

from trueup.documents.invoice import (
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
    Totals,
)
from trueup.documents.xml import Reader, Writer, amount_text, day_text, number_text

INVOICE = "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
CREDIT_NOTE = "urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2"
NAMES = {
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
}
PROJECT = "50"
"""UNTDID 1001 project specification: a CreditNote has no ProjectReference, so BT-11 is an additional document."""


def write(invoice: EInvoice) -> bytes:
    """Return the invoice in UBL; the same invoice gives the same bytes."""
    return _Writing(invoice).document()


class _Writing:
    def __init__(self, invoice: EInvoice) -> None:
        self.it = invoice
        self.kind = "CreditNote" if invoice.credit else "Invoice"
        names: dict[str | None, str] = {None: CREDIT_NOTE if invoice.credit else INVOICE}
        self.w = Writer(self.kind, names | dict(NAMES.items()))

    def document(self) -> bytes:
        it, w, root = self.it, self.w, self.w.root
        w.put(root, "cbc:CustomizationID", it.profile)
        w.put(root, "cbc:ProfileID", it.process)
        w.put(root, "cbc:ID", it.number)
        w.put(root, "cbc:IssueDate", day_text(it.issued_on))
        if not it.credit:
            w.put(root, "cbc:DueDate", day_text(it.due_on))
        w.put(root, f"cbc:{self.kind}TypeCode", it.type_code)
        for note in it.notes:
            w.put(root, "cbc:Note", note)
        w.put(root, "cbc:DocumentCurrencyCode", it.currency)
        w.put(root, "cbc:TaxCurrencyCode", it.tax_currency)
        w.put(root, "cbc:BuyerReference", it.buyer_reference)
        self.period(root, it.starts_on, it.ends_on)
        w.put(w.part(root, "cac:OrderReference"), "cbc:ID", it.order)
        for one in it.preceding:
            reference = w.part(w.part(root, "cac:BillingReference"), "cac:InvoiceDocumentReference")
            w.put(reference, "cbc:ID", one.number)
            w.put(reference, "cbc:IssueDate", day_text(one.issued_on))
        w.put(w.part(root, "cac:ContractDocumentReference"), "cbc:ID", it.contract)
        if it.credit and it.project:
            reference = w.part(root, "cac:AdditionalDocumentReference")
            w.put(reference, "cbc:ID", it.project)
            w.put(reference, "cbc:DocumentTypeCode", PROJECT)
        elif it.project:
            w.put(w.part(root, "cac:ProjectReference"), "cbc:ID", it.project)
        self.party(w.part(root, "cac:AccountingSupplierParty"), it.seller)
        self.party(w.part(root, "cac:AccountingCustomerParty"), it.buyer)
        self.delivery()
        self.payment()
        w.put(w.part(root, "cac:PaymentTerms"), "cbc:Note", it.terms)
        for adjustment in it.adjustments:
            self.adjustment(root, adjustment)
        self.taxes()
        self.totals()
        for line in it.lines:
            self.line(line)
        return w.bytes()

    def money(self, parent: etree._Element, name: str, amount: Decimal | None, currency: str | None = None) -> None:
        currency = currency or self.it.currency
        self.w.put(parent, name, amount_text(amount, currency), currencyID=currency)

    def period(self, parent: etree._Element, starts_on: date | None, ends_on: date | None) -> None:
        period = self.w.part(parent, "cac:InvoicePeriod")
        self.w.put(period, "cbc:StartDate", day_text(starts_on))
        self.w.put(period, "cbc:EndDate", day_text(ends_on))

    def party(self, parent: etree._Element, party: Party) -> None:
        w, at = self.w, self.w.part(parent, "cac:Party")
        if party.endpoint:
            w.put(at, "cbc:EndpointID", party.endpoint.value, schemeID=party.endpoint.scheme)
        if party.identifier:
            given = party.identifier
            w.put(w.part(at, "cac:PartyIdentification"), "cbc:ID", given.value, schemeID=given.scheme)
        w.put(w.part(at, "cac:PartyName"), "cbc:Name", party.trading_name)
        self.address(w.part(at, "cac:PostalAddress"), party.address)
        for number, scheme in ((party.vat_id, "VAT"), (party.tax_number, "TAX")):
            if number:
                registered = w.part(at, "cac:PartyTaxScheme")
                w.put(registered, "cbc:CompanyID", number)
                w.put(w.part(registered, "cac:TaxScheme"), "cbc:ID", scheme)
        legal = w.part(at, "cac:PartyLegalEntity")
        w.put(legal, "cbc:RegistrationName", party.name)
        if party.registration:
            w.put(legal, "cbc:CompanyID", party.registration.value, schemeID=party.registration.scheme)
        w.put(legal, "cbc:CompanyLegalForm", party.legal_form)
        if party.contact:
            contact = w.part(at, "cac:Contact")
            w.put(contact, "cbc:Name", party.contact.name)
            w.put(contact, "cbc:Telephone", party.contact.phone)
            w.put(contact, "cbc:ElectronicMail", party.contact.email)

    def address(self, at: etree._Element, address: Address) -> None:
        w = self.w
        w.put(at, "cbc:StreetName", address.street)
        w.put(at, "cbc:AdditionalStreetName", address.more)
        w.put(at, "cbc:CityName", address.city)
        w.put(at, "cbc:PostalZone", address.post_code)
        w.put(at, "cbc:CountrySubentity", address.region)
        w.put(w.part(at, "cac:Country"), "cbc:IdentificationCode", address.country)

    def delivery(self) -> None:
        w, delivery = self.w, self.w.part(self.w.root, "cac:Delivery")
        w.put(delivery, "cbc:ActualDeliveryDate", day_text(self.it.delivered_on))
        address = w.part(w.part(delivery, "cac:DeliveryLocation"), "cac:Address")
        w.put(w.part(address, "cac:Country"), "cbc:IdentificationCode", self.it.delivered_to)

    def payment(self) -> None:
        w, payment = self.w, self.it.payment
        due_on = day_text(self.it.due_on) if self.it.credit else None
        if payment is None and due_on is None:
            return
        means = w.part(w.root, "cac:PaymentMeans")
        w.put(means, "cbc:PaymentMeansCode", payment.means if payment else "1")  # 1: not defined
        w.put(means, "cbc:PaymentDueDate", due_on)
        if payment is None:
            return
        w.put(means, "cbc:PaymentID", payment.reference)
        account = w.part(means, "cac:PayeeFinancialAccount")
        w.put(account, "cbc:ID", payment.account)
        w.put(account, "cbc:Name", payment.account_name)
        w.put(w.part(account, "cac:FinancialInstitutionBranch"), "cbc:ID", payment.bank)

    def adjustment(self, parent: etree._Element, one: Adjustment) -> None:
        w, at = self.w, self.w.part(parent, "cac:AllowanceCharge")
        w.put(at, "cbc:ChargeIndicator", "true" if one.charge else "false")
        w.put(at, "cbc:AllowanceChargeReasonCode", one.reason_code)
        w.put(at, "cbc:AllowanceChargeReason", one.reason)
        w.put(at, "cbc:MultiplierFactorNumeric", number_text(one.percent))
        self.money(at, "cbc:Amount", one.amount)
        self.money(at, "cbc:BaseAmount", one.base)
        if one.category:
            self.category(w.part(at, "cac:TaxCategory"), one.category, one.rate)

    def category(
        self,
        at: etree._Element,
        category: str,
        rate: Decimal | None,
        reason: str | None = None,
        reason_code: str | None = None,
    ) -> None:
        w = self.w
        w.put(at, "cbc:ID", category)
        w.put(at, "cbc:Percent", number_text(rate))
        w.put(at, "cbc:TaxExemptionReasonCode", reason_code)
        w.put(at, "cbc:TaxExemptionReason", reason)
        w.put(w.part(at, "cac:TaxScheme"), "cbc:ID", "VAT")

    def taxes(self) -> None:
        it, w = self.it, self.w
        if it.totals.tax is None and not it.taxes:
            return
        total = w.part(w.root, "cac:TaxTotal")
        self.money(total, "cbc:TaxAmount", it.totals.tax)
        for tax in it.taxes:
            row = w.part(total, "cac:TaxSubtotal")
            self.money(row, "cbc:TaxableAmount", tax.base)
            self.money(row, "cbc:TaxAmount", tax.amount)
            self.category(w.part(row, "cac:TaxCategory"), tax.category, tax.rate, tax.reason, tax.reason_code)
        if it.totals.tax_accounting is not None:
            self.money(w.part(w.root, "cac:TaxTotal"), "cbc:TaxAmount", it.totals.tax_accounting, it.tax_currency)

    def totals(self) -> None:
        said, at = self.it.totals, self.w.part(self.w.root, "cac:LegalMonetaryTotal")
        self.money(at, "cbc:LineExtensionAmount", said.lines)
        self.money(at, "cbc:TaxExclusiveAmount", said.net)
        self.money(at, "cbc:TaxInclusiveAmount", said.gross)
        self.money(at, "cbc:AllowanceTotalAmount", said.allowances)
        self.money(at, "cbc:ChargeTotalAmount", said.charges)
        self.money(at, "cbc:PrepaidAmount", said.prepaid)
        self.money(at, "cbc:PayableRoundingAmount", said.rounding)
        self.money(at, "cbc:PayableAmount", said.due)

    def line(self, line: Line) -> None:
        w, at = self.w, self.w.part(self.w.root, f"cac:{self.kind}Line")
        w.put(at, "cbc:ID", line.key)
        w.put(at, "cbc:Note", line.note)
        quantity = "CreditedQuantity" if self.it.credit else "InvoicedQuantity"
        w.put(at, f"cbc:{quantity}", number_text(line.quantity), unitCode=line.unit)
        self.money(at, "cbc:LineExtensionAmount", line.net)
        self.period(at, line.starts_on, line.ends_on)
        for adjustment in line.adjustments:
            self.adjustment(at, adjustment)
        item = w.part(at, "cac:Item")
        w.put(item, "cbc:Description", line.description)
        w.put(item, "cbc:Name", line.name)
        self.category(w.part(item, "cac:ClassifiedTaxCategory"), line.category, line.rate)
        price = w.part(at, "cac:Price")
        w.put(price, "cbc:PriceAmount", number_text(line.price), currencyID=self.it.currency)
        w.put(price, "cbc:BaseQuantity", number_text(line.price_quantity), unitCode=line.unit)


def read(root: etree._Element) -> tuple[EInvoice, Reader]:
    """Return what a UBL document says, and the reader with what could not be read.

    root  `Invoice` or `CreditNote`
    """
    r = Reader(root, NAMES)
    credit = etree.QName(root).namespace == CREDIT_NOTE
    kind = "CreditNote" if credit else "Invoice"
    currency = r.needed(root, "cbc:DocumentCurrencyCode", "BT-5", "the currency")
    tax_currency = r.text(root, "cbc:TaxCurrencyCode")
    r.currencies(currency, _amounts(root), tax_currency)
    issued = r.needed(root, "cbc:IssueDate", "BT-2", "the invoice date")
    means = r.one(root, "cac:PaymentMeans")
    due = r.text(root, "cbc:DueDate") or r.text(means, "cbc:PaymentDueDate")
    period = r.one(root, "cac:InvoicePeriod")
    invoice = EInvoice(
        number=r.needed(root, "cbc:ID", "BT-1", "the invoice number"),
        issued_on=r.day(issued or None, "BT-2") or date.min,
        type_code=r.needed(root, f"cbc:{kind}TypeCode", "BT-3", "the type of document"),
        currency=currency,
        tax_currency=tax_currency,
        profile=r.text(root, "cbc:CustomizationID") or "",
        process=r.text(root, "cbc:ProfileID"),
        due_on=r.day(due, "BT-9"),
        buyer_reference=r.text(root, "cbc:BuyerReference"),
        project=_project(r, root),
        contract=r.text(root, "cac:ContractDocumentReference/cbc:ID"),
        order=r.text(root, "cac:OrderReference/cbc:ID"),
        terms=r.text(root, "cac:PaymentTerms/cbc:Note"),
        notes=tuple(note for one in r.all(root, "cbc:Note") if (note := r.text(one, "."))),
        preceding=tuple(
            Preceding(
                r.needed(one, "cbc:ID", "BT-25", "the number of the preceding invoice"),
                r.day(r.text(one, "cbc:IssueDate"), "BT-26"),
            )
            for one in r.all(root, "cac:BillingReference/cac:InvoiceDocumentReference")
        ),
        delivered_on=r.day(r.text(root, "cac:Delivery/cbc:ActualDeliveryDate"), "BT-72"),
        delivered_to=r.text(root, "cac:Delivery/cac:DeliveryLocation/cac:Address/cac:Country/cbc:IdentificationCode"),
        starts_on=r.day(r.text(period, "cbc:StartDate"), "BT-73"),
        ends_on=r.day(r.text(period, "cbc:EndDate"), "BT-74"),
        seller=_party(r, r.one(root, "cac:AccountingSupplierParty/cac:Party"), "BT-27", "BT-40", "the seller"),
        buyer=_party(r, r.one(root, "cac:AccountingCustomerParty/cac:Party"), "BT-44", "BT-55", "the buyer"),
        payment=_payment(r, means),
        adjustments=_adjustments(r, root, document=True),
        taxes=tuple(_tax(r, one) for one in r.all(root, "cac:TaxTotal/cac:TaxSubtotal")),
        totals=_totals(r, root, currency),
        lines=tuple(_line(r, one, credit) for one in r.all(root, f"cac:{kind}Line")),
    )
    return invoice, r


def _amounts(root: etree._Element) -> Iterator[etree._Element]:
    return (element for element in root.iter() if isinstance(element.tag, str) and element.get("currencyID"))


def _project(r: Reader, root: etree._Element) -> str | None:
    for one in r.all(root, "cac:AdditionalDocumentReference"):
        if r.text(one, "cbc:DocumentTypeCode") == PROJECT:
            return r.text(one, "cbc:ID")
    return r.text(root, "cac:ProjectReference/cbc:ID")


def identifier(r: Reader, at: etree._Element | None, path: str) -> Identifier | None:
    """Return the identifier at a path with its scheme, or None."""
    found, text = r.one(at, path), r.text(at, path)
    return Identifier(text, found.get("schemeID")) if found is not None and text else None


def _party(r: Reader, at: etree._Element | None, name: str, country: str, who: str) -> Party:
    numbers = {"VAT": None, "TAX": None} | {
        "VAT" if (r.text(one, "cac:TaxScheme/cbc:ID") or "").upper() == "VAT" else "TAX": r.text(one, "cbc:CompanyID")
        for one in r.all(at, "cac:PartyTaxScheme")
    }
    contact = r.one(at, "cac:Contact")
    return Party(
        name=r.needed(at, "cac:PartyLegalEntity/cbc:RegistrationName", name, f"the name of {who}"),
        trading_name=r.text(at, "cac:PartyName/cbc:Name"),
        identifier=identifier(r, at, "cac:PartyIdentification/cbc:ID"),
        registration=identifier(r, at, "cac:PartyLegalEntity/cbc:CompanyID"),
        vat_id=numbers["VAT"],
        tax_number=numbers["TAX"],
        legal_form=r.text(at, "cac:PartyLegalEntity/cbc:CompanyLegalForm"),
        endpoint=identifier(r, at, "cbc:EndpointID"),
        address=Address(
            country=r.needed(
                at, "cac:PostalAddress/cac:Country/cbc:IdentificationCode", country, f"the country of {who}"
            ),
            street=r.text(at, "cac:PostalAddress/cbc:StreetName"),
            more=r.text(at, "cac:PostalAddress/cbc:AdditionalStreetName"),
            city=r.text(at, "cac:PostalAddress/cbc:CityName"),
            post_code=r.text(at, "cac:PostalAddress/cbc:PostalZone"),
            region=r.text(at, "cac:PostalAddress/cbc:CountrySubentity"),
        ),
        contact=Contact(
            r.text(contact, "cbc:Name"), r.text(contact, "cbc:Telephone"), r.text(contact, "cbc:ElectronicMail")
        )
        if contact is not None
        else None,
    )


def _payment(r: Reader, means: etree._Element | None) -> Payment | None:
    code = r.text(means, "cbc:PaymentMeansCode")
    account = r.one(means, "cac:PayeeFinancialAccount")
    if code is None or (code == "1" and account is None):
        return None
    return Payment(
        code,
        r.text(means, "cbc:PaymentID"),
        r.text(account, "cbc:ID"),
        r.text(account, "cbc:Name"),
        r.text(account, "cac:FinancialInstitutionBranch/cbc:ID"),
    )


def _adjustments(r: Reader, at: etree._Element, *, document: bool) -> tuple[Adjustment, ...]:
    found = []
    for one in r.all(at, "cac:AllowanceCharge"):
        charge = r.text(one, "cbc:ChargeIndicator") == "true"
        amount, base, percent = adjustment_terms(charge, document)
        found.append(
            Adjustment(
                charge=charge,
                amount=r.amount(one, "cbc:Amount", amount, "the amount of an allowance or charge"),
                reason=r.text(one, "cbc:AllowanceChargeReason"),
                reason_code=r.text(one, "cbc:AllowanceChargeReasonCode"),
                base=r.number(one, "cbc:BaseAmount", base),
                percent=r.number(one, "cbc:MultiplierFactorNumeric", percent),
                category=r.text(one, "cac:TaxCategory/cbc:ID") if document else None,
                rate=r.number(one, "cac:TaxCategory/cbc:Percent", "BT-96") if document else None,
            )
        )
    return tuple(found)


def adjustment_terms(charge: bool, document: bool) -> Sequence[str]:
    """Return the business terms of an adjustment's amount, base and percentage."""
    if document:
        return ("BT-99", "BT-100", "BT-101") if charge else ("BT-92", "BT-93", "BT-94")
    return ("BT-141", "BT-142", "BT-143") if charge else ("BT-136", "BT-137", "BT-138")


def _tax(r: Reader, at: etree._Element) -> Tax:
    return Tax(
        category=r.needed(at, "cac:TaxCategory/cbc:ID", "BT-118", "the category of a tax"),
        rate=r.number(at, "cac:TaxCategory/cbc:Percent", "BT-119"),
        base=r.amount(at, "cbc:TaxableAmount", "BT-116", "the taxable amount"),
        amount=r.amount(at, "cbc:TaxAmount", "BT-117", "the amount of a tax"),
        reason=r.text(at, "cac:TaxCategory/cbc:TaxExemptionReason"),
        reason_code=r.text(at, "cac:TaxCategory/cbc:TaxExemptionReasonCode"),
    )


def _totals(r: Reader, root: etree._Element, currency: str) -> Totals:
    tax = accounting = None
    for one in r.all(root, "cac:TaxTotal/cbc:TaxAmount"):
        if one.get("currencyID", currency) == currency and tax is None:
            tax = r.number(one, ".", "BT-110")
        else:
            accounting = r.number(one, ".", "BT-111")
    at = r.one(root, "cac:LegalMonetaryTotal")
    return Totals(
        lines=r.amount(at, "cbc:LineExtensionAmount", "BT-106", "the sum of the lines"),
        net=r.amount(at, "cbc:TaxExclusiveAmount", "BT-109", "the total without tax"),
        gross=r.amount(at, "cbc:TaxInclusiveAmount", "BT-112", "the total with tax"),
        due=r.amount(at, "cbc:PayableAmount", "BT-115", "the amount to pay"),
        allowances=r.number(at, "cbc:AllowanceTotalAmount", "BT-107"),
        charges=r.number(at, "cbc:ChargeTotalAmount", "BT-108"),
        tax=tax,
        tax_accounting=accounting,
        prepaid=r.number(at, "cbc:PrepaidAmount", "BT-113"),
        rounding=r.number(at, "cbc:PayableRoundingAmount", "BT-114"),
    )


def _line(r: Reader, at: etree._Element, credit: bool) -> Line:
    key = r.needed(at, "cbc:ID", "BT-126", "the number of a line")
    where = f"line {key}"
    path = "cbc:CreditedQuantity" if credit else "cbc:InvoicedQuantity"
    quantity = r.one(at, path)
    return Line(
        key=key,
        note=r.text(at, "cbc:Note"),
        quantity=r.amount(at, path, "BT-129", "the quantity", where),
        unit=quantity.get("unitCode", "") if quantity is not None else "",
        net=r.amount(at, "cbc:LineExtensionAmount", "BT-131", "the net amount", where),
        starts_on=r.day(r.text(at, "cac:InvoicePeriod/cbc:StartDate"), "BT-134"),
        ends_on=r.day(r.text(at, "cac:InvoicePeriod/cbc:EndDate"), "BT-135"),
        adjustments=_adjustments(r, at, document=False),
        name=r.needed(at, "cac:Item/cbc:Name", "BT-153", "the name", where),
        description=r.text(at, "cac:Item/cbc:Description"),
        category=r.needed(at, "cac:Item/cac:ClassifiedTaxCategory/cbc:ID", "BT-151", "the tax category", where),
        rate=r.number(at, "cac:Item/cac:ClassifiedTaxCategory/cbc:Percent", "BT-152"),
        price=r.amount(at, "cac:Price/cbc:PriceAmount", "BT-146", "the price", where),
        price_quantity=r.number(at, "cac:Price/cbc:BaseQuantity", "BT-149"),
    )
