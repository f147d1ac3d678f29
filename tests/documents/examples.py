"""Invoices to test with: a seller, customers, and one invoice of every kind the rules know."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

from trueup.documents.arithmetic import breakdown, cash_rounding, line_net, totals
from trueup.documents.invoice import (
    CREDIT,
    Address,
    Adjustment,
    Contact,
    EInvoice,
    Identifier,
    Line,
    Party,
    Payment,
    Preceding,
)
from trueup.documents.issue import REASONS

SELLER = Party(
    name="Nordlys GmbH",
    address=Address("DE", "Hafenstraße 12", None, "Hamburg", "20457"),
    registration=Identifier("HRB 123456"),
    vat_id="DE123456789",
    endpoint=Identifier("billing@nordlys.example", "EM"),
    contact=Contact("Accounts receivable", "+49 40 555 0100", "billing@nordlys.example"),
)
BUYER = Party(
    name="Aurore SA",
    address=Address("FR", "1 rue du Port", None, "Nantes", "44000"),
    vat_id="FR12345678901",
    endpoint=Identifier("ap@aurore.example", "EM"),
)


def line(key, quantity, price, category="S", rate="19", adjustments=(), currency="EUR", unit="HUR", per=None):
    rough = Line(
        key=str(key),
        name=f"Service {key}",
        quantity=Decimal(quantity),
        unit=unit,
        price=Decimal(price),
        price_quantity=None if per is None else Decimal(per),
        net=Decimal(0),
        category=category,
        rate=None if rate is None else Decimal(rate),
        adjustments=tuple(adjustments),
    )
    return replace(rough, net=line_net(rough, currency))


def invoice(lines, *, adjustments=(), currency="EUR", cash_step=None, prepaid=None, **more):
    taxes = breakdown(lines, adjustments, currency, REASONS)
    summed = totals(lines, adjustments, taxes, prepaid=prepaid)
    if cash_step:
        rounding = cash_rounding(summed.due, Decimal(cash_step), currency)
        summed = totals(lines, adjustments, taxes, prepaid=prepaid, rounding=rounding)
    given = {
        "number": "DE01-2026-000017",
        "issued_on": date(2026, 10, 31),
        "due_on": date(2026, 11, 30),
        "terms": "Payable within 30 days",
        "payment": Payment("58", "DE01-2026-000017", "DE02120300000000202051", "Nordlys GmbH", "BYLADEM1001"),
        "seller": SELLER,
        "buyer": BUYER,
        "starts_on": date(2026, 10, 1),
        "ends_on": date(2026, 10, 31),
        "contract": "D-0042",
        "project": "P-0042-1",
        "order": "PO 4711",
        "buyer_reference": "C-100",
    }
    return EInvoice(
        currency=currency,
        lines=tuple(lines),
        taxes=taxes,
        totals=summed,
        adjustments=tuple(adjustments),
        **(given | more),
    )


def domestic():
    return invoice([line(1, "37.25", "185.00"), line(2, "20", "180.00", unit="MIN", per="60")])


def reverse_charge():
    return invoice([line(1, "37.25", "185.00", "AE", "0"), line(2, "12.5", "220", "AE", "0")])


def outside_scope():
    buyer = Party("Big Corp", Address("US", region="NY"))
    return invoice([line(1, "8", "205.5", "O", None)], seller=replace(SELLER, vat_id=None, tax_number="12/345/67890"),
                   buyer=buyer)  # fmt: skip


def export():
    return invoice([line(1, "8", "205.5", "G", "0")], buyer=Party("Big Corp", Address("US")))


def intra_community():
    return invoice([line(1, "3", "99.90", "K", "0", unit="C62")], delivered_to="FR", delivered_on=date(2026, 10, 20))


def exempt():
    return invoice([line(1, "2", "300", "E", "0"), line(2, "1", "100", "Z", "0", unit="C62")])


def credit_note():
    return invoice(
        [line(1, "4", "200.00")],
        type_code=CREDIT,
        number="DE01-C-2026-000001",
        preceding=(Preceding("DE01-2026-000017", date(2026, 9, 30)),),
        payment=None,
        due_on=None,
        terms="Credited against invoice DE01-2026-000017",
    )


def with_allowances():
    lines = [
        line(1, "40", "150.00", adjustments=[Adjustment(False, Decimal("100.00"), "Courtesy")]),
        line(2, "10", "33.333", adjustments=[Adjustment(True, Decimal("0.01"), "Rounding of single entries")]),
    ]
    header = [
        Adjustment(False, Decimal("124.67"), "Volume", base=Decimal("6233.34"), percent=Decimal("2"), category="S",
                   rate=Decimal("19")),
        Adjustment(True, Decimal("15.00"), "Travel flat", category="S", rate=Decimal("19")),
    ]  # fmt: skip
    return invoice(lines, adjustments=header)


def swiss():
    seller = Party("Nordlys AG", Address("CH", "Bahnhofstrasse 1", None, "Zürich", "8001"), vat_id="CHE123456789",
                   registration=Identifier("CHE-123.456.789"))  # fmt: skip
    return invoice(
        [line(1, "1", "1142.02", rate="8.1", unit="C62", currency="CHF")],
        currency="CHF",
        cash_step="0.05",
        seller=seller,
        buyer=Party("Alpen AG", Address("CH", None, None, "Chur"), vat_id="CHE987654321"),
        payment=Payment("30", None, "CH9300762011623852957"),
    )


def several_rates():
    return invoice([line(1, "10", "100"), line(2, "3", "33.33", rate="7"), line(3, "16", "348.35"),
                    line(4, "1", "12.34", rate="7", unit="C62")], prepaid=Decimal("1000.00"))  # fmt: skip


EXAMPLES = {
    one.__name__: one
    for one in (
        domestic, reverse_charge, outside_scope, export, intra_community, exempt, credit_note, with_allowances, swiss,
        several_rates,
    )
}  # fmt: skip
