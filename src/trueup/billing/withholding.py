"""Withholding: the customer pays part of an invoice to the tax office; the invoice's total stays as it is."""

import polars as pl

from trueup.billing.rounding import MILLION, product, rounded


def with_withholding(invoices: pl.DataFrame, terms: pl.DataFrame) -> pl.DataFrame:
    """Add what a customer withholds and what is then expected; without a term nothing is withheld.

    invoices  legal_entity str, bill_to str, invoice_date date, net i64 units, tax i64 units, gross i64 units
    terms     legal_entity str, bill_to str|null (null: every customer of the entity), rate_ppm i64,
              base str (net or gross), valid_from date; a customer's own term goes before the entity's, the latest
              valid_from on the invoice date wins
    Returns   invoices + withheld i64 units (rounded once, half away from zero), expected i64 units (gross less
              withheld: what the bank will receive), certificate i64 units (receivable from the tax office until the
              certificate is there; the same as withheld)
    Source    billing.md S23; India 194J and its like: rate and base are configuration, sources disagree on the base.
    """
    numbered = invoices.with_row_index("row")
    dated = numbered.select("row", "legal_entity", "bill_to", "invoice_date")
    chosen = (
        dated.join(terms.rename({"bill_to": "who"}), on="legal_entity")
        .filter(
            (pl.col("who").is_null() | (pl.col("who") == pl.col("bill_to")))
            & (pl.col("valid_from") <= pl.col("invoice_date"))
        )
        .with_columns(own=pl.col("who").is_not_null())
        .sort("own", "valid_from", "rate_ppm", "base", descending=[True, True, True, True])
        .unique("row", keep="first", maintain_order=True)
        .select("row", "rate_ppm", "base")
    )
    base = pl.when(pl.col("base") == "gross").then("gross").otherwise("net")
    return (
        numbered.join(chosen, on="row", how="left", maintain_order="left")
        .with_columns(withheld=rounded(product(base, pl.col("rate_ppm").fill_null(0)), MILLION))
        .with_columns(expected=pl.col("gross") - pl.col("withheld"), certificate=pl.col("withheld"))
        .drop("row", "rate_ppm", "base")
    )
