"""The tax treatment of one supply, rule by rule in the order a tax adviser asks."""

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from trueup.billing.tax import INVALID, OUTSIDE_SCOPE, REVERSE_CHARGE, UNTAXED_US, vat_id_well_formed
from trueup.billing.tax_tables import (
    CHECK,
    EU,
    NO_DATE,
    PLACE_BOUND,
    SERVICES,
    STANDARD_RATES,
    TAXABLE,
    TaxHold,
    Treatment,
)


@dataclass(frozen=True, slots=True)
class Supply:
    """One service sold: the facts of `tax.OPTIONAL` under the same names, for one seller and one buyer."""

    seller_country: str
    buyer_country: str | None
    buyer_has_tax_id: bool
    registered_in: tuple[str, ...] = ()
    buyer_region: str | None = None
    vat_id: str | None = None
    vat_id_valid: bool | None = None
    vat_id_checked_on: date | None = None
    service_category: str | None = None
    used_in: str | None = None
    service_code: str | None = None
    nexus: bool | None = None
    state_rate_ppm: int | None = None
    supplied_on: date | None = None


def treatment_of(supply: Supply) -> Treatment | TaxHold:
    """Name the treatment of a supply, or say what is missing.

    >>> treatment_of(Supply("DE", "FR", True, service_category="land", used_in="FR")).sentence
    'This is taxed in FR, where DE is not registered.'
    """
    category = supply.service_category or "general"
    if category != "general" and category not in PLACE_BOUND:
        return TaxHold(f"The service category {category} is not known.")
    if not supply.buyer_country:
        return TaxHold("The customer has no country.")
    bound = category in PLACE_BOUND
    place = supply.used_in if bound else supply.buyer_country
    if place is None:
        return TaxHold(f"A service of the category {category} is taxed where it happens; say in which country.")
    if supply.seller_country == "US" and place == "US":
        return _by_state(supply)
    if place == supply.seller_country or (bound and place in supply.registered_in):
        rate = rate_on(place, supply.supplied_on)
        if rate is None:
            return TaxHold(f"No domestic tax rate is set up for {place}.")
        return Treatment(f"domestic_{place.lower()}", rate, f"VAT of {place}, standard rate")
    if not (supply.seller_country in EU and place in EU):
        return OUTSIDE_SCOPE
    if bound:
        return TaxHold(f"This is taxed in {place}, where {supply.seller_country} is not registered.")
    return _within_the_union(supply, place)


def rate_on(country: str, on: date | None) -> int | None:
    """Return a country's standard rate on a day, ppm; the newest without a day, None before the table begins."""
    known = [rate for first, rate in STANDARD_RATES.get(country, ()) if first <= (on or NO_DATE)]
    return known[-1] if known else None


def _by_state(supply: Supply) -> Treatment | TaxHold:
    state, service = supply.buyer_region, supply.service_code
    if state is None or service is None or not supply.nexus:
        return UNTAXED_US
    if service not in SERVICES:
        return TaxHold(f"The service code {service} is not in the taxability matrix.")
    rows = [share for first, share in TAXABLE.get((service, state), ()) if first <= (supply.supplied_on or NO_DATE)]
    taxed = rows[-1] if rows else 0
    if taxed == CHECK:
        return TaxHold(f"Whether {state} taxes {service} is not settled; have it checked.")
    if taxed == 0:
        return UNTAXED_US
    if supply.state_rate_ppm is None:
        return TaxHold(f"{state} taxes {service}, you are liable there, and no rate is set up.")
    rate = (Decimal(taxed) * supply.state_rate_ppm / 1_000_000).quantize(Decimal(1), ROUND_HALF_UP)
    return Treatment(f"sales_tax_{state.lower()}", int(rate), f"sales tax of {state}")


def _within_the_union(supply: Supply, place: str) -> Treatment | TaxHold:
    if not supply.buyer_has_tax_id:
        return TaxHold(f"A customer in {place} without a VAT id cannot be invoiced.")
    if supply.vat_id is not None and not vat_id_well_formed(supply.vat_id, place):
        return TaxHold(f"The VAT id {supply.vat_id} is not one of {place}.", INVALID)
    if supply.vat_id_valid is False:
        return TaxHold("The register did not know the customer's VAT id.", INVALID)
    checked, supplied = supply.vat_id_checked_on, supply.supplied_on
    if supply.vat_id_valid is not None and checked is not None and supplied is not None and checked > supplied:
        return TaxHold("The VAT id was checked only after the supply.", INVALID)
    return REVERSE_CHARGE
