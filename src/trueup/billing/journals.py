"""Two positions become one journal per legal entity and month: balanced, or not made and named."""

from dataclasses import dataclass

import polars as pl

from trueup.billing.frames import CONTRACT_POSITIONS, JOURNAL_LINES, JOURNALS, LABOUR

UNBILLED_RECEIVABLE = "1150"
CONTRACT_LIABILITY = "2400"
SERVICES = "4000"
LABOUR_COST = "5000"
LABOUR_APPLIED = "5090"


@dataclass(frozen=True, slots=True)
class JournalPlan:
    """Journals of one month.

    journals  `JOURNALS`, sorted by code
    lines     `JOURNAL_LINES`, sorted by code and line
    problems  sentences: journals that do not balance and are therefore not made
    """

    journals: pl.DataFrame
    lines: pl.DataFrame
    problems: tuple[str, ...]


def plan_journals(contracts: pl.DataFrame, labour: pl.DataFrame, period: str) -> JournalPlan:
    """Write the month's revenue and cost journals of every legal entity; one without a line is not made.

    revenue          per contract: credit 4000 by what was earned, debit 2400 by what invoices brought less what stays
                     deferred, debit 1150 by what became unbilled; each by its change since the month before
    cost_allocation  debit 5000 per project by the month's labour cost, credit 5090 by the sum

    contracts  `CONTRACT_POSITIONS` at the month end
    labour     `LABOUR`; months other than the period are left out
    period     the month, 2026-08
    """
    moved = CONTRACT_POSITIONS.read(contracts)
    cost = LABOUR.read(labour).filter(pl.col("period") == period)
    signed = pl.concat([_revenue(moved, period), _cost(cost, period)], how="diagonal").filter(pl.col("amount") != 0)
    totals = (
        signed.group_by("code")
        .agg(
            pl.col("legal_entity", "journal_type", "currency").first(),
            currencies=pl.col("currency").unique().sort().str.join(" and "),
            total_debit=pl.col("amount").clip(lower_bound=0).sum(),
            total_credit=(-pl.col("amount")).clip(lower_bound=0).sum(),
        )
        .with_columns(period=pl.lit(period))
        .sort("code")
    )
    mixed = pl.col("currencies") != pl.col("currency")
    sound = totals.filter((pl.col("total_debit") == pl.col("total_credit")) & ~mixed)
    lines = (
        signed.join(sound.select("code"), on="code", how="semi")
        .sort("code", "contract", "project", "account", nulls_last=True)
        .with_columns(
            line=pl.int_range(1, pl.len() + 1).over("code"),
            debit=pl.col("amount").clip(lower_bound=0),
            credit=(-pl.col("amount")).clip(lower_bound=0),
        )
    )
    return JournalPlan(JOURNALS.write(sound), JOURNAL_LINES.write(lines), _problems(totals, sound))


def _revenue(moved: pl.DataFrame, period: str) -> pl.DataFrame:
    # Debits are above zero, credits below.
    entries = {
        SERVICES: (-pl.col("recognised_delta"), "Revenue earned"),
        CONTRACT_LIABILITY: (pl.col("billed_delta") - pl.col("deferred_delta"), "Invoices, less what stays deferred"),
        UNBILLED_RECEIVABLE: (pl.col("unbilled_delta"), "Earned and not billed"),
    }
    return pl.concat(
        moved.select(
            "legal_entity",
            "currency",
            "contract",
            code=pl.format("REV-{}-{}", "legal_entity", pl.lit(period)),
            journal_type=pl.lit("revenue"),
            account=pl.lit(account),
            amount=amount,
            memo=pl.lit(f"{memo}, {period}"),
        )
        for account, (amount, memo) in entries.items()
    )


def _cost(labour: pl.DataFrame, period: str) -> pl.DataFrame:
    code = pl.format("COST-{}-{}", "legal_entity", pl.lit(period))
    by_project = labour.select(
        "legal_entity",
        "currency",
        "contract",
        "project",
        "amount",
        code=code,
        journal_type=pl.lit("cost_allocation"),
        account=pl.lit(LABOUR_COST),
        memo=pl.lit(f"Labour, {period}"),
    )
    counter = (
        labour.group_by("legal_entity", "currency")
        .agg(amount=-pl.col("amount").sum())
        .with_columns(
            code=code,
            journal_type=pl.lit("cost_allocation"),
            account=pl.lit(LABOUR_APPLIED),
            memo=pl.lit(f"Labour applied to projects, {period}"),
        )
    )
    return pl.concat([by_project, counter], how="diagonal")


def _problems(totals: pl.DataFrame, sound: pl.DataFrame) -> tuple[str, ...]:
    broken = totals.join(sound, on="code", how="anti").sort("code")
    return tuple(
        f"{row['code']} is not made: debits {row['total_debit']}, credits {row['total_credit']} units in "
        f"{row['currencies']}; a journal has one currency and balances."
        for row in broken.iter_rows(named=True)
    )
