"""What is earned at a month end, per performance obligation, from the beginning of the contract.

A position is a function of the facts; what a month books is the difference between two positions. So running a month
again books nothing, and a correction of an old fact is booked in the open month. A contract line for which nobody has
declared an obligation is one by itself.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta

import polars as pl

from trueup.billing.estimates import in_force, performed_by
from trueup.billing.frames import (
    ACCEPTANCES,
    CREDITED_PRICES,
    EARNINGS,
    ESTIMATES,
    LINE_POSITIONS,
    OBLIGATION_STATES,
    OBLIGATIONS,
    ORIGINS,
    PERFORMED,
    POSTED,
    PROGRESS,
    REBATES,
    REVENUE_LINES,
    TERMS,
)
from trueup.billing.holds import TAX
from trueup.billing.obligations import OBLIGATION, allocate, prices, rebate_accrued
from trueup.billing.rounding import product, rounded
from trueup.billing.wip import contract_positions, moves

LINE = ("contract", "contract_line")
POSITION = ("contract", "contract_line", "obligation", "legal_entity", "currency")

BILLABLE_NOW = ("on_draft", "invoiced", "credited")
"""Buckets of charges we may bill or have billed: they are earned."""

EARNED_THOUGH_HELD = TAX
"""A charge held for one of these alone is earned: the client owes it, only the tax on it is open."""

BY_CHARGES = ("as_invoiced", "ratable")
"""Methods of a contract line that earn what its charges say: time and expenses, or each month's fee and overage."""

METHODS = (
    "as_invoiced",
    "milestone",
    "hours",
    "ratable",
    "cost_to_cost",
    "units",
    "point_in_time",
    "at_completion",
)
"""How an obligation can be measured. `ratable` without a declared service period means the charges of a retainer."""


@dataclass(frozen=True, slots=True)
class ObligationFacts:
    """Declared performance obligations and what is known of them; the shapes in `frames` list the columns.

    obligations  `OBLIGATIONS`  one row each
    terms        `TERMS`        prices, modifications, variable consideration
    estimates    `ESTIMATES`    what they will have taken at completion
    performed    `PERFORMED`    what was done
    rebates      `REBATES`      rebates on those that earn as invoiced
    """

    obligations: pl.DataFrame = field(default_factory=OBLIGATIONS.empty)
    terms: pl.DataFrame = field(default_factory=TERMS.empty)
    estimates: pl.DataFrame = field(default_factory=ESTIMATES.empty)
    performed: pl.DataFrame = field(default_factory=PERFORMED.empty)
    rebates: pl.DataFrame = field(default_factory=REBATES.empty)


@dataclass(frozen=True, slots=True)
class RevenueFacts:
    """What a month end looks at; the shapes in `frames` list the columns.

    lines        `REVENUE_LINES`  contract lines that earn revenue
    charges      `EARNINGS`       every charge as it stands now, those on documents and those held
    milestones   `ACCEPTANCES`    milestones of lines with the method milestone
    progress     `PROGRESS`       approved time of lines with the method hours
    posted       `POSTED`         lines of posted invoices and credit notes
    declared     obligations; a line that has some is measured by them, all others by themselves
    """

    lines: pl.DataFrame
    charges: pl.DataFrame
    milestones: pl.DataFrame
    progress: pl.DataFrame
    posted: pl.DataFrame
    declared: ObligationFacts = field(default_factory=ObligationFacts)


@dataclass(frozen=True, slots=True)
class RevenuePlan:
    """What is earned and billed at a month end.

    lines      `LINE_POSITIONS`      sorted by contract, line and obligation
    contracts  `CONTRACT_POSITIONS`  sorted by contract, legal entity, currency
    problems   sentences: lines whose revenue cannot be measured and that count as 0
    origins    `ORIGINS`             what was earned by charges, by month of service
    """

    lines: pl.DataFrame
    contracts: pl.DataFrame
    problems: tuple[str, ...]
    origins: pl.DataFrame = field(default_factory=ORIGINS.empty)


def recognise(facts: RevenueFacts, upto: date, previous: pl.DataFrame) -> RevenuePlan:
    """Work out every obligation's position at a month end and what changed since the one before.

    Of a contract line without obligations:
    as_invoiced  charges earned by then: priced, within the cap, no receipt or contract missing
    ratable      the same of the monthly fees and the overage
    milestone    amounts of milestones accepted by then; completed, where no acceptance is required
    hours        fee x approved minutes / estimated minutes, at most the fee
    A posted credit note lowers what is earned and what is billed by its net, on its date.
    Of declared obligations see `states`; those that earn as invoiced earn the charges of their line, less rebates.

    facts     see `RevenueFacts`
    upto      month end
    previous  `LINE_POSITIONS` of the month end before, or empty
    Raises    Broken when a frame lacks a column.
    """
    lines = REVENUE_LINES.read(facts.lines)
    before = LINE_POSITIONS.read(previous)
    posted = POSTED.read(facts.posted).filter(pl.col("dated_on") <= upto)
    obligations = OBLIGATIONS.read(facts.declared.obligations)
    undeclared = lines.join(obligations, on=LINE, how="anti")
    by_itself = _lines(facts, undeclared, posted, upto).with_columns(
        obligation=pl.col("contract_line"),
        claim=pl.when(~pl.col("contract").is_in(obligations["contract"].unique().implode()))
        .then(pl.lit("net"))
        .otherwise(_claim()),
    )
    measured = _declared(facts, obligations, posted, upto)
    now = pl.concat([by_itself, measured], how="diagonal").with_columns(
        pl.col("provision", "estimate_change").fill_null(0)
    )
    moved = moves(now.select(*POSITION, *_AMOUNTS), before, POSITION, _AMOUNTS)
    positions = LINE_POSITIONS.write(
        moved.join(now.select(*POSITION, "method", "claim", "estimate_change"), on=POSITION, how="left")
        .join(before.select(*POSITION, old_method="method", old_claim="claim"), on=POSITION, how="left")
        .with_columns(
            pl.col("estimate_change").fill_null(0),
            method=pl.coalesce("method", "old_method"),
            claim=pl.coalesce("claim", "old_claim"),
        )
        .sort(POSITION)
    )
    return RevenuePlan(
        lines=positions,
        contracts=contract_positions(positions, before),
        problems=(*_problems(lines, undeclared, posted), *_unmeasured(facts.declared, obligations, lines, upto)),
        origins=_origins(facts, positions, upto),
    )


_AMOUNTS = ("recognised", "billed", "provision")


def _claim() -> pl.Expr:
    # A right that needs only time is a receivable, one that needs more performance a contract asset (606-10-45-3/4).
    return pl.when(pl.col("method").is_in(BY_CHARGES)).then(pl.lit("receivable")).otherwise(pl.lit("contract_asset"))


def _lines(facts: RevenueFacts, lines: pl.DataFrame, posted: pl.DataFrame, upto: date) -> pl.DataFrame:
    """Return recognised and billed of contract lines without obligations."""
    earned = (
        lines.join(_charges(facts.charges, upto), on=LINE, how="left")
        .join(_milestones(facts.milestones, upto), on=LINE, how="left")
        .join(_progress(facts.progress, upto), on=LINE, how="left")
        .join(_documents(posted), on=LINE, how="left")
        .with_columns(pl.col("charged", "accepted", "approved_minutes", "invoiced", "credited").fill_null(0))
    )
    method = pl.col("method")
    gross = (
        pl.when(method.is_in(BY_CHARGES))
        .then("charged")
        .when(method == "milestone")
        .then("accepted")
        .when((method == "hours") & (pl.col("estimated_minutes") > 0))
        .then(_by_hours())
        .otherwise(0)
    )
    return earned.with_columns(
        recognised=gross - pl.col("credited"), billed=pl.col("invoiced") - pl.col("credited")
    ).select(*LINE, "legal_entity", "currency", "method", "recognised", "billed")


def _documents(posted: pl.DataFrame) -> pl.DataFrame:
    credit = pl.col("document") == "credit"
    return posted.group_by(LINE).agg(
        invoiced=pl.col("net").filter(~credit).sum(), credited=pl.col("net").filter(credit).sum()
    )


# --- declared obligations ---------------------------------------------------------------------------------------------


def states(facts: ObligationFacts, credited: pl.DataFrame, cut: date, known: date) -> pl.DataFrame:
    """Measure every declared obligation but those that earn as invoiced.

    revenue = price x done / whole, with the full precision of the ratio, rounded once; `whole` is the estimate in force.
    After a prospective modification what was earned stays, and the rest of the price is earned over the rest of the
    measure. Materials delivered and not installed earn their cost and stay out of the measure.

    cost_to_cost   cost / cost at completion                     hours         minutes / minutes at completion
    units          pieces / pieces in all                        milestone     accepted value / price
    ratable        days (or half months) of service that passed  point_in_time all of it when the client took control
    at_completion  the cost so far, all of it when complete
    Never more than the price; all of it at completion.

    facts     `ObligationFacts`
    credited  `CREDITED_PRICES`
    cut       last day whose performance counts
    known     last day whose terms, estimates and credits count; with an earlier `cut` this is what old work is worth
              by what is known now
    Returns   `OBLIGATION_STATES`, sorted
    Source    ASC 606-10-25-31; 55-17 to 55-21; IFRS 15.B14 to B19, example 19
    """
    start = (
        OBLIGATIONS.read(facts.obligations)
        .filter(pl.col("method") != "as_invoiced")
        .with_columns(cut=pl.lit(cut), known=pl.lit(known), base=pl.lit(0, pl.Int64), base_done=pl.lit(0, pl.Int64))
    )
    turning = (
        TERMS.read(facts.terms)
        .filter((pl.col("kind") == "prospective") & (pl.col("effective_on") <= known))
        .select(*OBLIGATION, eve=pl.col("effective_on") - timedelta(days=1))
        .unique()
        .sort(*OBLIGATION, "eve")
        .with_columns(step=pl.int_range(pl.len()).over(OBLIGATION))
    )
    last = turning["step"].max() if turning.height else -1
    for step in range(int(str(last)) + 1):
        eve = start.join(turning.filter(pl.col("step") == step), on=OBLIGATION)
        reached = _state(
            eve.with_columns(cut=pl.min_horizontal("cut", "eve"), known=pl.col("eve")), facts, credited
        ).select(*OBLIGATION, reached="installed", reached_done="done")
        start = (
            start.join(reached, on=OBLIGATION, how="left")
            .with_columns(base=pl.coalesce("reached", "base"), base_done=pl.coalesce("reached_done", "base_done"))
            .drop("reached", "reached_done")
        )
    return OBLIGATION_STATES.write(_state(start, facts, credited).sort(OBLIGATION))


def _state(at: pl.DataFrame, facts: ObligationFacts, credited: pl.DataFrame) -> pl.DataFrame:
    taken_off = (
        CREDITED_PRICES.read(credited)
        .join(at.select(*OBLIGATION, "known"), on=OBLIGATION)
        .filter(pl.col("dated_on") <= pl.col("known"))
        .group_by(OBLIGATION)
        .agg(taken_off=pl.col("amount").sum())
    )
    found = (
        at.join(prices(facts.terms, at), on=OBLIGATION, how="left")
        .join(in_force(facts.estimates, at), on=OBLIGATION, how="left")
        .join(performed_by(facts.performed, at), on=OBLIGATION, how="left")
        .join(taken_off, on=OBLIGATION, how="left")
        .with_columns(pl.col("^done_.*$").fill_null(0), pl.col("taken_off").fill_null(0))
        .with_columns(agreed=pl.col("price"), price=pl.col("price") - pl.col("taken_off"))
    )
    by_input = pl.col("method").is_in(["cost_to_cost", "hours"])
    delivered = pl.when(by_input).then("done_materials").otherwise(0)
    found = found.with_columns(
        completed=(pl.col("completed_on") <= pl.col("cut")).fill_null(value=False),
        all_materials=pl.when(by_input)
        .then(pl.max_horizontal(pl.col("expected_materials").fill_null(0), delivered))
        .otherwise(0),
        materials=delivered,
        **_elapsed(),
    )
    found = found.with_columns(done=_by_method(found, done=True), whole=_by_method(found, done=False))
    done = pl.min_horizontal("done", "whole").clip(lower_bound=0)
    found = found.with_columns(done=pl.when(pl.col("whole").is_null()).then(0).otherwise(done))
    ahead = pl.col("whole") - pl.col("base_done")
    rest = pl.col("price") - pl.col("all_materials") - pl.col("base")
    moved = (pl.col("done") - pl.col("base_done")).clip(lower_bound=0)
    share = (
        pl.when(ahead > 0)
        .then(rounded(product(rest, moved), ahead.clip(lower_bound=1)))
        .when(pl.col("whole") > 0)
        .then(rest)
        .otherwise(0)
    )
    recovered = pl.when("completed").then("price").otherwise(pl.min_horizontal("done_cost", "price"))
    installed = pl.when(pl.col("method") == "at_completion").then(recovered).otherwise(pl.col("base") + share)
    expected = pl.col("expected_cost") + pl.col("expected_materials").fill_null(0)
    found = found.with_columns(
        installed=pl.min_horizontal(installed, pl.col("price") - pl.col("all_materials")),
        cost=pl.col("done_cost") + pl.col("done_materials"),
        expected_cost=expected,
    ).with_columns(recognised=pl.col("installed") + pl.min_horizontal("materials", "all_materials"))
    total_loss = pl.max_horizontal("expected_cost", "cost") - pl.col("price")
    in_margin = pl.col("cost") - pl.col("recognised")
    provision = (
        pl.when((total_loss > 0) & pl.col("expected_cost").is_not_null())
        .then((total_loss - in_margin).clip(lower_bound=0))
        .otherwise(0)
    )
    return found.with_columns(provision=provision)


def _by_method(found: pl.DataFrame, *, done: bool) -> pl.Expr:
    one = pl.lit(1, pl.Int64)
    columns: dict[str, pl.Expr] = {
        "cost_to_cost": pl.col("done_cost" if done else "expected_cost"),
        "hours": pl.col("done_minutes" if done else "expected_minutes"),
        "units": pl.col("done_pieces" if done else "expected_pieces"),
        "milestone": pl.col("done_accepted" if done else "agreed"),
        "ratable": pl.col("elapsed" if done else "service"),
        "point_in_time": pl.col("completed").cast(pl.Int64) if done else one,
        "at_completion": pl.col("completed").cast(pl.Int64) if done else one,
    }
    chosen = pl.lit(None, pl.Int64)
    for method, column in columns.items():
        chosen = pl.when(pl.col("method") == method).then(column).otherwise(chosen)
    return chosen


def _elapsed() -> dict[str, pl.Expr]:
    """Return the service that passed by the cut and the whole of it: in days, or in half months.

    A month wholly in the service period counts two halves; the month it starts in, after the first, and the month it
    ends in, before the last day, count one. A month passes on its last day.
    """
    first, last, cut = pl.col("service_from"), pl.col("service_to"), pl.col("cut")
    days = (pl.min_horizontal(cut, last) - first).dt.total_days() + 1
    service_days = (last - first).dt.total_days() + 1

    def month(day: pl.Expr) -> pl.Expr:
        return day.dt.year().cast(pl.Int64) * 12 + day.dt.month().cast(pl.Int64)

    passed = (
        pl.when(cut >= last)
        .then(month(last))
        .when(cut == cut.dt.month_end())
        .then(month(cut))
        .otherwise(month(cut) - 1)
    )
    late_start = (first.dt.day() > 1).cast(pl.Int64)
    early_end = (last != last.dt.month_end()).cast(pl.Int64)
    cut_short = pl.when(passed == month(last)).then(early_end).otherwise(0)
    halves = 2 * (passed - month(first) + 1) - late_start - cut_short
    halves = pl.when(passed < month(first)).then(0).otherwise(halves.clip(lower_bound=1))
    service_halves = (2 * (month(last) - month(first) + 1) - late_start - early_end).clip(lower_bound=1)
    by_month = pl.col("convention") == "months"
    return {
        "elapsed": pl.when(by_month).then(halves).otherwise(days.clip(lower_bound=0)),
        "service": pl.when(by_month).then(service_halves).otherwise(service_days),
    }


def _declared(facts: RevenueFacts, obligations: pl.DataFrame, posted: pl.DataFrame, upto: date) -> pl.DataFrame:
    """Return recognised, billed, provision and change in estimate of declared obligations."""
    own = facts.declared
    credited, billed = _shared_documents(own, obligations, posted, upto)
    eve = upto.replace(day=1) - timedelta(days=1)
    now = states(own, credited, upto, upto)
    restated = states(own, credited, eve, upto).select(*OBLIGATION, restated="recognised")
    then = states(own, credited, eve, eve).select(*OBLIGATION, then="recognised")
    measured = (
        obligations.filter(pl.col("method") != "as_invoiced")
        .join(now, on=OBLIGATION)
        .join(restated, on=OBLIGATION)
        .join(then, on=OBLIGATION)
        .with_columns(estimate_change=pl.col("restated") - pl.col("then"))
    )
    charged = obligations.filter(pl.col("method") == "as_invoiced").join(
        _charges(facts.charges, upto), on=LINE, how="left"
    )
    charged = charged.with_columns(pl.col("charged").fill_null(0), known=pl.lit(upto))
    taken_off = credited.filter(pl.col("amount") > 0).group_by(OBLIGATION).agg(taken_off=pl.col("amount").sum())
    invoiced = (
        charged.join(rebate_accrued(own.rebates, charged), on=OBLIGATION, how="left")
        .join(taken_off, on=OBLIGATION, how="left")
        .with_columns(
            recognised=pl.col("charged") - pl.col("rebate").fill_null(0) - pl.col("taken_off").fill_null(0),
            provision=pl.lit(0, pl.Int64),
            estimate_change=pl.lit(0, pl.Int64),
        )
    )
    columns = (*POSITION, "method", "recognised", "provision", "estimate_change")
    return (
        pl.concat([measured.select(columns), invoiced.select(columns)])
        .join(billed, on=OBLIGATION, how="left")
        .with_columns(pl.col("billed").fill_null(0), claim=_claim_of_obligation())
    )


def _claim_of_obligation() -> pl.Expr:
    receivable = pl.col("method") == "as_invoiced"
    return pl.when(receivable).then(pl.lit("receivable")).otherwise(pl.lit("contract_asset"))


def _shared_documents(
    own: ObligationFacts, obligations: pl.DataFrame, posted: pl.DataFrame, upto: date
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Share the documents of a line over its obligations by their price: credits by date, and what is billed in all."""
    worth = prices(own.terms, obligations.with_columns(known=pl.lit(upto)))
    weighed = obligations.join(worth, on=OBLIGATION, how="left").with_columns(
        weight=pl.col("price").clip(lower_bound=0)
    )
    nobody = pl.col("weight").sum().over(LINE) == 0
    weighed = weighed.with_columns(weight=pl.when(nobody).then(1).otherwise("weight"))
    signed = (
        pl.when(pl.col("document") == "credit")
        .then("net")
        .when(pl.col("document") == "rebill")
        .then(-pl.col("net"))
        .otherwise(0)
    )
    by_day = posted.with_columns(total=signed).filter(pl.col("total") != 0)
    credits = weighed.join(by_day.group_by(*LINE, "dated_on").agg(pl.col("total").sum()), on=LINE)
    shared = allocate(credits, (*LINE, "dated_on"))
    billed = _documents(posted).select(*LINE, total=pl.col("invoiced") - pl.col("credited"))
    in_all = allocate(weighed.join(billed, on=LINE), LINE)
    return (
        CREDITED_PRICES.write(shared.with_columns(amount=pl.col("share"))),
        in_all.select(*OBLIGATION, billed="share"),
    )


def _origins(facts: RevenueFacts, positions: pl.DataFrame, upto: date) -> pl.DataFrame:
    """Return what charges and credits earned by month of service; what is measured otherwise belongs to its month."""
    by_time = OBLIGATIONS.read(facts.declared.obligations).filter(pl.col("method") != "as_invoiced")
    by_charges = positions.filter(pl.col("method").is_in(BY_CHARGES)).join(by_time, on=OBLIGATION, how="anti")
    charged = _earned_charges(facts.charges, upto).select(
        *LINE, amount="amount", origin_period=pl.col("earned_on").dt.strftime("%Y-%m")
    )
    credited = (
        POSTED.read(facts.posted)
        .filter((pl.col("dated_on") <= upto) & (pl.col("document") == "credit"))
        .select(
            *LINE,
            amount=-pl.col("net"),
            origin_period=pl.coalesce("origin_period", pl.col("dated_on").dt.strftime("%Y-%m")),
        )
    )
    by_month = pl.concat([charged, credited]).group_by(*LINE, "origin_period").agg(recognised=pl.col("amount").sum())
    return ORIGINS.write(by_charges.select(POSITION).join(by_month, on=LINE).sort(*POSITION, "origin_period"))


def _unmeasured(own: ObligationFacts, obligations: pl.DataFrame, lines: pl.DataFrame, upto: date) -> tuple[str, ...]:
    """Name obligations that cannot be measured."""
    known = states(own, CREDITED_PRICES.empty(), upto, upto).join(
        obligations.select(*OBLIGATION, "method"), on=OBLIGATION
    )
    blind = known.filter((pl.col("price") > 0) & ~(pl.col("whole") > 0).fill_null(value=False))
    wanted = {
        "cost_to_cost": "estimate of its cost",
        "hours": "estimate of its hours",
        "units": "number of units",
        "ratable": "service period",
        "milestone": "price",
    }
    stray = obligations.join(lines, on=LINE, how="anti")
    return (
        *(
            f"{row['obligation']} of {row['contract']} has no {wanted[row['method']]} yet; enter it to earn its revenue."
            for row in blind.sort(OBLIGATION).iter_rows(named=True)
        ),
        *(
            f"{row['obligation']} of {row['contract']} is on line {row['contract_line']}, which the contract does not have."
            for row in stray.sort(OBLIGATION).iter_rows(named=True)
        ),
    )


# --- contract lines by themselves -------------------------------------------------------------------------------------


def _charges(charges: pl.DataFrame, upto: date) -> pl.DataFrame:
    return _earned_charges(charges, upto).group_by(LINE).agg(charged=pl.col("amount").sum())


def _earned_charges(charges: pl.DataFrame, upto: date) -> pl.DataFrame:
    earned = pl.col("bucket").is_in(BILLABLE_NOW) | (
        (pl.col("bucket") == "held") & pl.col("hold_code").is_in(EARNED_THOUGH_HELD)
    )
    return EARNINGS.read(charges).filter((pl.col("earned_on") <= upto) & earned)


def _milestones(milestones: pl.DataFrame, upto: date) -> pl.DataFrame:
    accepted = pl.when("acceptance_required").then("accepted_on").otherwise("completed_on")
    done = (pl.col("completed_on") <= upto) & (pl.col("status") != "cancelled") & (accepted <= upto)
    return ACCEPTANCES.read(milestones).filter(done).group_by(LINE).agg(accepted=pl.col("amount").sum())


def _progress(progress: pl.DataFrame, upto: date) -> pl.DataFrame:
    approved = PROGRESS.read(progress).filter(pl.col("approved_on") <= upto)
    return approved.group_by(LINE).agg(approved_minutes=pl.col("minutes").sum())


def _by_hours() -> pl.Expr:
    # The share keeps full precision; only the amount is rounded.
    done = pl.min_horizontal("approved_minutes", "estimated_minutes")
    return rounded(product(pl.col("fee"), done), pl.col("estimated_minutes").clip(lower_bound=1))


def _problems(lines: pl.DataFrame, undeclared: pl.DataFrame, posted: pl.DataFrame) -> tuple[str, ...]:
    unmeasured = undeclared.filter(
        (pl.col("method") == "hours") & ~(pl.col("estimated_minutes") > 0).fill_null(value=False)
    ).select(LINE)
    known = ["milestone", "hours", *BY_CHARGES]
    unknown = undeclared.filter(~pl.col("method").is_in(known)).select(*LINE, "method")
    stray = posted.join(lines, on=LINE, how="anti").select(LINE).unique()
    return (
        *(
            f"{line} of {contract} earns by hours but has no estimate; enter the estimated hours."
            for contract, line in sorted(unmeasured.iter_rows())
        ),
        *(
            f"{line} of {contract} has the unknown revenue method {method}; choose one of {', '.join(known)}."
            for contract, line, method in sorted(unknown.iter_rows())
        ),
        *(
            f"A posted document names {line} of {contract}, which is no line of a contract; its net is not counted."
            for contract, line in sorted(stray.iter_rows())
        ),
    )
