"""The demo firm's letterheads: each entity's invoices pass the official rules under every treatment it bills with."""

from datetime import date
from decimal import Decimal

import pytest

from trueup.documents.check import check
from trueup.documents.issue import Letterhead, issue
from trueup.documents.make import make
from trueup.model.customer import Customer
from trueup.model.invoice import Invoice, InvoiceLine
from trueup.sandbox import nordlys
from trueup.settings import LetterheadSettings

ENTITIES = {entity["code"]: entity for entity in nordlys.ENTITIES}
CASES = [
    ("DE01", "domestic_de", "0.19", "DE", "DE288347563"),
    ("DE01", "reverse_charge", "0", "FR", "FR40303265045"),
    ("DE01", "outside_scope", "0", "US", "12-3456789"),
    ("UK01", "domestic_gb", "0.2", "GB", "GB421880560"),
    ("UK01", "reverse_charge", "0", "IE", "IE6388047V"),
    ("UK01", "outside_scope", "0", "US", None),
    ("US01", "outside_scope", "0", "US", None),
    ("US01", "outside_scope", "0", "CA", None),
]


@pytest.mark.parametrize(("code", "treatment", "rate", "country", "tax_id"), CASES)
def test_a_letterhead_of_the_demo_gives_clean_documents(code, treatment, rate, country, tax_id):
    entity = ENTITIES[code]
    said = LetterheadSettings.model_validate(entity["letterhead"]).model_dump()
    seller = Letterhead(**said | {"code": code, "name": entity["name"], "country": entity["country"]})
    net, tax = Decimal("405.00"), (Decimal("405.00") * Decimal(rate)).quantize(Decimal("0.01"))
    bill = Invoice(
        code="D01-2026-08", number="INV-1", currency=entity["currency"], invoice_date=date(2026, 8, 31),
        due_on=date(2026, 9, 30), tax_treatment=treatment, tax_rate=Decimal(rate), net=net, tax=tax, gross=net + tax,
        legal_entity=code, status="posted",
        lines=[InvoiceLine(key="1", description="Consultant", quantity=Decimal("3.3333"), rate=Decimal("121.50"), net=net)],
    )  # fmt: skip
    buyer = Customer(name="Aster Works", country=country, tax_id=tax_id, currency=entity["currency"])
    for form in ("ubl", "cii", "facturx"):
        assert check(make(issue(bill, buyer, seller), form).content).clean
