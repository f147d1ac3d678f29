"""The effect ledger: an outbound write exists as a row with its own key before it is made; silence is a state."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trueup.store.database import Tx, json

Outcome = Literal["confirmed", "due", "unknown", "rejected", "parked"]


@dataclass(frozen=True, slots=True)
class Command:
    """What we ask of a system.

    key         deterministic, made from business keys: asking twice is asking once
    kind        the mapping is `kind -> system.object`
    source      what the mapping reads; None means the canonical object itself, as it is when we send
    depends_on  keys of deliveries that must be confirmed first
    latest      a newer command for the same object and purpose takes the place of an older one not yet sent
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


@dataclass(frozen=True, slots=True)
class Delivery:
    """One claimed delivery.

    found_out  True when an earlier attempt met silence: look before sending
    """

    key: str
    system: str
    object: str
    gid: str
    kind: str
    purpose: str
    source: dict[str, Any] | None
    dedupe: str
    state: str
    attempts: int
    fence: int
    body: dict[str, Any] | None
    body_digest: str | None
    external_id: str | None
    legal_entity: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How one attempt ended.

    wait  seconds until the next attempt, for due and unknown
    """

    key: str
    fence: int
    outcome: Outcome
    action: Literal["send", "find", "wait"]
    detail: str = ""
    code: str = ""
    external_id: str | None = None
    wait: float = 0.0
    took_ms: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


def ask(tx: Tx, commands: Sequence[Command]) -> list[str]:
    """Write commands into the ledger; return the keys that are new. Known keys stay as they are."""
    if not commands:
        return []
    once = {command.key: command for command in commands}
    rows = tx.rows(
        """
        insert into deliveries (key, system, object, gid, kind, purpose, dedupe, source, depends_on, priority, amount,
                                currency, process)
        select c.key, c.system, c.object, c.gid, c.kind, c.purpose, c.dedupe, c.source,
               coalesce(string_to_array(nullif(c.depends_on, ''), E'\\x1f'), '{}'), c.priority, c.amount, c.currency, c.process
        from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::jsonb[],
                    %s::text[], %s::int[], %s::bigint[], %s::text[], %s::text[])
            as c (key, system, object, gid, kind, purpose, dedupe, source, depends_on, priority, amount, currency, process)
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
    """Lease a batch: one delivery an object at a time, in order, whose forerunners are confirmed.

    A delivery that was being sent when its worker died comes back as one that met silence.
    """
    rows = tx.rows(
        """
        update deliveries set leased_by = %(worker)s, lease_until = now() + make_interval(secs => %(seconds)s),
            fence = fence + 1
        where key in (
            select key from (
                -- Each legal entity's deliveries by themselves: whose backlog is longest does not stand before others.
                select f.key, f.priority, f.sequence,
                    row_number() over (partition by f.legal_entity, f.priority order by f.sequence) as turn
                from (
                    with recursive whose as (
                        (select legal_entity from deliveries
                         where system = %(system)s and state in ('due', 'sending', 'unknown')
                         order by legal_entity limit 1)
                        union all
                        select (select n.legal_entity from deliveries n
                                where n.system = %(system)s and n.state in ('due', 'sending', 'unknown')
                                    and n.legal_entity > w.legal_entity
                                order by n.legal_entity limit 1)
                        from whose w where w.legal_entity is not null)
                    select legal_entity from whose where legal_entity is not null) entities
                cross join lateral (
                    select key, legal_entity, priority, sequence from deliveries d
                    where system = %(system)s and legal_entity = entities.legal_entity
                        and state in ('due', 'sending', 'unknown') and due_at <= now()
                        and (lease_until is null or lease_until < now())
                        and not exists (
                            select from deliveries e where e.system = d.system and e.gid = d.gid and e.object = d.object
                                and e.sequence < d.sequence and e.state in ('planned', 'due', 'sending', 'unknown'))
                        and not exists (
                            select from unnest(d.depends_on) as needed left join deliveries p on p.key = needed
                            where p.state is distinct from 'confirmed' and p.state is distinct from 'superseded')
                    order by priority, sequence limit %(limit)s for update skip locked) f) fair
            order by priority, turn, sequence limit %(limit)s)
        returning key, system, object, gid, kind, purpose, source, dedupe, state, attempts, fence, body, body_digest,
            external_id, legal_entity
        """,
        {"worker": worker, "seconds": seconds, "system": system, "limit": limit},
    )
    return [Delivery(**row) for row in rows]


def about_to_send(tx: Tx, made: Sequence[tuple[str, int, dict[str, Any], str, str, int, str | None]]) -> None:
    """Write down what will be sent before it is: (key, fence, body, digest, mapping, version, external id)."""
    tx.run(
        """
        update deliveries d set state = case when d.state = 'due' then 'sending' else d.state end, body = m.body,
            body_digest = m.digest, mapping = m.mapping, mapping_version = m.version,
            external_id = coalesce(m.external_id, d.external_id), attempts = d.attempts + 1, sent_at = now()
        from unnest(%s::text[], %s::bigint[], %s::jsonb[], %s::text[], %s::text[], %s::int[], %s::text[])
            as m (key, fence, body, digest, mapping, version, external_id)
        where d.key = m.key and d.fence = m.fence
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
    """Write how attempts ended; return the keys that were still ours to settle (an older lease changes nothing)."""
    if not results:
        return set()
    # In one order for everybody, and before attempts are counted: an older and a newer lease may speak at once.
    tx.run("select from deliveries where key = any(%s) order by key for update", ([r.key for r in results],))
    rows = tx.rows(
        """
        update deliveries d set state = r.outcome, outcome = r.outcome, cause = nullif(r.detail, ''),
            code = nullif(r.code, ''), external_id = coalesce(r.external_id, d.external_id), leased_by = null,
            lease_until = null, due_at = now() + make_interval(secs => r.wait),
            settled_at = case when r.outcome in ('confirmed', 'rejected', 'parked') then now() end
        from unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::float8[])
            as r (key, fence, outcome, detail, code, external_id, wait)
        where d.key = r.key and d.fence = r.fence and d.state in ('planned', 'due', 'sending', 'unknown')
        returning d.key
        """,
        (
            [r.key for r in results],
            [r.fence for r in results],
            [r.outcome for r in results],
            [r.detail[:1000] for r in results],
            [r.code[:100] for r in results],
            [r.external_id for r in results],
            [r.wait for r in results],
        ),
    )
    ours = {row["key"] for row in rows}
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
        where leased_by = %s and state in ('planned', 'due', 'sending', 'unknown')
        """,
        (worker,),
    )


def resend(tx: Tx, keys: Sequence[str]) -> int:
    """Open rejected or parked deliveries again, under the same keys."""
    return tx.run(
        """
        update deliveries set state = 'due', due_at = now(), settled_at = null, cause = null
        where key = any(%s) and state in ('rejected', 'parked')
        """,
        (list(keys),),
    )


def state_of(tx: Tx, key: str) -> str | None:
    """Return the state of one delivery, locked until the transaction ends; None when there is none of this key."""
    return tx.value("select state from deliveries where key = %s for update", (key,))  # type: ignore[no-any-return]


def open_count(tx: Tx) -> int:
    """Return how many deliveries are still to be made (rejected and parked ones wait for a person)."""
    return int(tx.value("select count(*) from deliveries where state in ('planned', 'due', 'sending', 'unknown')"))


def of(tx: Tx, gid: str) -> list[dict[str, Any]]:
    """Return every delivery about an object, oldest first."""
    return tx.rows("select * from deliveries where gid = %s order by sequence", (gid,))
