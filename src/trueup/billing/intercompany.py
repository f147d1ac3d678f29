"""Intercompany staffing: who lends a person charges who bills the client, on the same fact, in the lender's currency."""

import polars as pl

from trueup.billing.frames import Shape, day, maybe, text, units, whole
from trueup.billing.rounding import HOUR, MILLION, product, rounded
from trueup.kernel.money import minor_digits

RECEIVABLE, PAYABLE, REVENUE, COST = "1190", "2150", "4900", "5200"
UNBILLED, SERVICES = "1150", "4000"
FX = 1_000_000_000
"""A rate of exchange is kept as a whole number of billionths."""

STAFFED = Shape(
    "staffed",
    "one approved time entry of a person employed by one legal entity on a project of another",
    {
        "fact": text("the time entry"),
        "fact_version": whole("its version"),
        "lender": text("legal entity that employs the person"),
        "borrower": text("legal entity that bills the client"),
        "lender_currency": text("ISO 4217"),
        "borrower_currency": text("ISO 4217"),
        "worked_on": day("service date"),
        "minutes": whole("minutes worked"),
        "cost_rate": maybe(units("cost per hour, lender's currency")),
        "client_amount": units("price to the client, borrower's currency"),
        "fx_e9": maybe(whole("borrower's currency for one of the lender's, billionths; null when no rate is known")),
    },
)
TRANSFER_PRICES = Shape(
    "transfer_prices",
    "one rule between two legal entities from a day on",
    {
        "lender": text("who lends"),
        "borrower": text("who borrows"),
        "rule": text("cost_plus, share or fixed"),
        "value": whole("cost_plus: parts per million on top; share: ppm of the client's price; fixed: units per hour"),
        "valid_from": day("first day; ends where the next rule begins"),
    },
)


def price_transfers(staffed: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Price each lent hour by the rule of its pair and day; what has no rule, cost or rate of exchange is held.

    staffed  `STAFFED`
    prices   `TRANSFER_PRICES`
    Returns  staffed + rule str|null, pair str (elimination pair: both postings carry it), cost i64 units|null,
             transfer i64 units|null (lender's currency), transfer_borrower i64 units|null, lender_margin i64|null,
             borrower_margin i64|null, hold_code str|null: ENTITY_UNMAPPED without a rule, RATE_MISSING without a cost,
             CURRENCY_MISMATCH without a rate of exchange; each amount is rounded once, half away from zero
    Source   billing.md S21
    """
    seen = STAFFED.read(staffed).with_row_index("row")
    rules = TRANSFER_PRICES.read(prices).sort("valid_from")
    ruled = (
        seen.sort("worked_on")
        .join_asof(
            rules,
            left_on="worked_on",
            right_on="valid_from",
            by=["lender", "borrower"],
            check_sortedness=False,
        )
        .sort("row")
        .with_columns(_scale("lender_currency").alias("lender_scale"), _scale("borrower_currency").alias("to_scale"))
        .with_columns(
            fx_e9=pl.when(pl.col("lender_currency") == pl.col("borrower_currency"))
            .then(pl.lit(FX, pl.Int64))
            .otherwise("fx_e9")
        )
    )
    cost = rounded(product(pl.col("minutes"), pl.col("cost_rate")), HOUR)
    marked_up = rounded(
        product(product(pl.col("minutes"), pl.col("cost_rate")), pl.col("value") + MILLION), HOUR * MILLION
    )
    share = rounded(
        product(product(product(pl.col("client_amount"), pl.col("value")), FX), pl.col("lender_scale")),
        product(product(pl.col("fx_e9"), pl.col("to_scale")), MILLION),
    )
    fixed = rounded(product(pl.col("minutes"), pl.col("value")), HOUR)
    transfer = pl.when(pl.col("rule") == "cost_plus").then(marked_up).when(pl.col("rule") == "share").then(share)
    lent = ruled.with_columns(
        pair=pl.format("IC/{}/{}", "fact", "fact_version"),
        cost=cost,
        hold_code=pl.when(pl.col("rule").is_null())
        .then(pl.lit("ENTITY_UNMAPPED"))
        .when(pl.col("cost_rate").is_null())
        .then(pl.lit("RATE_MISSING"))
        .when(pl.col("fx_e9").is_null())
        .then(pl.lit("CURRENCY_MISMATCH")),
    ).with_columns(transfer=pl.when(pl.col("hold_code").is_null()).then(transfer.otherwise(fixed)))
    other = rounded(
        product(product(pl.col("transfer"), pl.col("fx_e9")), pl.col("to_scale")),
        product(pl.col("lender_scale"), FX),
    )
    return (
        lent.with_columns(transfer_borrower=other)
        .with_columns(
            lender_margin=pl.col("transfer") - pl.col("cost"),
            borrower_margin=pl.col("client_amount") - pl.col("transfer_borrower"),
        )
        .drop("row", "value", "valid_from", "lender_scale", "to_scale")
    )


def postings(priced: pl.DataFrame) -> pl.DataFrame:
    """Return both entities' journal lines, the client's price and the transfer; what is held is not posted.

    priced   what `price_transfers` returns
    Returns  legal_entity str, currency str, pair str, account str, debit i64 units, credit i64 units; in the order of
             the entries, the lender's lines first, each pair of lines balanced
    Source   billing.md R12: 1190 against 4900 at the lender, 1150 against 4000 and 5200 against 2150 at the borrower;
             the group eliminates 4900 against 5200 by pair
    """
    sound = priced.filter(pl.col("hold_code").is_null()).with_row_index("row")
    lines = [
        ("lender", "lender_currency", RECEIVABLE, "transfer", True),
        ("lender", "lender_currency", REVENUE, "transfer", False),
        ("borrower", "borrower_currency", UNBILLED, "client_amount", True),
        ("borrower", "borrower_currency", SERVICES, "client_amount", False),
        ("borrower", "borrower_currency", COST, "transfer_borrower", True),
        ("borrower", "borrower_currency", PAYABLE, "transfer_borrower", False),
    ]
    nought = pl.lit(0, pl.Int64)
    return (
        pl.concat(
            sound.select(
                "row",
                pl.lit(place).alias("place"),
                pl.col(entity).alias("legal_entity"),
                pl.col(currency).alias("currency"),
                "pair",
                pl.lit(account).alias("account"),
                (pl.col(amount) if debited else nought).alias("debit"),
                (nought if debited else pl.col(amount)).alias("credit"),
            )
            for place, (entity, currency, account, amount, debited) in enumerate(lines)
        )
        .sort("row", "place")
        .drop("row", "place")
    )


def _scale(currency: str) -> pl.Expr:
    # Units are minor units: between a yen and a euro lie two digits.
    return pl.col(currency).map_batches(
        lambda seen: pl.Series([10 ** minor_digits(code) for code in seen], dtype=pl.Int64), return_dtype=pl.Int64
    )
