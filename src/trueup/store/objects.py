"""Canonical objects: master data as validated JSON in one table, time and expenses in typed tables of their own.

Everybody reads and writes them through here, so that both look the same: a body of JSON-plain values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, LiteralString

import psycopg

from trueup.kernel.errors import Busy
from trueup.kernel.ids import kind_of
from trueup.kernel.money import from_units, to_units
from trueup.store.database import Found, Tx, array, json, plain_json, whole_numbers

TIME = (
    "status", "resource", "project", "task", "role", "worked_on", "minutes", "billable", "notes", "sheet",
)  # fmt: skip
EXPENSE = (
    "status", "report", "line_number", "resource", "project", "spent_on", "category", "amount", "currency",
    "amount_spent", "currency_spent", "billable", "has_receipt", "vendor_name",
)  # fmt: skip
ENVELOPE = ("gid", "version", "legal_entity", "source_order", "tombstone")


@dataclass(slots=True)
class Held:
    """One object as we hold it.

    body   JSON-plain, `status` included
    fresh  not in the database yet
    """

    gid: str
    kind: str
    version: int
    body: dict[str, Any]
    legal_entity: str | None = None
    source_order: int = 0
    tombstone: str | None = None
    fresh: bool = False

    @property
    def status(self) -> str:
        """Return the status."""
        return str(self.body["status"])


def load(tx: Tx, gids: Iterable[str], *, lock: bool = False) -> dict[str, Held]:
    """Return objects by identifier; unknown ones are left out. `lock` holds them until the transaction ends."""
    by_table: dict[str, list[str]] = {}
    for gid in sorted(set(gids)):
        by_table.setdefault(_table(kind_of(gid)), []).append(gid)
    found: dict[str, Held] = {}
    for table, wanted in by_table.items():
        for row in tx.rows(_SELECT[table] + (" for update" if lock else ""), (array(wanted),)):
            held = _held(table, row)
            found[held.gid] = held
    return found


def one(tx: Tx, gid: str) -> Held | None:
    """Return one object."""
    return load(tx, [gid]).get(gid)


def by_field(tx: Tx, kind: str, field: str, values: Iterable[Any]) -> dict[str, str]:
    """Return value -> gid for objects of a kind whose field has one of the values (master data only)."""
    wanted = sorted({str(value) for value in values})
    rows = tx.rows(
        "select body ->> %s as value, gid from objects where kind = %s and body ->> %s = any(%s) and tombstone is null",
        (field, kind, field, wanted),
    )
    return {row["value"]: row["gid"] for row in rows}


def naming(tx: Tx, kind: str, field: str, values: Iterable[str]) -> list[Held]:
    """Return the objects of a kind whose field names one of many values, by identifier (master data only)."""
    rows = tx.rows(
        """
        select gid, kind, version, status, legal_entity, body, tombstone from objects
        where kind = %s and body ->> %s = any(%s::text[]) and tombstone is null order by gid
        """,
        (kind, field, array(sorted(set(values)))),
    )
    return [_held("objects", row) for row in rows]


def of_kind(
    tx: Tx, kind: str, where: Mapping[str, Any] | None = None, *, after: str = "", limit: int | None = None
) -> list[Held]:
    """Return objects of a kind, by identifier, optionally with fields equal to values.

    after, limit  keyset paging; without a limit all of them
    """
    table = _table(kind)
    filters = dict(where or {})
    if table == "objects":
        rows = tx.rows(
            """
            select gid, kind, version, status, legal_entity, body, tombstone from objects
            where kind = %(kind)s and gid > %(after)s and tombstone is null and body @> %(filters)s
            order by gid limit %(limit)s::bigint
            """,
            {"kind": kind, "after": after, "limit": limit, "filters": json(filters)},
        )
        return [_held(table, row) for row in rows]
    sql: LiteralString = _SELECT_ALL[table]
    rows = tx.rows(
        sql,
        {
            "after": after,
            "limit": limit,
            "project": filters.get("project"),
            "resource": filters.get("resource"),
            "status": filters.get("status"),
        },
    )
    return [_held(table, row) for row in rows]


def times(tx: Tx, gids: Iterable[str]) -> dict[str, tuple[datetime, datetime]]:
    """Return when objects were made and last changed."""
    by_table: dict[str, list[str]] = {}
    for gid in sorted(set(gids)):
        by_table.setdefault(_table(kind_of(gid)), []).append(gid)
    return {
        row["gid"]: (row["created_at"], row["updated_at"])
        for table, wanted in by_table.items()
        for row in tx.rows(_TIMES[table], (wanted,))
    }


def save(tx: Tx, objects: Sequence[Held]) -> None:
    """Insert or replace objects, by batches; the caller has locked them and raised their versions.

    Raises    Busy when one that was `fresh` is there by now: whoever made it was not heard when this was decided.
    """
    groups: dict[tuple[str, bool], list[Held]] = {}
    for held in sorted(objects, key=lambda item: item.gid):
        groups.setdefault((_table(held.kind), held.fresh), []).append(held)
    try:
        for (table, fresh), group in groups.items():
            _save_group(tx, table, fresh, group)
    except psycopg.errors.UniqueViolation as met:
        raise Busy("somebody else made one of these objects at the same moment") from met


def _save_group(tx: Tx, table: str, fresh: bool, group: Sequence[Held]) -> None:
    if table == "time_entries":
        rows = ((*_envelope(held), *map(held.body.get, TIME)) for held in group)
        if fresh:
            tx.copy("time_entries", (*ENVELOPE, *TIME), rows)
        else:
            _copy_over(tx, "time_entries", TIME, rows)
    elif table == "expense_lines":
        spent = ((*_envelope(held), *_expense(held.body)) for held in group)
        if fresh:
            tx.copy("expense_lines", (*ENVELOPE, *EXPENSE), spent)
        else:
            _copy_over(tx, "expense_lines", EXPENSE, spent)
    else:
        tx.run(
            _INSERT if fresh else _INSERT + _OR_REPLACE,
            (
                array(held.gid for held in group),
                array(held.kind for held in group),
                whole_numbers(held.version for held in group),
                array(held.status for held in group),
                array(held.legal_entity for held in group),
                array(plain_json(held.body) for held in group),
                array(held.tombstone for held in group),
            ),
        )


def _table(kind: str | None) -> str:
    return {"time_entry": "time_entries", "expense_line": "expense_lines"}.get(kind or "", "objects")


def _envelope(held: Held) -> tuple[Any, ...]:
    return held.gid, held.version, held.legal_entity, held.source_order, held.tombstone


def _expense(body: Mapping[str, Any]) -> tuple[Any, ...]:
    row = dict(body)
    row["amount"] = to_units(Decimal(row["amount"]), row["currency"])
    if row.get("amount_spent") is not None:
        row["amount_spent"] = to_units(Decimal(row["amount_spent"]), row.get("currency_spent") or row["currency"])
    return tuple(row.get(name) for name in EXPENSE)


def _copy_over(tx: Tx, table: LiteralString, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """COPY into a temporary table, then merge and empty it: one pass for new and changed rows alike."""
    names = (*ENVELOPE, *columns)
    if table == "time_entries":
        tx.run(
            "create temp table if not exists incoming_time (like time_entries including defaults) on commit delete rows"
        )
        tx.copy("incoming_time", names, rows)
        tx.run(_MERGE_TIME)
    else:
        tx.run(
            "create temp table if not exists incoming_expense (like expense_lines including defaults) on commit delete rows"
        )
        tx.copy("incoming_expense", names, rows)
        tx.run(_MERGE_EXPENSE)


_INSERT: LiteralString = """
insert into objects (gid, kind, version, status, legal_entity, body, tombstone)
select * from unnest(%s::text[], %s::text[], %s::int[], %s::text[], %s::text[], %s::jsonb[], %s::text[])
"""
_OR_REPLACE: LiteralString = """
on conflict (gid) do update set version = excluded.version, status = excluded.status,
    legal_entity = excluded.legal_entity, body = excluded.body, tombstone = excluded.tombstone, updated_at = now()
"""
_MERGE_TIME: LiteralString = """
with incoming as (delete from incoming_time returning *)
insert into time_entries select * from incoming
on conflict (gid) do update set version = excluded.version, status = excluded.status, resource = excluded.resource,
    project = excluded.project, task = excluded.task, role = excluded.role, worked_on = excluded.worked_on,
    minutes = excluded.minutes, billable = excluded.billable, notes = excluded.notes, sheet = excluded.sheet,
    legal_entity = excluded.legal_entity, source_order = excluded.source_order, tombstone = excluded.tombstone,
    updated_at = now()
"""
_MERGE_EXPENSE: LiteralString = """
with incoming as (delete from incoming_expense returning *)
insert into expense_lines select * from incoming
on conflict (gid) do update set version = excluded.version, status = excluded.status, report = excluded.report,
    line_number = excluded.line_number, resource = excluded.resource, project = excluded.project,
    spent_on = excluded.spent_on, category = excluded.category, amount = excluded.amount, currency = excluded.currency,
    amount_spent = excluded.amount_spent, currency_spent = excluded.currency_spent, billable = excluded.billable,
    has_receipt = excluded.has_receipt, vendor_name = excluded.vendor_name, legal_entity = excluded.legal_entity,
    source_order = excluded.source_order, tombstone = excluded.tombstone, updated_at = now()
"""
_SELECT: dict[str, LiteralString] = {
    "objects": """
        select gid, kind, version, status, legal_entity, body, tombstone from objects where gid = any(%s::text[])
        order by gid""",
    "time_entries": "select * from time_entries where gid = any(%s::text[]) order by gid",
    "expense_lines": "select * from expense_lines where gid = any(%s::text[]) order by gid",
}
_TIMES: dict[str, LiteralString] = {
    "objects": "select gid, created_at, updated_at from objects where gid = any(%s)",
    "time_entries": "select gid, created_at, updated_at from time_entries where gid = any(%s)",
    "expense_lines": "select gid, created_at, updated_at from expense_lines where gid = any(%s)",
}
_SELECT_ALL: dict[str, LiteralString] = {
    "time_entries": """
        select * from time_entries where gid > %(after)s and tombstone is null
            and (%(project)s::text is null or project = %(project)s)
            and (%(resource)s::text is null or resource = %(resource)s)
            and (%(status)s::text is null or status = %(status)s)
        order by gid limit %(limit)s::bigint""",
    "expense_lines": """
        select * from expense_lines where gid > %(after)s and tombstone is null
            and (%(project)s::text is null or project = %(project)s)
            and (%(resource)s::text is null or resource = %(resource)s)
            and (%(status)s::text is null or status = %(status)s)
        order by gid limit %(limit)s::bigint""",
}


def _held(table: str, row: Found) -> Held:
    if table == "objects":
        return Held(
            row["gid"], row["kind"], row["version"], row["body"], row["legal_entity"], tombstone=row["tombstone"]
        )
    kind, columns = ("time_entry", TIME) if table == "time_entries" else ("expense_line", EXPENSE)
    body = {name: row[name] for name in columns}
    if kind == "expense_line":
        body["amount"] = format(from_units(body["amount"], body["currency"]), "f")
        if body["amount_spent"] is not None:
            spent = from_units(body["amount_spent"], body["currency_spent"] or body["currency"])
            body["amount_spent"] = format(spent, "f")
    for name in ("worked_on", "spent_on"):
        if isinstance(body.get(name), date):
            body[name] = body[name].isoformat()
    return Held(
        row["gid"], kind, row["version"], body, row["legal_entity"], row["source_order"], tombstone=row["tombstone"]
    )
