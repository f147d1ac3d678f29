"""What is billed by the calendar or by progress: milestones in percent, percent complete, instalments, periods of service.

Everything spread over time is rounded cumulatively (`round(total x share to date) - what came before`), everything
split at one moment by largest remainder, so both add up. `trueup.billing.reference.schedules` says the same in plain
`Decimal`; properties keep the two equal to the last unit.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import polars as pl

from trueup.billing.frames import Shape, day, flag, maybe, text, units, whole
from trueup.billing.rounding import MILLION, MINOR, product, rounded

Kind = Literal["instalments", "percent_complete", "service_period"]
Due = Literal["advance", "arrears"]
Proration = Literal["actual_days", "thirty_360", "whole_month", "none"]

# --- frames -----------------------------------------------------------------------------------------------------------

PERCENT_MILESTONES = Shape(
    "percent_milestones",
    "one milestone that is a share of a fixed fee",
    {
        "contract_line": text("contract line with the fee"),
        "sequence": whole("order within the line; breaks a tie of remainders"),
        "fee": units("the whole fee, in whole minor units, the same in every row of the line"),
        "share_ppm": whole("its share of the fee, parts per million; the shares of a line add up to 1_000_000"),
        "retention_ppm": whole("part of it kept back until acceptance, parts per million"),
        "accepted_on": maybe(day("day the client accepted; releases what was kept back")),
    },
)

MILESTONE_AMOUNTS = Shape(
    "milestone_amounts",
    "one milestone in money",
    {
        "contract_line": text("contract line with the fee"),
        "sequence": whole("order within the line"),
        "amount": units("its share of the fee; the amounts of a line add up to the fee"),
        "invoiced": units("billed when it is reached: amount - retained"),
        "retained": units("kept back until acceptance, rounded once"),
        "released": units("of what was kept back: billed since it was accepted"),
    },
)

PROGRESS_BILLS = Shape(
    "progress_bills",
    "one bill of a line by percent complete",
    {
        "contract_line": text("contract line with the fee"),
        "sequence": whole("order of the bills"),
        "target": units("fee x progress, rounded once: what should have been billed by now"),
        "amount": units("of this bill"),
        "carried": units("below zero where progress fell: waits until later progress outweighs it"),
    },
)

PROGRESS_STATEMENTS = Shape(
    "progress_statements",
    "how far one line had come on the day of a bill",
    {
        "contract_line": text("contract line with the fee"),
        "sequence": whole("order of the bills"),
        "fee": units("the fee as agreed on that day, zero or above"),
        "done": whole("numerator of the progress, zero or above"),
        "of": whole("denominator of the progress, above zero"),
    },
)

INSTALMENT_LINES = Shape(
    "instalment_lines",
    "one line billed in equal parts",
    {
        "contract_line": text("contract line"),
        "total": units("to be billed in all"),
        "count": whole("number of parts, above zero"),
    },
)

INSTALMENTS = Shape(
    "instalments",
    "one of the equal parts",
    {"contract_line": text("contract line"), "number": whole("1, 2, 3 ..."), "amount": units("of this part")},
)

SERVICE_TERMS = Shape(
    "service_terms",
    "one line billed by periods of service",
    {
        "contract_line": text("contract line"),
        "starts_on": day("first day of service"),
        "ends_on": maybe(day("last day of service, counted; null for no end")),
        "every_months": whole("length of a period in months, above zero"),
        "anchor_day": whole(
            "day of the month on which a period begins, 1 to 31; clipped to the month, 31 is its last day"
        ),
        "in_advance": flag("billed when a period begins; else when it has ended"),
        "lead_days": whole("in advance: billed so many days before the period begins"),
        "proration": text("actual_days, thirty_360, whole_month or none"),
    },
)

SERVICE_PRICES = Shape(
    "service_prices",
    "what a whole period of a line costs from a day on",
    {
        "contract_line": text("contract line"),
        "valid_from": day("first day; ends where the next one starts"),
        "price": units("of a whole period"),
    },
)

SEGMENTS = Shape(
    "segments",
    "part of one period of service with one price",
    {
        "contract_line": text("contract line"),
        "period_from": day("first day of the full period it lies in"),
        "due_on": day("day it is to be billed"),
        "from_on": day("first day of service"),
        "to_on": day("last day of service, counted"),
        "price": units("of the whole period"),
        "part": whole("days charged, by the rule of pro-rating"),
        "whole": whole("days of the full period, by the same rule"),
        "amount": units("price x part / whole, rounded once"),
    },
)

DIFFERENCES = Shape(
    "differences",
    "what a changed price or end adds to or takes from periods billed before",
    {
        "contract_line": text("contract line"),
        "period_from": day("first day of the full period"),
        "from_on": day("first day of the part"),
        "amount": units("below zero is a credit"),
    },
)

SCHEDULE_LINES = Shape(
    "schedule_lines",
    "one contract line that is billed by a schedule",
    {
        "contract_line": text("contract line"),
        "kind": text("instalments, percent_complete or service_period"),
        "total": units("instalments and percent complete: to be billed in all, change orders included"),
        "starts_on": day("first instalment, or first day of service"),
        "ends_on": maybe(day("service: last day, counted")),
        "count": whole("instalments: number of parts; 1 elsewhere"),
        "every_months": whole("months from one instalment or period to the next"),
        "anchor_day": whole("service: day of the month on which a period begins"),
        "in_advance": flag("service: billed when a period begins"),
        "lead_days": whole("service in advance: days before the period begins"),
        "proration": text("service: actual_days, thirty_360, whole_month or none"),
    },
)

STATEMENTS = Shape(
    "statements",
    "how far one line has come, as somebody stated it on a day",
    {
        "contract_line": text("contract line"),
        "stated_on": day("day it is true of"),
        "done": whole("numerator of the progress"),
        "of": whole("denominator of the progress"),
    },
)

STEPS = Shape(
    "steps",
    "one step of a schedule that is due",
    {
        "contract_line": text("contract line"),
        "kind": text("instalments, percent_complete or service_period"),
        "number": whole("1, 2, 3 ... within the line"),
        "due_on": day("day it is to be billed"),
        "from_on": day("first day it is for"),
        "to_on": day("last day it is for, counted"),
        "amount": units("of the step"),
    },
)


# --- one line's schedule, as a workspace says it ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Schedule:
    """How one contract line is billed by the calendar or by progress.

    line          key of the contract line: D05-L1
    kind          instalments, percent_complete or service_period
    starts_on     month of the first instalment, or first day of service
    ends_on       last day of service, counted; None for no end
    amount        to be billed in all, major units; None takes the amount of the contract line with its change orders
    count         number of instalments
    every_months  months from one instalment or period to the next
    anchor_day    day of the month on which a period of service begins; 31 is the last day of every month
    due           service: advance bills a period when it begins, arrears when it has ended
    lead_days     in advance: so many days before
    proration     how a part of a period is charged: actual_days, thirty_360, whole_month or none
    prices        service: (first day, price of a whole period in major units), from the first day of service on
    progress      percent complete: (day, share done), 0 to 1
    Raises        ValueError with a sentence for the person who wrote the file.
    """

    line: str
    kind: Kind
    starts_on: date
    ends_on: date | None = None
    amount: Decimal | None = None
    count: int = 1
    every_months: int = 1
    anchor_day: int = 1
    due: Due = "arrears"
    lead_days: int = 0
    proration: Proration = "actual_days"
    prices: tuple[tuple[date, Decimal], ...] = ()
    progress: tuple[tuple[date, Fraction], ...] = ()

    def __post_init__(self) -> None:
        wrong = self._wrong()
        if wrong:
            raise ValueError(f"{self.line}: {wrong}")

    def _wrong(self) -> str | None:
        """Return what does not fit, or None."""
        checks = (
            (self.count < 1, "the number of instalments must be 1 or more"),
            (self.every_months < 1, "every_months must be 1 or more"),
            (not 1 <= self.anchor_day <= 31, "the anchor day lies between 1 and 31"),
            (self.lead_days < 0, "lead_days must be 0 or more"),
            (self.ends_on is not None and self.ends_on < self.starts_on, "it ends before it starts"),
            (self.amount is not None and self.amount < 0, "the amount must not be below zero"),
            (any(not 0 <= share <= 1 for _, share in self.progress), "progress lies between 0 and 1"),
            (_repeats([on for on, _ in self.progress]), "progress is stated twice for one day"),
            (_repeats([on for on, _ in self.prices]), "two prices begin on the same day"),
            (any(price < 0 for _, price in self.prices), "a price must not be below zero"),
        )
        found = next((sentence for bad, sentence in checks if bad), None)
        if found is None and self.kind == "service_period" and not self._priced_from_the_start():
            return "a period of service needs a price that counts on its first day; add it under prices"
        return found

    def _priced_from_the_start(self) -> bool:
        return any(on <= self.starts_on for on, _ in self.prices)


def _repeats(days: list[date]) -> bool:
    return len(set(days)) < len(days)


# --- milestones in percent --------------------------------------------------------------------------------------------


def milestone_amounts(milestones: pl.DataFrame, upto: date) -> pl.DataFrame:
    """Turn shares of a fee into amounts that add up to it, with what is kept back and what is released by a day.

    milestones  `PERCENT_MILESTONES`
    upto        acceptances after this day are not counted
    Returns     `MILESTONE_AMOUNTS`, sorted by line and sequence
    Raises      ValueError naming every line whose shares do not add up to 100 %.
    """
    rows = PERCENT_MILESTONES.read(milestones)
    sums = rows.group_by("contract_line").agg(pl.col("share_ppm").sum()).filter(pl.col("share_ppm") != MILLION)
    if sums.height:
        named = ", ".join(f"{line} to {Decimal(ppm) / 10_000:f} %" for line, ppm in sorted(sums.iter_rows()))
        raise ValueError(f"the milestones must add up to 100 % of the fee; add up now: {named}")
    exact = product(pl.col("fee").abs(), pl.col("share_ppm"))
    step = MILLION * MINOR
    line = "contract_line"
    split = (
        rows.with_columns(least=(exact // step).cast(pl.Int64), left=exact % step)
        .with_columns(missing=pl.col("fee").abs().first().over(line) // MINOR - pl.col("least").sum().over(line))
        .sort([line, "left", "sequence"], descending=[False, True, False])
        .with_columns(rank=pl.int_range(pl.len()).over(line))
        .with_columns(more=(pl.col("rank") < pl.col("missing")).cast(pl.Int64))
        .with_columns(amount=(pl.col("least") + pl.col("more")) * MINOR * pl.col("fee").sign())
        .with_columns(retained=rounded(product(pl.col("amount"), pl.col("retention_ppm")), MILLION))
    )
    accepted = (pl.col("accepted_on") <= upto).fill_null(value=False)
    return MILESTONE_AMOUNTS.write(
        split.with_columns(
            invoiced=pl.col("amount") - pl.col("retained"),
            released=pl.when(accepted).then("retained").otherwise(0),
        ).sort(line, "sequence")
    )


# --- percent complete and instalments ---------------------------------------------------------------------------------


def percent_complete(statements: pl.DataFrame, *, credit_at_once: bool = False) -> pl.DataFrame:
    """Bill a fee by progress: `round(fee x progress)` less what was billed before.

    Where progress falls nothing is billed, and what is too much is carried until later progress outweighs it; with
    `credit_at_once` the bill is below zero instead.

    statements  `PROGRESS_STATEMENTS`
    Returns     `PROGRESS_BILLS`, sorted by line and sequence
    """
    line = "contract_line"
    targets = (
        PROGRESS_STATEMENTS.read(statements)
        .sort(line, "sequence")
        .with_columns(target=rounded(product(pl.col("fee"), pl.col("done")), pl.col("of")))
    )
    billed = pl.col("target") if credit_at_once else pl.col("target").cum_max().over(line)
    return PROGRESS_BILLS.write(
        targets.with_columns(billed=billed).with_columns(
            amount=pl.col("billed") - pl.col("billed").shift(1, fill_value=0).over(line),
            carried=pl.col("target") - pl.col("billed"),
        )
    )


def instalments(lines: pl.DataFrame) -> pl.DataFrame:
    """Cut totals into equal parts by cumulative rounding; the parts of a line add up to its total.

    lines    `INSTALMENT_LINES`
    Returns  `INSTALMENTS`, sorted by line and number
    """
    parts = INSTALMENT_LINES.read(lines).with_columns(
        number=pl.int_ranges(pl.lit(1, pl.Int64), pl.col("count") + 1)
    ).explode("number", empty_as_null=False)  # fmt: skip
    upto = rounded(product(pl.col("total"), pl.col("number")), pl.col("count"))
    before = rounded(product(pl.col("total"), pl.col("number") - 1), pl.col("count"))
    # The last part takes what is left: a total finer than the minor unit still adds up.
    reached = pl.when(pl.col("number") == pl.col("count")).then("total").otherwise(upto)
    return INSTALMENTS.write(parts.with_columns(amount=reached - before).sort("contract_line", "number"))


# --- periods of service -----------------------------------------------------------------------------------------------


def service_segments(terms: pl.DataFrame, prices: pl.DataFrame, upto: date) -> pl.DataFrame:
    """Return every part of a period of service that is due by a day, priced.

    A period runs from anchor day to anchor day, clipped to the length of each month: with anchor 31 the period before
    28 February begins on 31 January. A part is charged by
    actual_days  days / days of the full period
    thirty_360   the same with months of thirty days (30E/360)
    whole_month  the whole price, at the price of its first day
    none         not at all; a new price counts from the next full period
    and a full period at one price costs that price exactly.

    terms    `SERVICE_TERMS`
    prices   `SERVICE_PRICES`, with one that counts on the first day of service
    upto     last due day
    Returns  `SEGMENTS`, sorted by line and first day; the parts of a line tile its days, but for rule none
    Raises   ValueError naming every line without a price on its first day.
    Source   billing rule S09; the period that really contains the part, not one counted back from a clipped day.
    """
    lines = SERVICE_TERMS.read(terms)
    priced = _price_spans(SERVICE_PRICES.read(prices))
    _refuse_unpriced(lines, priced)
    periods = _periods(lines, upto)
    parts = (
        periods.join(priced, on="contract_line")
        .with_columns(
            start=pl.max_horizontal("begins", "valid_from"),
            stop=pl.min_horizontal("stops", "valid_until"),
        )
        .filter(pl.col("start") < pl.col("stop"))
    )
    rule = pl.col("proration")
    by_days = rule.is_in(["actual_days", "thirty_360"])
    full = (pl.col("begins") == pl.col("period_from")) & (pl.col("stops") == pl.col("period_until"))
    first = pl.col("start") == pl.col("begins")
    kept = parts.filter(by_days | (first & ((rule == "whole_month") | full))).with_columns(
        stop=pl.when(by_days).then("stop").otherwise("stops")
    )
    charged = kept.with_columns(
        part=pl.when(by_days).then(_days("start", "stop")).otherwise(1),
        whole=pl.when(by_days).then(_days("period_from", "period_until")).otherwise(1),
    )
    return SEGMENTS.write(
        charged.with_columns(
            from_on=pl.col("start"),
            to_on=pl.col("stop").dt.offset_by("-1d"),
            amount=rounded(product(pl.col("price"), pl.col("part")), pl.col("whole")),
        ).sort("contract_line", "from_on")
    )


def _price_spans(prices: pl.DataFrame) -> pl.DataFrame:
    """Return prices with the day each ends before."""
    return prices.sort("contract_line", "valid_from").with_columns(
        valid_until=pl.col("valid_from").shift(-1).over("contract_line").fill_null(date.max)
    )


def _refuse_unpriced(lines: pl.DataFrame, prices: pl.DataFrame) -> None:
    first = prices.group_by("contract_line").agg(pl.col("valid_from").min())
    bare = lines.join(first, on="contract_line", how="left").filter(
        (pl.col("valid_from") > pl.col("starts_on")).fill_null(value=True)
    )
    if bare.height:
        raise ValueError(f"no price counts on the first day of service: {', '.join(sorted(bare['contract_line']))}")


def _periods(lines: pl.DataFrame, upto: date) -> pl.DataFrame:
    """Return the periods due by a day: period_from, period_until, and of them the days served: begins, stops."""
    until = pl.col("ends_on").dt.offset_by("1d").fill_null(date.max)
    horizon = pl.lit(upto).dt.offset_by(pl.format("{}d", "lead_days"))
    first = _month_number(pl.col("starts_on"))
    count = ((_month_number(horizon) - first) // pl.col("every_months")).clip(lower_bound=-1) + 2
    steps = lines.with_columns(step=pl.int_ranges(pl.lit(-1, pl.Int64), count)).explode("step", empty_as_null=False)
    month = first + pl.col("step") * pl.col("every_months")
    served = steps.with_columns(
        period_from=_boundary(month), period_until=_boundary(month + pl.col("every_months"))
    ).with_columns(
        begins=pl.max_horizontal("period_from", "starts_on"),
        stops=pl.min_horizontal(pl.col("period_until"), until),
    )
    in_advance = pl.col("begins").dt.offset_by(pl.format("-{}d", "lead_days"))
    return served.filter(pl.col("begins") < pl.col("stops")).with_columns(
        due_on=pl.when("in_advance").then(in_advance).otherwise(pl.col("stops").dt.offset_by("-1d"))
    ).filter(pl.col("due_on") <= upto)  # fmt: skip


def _month_number(on: pl.Expr) -> pl.Expr:
    return on.dt.year().cast(pl.Int64) * 12 + on.dt.month().cast(pl.Int64) - 1


def _boundary(month: pl.Expr) -> pl.Expr:
    """Return the anchor day of a numbered month, clipped to its length."""
    first = pl.date(month // 12, month % 12 + 1, 1)
    reach = pl.min_horizontal(pl.col("anchor_day"), first.dt.month_end().dt.day().cast(pl.Int64))
    return first.dt.offset_by(pl.format("{}d", reach - 1))


def _days(start: str, stop: str) -> pl.Expr:
    """Count the days from a day to before another, by the line's rule; Int64."""
    actual = (pl.col(stop) - pl.col(start)).dt.total_days()
    return pl.when(pl.col("proration") == "thirty_360").then(_place(stop) - _place(start)).otherwise(actual)


def _place(on: str) -> pl.Expr:
    # 30E/360: the 31st counts as the 30th, so that parts of a period still add up to it.
    return _month_number(pl.col(on)) * 30 + pl.min_horizontal(pl.col(on).dt.day().cast(pl.Int64), 30)


def differences(billed: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Return what has to be credited and charged where periods billed in advance came out otherwise.

    A part that became shorter is credited by the difference, a part that is gone as a whole, a new one is charged: so
    what was billed, with these, is what is right now, to the cent.

    billed   `SEGMENTS` as they were billed
    now      `SEGMENTS` of the same periods as they should be
    Returns  `DIFFERENCES`, sorted by line and first day, nought left out
    """
    keys = ["contract_line", "period_from", "from_on", "price"]
    before = SEGMENTS.read(billed).select(*keys, before="amount")
    after = SEGMENTS.read(now).select(*keys, after="amount")
    both = before.join(after, on=keys, how="full", coalesce=True).with_columns(
        amount=pl.col("after").fill_null(0) - pl.col("before").fill_null(0)
    )
    return DIFFERENCES.write(
        both.filter(pl.col("amount") != 0).sort("contract_line", "period_from", "from_on", "price")
    )


# --- what is due of every schedule ------------------------------------------------------------------------------------


def due_steps(lines: pl.DataFrame, prices: pl.DataFrame, statements: pl.DataFrame, upto: date) -> pl.DataFrame:
    """Return everything schedules let us bill from their beginning up to a day.

    Instalments fall due on the last day of their month. Of progress only the newest statement counts: one step with
    all that should be billed by it.

    lines       `SCHEDULE_LINES`
    prices      `SERVICE_PRICES` of the lines of kind service_period
    statements  `STATEMENTS` of the lines of kind percent_complete
    Returns     `STEPS`, sorted by line and number
    """
    known = SCHEDULE_LINES.read(lines)
    equal = _equal_parts(known.filter(pl.col("kind") == "instalments"), upto)
    progress = _newest_progress(known.filter(pl.col("kind") == "percent_complete"), STATEMENTS.read(statements), upto)
    periods = service_segments(known.filter(pl.col("kind") == "service_period"), prices, upto).with_columns(
        kind=pl.lit("service_period"), number=pl.int_range(1, pl.len() + 1).over("contract_line")
    )
    return pl.concat(STEPS.write(part) for part in (equal, progress, periods)).sort("contract_line", "number")


def _equal_parts(lines: pl.DataFrame, upto: date) -> pl.DataFrame:
    parts = instalments(lines).join(lines.drop("count"), on="contract_line")
    months = pl.format("{}mo", (pl.col("number") - 1) * pl.col("every_months"))
    first = pl.col("starts_on").dt.month_start().dt.offset_by(months)
    return parts.with_columns(from_on=first, to_on=first.dt.month_end(), due_on=first.dt.month_end()).filter(
        pl.col("due_on") <= upto
    )


def _newest_progress(lines: pl.DataFrame, statements: pl.DataFrame, upto: date) -> pl.DataFrame:
    newest = statements.filter(pl.col("stated_on") <= upto).sort("stated_on").group_by("contract_line").last()
    stated = lines.join(newest, on="contract_line")
    return stated.with_columns(
        number=pl.lit(1),
        due_on=pl.col("stated_on"),
        from_on=pl.min_horizontal("starts_on", "stated_on"),
        to_on=pl.col("stated_on"),
        amount=rounded(product(pl.col("total"), pl.col("done")), pl.col("of")),
    )
