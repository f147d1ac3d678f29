"""What does not progress: the alarm for work that looks healthy in every list and yet stands still.

Every finding is named, with since when and what to do. Work that waits for a person or for a system that is away is no
finding: it is shown as what it is, elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from trueup import engine
from trueup.store.database import Tx

Kind = Literal["process", "message", "delivery", "cursor", "lease", "worker"]
LIMITS: Mapping[Kind, float] = {
    "process": 600.0,
    "message": 300.0,
    "delivery": 300.0,
    "cursor": 1800.0,
    "lease": 60.0,
    "worker": 60.0,
}
"""Seconds after which a thing that should move, and does not, is named."""
MOST = 200


@dataclass(frozen=True, slots=True)
class Stall:
    """One thing that does not progress.

    key     its name: process id, message number, delivery key, system/object, or executor
    system  the system it concerns; None for none
    since   when it moved last
    advice  what to do, for an operator
    """

    kind: Kind
    key: str
    system: str | None
    sentence: str
    since: datetime
    advice: str


def stalled(tx: Tx, limits: Mapping[Kind, float] = LIMITS) -> tuple[Stall, ...]:
    """Return everything that does not progress, what stands still longest first.

    limits  seconds per kind
    """
    found = [
        *_processes(tx, limits["process"]),
        *_messages(tx, limits["message"]),
        *_deliveries(tx, limits["delivery"]),
        *_cursors(tx, limits["cursor"]),
        *_leases(tx, limits["lease"]),
        *_workers(tx, limits["worker"]),
    ]
    return tuple(sorted(found, key=lambda one: one.since))


def _processes(tx: Tx, seconds: float) -> list[Stall]:
    """Return processes that have not begun or ended a step for so long, and that no open hold keeps."""
    return [
        Stall(
            "process",
            row["process"],
            None,
            f"{row['name'].replace('_', ' ')} is {_standing(row['status'])} and has done nothing for so long",
            row["moved_at"],
            f"no worker runs version {row['version']}: start one" if row["version"] != engine.VERSION
            else "look whether a worker lives (trueup status); a worker that hangs is restarted, its work goes on",
        )
        for row in engine.standing_still(tx, seconds, MOST)
    ]  # fmt: skip


def _standing(status: str) -> str:
    return {"ENQUEUED": "queued", "PENDING": "under way", "DELAYED": "put off"}.get(status, status.lower())


def _due(row: Mapping[str, Any], noun: str) -> str:
    one = row["count"] == 1
    return f"{row['count']:,} {noun if one else noun + 's'} of {row['object']} {'is' if one else 'are'} due"


def _messages(tx: Tx, seconds: float) -> list[Stall]:
    rows = tx.rows(
        """
        select lane, system, object, count(*) as count, min(number) as first,
            min(greatest(received_at, due_at)) as since
        from inbox
        where state = 'pending' and greatest(received_at, due_at) < now() - make_interval(secs => %s)
            and (lease_until is null or lease_until < now())
        group by lane, system, object order by since limit %s
        """,
        (seconds, MOST),
    )
    return [
        Stall(
            "message",
            str(row["first"]),
            row["system"],
            f"{_due(row, 'message')} in the {row['lane']} lane, and nobody takes in what came from message {row['first']} on",
            row["since"],
            "look whether a worker lives (trueup status); if one does, its log names what the lane stumbles over",
        )
        for row in rows
    ]


def _deliveries(tx: Tx, seconds: float) -> list[Stall]:
    """Return writes that are due although their system is up and nothing they depend on is open."""
    rows = tx.rows(
        """
        select d.system, d.object, count(*) as count, min(d.due_at) as since,
            (array_agg(d.key order by d.due_at))[1] as first
        from deliveries d left join systems s on s.system = d.system
        where d.state in ('due', 'sending', 'unknown', 'landed', 'processing')
            and d.due_at < now() - make_interval(secs => %s)
            and (d.lease_until is null or d.lease_until < now())
            and coalesce(s.paused_until, '-infinity') < now()
            and (s.last_error_at is null or s.last_error_at <= coalesce(s.last_ok_at, '-infinity'))
            and not exists (
                select from unnest(d.depends_on) as needed left join deliveries p on p.key = needed
                where p.state is distinct from 'confirmed' and p.state is distinct from 'superseded')
            and not exists (
                select from deliveries e where e.system = d.system and e.gid = d.gid and e.object = d.object
                    and e.key <> d.key and (e.state in ('sending', 'unknown', 'landed', 'processing') or e.in_doubt
                        or (e.sequence < d.sequence and e.state in ('planned', 'due'))))
        group by d.system, d.object order by since limit %s
        """,
        (seconds, MOST),
    )
    return [
        Stall(
            "delivery",
            row["first"],
            row["system"],
            f"{_due(row, 'write')}, {row['system']} answers, and nobody sends",
            row["since"],
            "look whether a worker lives that delivers to this system (trueup status)",
        )
        for row in rows
    ]


def _cursors(tx: Tx, seconds: float) -> list[Stall]:
    """Return objects that nobody reads any more although their system answers."""
    rows = tx.rows(
        """
        select c.system, c.object, c.read_at as since from cursors c join systems s on s.system = c.system
        where c.read_at < now() - make_interval(secs => %s) and coalesce(s.paused_until, '-infinity') < now()
            and (s.last_error_at is null or s.last_error_at <= coalesce(s.last_ok_at, '-infinity'))
        order by c.read_at limit %s
        """,
        (seconds, MOST),
    )
    return [
        Stall(
            "cursor",
            f"{row['system']}/{row['object']}",
            row["system"],
            f"{row['object']} has not been read although {row['system']} gave no error",
            row["since"],
            "look whether a worker lives that polls this system (trueup status)",
        )
        for row in rows
    ]


def _leases(tx: Tx, seconds: float) -> list[Stall]:
    """Return leases whose worker was buried, or is silent: the reaper should have taken them back."""
    rows = tx.rows(
        """
        with held as (
            select leased_by, 'deliveries' as what, system, count(*) as count from deliveries
            where leased_by is not null and lease_until > now() group by 1, 2, 3
            union all
            select leased_by, 'messages', system, count(*) from inbox
            where leased_by is not null and lease_until > now() group by 1, 2, 3
        )
        select h.*, coalesce(e.ended_at, e.beat_at, now() - make_interval(secs => %(seconds)s)) as since
        from held h left join executors e on e.executor = h.leased_by
        where e.executor is null or e.ended_at < now() - make_interval(secs => %(seconds)s)
            or e.beat_at < now() - make_interval(secs => %(seconds)s)
        order by 5 limit %(most)s
        """,
        {"seconds": seconds, "most": MOST},
    )
    return [
        Stall(
            "lease",
            row["leased_by"],
            row["system"],
            f"{row['count']:,} {row['what']} of {row['system']} are leased by {row['leased_by']}, who is gone",
            row["since"],
            "start a worker: it takes over what the dead left within half a minute",
        )
        for row in rows
    ]


def _workers(tx: Tx, seconds: float) -> list[Stall]:
    """Return workers that hold their lock and say nothing: stopped or hanging, and nobody may take their work."""
    rows = tx.rows(
        """
        select e.executor, e.host, e.pid, e.beat_at as since from executors e
        where e.ended_at is null and e.beat_at < now() - make_interval(secs => %s)
            and exists (select from pg_locks l where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                and ((l.classid::bigint << 32) | l.objid::bigint) = e.lock)
        order by e.beat_at limit %s
        """,
        (seconds, MOST),
    )
    return [
        Stall(
            "worker",
            row["executor"],
            None,
            f"worker {row['pid']} on {row['host']} is connected and silent: it hangs, or was stopped",
            row["since"],
            "end it: others take its work over within half a minute",
        )
        for row in rows
    ]
