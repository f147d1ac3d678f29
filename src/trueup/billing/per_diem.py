"""Daily allowances: by country, place and date, less meals that were given, and what the client is billed for them."""

import polars as pl

from trueup.billing.frames import Column, Shape, day, flag, maybe, text, units, whole
from trueup.billing.rounding import MILLION, product, rounded

PER_DIEM_RATES = Shape(
    "per_diem_rates",
    "the allowance of one place from a day on",
    {
        "country": text("ISO 3166 alpha-2"),
        "place": maybe(text("town or county; null for the rest of the country")),
        "valid_from": day("first day; ends where the next one starts"),
        "currency": text("ISO 4217"),
        "full_day": units("for a whole day"),
        "edge_ppm": whole("share of the first and the last day of a journey, parts per million"),
        "breakfast": units("taken off where breakfast was given"),
        "lunch": units("taken off where lunch was given"),
        "dinner": units("taken off where dinner was given"),
        "incidentals": units("never less than this is paid for a day"),
    },
)

TRAVEL_DAYS = Shape(
    "travel_days",
    "one day of one person on a journey",
    {
        "gid": text("the day's expense line"),
        "country": text("ISO 3166 alpha-2 of where the day ended"),
        "place": maybe(text("town or county")),
        "on": day("the day"),
        "edge": flag("whether it is the first or last day of the journey"),
        "breakfast_given": flag("paid by somebody else"),
        "lunch_given": flag("paid by somebody else"),
        "dinner_given": flag("paid by somebody else"),
        "client_rule": text("as_paid, fixed_daily or nothing: what the client is billed"),
        "client_rate": maybe(units("for fixed_daily: billed for every day, in the client's currency")),
    },
)

ALLOWANCES = Shape(
    "allowances",
    "one day's allowance",
    {
        "gid": text("the day's expense line"),
        "currency": maybe(text("ISO 4217 of what is paid; null where no rate is known")),
        "before_meals": maybe(units("full day, or its share on the first and last day, rounded once")),
        "cut": maybe(units("taken off for meals")),
        "paid": maybe(units("to the traveller; null where no rate is known")),
        "billed": maybe(units("to the client; null where it depends on a rate that is not known")),
        "hold_code": Column(pl.String(), "RATE_MISSING where no rate is known; else null", nullable=True),
    },
)


def percent_cuts(rates: pl.DataFrame, breakfast_ppm: int, lunch_ppm: int, dinner_ppm: int) -> pl.DataFrame:
    """Fill in the cuts as shares of the full day, each rounded once.

    rates    full_day i64 units, and what else the table has
    Returns  rates + breakfast, lunch, dinner i64 units
    """
    shares = {"breakfast": breakfast_ppm, "lunch": lunch_ppm, "dinner": dinner_ppm}
    return rates.with_columns(
        rounded(product(pl.col("full_day"), share), MILLION).alias(meal) for meal, share in shares.items()
    )


def allowances(days: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Work out what each day pays and what the client is billed.

    A rate of the place goes before one of the country, and the newest that has begun before an older one. Meals are
    taken off in full, on the first and last day too, and never below the incidentals.

    days     `TRAVEL_DAYS`
    rates    `PER_DIEM_RATES`
    Returns  `ALLOWANCES`, in the order of the days
    """
    table = PER_DIEM_RATES.read(rates)
    asked = TRAVEL_DAYS.read(days).with_row_index("row")
    found = _rate_of_the_day(asked, table)
    edge = rounded(product(pl.col("full_day"), pl.col("edge_ppm")), MILLION)
    cuts = (pl.when(pl.col(f"{meal}_given")).then(meal).otherwise(0) for meal in ("breakfast", "lunch", "dinner"))
    priced = found.with_columns(
        before_meals=pl.when("edge").then(edge).otherwise("full_day"),
        cut=pl.sum_horizontal(*cuts, ignore_nulls=False),
    ).with_columns(
        paid=pl.when(pl.col("before_meals").is_not_null()).then(
            pl.max_horizontal(pl.col("before_meals") - pl.col("cut"), "incidentals")
        )
    )
    rule = pl.col("client_rule")
    billed = (
        pl.when(rule == "as_paid").then("paid").when(rule == "fixed_daily").then("client_rate").otherwise(pl.lit(0))
    )
    return ALLOWANCES.write(
        priced.with_columns(
            cut=pl.when(pl.col("paid").is_not_null()).then("cut"),
            billed=billed,
            hold_code=pl.when(pl.col("paid").is_null()).then(pl.lit("RATE_MISSING")),
        )
    )


def _rate_of_the_day(asked: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Join the rate in force, of the place or else of the country; keeps every day once, in its order."""
    in_force = pl.col("valid_from") <= pl.col("on")
    same_place = pl.col("rate_place").is_null() | (pl.col("rate_place") == pl.col("place")).fill_null(value=False)
    best = (
        asked.select("row", "country", "place", "on")
        .join(table.rename({"place": "rate_place"}), on="country")
        .filter(in_force & same_place)
        .with_columns(general=pl.col("rate_place").is_null())
        .sort(["row", "general", "valid_from"], descending=[False, False, True])
        .unique("row", keep="first", maintain_order=True)
        .drop("country", "place", "on", "rate_place", "general", "valid_from")
    )
    return asked.join(best, on="row", how="left", maintain_order="left")
