"""What is earned at a month end, per contract line, from the beginning of the contract.

A position is a function of the facts; what a month books is the difference between two positions. So running a month
again books nothing, and a correction of an old fact is booked in the open month.
"""

from dataclasses import dataclass
from datetime import date

import polars as pl

from trueup.billing.frames import ACCEPTANCES, EARNINGS, LINE_POSITIONS, POSTED, PROGRESS, REVENUE_LINES
from trueup.billing.rounding import product, rounded
from trueup.billing.wip import contract_positions, moves

LINE = ("contract", "contract_line")

BILLABLE_NOW = ("on_draft", "invoiced", "credited")
"""Buckets of charges we may bill or have billed: they are earned."""

EARNED_THOUGH_HELD = "TAX_UNDETERMINED"
"""A charge held for this reason alone is earned: the client owes it, only the tax on it is open."""

BY_CHARGES = ("as_invoiced", "ratable")
"""Methods that earn what the charges of the line say: time and expenses, or each month's fee and its overage."""


@dataclass(frozen=True, slots=True)
class RevenueFacts:
    """What a month end looks at; the shapes in `frames` list the columns.

    lines        `REVENUE_LINES`  contract lines that earn revenue
    charges      `EARNINGS`       every charge as it stands now, those on documents and those held
    milestones   `ACCEPTANCES`    milestones of lines with the method milestone
    progress     `PROGRESS`       approved time of lines with the method hours
    posted       `POSTED`         lines of posted invoices and credit notes
    """

    lines: pl.DataFrame
    charges: pl.DataFrame
    milestones: pl.DataFrame
    progress: pl.DataFrame
    posted: pl.DataFrame


@dataclass(frozen=True, slots=True)
class RevenuePlan:
    """What is earned and billed at a month end.

    lines      `LINE_POSITIONS`      sorted by contract and line
    contracts  `CONTRACT_POSITIONS`  sorted by contract, legal entity, currency
    problems   sentences: lines whose revenue cannot be measured and that count as 0
    """

    lines: pl.DataFrame
    contracts: pl.DataFrame
    problems: tuple[str, ...]


def recognise(facts: RevenueFacts, upto: date, previous: pl.DataFrame) -> RevenuePlan:
    """Work out every contract line's position at a month end and what changed since the one before.

    as_invoiced  charges earned by then: priced, within the cap, no receipt or contract missing
    ratable      the same of the monthly fees and the overage
    milestone    amounts of milestones accepted by then; completed, where no acceptance is required
    hours        fee x approved minutes / estimated minutes, at most the fee
    A posted credit note lowers what is earned and what is billed by its net, on its date.

    facts     see `RevenueFacts`
    upto      month end
    previous  `LINE_POSITIONS` of the month end before, or empty
    Raises    Broken when a frame lacks a column.
    """
    lines = REVENUE_LINES.read(facts.lines)
    before = LINE_POSITIONS.read(previous)
    posted = POSTED.read(facts.posted).filter(pl.col("dated_on") <= upto)
    credit = pl.col("document") == "credit"
    documents = posted.group_by(LINE).agg(
        invoiced=pl.col("net").filter(~credit).sum(), credited=pl.col("net").filter(credit).sum()
    )
    earned = (
        lines.join(_charges(facts.charges, upto), on=LINE, how="left")
        .join(_milestones(facts.milestones, upto), on=LINE, how="left")
        .join(_progress(facts.progress, upto), on=LINE, how="left")
        .join(documents, on=LINE, how="left")
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
    now = earned.with_columns(
        recognised=gross - pl.col("credited"), billed=pl.col("invoiced") - pl.col("credited")
    ).select(*LINE, "legal_entity", "currency", "method", "recognised", "billed")
    keys = (*LINE, "legal_entity", "currency", "method")
    positions = LINE_POSITIONS.write(moves(now, before, keys, ("recognised", "billed")).sort(keys))
    return RevenuePlan(
        lines=positions,
        contracts=contract_positions(positions, before),
        problems=_problems(lines, posted),
    )


def _charges(charges: pl.DataFrame, upto: date) -> pl.DataFrame:
    earned = pl.col("bucket").is_in(BILLABLE_NOW) | (
        (pl.col("bucket") == "held") & (pl.col("hold_code") == EARNED_THOUGH_HELD)
    )
    return (
        EARNINGS.read(charges)
        .filter((pl.col("earned_on") <= upto) & earned)
        .group_by(LINE)
        .agg(charged=pl.col("amount").sum())
    )


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


def _problems(lines: pl.DataFrame, posted: pl.DataFrame) -> tuple[str, ...]:
    unmeasured = lines.filter(
        (pl.col("method") == "hours") & ~(pl.col("estimated_minutes") > 0).fill_null(value=False)
    ).select(LINE)
    known = ["milestone", "hours", *BY_CHARGES]
    unknown = lines.filter(~pl.col("method").is_in(known)).select(*LINE, "method")
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
