"""Advances are drawn down over invoices in their order, with the VAT that was due when they were paid."""

import polars as pl

from trueup.billing.frames import Shape, text, units, whole
from trueup.billing.rounding import product, rounded

ADVANCES = Shape(
    "advances",
    "one payment on account",
    {
        "account": text("whose money: a customer, or a contract"),
        "advance": text("the payment"),
        "sequence": whole("order in which advances are used up"),
        "gross": units("paid, zero or above"),
        "tax": units("VAT within it, due on payment; 0 where the advance carried none"),
    },
)

DRAWING = Shape(
    "drawing",
    "one invoice that may draw on advances",
    {
        "account": text("customer or contract, as in the advances"),
        "invoice": text("the invoice"),
        "sequence": whole("order of the invoices"),
        "gross": units("net + tax, zero or above"),
        "tax": units("VAT on the whole invoice"),
    },
)

APPLICATIONS = Shape(
    "applications",
    "part of one advance set off against one invoice",
    {
        "account": text("customer or contract"),
        "advance": text("the payment"),
        "invoice": text("the invoice"),
        "applied": units("gross, above zero"),
        "applied_tax": units("VAT of the advance within it; the parts of an advance add up to its VAT"),
    },
)

DRAWN = Shape(
    "drawn",
    "one invoice after its advances",
    {
        "account": text("customer or contract"),
        "invoice": text("the invoice"),
        "sequence": whole("order of the invoices"),
        "applied": units("set off, gross"),
        "applied_tax": units("VAT on account that the invoice deducts"),
        "due": units("still to pay: gross - applied"),
        "due_tax": units("VAT that arises with this invoice: tax - applied_tax"),
        "left": units("of all advances of the account after this invoice"),
    },
)


def apply_advances(advances: pl.DataFrame, invoices: pl.DataFrame) -> pl.DataFrame:
    """Set advances off against invoices, each used up before the next, the first invoice first.

    advances  `ADVANCES`
    invoices  `DRAWING`
    Returns   `APPLICATIONS`, sorted by account, then as used
    Source    VAT Directive art. 65: VAT on a payment on account is due with it, so the invoice deducts it.
    """
    paid = _laid_out(ADVANCES.read(advances)).rename({"gross": "paid", "sequence": "nth", "from": "paid_from"})
    owed = _laid_out(DRAWING.read(invoices)).select("account", "invoice", "sequence", "gross", "from")
    # Both lie on one line of money from nought on: where an advance and an invoice overlap, one pays the other.
    start = pl.max_horizontal("paid_from", "from")
    stop = pl.min_horizontal(pl.col("paid_from") + pl.col("paid"), pl.col("from") + pl.col("gross"))
    used = paid.join(owed, on="account").with_columns(start=start, stop=stop).filter(pl.col("start") < pl.col("stop"))
    upto, before = (
        rounded(product(pl.col("tax"), pl.col(end) - pl.col("paid_from")), pl.col("paid")) for end in ("stop", "start")
    )
    return APPLICATIONS.write(
        used.with_columns(applied=pl.col("stop") - pl.col("start"), applied_tax=upto - before).sort(
            "account", "nth", "sequence"
        )
    )


def draw_down(advances: pl.DataFrame, invoices: pl.DataFrame) -> pl.DataFrame:
    """Say for each invoice what advances pay of it, what is due, and what is left of them.

    advances  `ADVANCES`
    invoices  `DRAWING`
    Returns   `DRAWN`, sorted by account and sequence
    """
    used = apply_advances(advances, invoices).group_by("account", "invoice").agg(pl.col("applied", "applied_tax").sum())
    had = ADVANCES.read(advances).group_by("account").agg(had=pl.col("gross").sum())
    drawn = (
        DRAWING.read(invoices)
        .join(used, on=["account", "invoice"], how="left")
        .join(had, on="account", how="left")
        .with_columns(pl.col("applied", "applied_tax", "had").fill_null(0))
        .sort("account", "sequence")
    )
    return DRAWN.write(
        drawn.with_columns(
            due=pl.col("gross") - pl.col("applied"),
            due_tax=pl.col("tax") - pl.col("applied_tax"),
            left=pl.col("had") - pl.col("applied").cum_sum().over("account"),
        )
    )


def _laid_out(rows: pl.DataFrame) -> pl.DataFrame:
    """Lay amounts of an account end to end; adds where each begins."""
    begins = (pl.col("gross").cum_sum() - pl.col("gross")).over("account")
    return rows.sort("account", "sequence").with_columns(begins.alias("from"))
