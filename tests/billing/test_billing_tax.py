"""The tax treatment: the rule of the law, and the plain definition against the fast one over everything that can be said."""

from dataclasses import asdict
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing.reference.tax import Supply, treatment_of
from trueup.billing.tax import OPTIONAL, Treatment, category_of, treatment, with_treatment
from trueup.billing.tax_tables import PLACE_BOUND, SERVICES

SCHEMA: dict[str, Any] = {
    "seller_country": pl.String, "buyer_country": pl.String, "buyer_has_tax_id": pl.Boolean, **OPTIONAL,
}  # fmt: skip


def fast(*supplies: Supply) -> list[tuple[str | None, int | None, str | None, str]]:
    rows = [{**asdict(one), "registered_in": list(one.registered_in)} for one in supplies]
    answers = with_treatment(pl.DataFrame(rows, schema=SCHEMA))
    return answers.select("tax_treatment", "tax_rate_ppm", "tax_hold_code", "tax_reason").rows()


def plain(supply: Supply) -> tuple[str | None, int | None, str | None, str]:
    answer = treatment_of(supply)
    if isinstance(answer, Treatment):
        return answer.name, answer.rate_ppm, None, answer.reason
    return None, None, answer.code, answer.sentence


@pytest.mark.parametrize(
    ("supply", "name", "rate"),
    [
        (Supply("DE", "DE", True, supplied_on=date(2020, 8, 1)), "domestic_de", 160_000),
        (Supply("DE", "DE", True, supplied_on=date(2021, 1, 1)), "domestic_de", 190_000),
        (Supply("CH", "CH", False, supplied_on=date(2023, 12, 31)), "domestic_ch", 77_000),
        (Supply("CH", "DE", True), "outside_scope", 0),
        (Supply("DE", "CH", False), "outside_scope", 0),
        (Supply("FR", "DE", True, vat_id="DE136695976", vat_id_valid=True), "reverse_charge", 0),
        (Supply("DE", "FR", True, service_category="event", used_in="DE"), "domestic_de", 190_000),
        (Supply("DE", "US", False, service_category="land", used_in="US"), "outside_scope", 0),
        (Supply("DE", "FR", True, ("FR",), service_category="land", used_in="FR"), "domestic_fr", 200_000),
        (Supply("US", "US", False, buyer_region="TX", service_code="saas", nexus=True, state_rate_ppm=82_500),
         "sales_tax_tx", 66_000),
        (Supply("US", "US", False, buyer_region="TX", service_code="consulting", nexus=True), "domestic_us", 0),
        (Supply("US", "US", False, buyer_region="NM", service_code="consulting", nexus=False), "domestic_us", 0),
        (Supply("US", "US", False, buyer_region="WA", service_code="custom_software", nexus=True,
                supplied_on=date(2025, 9, 30)), "domestic_us", 0),
    ],
)  # fmt: skip
def test_the_law_of_the_place_and_the_day_decides(supply: Supply, name: str, rate: int) -> None:
    assert plain(supply)[:2] == (name, rate)
    assert fast(supply) == [plain(supply)]


@pytest.mark.parametrize(
    ("supply", "code", "sentence"),
    [
        (Supply("DE", "FR", True, vat_id="FR00000000000"), "VAT_ID_INVALID",
         "The VAT id FR00000000000 is not one of FR."),
        (Supply("DE", "FR", True, vat_id="DE136695976"), "VAT_ID_INVALID", "The VAT id DE136695976 is not one of FR."),
        (Supply("DE", "FR", True, vat_id_valid=False), "VAT_ID_INVALID",
         "The register did not know the customer's VAT id."),
        (Supply("DE", "FR", True, vat_id_valid=True, vat_id_checked_on=date(2026, 9, 2), supplied_on=date(2026, 8, 31)),
         "VAT_ID_INVALID", "The VAT id was checked only after the supply."),
        (Supply("DE", "FR", True, service_category="event"), "TAX_UNDETERMINED",
         "A service of the category event is taxed where it happens; say in which country."),
        (Supply("US", "US", False, buyer_region="NM", service_code="consulting", nexus=True), "TAX_UNDETERMINED",
         "NM taxes consulting, you are liable there, and no rate is set up."),
        (Supply("US", "US", False, buyer_region="NY", service_code="data_processing", nexus=True), "TAX_UNDETERMINED",
         "Whether NY taxes data_processing is not settled; have it checked."),
        (Supply("DE", "DE", True, supplied_on=date(2001, 1, 1)), "TAX_UNDETERMINED",
         "No domestic tax rate is set up for DE."),
    ],
)  # fmt: skip
def test_what_cannot_be_decided_is_held_with_what_is_missing(supply: Supply, code: str, sentence: str) -> None:
    assert plain(supply) == (None, None, code, sentence)
    assert fast(supply) == [plain(supply)]


COUNTRIES = st.sampled_from(["DE", "FR", "GR", "GB", "CH", "US", "JP"])
DAYS = st.none() | st.sampled_from([date(2010, 1, 1), date(2020, 7, 1), date(2025, 9, 30), date(2026, 8, 31)])
SUPPLIES = st.builds(
    Supply,
    COUNTRIES,
    st.none() | COUNTRIES,
    st.booleans(),
    st.lists(COUNTRIES, max_size=2).map(tuple),
    st.none() | st.sampled_from(["NM", "TX", "NY", "WA", "OR"]),
    st.none() | st.sampled_from(["DE136695976", "DE136695978", "FR40303265045", "EL094259216", "nonsense", ""]),
    st.none() | st.booleans(),
    DAYS,
    st.none() | st.sampled_from(["general", "something", *PLACE_BOUND]),
    st.none() | COUNTRIES,
    st.none() | st.sampled_from([*SERVICES, "haircut"]),
    st.none() | st.booleans(),
    st.none() | st.integers(0, 120_000),
    DAYS,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(SUPPLIES, min_size=1, max_size=12))
def test_the_fast_way_decides_every_supply_as_the_definition_does(supplies: list[Supply]) -> None:
    assert fast(*supplies) == [plain(one) for one in supplies]


@settings(max_examples=60, deadline=None)
@given(COUNTRIES, st.none() | COUNTRIES, st.booleans())
def test_three_facts_are_enough_for_the_general_rule(seller: str, buyer: str | None, tax_id: bool) -> None:
    assert treatment(seller, buyer, tax_id) == treatment_of(Supply(seller, buyer, tax_id))


def test_a_frame_with_nothing_but_the_three_facts_keeps_its_rows_and_columns() -> None:
    rows = {"id": [1, 2, 3], "seller_country": ["DE"] * 3, "buyer_country": ["US", None, "DE"],
            "buyer_has_tax_id": [True] * 3}  # fmt: skip
    answers = with_treatment(pl.DataFrame(rows))
    assert answers["id"].to_list() == [1, 2, 3]
    assert answers["tax_treatment"].to_list() == ["outside_scope", None, "domestic_de"]
    assert answers["tax_rate_ppm"].to_list() == [0, None, 190_000]
    assert with_treatment(answers).equals(answers)


def test_every_treatment_has_its_category_on_the_document() -> None:
    shown = [
        (found.code, found.reason_code, found.sales_list)
        for found in map(category_of, ["reverse_charge", "outside_scope", "domestic_de", "domestic_us", "sales_tax_tx"])
    ]
    assert shown == [
        ("AE", "VATEX-EU-AE", True), ("O", "VATEX-EU-O", False), ("S", "", False), ("O", "VATEX-EU-O", False),
        ("S", "", False),
    ]  # fmt: skip
    assert category_of("outside_scope", export="G").reason_code == "VATEX-EU-G"
