"""Time and expenses become parts: each open minute and cent priced by its rule, in one bucket, with its reasons.

One function per rule. A part is a charge before it is put on an invoice; its columns are those of `CHARGES` plus
role, category, cap and tax columns of the project, and hold_codes list[str]. A part in the bucket `waiting` is not
approved: it is listed among the holds and is no charge.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal

import polars as pl

from trueup.billing.caps import split_at_cap, split_at_included
from trueup.billing.frames import ENTRIES, EXPENSES, RunFacts
from trueup.billing.holds import codes, when, with_more
from trueup.billing.measuring import (
    E8,
    LATER,
    agreed,
    charged_minutes,
    exchanged,
    exchanged_rate,
    hours_worth,
    measured,
    rate_of_day,
    tiered_worth,
    time_types,
    within_day,
)
from trueup.billing.rating import price_time, with_rate
from trueup.billing.rounding import HOUR, MILLION, product, rounded
from trueup.billing.tax import OPTIONAL, category_of, with_treatment
from trueup.billing.terms import PLAIN, Exchange, RateOrder, Terms
from trueup.kernel.money import minor_digits, to_units
from trueup.kernel.periods import last_day

APPROVED_EXPENSE = ("approved", "posted", "reimbursed")
"""Statuses of an expense line that come after approval."""

RECEIPT_LIMIT = Decimal("25.00")
"""An expense above this needs a receipt before it is charged on; in the project's currency, before markup."""

ROUNDING = "once, to the minor unit, half away from zero"


def price_facts(facts: RunFacts, upto: date, period: str) -> pl.DataFrame:
    """Price everything open up to a day, every rule once.

    facts     as `RunFacts.read` gives them
    upto      last service date to look at
    period    month whose included retainer minutes are used, 2026-08; an exchange on the invoice date is on its end
    Returns   parts (see the module's first lines)
    """
    treated = with_treatment(facts.projects).drop(OPTIONAL, strict=False).with_columns(known=pl.lit(value=True))
    measured_apart = {project: terms for project, terms in facts.terms.items() if _apart(terms)}
    spent_apart = {project: terms for project, terms in facts.terms.items() if terms.expenses or terms.exchange}
    time = _open_entries(facts.entries, treated, upto)
    spending = _open_expenses(facts.expenses, treated, upto, list(spent_apart))
    by_rate = time
    extra: list[pl.DataFrame] = []
    if measured_apart:
        apart = pl.col("project").is_in(list(measured_apart))
        by_rate = time.filter(~apart)
        every = ENTRIES.with_optional(facts.entries.filter(apart))
        whole = _entries(every, treated, upto, open_only=False)
        extra.append(agreed_time(whole, replace(facts, terms=measured_apart), last_day(period)))
    plain_spending = spending
    if spent_apart:
        apart = pl.col("project").is_in(list(spent_apart))
        plain_spending = spending.filter(~apart)
        ruled = agreed_expenses(EXPENSES.with_optional(spending.filter(apart)), spent_apart, facts.fx_rates)
        extra += [ruled, unbilled_expenses(_by_rule(spending.filter(apart), spent_apart))]
    return pl.concat(
        [
            time_and_materials(by_rate, facts.rates),
            retainer_time(time, period),
            fixed_fee_time(time),
            unbilled_time(time),
            stray_time(time),
            charged_expenses(plain_spending),
            unbilled_expenses(plain_spending),
            retainer_fees(treated),
            *extra,
        ],
        how="diagonal",
    )


def _apart(terms: Terms) -> bool:
    return (
        terms.measures
        or terms.rate_order != PLAIN.rate_order
        or terms.cap_policy != PLAIN.cap_policy
        or bool(terms.task_caps)
    )


def _open_entries(entries: pl.DataFrame, projects: pl.DataFrame, upto: date) -> pl.DataFrame:
    return _entries(entries, projects, upto, open_only=True)


def _entries(entries: pl.DataFrame, projects: pl.DataFrame, upto: date, *, open_only: bool) -> pl.DataFrame:
    approved = pl.col("status") == "approved"
    waiting = (pl.col("status") == "submitted") & pl.col("billable")
    looked_at = (pl.col("open_minutes") != 0) if open_only else pl.lit(value=True)
    return (
        entries.filter((pl.col("worked_on") <= upto) & looked_at & (approved | waiting))
        .with_columns(approved=approved)
        .rename({"contract": "own_contract"})
        .join(projects.drop("fees_due"), on="project", how="left", validate="m:1")
        .with_columns(
            pl.coalesce("contract", "own_contract").alias("contract"),
            pl.col("known").fill_null(value=False),
            fact=pl.col("gid"),
            service_on=pl.col("worked_on"),
            contract_line=pl.col("line_key"),
        )
        .sort("worked_on", "source_order", "gid")
    )


def _open_expenses(expenses: pl.DataFrame, projects: pl.DataFrame, upto: date, ruled: list[str]) -> pl.DataFrame:
    # A rule of the terms may make billable what the fact says is not.
    approved = pl.col("status").is_in(APPROVED_EXPENSE)
    waiting = (pl.col("status") == "submitted") & (pl.col("billable") | pl.col("project").is_in(ruled))
    return (
        expenses.filter((pl.col("spent_on") <= upto) & (pl.col("open_amount") != 0) & (approved | waiting))
        .with_columns(approved=approved)
        .rename({"contract": "own_contract"})
        .join(projects.drop("fees_due"), on="project", how="left", validate="m:1")
        .with_columns(
            pl.coalesce("contract", "own_contract").alias("contract"),
            pl.col("known").fill_null(value=False),
            fact=pl.col("gid"),
            service_on=pl.col("spent_on"),
            contract_line=pl.col("pass_through_line"),
            kind=pl.lit("expense"),
            facet=pl.lit("expense"),
            spent=pl.col("open_amount"),
            spent_from=pl.col("amount") - pl.col("open_amount"),
        )
    )


def time_and_materials(time: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Price time by the rate in force and hold what is above the cap.

    time     open entries joined with their projects
    rates    `RATES`
    Returns  parts: within the cap (bucket on_draft), above it (over_cap), not approved (waiting)
    """
    billable = time.filter(pl.col("known") & pl.col("billable") & pl.col("method").is_in(_BY_RATE))
    priced = price_time(billable, rates).with_columns(
        credit_due=(pl.col("open_minutes") < 0) | (pl.col("amount") < 0),
        unpriced=pl.col("rate").is_null() & ~pl.col("ambiguous"),
    )
    counts = pl.col("approved") & pl.col("rate").is_not_null() & ~pl.col("credit_due")
    split = split_at_cap(priced.with_columns(counts=counts)).with_columns(
        trace=_trace("rate of the role in force on the service date", "minutes", "allocated_amount", "rate_valid_from",
                     "cap", "cap_left")
    )  # fmt: skip
    start = pl.col("minutes") - pl.col("open_minutes")
    reasons = (
        _contract_inactive(),
        when(pl.col("credit_due"), "CREDIT_DUE"),
        when(pl.col("unpriced"), "RATE_MISSING"),
        when(pl.col("ambiguous"), "RATE_AMBIGUOUS"),
    )
    within = _ranged(
        split.filter((pl.col("within_minutes") != 0) | (pl.col("over_minutes") == 0)),
        start,
        pl.col("within_minutes"),
    ).with_columns(
        amount=pl.col("within_amount"),
        bucket=pl.lit("on_draft"),
        hold_codes=codes(*reasons, _tax_undetermined()),
    )
    over = _ranged(split.filter(pl.col("over_minutes") != 0), start + pl.col("within_minutes"), pl.col("over_minutes"))
    over = over.with_columns(
        amount=pl.col("over_amount"),
        bucket=pl.lit("over_cap"),
        hold_codes=codes(*reasons, pl.lit("CAP_EXCEEDED"), _tax_undetermined()),
    )
    return _waiting(pl.concat([within, over]).with_columns(kind=pl.lit("time")))


_BY_RATE = ("time_and_materials", "pass_through")
# A contract that only passes expenses on has no rate lines: its billable time is held for a rate, never dropped.


def agreed_time(time: pl.DataFrame, facts: RunFacts, invoice_on: date) -> pl.DataFrame:
    """Price time whose terms are not the plain ones: measured, exchanged, by tiers, under the caps of day, task, line.

    time        entries joined with their projects, also those with nothing open: they have used up of days and lines
    facts       with the terms of these projects
    invoice_on  date of the invoice
    Returns     parts: within all caps (bucket on_draft), above one (over_cap), not approved (waiting)
    """
    billable = time.filter(pl.col("known") & pl.col("billable") & pl.col("method").is_in(_BY_RATE))
    currencies = dict(billable.select("project", "currency").unique().iter_rows())
    terms = {project: of for project, of in facts.terms.items() if project in currencies}
    if not terms:
        return time.clear()
    rated = pl.concat(
        [
            with_rate(_of_card(billable, terms, order, currencies), facts.rates, order)
            for order in sorted({of.rate_order for of in terms.values()}, key=repr)
        ],
        how="diagonal",
    ).with_columns(currency=pl.col("invoice_currency"))
    by_tier = pl.col("tier_kind").is_not_null()
    stopped = pl.any_horizontal(
        pl.col(scope).is_in(facts.stops["scope"].to_list()).fill_null(value=False) for scope in STOPPED_BY
    )
    known = (
        exchanged(rated, facts.fx_rates, invoice_on)
        .rename({"rate": "card_rate"})
        .with_columns(
            rate=pl.col("card_rate"),
            ambiguous=pl.col("ambiguous") & ~by_tier,
            unpriced=pl.col("card_rate").is_null() & ~pl.col("ambiguous") & ~by_tier,
            unexchanged=pl.col("card_rate").is_not_null() & pl.col("fx_e8").is_null() & ~by_tier,
        )
        .with_columns(rate=exchanged_rate())
        .with_columns(priced=by_tier | (pl.col("rate").is_not_null() & ~pl.col("ambiguous")))
    )
    settled = pl.col("open_minutes") != pl.col("minutes")
    rank = (
        pl.when(settled).then(0)
        .when(pl.col("approved") & pl.col("priced") & ~stopped).then(1)
        .when("approved").then(LATER)
        .otherwise(LATER + 1)
    )  # fmt: skip
    order = ["worked_on", "source_order", "gid"]
    in_order_of_use = measured(known.with_columns(rank=rank).sort("rank", *order))
    worth = pl.when(by_tier).then(tiered_worth()).otherwise(hours_worth(pl.col("weight"), pl.col("rate")))
    valued = in_order_of_use.with_columns(
        amount=pl.when("priced").then(worth - pl.col("allocated_amount")).otherwise(0),
        rate=pl.when(by_tier).then("tier_rate").otherwise("rate"),
        whole_minutes=pl.col("minutes"),
    ).with_columns(credit_due=(pl.col("open_minutes") < 0) | (pl.col("amount") < 0))
    daily = within_day(valued, pl.col("priced") & ~pl.col("credit_due"))
    opened = daily.filter(pl.col("open_minutes") != 0).sort(order)
    return _waiting(_under_caps(opened, terms).with_columns(kind=pl.lit("time")))


STOPPED_BY = ("gid", "task", "project", "contract")
"""What a stop may be on, as far as an entry knows."""


def _of_card(
    billable: pl.DataFrame, terms: Mapping[str, Terms], order: RateOrder, currencies: Mapping[str, str]
) -> pl.DataFrame:
    same = {project: of for project, of in terms.items() if of.rate_order == order}
    return (
        billable.join(agreed(same, currencies), on="project", how="inner", maintain_order="left")
        .join(time_types(same), on=["project", "time_type"], how="left", maintain_order="left")
        .with_columns(pl.col("type_bill", "type_cost").fill_null(1000), invoice_currency=pl.col("currency"))
        .with_columns(currency=pl.col("card_currency"))
    )


def _under_caps(opened: pl.DataFrame, terms: Mapping[str, Terms]) -> pl.DataFrame:
    share = rounded(product(pl.col("amount"), pl.col("day_minutes")), pl.col("open_minutes").abs())
    a_day = opened.with_columns(
        day_amount=pl.when(pl.col("day_minutes") == pl.col("open_minutes")).then("amount").otherwise(share),
        counts=pl.col("approved") & pl.col("priced") & ~pl.col("credit_due"),
    )
    limits = pl.DataFrame(
        [
            (project, cap.task, to_units(cap.amount, currency), to_units(cap.used, currency))
            for project, currency in opened.select("project", "currency").unique().iter_rows()
            for cap in terms[project].task_caps
        ],
        schema={"project": pl.String, "task": pl.String, "cap": pl.Int64, "cap_used": pl.Int64},
        orient="row",
    )
    policy = pl.col("cap_policy")
    line = {"cap": "line_cap", "cap_used": "line_cap_used"}
    on_task = split_at_cap(
        a_day.rename(line).join(limits, on=["project", "task"], how="left", maintain_order="left"),
        scope=("project", "task"), minutes="day_minutes", amount="day_amount", policy=policy,
    ).rename({"within_minutes": "task_minutes", "within_amount": "task_amount"})  # fmt: skip
    back = {new: old for old, new in line.items()}
    on_line = split_at_cap(
        on_task.drop("cap", "cap_used", "cap_left", "over_minutes", "over_amount").rename(back),
        minutes="task_minutes", amount="task_amount", policy=policy,
    )  # fmt: skip
    traced = on_line.with_columns(
        trace=_trace(
            "rate in force on the service date, measured and priced by the terms", "terms", "minutes",
            "allocated_amount", "rate_line", *(["rate_card"] if "rate_card" in on_line.columns else []),
            "rate_valid_from", "card_rate", "card_currency", "fx_e8", "fx_day", "fx_source", "discount_ppm", "counted",
            "weight", "cost_weight", "overtime_counted", "tier_kind", "tier_rate", "day_cap", "cap", "cap_left",
            "cap_policy",
        )
    )  # fmt: skip
    reasons = (
        _contract_inactive(),
        when(pl.col("credit_due"), "CREDIT_DUE"),
        when(pl.col("unpriced"), "RATE_MISSING"),
        when(pl.col("ambiguous"), "RATE_AMBIGUOUS"),
        when(pl.col("unexchanged"), "FX_RATE_MISSING"),
    )
    start = pl.col("minutes") - pl.col("open_minutes")
    within = _charged(
        traced.filter((pl.col("within_minutes") != 0) | (pl.col("within_minutes") == pl.col("open_minutes"))),
        start,
        pl.col("within_minutes"),
    ).with_columns(
        amount=pl.col("within_amount"), bucket=pl.lit("on_draft"), hold_codes=codes(*reasons, _tax_undetermined())
    )
    above = (
        ("within_minutes", "task_minutes", "within_amount", "task_amount", "CAP_EXCEEDED"),
        ("task_minutes", "day_minutes", "task_amount", "day_amount", "CAP_EXCEEDED"),
        ("day_minutes", "open_minutes", "day_amount", "amount", "CAP_DAILY"),
    )
    over = [
        _charged(
            traced.filter(pl.col(inner) != pl.col(outer)), start + pl.col(inner), pl.col(outer) - pl.col(inner)
        ).with_columns(
            amount=pl.col(outer_amount) - pl.col(inner_amount),
            bucket=pl.lit("over_cap"),
            hold_codes=codes(*reasons, pl.lit(code), _tax_undetermined()),
        )
        for inner, outer, inner_amount, outer_amount, code in above
    ]
    return pl.concat([within, *over])


def _charged(parts: pl.DataFrame, start: pl.Expr, minutes: pl.Expr) -> pl.DataFrame:
    return parts.with_columns(range_from=start, charged=charged_minutes(start, start + minutes)).pipe(
        _ranged, start, minutes
    )


def retainer_time(time: pl.DataFrame, period: str) -> pl.DataFrame:
    """Cover time by the month's fee up to the included minutes; charge the rest at the overage rate.

    time     open entries joined with their projects
    period   month whose included minutes are used, whatever the service date
    Returns  parts: covered_by_fixed_fee, overage (bucket on_draft), not approved (waiting; valued as if approved last)
    """
    worked = time.filter(pl.col("known") & pl.col("billable") & (pl.col("method") == "retainer"))
    split = split_at_included(worked.sort("approved", descending=True, maintain_order=True)).with_columns(
        trace=_trace(
            f"included minutes of {period}, then the overage rate",
            "included_minutes",
            *(name for name in ("rolled_minutes",) if name in worked.columns),
            "included_left",
        ),
        credit_due=pl.col("open_minutes") < 0,
    )
    start = pl.col("minutes") - pl.col("open_minutes")
    covered = _ranged(split.filter(pl.col("covered_minutes") != 0), start, pl.col("covered_minutes")).with_columns(
        kind=pl.lit("time"),
        amount=pl.lit(0, pl.Int64),
        bucket=pl.lit("covered_by_fixed_fee"),
        hold_codes=codes(when(pl.col("credit_due"), "CREDIT_DUE")),
    )
    overage = _ranged(
        split.filter(pl.col("overage_minutes") != 0),
        start + pl.col("covered_minutes"),
        pl.col("overage_minutes"),
    ).with_columns(
        kind=pl.lit("overage"),
        rate=pl.col("overage_rate"),
        amount=rounded(product(pl.col("overage_minutes"), pl.col("overage_rate")), HOUR).fill_null(0),
        bucket=pl.lit("on_draft"),
        hold_codes=codes(
            _contract_inactive(),
            when(pl.col("overage_rate").is_null(), "RATE_MISSING"),
            _tax_undetermined(),
        ),
    )
    return _waiting(pl.concat([covered, overage], how="diagonal"))


def fixed_fee_time(time: pl.DataFrame) -> pl.DataFrame:
    """Put billable time of a fixed fee under the fee: it is paid by the milestones.

    time     open entries joined with their projects
    Returns  parts: covered_by_fixed_fee, not approved (waiting, worth 0)
    """
    return _waiting(
        _whole(
            time.filter(pl.col("known") & pl.col("billable") & (pl.col("method") == "fixed_fee")),
            "covered_by_fixed_fee",
            "the fixed fee pays for it",
        )
    )


def unbilled_time(time: pl.DataFrame) -> pl.DataFrame:
    """Keep approved non-billable time in its own bucket.

    time     open entries joined with their projects
    Returns  parts: non_billable
    """
    return _whole(time.filter(~pl.col("billable")), "non_billable", "not billable")


def stray_time(time: pl.DataFrame) -> pl.DataFrame:
    """Hold billable time whose project, or whose project's billing method, billing does not know.

    time     open entries joined with their projects
    Returns  parts: held, not approved (waiting)
    """
    known_methods = pl.col("method").is_in([*_BY_RATE, "retainer", "fixed_fee"])
    stray = time.filter(pl.col("billable") & ~(pl.col("known") & known_methods))
    return _waiting(
        _whole(stray, "on_draft", "no known project").with_columns(hold_codes=codes(pl.lit("ENTITY_UNMAPPED")))
    )


def charged_expenses(spending: pl.DataFrame) -> pl.DataFrame:
    """Charge billable expenses on with the contract's markup.

    spending  open expense lines joined with their projects
    Returns   parts: bucket on_draft, without a needed receipt or project held, not approved (waiting)
    """
    charged = spending.filter(pl.col("billable") & (pl.col("pass_through").fill_null(value=True)))
    marked_up = rounded(product(pl.col("spent"), pl.col("markup_ppm") + MILLION), MILLION)
    needs_receipt = (pl.col("amount") > receipt_limits(pl.col("currency"))) & ~pl.col("has_receipt")
    return _waiting(
        charged.with_columns(
            trace=_trace("amount spent plus markup", "amount", "markup_ppm", "has_receipt"),
            bucket=pl.lit("on_draft"),
            hold_codes=codes(
                when(~pl.col("known"), "ENTITY_UNMAPPED"),
                _contract_inactive(),
                when(needs_receipt, "RECEIPT_MISSING"),
                _tax_undetermined(),
            ),
        ).with_columns(amount=marked_up.fill_null(0))
    )


def agreed_expenses(spending: pl.DataFrame, terms: Mapping[str, Terms], fx_rates: pl.DataFrame) -> pl.DataFrame:
    """Charge expenses on by the rule of their category: recoverable tax off, exchanged, rounded, marked up, rounded.

    spending  open expense lines joined with their projects
    terms     project → terms
    fx_rates  `FX_RATES`; the rate on the card statement goes first, else that of the expense date
    Returns   parts: bucket on_draft, held, not approved (waiting); paid as an agent: treatment disbursement, no tax
    """
    ruled = _by_rule(spending, terms).filter(pl.col("billable") & pl.col("pass_through").fill_null(value=True))
    charged = _in_project_currency(ruled, fx_rates)
    scale_up = pl.lit(10, pl.Int128).pow(pl.col("fx_scale").clip(lower_bound=0))
    scale_down = pl.lit(10, pl.Int128).pow((-pl.col("fx_scale")).clip(lower_bound=0))

    def exchanged_from(amount: pl.Expr, recoverable: pl.Expr | int) -> pl.Expr:
        top = product(product(amount, pl.col("fx_e8")), MILLION) * scale_up
        below = recoverable + MILLION
        wide = below.cast(pl.Int128) if isinstance(below, pl.Expr) else pl.lit(below, pl.Int128)
        return rounded(top, wide * pl.lit(E8, pl.Int128) * scale_down)

    def worth(amount: pl.Expr) -> pl.Expr:
        net = exchanged_from(amount, pl.col("recoverable_ppm"))
        markup = rounded(product(net, pl.col("markup_ppm")), MILLION)
        limited = pl.max_horizontal(pl.min_horizontal(markup, "markup_cap"), -pl.col("markup_cap"))
        marked = net + pl.when(pl.col("markup_cap").is_null()).then(markup).otherwise(limited)
        return pl.when(pl.col("daily_rate").is_null()).then(marked).otherwise(pl.col("daily_rate") * amount.sign())

    gross = exchanged_from(pl.col("amount"), 0)
    resumed = pl.col("allocated_amount").is_not_null() & (pl.col("open_amount") != pl.col("amount"))
    limit = pl.coalesce("receipt_limit", receipt_limits(pl.col("currency")))
    agent = pl.col("agent")
    priced = charged.with_columns(
        value=pl.when(resumed).then(worth(pl.col("amount")) - pl.col("allocated_amount")).otherwise(
            worth(pl.col("spent"))
        ),
        gross=gross,
        tax_treatment=pl.when(agent).then(pl.lit("disbursement")).otherwise("tax_treatment"),
        tax_rate_ppm=pl.when(agent).then(0).otherwise("tax_rate_ppm"),
        tax_reason=pl.when(agent).then(pl.lit(category_of("disbursement").note)).otherwise("tax_reason"),
    )  # fmt: skip
    return _waiting(
        priced.with_columns(
            trace=_trace(
                "input tax off, exchanged, marked up by the rule of the category", "terms", "amount", "allocated_amount",
                "currency_spent", "fx_e8", "fx_day", "fx_source", "recoverable_ppm", "markup_ppm", "markup_cap",
                "daily_rate", "agent", "has_receipt",
            ),
            bucket=pl.lit("on_draft"),
            hold_codes=codes(
                when(~pl.col("known"), "ENTITY_UNMAPPED"),
                _contract_inactive(),
                when(pl.col("fx_e8").is_null(), "FX_RATE_MISSING"),
                when((pl.col("gross") > limit) & ~pl.col("has_receipt"), "RECEIPT_MISSING"),
                when(pl.col("gross") > pl.col("policy_limit"), "POLICY_BREACH"),
                _tax_undetermined(),
            ),
        ).with_columns(amount=pl.col("value").fill_null(0))
    )  # fmt: skip


def _by_rule(spending: pl.DataFrame, terms: Mapping[str, Terms]) -> pl.DataFrame:
    currencies = dict(spending.select("project", "currency").unique().iter_rows())
    rows = []
    for project, of in terms.items():
        for category, rule in of.expenses.items():
            currency = currencies.get(project)
            if currency is None:
                continue
            markup = rule.markup_share
            rows.append(
                (
                    project, category, rule.billable, rule.treatment == "agent",
                    None if markup is None else int(markup * MILLION),
                    *(None if limit is None else to_units(limit, currency)
                      for limit in (rule.markup_cap, rule.receipt_threshold, rule.policy_limit, rule.daily_rate)),
                    int(rule.recoverable_share * MILLION),
                )
            )  # fmt: skip
    schema = {
        "project": pl.String, "category": pl.String, "rule_billable": pl.Boolean, "agent": pl.Boolean,
        "rule_markup": pl.Int64, "markup_cap": pl.Int64, "receipt_limit": pl.Int64, "policy_limit": pl.Int64,
        "daily_rate": pl.Int64, "recoverable_ppm": pl.Int64,
    }  # fmt: skip
    names = {project: of.name for project, of in terms.items()}
    return (
        spending.join(
            pl.DataFrame(rows, schema=schema, orient="row"),
            on=["project", "category"],
            how="left",
            maintain_order="left",
        )
        .with_columns(
            pl.coalesce("rule_billable", "billable").alias("billable"),
            pl.coalesce("rule_markup", "markup_ppm").alias("markup_ppm"),
            pl.col("agent").fill_null(value=False),
            pl.col("recoverable_ppm").fill_null(0),
            terms=pl.col("project").replace_strict(names, default=None, return_dtype=pl.String),
        )
        .drop("rule_billable", "rule_markup")
    )


def _in_project_currency(spending: pl.DataFrame, fx_rates: pl.DataFrame) -> pl.DataFrame:
    foreign = pl.col("currency_spent").is_not_null() & (pl.col("currency_spent") != pl.col("currency"))
    asked = spending.filter(foreign).select("currency_spent", "currency", "spent_on").unique()
    answers = []
    for spent, currency, day in asked.iter_rows():
        found = rate_of_day(fx_rates, Exchange(spent), currency, day) or (None, None, None)
        answers.append((spent, currency, day, minor_digits(currency) - minor_digits(spent), *found))
    schema = {
        "currency_spent": pl.String, "currency": pl.String, "spent_on": pl.Date, "fx_scale": pl.Int64,
        "fx_e8": pl.Int64, "fx_day": pl.Date, "fx_source": pl.String,
    }  # fmt: skip
    known = pl.DataFrame(answers, schema=schema, orient="row")
    by_card = foreign & pl.col("card_rate_e8").is_not_null()
    return spending.join(known, on=list(schema)[:3], how="left", maintain_order="left").with_columns(
        fx_scale=pl.col("fx_scale").fill_null(0),
        fx_e8=pl.when(~foreign).then(pl.lit(E8, pl.Int64)).when(by_card).then("card_rate_e8").otherwise("fx_e8"),
        fx_source=pl.when(by_card).then(pl.lit("card statement")).otherwise("fx_source"),
        fx_day=pl.when(~by_card).then("fx_day"),
    )


def with_outside_reasons(parts: pl.DataFrame, facts: RunFacts) -> pl.DataFrame:
    """Add what stops a part from outside: stops, a blocked customer, work of a closed month that may not move on.

    parts    see the module's first lines; only what would be billed is stopped
    facts    stops, projects, terms, closed months
    Returns  parts with more hold codes
    """
    billed = pl.col("bucket").is_in(["on_draft", "over_cap"])
    if facts.stops.height:
        listed = facts.stops.unique().group_by("scope").agg(pl.col("code").alias("stop_codes"))
        for scope in ("fact", *(name for name in STOPPED_BY[1:] if name in parts.columns)):
            parts = with_more(
                parts.join(listed.rename({"scope": scope}), on=scope, how="left", maintain_order="left"),
                pl.when(billed).then("stop_codes"),
            ).drop("stop_codes")
    if "credit_hold" in parts.columns:
        blocked = billed & pl.col("credit_hold").fill_null(value=False)
        parts = with_more(parts, pl.when(blocked).then(pl.concat_list(pl.lit("CREDIT_HOLD"))))
    waits = [project for project, of in facts.terms.items() if of.late_work == "hold"]
    if waits and facts.closed:
        late = pl.col("service_on").dt.strftime("%Y-%m").is_in(facts.closed) & pl.col("project").is_in(waits)
        parts = with_more(parts, pl.when(billed & late).then(pl.concat_list(pl.lit("PERIOD_CLOSED"))))
    return parts


def unbilled_expenses(spending: pl.DataFrame) -> pl.DataFrame:
    """Keep approved expenses the client does not pay for in their own bucket.

    spending  open expense lines joined with their projects
    Returns   parts: non_billable, worth 0
    """
    kept = pl.col("approved") & ~(pl.col("billable") & pl.col("pass_through").fill_null(value=True))
    return spending.filter(kept).with_columns(
        trace=_trace("not billable, or no line of the contract charges expenses on", "billable", "pass_through"),
        bucket=pl.lit("non_billable"),
        hold_codes=codes(pl.lit(None, pl.String)),
        amount=pl.lit(0, pl.Int64),
    )


def retainer_fees(projects: pl.DataFrame) -> pl.DataFrame:
    """Charge the fee of every month that is due: this month's, and those of earlier months that had to wait.

    projects  `PROJECTS` with their tax treatment
    Returns   parts: bucket on_draft
    """
    due = (
        projects.filter(
            (pl.col("method") == "retainer")
            & pl.col("contract_active")
            & (pl.col("fees_due").list.len() > 0)
            & (pl.col("monthly_fee") != 0)
        )
        .explode("fees_due")
        .rename({"fees_due": "fee_month"})
    )
    return due.with_columns(
        service_on=(pl.col("fee_month") + "-01").str.to_date("%Y-%m-%d").dt.month_end()
    ).with_columns(
        fact=pl.col("project"),
        fact_version=pl.lit(0, pl.Int32),
        facet=pl.format("fee-{}", "fee_month"),
        kind=pl.lit("fee"),
        contract_line=pl.col("line_key"),
        source_order=pl.lit(0, pl.Int64),
        amount=pl.col("monthly_fee"),
        bucket=pl.lit("on_draft"),
        trace=_trace("retainer fee of the month", "fee_month", "monthly_fee"),
        hold_codes=codes(_tax_undetermined()),
    )


def receipt_limits(currency: pl.Expr) -> pl.Expr:
    """Return the receipt limit in units of each row's currency.

    Raises    polars ComputeError for a currency money does not know.
    """
    return currency.map_batches(
        lambda seen: seen.replace_strict(
            {code: to_units(RECEIPT_LIMIT, code) for code in seen.unique() if code}, default=None, return_dtype=pl.Int64
        ),
        return_dtype=pl.Int64,
    )


def _ranged(parts: pl.DataFrame, start: pl.Expr, minutes: pl.Expr) -> pl.DataFrame:
    # The facet of time is the range of the entry's minutes it takes: the same minutes keep their key from run to run.
    return parts.with_columns(facet=pl.format("{}-{}", start, start + minutes), minutes=minutes)


def _whole(time: pl.DataFrame, bucket: str, rule: str) -> pl.DataFrame:
    traced = time.with_columns(trace=_trace(rule, "minutes"), kind=pl.lit("time"))
    start = pl.col("minutes") - pl.col("open_minutes")
    return _ranged(traced, start, pl.col("open_minutes")).with_columns(
        amount=pl.lit(0, pl.Int64), bucket=pl.lit(bucket), hold_codes=codes(pl.lit(None, pl.String))
    )


def _waiting(parts: pl.DataFrame) -> pl.DataFrame:
    # Not approved is reason enough: further reasons are looked for once the approval is there.
    unapproved = pl.concat_list(pl.lit("APPROVAL_MISSING"))
    return parts.with_columns(
        bucket=pl.when("approved").then("bucket").otherwise(pl.lit("waiting")),
        hold_codes=pl.when("approved").then("hold_codes").otherwise(unapproved),
    )


def _contract_inactive() -> pl.Expr:
    return when(~pl.col("contract_active"), "CONTRACT_INACTIVE")


def _tax_undetermined() -> pl.Expr:
    return pl.when("known").then("tax_hold_code")


def _trace(rule: str, *columns: str) -> pl.Expr:
    return pl.struct(
        pl.lit(rule).alias("rule"), "service_on", *columns, pl.lit(ROUNDING).alias("rounding")
    ).struct.json_encode()
