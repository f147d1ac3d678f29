"""Which deals may be set up, and which tax their invoices carry."""

from dataclasses import replace
from decimal import Decimal

import pytest

from trueup.billing.tax import TaxHold, Treatment, treatment
from trueup.billing.validation import Deal, DealLine, SellingEntity, check_deal

PRICE_BOOK = {"ADV-TM": {"time_and_materials"}, "DATA-FF": {"fixed_fee"}}
FIRM = {"UK01": SellingEntity("GBP", {"GB", "IE", "US"}), "DE01": SellingEntity("EUR", {"DE", "FR"})}
GOOD = DealLine("D01-L1", "ADV-TM", "time_and_materials", "UK01", "GBP", "IE")


def codes(*lines: DealLine) -> list[str]:
    return [hold.code for hold in check_deal(Deal("D01", Decimal(90_000), "GBP", lines), PRICE_BOOK, FIRM)]


def test_a_sound_deal_passes() -> None:
    assert codes(GOOD) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"package": "NOPE"}, "PACKAGE_UNKNOWN"),
        ({"package": "DATA-FF"}, "METHOD_NOT_ALLOWED"),
        ({"legal_entity": "FR01"}, "ENTITY_UNMAPPED"),
        ({"buyer_country": "CH"}, "TAX_UNDETERMINED"),
        ({"buyer_country": None}, "TAX_UNDETERMINED"),
        ({"currency": "EUR"}, "CURRENCY_MISMATCH"),
    ],
)
def test_a_deal_that_cannot_be_billed_is_held_before_anything_is_written(change: dict[str, str], code: str) -> None:
    assert codes(replace(GOOD, **change)) == [code]


def test_a_hold_names_every_line_and_counts_the_contract_value_once() -> None:
    swiss = [replace(GOOD, key=key, buyer_country="CH") for key in ("D01-L1", "D01-L2")]
    [hold] = check_deal(Deal("D01", Decimal(90_000), "GBP", tuple(swiss)), PRICE_BOOK, FIRM)
    assert (hold.lines, hold.amount, hold.currency) == (("D01-L1", "D01-L2"), Decimal(90_000), "GBP")
    assert hold.sentence == (
        "D01-L1: UK01 is not registered to sell into CH. D01-L2: UK01 is not registered to sell into CH."
    )


@pytest.mark.parametrize(
    ("seller", "buyer", "tax_id", "name", "rate"),
    [
        ("DE", "DE", True, "domestic_de", 190_000),
        ("DE", "DE", False, "domestic_de", 190_000),
        ("GB", "GB", True, "domestic_gb", 200_000),
        ("US", "US", False, "domestic_us", 0),
        ("DE", "FR", True, "reverse_charge", 0),
        ("DE", "US", False, "outside_scope", 0),
        ("DE", "GB", False, "outside_scope", 0),
        ("GB", "IE", True, "outside_scope", 0),
        ("US", "CA", False, "outside_scope", 0),
    ],
)
def test_the_treatment_follows_from_seller_buyer_and_tax_id(
    seller: str, buyer: str, tax_id: bool, name: str, rate: int
) -> None:
    found = treatment(seller, buyer, tax_id)
    assert isinstance(found, Treatment)
    assert (found.name, found.rate_ppm) == (name, rate)


@pytest.mark.parametrize(("seller", "buyer", "tax_id"), [("DE", "NL", False), ("DE", None, True), ("JP", "JP", True)])
def test_a_treatment_that_cannot_be_named_is_a_hold(seller: str, buyer: str | None, tax_id: bool) -> None:
    assert isinstance(treatment(seller, buyer, tax_id), TaxHold)
