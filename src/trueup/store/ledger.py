"""The bucket ledger, charges, allocations, positions and runs: what billing writes and reads back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, LiteralString

import polars as pl

from trueup.store.database import Tx, array, json

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


def begin_run(
    tx: Tx, run: str, kind: str, legal_entity: str | None, period: str | None, slots: Sequence[int] | None = None
) -> bool:
    """Note that a run begins; False when it has been done already.

    Runs of one legal entity wait for each other, whatever their month: both would bill what is open now.

    slots  of the contracts the run looks at: it waits for those alone that share one; None for all contracts
    """
    if legal_entity is not None:
        alone(tx, legal_entity, slots)
    tx.run(
        "insert into runs (run, kind, legal_entity, period) values (%s, %s, %s, %s) on conflict (run) do nothing",
        (run, kind, legal_entity, period),
    )
    return bool(tx.value("select state <> 'done' from runs where run = %s for update", (run,)))


def open_run(tx: Tx, run: str, kind: str, legal_entity: str, period: str, figures: Mapping[str, Any]) -> None:
    """Note that a run will be carried out in parts by others, or that one of its parts will."""
    tx.run(
        """
        insert into runs (run, kind, legal_entity, period, figures) values (%s, %s, %s, %s, %s)
        on conflict (run) do nothing
        """,
        (run, kind, legal_entity, period, json(dict(figures))),
    )


def note_run(tx: Tx, run: str, figures: Mapping[str, Any]) -> None:
    """Note how far a run is."""
    tx.run("update runs set figures = %s where run = %s", (json(dict(figures)), run))


def end_run(tx: Tx, run: str, figures: Mapping[str, Any]) -> None:
    """Note that a run is done, with its figures."""
    tx.run("update runs set state = 'done', ended_at = now(), figures = %s where run = %s", (json(dict(figures)), run))


def run_of(tx: Tx, run: str) -> dict[str, Any] | None:
    """Return one run: kind, legal entity, period, state, figures, times."""
    return tx.row("select * from runs where run = %s", (run,))


def hold_run(tx: Tx, run: str) -> str | None:
    """Return the state of a run, which nobody else changes until the transaction ends; None when there is no such run."""
    row = tx.row("select state from runs where run = %s for update", (run,))
    return row["state"] if row else None


def parts_of(tx: Tx, run: str) -> list[dict[str, Any]]:
    """Return the runs that are parts of a run, in order of their names."""
    return tx.rows("select * from runs where starts_with(run, %s) and kind = 'billing_part' order by run", (f"{run}/",))


def alone(tx: Tx, legal_entity: str, slots: Sequence[int] | None = None) -> None:
    """Let nobody else bill, credit or adjust in this legal entity until the transaction ends.

    slots  of contracts, ascending: others with other slots may go on beside us; None for all contracts
    """
    key = desk(legal_entity)
    if slots is None:
        tx.run("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (key,))
        return
    tx.run("select pg_advisory_xact_lock_shared(hashtextextended(%s, 0))", (key,))
    for slot in slots:
        tx.run("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{key}/{slot}",))


def desk(legal_entity: str) -> str:
    """Return the key whoever bills, credits or adjusts in a legal entity holds."""
    return f"billing/{legal_entity}"


def standing(
    tx: Tx, *, documents: Sequence[str] | None = None, facts: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return what still stands on documents, one row a charge, newest service first; credits and voids taken off.

    documents  invoices to look at; None for every invoice of the facts
    facts      facts to look at; None for all of the documents
    Returns    charge, fact, fact_version, kind, project, contract, legal_entity, currency, document, line_key, rate,
               rate_line, service_on, minutes, amount (units), on_draft and invoiced (in the fact's own unit)
    """
    return tx.rows(
        """
        select c.key as charge, c.fact, c.fact_version, c.kind, c.project, c.contract, c.legal_entity, c.currency,
            c.document, c.line_key, c.rate, c.rate_line, c.service_on, a.minutes, a.amount, m.on_draft, m.invoiced
        from charges c
        cross join lateral (
            select coalesce(sum(minutes), 0)::bigint as minutes, coalesce(sum(amount), 0)::bigint as amount
            from allocations where charge = c.key) a
        cross join lateral (
            select coalesce(sum(case 'on_draft' when to_bucket then quantity when from_bucket then -quantity end), 0)::bigint
                    as on_draft,
                coalesce(sum(case 'invoiced' when to_bucket then quantity when from_bucket then -quantity end), 0)::bigint
                    as invoiced
            from moves where fact = c.fact and charge = c.key) m
        left join time_entries t on t.gid = c.fact
        left join expense_lines e on e.gid = c.fact
        where c.document is not null
            and (%(documents)s::text[] is null or c.document = any(%(documents)s::text[]))
            and (%(facts)s::text[] is null or c.fact = any(%(facts)s::text[]))
            and (a.minutes <> 0 or a.amount <> 0 or m.on_draft <> 0 or m.invoiced <> 0)
        order by c.service_on desc, coalesce(t.source_order, e.source_order, 0) desc, c.key
        """,
        {
            "documents": None if documents is None else array(documents),
            "facts": None if facts is None else array(facts),
        },
    )


REOPENING = ("key", "charge", "fact", "kind", "place", "minutes", "amount", "document", "reason")


def reopen(tx: Tx, rows: Sequence[tuple[str, str, str, str, str, int, int, str | None, str]]) -> None:
    """Say which parts of charges price their fact no longer, in the columns of `REOPENING`; known keys stay."""
    tx.many(
        """
        insert into reopenings (key, charge, fact, kind, place, minutes, amount, document, reason)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (key) do nothing
        """,
        rows,
    )


def on_documents(tx: Tx, facts: Sequence[str]) -> dict[str, int]:
    """Return how much of each fact stands on drafts and invoices, in its own unit, locked for this transaction."""
    found: dict[str, int] = {}
    for row in tx.rows(
        "select fact, quantity from buckets where fact = any(%s::text[]) and bucket in ('on_draft', 'invoiced') for update",
        (array(facts),),
    ):
        found[row["fact"]] = found.get(row["fact"], 0) + row["quantity"]
    return found


def balances(tx: Tx, facts: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return fact -> bucket -> quantity, `source` left out, locked for this transaction."""
    found: dict[str, dict[str, int]] = {fact: {} for fact in facts}
    for row in tx.rows(
        "select fact, bucket, quantity from buckets where fact = any(%s::text[]) and bucket <> 'source' for update",
        (array(facts),),
    ):
        found[row["fact"]][row["bucket"]] = row["quantity"]
    return found


def taken_back(tx: Tx) -> set[str]:
    """Return the facts of which something left a final bucket once: their charges' keys may be in use."""
    rows = tx.tuples(
        """
        select fact from moves
        where from_bucket in ('on_draft', 'invoiced', 'credited', 'written_off', 'non_billable', 'covered_by_fixed_fee')
            and to_bucket in ('unbilled', 'source')
        union select fact from reopenings
        """
    )
    return {fact for (fact,) in rows}


def billed_for(tx: Tx, facts: Sequence[str]) -> dict[str, int]:
    """Return what stands on documents for some facts, by currency, in units."""
    rows = tx.rows(
        """
        select c.currency, sum(a.amount)::bigint as amount
        from charges c join allocations a on a.charge = c.key
        where c.fact = any(%s::text[]) group by c.currency
        """,
        (array(facts),),
    )
    return {row["currency"]: row["amount"] for row in rows if row["amount"]}


def keys_like(tx: Tx, facts: Sequence[str]) -> set[str]:
    """Return the keys of every charge of some facts."""
    return {row["key"] for row in tx.rows("select key from charges where fact = any(%s::text[])", (array(facts),))}


def shrink(tx: Tx, fact: str, bucket: str, quantity: int, key: str, reason: str) -> None:
    """Take minutes of a fact that left a final bucket off the charges that priced them, newest first.

    bucket  credited, written_off, non_billable or covered_by_fixed_fee
    key     of the correction; the reopenings' keys begin with it
    """
    rows = []
    for part in tx.rows(_CREDITED if bucket == "credited" else _KEPT, {"fact": fact, "bucket": bucket}):
        minutes = min(quantity, part["minutes"])
        if minutes <= 0:
            continue
        whole = minutes == part["minutes"]
        amount = part["amount"] if whole else share(part["amount"], minutes, part["minutes"])
        rows.append(
            (f"{key}/{part['charge']}", part["charge"], fact, part["kind"], bucket, minutes, amount, None, reason)
        )
        quantity -= minutes
    reopen(tx, rows)


def share(amount: int, part: int, whole: int) -> int:
    """Return the part of an amount in units, rounded to the minor unit, half away from zero."""
    step = 10_000 * whole
    size = (abs(amount) * part * 2 + step) // (2 * step) * 10_000
    return size if amount >= 0 else -size


_CREDITED: LiteralString = """
    select c.key as charge, c.kind, (a.minutes - coalesce(r.minutes, 0))::bigint as minutes,
        (a.amount - coalesce(r.amount, 0))::bigint as amount
    from charges c
    cross join lateral (
        select -sum(minutes) as minutes, -sum(amount) as amount from allocations
        where charge = c.key and (minutes < 0 or amount < 0) and document not like '%%/void') a
    cross join lateral (
        select sum(minutes) as minutes, sum(amount) as amount from reopenings where charge = c.key and place = 'credited') r
    where c.fact = %(fact)s and c.kind in ('time', 'overage') and a.minutes > coalesce(r.minutes, 0) and %(bucket)s <> ''
    order by c.created_at desc, c.key desc
"""
_KEPT: LiteralString = """
    select c.key as charge, c.kind, (c.minutes - coalesce(r.minutes, 0))::bigint as minutes,
        (c.amount - coalesce(r.amount, 0))::bigint as amount
    from charges c
    cross join lateral (
        select sum(minutes) as minutes, sum(amount) as amount from reopenings where charge = c.key and place = %(bucket)s) r
    where c.fact = %(fact)s and c.bucket = %(bucket)s and c.kind in ('time', 'overage')
        and c.minutes > coalesce(r.minutes, 0)
    order by c.created_at desc, c.key desc
"""
