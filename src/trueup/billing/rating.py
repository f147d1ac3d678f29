"""What an hour costs the client: the most specific rate line in force on the day of work."""

from collections.abc import Sequence

import polars as pl

from trueup.billing.rounding import HOUR, product, rounded
from trueup.billing.terms import RateOrder

SELECTORS = ("resource", "role", "task", "project", "contract")
"""What a rate line may be for; an empty one fits all."""

WHO = ("contract", "currency", "role")
"""What selects the usual rate line. A contract may be billed in two currencies, each with its own rates."""

USUAL = RateOrder()


def in_force(rates: pl.DataFrame, keys: Sequence[str] = WHO) -> pl.DataFrame:
    """Say for every value of the keys which rate line is in force from which day until the next row.

    On a day, the line with the latest valid_from among those valid on that day wins. Two that start on the same day
    leave the rate open: ambiguous.

    rates    `RATES`
    keys     selectors all of these lines fill, and the currency
    Returns  keys, from_on date, rate i64 units per hour|null, rate_line str|null, rate_valid_from date|null,
             ambiguous bool|null; sorted by from_on; null where no line is in force
    """
    starts = rates.select(*keys, from_on=pl.col("valid_from"))
    day_after_end = pl.col("valid_to") + pl.duration(days=1)
    ends = rates.filter(pl.col("valid_to").is_not_null()).select(*keys, from_on=day_after_end)
    turns = pl.concat([starts, ends]).unique()
    valid = (pl.col("valid_from") <= pl.col("from_on")) & (
        pl.col("valid_to").is_null() | (pl.col("valid_to") >= pl.col("from_on"))
    )
    winners = (
        turns.join(rates, on=list(keys))
        .filter(valid)
        .filter(pl.col("valid_from") == pl.col("valid_from").max().over(*keys, "from_on"))
        .sort("gid")
        .group_by(*keys, "from_on")
        .agg(
            pl.col("rate").first(),
            pl.col("gid").first().alias("rate_line"),
            pl.col("valid_from").first().alias("rate_valid_from"),
            (pl.len() > 1).alias("ambiguous"),
        )
    )
    return turns.join(winners, on=[*keys, "from_on"], how="left").sort("from_on", *keys)


def cards(rates: pl.DataFrame, order: RateOrder) -> list[tuple[str, tuple[str, ...], pl.DataFrame]]:
    """Sort rate lines into cards: the lines of one tier that fill the same selectors, the card asked first in front.

    Two cards with the same most specific who and where: the one that fills more selectors, then by their names.

    rates    `RATES`
    Returns  tier, selectors, lines
    """
    ranks = order.ranks()
    shaped = rates.with_columns(
        pl.lit(None, pl.String).alias(name) for name in (*SELECTORS, "tier") if name not in rates.columns
    ).with_columns(
        pl.col("tier").fill_null("negotiated"),
        filled=pl.concat_list(
            pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in SELECTORS
        ).list.drop_nulls().list.join(" "),
    )  # fmt: skip
    found = []
    for (tier, filled), lines in shaped.partition_by("tier", "filled", as_dict=True).items():
        selectors = tuple(str(filled).split())
        found.append((card_rank(str(tier), selectors, ranks), str(tier), selectors, lines))
    return [(tier, selectors, lines) for _, tier, selectors, lines in sorted(found, key=lambda card: card[0])]


def card_rank(
    tier: str, selectors: Sequence[str], ranks: dict[tuple[str, str, str], int]
) -> tuple[int, int, tuple[str, ...]]:
    """Return the place of a card in the order; the lowest is asked first.

    >>> card_rank("negotiated", ("role", "contract"), RateOrder().ranks())[0]
    6
    """
    who = next((name for name in ("resource", "role") if name in selectors), "any")
    where = next((name for name in ("task", "project", "contract") if name in selectors), "any")
    return ranks[tier, who, where], -len(selectors), tuple(selectors)


def price_time(entries: pl.DataFrame, rates: pl.DataFrame, order: RateOrder = USUAL) -> pl.DataFrame:
    """Price the open minutes of each entry: the price of all its minutes less what is allocated already.

    The whole entry is rounded once, so parts billed in different runs add up to it, to the cent.

    entries  contract, currency, role, worked_on, minutes, allocated_amount (see `ENTRIES`); sorted by worked_on
    rates    `RATES`
    order    which line wins
    Returns  entries + rate i64 units per hour|null, rate_line str|null, rate_valid_from date|null, ambiguous bool,
             amount i64 units; without exactly one rate the rate is null and the amount 0: held, never dropped
    """
    value = rounded(product(pl.col("minutes"), pl.col("rate")), HOUR) - pl.col("allocated_amount")
    return with_rate(entries, rates, order).with_columns(
        amount=pl.when(pl.col("rate").is_not_null()).then(value).otherwise(0)
    )


def with_rate(entries: pl.DataFrame, rates: pl.DataFrame, order: RateOrder = USUAL) -> pl.DataFrame:
    """Find the rate of each entry on its service date: card by card, the first that has a line in force decides.

    entries  currency and the selectors the rate lines fill, worked_on; sorted by worked_on
    rates    `RATES`
    order    which card is asked first
    Returns  entries in the same order + rate i64 units per hour|null, rate_line str|null, rate_valid_from date|null,
             ambiguous bool, and with more than one card rate_card str|null
    """
    asked = cards(rates, order) or [("negotiated", ("role", "contract"), rates)]
    if len(asked) == 1:
        return _decided(_looked_up(entries, asked[0][1], asked[0][2]))
    left = entries.with_row_index("place")
    found = []
    for tier, selectors, lines in asked:
        seen = _looked_up(left, selectors, lines).with_columns(
            rate_card=pl.lit(f"{tier} {'+'.join(selectors) or 'any'}")
        )
        answered = pl.col("rate_line").is_not_null()
        found.append(seen.filter(answered))
        left = seen.filter(~answered).select(left.columns)
    none = left.with_columns(
        rate=pl.lit(None, pl.Int64),
        rate_line=pl.lit(None, pl.String),
        rate_valid_from=pl.lit(None, pl.Date),
        ambiguous=pl.lit(None, pl.Boolean),
        rate_card=pl.lit(None, pl.String),
    )
    return _decided(pl.concat([*(part.select(none.columns) for part in found), none]).sort("place").drop("place"))


def _looked_up(entries: pl.DataFrame, selectors: Sequence[str], lines: pl.DataFrame) -> pl.DataFrame:
    keys = [*selectors, "currency"]
    absent = [pl.lit(None, pl.String).alias(name) for name in keys if name not in entries.columns]
    return (
        entries.with_columns(absent)
        .join_asof(
            in_force(lines, keys),
            left_on="worked_on",
            right_on="from_on",
            by=keys,
            strategy="backward",
            check_sortedness=False,
        )
        .drop("from_on")
    )


def _decided(found: pl.DataFrame) -> pl.DataFrame:
    one = ~pl.col("ambiguous")
    return found.with_columns(pl.col("ambiguous").fill_null(value=False)).with_columns(
        rate=pl.when(one).then("rate"), rate_line=pl.when(one).then("rate_line")
    )
