"""Reads how much of a retainer's earlier months may still be used."""

from collections.abc import Mapping

import polars as pl

from trueup.billing.retainers import RETAINER_MONTHS, retainer_table
from trueup.billing.terms import Terms
from trueup.kernel.periods import next_month
from trueup.store import objects
from trueup.store.database import Tx, array


def with_roll_over(tx: Tx, projects: pl.DataFrame, terms: Mapping[str, Terms], period: str) -> pl.DataFrame:
    """Add what rolled over into a month to projects, where minutes of a retainer roll over at all.

    A month has used what its billing runs covered or charged as overage, whatever the day of the work; what was taken
    back since is used no longer.

    projects  `PROJECTS`
    terms     project -> terms
    period    the month that is billed
    Returns   projects + rolled_minutes i64|null
    """
    rolling = {project: of.roll_over for project, of in terms.items() if of.roll_over}
    asked = projects.filter(
        (pl.col("method") == "retainer")
        & pl.col("included_minutes").is_not_null()
        & pl.col("project").is_in(list(rolling))
    )
    if asked.is_empty():
        return projects
    used = _used(tx, asked["project"].to_list())
    contracts = objects.load(tx, asked["contract"].to_list())
    rows = []
    for row in asked.iter_rows(named=True):
        agreed, starts_on = rolling[row["project"]], contracts[row["contract"]].body["starts_on"]
        month, number = starts_on[:7] if starts_on else period, 1
        while month < period:
            rows.append(
                (
                    row["project"], number, 0, row["included_minutes"], 0, agreed.months, agreed.cap_minutes,
                    agreed.use_first == "oldest", 0, used.get((row["project"], month), 0),
                )
            )  # fmt: skip
            month, number = next_month(month), number + 1
    schema = {name: column.dtype for name, column in RETAINER_MONTHS.columns.items()}
    table = retainer_table(pl.DataFrame(rows, schema=schema, orient="row"))
    rolled = table.group_by("retainer", maintain_order=True).agg(rolled_minutes=pl.col("rolled").last())
    return projects.join(rolled.rename({"retainer": "project"}), on="project", how="left", maintain_order="left")


def _used(tx: Tx, projects: list[str]) -> dict[tuple[str, str], int]:
    rows = tx.rows(
        """
        select c.project, c.period, sum(c.minutes - coalesce(r.minutes, 0))::bigint as minutes from charges c
        left join (select charge, sum(minutes) as minutes from reopenings group by charge) r on r.charge = c.key
        where c.project = any(%s::text[]) and (c.bucket = 'covered_by_fixed_fee' or c.kind = 'overage')
        group by c.project, c.period
        """,
        (array(projects),),
    )
    return {(row["project"], row["period"]): max(0, row["minutes"]) for row in rows}
