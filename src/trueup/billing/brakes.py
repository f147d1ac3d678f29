"""Brakes: an invoice outside declared bounds is held with the bound, its figure and its limit, and is not sent."""

from dataclasses import dataclass

import polars as pl

from trueup.billing.frames import CHARGES, HOLDS, RunPlan, Shape, day, flag, maybe, text, units, whole
from trueup.billing.rounding import product
from trueup.kernel.money import from_units

CODE = "BRAKE"
FIXED = ("fee", "milestone")
"""Kinds of charges that are fixed items: they do not come by the hour."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one legal entity; None switches a bound off.

    minutes_a_day      most one worker can work on a day, over all projects
    fixed_lines_a_day  most fees and milestones of one contract on one day
    over_cap           whether time above what is left of the cap brakes
    times_mean         an invoice above this many times the mean of the contract's last invoices brakes
    mean_of            how many last invoices the mean is of
    mean_at_least      with fewer invoices before it nothing is compared: a beginning is no outlier
    rate_dates         whether a rate that is not in force on the day of work brakes
    after_approval     whether a fact changed by somebody else after its approval brakes
    negative           whether an invoice below zero brakes
    closed_period      whether an invoice in a closed month brakes
    """

    minutes_a_day: int | None = 1440
    fixed_lines_a_day: int | None = 15
    over_cap: bool = True
    times_mean: int | None = 3
    mean_of: int = 6
    mean_at_least: int = 3
    rate_dates: bool = True
    after_approval: bool = True
    negative: bool = True
    closed_period: bool = True


DAYS = Shape(
    "days",
    "one day of one worker, all projects and legal entities together",
    {
        "resource": text("who worked"),
        "worked_on": day("the day"),
        "minutes": whole("minutes entered, rejected ones left out"),
    },
)
CHECKED = Shape(
    "checked_facts",
    "one time entry or expense line of the plan",
    {
        "fact": text("the fact"),
        "resource": maybe(text("who worked or spent")),
        "worked_on": day("service date"),
        "changed_after_approval": flag("whether somebody else than the approving system changed it after its approval"),
    },
)
CAPS_LEFT = Shape(
    "caps_left",
    "one project",
    {"project": text("the project"), "cap_left": maybe(units("what its time may still bill; null for no cap"))},
)
RATE_DATES = Shape(
    "rate_dates",
    "one rate line",
    {
        "gid": text("the rate line"),
        "valid_from": day("first day it prices"),
        "valid_to": maybe(day("last day it prices; null for no end")),
    },
)
PAST_INVOICES = Shape(
    "past_invoices",
    "one invoice of before, credits left out",
    {
        "code": text("its code"),
        "contract": text("its contract"),
        "legal_entity": text("the entity that billed"),
        "currency": text("ISO 4217"),
        "invoice_date": day("date on the document"),
        "net": units("its net"),
    },
)
FIXED_ITEMS = Shape(
    "fixed_items",
    "fees and milestones that are on documents already",
    {"contract": text("its contract"), "service_on": day("their day"), "items": whole("how many")},
)
CLOSED = Shape(
    "closed_periods",
    "one closed month of a legal entity",
    {"legal_entity": text("the entity"), "period": text("the month: 2026-08")},
)
RELEASED = Shape(
    "released_brakes",
    "one brake a person released",
    {"document": text("code of the invoice"), "net": units("its net when it was released")},
)


@dataclass(frozen=True, slots=True)
class History:
    """What a plan is held against; the shapes in this file list the columns.

    days      `DAYS`           of the workers and days of the plan
    facts     `CHECKED`        of the plan
    caps      `CAPS_LEFT`      of the plan's projects
    rates     `RATE_DATES`     of the plan's rate lines
    invoices  `PAST_INVOICES`  of the plan's contracts
    fixed     `FIXED_ITEMS`    of the plan's contracts
    closed    `CLOSED`         of the legal entity
    released  `RELEASED`       of the plan's documents
    """

    days: pl.DataFrame
    facts: pl.DataFrame
    caps: pl.DataFrame
    rates: pl.DataFrame
    invoices: pl.DataFrame
    fixed: pl.DataFrame
    closed: pl.DataFrame
    released: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Finding:
    """One bound one invoice breaks, by its worst figure.

    invoice_code  the invoice
    bound         which one, a key of `SENTENCES`
    what          the worker's day, the rate line, the fact ... that breaks it
    figure        what was found: minutes, lines, or units
    limit         what is allowed, in the same measure
    """

    invoice_code: str
    bound: str
    what: str
    figure: int
    limit: int


SENTENCES: dict[str, str] = {
    "minutes_a_day": "{what} has {figure} minutes of work; a day has {limit}.",
    "fixed_lines_a_day": "{what} has {figure} fees and milestones on one day; the limit is {limit}.",
    "over_cap": "Time of {figure} is above the {limit} left of the cap of {what}.",
    "times_mean": "The invoice of {figure} is above {limit}, the allowed multiple of the mean of the last {what}.",
    "rate_dates": "{figure} charges use a rate that is not in force on the day of work, first {what}.",
    "after_approval": "{figure} facts were changed after their approval, first {what}.",
    "negative": "The invoice is {figure}, below zero; issue a credit note.",
    "closed_period": "The month {what} is closed.",
}
"""Bound -> sentence, in the order in which they are named."""

MONEY = frozenset({"over_cap", "times_mean", "negative"})

FOUND = {
    "invoice_code": pl.String,
    "bound": pl.String,
    "what": pl.String,
    "figure": pl.Int64,
    "limit": pl.Int64,
}


def findings(plan: RunPlan, history: History, bounds: Bounds) -> list[Finding]:
    """List every bound every invoice of a plan breaks, the worst figure of each, sorted by invoice and bound.

    plan     a billing run's plan
    history  what it is held against
    bounds   of the legal entity
    """
    drafted = plan.charges.filter(pl.col("bucket") == "on_draft")
    found = [
        _minutes_a_day(drafted, history, bounds),
        _fixed_lines(drafted, history, bounds),
        _over_cap(drafted, history, bounds),
        _times_mean(plan.invoices, history, bounds),
        _rate_dates(drafted, history, bounds),
        _after_approval(drafted, history, bounds),
        _negative(plan.invoices, bounds),
        _closed(plan.invoices, history, bounds),
    ]
    order = list(SENTENCES)
    rows = pl.concat(
        frame.select(pl.col(name).cast(dtype) for name, dtype in FOUND.items()) for frame in found if frame.height
    ) if any(frame.height for frame in found) else pl.DataFrame(schema=FOUND)  # fmt: skip
    worst = rows.sort("figure", "what", descending=[True, False]).unique(
        ["invoice_code", "bound"], keep="first", maintain_order=True
    )
    return sorted(
        (Finding(**row) for row in worst.iter_rows(named=True)),
        key=lambda one: (one.invoice_code, order.index(one.bound)),
    )


def brake(plan: RunPlan, history: History, bounds: Bounds) -> RunPlan:
    """Take every suspicious invoice out of a plan: its charges are held under `BRAKE`, one hold per document.

    A document that a person released at the same net passes.

    plan     a billing run's plan
    history  what it is held against
    bounds   of the legal entity
    Returns  the plan without the braked invoices; their charges are in the bucket held, and each has one hold whose
             scope is the document, whose amount is its net, and whose sentence names bounds, figures and limits
    """
    released = set(history.released.select("document", "net").iter_rows())
    by_code = {row["code"]: row for row in plan.invoices.iter_rows(named=True)}
    braked: dict[str, list[Finding]] = {}
    for one in findings(plan, history, bounds):
        if (one.invoice_code, by_code[one.invoice_code]["net"]) not in released:
            braked.setdefault(one.invoice_code, []).append(one)
    if not braked:
        return plan
    codes = list(braked)
    stopped = pl.col("invoice_code").is_in(codes).fill_null(value=False)
    minutes = dict(
        plan.charges.filter(stopped).group_by("invoice_code").agg(pl.col("minutes").sum()).iter_rows()
    )  # fmt: skip
    held = [
        {
            "scope": code,
            "code": CODE,
            "kind": "draft",
            "project": by_code[code]["project"],
            "contract": by_code[code]["contract"],
            "service_on": by_code[code]["invoice_date"],
            "currency": by_code[code]["currency"],
            "amount": by_code[code]["net"],
            "minutes": minutes.get(code) or 0,
            "sentence": f"{code}: " + " ".join(sentence(one, by_code[code]["currency"]) for one in braked[code]),
        }
        for code in codes
    ]
    schema = {name: column.dtype for name, column in HOLDS.columns.items()}
    return RunPlan(
        charges=CHARGES.write(
            plan.charges.with_columns(
                bucket=pl.when(stopped).then(pl.lit("held")).otherwise("bucket"),
                hold_code=pl.when(stopped).then(pl.lit(CODE)).otherwise("hold_code"),
                line_key=pl.when(~stopped).then("line_key"),
                invoice_code=pl.when(~stopped).then("invoice_code"),
            )
        ),
        invoices=plan.invoices.filter(~pl.col("code").is_in(codes)),
        invoice_lines=plan.invoice_lines.filter(~pl.col("invoice_code").is_in(codes)),
        holds=pl.concat([plan.holds, pl.DataFrame(held, schema=schema)]).sort("scope", "code"),
    )


def sentence(found: Finding, currency: str) -> str:
    """Say a finding in a sentence, money in major units of the invoice's currency."""

    def shown(value: int) -> str:
        return f"{from_units(value, currency):f} {currency}" if found.bound in MONEY else str(value)

    return SENTENCES[found.bound].format(what=found.what, figure=shown(found.figure), limit=shown(found.limit))


_nothing = pl.DataFrame(schema=FOUND)


def _minutes_a_day(drafted: pl.DataFrame, history: History, bounds: Bounds) -> pl.DataFrame:
    if bounds.minutes_a_day is None:
        return _nothing
    long = history.days.filter(pl.col("minutes") > bounds.minutes_a_day)
    return (
        drafted.select("invoice_code", "fact")
        .join(history.facts, on="fact")
        .join(long, on=["resource", "worked_on"])
        .select(
            "invoice_code",
            bound=pl.lit("minutes_a_day"),
            what=pl.format("{} on {}", "resource", "worked_on"),
            figure="minutes",
            limit=pl.lit(bounds.minutes_a_day),
        )
    )


def _fixed_lines(drafted: pl.DataFrame, history: History, bounds: Bounds) -> pl.DataFrame:
    if bounds.fixed_lines_a_day is None:
        return _nothing
    fixed = drafted.filter(pl.col("kind").is_in(FIXED))
    on = ["contract", "service_on"]
    sums = (
        fixed.group_by(on)
        .len("new")
        .join(history.fixed, on=on, how="left")
        .with_columns(items=pl.col("new").cast(pl.Int64) + pl.col("items").fill_null(0))
    )
    return (
        fixed.select("invoice_code", *on)
        .join(sums.filter(pl.col("items") > bounds.fixed_lines_a_day), on=on)
        .select(
            "invoice_code",
            bound=pl.lit("fixed_lines_a_day"),
            what=pl.format("{} on {}", "contract", "service_on"),
            figure="items",
            limit=pl.lit(bounds.fixed_lines_a_day),
        )
    )


def _over_cap(drafted: pl.DataFrame, history: History, bounds: Bounds) -> pl.DataFrame:
    if not bounds.over_cap:
        return _nothing
    return (
        drafted.filter(pl.col("kind") == "time")
        .group_by("invoice_code", "project")
        .agg(pl.col("amount").sum())
        .join(history.caps.filter(pl.col("cap_left").is_not_null()), on="project")
        .filter(pl.col("amount") > pl.max_horizontal("cap_left", pl.lit(0, pl.Int64)))
        .select(
            "invoice_code",
            bound=pl.lit("over_cap"),
            what="project",
            figure="amount",
            limit=pl.max_horizontal("cap_left", pl.lit(0, pl.Int64)),
        )
    )


def _times_mean(invoices: pl.DataFrame, history: History, bounds: Bounds) -> pl.DataFrame:
    if bounds.times_mean is None:
        return _nothing
    of = ["contract", "legal_entity", "currency"]
    return (
        invoices.select("code", "net", "invoice_date", *of)
        .join(history.invoices, on=of, suffix="_before")
        .filter((pl.col("code_before") != pl.col("code")) & (pl.col("invoice_date_before") <= pl.col("invoice_date")))
        .sort("invoice_date_before", "code_before", descending=True)
        .group_by("code", "net", maintain_order=True)
        .agg(pl.col("net_before").head(bounds.mean_of))
        .select(
            "code", "net", count=pl.col("net_before").list.len().cast(pl.Int64), total=pl.col("net_before").list.sum()
        )
        .filter(
            (pl.col("count") >= bounds.mean_at_least)
            & (product(pl.col("net"), pl.col("count")) > product(pl.col("total"), bounds.times_mean))
        )
        .select(
            invoice_code="code",
            bound=pl.lit("times_mean"),
            what=pl.format("{} invoices", "count"),
            figure="net",
            limit=(product(pl.col("total"), bounds.times_mean) // pl.col("count").cast(pl.Int128)).cast(pl.Int64),
        )
    )  # fmt: skip


def _rate_dates(drafted: pl.DataFrame, history: History, bounds: Bounds) -> pl.DataFrame:
    if not bounds.rate_dates:
        return _nothing
    known = history.rates.rename({"gid": "rate_line"})
    late = pl.col("valid_to").is_not_null() & (pl.col("service_on") > pl.col("valid_to"))
    wrong = pl.col("valid_from").is_null() | (pl.col("service_on") < pl.col("valid_from")) | late
    return _counted(
        drafted.filter(pl.col("rate_line").is_not_null())
        .join(known, on="rate_line", how="left")
        .filter(wrong)
        .with_columns(what=pl.format("{} on {}", "rate_line", "service_on")),
        "rate_dates",
    )


def _after_approval(drafted: pl.DataFrame, history: History, bounds: Bounds) -> pl.DataFrame:
    if not bounds.after_approval:
        return _nothing
    late = history.facts.filter("changed_after_approval")
    seen = drafted.select("invoice_code", "fact").unique().join(late, on="fact").with_columns(what="fact")
    return _counted(seen, "after_approval")


def _counted(wrong: pl.DataFrame, bound: str) -> pl.DataFrame:
    return (
        wrong.group_by("invoice_code")
        .agg(pl.col("what").min(), figure=pl.len().cast(pl.Int64))
        .select("invoice_code", "what", "figure", bound=pl.lit(bound), limit=pl.lit(0))
    )


def _negative(invoices: pl.DataFrame, bounds: Bounds) -> pl.DataFrame:
    if not bounds.negative:
        return _nothing
    return invoices.filter(pl.col("net") < 0).select(
        invoice_code="code", bound=pl.lit("negative"), what="code", figure="net", limit=pl.lit(0)
    )


def _closed(invoices: pl.DataFrame, history: History, bounds: Bounds) -> pl.DataFrame:
    if not bounds.closed_period:
        return _nothing
    return invoices.join(history.closed, on=["legal_entity", "period"], how="semi").select(
        invoice_code="code", bound=pl.lit("closed_period"), what="period", figure=pl.lit(1), limit=pl.lit(0)
    )


def empty_history() -> History:
    """Return a history in which nothing has happened."""
    return History(
        DAYS.empty(), CHECKED.empty(), CAPS_LEFT.empty(), RATE_DATES.empty(), PAST_INVOICES.empty(),
        FIXED_ITEMS.empty(), CLOSED.empty(), RELEASED.empty(),
    )  # fmt: skip
