"""Which tax treatment an invoice gets: from seller and buyer, their registrations, the service, its place, its date."""

from datetime import date

import polars as pl
from stdnum.eu import vat as eu_vat
from stdnum.exceptions import ValidationError

from trueup.billing.tax_tables import (
    CATEGORIES,
    CHARGED,
    CHECK,
    EU,
    NO_DATE,
    PLACE_BOUND,
    SERVICES,
    STANDARD_RATES,
    TAXABLE,
    Category,
    TaxHold,
    Treatment,
)

__all__ = [
    "EU", "OPTIONAL", "OUTSIDE_SCOPE", "REVERSE_CHARGE", "Category", "TaxHold", "Treatment", "category_of",
    "rate_of_day", "treatment", "vat_id_well_formed", "with_treatment",
]  # fmt: skip

REVERSE_CHARGE = Treatment("reverse_charge", 0, "reverse charge: the customer accounts for the VAT")
OUTSIDE_SCOPE = Treatment("outside_scope", 0, "outside the scope of the seller's VAT")
UNTAXED_US = Treatment("domestic_us", 0, "services are not taxed")
WAITS = "TAX_UNDETERMINED"
INVALID = "VAT_ID_INVALID"

OPTIONAL: dict[str, pl.DataType] = {
    "registered_in": pl.List(pl.String()),
    "buyer_region": pl.String(),
    "vat_id": pl.String(),
    "vat_id_valid": pl.Boolean(),
    "vat_id_checked_on": pl.Date(),
    "service_category": pl.String(),
    "used_in": pl.String(),
    "service_code": pl.String(),
    "nexus": pl.Boolean(),
    "state_rate_ppm": pl.Int64(),
    "supplied_on": pl.Date(),
}
"""Columns `with_treatment` reads where a frame has them, every one nullable:
registered_in      countries the seller is registered for VAT in, beside its own
buyer_region       state of a customer in the United States: NY
vat_id             the customer's VAT id as text; its form and check digits are checked
vat_id_valid       what the register answered when it was asked; null when it was not
vat_id_checked_on  when it was asked; an answer of after the supply says nothing about it
service_category   general (also null), or one of `tax_tables.PLACE_BOUND`
used_in            country where a place-bound service happens
service_code       one of `tax_tables.SERVICES`
nexus              whether the seller is liable in the customer's state (see `nexus`)
state_rate_ppm     combined sales tax rate there, as set up by the firm
supplied_on        day of the supply; null takes the newest rates"""


def treatment(seller: str, buyer: str | None, has_tax_id: bool) -> Treatment | TaxHold:
    """Name the treatment of a service under the general rule, from three facts; newest rates.

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
    if seller == buyer == "US":
        return UNTAXED_US
    if seller == buyer:
        rates = STANDARD_RATES.get(seller)
        if rates is None:
            return TaxHold(f"No domestic tax rate is set up for {seller}.")
        return Treatment(f"domestic_{seller.lower()}", rates[-1][1], f"VAT of {seller}, standard rate")
    if seller in EU and buyer in EU:
        return REVERSE_CHARGE if has_tax_id else TaxHold(f"A customer in {buyer} without a VAT id cannot be invoiced.")
    return OUTSIDE_SCOPE


def category_of(treatment_name: str, *, export: str = "O") -> Category:
    """Return how a treatment is written on an electronic invoice.

    treatment_name  domestic_de, reverse_charge, outside_scope, sales_tax_ny ...
    export          O or G: what the seller's country writes for services to customers outside the Union
    Source          EN 16931, VAT category codes and VATEX reasons (see `tax_tables.CATEGORIES`)

    >>> category_of("reverse_charge").code, category_of("reverse_charge").reason_code, category_of("domestic_de").code
    ('AE', 'VATEX-EU-AE', 'S')
    """
    if treatment_name == "outside_scope" and export == "G":
        return CATEGORIES["export"]
    return CATEGORIES.get(treatment_name, CHARGED)


def vat_id_well_formed(vat_id: str, country: str) -> bool:
    """Say whether a VAT id has the form and check digits of a member state; other countries' ids are not judged.

    >>> vat_id_well_formed("DE 136,695 976", "DE"), vat_id_well_formed("DE136695978", "DE")
    (True, False)
    """
    if country not in EU:
        return True
    prefix = "EL" if country == "GR" else country
    try:
        number = eu_vat.compact(vat_id)
        return eu_vat.validate(number if number[:2].isalpha() else prefix + number).startswith(prefix)
    except ValidationError:
        return False


def with_treatment(projects: pl.DataFrame) -> pl.DataFrame:
    """Add the treatment to each project; null where it cannot be decided.

    projects  seller_country str, buyer_country str|null, buyer_has_tax_id bool, and any of `OPTIONAL`
    Returns   projects + tax_treatment str|null, tax_rate_ppm i64|null, tax_hold_code str|null (TAX_UNDETERMINED or
              VAT_ID_INVALID), tax_reason str (the rule, or what is missing), in the order of the rows
    """
    given = [name for name in OPTIONAL if name in projects.columns]
    seen = projects.select(
        "seller_country",
        "buyer_country",
        "buyer_has_tax_id",
        *(
            (pl.col(name) if name in given else pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in OPTIONAL.items()
        ),
    )
    judged = _decide(_looked_up(seen))
    return projects.drop(_ANSWERS, strict=False).with_columns(judged.get_columns())


def rate_of_day(supplies: pl.DataFrame) -> pl.Expr:
    """Return the rate of each supply by the day of its service: what is billed late is taxed as when it was done.

    supplies  tax_treatment str|null, tax_rate_ppm i64|null by the day of the document, service_on date
    Returns   i64|null ppm; the document's own for what has no standard rate, and for days before the table begins
    Source    VAT Directive art. 63 and 93: the rate is that of the chargeable event.
    """
    treatment, rate, day = pl.col("tax_treatment"), pl.col("tax_rate_ppm"), pl.col("service_on")
    found, oldest = rate, supplies["service_on"].min()
    present = set(supplies["tax_treatment"].unique())
    for country, rows in STANDARD_RATES.items():
        name = f"domestic_{country.lower()}"
        if name not in present or not isinstance(oldest, date):
            continue
        then = rate
        for first, ppm in rows:
            then = pl.when(day >= first).then(ppm).otherwise(then)
        found = pl.when(treatment == name).then(then).otherwise(found)
    return found.cast(pl.Int64)


_ANSWERS = ("tax_treatment", "tax_rate_ppm", "tax_hold_code", "tax_reason")


def _looked_up(seen: pl.DataFrame) -> pl.DataFrame:
    """Add what the tables say: place str|null, bound bool, rate_ppm, taxed_ppm i64|null, vat_id_formed bool."""
    category = pl.col("service_category").fill_null("general")
    ids = seen.select("vat_id", "buyer_country").unique().drop_nulls()
    formed = ids.with_columns(
        pl.Series("vat_id_formed", [vat_id_well_formed(*row) for row in ids.iter_rows()], dtype=pl.Boolean)
    )
    placed = seen.with_columns(
        bound=category.is_in(list(PLACE_BOUND)),
        known_category=category.is_in([*PLACE_BOUND, "general"]),
        on=pl.col("supplied_on").fill_null(NO_DATE),
    ).with_columns(place=pl.when("bound").then("used_in").otherwise("buyer_country"))
    rates = [(country, first, ppm) for country, rows in STANDARD_RATES.items() for first, ppm in rows]
    taxable = [(service, state, first, ppm) for (service, state), rows in TAXABLE.items() for first, ppm in rows]
    dated = {"on": pl.Date, "rate_ppm": pl.Int64}
    return (
        placed.join(formed, on=["vat_id", "buyer_country"], how="left", maintain_order="left")
        .with_row_index("row")
        .sort("on")
        .join_asof(
            pl.DataFrame(rates, schema={"place": pl.String, **dated}, orient="row").sort("on"),
            on="on", by="place", check_sortedness=False,
        )
        .join_asof(
            pl.DataFrame(
                taxable,
                schema={"service_code": pl.String, "buyer_region": pl.String, "on": pl.Date, "taxed_ppm": pl.Int64},
                orient="row",
            ).sort("on"),
            on="on", by=["service_code", "buyer_region"], check_sortedness=False,
        )
        .sort("row")
    )  # fmt: skip


def _decide(seen: pl.DataFrame) -> pl.DataFrame:
    """Give each row its answer, by the first rule that fits."""
    seller, buyer, place, region = (pl.col(n) for n in ("seller_country", "buyer_country", "place", "buyer_region"))
    category, code = pl.col("service_category"), pl.col("service_code")
    in_eu = [*sorted(EU)]
    at_home = (place == seller) | (
        pl.col("bound") & pl.col("registered_in").list.contains(place).fill_null(value=False)
    )
    within_eu = seller.is_in(in_eu) & place.is_in(in_eu)
    by_state = (seller == "US") & (place == "US")
    liable = region.is_not_null() & code.is_not_null() & pl.col("nexus").fill_null(value=False)
    taxed = pl.col("taxed_ppm").fill_null(0)
    late = pl.col("vat_id_checked_on") > pl.col("supplied_on")
    share = (taxed.cast(pl.Int128) * pl.col("state_rate_ppm") + 500_000) // 1_000_000
    texts: list[tuple[pl.Expr, str | None, pl.Expr, pl.Expr | int | None, pl.Expr]] = [
        (~pl.col("known_category"), WAITS, _no, None,
         pl.format("The service category {} is not known.", category)),
        (buyer.is_null() | (buyer == ""), WAITS, _no, None, pl.lit("The customer has no country.")),
        (pl.col("bound") & place.is_null(), WAITS, _no, None,
         pl.format("A service of the category {} is taxed where it happens; say in which country.", category)),
        (by_state & liable & ~code.is_in(list(SERVICES)), WAITS, _no, None,
         pl.format("The service code {} is not in the taxability matrix.", code)),
        (by_state & liable & (taxed == CHECK), WAITS, _no, None,
         pl.format("Whether {} taxes {} is not settled; have it checked.", region, code)),
        (by_state & liable & (taxed > 0) & pl.col("state_rate_ppm").is_null(), WAITS, _no, None,
         pl.format("{} taxes {}, you are liable there, and no rate is set up.", region, code)),
        (by_state & liable & (taxed > 0), None, pl.format("sales_tax_{}", region.str.to_lowercase()), share,
         pl.format("sales tax of {}", region)),
        (by_state, None, pl.lit(UNTAXED_US.name), 0, pl.lit(UNTAXED_US.reason)),
        (at_home & pl.col("rate_ppm").is_null(), WAITS, _no, None,
         pl.format("No domestic tax rate is set up for {}.", place)),
        (at_home, None, pl.format("domestic_{}", place.str.to_lowercase()), pl.col("rate_ppm"),
         pl.format("VAT of {}, standard rate", place)),
        (within_eu & pl.col("bound"), WAITS, _no, None,
         pl.format("This is taxed in {}, where {} is not registered.", place, seller)),
        (within_eu & ~pl.col("buyer_has_tax_id"), WAITS, _no, None,
         pl.format("A customer in {} without a VAT id cannot be invoiced.", buyer)),
        (within_eu & ~pl.col("vat_id_formed").fill_null(value=True), INVALID, _no, None,
         pl.format("The VAT id {} is not one of {}.", pl.col("vat_id"), buyer)),
        (within_eu & ~pl.col("vat_id_valid").fill_null(value=True), INVALID, _no, None,
         pl.lit("The register did not know the customer's VAT id.")),
        (within_eu & pl.col("vat_id_valid").is_not_null() & late.fill_null(value=False), INVALID, _no, None,
         pl.lit("The VAT id was checked only after the supply.")),
        (within_eu, None, pl.lit(REVERSE_CHARGE.name), 0, pl.lit(REVERSE_CHARGE.reason)),
    ]  # fmt: skip
    rules = [*texts, (pl.lit(value=True), None, pl.lit(OUTSIDE_SCOPE.name), 0, pl.lit(OUTSIDE_SCOPE.reason))]
    numbered = seen.with_columns(
        rule=pl.coalesce(pl.when(met.fill_null(value=False)).then(place) for place, (met, *_) in enumerate(rules))
    )
    chosen = [pl.col("rule") == place for place in range(len(rules))]
    return numbered.select(
        tax_treatment=pl.coalesce(pl.when(met).then(rule[2]) for met, rule in zip(chosen, rules, strict=True)),
        tax_rate_ppm=pl.coalesce(pl.when(met).then(_int(rule[3])) for met, rule in zip(chosen, rules, strict=True)),
        tax_hold_code=pl.coalesce(
            pl.when(met).then(pl.lit(rule[1], pl.String)) for met, rule in zip(chosen, rules, strict=True)
        ),
        tax_reason=pl.coalesce(pl.when(met).then(rule[4]) for met, rule in zip(chosen, rules, strict=True)),
    )


_no = pl.lit(None, pl.String)


def _int(value: pl.Expr | int | None) -> pl.Expr:
    return (value if isinstance(value, pl.Expr) else pl.lit(value)).cast(pl.Int64)
