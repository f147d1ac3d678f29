"""The bucket ledger, charges, allocations, positions and runs: what billing writes and reads back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, LiteralString

import polars as pl

from trueup.store.database import Tx, json

MOVE = (
    "key", "fact", "fact_version", "unit", "from_bucket", "to_bucket", "quantity", "charge", "document", "line_key",
    "reason", "actor",
)  # fmt: skip
CHARGE = (
    "key", "fact", "fact_version", "kind", "project", "contract", "contract_line", "legal_entity", "currency", "minutes",
    "rate", "amount", "bucket", "document", "line_key", "rate_line", "service_on", "period", "run", "trace",
    "purchase_order",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Move:
    """Some quantity of one fact, from one bucket to another, and why."""

    key: str
    fact: str
    fact_version: int
    unit: str
    from_bucket: str
    to_bucket: str
    quantity: int
    reason: str
    actor: str
    charge: str | None = None
    document: str | None = None
    line_key: str | None = None


_move_row = attrgetter(*MOVE)


def move(tx: Tx, moves: Iterable[Move] | pl.DataFrame) -> int:
    """Append moves, nought left out; the database refuses any that overdraws a bucket, and takes each key once.

    moves  one by one, or as a frame with the columns of `MOVE`
    """
    rows = moves if isinstance(moves, pl.DataFrame) else [_move_row(item) for item in moves if item.quantity]
    if not len(rows):
        return 0
    if isinstance(rows, pl.DataFrame) and tx.fresh(lambda: _copy(tx, "moves", MOVE, rows)):
        return len(rows)
    tx.stage(
        "incoming_moves",
        """
        create temp table if not exists incoming_moves on commit delete rows as
        select key, fact, fact_version, unit, from_bucket, to_bucket, quantity, charge, document, line_key, reason, actor
        from moves with no data
        """,
    )
    _copy(tx, "incoming_moves", MOVE, rows)
    return tx.run(
        """
        insert into moves (key, fact, fact_version, unit, from_bucket, to_bucket, quantity, charge, document, line_key,
                           reason, actor)
        select key, fact, fact_version, unit, from_bucket, to_bucket, quantity, charge, document, line_key, reason, actor
        from incoming_moves on conflict on constraint moves_made_once do nothing
        """
    )


def charge(tx: Tx, charges: Iterable[Mapping[str, Any]] | pl.DataFrame) -> int:
    """Write charges and their allocations to document lines; known keys stay as they are.

    charges  one by one, or as a frame with the columns of `CHARGE`
    """
    rows = charges if isinstance(charges, pl.DataFrame) else [tuple(map(item.get, CHARGE)) for item in charges]
    if not len(rows):
        return 0
    if isinstance(rows, pl.DataFrame) and tx.fresh(lambda: _charge_fresh(tx, rows)):
        return len(rows)
    tx.stage(
        "incoming_charges",
        "create temp table if not exists incoming_charges (like charges including defaults) on commit delete rows",
    )
    _copy(tx, "incoming_charges", CHARGE, rows)
    count = tx.run("insert into charges select * from incoming_charges on conflict (key) do nothing")
    tx.run(
        """
        insert into allocations (charge, document, line_key, minutes, amount)
        select key, document, line_key, minutes, amount from incoming_charges where document is not null
        on conflict do nothing
        """
    )
    return count


def _charge_fresh(tx: Tx, charges: pl.DataFrame) -> None:
    """Write charges nobody has written before."""
    _copy(tx, "charges", CHARGE, charges)
    drafted = charges.filter(pl.col("document").is_not_null())
    columns = ("charge", "document", "line_key", "minutes", "amount")
    _copy(tx, "allocations", columns, drafted.rename({"key": "charge"}) if len(drafted) else ())


def _copy(tx: Tx, table: LiteralString, columns: Sequence[str], rows: Iterable[Sequence[Any]] | pl.DataFrame) -> None:
    if isinstance(rows, pl.DataFrame):
        # Texts in quotes and nulls without: an empty text stays one.
        text = rows.select(columns).write_csv(include_header=False, quote_style="non_numeric")
        tx.copy_csv(table, columns, text.encode())
    else:
        tx.copy(table, columns, rows)


def allocate(tx: Tx, rows: Sequence[tuple[str, str, str, int | None, int]]) -> None:
    """Add allocation rows (charge, document, line, minutes, amount); credits are negative."""
    tx.many(
        "insert into allocations (charge, document, line_key, minutes, amount) values (%s, %s, %s, %s, %s) on conflict do nothing",
        rows,
    )


NULL: Final = "\x01"
"""Stands for a missing value where rows go out as text: no text of ours is this one character."""


def frame(tx: Tx, sql: LiteralString, params: Mapping[str, Any] | None, schema: Mapping[str, Any]) -> pl.DataFrame:
    """Read a query into a frame; whole numbers stay whole numbers.

    schema  column name -> type, in the order of the query's columns: texts, whole numbers, flags, dates
    """
    text = tx.copy_out(sql, params, null=NULL)
    if not text:
        return pl.DataFrame(schema=dict(schema))
    flags = [name for name, dtype in schema.items() if dtype == pl.Boolean()]
    read_as = {name: pl.String() if name in flags else dtype for name, dtype in schema.items()}
    found = pl.read_csv(
        text, has_header=False, schema=read_as, null_values=NULL, empty_string_is_null=False, infer_schema=False
    )
    return found.with_columns((pl.col(name) == "t").alias(name) for name in flags)


def begin_run(tx: Tx, run: str, kind: str, legal_entity: str | None, period: str | None) -> bool:
    """Note that a run begins; False when it has been done already."""
    tx.run(
        "insert into runs (run, kind, legal_entity, period) values (%s, %s, %s, %s) on conflict (run) do nothing",
        (run, kind, legal_entity, period),
    )
    return bool(tx.value("select state <> 'done' from runs where run = %s for update", (run,)))


def end_run(tx: Tx, run: str, figures: Mapping[str, Any]) -> None:
    """Note that a run is done, with its figures."""
    tx.run("update runs set state = 'done', ended_at = now(), figures = %s where run = %s", (json(dict(figures)), run))


def run_of(tx: Tx, run: str) -> dict[str, Any] | None:
    """Return one run: kind, legal entity, period, state, figures, times."""
    return tx.row("select * from runs where run = %s", (run,))
