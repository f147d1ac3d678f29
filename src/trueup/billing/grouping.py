"""Parts become charges on draft invoices: by project, one document per code, one line per line key."""

from decimal import Decimal

import polars as pl

from trueup.billing.frames import CHARGES, INVOICE_LINES, INVOICES, RunPlan
from trueup.billing.holds import listed
from trueup.billing.rounding import MILLION, product, rounded
from trueup.kernel.money import from_units

RATE_WIDTH = 10
"""Characters of the rate inside a line key, so that lines sort by rate."""


def rate_text(rate: int, currency: str) -> str:
    """Write a rate for a line key: two decimals or as many as it has, padded with zeros.

    rate  units per hour

    >>> rate_text(165_500_000, "EUR"), rate_text(165_505_000, "EUR"), rate_text(90_000_000, "JPY")
    ('0000165.50', '000165.505', '0009000.00')
    """
    amount = from_units(rate, currency)
    digits = max(2, -int(amount.as_tuple().exponent))
    return f"{amount:.{digits}f}".zfill(RATE_WIDTH)


def assemble(parts: pl.DataFrame, projects: pl.DataFrame) -> RunPlan:
    """Put free parts on drafts, list the reasons of the others.

    A document below zero is not made: its parts wait for a credit note, or for charges that outweigh them.

    parts     see `charges`; plus invoice_code str, invoice_date date, period str: the document a free part goes to
    projects  `PROJECTS`
    Returns   charges, invoices, their lines and the holds
    """
    settled = _bucketed(_without_negative_documents(parts))
    approved = _with_line_keys(settled.filter(pl.col("bucket") != "waiting"))
    charges = approved.with_columns(
        key=pl.format("{}/{}/{}", "fact", "fact_version", "facet"),
        quantity=pl.coalesce("minutes", pl.lit(1, pl.Int64)),
        hold_code=pl.col("hold_codes").list.first(),
        invoice_code=pl.when(pl.col("bucket") == "on_draft").then("invoice_code"),
    ).sort("key")
    drafted = charges.filter(pl.col("bucket") == "on_draft")
    lines = draft_lines(drafted)
    return RunPlan(
        charges=CHARGES.write(charges),
        invoices=draft_invoices(drafted, lines, projects),
        invoice_lines=lines,
        holds=listed(settled),
    )


def draft_lines(drafted: pl.DataFrame) -> pl.DataFrame:
    """Add up charges to invoice lines.

    drafted  invoice_code, line_key, description, kind str, contract_line str|null, quantity i64, rate and amount
             i64 units
    Returns  `INVOICE_LINES`
    """
    return INVOICE_LINES.write(
        drafted.group_by("invoice_code", "line_key")
        .agg(
            pl.col("description").unique().sort().str.join(", "),
            pl.col("kind").first().alias("charge_kind"),
            pl.col("contract_line").min(),
            pl.col("quantity").sum(),
            pl.when(pl.col("kind").first().is_in(["time", "overage"]))
            .then(pl.lit("minute"))
            .otherwise(pl.lit("count"))
            .alias("unit"),
            pl.col("line_rate").first().alias("rate"),
            pl.col("amount").sum().alias("net"),
        )
        .sort("invoice_code", "line_key")
    )


def draft_invoices(drafted: pl.DataFrame, lines: pl.DataFrame, projects: pl.DataFrame) -> pl.DataFrame:
    """Add up lines to invoices and tax them, once each.

    drafted   invoice_code, project, period, tax_treatment str, invoice_date date, tax_rate_ppm i64
    lines     `INVOICE_LINES`
    projects  `PROJECTS`
    Returns   `INVOICES`
    Source    EN 16931: tax on the summed base of a category, not line by line.
    """
    headers = drafted.group_by("invoice_code").agg(
        pl.col("project", "period", "invoice_date", "tax_treatment", "tax_rate_ppm").first()
    )
    buyers = projects.select("project", "contract", "legal_entity", "currency", "bill_to", "terms_days")
    return INVOICES.write(
        lines.group_by("invoice_code")
        .agg(pl.col("net").sum())
        .join(headers, on="invoice_code")
        .join(buyers, on="project")
        .rename({"invoice_code": "code"})
        .with_columns(
            due_on=pl.col("invoice_date") + pl.duration(days=pl.col("terms_days")),
            tax=rounded(product(pl.col("net"), pl.col("tax_rate_ppm")), MILLION),
        )
        .with_columns(gross=pl.col("net") + pl.col("tax"))
        .sort("code")
    )


def _without_negative_documents(parts: pl.DataFrame) -> pl.DataFrame:
    free = (pl.col("hold_codes").list.len() == 0) & (pl.col("bucket") == "on_draft")
    total = pl.when(free).then("amount").otherwise(0).sum().over("invoice_code")
    return parts.with_columns(
        hold_codes=pl.when(free & (total < 0))
        .then(pl.concat_list(pl.lit("CREDIT_DUE")))
        .otherwise("hold_codes")
    )  # fmt: skip


def _bucketed(parts: pl.DataFrame) -> pl.DataFrame:
    # Over the cap and nothing else is a bucket of its own; any other reason holds.
    reasons = pl.col("hold_codes")
    only_the_cap = (reasons.list.len() == 1) & (reasons.list.first() == "CAP_EXCEEDED")
    return parts.with_columns(
        bucket=pl.when((pl.col("bucket") == "waiting") | (reasons.list.len() == 0))
        .then("bucket")
        .when(only_the_cap)
        .then(pl.lit("over_cap"))
        .otherwise(pl.lit("held"))
    )


def _with_line_keys(parts: pl.DataFrame) -> pl.DataFrame:
    priced = parts.select("rate", "currency").drop_nulls().unique()
    texts = [(rate_text(rate, currency), _plain(from_units(rate, currency))) for rate, currency in priced.iter_rows()]
    known = priced.with_columns(
        pl.Series("padded", [padded for padded, _ in texts], dtype=pl.String),
        pl.Series("plain", [plain for _, plain in texts], dtype=pl.String),
    )
    kind = pl.col("kind")
    written = parts.join(known, on=["rate", "currency"], how="left").with_columns(
        line_key=pl.when(kind == "time").then(pl.format("1-time-{}-{}", "role", "padded"))
        .when(kind == "expense").then(pl.format("2-expense-{}", "category"))
        .when(kind == "fee").then(pl.lit("0-fee-retainer"))
        .when(kind == "overage").then(pl.lit("3-overage"))
        .otherwise(pl.format("0-milestone-{}", "milestone_key")),
        description=pl.when(kind == "time").then(pl.format("{} at {} {} per hour", "role", "plain", "currency"))
        .when(kind == "expense").then(pl.format("Expenses: {}", "category"))
        .when(kind == "fee").then(pl.format("Retainer {}", "fee_month"))
        .when(kind == "overage").then(pl.format("Hours above the retainer at {} {} per hour", "plain", "currency"))
        .otherwise(pl.format("Milestone: {}", "milestone_name")),
        line_rate=pl.when(kind.is_in(["fee", "milestone"])).then("amount").otherwise("rate"),
    )  # fmt: skip
    return written.with_columns(line_key=pl.when(pl.col("bucket") == "on_draft").then("line_key"))


def _plain(amount: Decimal) -> str:
    return f"{amount:f}"
