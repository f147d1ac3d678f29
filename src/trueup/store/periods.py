"""Closed months: whether a month of a legal entity is closed, its checklist, its frozen snapshot, and who reopened it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from trueup.kernel.errors import Held
from trueup.kernel.periods import first_day, month_of, next_month
from trueup.store.database import Tx, json

LOCK = "period"
SHORTEST_REASON = 5


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the checklist, as it was found.

    item      its word
    state     open: found something; passed: nothing to find; blocked: must be accepted first; done: was carried out
    sentence  what was found, for a person
    figures   JSON-plain
    mark      digest of what was found: an acceptance is good for this finding alone
    """

    item: str
    position: int
    state: str
    sentence: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    mark: str = ""


def door(entity: str, period: str) -> str:
    """Return the key of a month: shared by whoever books into it, held alone by whoever freezes it."""
    return f"{LOCK}\x1f{entity}\x1f{period}"


def share(tx: Tx, entity: str, period: str) -> None:
    """Keep a month from being frozen until this transaction ends: for whoever books into it."""
    tx.run("select pg_advisory_xact_lock_shared(hashtextextended(%s, 0))", (door(entity, period),))


def alone(tx: Tx, entity: str, period: str) -> None:
    """Wait until nobody books into a month, and let nobody begin, until this transaction ends."""
    tx.run("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (door(entity, period),))


def one_at_a_time(tx: Tx, entity: str, period: str) -> None:
    """Let one transaction at a time begin to close a month; whoever books into the month is not waited for."""
    tx.run("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"close\x1f{entity}\x1f{period}",))


def is_closed(tx: Tx, entity: str, period: str) -> bool:
    """Say whether a month of a legal entity is closed; it stays so until the transaction ends."""
    share(tx, entity, period)
    return bool(
        tx.value(
            "select exists (select from period_closes where legal_entity = %s and period = %s and state = 'closed')",
            (entity, period),
        )
    )


def next_open(tx: Tx, entity: str, period: str) -> str:
    """Return the month itself when it is open, else the first open one after it: where late facts are billed."""
    while is_closed(tx, entity, period):
        period = next_month(period)
    return period


def open_day(tx: Tx, entity: str, day: date) -> date:
    """Return the day itself when its month is open, else the first day of the next open month."""
    period = next_open(tx, entity, month_of(day))
    return day if period == month_of(day) else first_day(period)


def require_open(tx: Tx, entity: str, period: str, what: str) -> None:
    """Refuse what would go into a closed month; an open one stays open until the transaction ends.

    what  what is refused, for the sentence: "the billing run"

    Raises    Held PERIOD_CLOSED.
    """
    if is_closed(tx, entity, period):
        raise Held(
            f"{period} is closed for {entity}: {what} belongs to {next_open(tx, entity, period)}, the next open month, "
            f"or two people reopen {period}",
            "PERIOD_CLOSED",
        )


def latest(tx: Tx, entity: str, period: str, *, lock: bool = False) -> dict[str, Any] | None:
    """Return the newest row of a month without its snapshot, or None when nobody has begun to close it.

    lock  holds it until the transaction ends
    """
    if lock:
        tx.run("select from period_closes where legal_entity = %s and period = %s for update", (entity, period))
    return tx.row(
        """
        select legal_entity, period, revision, state, attempt, process, started_by, started_at, sha256, closed_by, closed_at
        from period_closes where legal_entity = %s and period = %s order by revision desc limit 1
        """,
        (entity, period),
    )


def begin(tx: Tx, entity: str, period: str, by: str) -> dict[str, Any]:
    """Begin an attempt to close a month, the next in its row; makes the row when there is none.

    The caller has seen that the month is not closed, and that no attempt is under way.
    """
    tx.run(
        """
        insert into period_closes (legal_entity, period, revision)
        select %(entity)s, %(period)s, 1
        where not exists (select from period_closes where legal_entity = %(entity)s and period = %(period)s)
        """,
        {"entity": entity, "period": period},
    )
    found = tx.row(
        """
        update period_closes set state = 'closing', attempt = attempt + 1, started_by = %(by)s, started_at = now(),
            process = 'period_close/' || period || '/' || legal_entity || '/' || revision || '.' || (attempt + 1)
        where legal_entity = %(entity)s and period = %(period)s and state = 'open'
        returning revision, attempt, process
        """,
        {"entity": entity, "period": period, "by": by},
    )
    assert found is not None
    return found


def stop(tx: Tx, entity: str, period: str, revision: int) -> None:
    """Note that an attempt ended before the month was frozen: something is left to be accepted."""
    tx.run(
        """
        update period_closes set state = 'open'
        where legal_entity = %s and period = %s and revision = %s and state = 'closing'
        """,
        (entity, period, revision),
    )


def write_item(tx: Tx, entity: str, period: str, revision: int, attempt: int, item: Item) -> str:
    """Write what one look at an item found and return its state.

    What a person accepted stays accepted for as long as the finding is the same.
    """
    return str(
        tx.value(
            """
            insert into close_items (legal_entity, period, revision, item, position, state, sentence, figures, mark, attempt)
            values (%(entity)s, %(period)s, %(revision)s, %(item)s, %(position)s, %(state)s, %(sentence)s, %(figures)s,
                    %(mark)s, %(attempt)s)
            on conflict (legal_entity, period, revision, item) do update set position = excluded.position,
                state = case when excluded.state in ('open', 'blocked') and close_items.accepted_mark = excluded.mark
                    then 'accepted' else excluded.state end,
                sentence = excluded.sentence, figures = excluded.figures, mark = excluded.mark,
                attempt = excluded.attempt, checked_at = now()
            returning state
            """,
            {
                "entity": entity,
                "period": period,
                "revision": revision,
                "item": item.item,
                "position": item.position,
                "state": item.state,
                "sentence": item.sentence,
                "figures": json(dict(item.figures)),
                "mark": item.mark,
                "attempt": attempt,
            },
        )
    )


def accept(tx: Tx, entity: str, period: str, item: str, by: str, reason: str) -> dict[str, Any] | None:
    """Accept what an item found, with a person and a reason; None when there is nothing of it to accept."""
    return tx.row(
        """
        update close_items i set state = 'accepted', reason = %(reason)s, accepted_by = %(by)s, accepted_at = now(),
            accepted_mark = mark
        from period_closes c
        where (c.legal_entity, c.period, c.revision) = (i.legal_entity, i.period, i.revision)
            and c.state in ('open', 'closing') and i.legal_entity = %(entity)s and i.period = %(period)s
            and i.item = %(item)s and i.state in ('open', 'blocked', 'accepted')
        returning i.item, i.state, i.sentence, i.reason, i.accepted_by, i.accepted_at
        """,
        {"entity": entity, "period": period, "item": item, "by": by, "reason": reason},
    )


def items(tx: Tx, entity: str, period: str, revision: int) -> list[dict[str, Any]]:
    """Return the items of a revision that were looked at, in order."""
    return tx.rows(
        """
        select item, position, state, sentence, figures, attempt, checked_at, reason, accepted_by, accepted_at from close_items
        where legal_entity = %s and period = %s and revision = %s order by position
        """,
        (entity, period, revision),
    )


def freeze(tx: Tx, entity: str, period: str, revision: int, snapshot: Mapping[str, Any], sha256: str, by: str) -> None:
    """Close a month: what it holds now stands under this hash for ever."""
    tx.run(
        """
        update period_closes set state = 'closed', snapshot = %(snapshot)s, sha256 = %(sha256)s, closed_by = %(by)s,
            closed_at = now()
        where legal_entity = %(entity)s and period = %(period)s and revision = %(revision)s and state <> 'closed'
        """,
        {
            "snapshot": json(dict(snapshot)),
            "sha256": sha256,
            "by": by,
            "entity": entity,
            "period": period,
            "revision": revision,
        },
    )


def revisions(tx: Tx, entity: str, period: str) -> list[dict[str, Any]]:
    """Return every revision of a month, the newest first, each with its snapshot or None."""
    return tx.rows(
        """
        select revision, state, attempt, process, started_by, started_at, snapshot, sha256, closed_by, closed_at
        from period_closes where legal_entity = %s and period = %s order by revision desc
        """,
        (entity, period),
    )


def propose(tx: Tx, entity: str, period: str, by: str, reason: str) -> int:
    """Ask for a closed month to be reopened; returns the number under which another person decides.

    Raises    Held: the month is not closed, a later one is closed, somebody asked already, or there is no reason.
    """
    month = latest(tx, entity, period, lock=True)
    if month is None or month["state"] != "closed":
        raise Held(f"{period} is not closed for {entity}: there is nothing to reopen", "NOT_CLOSED")
    if len(reason.strip()) < SHORTEST_REASON:
        raise Held("a reason of at least five characters is needed to reopen a month", "REASON_MISSING")
    later = tx.value(
        "select max(period) from period_closes where legal_entity = %s and period > %s and state = 'closed'",
        (entity, period),
    )
    if later is not None:
        raise Held(f"{later} is closed after {period} and stands on it: reopen {later} first", "CLOSE_ORDER")
    asked = tx.row(
        "select number, asked_by from close_proposals where legal_entity = %s and period = %s and decided_at is null",
        (entity, period),
    )
    if asked is not None:
        raise Held(
            f"{asked['asked_by']} asked already to reopen {period}: another person decides with "
            f"`trueup close approve {asked['number']}`",
            "ALREADY_ASKED",
        )
    return int(
        tx.value(
            """
            insert into close_proposals (legal_entity, period, revision, reason, asked_by) values (%s, %s, %s, %s, %s)
            returning number
            """,
            (entity, period, month["revision"], reason.strip(), by),
        )
    )


def proposals(
    tx: Tx, entity: str | None = None, period: str | None = None, *, waiting: bool = False
) -> list[dict[str, Any]]:
    """Return who asked to reopen what and who decided, the newest first.

    waiting  only those nobody has decided
    """
    return tx.rows(
        """
        select number, legal_entity, period, revision, reason, asked_by, asked_at, decided_by, decided_at from close_proposals
        where (%(entity)s::text is null or legal_entity = %(entity)s)
            and (%(period)s::text is null or period = %(period)s) and (not %(waiting)s or decided_at is null)
        order by number desc
        """,
        {"entity": entity, "period": period, "waiting": waiting},
    )


def approve(tx: Tx, number: int, by: str) -> dict[str, Any]:
    """Reopen the month a proposal is about: its snapshot is kept, and its next revision begins.

    Raises    Held: there is no such proposal, it is decided, or who decides is who asked.
    """
    asked = tx.row("select * from close_proposals where number = %s for update", (number,))
    if asked is None:
        raise Held(f"there is no proposal {number}; `trueup close` lists those that wait", "UNKNOWN_PROPOSAL")
    if asked["decided_at"] is not None:
        raise Held(f"proposal {number} was approved by {asked['decided_by']} already", "ALREADY_DECIDED")
    if asked["asked_by"].strip().lower() == by.strip().lower():
        raise Held(
            f"{by} asked to reopen {asked['period']}: another person has to approve it, in his or her own name",
            "ANOTHER_PERSON",
        )
    tx.run("update close_proposals set decided_by = %s, decided_at = now() where number = %s", (by, number))
    key = (asked["legal_entity"], asked["period"], asked["revision"])
    tx.run(
        "update period_closes set state = 'reopened' where (legal_entity, period, revision) = (%s, %s, %s)",
        key,
    )
    tx.run(
        "insert into period_closes (legal_entity, period, revision) values (%s, %s, %s)",
        (*key[:2], asked["revision"] + 1),
    )
    return {**asked, "decided_by": by, "next_revision": asked["revision"] + 1}


def earlier_unfinished(tx: Tx, entity: str, period: str) -> str | None:
    """Return an earlier month that somebody has begun to close, or reopened, and that is not closed."""
    return tx.text(
        """
        select min(period) from period_closes
        where legal_entity = %s and period < %s and state in ('open', 'closing')
        """,
        (entity, period),
    )


def matrix(tx: Tx) -> list[dict[str, Any]]:
    """Return the newest revision of every month anybody has begun to close, without snapshots."""
    return tx.rows(
        """
        select distinct on (period, legal_entity) period, legal_entity, revision, state, attempt, process, sha256,
            started_by, started_at, closed_by, closed_at
        from period_closes order by period desc, legal_entity, revision desc
        """
    )


def first_month(tx: Tx) -> str | None:
    """Return the first month in which anything was billed, booked or closed, or None."""
    return tx.text(
        """
        select min(period) from (
            select min(period) as period from runs where kind in ('billing', 'month_end')
            union all select min(period) from positions
            union all select min(period) from period_closes) found
        """
    )
