"""Why everything is as it is: decisions with their sentence, proposals, and business events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trueup.store.database import Tx, array, json, plain_json, whole_numbers


@dataclass(frozen=True, slots=True)
class Change:
    """One record's (or person's, or process's) word on one object, and what was decided."""

    gid: str
    kind: str
    version: int
    actor: str
    decisions: list[dict[str, Any]]
    message: int | None = None
    system: str | None = None
    mapping: str | None = None
    mapping_version: int | None = None
    mapping_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A business fact to be told once; `key` makes it so."""

    key: str
    name: str
    subject: str
    kind: str
    data: dict[str, Any]
    message: int | None = None


COLUMNS = (
    "gid", "kind", "version", "actor", "decisions", "message", "system", "mapping", "mapping_version", "mapping_digest",
    "edition",
)  # fmt: skip


def write(tx: Tx, changes: Sequence[Change], edition: int | None = None) -> None:
    """Append to the history of objects.

    edition  the rules by which it was decided
    """
    if changes:
        tx.copy(
            "changes",
            COLUMNS,
            (
                (c.gid, c.kind, c.version, c.actor, plain_json(c.decisions), c.message, c.system, c.mapping,
                 c.mapping_version, c.mapping_digest, edition)
                for c in changes
            ),
        )  # fmt: skip


def buried_by(tx: Tx, gids: Sequence[str]) -> dict[str, str]:
    """Return which system's deletion put each of these objects under its tombstone."""
    if not gids:
        return {}
    rows = tx.rows(
        """
        select distinct on (gid) gid, system from changes
        where gid = any(%s) and system is not null
            and (decisions @> '[{"fields": {"tombstone": [null, "deleted"]}}]'
                or decisions @> '[{"fields": {"tombstone": [null, "hidden"]}}]'
                or decisions @> '[{"fields": {"tombstone": ["hidden", "deleted"]}}]')
        order by gid, number desc
        """,
        (array(gids),),
    )
    return {row["gid"]: row["system"] for row in rows}


def propose(tx: Tx, proposals: Sequence[tuple[str, str, str, Any, str, int | None]]) -> None:
    """Keep what non-owners said: (gid, field, system, value, sentence, message); the newest word of each stands."""
    last = {(p[0], p[1], p[2]): p for p in proposals}
    for gid, field, system, value, sentence, message in (last[key] for key in sorted(last)):
        tx.run(
            """
            insert into proposals (gid, field, system, value, sentence, message) values (%s, %s, %s, %s, %s, %s)
            on conflict (gid, field, system) do update set value = excluded.value, sentence = excluded.sentence,
                message = excluded.message, state = 'open', settled_at = null, created_at = now()
            """,
            (gid, field, system, json(value), sentence, message),
        )


def settle_proposals(tx: Tx, agreed: Sequence[tuple[str, str, str]]) -> None:
    """Close proposals whose system has come round: (gid, field, system)."""
    if agreed:
        tx.run(
            """
            update proposals set state = 'settled', settled_at = now()
            from unnest(%s::text[], %s::text[], %s::text[]) as a (gid, field, system)
            where proposals.gid = a.gid and proposals.field = a.field and proposals.system = a.system and state = 'open'
            """,
            ([a[0] for a in agreed], [a[1] for a in agreed], [a[2] for a in agreed]),
        )


def tell(tx: Tx, events: Sequence[Event]) -> list[Event]:
    """Store events; return those that had not been told before."""
    if not events:
        return []
    once = {event.key: event for event in events}
    rows = tx.rows(
        """
        insert into events (key, name, subject, kind, data, message)
        select * from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::jsonb[], %s::bigint[])
        on conflict on constraint events_told_once do nothing returning key
        """,
        (
            array(once),
            array(event.name for event in once.values()),
            array(event.subject for event in once.values()),
            array(event.kind for event in once.values()),
            array(plain_json(event.data) for event in once.values()),
            whole_numbers(event.message for event in once.values()),
        ),
    )
    return [once[row["key"]] for row in rows]


def read_events(
    tx: Tx, after: tuple[int, int], limit: int, *, name: str | None = None, subject: str | None = None
) -> list[dict[str, Any]]:
    """Return events after a cursor, only those every later reader would see in the same place.

    after  (transaction, number) of the last event read; (0, 0) from the beginning
    """
    return tx.rows(
        """
        select number, transaction::text::bigint as transaction, name, subject, kind, data, message, created_at from events
        where (transaction, number) > (%(transaction)s::text::xid8, %(number)s::bigint)
            and transaction < pg_snapshot_xmin(pg_current_snapshot())
            and (%(name)s::text is null or name = %(name)s) and (%(subject)s::text is null or subject = %(subject)s)
        order by transaction, number limit %(limit)s
        """,
        {"transaction": after[0], "number": after[1], "limit": limit, "name": name, "subject": subject},
    )


def event(tx: Tx, number: int) -> dict[str, Any] | None:
    """Return one event."""
    return tx.row(
        "select number, name, subject, kind, data, message, created_at from events where number = %s", (number,)
    )


def last_event(tx: Tx) -> tuple[int, int]:
    """Return the cursor behind the last event a reader can have seen by now: what comes after it is new."""
    found = tx.row(
        """
        select transaction::text::bigint as transaction, number from events
        where transaction < pg_snapshot_xmin(pg_current_snapshot()) order by events.transaction desc, number desc limit 1
        """
    )
    return (found["transaction"], found["number"]) if found else (0, 0)


def history(tx: Tx, gid: str) -> list[dict[str, Any]]:
    """Return everything that was said of an object, oldest first."""
    return tx.rows("select * from changes where gid = %s order by number", (gid,))
