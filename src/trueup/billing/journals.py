"""Two positions become one journal per legal entity and month: balanced, or not made and named."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from trueup.billing.frames import (
    CONTRACT_POSITIONS,
    DOCUMENT_TOTALS,
    JOURNAL_LINES,
    JOURNALS,
    LABOUR,
    LINE_POSITIONS,
    ORIGINS,
    POSTINGS,
)
from trueup.billing.wip import CONTRACT, moves

RECEIVABLE = "1100"
UNBILLED_RECEIVABLE = "1150"
CONTRACT_ASSET = "1160"
OUTPUT_TAX = "2300"
CONTRACT_LIABILITY = "2400"
LOSS_PROVISION = "2500"
SERVICES = "4000"
LABOUR_COST = "5000"
LABOUR_APPLIED = "5090"
CONTRACT_LOSSES = "5900"

ACCOUNTS = {
    RECEIVABLE: "Receivable",
    UNBILLED_RECEIVABLE: "Unbilled receivable",
    CONTRACT_ASSET: "Contract asset",
    OUTPUT_TAX: "Output tax",
    CONTRACT_LIABILITY: "Contract liability",
    LOSS_PROVISION: "Provision for losses on contracts",
    SERVICES: "Services",
    LABOUR_COST: "Labour cost",
    LABOUR_APPLIED: "Labour applied to projects",
    CONTRACT_LOSSES: "Losses on contracts",
}
"""Accounts of the revenue subledger; the ERP's mapping turns them into the firm's own."""

LatePolicy = Literal["next_open_period", "refuse"]
"""What becomes of revenue for services of a closed month: booked in the open one, or left to a person."""


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


def plan_journals(contracts: pl.DataFrame, labour: pl.DataFrame, period: str, mark: str = "") -> JournalPlan:
    """Write the month's revenue and cost journals of every legal entity; one without a line is not made.

    revenue          per contract: credit 4000 by what was earned, debit 2400 by what invoices brought less what stays
                     deferred, debit 1150 and 1160 by what became unbilled, debit 5900 and credit 2500 by the change of
                     the loss provision; each by its change since the month before. Invoices are the ERP's own: they
                     credit 2400 with their net.
    cost_allocation  debit 5000 per project by the month's labour cost, credit 5090 by the sum

    contracts  `CONTRACT_POSITIONS` at the month end
    labour     `LABOUR`; months other than the period are left out
    period     the month, 2026-08
    mark       ends the codes: -R2 of a month that was reopened once and is booked again by what changed
    """
    moved = CONTRACT_POSITIONS.read(contracts)
    cost = LABOUR.read(labour).filter(pl.col("period") == period)
    signed = pl.concat([_revenue(moved, period, mark), _cost(cost, period, mark)], how="diagonal").filter(
        pl.col("amount") != 0
    )
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


def entries(moved: pl.DataFrame, *, documents: bool = False) -> pl.DataFrame:
    """Write what is booked between two positions of contracts.

    moved      contract, legal_entity, currency and the deltas of `CONTRACT_POSITIONS`; with documents also tax_delta
    documents  True books invoices too: receivable and tax; False leaves them to the ERP, which credits 2400 by the net
    Returns    contract, legal_entity, currency, account, memo str, amount i64 units: debits above zero, credits below;
               adds up to zero per contract
    """
    invoiced = pl.lit(0, pl.Int64) if documents else pl.col("billed_delta")
    sides = {
        SERVICES: (-pl.col("recognised_delta"), "Revenue earned"),
        CONTRACT_LIABILITY: (invoiced - pl.col("deferred_delta"), "Invoices, less what stays deferred"),
        UNBILLED_RECEIVABLE: (pl.col("unbilled_delta") - pl.col("asset_delta"), "Earned and not billed"),
        CONTRACT_ASSET: (pl.col("asset_delta"), "Earned, to be billed after further performance"),
        CONTRACT_LOSSES: (pl.col("provision_delta"), "Losses expected on contracts"),
        LOSS_PROVISION: (-pl.col("provision_delta"), "Losses expected on contracts"),
    }
    if documents:
        sides[RECEIVABLE] = (pl.col("billed_delta") + pl.col("tax_delta"), "Invoices and credits, tax included")
        sides[OUTPUT_TAX] = (-pl.col("tax_delta"), "Tax on invoices and credits")
    return pl.concat(
        moved.select(*CONTRACT, account=pl.lit(account), amount=amount, memo=pl.lit(memo))
        for account, (amount, memo) in sides.items()
    ).filter(pl.col("amount") != 0)


def _revenue(moved: pl.DataFrame, period: str, mark: str) -> pl.DataFrame:
    return entries(moved).with_columns(
        code=pl.format("REV-{}-{}{}", "legal_entity", pl.lit(period), pl.lit(mark)),
        journal_type=pl.lit("revenue"),
        memo=pl.format("{}, {}", "memo", pl.lit(period)),
    )


def _cost(labour: pl.DataFrame, period: str, mark: str) -> pl.DataFrame:
    code = pl.format("COST-{}-{}{}", "legal_entity", pl.lit(period), pl.lit(mark))
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


# --- the subledger: the same, by obligation and month of service ------------------------------------------------------


def by_origin(lines: pl.DataFrame, origins: pl.DataFrame, booked: pl.DataFrame, period: str) -> pl.DataFrame:
    """Split what a month recognises by the month of the service behind it; what no service explains is the month's own.

    lines    `LINE_POSITIONS` at the month end
    origins  `ORIGINS` at the month end
    booked   `ORIGINS`: what was posted before, by origin
    Returns  columns of `ORIGINS`; recognised is what is to be posted now, never zero; adds up to recognised_delta
    """
    keys = ("contract", "contract_line", "obligation", "legal_entity", "currency")
    explained = ORIGINS.read(origins)
    known = ORIGINS.read(booked).join(explained.select(keys).unique(), on=keys, how="semi")
    change = moves(explained, known, (*keys, "origin_period"), ("recognised",))
    late = change.filter(pl.col("origin_period") != period).select(
        *keys, "origin_period", recognised="recognised_delta"
    )
    accounted = late.group_by(keys).agg(late=pl.col("recognised").sum())
    own = (
        LINE_POSITIONS.read(lines)
        .join(accounted, on=keys, how="left")
        .select(
            *keys,
            origin_period=pl.lit(period),
            recognised=pl.col("recognised_delta") - pl.col("late").fill_null(0),
        )
    )
    return ORIGINS.write(pl.concat([late, own]).filter(pl.col("recognised") != 0).sort(*keys, "origin_period"))


def late_services(split: pl.DataFrame, closed: pl.DataFrame) -> pl.DataFrame:
    """Return what would be recognised for services of months that are closed.

    split   `ORIGINS`, see `by_origin`
    closed  legal_entity, period str: closed months
    """
    return split.join(closed.rename({"period": "origin_period"}), on=["legal_entity", "origin_period"], how="semi")


def document_changes(totals: pl.DataFrame, booked: pl.DataFrame) -> pl.DataFrame:
    """Return what invoices and credits add to what was booked of them: net and tax per contract.

    totals  `DOCUMENT_TOTALS` at the month end
    booked  `DOCUMENT_TOTALS`: the same as posted before
    """
    now, before = DOCUMENT_TOTALS.read(totals), DOCUMENT_TOTALS.read(booked)
    moved = moves(now, before, CONTRACT, ("net", "tax"))
    return DOCUMENT_TOTALS.write(moved.with_columns(net="net_delta", tax="tax_delta").sort(CONTRACT))


def postings(
    plan: JournalPlan, split: pl.DataFrame, documents: pl.DataFrame, period: str, mark: str = ""
) -> pl.DataFrame:
    """Write the subledger's journals: those of the plan with revenue by obligation and origin, and the documents'.

    plan       journals that balance; revenue of a journal that is not made is not posted either
    split      see `by_origin`
    documents  see `document_changes`
    mark       as in `plan_journals`
    Returns    `POSTINGS`, sorted by journal and line
    """
    totals = plan.lines.join(plan.journals.select("code", "legal_entity", "currency"), on="code").select(
        "legal_entity",
        "currency",
        "account",
        "contract",
        "project",
        "memo",
        journal="code",
        amount=pl.col("debit") - pl.col("credit"),
        origin_period=pl.lit(period),
    )
    revenue = pl.col("account") == SERVICES
    earned = (
        split.with_columns(journal=pl.format("REV-{}-{}{}", "legal_entity", pl.lit(period), pl.lit(mark)))
        .join(plan.journals.select(journal="code"), on="journal", how="semi")
        .with_columns(
            account=pl.lit(SERVICES),
            amount=-pl.col("recognised"),
            memo=pl.format("Revenue earned for {}, {}", "origin_period", pl.lit(period)),
        )
    )
    invoiced = documents.with_columns(
        journal=pl.format("DOC-{}-{}{}", "legal_entity", pl.lit(period), pl.lit(mark)), origin_period=pl.lit(period)
    )
    sides = {
        RECEIVABLE: pl.col("net") + pl.col("tax"),
        CONTRACT_LIABILITY: -pl.col("net"),
        OUTPUT_TAX: -pl.col("tax"),
    }
    booked = [
        invoiced.select(
            *CONTRACT,
            "journal",
            "origin_period",
            account=pl.lit(account),
            amount=amount,
            memo=pl.lit(f"Invoices and credits, {period}"),
        )
        for account, amount in sides.items()
    ]
    return POSTINGS.write(
        pl.concat([totals.filter(~revenue), earned, *booked], how="diagonal")
        .filter(pl.col("amount") != 0)
        .sort("journal", "contract", "project", "account", "obligation", "origin_period", nulls_last=True)
        .with_columns(
            period=pl.lit(period),
            line=pl.int_range(1, pl.len() + 1).over("journal"),
            debit=pl.col("amount").clip(lower_bound=0),
            credit=(-pl.col("amount")).clip(lower_bound=0),
        )
    )
