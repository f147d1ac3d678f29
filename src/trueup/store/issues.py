"""What failed, grouped by its cause, and what people decided about each cause.

Triggers write `failures` in the transaction that settles a message or a delivery, so nothing that failed can be absent
here. There is no way to skip a record: its failure ends when the record comes right or a newer word replaces it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from trueup.kernel.errors import Refused
from trueup.store.database import Tx, json

Act = Literal["assigned", "acknowledged", "muted", "resolved", "reopened", "planned", "applied"]

_LIST = """
with cause as (
    select issue, min(source) as source, min(system) as system, min(object) as object, min(class) as class,
        min(code) as code, min(field) as field, (array_agg(cause order by since desc))[1] as cause,
        count(*) filter (where ended_at is null) as records, count(*) filter (where ended_at is not null) as ended,
        sum(times) as times, min(first_at) as first_at, max(since) as last_at,
        max(since) filter (where ended_at is null) as open_at,
        coalesce(jsonb_object_agg(currency, 0) filter (where currency is not null), '{}') as currencies
    from failures where ended_at is null or issue in (select issue from issues) group by issue),
amounts as (
    select issue, jsonb_object_agg(currency, units) as money from (
        select issue, currency, sum(amount)::bigint as units from failures
        where ended_at is null and currency is not null and amount is not null group by issue, currency) as each
    group by issue)
select c.issue, c.source, c.system, c.object, c.class, c.code, c.field, c.cause, c.records, c.ended, c.times, c.first_at,
    c.last_at, coalesce(a.money, '{}') as money, i.assignee, i.muted_until, i.muted_above, i.muted_currency, i.changed_at,
    case
        when i.issue is null then 'open'
        when i.state = 'resolved' and c.open_at > i.changed_at then 'regressed'
        when i.state = 'muted' and (i.muted_until <= now()
            or (a.money ->> i.muted_currency)::bigint > i.muted_above) then 'open'
        else i.state end as state
from cause c left join amounts a using (issue) left join issues i using (issue)
"""


def listed(tx: Tx, *, everything: bool = False, limit: int = 500) -> list[dict[str, Any]]:
    """Return causes, the most money blocked first (its largest currency), then the most records.

    everything  muted and resolved ones as well; else what wants somebody
    """
    return tx.rows(
        f"""
        select * from ({_LIST}) as listed
        where %(everything)s or (records > 0 and state in ('open', 'acknowledged', 'regressed'))
        order by (select max(value::bigint) from jsonb_each_text(money)) desc nulls last, records desc, issue
        limit %(limit)s
        """,
        {"everything": everything, "limit": limit},
    )


def one(tx: Tx, issue: str) -> dict[str, Any]:
    """Return one cause.

    Raises    Refused (no_issue)
    """
    found = tx.row(f"select * from ({_LIST.replace('or issue in (select issue from issues)', 'or true')}) as listed where issue = %s", (issue,))  # fmt: skip
    if found is None:
        raise Refused(f"there is no issue {issue}; `trueup issue list --all` names them", "no_issue")
    return found


def records(tx: Tx, issue: str, *, limit: int = 200, ended: bool = False) -> list[dict[str, Any]]:
    """Return the records of a cause: those that still fail (most money first), or those that came right (newest first).

    rows   a failure's columns and, of those that still fail, `said`: what was said about a write, word by word
    """
    if ended:
        return tx.rows(
            "select * from failures where issue = %s and ended_at is not null order by ended_at desc limit %s",
            (issue, limit),
        )
    return tx.rows(
        """
        select f.*, (select cause from deliveries d where f.source = 'delivery' and d.key = f.record) as said
        from failures f where issue = %s and ended_at is null
        order by coalesce(f.amount, 0) desc, f.since, f.record limit %s
        """,
        (issue, limit),
    )


def acts(tx: Tx, issue: str) -> list[dict[str, Any]]:
    """Return the timeline of a cause: what people did, and what its records went through each day."""
    return tx.rows(
        """
        select created_at, act, by, reason, detail from issue_acts where issue = %(issue)s
        union all
        select max(since), 'failed', '', count(*) || ' records', '{}' from failures
        where issue = %(issue)s group by date_trunc('day', since)
        union all
        select max(ended_at), 'came right', '', count(*) || ' records', '{}' from failures
        where issue = %(issue)s and ended_at is not null group by date_trunc('day', ended_at)
        order by 1 desc
        """,
        {"issue": issue},
    )


def changed_since(tx: Tx, moment: datetime) -> list[dict[str, Any]]:
    """Return the mapping and ownership files first used since a moment: what may have brought a cause back."""
    return tx.rows(
        "select name, version, created_at from texts where created_at >= %s order by created_at limit 20", (moment,)
    )


def note(tx: Tx, issue: str, act: Act, by: str, reason: str = "", detail: Mapping[str, Any] | None = None) -> None:
    """Write what somebody did about a cause into its timeline; it can never be changed."""
    tx.run(
        "insert into issue_acts (issue, act, by, reason, detail) values (%s, %s, %s, %s, %s)",
        (issue, act, by, reason, json(dict(detail or {}))),
    )


def assign(tx: Tx, issues: Sequence[str], assignee: str, *, by: str) -> int:
    """Give causes to somebody."""
    for issue in issues:
        one(tx, issue)
        tx.run(
            """
            insert into issues (issue, assignee) values (%s, %s)
            on conflict (issue) do update set assignee = excluded.assignee
            """,
            (issue, assignee),
        )
        note(tx, issue, "assigned", by, detail={"to": assignee})
    return len(issues)


def mute(
    tx: Tx, issues: Sequence[str], *, by: str, reason: str, until: datetime | None = None,
    above: tuple[int, str] | None = None,
) -> int:  # fmt: skip
    """Take causes off the list until a moment, or until more than an amount is blocked. Nothing about the records changes.

    above     units and currency
    Raises    Refused (no_end)
    """
    if until is None and above is None:
        raise Refused("say until when, or above which amount, it comes back", "no_end")
    units, currency = above or (None, None)
    for issue in issues:
        one(tx, issue)
        tx.run(
            """
            insert into issues (issue, state, muted_until, muted_above, muted_currency) values (%s, 'muted', %s, %s, %s)
            on conflict (issue) do update set state = 'muted', muted_until = excluded.muted_until,
                muted_above = excluded.muted_above, muted_currency = excluded.muted_currency, changed_at = now()
            """,
            (issue, until, units, currency),
        )
        note(tx, issue, "muted", by, reason, {"until": until.isoformat() if until else None, "above": units})
    return len(issues)


def resolve(tx: Tx, issues: Sequence[str], *, by: str, reason: str) -> int:
    """Say that a cause is gone. It must be: one with failing records is refused, and one that fails again comes back.

    Raises    Refused (still_failing)
    """
    for issue in issues:
        found = one(tx, issue)
        if found["records"]:
            raise Refused(
                f"{found['records']} records of issue {issue} still fail: plan a retry, or mute it with an end",
                "still_failing",
            )  # fmt: skip
        _set(tx, issue, "resolved")
        note(tx, issue, "resolved", by, reason)
    return len(issues)


def acknowledge(tx: Tx, issues: Sequence[str], *, by: str) -> int:
    """Say that somebody has seen a cause and works on it."""
    for issue in issues:
        one(tx, issue)
        _set(tx, issue, "acknowledged")
        note(tx, issue, "acknowledged", by)
    return len(issues)


def reopen(tx: Tx, issues: Sequence[str], *, by: str, reason: str = "") -> int:
    """Put muted or resolved causes back on the list."""
    for issue in issues:
        one(tx, issue)
        _set(tx, issue, "open")
        note(tx, issue, "reopened", by, reason)
    return len(issues)


def _set(tx: Tx, issue: str, state: str) -> None:
    tx.run(
        """
        insert into issues (issue, state) values (%s, %s)
        on conflict (issue) do update set state = excluded.state, muted_until = null, muted_above = null,
            muted_currency = null, changed_at = clock_timestamp()
        """,
        (issue, state),
    )


def balance(tx: Tx) -> list[dict[str, Any]]:
    """Return, per system, what was received and where all of it is now; `missing` is 0 unless a record was lost.

    failing   quarantined or waiting
    grouped   of these, how many the list of issues shows
    """
    return tx.rows(
        """
        with each as (
            select system, count(*) as received, count(*) filter (where state = 'applied') as applied,
                count(*) filter (where state = 'superseded') as superseded,
                count(*) filter (where state = 'ignored' and rule is not null) as ignored,
                count(*) filter (where state in ('quarantined', 'waiting')) as failing,
                count(*) filter (where state = 'pending') as in_flight
            from inbox group by system)
        select e.*, e.received - e.applied - e.superseded - e.ignored - e.failing - e.in_flight as missing,
            (select count(*) from failures f join inbox i on f.record = i.number::text
             where f.source = 'message' and f.ended_at is null and i.system = e.system
                and i.state in ('quarantined', 'waiting')) as grouped
        from each e order by system
        """
    )
