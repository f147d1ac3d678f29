"""Currency: rates with source, purpose and publication day; exact conversion rounded once; revaluation.

A source quotes every currency against one base (the ECB against EUR): one base unit costs `rate_e9` / 10^9 of the
currency. Between two other currencies both quotes enter one fraction, and the result is rounded once.
"""

import polars as pl

from trueup.billing.frames import Column, Shape, day, flag, maybe, text, units, whole
from trueup.billing.rounding import product, rounded
from trueup.kernel.money import minor_digits

ONE = 1_000_000_000
"""The rate 1 in `rate_e9`."""

FX_RATES = Shape(
    "fx_rates",
    "one published quote",
    {
        "source": text("who publishes it: ecb, contract D07; a source has one base"),
        "purpose": text("what it is for: spot, period_average, tax, oss"),
        "base": text("ISO 4217 of the source's base"),
        "currency": text("ISO 4217 quoted"),
        "published_on": day("day of publication"),
        "rate_e9": whole("price of one base unit in the currency x 10^9, above zero"),
    },
)

CONVERSIONS = Shape(
    "conversions",
    "one amount to be converted",
    {
        "key": text("the caller's own name of the row"),
        "amount": units("in `currency`"),
        "currency": text("ISO 4217 it is in"),
        "target": text("ISO 4217 it is wanted in"),
        "on": day("day whose rate counts: of service, of the invoice, of the payment"),
        "source": text("source of the rate"),
        "purpose": text("purpose of the rate"),
    },
)

CONVERTED = Shape(
    "converted",
    "one amount after conversion",
    {
        "key": text("as given"),
        "converted": Column(pl.Int64(), "in `target`, rounded once, units; null where no rate is known", nullable=True),
        "published_on": maybe(day("the older publication day of the quotes used; null where none was needed")),
        "hold_code": maybe(text("RATE_MISSING where no rate was published by then; else null")),
    },
)

RECEIVABLES_ABROAD = Shape(
    "receivables_abroad",
    "one receivable or advance in a foreign currency",
    {
        "document": text("invoice or advance"),
        "monetary": flag("true for a receivable; an advance is a promise of work and keeps its rate"),
        "amount": units("still open, in the foreign currency"),
        "currency": text("ISO 4217 of the document"),
        "home": text("ISO 4217 of the books"),
        "booked": units("the open amount at the rate it was booked at, in the home currency"),
        "unrealised_before": units("gain, or below zero loss, of earlier revaluations that still stand"),
    },
)

REVALUED = Shape(
    "revalued",
    "one receivable or advance at a month end",
    {
        "document": text("invoice or advance"),
        "value": maybe(units("at the rate of the month end, in the home currency; an advance at what was booked")),
        "unrealised": maybe(units("gain to date: value - booked")),
        "to_post": maybe(units("gain of this revaluation: unrealised - unrealised_before")),
        "hold_code": maybe(text("RATE_MISSING where no rate was published by then; else null")),
    },
)

PAYMENTS_ABROAD = Shape(
    "payments_abroad",
    "one payment of a receivable in a foreign currency",
    {
        "document": text("the invoice"),
        "sequence": whole("order of its payments"),
        "invoice_amount": units("the whole invoice in the foreign currency, above zero"),
        "booked": units("the whole invoice in the home currency, at the rate it was booked at"),
        "amount": units("paid, in the foreign currency"),
        "cash": units("received, in the home currency"),
    },
)

REALISED = Shape(
    "realised",
    "what one payment gained",
    {
        "document": text("the invoice"),
        "sequence": whole("order of its payments"),
        "settled": units("booked value it pays off, cumulatively rounded; the last payment takes what is left"),
        "realised": units("cash - settled; below zero is a loss"),
    },
)


def convert(amounts: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Convert amounts by the newest quote published by their day.

    amounts  `CONVERSIONS`
    rates    `FX_RATES`
    Returns  `CONVERTED`, in the order of the amounts; the same currency needs no rate
    Raises   ValueError where a source has two bases, polars InvalidOperationError where a result does not fit Int64.
    Source   VAT Directive art. 91(2): the rate of the day, or of the previous day of publication.
    """
    table = FX_RATES.read(rates)
    bases = table.select("source", "base").unique()
    if bases["source"].is_duplicated().any():
        raise ValueError("a source of rates quotes against one base; give the second base a source of its own")
    asked = CONVERSIONS.read(amounts).with_row_index("row").join(bases, on="source", how="left", maintain_order="left")
    quoted = _quoted(_quoted(asked, table, "currency", "from"), table, "target", "to")
    scaled = product(pl.col("amount"), pl.col("rate_to")) * pl.col("scale_to").cast(pl.Int128)
    below = product(pl.col("rate_from"), pl.col("scale_from"))
    same = pl.col("currency") == pl.col("target")
    result = _scaled(quoted.sort("row")).with_columns(
        converted=pl.when(same).then("amount").otherwise(rounded(scaled, below)),
        published_on=pl.when(~same).then(pl.min_horizontal("published_from", "published_to")),
    )
    return CONVERTED.write(
        result.with_columns(hold_code=pl.when(pl.col("converted").is_null()).then(pl.lit("RATE_MISSING")))
    )


def _quoted(asked: pl.DataFrame, table: pl.DataFrame, column: str, end: str) -> pl.DataFrame:
    """Join the quote of one currency in force on the day; the base itself is one."""
    keys = ["source", "purpose", column]
    quotes = table.select(
        "source", "purpose", pl.col("currency").alias(column), "published_on", pl.col("rate_e9").alias(f"rate_{end}")
    ).with_columns(pl.col("published_on").alias(f"published_{end}"))
    found = asked.sort("on").join_asof(
        quotes.sort("published_on"), left_on="on", right_on="published_on", by=keys, strategy="backward",
        check_sortedness=False,
    )  # fmt: skip
    is_base = pl.col(column) == pl.col("base")
    return found.drop("published_on", strict=False).with_columns(
        pl.when(is_base).then(ONE).otherwise(f"rate_{end}").alias(f"rate_{end}"),
        pl.when(~is_base).then(f"published_{end}").alias(f"published_{end}"),
    )


def _scaled(rows: pl.DataFrame) -> pl.DataFrame:
    """Add ten to the power of each currency's minor digits."""
    codes = sorted({*rows["currency"], *rows["target"]})
    scale = {code: 10 ** minor_digits(code) for code in codes}
    return rows.with_columns(
        scale_from=pl.col("currency").replace_strict(scale, return_dtype=pl.Int64),
        scale_to=pl.col("target").replace_strict(scale, return_dtype=pl.Int64),
    ) if codes else rows.with_columns(scale_from=pl.lit(1), scale_to=pl.lit(1))  # fmt: skip


def revalue(open_items: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """Value what is open abroad at a month end; an advance is not revalued.

    open_items  `RECEIVABLES_ABROAD`
    values      `CONVERTED` of the open amounts into the home currency, keyed by document
    Returns     `REVALUED`, sorted by document
    Source      IAS 21.23 for monetary items; IFRIC 22 for advances.
    """
    items = RECEIVABLES_ABROAD.read(open_items).join(
        CONVERTED.read(values), left_on="document", right_on="key", how="left", validate="1:1"
    )
    value = pl.when("monetary").then("converted").otherwise("booked")
    return REVALUED.write(
        items.with_columns(value=value)
        .with_columns(unrealised=pl.col("value") - pl.col("booked"))
        .with_columns(
            to_post=pl.col("unrealised") - pl.col("unrealised_before"),
            hold_code=pl.when(pl.col("value").is_null()).then(pl.lit("RATE_MISSING")),
        )
        .sort("document")
    )


def realise(payments: pl.DataFrame) -> pl.DataFrame:
    """Say what each payment gained or lost against the rate the invoice was booked at.

    payments  `PAYMENTS_ABROAD`; together at most the invoice
    Returns   `REALISED`, sorted by document and sequence; once all is paid, what was settled is what was booked
    """
    paid = PAYMENTS_ABROAD.read(payments).sort("document", "sequence")
    upto = pl.col("amount").cum_sum().over("document")
    settled = [
        rounded(product(pl.col("booked"), share), pl.col("invoice_amount")) for share in (upto, upto - pl.col("amount"))
    ]
    return REALISED.write(
        paid.with_columns(settled=settled[0] - settled[1]).with_columns(realised=pl.col("cash") - pl.col("settled"))
    )
