"""What came in: kept once, claimed by batches, settled with a reason."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trueup.store.database import Tx, array, byte_strings, json, plain_json, whole_numbers

Origin = Literal["webhook", "poll", "fetch", "api", "replay", "edit"]
Lane = Literal["notice", "master", "volume"]
State = Literal["applied", "superseded", "ignored", "quarantined", "waiting"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One record or notice as it came.

    headers  of the call it came with, those worth keeping
    """

    object: str
    external_id: str
    stamp: str
    body: bytes
    deleted: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One kept message, claimed for work."""

    number: int
    system: str
    object: str
    external_id: str
    stamp: str
    body: bytes
    deleted: bool
    attempts: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a message ended, or what it waits for.

    waits_for  crosswalk keys `system/object/external id` that must become known first
    """

    number: int
    state: State
    reason: str | None = None
    rule: str | None = None
    problems: list[dict[str, str]] | None = None
    waits_for: list[str] | None = None
    gid: str | None = None
    mapping: str | None = None
    mapping_version: int | None = None


def keep(
    tx: Tx,
    system: str,
    arrivals: Sequence[Arrival],
    *,
    origin: Origin,
    lane: Lane,
) -> list[int]:
    """Keep each arrival once; return the numbers of those we did not have. A duplicate is counted, not stored."""
    once: dict[tuple[str, str, str, bytes], list[Arrival]] = {}
    for arrival in arrivals:
        digest = hashlib.sha256(arrival.body).digest()
        once.setdefault((arrival.object, arrival.external_id, arrival.stamp, digest), []).append(arrival)
    rows = tx.rows(
        """
        insert into inbox (system, object, external_id, stamp, digest, body, deleted, duplicates, origin, lane, headers)
        select %(system)s, a.object, a.external_id, a.stamp, a.digest, a.body, a.deleted, a.times - 1, %(origin)s,
            %(lane)s, a.headers::jsonb
        from unnest(%(objects)s::text[], %(ids)s::text[], %(stamps)s::text[], %(digests)s::bytea[], %(bodies)s::bytea[],
                    %(deleted)s::bool[], %(times)s::int[], %(headers)s::text[])
            as a (object, external_id, stamp, digest, body, deleted, times, headers)
        on conflict on constraint inbox_kept_once
        do update set duplicates = inbox.duplicates + excluded.duplicates + 1
        returning number, (xmax = 0) as fresh
        """,
        {
            "system": system,
            "origin": origin,
            "lane": lane,
            "objects": array(key[0] for key in once),
            "ids": array(key[1] for key in once),
            "stamps": array(key[2] for key in once),
            "digests": byte_strings(key[3] for key in once),
            "bodies": byte_strings(same[0].body for same in once.values()),
            "deleted": [same[0].deleted for same in once.values()],
            "times": whole_numbers(len(same) for same in once.values()),
            "headers": array(plain_json(said) if (said := same[0].headers) else "{}" for same in once.values()),
        },
    )
    return [row["number"] for row in rows if row["fresh"]]


def restore(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put messages of another database's inbox here under the numbers they had there, open, with its digests.

    rows  number, system, object, external_id, stamp, digest (bytes), body (bytes), headers, origin, lane, deleted
    """
    tx.many(
        """
        insert into inbox (number, system, object, external_id, stamp, digest, body, headers, origin, lane, deleted)
        overriding system value
        values (%(number)s, %(system)s, %(object)s, %(external_id)s, %(stamp)s, %(digest)s, %(body)s, %(headers)s,
                %(origin)s, %(lane)s, %(deleted)s)
        """,
        [{**row, "headers": json(row["headers"])} for row in rows],
    )


def claim(tx: Tx, lane: Lane, limit: int) -> list[Message]:
    """Lock a batch of open messages until this transaction ends; other workers pass over them."""
    rows = tx.tuples(
        """
        select number, system, object, external_id, stamp, body, deleted, attempts from inbox
        where state = 'pending' and lane = %s and due_at <= now() and (lease_until is null or lease_until < now())
        order by number limit %s for update skip locked
        """,
        (lane, limit),
    )
    return [Message(*row) for row in rows]


def lease(tx: Tx, lane: Lane, limit: int, worker: str, seconds: float) -> list[Message]:
    """Claim a batch for work that leaves the transaction (a call to a vendor); the lease is on the database's clock."""
    rows = tx.rows(
        """
        update inbox set leased_by = %(worker)s, lease_until = now() + make_interval(secs => %(seconds)s),
            attempts = attempts + 1
        where number in (
            select number from inbox
            where state = 'pending' and lane = %(lane)s and due_at <= now() and (lease_until is null or lease_until < now())
            order by number limit %(limit)s for update skip locked)
        returning number, system, object, external_id, stamp, body, deleted, attempts
        """,
        {"worker": worker, "seconds": seconds, "lane": lane, "limit": limit},
    )
    return sorted((Message(**row) for row in rows), key=lambda message: message.number)


def defer(tx: Tx, numbers: Sequence[int], seconds: float, reason: str) -> None:
    """Give leased messages back, to be tried again later."""
    tx.run(
        """
        update inbox set leased_by = null, lease_until = null, reason = %s,
            due_at = now() + make_interval(secs => %s)
        where number = any(%s) and state = 'pending'
        """,
        (reason, seconds, list(numbers)),
    )


def release(tx: Tx, worker: str) -> int:
    """Take back the leases of a worker that is gone."""
    return tx.run(
        "update inbox set leased_by = null, lease_until = null where leased_by = %s and state = 'pending'", (worker,)
    )


def settle(tx: Tx, settlements: Sequence[Settlement]) -> None:
    """Write how messages ended."""
    if not settlements:
        return
    tx.run(
        """
        update inbox set state = s.state, reason = s.reason, rule = s.rule, problems = s.problems,
            waits_for = case when s.waits_for is null then null else string_to_array(s.waits_for, E'\\x1f') end,
            gid = coalesce(s.gid, inbox.gid), mapping = s.mapping, mapping_version = s.mapping_version,
            leased_by = null, lease_until = null, settled_at = now()
        from unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::jsonb[], %s::text[], %s::text[], %s::text[],
                    %s::int[]) as s (number, state, reason, rule, problems, waits_for, gid, mapping, mapping_version)
        where inbox.number = s.number
        """,
        (
            whole_numbers(s.number for s in settlements),
            array(s.state for s in settlements),
            array(s.reason for s in settlements),
            array(s.rule for s in settlements),
            array(None if s.problems is None else plain_json(s.problems) for s in settlements),
            array(None if s.waits_for is None else "\x1f".join(s.waits_for) for s in settlements),
            array(s.gid for s in settlements),
            array(s.mapping for s in settlements),
            whole_numbers(s.mapping_version for s in settlements),
        ),
    )


def overtake(tx: Tx, numbers: Sequence[int]) -> int:
    """End what older words of a record wait for or lie in quarantine with: records are whole, the newest word counts.

    numbers  messages that have just been judged
    Returns  how many messages ended
    """
    return tx.run(
        """
        update inbox set state = 'superseded', settled_at = now(), waits_for = null,
            reason = 'a newer word of this record has come in: message ' || pair.newer
        from (
            select distinct on (older.number) older.number, newer.number as newer
            from inbox judged
            join inbox older using (system, object, external_id)
            join inbox newer using (system, object, external_id)
            where judged.number = any(%s) and external_id <> ''
                and older.lane <> 'notice' and older.state in ('quarantined', 'waiting')
                and newer.lane <> 'notice' and newer.state not in ('pending', 'superseded')
                and (newer.stamp, newer.number) > (older.stamp, older.number)
            order by older.number, newer.stamp desc, newer.number desc) as pair
        where inbox.number = pair.number
        """,
        (list(numbers),),
    )


def judge_again(tx: Tx, mapping: str, version: int) -> int:
    """Put back what another version of a mapping could not use: with this one it may fit."""
    return tx.run(
        """
        update inbox set state = 'pending', due_at = now(), attempts = 0
        where state = 'quarantined' and mapping = %s and mapping_version <> %s
        """,
        (mapping, version),
    )


def wake(tx: Tx, keys: Sequence[str]) -> int:
    """Open the messages that waited for one of these crosswalk keys."""
    if not keys:
        return 0
    return tx.run(
        "update inbox set state = 'pending', due_at = now() where state = 'waiting' and waits_for && %s::text[]",
        (array(keys),),
    )


def wake_missed(tx: Tx) -> int:
    """Open waiting messages whose key became known while they were being put down; two transactions can miss each other."""
    return tx.run(
        """
        update inbox set state = 'pending', due_at = now()
        where state = 'waiting' and exists (
            select from unnest(waits_for) as key
            join crosswalk on crosswalk.system in (split_part(key, '/', 1), '*') and crosswalk.object = split_part(key, '/', 2)
                and crosswalk.external_id = substr(key, length(split_part(key, '/', 1)) + length(split_part(key, '/', 2)) + 3))
        """
    )


def open_count(tx: Tx) -> int:
    """Return how many messages are still to be worked on (waiting ones wait for somebody else)."""
    return int(tx.value("select count(*) from inbox where state = 'pending'"))


def refuse_call(tx: Tx, system: str, reason: str, size: int) -> None:
    """Count a call that was not believed; its body is not kept."""
    tx.run("insert into refused_calls (system, reason, bytes) values (%s, %s, %s)", (system, reason[:200], size))


def message(tx: Tx, number: int) -> dict[str, Any] | None:
    """Return one message whole, raw bytes included."""
    return tx.row("select * from inbox where number = %s", (number,))


def known(tx: Tx, numbers: Sequence[int]) -> set[int]:
    """Return those of the numbers that are messages of ours."""
    return {row["number"] for row in tx.rows("select number from inbox where number = any(%s)", (list(numbers),))}


def reopen(tx: Tx, numbers: Sequence[int]) -> int:
    """Put settled or quarantined messages back into the queue, to be judged again by today's mappings."""
    return tx.run(
        "update inbox set state = 'pending', due_at = now(), attempts = 0 where number = any(%s) and state <> 'pending'",
        (list(numbers),),
    )


def note_edit(
    tx: Tx, message: int, original: int, plan: int, changes: Sequence[Mapping[str, Any]], *, reason: str, by: str,
    agreed_by: str,
) -> None:  # fmt: skip
    """Write down who made a message out of another one, by which changes (field, before, after), and why."""
    tx.run(
        """
        insert into message_edits (message, original, plan, changes, reason, edited_by, agreed_by)
        values (%s, %s, %s, %s, %s, %s, %s)
        """,
        (message, original, plan, json(list(changes)), reason, by, agreed_by),
    )


def edits_of(tx: Tx, number: int) -> list[dict[str, Any]]:
    """Return the edits a message was made by or made into, the oldest first."""
    return tx.rows(
        """
        select message, original, plan, changes, reason, edited_by, agreed_by, created_at from message_edits
        where %(number)s in (message, original) order by message
        """,
        {"number": number},
    )
