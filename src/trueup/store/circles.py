"""Records whose writes keep coming back changed: what the ledger says of them, and which are stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trueup.store.database import Tx, json

CODE = "write_budget"
MOST_WORDS = 2000


@dataclass(frozen=True, slots=True)
class Suspect:
    """A write that is to be sent next, of a record that was written often, or that is stopped.

    stopped   key of the write at which the record was stopped; None while it is not
    released  a person had this very write made after all
    since     turns are counted from here
    """

    key: str
    gid: str
    stopped: str | None
    released: bool
    since: datetime
    now: datetime


def suspects(tx: Tx, asked: Sequence[tuple[str, int, float]]) -> list[Suspect]:
    """Return those of the writes whose record is stopped, or was written as often as its budget allows, all in one look.

    asked  (key, turns, hours) of writes that are about to be sent
    """
    if not asked:
        return []
    rows = tx.rows(
        """
        select d.key, d.gid, stop.key as stopped, d.code is not distinct from %(code)s as released, since.at as since,
            now() as now
        from unnest(%(keys)s::text[], %(turns)s::int[], %(hours)s::float8[]) as a (key, turns, hours)
        join deliveries d on d.key = a.key
        left join lateral (
            select s.key from write_stops s
            where s.gid = d.gid and s.system = d.system and s.object = d.object and s.released_at is null
            ) stop on true
        cross join lateral (
            select greatest(now() - make_interval(secs => a.hours * 3600), max(s.released_at)) as at from write_stops s
            where s.gid = d.gid and s.system = d.system and s.object = d.object) since
        where stop.key is not null or a.turns <= (
            select count(*) from deliveries w
            where w.gid = d.gid and w.system = d.system and w.object = d.object and w.key <> d.key
                and w.attempts > 0 and w.sent_at >= since.at)
        order by d.key
        """,
        {
            "keys": [one[0] for one in asked],
            "turns": [one[1] for one in asked],
            "hours": [one[2] for one in asked],
            "code": CODE,
        },
    )
    return [Suspect(**row) for row in rows]


def writes(tx: Tx, found: Sequence[Suspect]) -> dict[str, list[dict[str, Any]]]:
    """Return, by the key of the write to come, what was sent of its record before: key, at, heals; oldest first."""
    rows = tx.rows(
        """
        select a.key as next, w.key, w.sent_at as at,
            exists (select from regressions r where r.healed_by = w.key) as heals
        from unnest(%s::text[], %s::timestamptz[]) as a (key, since)
        join deliveries d on d.key = a.key
        join deliveries w on w.gid = d.gid and w.system = d.system and w.object = d.object and w.key <> d.key
            and w.attempts > 0 and w.sent_at >= a.since
        order by a.key, w.sent_at, w.sequence
        """,
        ([one.key for one in found], [one.since for one in found]),
    )
    together: dict[str, list[dict[str, Any]]] = {one.key: [] for one in found}
    for row in rows:
        together[row.pop("next")].append(row)
    return together


def healing(tx: Tx, keys: Sequence[str]) -> set[str]:
    """Return those of the writes that repeat the newest value because an older one stood over it."""
    rows = tx.rows("select distinct healed_by from regressions where healed_by = any(%s)", (list(keys),))
    return {row["healed_by"] for row in rows}


def words(tx: Tx, found: Sequence[Suspect]) -> dict[str, list[dict[str, Any]]]:
    """Return, by object, what was said of it since its turns are counted: number, at, system, mapping, decisions, by_person."""
    since: dict[str, datetime] = {}
    for one in found:
        since[one.gid] = min(one.since, since.get(one.gid, one.since))
    rows = tx.rows(
        """
        select c.gid, c.number, coalesce(i.received_at, c.created_at) as at, coalesce(c.system, '') as system,
            coalesce(c.mapping, '') as mapping, c.decisions,
            (c.message is null and c.actor <> 'hub')
                or exists (select from message_edits e where e.message = c.message) as by_person
        from unnest(%s::text[], %s::timestamptz[]) as a (gid, since)
        cross join lateral (
            select * from changes where gid = a.gid and created_at > a.since and (message is not null or actor <> 'hub')
            order by number desc limit %s) c
        left join inbox i on i.number = c.message
        order by c.gid, c.number
        """,
        (list(since), list(since.values()), MOST_WORDS),
    )
    together: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        together.setdefault(row["gid"], []).append(row)
    return together


def stop(tx: Tx, stops: Sequence[tuple[str, list[dict[str, Any]]]]) -> None:
    """Stop the records of writes that are not made: (key, turns of the circle)."""
    if stops:
        tx.run(
            """
            insert into write_stops (key, system, object, gid, turns)
            select d.key, d.system, d.object, d.gid, s.turns
            from unnest(%s::text[], %s::jsonb[]) as s (key, turns) join deliveries d on d.key = s.key order by d.key
            on conflict (system, object, gid) where released_at is null do nothing
            """,
            ([key for key, _ in stops], [json(turns) for _, turns in stops]),
        )


def release(tx: Tx, keys: Sequence[str]) -> None:
    """Let the records of writes a person has released be written again."""
    if keys:
        tx.run(
            """
            update write_stops s set released_at = now() from deliveries d
            where d.key = any(%s) and s.system = d.system and s.object = d.object and s.gid = d.gid
                and s.released_at is null
            """,
            (list(keys),),
        )


def listed(tx: Tx, limit: int = 200) -> list[dict[str, Any]]:
    """Return records that were stopped, those that still are first: number, key, system, object, gid, turns, state of the
    write that was not made, stopped_at, released_at."""
    return tx.rows(
        """
        select s.number, s.key, s.system, s.object, s.gid, s.turns, d.state, d.cause, s.created_at as stopped_at, s.released_at
        from write_stops s join deliveries d on d.key = s.key
        order by s.released_at desc nulls first, s.number desc limit %s
        """,
        (limit,),
    )
