"""Which tax treatment an invoice gets, decided from three facts about seller and buyer, computed once per invoice."""

from dataclasses import dataclass

import polars as pl

EU = frozenset(
    {
        "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE",
        "IT", "LV", "LT", "LU", "MT", "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE",
    }
)  # fmt: skip
"""ISO 3166 alpha-2 of the member states of the European Union."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """How an invoice is taxed.

    name      tax code, as the books know it
    rate_ppm  parts per million of the net: 190_000 is 19 %
    reason    the rule, for the reader of the invoice
    """

    name: str
    rate_ppm: int
    reason: str


@dataclass(frozen=True, slots=True)
class TaxHold:
    """Why no treatment can be named.

    sentence  what is missing
    code      hold code
    """

    sentence: str
    code: str = "TAX_UNDETERMINED"


DOMESTIC: dict[str, Treatment] = {
    "DE": Treatment("domestic_de", 190_000, "German VAT, standard rate"),
    "GB": Treatment("domestic_gb", 200_000, "United Kingdom VAT, standard rate"),
    "US": Treatment("domestic_us", 0, "services are not taxed"),
}
REVERSE_CHARGE = Treatment("reverse_charge", 0, "reverse charge: the customer accounts for the VAT")
OUTSIDE_SCOPE = Treatment("outside_scope", 0, "outside the scope of the seller's VAT")


def treatment(seller: str, buyer: str | None, has_tax_id: bool) -> Treatment | TaxHold:
    """Name the treatment of a service sold from one country into another, or say why it cannot be named.

    seller      ISO 3166 alpha-2 of the legal entity that bills
    buyer       ISO 3166 alpha-2 of the bill-to, None when unknown
    has_tax_id  whether the bill-to has a VAT id
    Source      VAT Directive art. 44 and 196 within the European Union.

    >>> treatment("DE", "FR", True).name
    'reverse_charge'
    >>> treatment("DE", "FR", False).code
    'TAX_UNDETERMINED'
    >>> treatment("DE", "DE", True).rate_ppm, treatment("GB", "IE", True).name
    (190000, 'outside_scope')
    """
    if not buyer:
        return TaxHold("The customer has no country.")
    if seller == buyer:
        found = DOMESTIC.get(seller)
        return found or TaxHold(f"No domestic tax rate is set up for {seller}.")
    if seller in EU and buyer in EU:
        return REVERSE_CHARGE if has_tax_id else TaxHold(f"A customer in {buyer} without a VAT id cannot be invoiced.")
    return OUTSIDE_SCOPE


def with_treatment(projects: pl.DataFrame) -> pl.DataFrame:
    """Add the treatment to each project; null where it cannot be decided.

    projects  seller_country str, buyer_country str|null, buyer_has_tax_id bool
    Returns   projects + tax_treatment str|null, tax_rate_ppm i64|null
    """
    asked = ["seller_country", "buyer_country", "buyer_has_tax_id"]
    cases = projects.select(asked).unique()
    answers = [treatment(seller, buyer, has_id) for seller, buyer, has_id in cases.iter_rows()]
    decided = cases.with_columns(
        pl.Series("tax_treatment", [_name(answer) for answer in answers], dtype=pl.String),
        pl.Series("tax_rate_ppm", [_rate(answer) for answer in answers], dtype=pl.Int64),
    )
    return projects.join(decided, on=asked, how="left", nulls_equal=True, maintain_order="left")


def _name(answer: Treatment | TaxHold) -> str | None:
    return answer.name if isinstance(answer, Treatment) else None


def _rate(answer: Treatment | TaxHold) -> int | None:
    return answer.rate_ppm if isinstance(answer, Treatment) else None
