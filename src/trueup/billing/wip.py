"""Work in progress: what is earned and not billed, what is billed and not earned, netted per contract."""

import polars as pl

from trueup.billing.frames import CONTRACT_POSITIONS

CONTRACT = ("contract", "legal_entity", "currency")
AMOUNTS = ("recognised", "billed", "unbilled", "asset", "deferred", "provision")


def netted(lines: pl.DataFrame) -> pl.DataFrame:
    """Net the obligations of each contract: its contract asset and liability are one figure, never both.

    Where obligations are declared, a right that needs only time is a receivable and stays out of the net; where they
    are not, a contract is one claim, and is either unbilled or deferred.

    lines    contract, legal_entity, currency, claim str, recognised, billed and provision i64 units to date
    Returns  contract, legal_entity, currency, recognised, billed, unbilled, asset, deferred, provision i64 units
    Source   ASC 606-10-45: contract asset or liability is presented net by contract, receivables by themselves.
    """
    open_value = pl.col("recognised") - pl.col("billed")
    claim = pl.col("claim")
    sums = (
        lines.group_by(CONTRACT)
        .agg(
            pl.col("recognised", "billed", "provision").sum(),
            receivable=open_value.clip(lower_bound=0).filter(claim == "receivable").sum(),
            simple=(claim == "net").all(),
        )
        .with_columns(rest=open_value - pl.col("receivable"))
    )
    asset = pl.when("simple").then(0).otherwise(pl.col("rest").clip(lower_bound=0))
    return sums.with_columns(
        unbilled=pl.col("receivable") + pl.col("rest").clip(lower_bound=0),
        asset=asset,
        deferred=(-pl.col("rest")).clip(lower_bound=0),
    ).drop("receivable", "simple", "rest")


def contract_positions(lines: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
    """Net the obligations of each contract now and before, and take the difference.

    lines     `LINE_POSITIONS` at this month end
    previous  `LINE_POSITIONS` at the month end before, or empty
    Returns   `CONTRACT_POSITIONS`, sorted by contract, legal entity, currency
    """
    moved = moves(netted(lines), netted(previous), CONTRACT, AMOUNTS)
    return CONTRACT_POSITIONS.write(moved.sort(CONTRACT))


def moves(now: pl.DataFrame, before: pl.DataFrame, keys: tuple[str, ...], amounts: tuple[str, ...]) -> pl.DataFrame:
    """Add what changed since the position before; a row that is gone counts as zero now, and is reversed.

    now      keys and amounts i64 units
    before   the same columns
    Returns  now + <amount>_delta i64 units for every amount
    """
    held = before.select(*keys, *(pl.col(amount).alias(f"{amount}_before") for amount in amounts))
    both = now.join(held, on=list(keys), how="full", coalesce=True)
    filled = both.with_columns(pl.col(amount).fill_null(0) for amount in amounts)
    return filled.with_columns(
        (pl.col(amount) - pl.col(f"{amount}_before").fill_null(0)).alias(f"{amount}_delta") for amount in amounts
    ).drop(f"{amount}_before" for amount in amounts)
