"""How far each reader has read, and how each system feels."""

from typing import Any

from trueup.store.database import Tx


def get(tx: Tx, system: str, object: str) -> str | None:
    """Return the cursor, or None before the first read."""
    found = tx.value("select cursor from cursors where system = %s and object = %s", (system, object))
    return None if found is None else str(found)


def hours_since(tx: Tx, system: str, object: str) -> float | None:
    """Return how many hours ago this reader last read, on the database's clock; None before its first reading."""
    found = tx.value(
        "select extract(epoch from now() - read_at)::float8 / 3600 from cursors where system = %s and object = %s",
        (system, object),
    )
    return None if found is None else float(found)


def advance(tx: Tx, system: str, object: str, cursor: str, records: int) -> None:
    """Move the cursor, in the transaction that keeps the records it passes."""
    tx.run(
        """
        insert into cursors (system, object, cursor, records) values (%s, %s, %s, %s)
        on conflict (system, object) do update set cursor = excluded.cursor, records = cursors.records + excluded.records,
            read_at = now()
        """,
        (system, object, cursor, records),
    )


def trail(tx: Tx, system: str, object: str, cursor: str | None, every_seconds: float) -> None:
    """Leave a mark where a reading has ended, at most one in so many seconds; None marks the beginning.

    The mark says: whatever is stamped later than this moment lies behind this cursor.
    """
    tx.run(
        """
        insert into cursor_trail (system, object, cursor)
        select %(system)s, %(object)s, %(cursor)s
        where not exists (select from cursor_trail where system = %(system)s and object = %(object)s
                          and created_at > now() - make_interval(secs => %(every)s))
        on conflict do nothing
        """,
        {"system": system, "object": object, "cursor": cursor, "every": every_seconds},
    )


def look_back_from(tx: Tx, system: str, object: str, seconds: float, every_seconds: float) -> tuple[str | None] | None:
    """Return the newest cursor of the trail that is at least so old, in a tuple; None when it is not time to look back.

    seconds        how far back, on the database's clock
    every_seconds  how long a look back is good for
    """
    found = tx.row(
        """
        select t.cursor from cursor_trail t join cursors c using (system, object)
        where t.system = %(system)s and t.object = %(object)s and t.created_at <= now() - make_interval(secs => %(back)s)
            and (c.looked_back_at is null or c.looked_back_at <= now() - make_interval(secs => %(every)s))
        order by t.created_at desc limit 1
        """,
        {"system": system, "object": object, "back": seconds, "every": every_seconds},
    )
    return None if found is None else (found["cursor"],)


def looked_back(tx: Tx, system: str, object: str, began: Any, seconds: float) -> None:
    """Note a look back that was read to its end, and forget the trail nobody needs any more.

    began    when it began, by the database's clock: only what was visible then has been seen
    seconds  how far the next look back reaches
    """
    tx.run(
        "update cursors set looked_back_at = greatest(looked_back_at, %s) where system = %s and object = %s",
        (began, system, object),
    )
    tx.run(
        """
        delete from cursor_trail t where system = %(system)s and object = %(object)s and created_at < (
            select max(created_at) from cursor_trail
            where system = %(system)s and object = %(object)s and created_at <= now() - make_interval(secs => %(back)s))
        """,
        {"system": system, "object": object, "back": seconds},
    )


def count_late(tx: Tx, system: str, object: str, records: int) -> None:
    """Count records that a look back or a sweep found; the cursor stays where it is."""
    tx.run("update cursors set records = records + %s where system = %s and object = %s", (records, system, object))


def register(tx: Tx, system: str, connector: str, role: str) -> None:
    """Make a system known."""
    tx.run(
        """
        insert into systems (system, connector, role) values (%s, %s, %s)
        on conflict (system) do update set connector = excluded.connector, role = excluded.role
        """,
        (system, connector, role),
    )


def felt(tx: Tx, system: str, *, calls: int = 1, error: str | None = None, pause: float | None = None) -> None:
    """Note how calls to a system went; `pause` keeps everybody away from it for some seconds."""
    tx.run(
        """
        update systems set calls = calls + %(calls)s,
            errors = errors + case when %(error)s::text is null then 0 else 1 end,
            last_ok_at = case when %(error)s::text is null then now() else last_ok_at end,
            last_error = coalesce(%(error)s, last_error),
            last_error_at = case when %(error)s::text is null then last_error_at else now() end,
            paused_until = case when %(pause)s::float8 is null then paused_until
                           else greatest(paused_until, now() + make_interval(secs => %(pause)s)) end
        where system = %(system)s
        """,
        {"system": system, "calls": calls, "error": error, "pause": pause},
    )


def paused(tx: Tx, system: str) -> bool:
    """Say whether the system has asked us to stay away for now."""
    return bool(tx.value("select coalesce(paused_until > now(), false) from systems where system = %s", (system,)))


def all_systems(tx: Tx) -> list[dict[str, Any]]:
    """Return every system with its state."""
    return tx.rows("select * from systems order by system")


def keep_text(tx: Tx, digest: str, name: str, version: int, body: str) -> None:
    """Keep a mapping or ownership file by its hash, so that a replay can use it as it was."""
    tx.run(
        "insert into texts (digest, name, version, body) values (%s, %s, %s, %s) on conflict do nothing",
        (digest, name, version, body),
    )
