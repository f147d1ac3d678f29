"""UN/CEFACT Cross Industry Invoice (CII), as Factur-X and ZUGFeRD carry it: written and read.

Source    EN 16931-3-3 (syntax binding); Factur-X 1.09, profile EN 16931, order of elements.
"""

import re
from datetime import date
from decimal import Decimal

from lxml import etree

from trueup.documents.invoice import (
    EN16931,
    Address,
    Adjustment,
    Contact,
    EInvoice,
    Line,
    Party,
    Payment,
    Preceding,
    Tax,
    Totals,
)
from trueup.documents.ubl import adjustment_terms, identifier
from trueup.documents.xml import Reader, Writer, amount_text, day_text, number_text

ROOT = "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100"
NAMES = {
    "rsm": ROOT,
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
    "qdt": "urn:un:unece:uncefact:data:standard:QualifiedDataType:100",
}
DAY = "%Y%m%d"
DAY_FORMAT = "102"
PROJECT_NAME = "Project reference"
"""The syntax wants a name beside the number of a project (BT-11); Factur-X prescribes these words."""

_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}")


def write(invoice: EInvoice) -> bytes:
    """Return the invoice in CII; the same invoice gives the same bytes."""
    return _Writing(invoice).document()


class _Writing:
    def __init__(self, invoice: EInvoice) -> None:
        self.it = invoice
        names: dict[str | None, str] = dict(NAMES.items())
        self.w = Writer("rsm:CrossIndustryInvoice", names, frozenset({"ApplicableHeaderTradeDelivery"}))

    def document(self) -> bytes:
        it, w = self.it, self.w
        context = w.part(w.root, "rsm:ExchangedDocumentContext")
        w.put(w.part(context, "ram:BusinessProcessSpecifiedDocumentContextParameter"), "ram:ID", it.process)
        w.put(w.part(context, "ram:GuidelineSpecifiedDocumentContextParameter"), "ram:ID", it.profile)
        head = w.part(w.root, "rsm:ExchangedDocument")
        w.put(head, "ram:ID", it.number)
        w.put(head, "ram:TypeCode", it.type_code)
        self.day(head, "ram:IssueDateTime", it.issued_on)
        for note in it.notes:
            w.put(w.part(head, "ram:IncludedNote"), "ram:Content", note)
        trade = w.part(w.root, "rsm:SupplyChainTradeTransaction")
        for line in it.lines:
            self.line(w.part(trade, "ram:IncludedSupplyChainTradeLineItem"), line)
        self.agreement(w.part(trade, "ram:ApplicableHeaderTradeAgreement"))
        delivery = w.part(trade, "ram:ApplicableHeaderTradeDelivery")
        address = w.part(w.part(delivery, "ram:ShipToTradeParty"), "ram:PostalTradeAddress")
        w.put(address, "ram:CountryID", it.delivered_to)
        self.day(w.part(delivery, "ram:ActualDeliverySupplyChainEvent"), "ram:OccurrenceDateTime", it.delivered_on)
        self.settlement(w.part(trade, "ram:ApplicableHeaderTradeSettlement"))
        return w.bytes()

    def day(self, parent: etree._Element, name: str, day: date | None, kind: str = "udt") -> None:
        at = self.w.part(parent, name)
        self.w.put(at, f"{kind}:DateTimeString", day_text(day, DAY), format=DAY_FORMAT)

    def money(self, parent: etree._Element, name: str, amount: Decimal | None, currency: str | None = None) -> None:
        self.w.put(parent, name, amount_text(amount, currency or self.it.currency), currencyID=currency)

    def line(self, at: etree._Element, line: Line) -> None:
        w = self.w
        document = w.part(at, "ram:AssociatedDocumentLineDocument")
        w.put(document, "ram:LineID", line.key)
        w.put(w.part(document, "ram:IncludedNote"), "ram:Content", line.note)
        product = w.part(at, "ram:SpecifiedTradeProduct")
        w.put(product, "ram:Name", line.name)
        w.put(product, "ram:Description", line.description)
        price = w.part(w.part(at, "ram:SpecifiedLineTradeAgreement"), "ram:NetPriceProductTradePrice")
        w.put(price, "ram:ChargeAmount", number_text(line.price))
        w.put(price, "ram:BasisQuantity", number_text(line.price_quantity), unitCode=line.unit)
        delivery = w.part(at, "ram:SpecifiedLineTradeDelivery")
        w.put(delivery, "ram:BilledQuantity", number_text(line.quantity), unitCode=line.unit)
        settled = w.part(at, "ram:SpecifiedLineTradeSettlement")
        self.category(w.part(settled, "ram:ApplicableTradeTax"), line.category, line.rate)
        self.period(settled, line.starts_on, line.ends_on)
        for adjustment in line.adjustments:
            self.adjustment(settled, adjustment)
        self.money(
            w.part(settled, "ram:SpecifiedTradeSettlementLineMonetarySummation"), "ram:LineTotalAmount", line.net
        )

    def category(self, at: etree._Element, category: str, rate: Decimal | None) -> None:
        self.w.put(at, "ram:TypeCode", "VAT")
        self.w.put(at, "ram:CategoryCode", category)
        self.w.put(at, "ram:RateApplicablePercent", number_text(rate))

    def period(self, parent: etree._Element, starts_on: date | None, ends_on: date | None) -> None:
        at = self.w.part(parent, "ram:BillingSpecifiedPeriod")
        self.day(at, "ram:StartDateTime", starts_on)
        self.day(at, "ram:EndDateTime", ends_on)

    def adjustment(self, parent: etree._Element, one: Adjustment) -> None:
        w, at = self.w, self.w.part(parent, "ram:SpecifiedTradeAllowanceCharge")
        w.put(w.part(at, "ram:ChargeIndicator"), "udt:Indicator", "true" if one.charge else "false")
        w.put(at, "ram:CalculationPercent", number_text(one.percent))
        self.money(at, "ram:BasisAmount", one.base)
        self.money(at, "ram:ActualAmount", one.amount)
        w.put(at, "ram:ReasonCode", one.reason_code)
        w.put(at, "ram:Reason", one.reason)
        if one.category:
            self.category(w.part(at, "ram:CategoryTradeTax"), one.category, one.rate)

    def agreement(self, at: etree._Element) -> None:
        it, w = self.it, self.w
        w.put(at, "ram:BuyerReference", it.buyer_reference)
        self.party(w.part(at, "ram:SellerTradeParty"), it.seller)
        self.party(w.part(at, "ram:BuyerTradeParty"), it.buyer)
        w.put(w.part(at, "ram:BuyerOrderReferencedDocument"), "ram:IssuerAssignedID", it.order)
        w.put(w.part(at, "ram:ContractReferencedDocument"), "ram:IssuerAssignedID", it.contract)
        if it.project:
            project = w.part(at, "ram:SpecifiedProcuringProject")
            w.put(project, "ram:ID", it.project)
            w.put(project, "ram:Name", PROJECT_NAME)

    def party(self, at: etree._Element, party: Party) -> None:
        w = self.w
        if party.identifier:
            name = "ram:GlobalID" if party.identifier.scheme else "ram:ID"
            w.put(at, name, party.identifier.value, schemeID=party.identifier.scheme)
        w.put(at, "ram:Name", party.name)
        w.put(at, "ram:Description", party.legal_form)
        legal = w.part(at, "ram:SpecifiedLegalOrganization")
        if party.registration:
            w.put(legal, "ram:ID", party.registration.value, schemeID=party.registration.scheme)
        w.put(legal, "ram:TradingBusinessName", party.trading_name)
        if party.contact:
            contact = w.part(at, "ram:DefinedTradeContact")
            w.put(contact, "ram:PersonName", party.contact.name)
            w.put(w.part(contact, "ram:TelephoneUniversalCommunication"), "ram:CompleteNumber", party.contact.phone)
            w.put(w.part(contact, "ram:EmailURIUniversalCommunication"), "ram:URIID", party.contact.email)
        address = w.part(at, "ram:PostalTradeAddress")
        w.put(address, "ram:PostcodeCode", party.address.post_code)
        w.put(address, "ram:LineOne", party.address.street)
        w.put(address, "ram:LineTwo", party.address.more)
        w.put(address, "ram:CityName", party.address.city)
        w.put(address, "ram:CountryID", party.address.country)
        w.put(address, "ram:CountrySubDivisionName", party.address.region)
        if party.endpoint:
            reached = w.part(at, "ram:URIUniversalCommunication")
            w.put(reached, "ram:URIID", party.endpoint.value, schemeID=party.endpoint.scheme)
        for number, scheme in ((party.vat_id, "VA"), (party.tax_number, "FC")):
            w.put(w.part(at, "ram:SpecifiedTaxRegistration"), "ram:ID", number, schemeID=scheme)

    def settlement(self, at: etree._Element) -> None:
        it, w = self.it, self.w
        w.put(at, "ram:PaymentReference", it.payment.reference if it.payment else None)
        w.put(at, "ram:TaxCurrencyCode", it.tax_currency)
        w.put(at, "ram:InvoiceCurrencyCode", it.currency)
        if it.payment:
            means = w.part(at, "ram:SpecifiedTradeSettlementPaymentMeans")
            w.put(means, "ram:TypeCode", it.payment.means)
            account = w.part(means, "ram:PayeePartyCreditorFinancialAccount")
            iban = _IBAN.fullmatch(it.payment.account or "") is not None
            w.put(account, "ram:IBANID", it.payment.account if iban else None)
            w.put(account, "ram:AccountName", it.payment.account_name)
            w.put(account, "ram:ProprietaryID", None if iban else it.payment.account)
            bank = w.part(means, "ram:PayeeSpecifiedCreditorFinancialInstitution")
            w.put(bank, "ram:BICID", it.payment.bank)
        for tax in it.taxes:
            row = w.part(at, "ram:ApplicableTradeTax")
            self.money(row, "ram:CalculatedAmount", tax.amount)
            w.put(row, "ram:TypeCode", "VAT")
            w.put(row, "ram:ExemptionReason", tax.reason)
            self.money(row, "ram:BasisAmount", tax.base)
            w.put(row, "ram:CategoryCode", tax.category)
            w.put(row, "ram:ExemptionReasonCode", tax.reason_code)
            w.put(row, "ram:RateApplicablePercent", number_text(tax.rate))
        self.period(at, it.starts_on, it.ends_on)
        for adjustment in it.adjustments:
            self.adjustment(at, adjustment)
        terms = w.part(at, "ram:SpecifiedTradePaymentTerms")
        w.put(terms, "ram:Description", it.terms)
        self.day(terms, "ram:DueDateDateTime", it.due_on)
        self.totals(w.part(at, "ram:SpecifiedTradeSettlementHeaderMonetarySummation"))
        for one in it.preceding:
            reference = w.part(at, "ram:InvoiceReferencedDocument")
            w.put(reference, "ram:IssuerAssignedID", one.number)
            self.day(reference, "ram:FormattedIssueDateTime", one.issued_on, "qdt")

    def totals(self, at: etree._Element) -> None:
        said = self.it.totals
        self.money(at, "ram:LineTotalAmount", said.lines)
        self.money(at, "ram:ChargeTotalAmount", said.charges)
        self.money(at, "ram:AllowanceTotalAmount", said.allowances)
        self.money(at, "ram:TaxBasisTotalAmount", said.net)
        self.money(at, "ram:TaxTotalAmount", said.tax, self.it.currency)
        self.money(at, "ram:TaxTotalAmount", said.tax_accounting, self.it.tax_currency)
        self.money(at, "ram:RoundingAmount", said.rounding)
        self.money(at, "ram:GrandTotalAmount", said.gross)
        self.money(at, "ram:TotalPrepaidAmount", said.prepaid)
        self.money(at, "ram:DuePayableAmount", said.due)


def read(root: etree._Element) -> tuple[EInvoice, Reader]:
    """Return what a CII document says, and the reader with what could not be read."""
    r = Reader(root, NAMES)
    context, head = r.one(root, "rsm:ExchangedDocumentContext"), r.one(root, "rsm:ExchangedDocument")
    trade = r.one(root, "rsm:SupplyChainTradeTransaction")
    agreed = r.one(trade, "ram:ApplicableHeaderTradeAgreement")
    delivery = r.one(trade, "ram:ApplicableHeaderTradeDelivery")
    at = r.one(trade, "ram:ApplicableHeaderTradeSettlement")
    currency = r.needed(at, "ram:InvoiceCurrencyCode", "BT-5", "the currency")
    tax_currency = r.text(at, "ram:TaxCurrencyCode")
    r.currencies(currency, (one for one in root.iter() if one.get("currencyID")), tax_currency)
    terms = r.one(at, "ram:SpecifiedTradePaymentTerms")
    period = r.one(at, "ram:BillingSpecifiedPeriod")
    happened = "ram:ActualDeliverySupplyChainEvent/ram:OccurrenceDateTime"
    invoice = EInvoice(
        number=r.needed(head, "ram:ID", "BT-1", "the invoice number"),
        type_code=r.needed(head, "ram:TypeCode", "BT-3", "the type of document"),
        issued_on=_needed_day(r, head, "ram:IssueDateTime", "BT-2", "the invoice date"),
        currency=currency,
        tax_currency=tax_currency,
        profile=r.text(context, "ram:GuidelineSpecifiedDocumentContextParameter/ram:ID") or "",
        process=r.text(context, "ram:BusinessProcessSpecifiedDocumentContextParameter/ram:ID"),
        notes=tuple(note for one in r.all(head, "ram:IncludedNote/ram:Content") if (note := r.text(one, "."))),
        buyer_reference=r.text(agreed, "ram:BuyerReference"),
        order=r.text(agreed, "ram:BuyerOrderReferencedDocument/ram:IssuerAssignedID"),
        contract=r.text(agreed, "ram:ContractReferencedDocument/ram:IssuerAssignedID"),
        project=r.text(agreed, "ram:SpecifiedProcuringProject/ram:ID"),
        terms=r.text(terms, "ram:Description"),
        due_on=_day(r, terms, "ram:DueDateDateTime", "BT-9"),
        delivered_on=_day(r, delivery, happened, "BT-72"),
        delivered_to=r.text(delivery, "ram:ShipToTradeParty/ram:PostalTradeAddress/ram:CountryID"),
        starts_on=_day(r, period, "ram:StartDateTime", "BT-73"),
        ends_on=_day(r, period, "ram:EndDateTime", "BT-74"),
        preceding=tuple(
            Preceding(
                r.needed(one, "ram:IssuerAssignedID", "BT-25", "the number of the preceding invoice"),
                _day(r, one, "ram:FormattedIssueDateTime", "BT-26", "qdt"),
            )
            for one in r.all(at, "ram:InvoiceReferencedDocument")
        ),
        seller=_party(r, r.one(agreed, "ram:SellerTradeParty"), "BT-27", "BT-40", "the seller"),
        buyer=_party(r, r.one(agreed, "ram:BuyerTradeParty"), "BT-44", "BT-55", "the buyer"),
        payment=_payment(r, at),
        adjustments=_adjustments(r, at, document=True),
        taxes=tuple(_tax(r, one) for one in r.all(at, "ram:ApplicableTradeTax")),
        totals=_totals(r, at, currency),
        lines=tuple(_line(r, one) for one in r.all(trade, "ram:IncludedSupplyChainTradeLineItem")),
    )
    return invoice, r


def is_core(profile: str) -> bool:
    """Say whether a profile is the core invoice or a compliant use of it.

    >>> is_core(EN16931), is_core("urn:factur-x.eu:1p0:minimum")
    (True, False)
    """
    return profile == EN16931 or profile.startswith(f"{EN16931}#compliant#")


def _day(r: Reader, at: etree._Element | None, path: str, term: str, kind: str = "udt") -> date | None:
    return r.day(r.text(at, f"{path}/{kind}:DateTimeString"), term, DAY)


def _needed_day(r: Reader, at: etree._Element | None, path: str, term: str, name: str) -> date:
    text = r.needed(at, f"{path}/udt:DateTimeString", term, name)
    return r.day(text or None, term, DAY) or date.min


def _party(r: Reader, at: etree._Element | None, name: str, country: str, who: str) -> Party:
    numbers: dict[str, str | None] = {}
    for one in r.all(at, "ram:SpecifiedTaxRegistration/ram:ID"):
        numbers["VA" if one.get("schemeID") == "VA" else "FC"] = r.text(one, ".")
    contact = r.one(at, "ram:DefinedTradeContact")
    address = r.one(at, "ram:PostalTradeAddress")
    organization = r.one(at, "ram:SpecifiedLegalOrganization")
    return Party(
        name=r.needed(at, "ram:Name", name, f"the name of {who}"),
        trading_name=r.text(organization, "ram:TradingBusinessName"),
        identifier=identifier(r, at, "ram:GlobalID") or identifier(r, at, "ram:ID"),
        registration=identifier(r, organization, "ram:ID"),
        vat_id=numbers.get("VA"),
        tax_number=numbers.get("FC"),
        legal_form=r.text(at, "ram:Description"),
        endpoint=identifier(r, at, "ram:URIUniversalCommunication/ram:URIID"),
        address=Address(
            country=r.needed(address, "ram:CountryID", country, f"the country of {who}"),
            street=r.text(address, "ram:LineOne"),
            more=r.text(address, "ram:LineTwo"),
            city=r.text(address, "ram:CityName"),
            post_code=r.text(address, "ram:PostcodeCode"),
            region=r.text(address, "ram:CountrySubDivisionName"),
        ),
        contact=Contact(
            r.text(contact, "ram:PersonName"),
            r.text(contact, "ram:TelephoneUniversalCommunication/ram:CompleteNumber"),
            r.text(contact, "ram:EmailURIUniversalCommunication/ram:URIID"),
        )
        if contact is not None
        else None,
    )


def _payment(r: Reader, at: etree._Element | None) -> Payment | None:
    means = r.one(at, "ram:SpecifiedTradeSettlementPaymentMeans")
    code = r.text(means, "ram:TypeCode")
    if code is None:
        return None
    account = r.one(means, "ram:PayeePartyCreditorFinancialAccount")
    return Payment(
        code,
        r.text(at, "ram:PaymentReference"),
        r.text(account, "ram:IBANID") or r.text(account, "ram:ProprietaryID"),
        r.text(account, "ram:AccountName"),
        r.text(means, "ram:PayeeSpecifiedCreditorFinancialInstitution/ram:BICID"),
    )


def _adjustments(r: Reader, at: etree._Element | None, *, document: bool) -> tuple[Adjustment, ...]:
    found = []
    for one in r.all(at, "ram:SpecifiedTradeAllowanceCharge"):
        charge = r.text(one, "ram:ChargeIndicator/udt:Indicator") == "true"
        amount, base, percent = adjustment_terms(charge, document)
        found.append(
            Adjustment(
                charge=charge,
                amount=r.amount(one, "ram:ActualAmount", amount, "the amount of an allowance or charge"),
                reason=r.text(one, "ram:Reason"),
                reason_code=r.text(one, "ram:ReasonCode"),
                base=r.number(one, "ram:BasisAmount", base),
                percent=r.number(one, "ram:CalculationPercent", percent),
                category=r.text(one, "ram:CategoryTradeTax/ram:CategoryCode") if document else None,
                rate=r.number(one, "ram:CategoryTradeTax/ram:RateApplicablePercent", "BT-96") if document else None,
            )
        )
    return tuple(found)


def _tax(r: Reader, at: etree._Element) -> Tax:
    return Tax(
        category=r.needed(at, "ram:CategoryCode", "BT-118", "the category of a tax"),
        rate=r.number(at, "ram:RateApplicablePercent", "BT-119"),
        base=r.amount(at, "ram:BasisAmount", "BT-116", "the taxable amount"),
        amount=r.amount(at, "ram:CalculatedAmount", "BT-117", "the amount of a tax"),
        reason=r.text(at, "ram:ExemptionReason"),
        reason_code=r.text(at, "ram:ExemptionReasonCode"),
    )


def _totals(r: Reader, settlement: etree._Element | None, currency: str) -> Totals:
    at = r.one(settlement, "ram:SpecifiedTradeSettlementHeaderMonetarySummation")
    tax = accounting = None
    for one in r.all(at, "ram:TaxTotalAmount"):
        if one.get("currencyID", currency) == currency and tax is None:
            tax = r.number(one, ".", "BT-110")
        else:
            accounting = r.number(one, ".", "BT-111")
    net = r.amount(at, "ram:TaxBasisTotalAmount", "BT-109", "the total without tax")
    lines = r.number(at, "ram:LineTotalAmount", "BT-106")
    return Totals(
        lines=net if lines is None else lines,  # the smallest profiles have no lines and no sum of them
        net=net,
        gross=r.amount(at, "ram:GrandTotalAmount", "BT-112", "the total with tax"),
        due=r.amount(at, "ram:DuePayableAmount", "BT-115", "the amount to pay"),
        allowances=r.number(at, "ram:AllowanceTotalAmount", "BT-107"),
        charges=r.number(at, "ram:ChargeTotalAmount", "BT-108"),
        tax=tax,
        tax_accounting=accounting,
        prepaid=r.number(at, "ram:TotalPrepaidAmount", "BT-113"),
        rounding=r.number(at, "ram:RoundingAmount", "BT-114"),
    )


def _line(r: Reader, at: etree._Element) -> Line:
    key = r.needed(at, "ram:AssociatedDocumentLineDocument/ram:LineID", "BT-126", "the number of a line")
    where = f"line {key}"
    settled = r.one(at, "ram:SpecifiedLineTradeSettlement")
    price = r.one(at, "ram:SpecifiedLineTradeAgreement/ram:NetPriceProductTradePrice")
    path = "ram:SpecifiedLineTradeDelivery/ram:BilledQuantity"
    quantity = r.one(at, path)
    summed = "ram:SpecifiedTradeSettlementLineMonetarySummation/ram:LineTotalAmount"
    return Line(
        key=key,
        note=r.text(at, "ram:AssociatedDocumentLineDocument/ram:IncludedNote/ram:Content"),
        name=r.needed(at, "ram:SpecifiedTradeProduct/ram:Name", "BT-153", "the name", where),
        description=r.text(at, "ram:SpecifiedTradeProduct/ram:Description"),
        quantity=r.amount(at, path, "BT-129", "the quantity", where),
        unit=quantity.get("unitCode", "") if quantity is not None else "",
        price=r.amount(price, "ram:ChargeAmount", "BT-146", "the price", where),
        price_quantity=r.number(price, "ram:BasisQuantity", "BT-149"),
        category=r.needed(settled, "ram:ApplicableTradeTax/ram:CategoryCode", "BT-151", "the tax category", where),
        rate=r.number(settled, "ram:ApplicableTradeTax/ram:RateApplicablePercent", "BT-152"),
        starts_on=_day(r, settled, "ram:BillingSpecifiedPeriod/ram:StartDateTime", "BT-134"),
        ends_on=_day(r, settled, "ram:BillingSpecifiedPeriod/ram:EndDateTime", "BT-135"),
        adjustments=_adjustments(r, settled, document=False),
        net=r.amount(settled, summed, "BT-131", "the net amount", where),
    )
