"""Parts become charges on draft invoices: by project, one document per code, one line per line key."""

from collections.abc import Mapping
from decimal import Decimal

import polars as pl

from trueup.billing.documents import discounts
from trueup.billing.frames import CHARGES, INVOICE_LINES, INVOICES, RunPlan
from trueup.billing.holds import listed
from trueup.billing.rounding import MILLION, product, rounded
from trueup.billing.tax import category_of
from trueup.billing.terms import PLAIN, Terms
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


def assemble(parts: pl.DataFrame, projects: pl.DataFrame, terms: Mapping[str, Terms] | None = None) -> RunPlan:
    """Put free parts on drafts, list the reasons of the others.

    A document below zero is not made: its parts wait for a credit note, or for charges that outweigh them.

    parts     see `charges`; plus invoice_code str, invoice_date date, period str: the document a free part goes to
    projects  `PROJECTS`
    terms     project → terms, where they are not the plain ones
    Returns   charges, invoices, their lines and the holds
    """
    agreed = terms or {}
    settled = _bucketed(_without_negative_documents(parts))
    approved = _with_line_keys(settled.filter(pl.col("bucket") != "waiting"), agreed)
    charged = ["charged"] if "charged" in approved.columns else []
    charges = approved.with_columns(
        key=pl.format("{}/{}/{}", "fact", "fact_version", "facet"),
        quantity=pl.coalesce(*charged, "minutes", pl.lit(1, pl.Int64)),
        hold_code=pl.col("hold_codes").list.first(),
        invoice_code=pl.when(pl.col("bucket") == "on_draft").then("invoice_code"),
    )
    if any(of.header_discount for of in agreed.values()):
        charges = pl.concat([charges, discounts(charges, agreed)], how="diagonal")
    charges = charges.sort("key")
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

    drafted  invoice_code, line_key, description, kind, tax_treatment, tax_reason str, contract_line str|null, quantity,
             tax_rate_ppm i64, rate and amount i64 units
    Returns  `INVOICE_LINES`
    """
    return INVOICE_LINES.write(
        drafted.group_by("invoice_code", "line_key")
        .agg(
            pl.col("description").unique().sort().str.join(", "),
            pl.col("kind").first().alias("charge_kind"),
            pl.col("contract_line").min(),
            pl.when(pl.col("kind").first() == "discount").then(1).otherwise(pl.col("quantity").sum()).alias("quantity"),
            pl.when(pl.col("kind").first().is_in(["time", "overage"]))
            .then(pl.lit("minute"))
            .otherwise(pl.lit("count"))
            .alias("unit"),
            pl.col("line_rate").first().alias("rate"),
            pl.col("amount").sum().alias("net"),
            pl.col("tax_treatment", "tax_rate_ppm", "tax_reason").first(),
        )
        .with_columns(tax_code=_tax_code(drafted))
        .sort("invoice_code", "line_key")
    )


def _tax_code(drafted: pl.DataFrame) -> pl.Expr:
    known = {name: category_of(name).code for name in drafted["tax_treatment"].drop_nulls().unique()}
    return pl.col("tax_treatment").replace_strict(known, default=None, return_dtype=pl.String)


def draft_invoices(drafted: pl.DataFrame, lines: pl.DataFrame, projects: pl.DataFrame) -> pl.DataFrame:
    """Add up lines to invoices and tax them, once each.

    drafted   invoice_code, project, period, tax_treatment, tax_reason str, invoice_date date, tax_rate_ppm i64, and where several
              pay payer_bill_to str|null
    lines     `INVOICE_LINES`
    projects  `PROJECTS`
    Returns   `INVOICES`
    Source    EN 16931: tax on the summed base of a category, not line by line.
    """
    paid_by = ["payer_bill_to"] if "payer_bill_to" in drafted.columns else []
    headers = drafted.group_by("invoice_code").agg(
        pl.col("project").min(),
        pl.col("period", "invoice_date", "tax_treatment", "tax_rate_ppm", "tax_reason", *paid_by).first(),
    )
    buyers = projects.select("project", "contract", "legal_entity", "currency", "bill_to", "terms_days")
    return INVOICES.write(
        lines.group_by("invoice_code")
        .agg(pl.col("net").sum())
        .join(headers, on="invoice_code")
        .join(buyers, on="project")
        .rename({"invoice_code": "code"})
        .with_columns(
            bill_to=pl.coalesce(*paid_by, "bill_to"),
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
    only_the_cap = (reasons.list.len() == 1) & reasons.list.first().is_in(["CAP_EXCEEDED", "CAP_DAILY"])
    return parts.with_columns(
        bucket=pl.when((pl.col("bucket") == "waiting") | (reasons.list.len() == 0))
        .then("bucket")
        .when(only_the_cap)
        .then(pl.lit("over_cap"))
        .otherwise(pl.lit("held"))
    )


def _with_line_keys(parts: pl.DataFrame, terms: Mapping[str, Terms]) -> pl.DataFrame:
    priced = parts.select("rate", "currency").drop_nulls().unique()
    texts = [(rate_text(rate, currency), _plain(from_units(rate, currency))) for rate, currency in priced.iter_rows()]
    known = priced.with_columns(
        pl.Series("padded", [padded for padded, _ in texts], dtype=pl.String),
        pl.Series("plain", [plain for _, plain in texts], dtype=pl.String),
    )
    kind = pl.col("kind")
    called = _line_of(parts.columns, terms)
    written = parts.join(known, on=["rate", "currency"], how="left").with_columns(
        line_key=pl.when(kind == "time").then(pl.format("1-time-{}-{}", called, "padded"))
        .when(kind == "expense").then(pl.format("2-expense-{}", "category"))
        .when(kind == "fee").then(pl.lit("0-fee-retainer"))
        .when(kind == "overage").then(pl.lit("3-overage"))
        .when(kind == "minimum").then(pl.lit("3-minimum"))
        .otherwise(pl.format("0-milestone-{}", "milestone_key")),
        description=pl.when(kind == "time").then(pl.format("{} at {} {} per hour", called, "plain", "currency"))
        .when(kind == "expense").then(pl.format("Expenses: {}", "category"))
        .when(kind == "fee").then(pl.format("Retainer {}", "fee_month"))
        .when(kind == "overage").then(pl.format("Hours above the retainer at {} {} per hour", "plain", "currency"))
        .when(kind == "minimum").then(pl.format("Top-up to the minimum of {}", "fee_month"))
        .otherwise(pl.format("Milestone: {}", "milestone_name")),
        line_rate=pl.when(kind.is_in(["fee", "minimum", "milestone"])).then("amount").otherwise("rate"),
    )  # fmt: skip
    return written.with_columns(line_key=pl.when(pl.col("bucket") == "on_draft").then("line_key"))


def _line_of(columns: list[str], terms: Mapping[str, Terms]) -> pl.Expr:
    # Time of a line without a role, priced by a card for anybody, is simply work.
    role = pl.col("role").fill_null("Work")
    apart = {project: of.lines_by for project, of in terms.items() if of.lines_by != PLAIN.lines_by}
    if not apart:
        return role
    resource = pl.col("resource") if "resource" in columns else pl.lit(None, pl.String)
    ways: dict[str, pl.Expr] = {
        "role": role,
        "person": pl.coalesce(*(name for name in ("person",) if name in columns), resource, pl.lit("nobody")),
        "week": pl.col("service_on").dt.strftime("%G-W%V"),
        "task": pl.coalesce(*(name for name in ("task_name", "task") if name in columns), pl.lit("no task")),
        "project": pl.col("code"),
    }
    called = role
    for by in sorted(set(apart.values())):
        same = pl.col("project").is_in([project for project, lines_by in apart.items() if lines_by == by])
        called = pl.when(same).then(pl.concat_str([ways[name] for name in by], separator=", ")).otherwise(called)
    return called


def _plain(amount: Decimal) -> str:
    return f"{amount:f}"
