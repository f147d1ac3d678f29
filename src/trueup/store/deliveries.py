"""The effect ledger: an outbound write exists as a row with its own key before it is made; silence is a state."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trueup.store.database import Tx, json

Outcome = Literal["confirmed", "due", "unknown", "rejected", "parked", "landed", "processing"]
Claimed = Literal["due", "unknown", "landed", "processing"]
"""The states a claim may find: those of a delivery that is not settled and that nobody is sending."""
Action = Literal["send", "find", "wait", "ask", "read"]
"""What an attempt did: send it, look for it, wait without a call, ask after a job, read it in."""


@dataclass(frozen=True, slots=True)
class Command:
    """What we ask of a system.

    key         deterministic, made from business keys: asking twice is asking once
    kind        the mapping is `kind -> system.object`
    source      what the mapping reads; None means the canonical object itself, as it is when we send
    depends_on  keys of deliveries that must be confirmed first
    latest      a newer command for the same object and purpose takes the place of an older one not yet sent
    undoes      key of the delivery this one takes back: confirmed, it makes the other one compensated
    """

    key: str
    system: str
    object: str
    gid: str
    kind: str
    purpose: str
    dedupe: str
    source: dict[str, Any] | None = None
    depends_on: tuple[str, ...] = ()
    priority: int = 50
    amount: int | None = None
    currency: str | None = None
    process: str | None = None
    latest: bool = False
    undoes: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One claimed delivery. Every span of time is counted by the clock of the database, in seconds, up to the claim.

    attempts  how often it was sent
    round     with the key it makes the idempotency key: see `once`
    sent_for  since this round was sent first; None when it was not
    silent_for  since the last attempt ended in silence; None when it did not
    looks     how often it was looked for since then
    job       what the system calls the work it has accepted
    accepted_for  since it did
    code      of the last refusal
    """

    key: str
    system: str
    object: str
    gid: str
    kind: str
    purpose: str
    source: dict[str, Any] | None
    dedupe: str
    state: Claimed
    attempts: int
    fence: int
    body: dict[str, Any] | None
    body_digest: str | None
    external_id: str | None
    round: int = 1
    sent_for: float | None = None
    silent_for: float | None = None
    looks: int = 0
    job: str | None = None
    accepted_for: float | None = None
    legal_entity: str = ""
    code: str | None = None

    @property
    def once(self) -> str:
        """Return the idempotency key: made before the call, the same for each repetition, new after a refusal."""
        return f"{self.key}#{self.round}"


@dataclass(frozen=True, slots=True)
class Result:
    """How one attempt ended.

    wait   seconds until the next attempt, for due, unknown and processing
    job    what the system calls the work it has accepted
    anew   what is sent next is another call to the system: it gets an idempotency key of its own
    read_back  for confirmed: seconds after which an object written more than once is read again; None for never
    """

    key: str
    fence: int
    outcome: Outcome
    action: Action
    detail: str = ""
    code: str = ""
    external_id: str | None = None
    wait: float = 0.0
    took_ms: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    job: str | None = None
    anew: bool = False
    read_back: float | None = None


def ask(tx: Tx, commands: Sequence[Command]) -> list[str]:
    """Write commands into the ledger; return the keys that are new. Known keys stay as they are."""
    if not commands:
        return []
    once = {command.key: command for command in commands}
    rows = tx.rows(
        """
        insert into deliveries (key, system, object, gid, kind, purpose, dedupe, source, depends_on, priority, amount,
                                currency, process, undoes)
        select c.key, c.system, c.object, c.gid, c.kind, c.purpose, c.dedupe, c.source,
               coalesce(string_to_array(nullif(c.depends_on, ''), E'\\x1f'), '{}'), c.priority, c.amount, c.currency,
               c.process, c.undoes
        from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::jsonb[],
                    %s::text[], %s::int[], %s::bigint[], %s::text[], %s::text[], %s::text[])
            as c (key, system, object, gid, kind, purpose, dedupe, source, depends_on, priority, amount, currency, process,
                  undoes)
        on conflict (key) do nothing returning key
        """,
        (
            [c.key for c in once.values()],
            [c.system for c in once.values()],
            [c.object for c in once.values()],
            [c.gid for c in once.values()],
            [c.kind for c in once.values()],
            [c.purpose for c in once.values()],
            [c.dedupe for c in once.values()],
            [None if c.source is None else json(c.source) for c in once.values()],
            ["\x1f".join(c.depends_on) for c in once.values()],
            [c.priority for c in once.values()],
            [c.amount for c in once.values()],
            [c.currency for c in once.values()],
            [c.process for c in once.values()],
            [c.undoes for c in once.values()],
        ),
    )
    fresh = [row["key"] for row in rows]
    newest = [key for key in fresh if once[key].latest]
    if newest:
        tx.run(
            """
            update deliveries d set state = 'superseded', settled_at = now(), cause = 'a newer one took its place'
            from deliveries n
            where n.key = any(%s) and d.system = n.system and d.object = n.object and d.gid = n.gid
                and d.purpose = n.purpose and d.sequence < n.sequence
                and d.state in ('planned', 'due', 'parked') and d.attempts = 0
            """,
            (newest,),
        )
    return fresh


def claim(tx: Tx, system: str, limit: int, worker: str, seconds: float) -> list[Delivery]:
    """Lease a batch: what is due, one delivery an object at a time, in order, whose forerunners are confirmed; and
    what has left the house and whose end has to be found out, which waits for nobody.

    Nothing is sent for an object while it is open, or in doubt, how another write to it ended. A delivery that was
    being sent when its worker died comes back as one that met silence, from now on: until now it might have been sent.
    """
    rows = tx.rows(
        """
        update deliveries set leased_by = %(worker)s, lease_until = now() + make_interval(secs => %(seconds)s),
            fence = fence + 1,
            silent_at = case when state = 'sending' then now() else silent_at end,
            in_doubt = in_doubt or state = 'sending',
            looks = case when state = 'sending' then 0 else looks end,
            state = case when state = 'sending' then 'unknown' else state end
        where key in (
            select key from (
                -- Each legal entity's deliveries by themselves: whose backlog is longest does not stand before others.
                select f.key, f.priority, f.sequence,
                    row_number() over (partition by f.legal_entity, f.priority order by f.sequence) as turn
                from (
                    with recursive whose as (
                        (select legal_entity from deliveries
                         where system = %(system)s and state in ('due', 'sending', 'unknown', 'landed', 'processing')
                         order by legal_entity limit 1)
                        union all
                        select (select n.legal_entity from deliveries n
                                where n.system = %(system)s
                                    and n.state in ('due', 'sending', 'unknown', 'landed', 'processing')
                                    and n.legal_entity > w.legal_entity
                                order by n.legal_entity limit 1)
                        from whose w where w.legal_entity is not null)
                    select legal_entity from whose where legal_entity is not null) entities
                cross join lateral (
                    select key, legal_entity, priority, sequence from deliveries d
                    where system = %(system)s and legal_entity = entities.legal_entity
                        and state in ('due', 'sending', 'unknown', 'landed', 'processing') and due_at <= now()
                        and (lease_until is null or lease_until < now())
                        and (state <> 'due' or not exists (
                            select from deliveries e where e.system = d.system and e.gid = d.gid and e.object = d.object
                                and e.key <> d.key and (e.state in ('sending', 'unknown', 'landed', 'processing')
                                    or e.in_doubt or (e.sequence < d.sequence and e.state in ('planned', 'due')))))
                        and (state <> 'due' or not exists (
                            select from unnest(d.depends_on) as needed left join deliveries p on p.key = needed
                            where p.state is distinct from 'confirmed' and p.state is distinct from 'superseded'))
                    order by priority, sequence limit %(limit)s for update skip locked) f) fair
            order by priority, turn, sequence limit %(limit)s)
        returning key, system, object, gid, kind, purpose, source, dedupe, state, attempts, fence, body, body_digest,
            external_id, round, looks, job, extract(epoch from now() - first_sent_at)::float8 as sent_for,
            extract(epoch from now() - silent_at)::float8 as silent_for,
            extract(epoch from now() - accepted_at)::float8 as accepted_for, legal_entity, code
        """,
        {"worker": worker, "seconds": seconds, "system": system, "limit": limit},
    )
    return [Delivery(**row) for row in rows]


def about_to_send(tx: Tx, made: Sequence[tuple[str, int, dict[str, Any], str, str, int, str | None]]) -> None:
    """Write down what will be sent before it is: (key, fence, body, digest, mapping, version, external id).

    A body that met silence and is now sent with other content stays known: it may still arrive.
    """
    tx.run(
        """
        with m as (
            select * from unnest(%s::text[], %s::bigint[], %s::jsonb[], %s::text[], %s::text[], %s::int[], %s::text[])
                as m (key, fence, body, digest, mapping, version, external_id)
        ), kept as (
            insert into delivery_bodies (key, digest, body)
            select d.key, d.body_digest, d.body from m join deliveries d on d.key = m.key and d.fence = m.fence
            where d.in_doubt and d.body_digest <> m.digest
            on conflict do nothing
        )
        update deliveries d set state = 'sending', body = m.body, body_digest = m.digest, mapping = m.mapping,
            mapping_version = m.version, external_id = coalesce(m.external_id, d.external_id),
            attempts = d.attempts + 1, sent_at = now(), first_sent_at = coalesce(d.first_sent_at, now())
        from m where d.key = m.key and d.fence = m.fence
        """,
        (
            [m[0] for m in made],
            [m[1] for m in made],
            [json(m[2]) for m in made],
            [m[3] for m in made],
            [m[4] for m in made],
            [m[5] for m in made],
            [m[6] for m in made],
        ),
    )


def settle(tx: Tx, results: Sequence[Result]) -> set[str]:
    """Write how attempts ended; return the keys that were still ours to settle (an older lease changes nothing).

    The database refuses a way that `model.delivery.STEPS` does not have. What is confirmed and takes another delivery
    back makes that one compensated.
    """
    if not results:
        return set()
    # In one order for everybody, and before attempts are counted: an older and a newer lease may speak at once.
    tx.run("select from deliveries where key = any(%s) order by key for update", ([r.key for r in results],))
    rows = tx.rows(
        """
        update deliveries d set state = r.outcome, outcome = r.outcome, cause = nullif(r.detail, ''),
            code = nullif(r.code, ''), external_id = coalesce(r.external_id, d.external_id), leased_by = null,
            lease_until = null, due_at = now() + make_interval(secs => r.wait),
            settled_at = case when r.outcome in ('confirmed', 'rejected', 'parked') then now() end,
            in_doubt = case r.outcome when 'unknown' then true
                when 'parked' then d.in_doubt or d.state = 'processing' or (d.state = 'sending' and r.code = 'fault')
                else false end,
            -- A refusal is no silence: what is still open is what met silence before.
            silent_at = case when r.outcome = 'unknown' and (d.silent_at is null or (d.state <> 'unknown' and r.code = ''))
                             then now() else d.silent_at end,
            looks = case when r.outcome <> d.state then 0 when r.action in ('find', 'ask', 'read') then d.looks + 1
                         else d.looks end,
            job = case when r.anew then null else coalesce(r.job, d.job) end,
            accepted_at = case when r.outcome = 'processing' then coalesce(d.accepted_at, now())
                               when r.anew then null else d.accepted_at end,
            round = d.round + r.anew::int,
            first_sent_at = case when r.anew then null else d.first_sent_at end,
            read_back_at = case when r.outcome = 'confirmed' and r.read_back is not null and r.action <> 'wait' and (
                    exists (select from deliveries e where e.gid = d.gid and e.system = d.system and e.object = d.object
                        and e.key <> d.key and e.attempts > 0)
                    or exists (select from delivery_bodies b where b.key = d.key))
                then now() + make_interval(secs => r.read_back) end
        from unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::float8[], %s::text[],
                    %s::text[], %s::bool[], %s::float8[])
            as r (key, fence, outcome, detail, code, external_id, wait, action, job, anew, read_back)
        where d.key = r.key and d.fence = r.fence
            and d.state in ('planned', 'due', 'sending', 'unknown', 'landed', 'processing')
        returning d.key, d.undoes, d.state
        """,
        (
            [r.key for r in results],
            [r.fence for r in results],
            [r.outcome for r in results],
            [r.detail[:1000] for r in results],
            [r.code[:100] for r in results],
            [r.external_id for r in results],
            [float(r.wait) for r in results],
            [r.action for r in results],
            [r.job for r in results],
            [r.anew for r in results],
            [None if r.read_back is None else float(r.read_back) for r in results],
        ),
    )
    ours = {row["key"] for row in rows}
    undone = [row["undoes"] for row in rows if row["undoes"] and row["state"] == "confirmed"]
    if undone:
        tx.run(
            """
            update deliveries set state = 'compensated', settled_at = now(), read_back_at = null
            where key = any(%s) and state = 'confirmed'
            """,
            (undone,),
        )
    tx.run(
        """
        insert into delivery_attempts (key, attempt, action, outcome, detail, took_ms)
        select r.key, coalesce((select max(attempt) from delivery_attempts a where a.key = r.key), 0) + 1, r.action,
               r.outcome, nullif(r.detail, ''), r.took_ms
        from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::int[]) as r (key, action, outcome, detail, took_ms)
        """,
        (
            [r.key for r in results if r.action != "wait"],
            [r.action for r in results if r.action != "wait"],
            [r.outcome for r in results if r.action != "wait"],
            [r.detail[:1000] for r in results if r.action != "wait"],
            [r.took_ms for r in results if r.action != "wait"],
        ),
    )
    return ours


def release(tx: Tx, worker: str) -> int:
    """Take back the leases of a worker that is gone; what it was sending comes back as silence, and is looked for."""
    return tx.run(
        """
        update deliveries set leased_by = null, lease_until = null
        where leased_by = %s and state in ('planned', 'due', 'sending', 'unknown', 'landed', 'processing')
        """,
        (worker,),
    )


def resend(tx: Tx, keys: Sequence[str]) -> int:
    """Open rejected or parked deliveries again, under the same keys: a person has removed the cause, or has looked.

    To the system it is another call: under the idempotency key of the refused one it would hear the old answer.
    """
    return tx.run(
        """
        update deliveries set state = 'due', due_at = now(), settled_at = null, cause = null, in_doubt = false,
            round = round + 1, first_sent_at = null, job = null, accepted_at = null
        where key = any(%s) and state in ('rejected', 'parked')
        """,
        (list(keys),),
    )


def landed(tx: Tx, key: str, external_id: str) -> bool:
    """Take a person's word that a parked delivery is there, under this identifier; it is read in next."""
    return bool(
        tx.run(
            """
            update deliveries set state = 'landed', external_id = %s, due_at = now(), settled_at = null, in_doubt = false,
                cause = 'a person found it'
            where key = %s and state = 'parked'
            """,
            (external_id, key),
        )
    )


def let_go(tx: Tx, keys: Sequence[str], cause: str) -> list[str]:
    """Give up what was not sent, or refused; return the keys it was done to. What is in doubt is not given up."""
    rows = tx.rows(
        """
        update deliveries set state = 'superseded', settled_at = now(), cause = %s
        where key = any(%s) and state in ('planned', 'due', 'rejected', 'parked') and not in_doubt
        returning key
        """,
        (cause, list(keys)),
    )
    return sorted(row["key"] for row in rows)


@dataclass(frozen=True, slots=True)
class Standing:
    """A confirmed delivery that is to be read back, and what was sent for its object before.

    older  (key, body) of every other write of the object that may have been applied, the newest first
    """

    key: str
    object: str
    external_id: str
    body: dict[str, Any]
    older: tuple[tuple[str, dict[str, Any]], ...]


def to_read_back(tx: Tx, system: str, limit: int, seconds: float) -> list[Standing]:
    """Return confirmed deliveries whose object is to be read again; they come again after so many seconds if nothing
    is said about them. Only the newest of an object is read back: what came before it is what must not stand. While a
    newer one is on its way they wait, for it may come to nothing."""
    tx.run(
        """
        update deliveries d set read_back_at = null
        where system = %s and read_back_at <= now() and (state <> 'confirmed' or exists (
            select from deliveries n where n.system = d.system and n.object = d.object and n.gid = d.gid
                and n.sequence > d.sequence and n.attempts > 0 and n.state = 'confirmed'))
        """,
        (system,),
    )
    rows = tx.rows(
        """
        update deliveries set read_back_at = now() + make_interval(secs => %(seconds)s)
        where key in (
            select key from deliveries d where system = %(system)s and read_back_at <= now() and state = 'confirmed'
                and not exists (
                    select from deliveries n where n.system = d.system and n.object = d.object and n.gid = d.gid
                        and n.sequence > d.sequence and n.state in ('sending', 'unknown', 'landed', 'processing'))
            order by read_back_at limit %(limit)s for update skip locked)
        returning key, object, gid, external_id, body
        """,
        {"system": system, "limit": limit, "seconds": seconds},
    )
    return [
        Standing(row["key"], row["object"], row["external_id"], row["body"], _older(tx, system, row))
        for row in rows
        if row["external_id"] and row["body"]
    ]


def _older(tx: Tx, system: str, row: dict[str, Any]) -> tuple[tuple[str, dict[str, Any]], ...]:
    found = tx.rows(
        """
        select o.key, b.body from deliveries o
        cross join lateral (
            select body, o.sent_at as at where o.key <> %(key)s and o.body is not null and o.state <> 'rejected'
            union all select body, created_at from delivery_bodies where key = o.key) b
        where o.system = %(system)s and o.object = %(object)s and o.gid = %(gid)s and o.attempts > 0
        order by o.sequence desc, b.at desc limit 20
        """,
        {"system": system, "object": row["object"], "gid": row["gid"], "key": row["key"]},
    )
    return tuple((one["key"], one["body"]) for one in found)


def stands(tx: Tx, key: str, detail: str) -> None:
    """Note that an object was read back, and that no older value stands over what was confirmed."""
    tx.run("update deliveries set read_back_at = null where key = %s", (key,))
    _noted(tx, key, detail)


def _noted(tx: Tx, key: str, detail: str) -> None:
    tx.run(
        """
        insert into delivery_attempts (key, attempt, action, outcome, detail)
        select %(key)s, coalesce(max(attempt), 0) + 1, 'read', 'confirmed', %(detail)s
        from delivery_attempts where key = %(key)s
        """,
        {"key": key, "detail": detail[:1000]},
    )


def regressed(tx: Tx, key: str, older: str, fields: Sequence[dict[str, str]]) -> str | None:
    """Note that an older value stands over a newer one, and ask for the newest again; return the key of that delivery.

    fields   path, ours, theirs
    Returns  None when a newer write is under way, or was made in the meantime
    """
    row = tx.row("select * from deliveries where key = %s for update", (key,))
    if row is None or row["state"] != "confirmed":
        return None
    newer = tx.text(
        """
        select case when bool_or(state = 'confirmed') then 'sent' else 'under way' end from deliveries
        where system = %(system)s and object = %(object)s and gid = %(gid)s and sequence > %(sequence)s
            and (state in ('planned', 'due', 'sending', 'unknown', 'landed', 'processing')
                or (state = 'confirmed' and attempts > 0))
        having count(*) > 0
        """,
        row,
    )
    if newer == "under way":  # it heals what we saw; should it come to nothing, we look again
        return None
    tx.run("update deliveries set read_back_at = null where key = %s", (key,))
    if newer == "sent":
        return None
    count = int(tx.value("select count(*) from regressions where key = %s", (key,)))
    healing = f"{key}/again#{count + 1}"
    ask(
        tx,
        [
            Command(
                healing, row["system"], row["object"], row["gid"], row["kind"], row["purpose"], row["dedupe"],
                source=row["source"], priority=row["priority"], amount=row["amount"], currency=row["currency"],
                process=row["process"],
            )
        ],
    )  # fmt: skip
    tx.run(
        "insert into regressions (key, older, external_id, fields, healed_by) values (%s, %s, %s, %s, %s)",
        (key, older, row["external_id"], json(list(fields)), healing),
    )
    _noted(tx, key, f"an older value stands over it again, that of {older}; {healing} sends the newest once more")
    return healing


def regressions(tx: Tx, limit: int = 200) -> list[dict[str, Any]]:
    """Return the older values that stood over newer ones, the latest first, and whether they are healed."""
    return tx.rows(
        """
        select r.number, d.system, d.object, d.gid, r.external_id, r.key, r.older, r.fields, r.healed_by,
            h.state as healing, r.created_at as seen_at, h.settled_at as healed_at
        from regressions r join deliveries d on d.key = r.key join deliveries h on h.key = r.healed_by
        order by r.number desc limit %s
        """,
        (limit,),
    )


def open_questions(tx: Tx, limit: int = 200) -> list[dict[str, Any]]:
    """Return what has left the house and whose end is open, or in doubt, oldest first.

    rows  key, system, object, gid, kind, state, cause, amount, currency, silent_for and next_look (seconds; the latter
          None when a person has to look)
    """
    return tx.rows(
        """
        select key, system, object, gid, kind, state, cause, amount, currency, attempts, looks,
            extract(epoch from now() - coalesce(silent_at, sent_at))::float8 as silent_for,
            case when state <> 'parked' then greatest(extract(epoch from due_at - now()), 0)::float8 end as next_look
        from deliveries where state in ('sending', 'unknown', 'landed', 'processing') or in_doubt
        order by sequence limit %s
        """,
        (limit,),
    )


def of_process(tx: Tx, process: str) -> list[dict[str, Any]]:
    """Return, locked, every delivery of a process, and all that were to follow one of them; in the order asked."""
    return tx.rows(
        """
        with recursive mine as (
            select key from deliveries where process = %s
            union select d.key from deliveries d join mine m on d.depends_on @> array[m.key]
        )
        select * from deliveries where key in (select key from mine) order by sequence for update
        """,
        (process,),
    )


def half_done(tx: Tx, limit: int = 200) -> list[dict[str, Any]]:
    """Return processes of which one system has something and another will not have the rest without a person.

    rows  process, made, stuck, waiting (counts), systems that have it, what was said, since when
    """
    return tx.rows(
        """
        select process, count(*) filter (where state = 'confirmed') as made,
            count(*) filter (where state in ('rejected', 'parked')) as stuck,
            count(*) filter (where state in ('planned', 'due', 'sending', 'unknown', 'landed', 'processing')) as waiting,
            array_agg(distinct system) filter (where state = 'confirmed') as systems,
            min(coalesce(cause, code)) filter (where state in ('rejected', 'parked')) as cause,
            min(settled_at) filter (where state in ('rejected', 'parked')) as since
        from deliveries where process is not null
        group by process
        having bool_or(state = 'confirmed' and attempts > 0) and bool_or(state in ('rejected', 'parked'))
        order by since, process limit %s
        """,
        (limit,),
    )


def counts(tx: Tx) -> dict[str, int]:
    """Return how many deliveries are in each state."""
    rows = tx.rows("select state, count(*) as count from deliveries group by state order by state")
    return {row["state"]: row["count"] for row in rows}


def state_of(tx: Tx, key: str) -> str | None:
    """Return the state of one delivery, locked until the transaction ends; None when there is none of this key."""
    return tx.text("select state from deliveries where key = %s for update", (key,))


def open_count(tx: Tx) -> int:
    """Return how many deliveries are still to be made (rejected and parked ones wait for a person)."""
    return int(
        tx.value(
            """
            select count(*) from deliveries
            where state in ('planned', 'due', 'sending', 'unknown', 'landed', 'processing')
            """
        )
    )


def of(tx: Tx, gid: str) -> list[dict[str, Any]]:
    """Return every delivery about an object, oldest first."""
    return tx.rows("select * from deliveries where gid = %s order by sequence", (gid,))
