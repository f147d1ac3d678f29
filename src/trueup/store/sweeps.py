"""Full readings of one object beside its ordinary reader: how far each is, what it has seen, how it ended."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trueup.store.database import Tx, array, json


@dataclass(frozen=True, slots=True)
class Sweep:
    """One sweep under way.

    cursor      the vendor's own, of this sweep; None before its first page
    read_whole  every page is read; what it did not see remains to be asked for
    """

    number: int
    system: str
    object: str
    cursor: str | None
    read_whole: bool


def ask(tx: Tx, system: str, object_name: str, reason: str) -> bool:
    """Ask for a sweep; False when one is under way, which must then begin again to see what we ask for.

    A sweep that has read pages may have passed the place already: it starts over, its pages are known by then.
    """
    fresh = tx.value(
        """
        insert into sweeps (system, object, reason) values (%s, %s, %s)
        on conflict (system, object) where finished_at is null do update
            set cursor = null, read_whole = false, reason = sweeps.reason
        returning (xmax = 0)
        """,
        (system, object_name, reason[:300]),
    )
    if not fresh:
        tx.run(
            "delete from swept using sweeps s where sweep = s.number and s.system = %s and s.object = %s and s.finished_at is null",
            (system, object_name),
        )
    return bool(fresh)


def open_of(tx: Tx, system: str, object_name: str) -> Sweep | None:
    """Return the sweep under way."""
    row = tx.row(
        """
        select number, system, object, cursor, read_whole from sweeps
        where system = %s and object = %s and finished_at is null
        """,
        (system, object_name),
    )
    return None if row is None else Sweep(**row)


def due(tx: Tx, system: str, object_name: str, hours: float) -> bool:
    """Say whether the last whole reading is older than so many hours; the first one of a reader counts as whole."""
    return bool(
        tx.value(
            """
            select greatest(c.created_at, (select max(finished_at) from sweeps s where (s.system, s.object) = (c.system, c.object)))
                < now() - make_interval(secs => %s)
            from cursors c where c.system = %s and c.object = %s
            """,
            (hours * 3600, system, object_name),
        )
    )


def advance(tx: Tx, sweep: Sweep, cursor: str, ids: Iterable[str], fresh: int, *, more: bool) -> bool:
    """Note a page, in the transaction that keeps its records; False when the sweep was started over meanwhile."""
    moved = tx.run(
        """
        update sweeps set cursor = %(cursor)s, pages = pages + 1, fresh = fresh + %(fresh)s, read_whole = not %(more)s
        where number = %(number)s and finished_at is null and cursor is not distinct from %(was)s and not read_whole
        """,
        {"cursor": cursor, "fresh": fresh, "more": more, "number": sweep.number, "was": sweep.cursor},
    )
    if moved:
        tx.run(
            "insert into swept (sweep, external_id) select %s, unnest(%s::text[]) on conflict do nothing",
            (sweep.number, array(dict.fromkeys(ids))),
        )
    return bool(moved)


def unseen(tx: Tx, sweep: Sweep, limit: int) -> list[str]:
    """Return records we hold, kept before the sweep began, that it has not seen and that are not known to be gone."""
    rows = tx.rows(
        """
        select last.external_id from (
            select distinct on (i.external_id) i.external_id, i.deleted, i.gid
            from inbox i join sweeps s on s.number = %(sweep)s
            where i.system = %(system)s and i.object = %(object)s and i.lane <> 'notice' and i.external_id <> ''
                and i.received_at < s.created_at and i.state in ('applied', 'superseded', 'waiting', 'quarantined')
            order by i.external_id, i.settled_at desc nulls last, i.number desc) as last
        where not last.deleted
            and not exists (select from swept where sweep = %(sweep)s and external_id = last.external_id)
            and not exists (
                select from inbox later where later.system = %(system)s and later.object = %(object)s
                    and later.external_id = last.external_id and later.deleted and later.state = 'pending')
        order by last.external_id limit %(limit)s
        """,
        {"sweep": sweep.number, "system": sweep.system, "object": sweep.object, "limit": limit},
    )
    return [row["external_id"] for row in rows]


def returned(tx: Tx, sweep: Sweep) -> list[int]:
    """Return the newest whole word of each record that we hold for gone and that this sweep has seen."""
    rows = tx.rows(
        """
        select whole.number from (
            select distinct on (i.external_id) i.external_id, i.deleted, i.body
            from inbox i join swept w on w.sweep = %(sweep)s and w.external_id = i.external_id
            where i.system = %(system)s and i.object = %(object)s and i.lane <> 'notice'
            order by i.external_id, i.settled_at desc nulls last, i.number desc) as last
        cross join lateral (
            select number from inbox w
            where w.system = %(system)s and w.object = %(object)s and w.external_id = last.external_id
                and w.lane <> 'notice' and not w.deleted and w.state in ('applied', 'superseded')
            order by w.stamp desc, w.number desc limit 1) as whole
        where last.deleted and position('"trueup_vanished"'::bytea in last.body) > 0
        order by whole.number
        """,
        {"sweep": sweep.number, "system": sweep.system, "object": sweep.object},
    )
    return [row["number"] for row in rows]


def known_good(tx: Tx, sweep: Sweep, limit: int) -> list[str]:
    """Return identifiers this sweep has seen: records that must be readable if we may read the object at all."""
    rows = tx.rows(
        "select external_id from swept where sweep = %s order by external_id limit %s", (sweep.number, limit)
    )
    return [row["external_id"] for row in rows]


def see(tx: Tx, sweep: Sweep, ids: Iterable[str]) -> None:
    """Note records that were asked for one by one."""
    tx.run(
        "insert into swept (sweep, external_id) select %s, unnest(%s::text[]) on conflict do nothing",
        (sweep.number, array(dict.fromkeys(ids))),
    )


def count(tx: Tx, sweep: Sweep, kinds: Mapping[str, int]) -> None:
    """Add to what the sweep found to have vanished, by kind of disappearance."""
    before = tx.value("select vanished from sweeps where number = %s for update", (sweep.number,)) or {}
    together = {kind: before.get(kind, 0) + kinds.get(kind, 0) for kind in {*before, *kinds}}
    tx.run("update sweeps set vanished = %s where number = %s", (json(together), sweep.number))


def finish(tx: Tx, sweep: Sweep, inconclusive: str | None = None) -> bool:
    """End a sweep that has read every page; False when it was started over meanwhile."""
    ended = tx.run(
        "update sweeps set finished_at = now(), inconclusive = %s where number = %s and finished_at is null and read_whole",
        (inconclusive, sweep.number),
    )
    if ended:
        tx.run("delete from swept where sweep = %s", (sweep.number,))
    return bool(ended)


def latest(tx: Tx, limit: int = 50) -> list[dict[str, Any]]:
    """Return sweeps under way, then those that ended last, with how many records they have seen so far."""
    return tx.rows(
        """
        select s.number, s.system, s.object, s.reason, s.pages, s.fresh, s.vanished, s.inconclusive, s.created_at, s.finished_at,
            (select count(*) from swept where sweep = s.number) as seen
        from sweeps s order by s.finished_at desc nulls first, s.number desc limit %s
        """,
        (limit,),
    )
