"""What is agreed about whole documents: a month's minimum, several payers, a discount on the total, where lines part."""

from collections.abc import Mapping
from decimal import Decimal

import polars as pl

from trueup.billing.holds import codes, with_more
from trueup.billing.rounding import MILLION, MINOR, product, rounded
from trueup.billing.tax import OPTIONAL, rate_of_day, with_treatment
from trueup.billing.terms import Minimum, Payer, Terms
from trueup.kernel.money import round_money, to_units
from trueup.kernel.periods import first_day, last_day

OF_FACTS = ("time", "overage", "expense")
"""Kinds of charges whose fact may be billed in parts, to several payers each its own."""
DISBURSEMENT = "disbursement"
"""Treatment of what is paid in the client's name: on a document of its own, without tax."""


def minimum_due(minimum: Minimum, period: str, currency: str) -> Decimal:
    """Return what a month costs at least: the minimum, in proportion to the days it holds.

    minimum   see `Minimum`
    period    the month, 2026-08
    currency  ISO 4217

    >>> from datetime import date
    >>> minimum_due(Minimum(Decimal("10.00"), date(2026, 2, 4)), "2026-02", "EUR")
    Decimal('8.93')
    """
    start, end = first_day(period), last_day(period)
    days = (min(end, minimum.ends_on or end) - max(start, minimum.starts_on or start)).days + 1
    return round_money(minimum.amount * max(days, 0) / ((end - start).days + 1), currency)


def top_ups(parts: pl.DataFrame, projects: pl.DataFrame, terms: Mapping[str, Terms], period: str) -> pl.DataFrame:
    """Top the month's time up to the minimum, one part each; before discount and tax.

    Everything worked in the month counts that is or will be billed: also what is held or not approved yet, so that
    releasing it later bills nothing twice. What is above a cap does not count.

    parts     see `charges`
    projects  `PROJECTS` with tax treatment
    terms     project → terms
    period    the month
    Returns   parts of kind minimum
    """
    wanted = {project: of.minimum for project, of in terms.items() if of.minimum}
    agreed = projects.filter(pl.col("project").is_in(list(wanted)) & pl.col("contract_active"))
    due = [
        to_units(minimum_due(wanted[project], period, currency), currency)
        for project, currency in agreed.select("project", "currency").iter_rows()
    ]
    counted = parts.filter(
        pl.col("kind").is_in(["time", "overage"])
        & pl.col("bucket").is_in(["on_draft", "waiting"])
        & (pl.col("service_on").dt.strftime("%Y-%m") == period)
    )
    sums = counted.group_by("project").agg(worked=pl.col("amount").sum())
    billed = pl.col("period_billed") if "period_billed" in agreed.columns else pl.lit(None, pl.Int64)
    return (
        agreed.with_columns(pl.Series("due", due, dtype=pl.Int64))
        .join(sums, on="project", how="left", maintain_order="left")
        .with_columns(counted_before=billed.fill_null(0), worked=pl.col("worked").fill_null(0))
        .with_columns(amount=pl.col("due") - pl.col("counted_before") - pl.col("worked"))
        .filter(pl.col("amount") > 0)
        .with_columns(
            fact=pl.col("project"),
            fact_version=pl.lit(0, pl.Int32),
            facet=pl.lit(f"minimum-{period}"),
            kind=pl.lit("minimum"),
            contract_line=pl.col("line_key"),
            service_on=pl.lit(last_day(period)),
            source_order=pl.lit(0, pl.Int64),
            fee_month=pl.lit(period),
            bucket=pl.lit("on_draft"),
            trace=pl.struct(
                pl.lit("minimum of the month in proportion to its days, less what it is worked for").alias("rule"),
                pl.lit(period).alias("month"), "due", "counted_before", "worked",
            ).struct.json_encode(),
            hold_codes=codes(pl.col("tax_hold_code")),
        )
    )  # fmt: skip


def addressed(
    parts: pl.DataFrame, projects: pl.DataFrame, terms: Mapping[str, Terms], period: str, paid: pl.DataFrame
) -> pl.DataFrame:
    """Say which document each part goes to, and split what several payers share.

    parts     see `charges`
    projects  `PROJECTS`
    terms     project → terms
    period    the month the drafts belong to
    paid      `PAID_SHARES`: whoever has paid a share already is not asked for it again
    Returns   parts + invoice_code str, and where payers share: payer i64, payer_bill_to str; what was done while another
              rate was the law has that rate and a document of its own
    """
    if not terms:
        return _by_rate(parts, pl.format("{}-{}", "code", pl.lit(period)))
    shared = _shared(parts, projects, terms, paid)
    stems = _stems(projects, [project for project, of in terms.items() if "contract" in of.split_by])
    by_month = pl.col("project").is_in([project for project, of in terms.items() if "period" in of.split_by])
    by_order = pl.col("project").is_in([project for project, of in terms.items() if "po" in of.split_by])
    month = pl.col("service_on").dt.strftime("%Y-%m")
    order = pl.col("purchase_order") if "purchase_order" in parts.columns else pl.lit(None, pl.String)
    ends = (
        pl.when(by_month & (month != period)).then(pl.format("-S{}", month)),
        pl.when(by_order & order.is_not_null()).then(pl.format("-{}", order)),
        pl.when(pl.col("payer") > 1).then(pl.format("-P{}", "payer")),
        pl.when(pl.col("tax_treatment") == DISBURSEMENT).then(pl.lit("-D")),
    )
    return _by_rate(
        shared.join(stems, on="project", how="left", maintain_order="left"),
        pl.format("{}-{}", pl.coalesce("stem", "code"), pl.lit(period))
        + pl.concat_str([end.fill_null("") for end in ends]),
    )


def _by_rate(parts: pl.DataFrame, code: pl.Expr) -> pl.DataFrame:
    # -T160: at 160 per mille, which was the rate when it was done and is no longer.
    return parts.with_columns(invoice_code=code, then_ppm=rate_of_day(parts)).with_columns(
        invoice_code=pl.when(pl.col("then_ppm") != pl.col("tax_rate_ppm"))
        .then(pl.format("{}-T{}", "invoice_code", pl.col("then_ppm") // 1000))
        .otherwise("invoice_code"),
        tax_rate_ppm=pl.col("then_ppm"),
    )


def _stems(projects: pl.DataFrame, by_contract: list[str]) -> pl.DataFrame:
    same = ["contract", "legal_entity", "bill_to", "currency", "seller_country", "buyer_country", "buyer_has_tax_id"]
    joined = with_treatment(projects.filter(pl.col("project").is_in(by_contract)))
    return joined.select("project", stem=pl.col("code").min().over([*same, "tax_treatment", "tax_rate_ppm"]))


def _payers(projects: pl.DataFrame, sharing: Mapping[str, tuple[Payer, ...]], scale: int) -> pl.DataFrame:
    """Judge every share by who pays it: the supply is the project's, the buyer is the payer."""
    rows = [
        (project, number, payer.bill_to, int(payer.weight * scale), payer.country, payer.has_tax_id, payer.region,
         payer.vat_id, payer.vat_id_valid, payer.vat_id_checked_on, payer.nexus, payer.state_rate_ppm)
        for project, payers in sharing.items()
        for number, payer in enumerate(payers, 1)
    ]  # fmt: skip
    schema = {
        "project": pl.String, "payer": pl.Int64, "payer_bill_to": pl.String, "weight_of_payer": pl.Int64,
        "buyer_country": pl.String, "buyer_has_tax_id": pl.Boolean, "buyer_region": pl.String, "vat_id": pl.String,
        "vat_id_valid": pl.Boolean, "vat_id_checked_on": pl.Date, "nexus": pl.Boolean, "state_rate_ppm": pl.Int64,
    }  # fmt: skip
    of_supply = [name for name in OPTIONAL if name in projects.columns and name not in schema]
    judged = with_treatment(
        pl.DataFrame(rows, schema=schema, orient="row").join(
            projects.select("project", "seller_country", *of_supply), on="project", maintain_order="left"
        )
    )
    return judged.select(
        "project", "payer", "payer_bill_to", "weight_of_payer",
        payer_treatment="tax_treatment", payer_rate_ppm="tax_rate_ppm", payer_hold="tax_hold_code",
        payer_reason="tax_reason",
    )  # fmt: skip


def _shared(
    parts: pl.DataFrame, projects: pl.DataFrame, terms: Mapping[str, Terms], paid: pl.DataFrame
) -> pl.DataFrame:
    sharing = {project: of.payers for project, of in terms.items() if of.payers}
    nobody = {"payer": pl.lit(None, pl.Int64), "payer_bill_to": pl.lit(None, pl.String)}
    if not sharing:
        return parts.with_columns(**nobody)
    free = (pl.col("hold_codes").list.len() == 0) & (pl.col("bucket") == "on_draft")
    asks = free & pl.col("project").is_in(list(sharing))
    digits = max(-int(payer.weight.normalize().as_tuple().exponent) for of in sharing.values() for payer in of)
    scale = 10 ** max(digits, 0)
    payers_of = _payers(projects, sharing, scale)
    # A share that cannot be taxed would be shared anew next time: all of the part waits for it.
    untaxed = payers_of.filter(pl.col("payer_hold").is_not_null()).group_by("project").agg(
        missing=pl.col("payer_hold").unique(), lacks=pl.col("payer_reason").first()
    )  # fmt: skip
    waits = asks & pl.col("missing").is_not_null() & (pl.col("tax_treatment") != DISBURSEMENT)
    parts = with_more(
        parts.join(untaxed, on="project", how="left", maintain_order="left").with_columns(
            tax_reason=pl.when(waits).then("lacks").otherwise("tax_reason")
        ),
        pl.when(waits).then("missing"),
    ).drop("missing", "lacks")
    split = parts.filter(asks).with_row_index("part").join(payers_of, on="project").sort("part", "payer")
    split = split.join(
        _still_owed(parts.filter(asks), payers_of, paid), on=["fact", "payer"], how="left", maintain_order="left"
    )
    again = pl.col("owed_amount").is_not_null() & pl.col("kind").is_in(OF_FACTS)
    for name, step, owed in (
        ("amount", MINOR, "owed_amount"),
        ("spent", MINOR, "owed_amount"),
        ("minutes", 1, "owed_minutes"),
        ("charged", 1, "owed_minutes"),
    ):
        if name in split.columns:
            due = again & (pl.col(owed).sum().over("part") > 0)
            split = split.with_columns(pl.when(due).then(owed).otherwise("weight_of_payer").alias("weight"))
            whole = pl.col("weight").sum().over("part")
            shares = _largest_remainder(pl.col(name), pl.col("weight"), whole, step, f"{name}_share")
            split = split.with_columns(shares)
    named = [name for name in ("amount", "spent", "minutes", "charged") if name in split.columns]
    split = split.with_columns(pl.col(f"{name}_share").alias(name) for name in named)
    nothing = pl.all_horizontal(pl.col(name).fill_null(0) == 0 for name in named)
    split = split.filter(~(again & nothing))
    timed = pl.col("kind").is_in(["time", "overage"])
    first = pl.col("facet").str.extract(r"^(\d+)-\d+$", 1).cast(pl.Int64)
    start = first + pl.col("minutes").cum_sum().over("part") - pl.col("minutes")
    ranged = pl.when(timed).then(pl.format("{}-{}", start, start + pl.col("minutes"))).otherwise("facet")
    own = pl.col("tax_treatment") == DISBURSEMENT
    paid = split.with_columns(
        facet=pl.when(pl.col("payer") > 1).then(pl.format("p{}-{}", "payer", ranged)).otherwise(ranged),
        tax_treatment=pl.when(own).then("tax_treatment").otherwise("payer_treatment"),
        tax_rate_ppm=pl.when(own).then("tax_rate_ppm").otherwise("payer_rate_ppm"),
        tax_reason=pl.when(own).then("tax_reason").otherwise("payer_reason"),
    )
    settled = paid.select(*parts.columns, "payer", "payer_bill_to")
    return pl.concat([parts.filter(~asks).with_columns(**nobody), settled], how="diagonal")


def _still_owed(asked: pl.DataFrame, payers_of: pl.DataFrame, paid: pl.DataFrame) -> pl.DataFrame:
    """Return what each payer owes of a fact it has a part of already: its share of the whole, less what it has.

    Returns   fact, payer, owed_amount (minor units), owed_minutes; only facts of which payers have something
    """
    facts = (
        asked.filter(pl.col("kind").is_in(OF_FACTS))
        .group_by("fact")
        .agg(pl.col("project").first(), open_amount=pl.col("amount").sum(), open_minutes=pl.col("minutes").sum())
    )
    has = {"has_amount": pl.col("amount").sum(), "has_minutes": pl.col("minutes").sum()}
    sums = paid.group_by("fact", payer_bill_to="bill_to").agg(**has)
    owing = (
        facts.join(payers_of, on="project")
        .join(sums, on=["fact", "payer_bill_to"], how="left")
        .with_columns(pl.col("has_amount", "has_minutes").fill_null(0), part=pl.col("fact"))
        .sort("part", "payer")
    )
    every = [pl.col(name).sum().over("part") for name in ("has_amount", "has_minutes")]
    fit = (
        ((every[0] != 0) | (every[1] != 0))
        & (pl.col("has_amount").min().over("part") >= 0)
        & (pl.col("open_amount") + every[0] > 0)
        & (pl.col("payer_bill_to").n_unique().over("part") == pl.len().over("part"))
    )
    whole = pl.col("weight_of_payer").sum().over("part")
    weight = pl.col("weight_of_payer")
    shares = owing.with_columns(
        all_amount=pl.col("open_amount") + every[0], all_minutes=pl.col("open_minutes") + every[1]
    )
    shares = shares.filter(fit).with_columns(
        _largest_remainder(pl.col("all_amount"), weight, whole, MINOR, "due_amount"),
        _largest_remainder(pl.col("all_minutes"), weight, whole, 1, "due_minutes"),
    )
    owed = {name: (pl.col(f"due_{name}") - pl.col(f"has_{name}")).clip(lower_bound=0) for name in ("amount", "minutes")}
    return shares.select("fact", "payer", owed_amount=owed["amount"] // MINOR, owed_minutes=owed["minutes"])


def _largest_remainder(total: pl.Expr, weight: pl.Expr, whole: pl.Expr, step: int, name: str) -> pl.Expr:
    # What is smaller than a step goes to the first; the steps that are missing go to the largest remainders.
    steps = total.abs() // step
    exact = product(steps, weight)
    floor = exact // whole.cast(pl.Int128)
    missing = steps - floor.sum().over("part")
    place = (floor * whole - exact).cast(pl.Int64).rank("ordinal").over("part")
    given = floor + (place <= missing).cast(pl.Int128)
    residue = pl.when(pl.col("payer") == 1).then(total.abs() - steps * step).otherwise(0)
    sign = pl.when(total < 0).then(-1).otherwise(1)
    return ((given * step + residue) * sign).cast(pl.Int64).alias(name)


def discounts(charges: pl.DataFrame, terms: Mapping[str, Terms]) -> pl.DataFrame:
    """Take the agreed share off each document, shared over its lines by largest remainder.

    charges   `CHARGES` plus invoice_date and tax columns: what is on drafts
    terms     project → terms
    Returns   charges of kind discount, one for each line, below zero
    """
    giving = {project: int(of.header_discount * MILLION) for project, of in terms.items() if of.header_discount}
    lines = (
        charges.filter((pl.col("bucket") == "on_draft") & pl.col("project").is_in(list(giving)))
        .group_by("invoice_code", "line_key")
        .agg(
            pl.col("amount").sum().alias("net"),
            pl.col("contract_line").min(),
            pl.col("project").min(),
            *(pl.col(name).first() for name in _OF_DOCUMENT if name in charges.columns),
        )
        .filter(pl.col("net") > 0)
        .sort("invoice_code", "line_key")
        .with_columns(
            part=pl.col("invoice_code"),
            payer=pl.int_range(1, pl.len() + 1).over("invoice_code"),
            share_ppm=pl.col("project").replace_strict(giving, default=0, return_dtype=pl.Int64),
        )
    )
    base = pl.col("net").sum().over("invoice_code")
    taken = lines.with_columns(
        off=rounded(product(base, pl.col("share_ppm").first().over("invoice_code")), MILLION), base=base
    )
    return taken.with_columns(
        _largest_remainder(pl.col("off"), pl.col("net"), base, MINOR, "off")
    ).filter(pl.col("off") != 0).with_columns(
        key=pl.format("{}/0/discount-{}/{}", "project", "invoice_code", "line_key"),
        fact=pl.col("project"),
        fact_version=pl.lit(0, pl.Int32),
        kind=pl.lit("discount"),
        service_on=pl.col("invoice_date"),
        source_order=pl.lit(0, pl.Int64),
        quantity=pl.lit(1, pl.Int64),
        amount=-pl.col("off"),
        bucket=pl.lit("on_draft"),
        hold_codes=codes(pl.lit(None, pl.String)),
        trace=pl.struct(
            pl.lit("discount on the document, shared over its lines by largest remainder").alias("rule"),
            pl.col("line_key").alias("line"), "share_ppm", "base", "net",
        ).struct.json_encode(),
        line_key=pl.lit("4-discount"),
        description=pl.lit("Discount"),
        line_rate=pl.lit(None, pl.Int64),
    )  # fmt: skip


_OF_DOCUMENT = (
    "contract", "currency", "purchase_order", "tax_treatment", "tax_rate_ppm", "tax_reason", "invoice_date", "period",
    "payer_bill_to", "terms_days",
)  # fmt: skip
