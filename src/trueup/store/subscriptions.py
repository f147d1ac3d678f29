"""Events on their way to subscribers: read from the log below the watermark, leased in lots, settled in lots."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trueup.store.database import Found, Tx, array

Outcome = Literal["told", "due", "failed"]


@dataclass(frozen=True, slots=True)
class Sending:
    """One event leased for one subscriber, with what it says.

    attempts  counts this one
    row       the event: number, name, subject, kind, data, message, created_at
    """

    subscription: str
    attempts: int
    row: Found


@dataclass(frozen=True, slots=True)
class Told:
    """How one attempt ended.

    status  of the subscriber's answer; None when there was none
    wait    seconds until the next attempt, for due
    """

    subscription: str
    event: int
    attempts: int
    outcome: Outcome
    status: int | None
    detail: str = ""
    wait: float = 0.0


def register(tx: Tx, names: Sequence[str]) -> None:
    """Make subscriptions known; a new one is told of what happens from now on."""
    tx.run(
        """
        insert into subscriptions (subscription, read_transaction, read_number)
        select name, pg_snapshot_xmin(pg_current_snapshot()), 0 from unnest(%s::text[]) as name
        on conflict (subscription) do nothing
        """,
        (array(sorted(names)),),
    )


def claim(
    tx: Tx, subscription: str, limit: int, worker: str, seconds: float, names: Sequence[str], *, ordered: bool
) -> list[Sending]:
    """Lease what is due again, then what is new in the log; nobody else reads this subscription's log meanwhile.

    names    of events that were asked for; none asks for all
    ordered  an event waits until those before it about the same object are told
    """
    open_ = tx.value(
        """
        select true from subscriptions where subscription = %s and state = 'active'
            and (paused_until is null or paused_until <= now()) for update skip locked
        """,
        (subscription,),
    )
    if not open_:
        return []
    # After misses one call at a time asks whether the subscriber is back.
    misses = tx.value("select misses from subscriptions where subscription = %s", (subscription,))
    wanted = {
        "subscription": subscription, "limit": 1 if misses else limit, "worker": worker, "seconds": seconds,
        "names": array(names), "all": not names, "ordered": ordered,
    }  # fmt: skip
    room = limit - tx.value(
        "select count(*) from (select from sendings where subscription = %(subscription)s and state = 'due' limit %(limit)s) s",
        {"subscription": subscription, "limit": limit},
    )
    if room > 0:
        tx.run(_READ, {**wanted, "limit": room})
    rows = tx.rows(_LEASE, wanted)
    return [Sending(subscription, row.pop("attempts"), row) for row in sorted(rows, key=lambda row: row["sequence"])]


_READ = """
    with seen as (
        select e.transaction, e.number, e.subject, %(all)s or e.name = any(%(names)s::text[]) as wanted
        from events e join subscriptions s on s.subscription = %(subscription)s
        where (e.transaction, e.number) > (s.read_transaction, s.read_number)
            and e.transaction < pg_snapshot_xmin(pg_current_snapshot())
        order by e.transaction, e.number limit %(limit)s
    ), kept as (
        insert into sendings (subscription, event, subject)
        select %(subscription)s, number, subject from seen where wanted order by transaction, number
        on conflict do nothing
    )
    update subscriptions s set read_transaction = last.transaction, read_number = last.number
    from (select transaction, number from seen order by transaction desc, number desc limit 1) last
    where s.subscription = %(subscription)s
"""
_LEASE = """
    with taken as (
        update sendings set leased_by = %(worker)s, lease_until = now() + make_interval(secs => %(seconds)s),
            attempts = attempts + 1
        where (subscription, event) in (
            select subscription, event from sendings s
            where subscription = %(subscription)s and state = 'due' and due_at <= now()
                and (lease_until is null or lease_until < now())
                and not (%(ordered)s and exists (
                    select from sendings e where e.subscription = s.subscription and e.subject = s.subject
                        and e.state = 'due' and e.sequence < s.sequence))
            order by sequence limit %(limit)s)
        returning event, attempts, sequence)
    select t.attempts, t.sequence, e.number, e.name, e.subject, e.kind, e.data, e.message, e.created_at
    from taken t join events e on e.number = t.event
"""


def settle(tx: Tx, results: Sequence[Told]) -> int:
    """Write how attempts ended; an older lease changes nothing. Returns how many were settled."""
    if not results:
        return 0
    count = tx.run(
        """
        update sendings s set state = r.outcome, status = r.status, detail = nullif(r.detail, ''), leased_by = null,
            lease_until = null, due_at = now() + make_interval(secs => r.wait),
            told_at = case when r.outcome = 'told' then now() end
        from unnest(%s::text[], %s::bigint[], %s::int[], %s::text[], %s::int[], %s::text[], %s::float8[])
            as r (subscription, event, attempts, outcome, status, detail, wait)
        where s.subscription = r.subscription and s.event = r.event and s.attempts = r.attempts and s.state = 'due'
        """,
        (
            [r.subscription for r in results],
            [r.event for r in results],
            [r.attempts for r in results],
            [r.outcome for r in results],
            [r.status for r in results],
            [r.detail[:500] for r in results],
            [r.wait for r in results],
        ),
    )
    told: dict[str, int] = {}
    for one in results:
        if one.outcome == "told":
            told[one.subscription] = told.get(one.subscription, 0) + 1
    for name, number in sorted(told.items()):
        tx.run("update subscriptions set sent = sent + %s, misses = 0 where subscription = %s", (number, name))
    return count


def missed(tx: Tx, subscription: str, reason: str, seconds: float) -> None:
    """Note that a subscriber is away: nobody calls it for some seconds, and then one call asks."""
    tx.run(
        """
        update subscriptions set misses = misses + 1, reason = %s,
            paused_until = greatest(paused_until, now() + make_interval(secs => %s)) where subscription = %s
        """,
        (reason[:300], seconds, subscription),
    )


def set_state(tx: Tx, subscription: str, state: Literal["active", "paused", "gone"], reason: str) -> bool:
    """Pause a subscription, end it, or let it go on where it was; False when there is none of this name."""
    return bool(
        tx.run(
            """
            update subscriptions set state = %s, reason = nullif(%s, ''), misses = 0, paused_until = null
            where subscription = %s
            """,
            (state, reason[:300], subscription),
        )
    )


def resend(tx: Tx, subscription: str, events: Sequence[int] | None = None) -> int:
    """Send events again under the same ids: the failed ones, or those named, told or not. Returns how many."""
    return tx.run(
        """
        update sendings set state = 'due', attempts = 0, due_at = now(), leased_by = null, lease_until = null, told_at = null
        where subscription = %(subscription)s and lease_until is null
            and case when %(events)s::bigint[] is null then state = 'failed' else event = any(%(events)s::bigint[]) end
        """,
        {"subscription": subscription, "events": None if events is None else list(events)},
    )


def release(tx: Tx, worker: str) -> int:
    """Take back the leases of a worker that is gone: what it was sending is sent again under the same id."""
    return tx.run(
        "update sendings set leased_by = null, lease_until = null where leased_by = %s and state = 'due'", (worker,)
    )


def forget(tx: Tx, days: int) -> int:
    """Remove what was told longer ago than some days; the events themselves stay."""
    return tx.run("delete from sendings where state = 'told' and told_at < now() - make_interval(days => %s)", (days,))


def listing(tx: Tx) -> list[dict[str, Any]]:
    """Return subscriptions: name, state, reason, paused_until, misses, sent, waiting, failed, unread (events to look at)."""
    return tx.rows(
        """
        select s.subscription, s.state, s.reason, s.paused_until, s.misses, s.sent, s.created_at,
            count(d.*) filter (where d.state = 'due') as waiting, count(d.*) filter (where d.state = 'failed') as failed,
            min(d.created_at) filter (where d.state = 'due') as oldest_at,
            (select count(*) from events e where (e.transaction, e.number) > (s.read_transaction, s.read_number)) as unread
        from subscriptions s left join sendings d on d.subscription = s.subscription and d.state in ('due', 'failed')
        group by s.subscription order by s.subscription
        """
    )


def sendings(tx: Tx, subscription: str, state: Outcome | None, limit: int) -> list[dict[str, Any]]:
    """Return sendings of a subscription, newest first: event, name, subject, state, attempts, status, detail, times."""
    return tx.rows(
        """
        select d.event, e.name, d.subject, d.state, d.attempts, d.status, d.detail, d.due_at, d.created_at, d.told_at
        from sendings d join events e on e.number = d.event
        where d.subscription = %(subscription)s and (%(state)s::text is null or d.state = %(state)s)
        order by d.event desc limit %(limit)s
        """,
        {"subscription": subscription, "state": state, "limit": limit},
    )
