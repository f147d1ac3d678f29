"""How much an entry counts: increments, the day's minimum, overtime and time types, tiers, the daily cap.

Everything here runs over a person's day, a week or a line and is cumulative: an entry counts what the whole counts with
it less what the whole counted before it, so the entries add up to the whole and what is billed stays as it was billed.
Time is counted in hundredths of a minute; weights are parts per million.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction

import polars as pl

from trueup.billing.rounding import HOUR, MILLION, nearest_signed, nearest_whole, product, rounded
from trueup.billing.terms import Exchange, Terms
from trueup.kernel.money import minor_digits, to_units

HUNDREDTHS = 100
"""Of a minute."""

E8 = 10**8
"""Exchange rates have eight decimals."""

FULL = HUNDREDTHS * MILLION
"""Weight of one minute that counts once."""

PERSON_DAY = ("project", "resource", "worked_on")


def agreed(terms: Mapping[str, Terms], currencies: Mapping[str, str]) -> pl.DataFrame:
    """Turn the terms of projects into one row each, as far as time needs them.

    terms       project → terms
    currencies  project → ISO 4217
    Returns     project str and the columns named here
    """
    rows = []
    for project, of in terms.items():
        overtime, currency = of.overtime, currencies[project]
        rows.append(
            {
                "project": project,
                "terms": of.name,
                "step": of.increment.minutes * HUNDREDTHS,
                "direction": of.increment.direction,
                "scope": of.increment.scope,
                "day_minimum": of.minimum_minutes * HUNDREDTHS,
                "hours_first": of.hours_2dp_first,
                "after_daily": overtime and _hundredths(overtime.after_daily_minutes),
                "after_weekly": overtime and _hundredths(overtime.after_weekly_minutes),
                "overtime": thousandths(overtime.multiplier) if overtime else 1000,
                "stack": overtime.stack if overtime else "max",
                "accepted": overtime is None or overtime.accepted,
                "day_cap": of.daily_cap_minutes,
                "discount_ppm": int(of.discount_share * MILLION),
                "card_currency": of.exchange.currency if of.exchange else currency,
                "fx_policy": of.exchange.policy if of.exchange else None,
                "fx_fixed": int(of.exchange.rate * E8) if of.exchange and of.exchange.rate is not None else None,
                "fx_scale": minor_digits(currency) - minor_digits(of.exchange.currency) if of.exchange else 0,
                "tier_kind": of.tiers.kind if of.tiers else None,
                "tier_per": of.tiers.per if of.tiers else None,
                "tier_ends": [_hundredths(step.up_to_minutes) for step in of.tiers.steps] if of.tiers else [],
                "tier_rates": [to_units(step.rate, currency) for step in of.tiers.steps] if of.tiers else [],
                "cap_policy": of.cap_policy,
            }
        )
    whole, flag, text = pl.Int64(), pl.Boolean(), pl.String()
    schema = {
        "project": text, "terms": text, "step": whole, "direction": text, "scope": text, "day_minimum": whole,
        "hours_first": flag, "after_daily": whole, "after_weekly": whole, "overtime": whole, "stack": text,
        "accepted": flag, "day_cap": whole, "discount_ppm": whole, "card_currency": text, "fx_policy": text,
        "fx_fixed": whole, "fx_scale": whole, "tier_kind": text, "tier_per": text, "tier_ends": pl.List(whole),
        "tier_rates": pl.List(whole), "cap_policy": text,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def time_types(terms: Mapping[str, Terms]) -> pl.DataFrame:
    """List the time types of projects; project str, time_type str, type_bill and type_cost i64 thousandths."""
    rows = [
        (project, name, thousandths(kind.bill), thousandths(kind.cost))
        for project, of in terms.items()
        for name, kind in of.time_types.items()
    ]
    schema = {"project": pl.String, "time_type": pl.String, "type_bill": pl.Int64, "type_cost": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def measured(time: pl.DataFrame) -> pl.DataFrame:
    """Say how much each entry counts.

    time     entries of every state, also those with nothing open, joined with `agreed` and `time_types`; sorted in the
             order in which they use up what a day or a line has
    Returns  time + counted i64 hundredths of a minute, weight i64 (counted, times multiplier in ppm), cost_weight i64,
             tier_value i64|null (counted x rate over the tiers), tier_rate i64|null (of its first minute)
    """
    minutes = pl.col("minutes") * HUNDREDTHS
    before = (
        pl.when(pl.col("scope") == "day_per_task")
        .then(_before(minutes, "project", "resource", "task", "worked_on"))
        .when(pl.col("scope") == "line")
        .then(_before(minutes, "project", "role"))
        .otherwise(0)
    )
    stepped = time.with_columns(before=before).with_columns(
        counted=_stepped(pl.col("before") + minutes) - _stepped(pl.col("before"))
    )
    at_least = stepped.with_columns(before=_before(pl.col("counted"), *PERSON_DAY)).with_columns(
        counted=_lifted(pl.col("before") + pl.col("counted")) - _lifted(pl.col("before"))
    )
    counted = at_least.with_columns(
        counted=pl.when("hours_first").then(nearest_whole(pl.col("counted"), pl.lit(HOUR)) * HOUR).otherwise("counted")
    )
    return _tiered(_weighed(counted)).drop("before")


def hours_worth(weight: pl.Expr, rate: pl.Expr) -> pl.Expr:
    """Price a weight at a rate per hour, rounded once; Int64 units."""
    return rounded(product(weight, rate), HOUR * FULL)


def within_day(time: pl.DataFrame, counts: pl.Expr) -> pl.DataFrame:
    """Say how many of each entry's open minutes the daily cap leaves.

    time     project, resource, worked_on, minutes, open_minutes, day_cap i64|null; sorted in order of use
    counts   whether the entry uses the cap; one that does not keeps its minutes
    Returns  time + day_minutes i64
    """
    taken = (pl.col("minutes") - pl.col("open_minutes")).clip(lower_bound=0)
    asked = pl.when(counts).then(pl.col("open_minutes").clip(lower_bound=0)).otherwise(0)
    left = (pl.col("day_cap") - taken.sum().over(PERSON_DAY) - _before(asked, *PERSON_DAY)).clip(lower_bound=0)
    limited = counts & pl.col("day_cap").is_not_null()
    return time.with_columns(
        day_minutes=pl.when(limited).then(pl.min_horizontal("open_minutes", left)).otherwise("open_minutes")
    )


def exchanged(time: pl.DataFrame, fx_rates: pl.DataFrame, invoice_on: date) -> pl.DataFrame:
    """Find the exchange rate of each entry by its project's policy; a day without one takes the last before it.

    time        currency, card_currency, fx_policy str|null, fx_fixed i64|null, worked_on
    fx_rates    `FX_RATES`
    invoice_on  date of the invoice
    Returns     time + fx_e8 i64|null (10^8 where nothing is exchanged), fx_day date|null, fx_source str|null
    """
    asked = (
        time.select("card_currency", "currency", "fx_policy", "worked_on")
        .unique()
        .filter(pl.col("fx_policy").is_in(["service_date", "period_average", "invoice_date"]))
    )
    answers = []
    for card, currency, policy, day in asked.iter_rows():
        found = rate_of_day(fx_rates, Exchange(card, policy), currency, invoice_on if policy == "invoice_date" else day)
        if found:
            answers.append((card, currency, policy, day, *found))
    schema = {
        "card_currency": pl.String, "currency": pl.String, "fx_policy": pl.String, "worked_on": pl.Date,
        "fx_e8": pl.Int64, "fx_day": pl.Date, "fx_source": pl.String,
    }  # fmt: skip
    known = pl.DataFrame(answers, schema=schema, orient="row")
    return time.join(known, on=list(schema)[:4], how="left", maintain_order="left").with_columns(
        fx_e8=pl.when(pl.col("fx_policy").is_null())
        .then(pl.lit(E8, pl.Int64))
        .when(pl.col("fx_policy") == "fixed")
        .then("fx_fixed")
        .otherwise("fx_e8"),
        fx_source=pl.when(pl.col("fx_policy") == "fixed").then(pl.lit("contract")).otherwise("fx_source"),
    )


def rate_of_day(fx_rates: pl.DataFrame, exchange: Exchange, currency: str, day: date) -> tuple[int, date, str] | None:
    """Return the published rate for a day: x 10^8, its publication date, its source; None when there is none.

    fx_rates  `FX_RATES`
    exchange  from which currency, by which policy
    currency  into which
    day       the day asked for; an average is the one of its month
    """
    pair = fx_rates.filter((pl.col("from_currency") == exchange.currency) & (pl.col("to_currency") == currency))
    daily = pair.filter((pl.col("purpose") == "day") & (pl.col("day") <= day)).sort("day", "source")
    if exchange.policy == "period_average":
        same_month = pl.col("day").dt.strftime("%Y-%m") == f"{day:%Y-%m}"
        published = pair.filter((pl.col("purpose") == "average") & same_month).sort("day", "source")
        if published.height:
            return published.select("rate_e8", "day", "source").row(-1)
        month = pair.filter((pl.col("purpose") == "day") & same_month).sort("day", "source")
        if month.height:
            mean = Fraction(sum(month["rate_e8"].to_list()), month.height)
            return int(mean + Fraction(1, 2)), month["day"][-1], f"mean of {month.height} days"
        return None
    return daily.select("rate_e8", "day", "source").row(-1) if daily.height else None


def exchanged_rate() -> pl.Expr:
    """Return the hourly rate after exchange and line discount, in whole units of the invoice's currency; Int64.

    Reads rate, fx_e8, fx_scale, discount_ppm. A rate that needs no exchange and has no discount stays as it is.
    """
    up = pl.lit(10, pl.Int128).pow(pl.col("fx_scale").clip(lower_bound=0))
    down = pl.lit(10, pl.Int128).pow((-pl.col("fx_scale")).clip(lower_bound=0))
    top = product(product(pl.col("rate"), pl.col("fx_e8")), MILLION - pl.col("discount_ppm")) * up
    return nearest_signed(top, pl.lit(E8 * MILLION, pl.Int128) * down)


def thousandths(multiplier: Decimal) -> int:
    """Return a multiplier in thousandths: 1.5 is 1500.

    Raises    ValueError when it has more than three decimals.
    """
    whole = multiplier * 1000
    if whole != int(whole):
        raise ValueError(f"a multiplier has at most three decimals, not {multiplier}")
    return int(whole)


def _hundredths(minutes: int | None) -> int | None:
    return None if minutes is None else minutes * HUNDREDTHS


def _before(amount: pl.Expr, *keys: str) -> pl.Expr:
    # What those in front of a row have, within its group.
    return amount.cum_sum().over(keys) - amount


def _stepped(counted: pl.Expr) -> pl.Expr:
    step = pl.col("step")
    return (
        pl.when(pl.col("direction") == "up")
        .then((counted + step - 1) // step * step)
        .when(pl.col("direction") == "down")
        .then(counted // step * step)
        .otherwise((counted * 2 + step) // (step * 2) * step)
    )


def _lifted(counted: pl.Expr) -> pl.Expr:
    return pl.when(counted == 0).then(0).otherwise(pl.max_horizontal(counted, "day_minimum"))


def _weighed(counted: pl.DataFrame) -> pl.DataFrame:
    def above(limit: str, amount: pl.Expr, *keys: str) -> pl.Expr:
        before = _before(amount, *keys)
        over = (before + amount - pl.col(limit)).clip(lower_bound=0) - (before - pl.col(limit)).clip(lower_bound=0)
        return over.fill_null(0)

    by_day = counted.with_columns(
        daily=above("after_daily", pl.col("counted"), *PERSON_DAY),
        week=pl.col("worked_on").dt.truncate("1w"),
    )
    by_week = by_day.with_columns(
        weekly=above("after_weekly", pl.col("counted") - pl.col("daily"), "project", "resource", "week")
    )
    late = pl.col("daily") + pl.col("weekly")

    def weight(kind: str, pays: pl.Expr) -> pl.Expr:
        # Thousandths of both multiplied make parts per million; a time type that counts once leaves the overtime alone.
        alone = pl.col("overtime") * 1000
        both = (
            pl.when(pl.col(kind) == 1000).then(alone)
            .when(pl.col("stack") == "add").then((pl.col(kind) + pl.col("overtime")) * 1000)
            .when(pl.col("stack") == "multiply").then(pl.col(kind) * pl.col("overtime"))
            .otherwise(pl.max_horizontal(pl.col(kind), "overtime") * 1000)
        )  # fmt: skip
        plain = pl.col(kind) * 1000
        return (pl.col("counted") - late) * plain + late * pl.when(pays).then(both).otherwise(plain)

    return by_week.with_columns(
        overtime_counted=late,
        weight=weight("type_bill", pl.col("accepted")),
        cost_weight=weight("type_cost", pl.lit(value=True)),
    ).drop("daily", "weekly", "week")


def _tiered(weighed: pl.DataFrame) -> pl.DataFrame:
    steps = int(weighed.select(pl.col("tier_ends").list.len().max()).item() or 0)
    none = pl.lit(None, pl.Int128)
    if not steps:
        return weighed.with_columns(
            tier_value=none, tier_rate=pl.lit(None, pl.Int64), tier_total=pl.lit(None, pl.Int64)
        )
    counted = pl.col("counted")
    month = pl.when(pl.col("tier_per") == "month").then(pl.col("worked_on").dt.truncate("1mo"))
    placed = weighed.with_columns(tier_month=month).with_columns(
        before=_before(counted, "project", "tier_month"),
        total=counted.filter(pl.col("rank") < LATER).sum().over("project", "tier_month"),
    )
    graduated, volume, first = pl.lit(0, pl.Int128), pl.lit(None, pl.Int64), pl.lit(None, pl.Int64)
    low: pl.Expr = pl.lit(0, pl.Int64)
    for number in range(steps):
        there = pl.lit(number) < pl.col("tier_ends").list.len()
        rate = pl.col("tier_rates").list.get(number, null_on_oob=True)
        high = pl.col("tier_ends").list.get(number, null_on_oob=True).fill_null(_ENDLESS)
        inside = pl.min_horizontal(pl.col("before") + counted, high) - pl.max_horizontal(pl.col("before"), low)
        graduated = graduated + pl.when(there).then(product(inside.clip(lower_bound=0), rate)).otherwise(0)
        volume = pl.coalesce(volume, pl.when(there & (pl.col("total") <= high)).then(rate))
        first = pl.coalesce(first, pl.when(there & (pl.col("before") < high)).then(rate))
        low = high
    by_volume = pl.col("tier_kind") == "volume"
    return (
        placed.with_columns(
            tier_value=pl.when(pl.col("tier_kind").is_null())
            .then(none)
            .when(by_volume)
            .then(product(counted, volume))
            .otherwise(graduated),
            tier_rate=pl.when(pl.col("tier_kind").is_not_null()).then(pl.when(by_volume).then(volume).otherwise(first)),
        )
        .drop("tier_month")
        .rename({"total": "tier_total"})
    )


_ENDLESS = 10**15

LATER = 2
"""Ranks of use below this are billed or can be: settled 0, free 1, held 2, not approved 3."""


def tiered_worth() -> pl.Expr:
    """Price what counts by the tiers; Int64 units. Reads tier_value, weight, counted."""
    top = pl.col("tier_value") * pl.col("weight").cast(pl.Int128)
    below = pl.col("counted").clip(lower_bound=1).cast(pl.Int128) * pl.lit(HOUR * FULL, pl.Int128)
    return rounded(top, below)


def charged_minutes(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """Return the minutes to print for a range of an entry's minutes, cumulatively rounded. Reads weight, minutes."""
    whole = nearest_whole(pl.col("weight"), pl.lit(FULL))

    def upto(mark: pl.Expr) -> pl.Expr:
        return nearest_signed(product(whole, mark), pl.col("whole_minutes").clip(lower_bound=1))

    return upto(end) - upto(start)
