"""Work in progress: what is earned and not billed, what is billed and not earned, netted per contract."""

import polars as pl

from trueup.billing.frames import CONTRACT_POSITIONS

CONTRACT = ("contract", "legal_entity", "currency")
AMOUNTS = ("recognised", "billed", "unbilled", "deferred")


def netted(lines: pl.DataFrame) -> pl.DataFrame:
    """Net the lines of each contract: one contract is either unbilled or deferred, never both.

    lines    contract, legal_entity, currency str, recognised and billed i64 units to date
    Returns  contract, legal_entity, currency, recognised, billed, unbilled, deferred i64 units
    Source   ASC 606-10-45: contract asset or liability is presented net by contract.
    """
    open_value = pl.col("recognised") - pl.col("billed")
    return (
        lines.group_by(CONTRACT)
        .agg(pl.col("recognised", "billed").sum())
        .with_columns(unbilled=open_value.clip(lower_bound=0), deferred=(-open_value).clip(lower_bound=0))
    )


def contract_positions(lines: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
    """Net the lines of each contract now and before, and take the difference.

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
