"""What may not be billed yet: code, owner, amount, and the condition that releases it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trueup.store.database import Tx


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason for one thing; the same reason is open only once."""

    code: str
    scope: str
    scope_kind: str
    owner: str
    reason: str
    releases_when: str
    amount: int = 0
    currency: str | None = None
    minutes: int | None = None
    project: str | None = None
    contract: str | None = None
    legal_entity: str | None = None
    period: str | None = None


def place(tx: Tx, holds: Sequence[Hold]) -> list[dict[str, Any]]:
    """Open holds; one that is open already gets today's amount and reason. Returns the new ones."""
    if not holds:
        return []
    once = {(hold.code, hold.scope): hold for hold in holds}
    found = [once[key] for key in sorted(once)]
    rows = tx.rows(
        """
        insert into holds (code, scope, scope_kind, owner, reason, releases_when, amount, currency, minutes, project,
                           contract, legal_entity, period)
        select * from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[],
            %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[])
        on conflict (code, scope) where released_at is null do update set amount = excluded.amount,
            minutes = excluded.minutes, reason = excluded.reason
        returning number, code, scope, amount, currency, reason, (xmax = 0) as fresh
        """,
        (
            [h.code for h in found],
            [h.scope for h in found],
            [h.scope_kind for h in found],
            [h.owner for h in found],
            [h.reason for h in found],
            [h.releases_when for h in found],
            [h.amount for h in found],
            [h.currency for h in found],
            [h.minutes for h in found],
            [h.project for h in found],
            [h.contract for h in found],
            [h.legal_entity for h in found],
            [h.period for h in found],
        ),
    )
    return [row for row in rows if row["fresh"]]


def release(tx: Tx, numbers: Sequence[int], by: str, reason: str) -> list[dict[str, Any]]:
    """End holds, with who and why; returns those that were open."""
    return tx.rows(
        """
        update holds set released_at = now(), released_by = %s, release_reason = %s, released_in = pg_current_xact_id()
        where number = any(%s) and released_at is null returning *
        """,
        (by, reason, list(numbers)),
    )


def one(tx: Tx, number: int) -> dict[str, Any] | None:
    """Return one hold, open or released."""
    return tx.row("select * from holds where number = %s", (number,))


def open_of(
    tx: Tx,
    *,
    scopes: Sequence[str] | None = None,
    projects: Sequence[str] | None = None,
    codes: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Return open holds by scope, project or code."""
    return tx.rows(
        """
        select * from holds where released_at is null
            and (%(scopes)s::text[] is null or scope = any(%(scopes)s))
            and (%(projects)s::text[] is null or project = any(%(projects)s))
            and (%(codes)s::text[] is null or code = any(%(codes)s))
        order by amount desc, number
        """,
        {
            "scopes": None if scopes is None else list(scopes),
            "projects": None if projects is None else list(projects),
            "codes": None if codes is None else list(codes),
        },
    )
