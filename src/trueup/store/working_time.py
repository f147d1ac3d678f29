"""What labour checks look at: people with their employers, and their time entries with when those came."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from trueup.store import ledger
from trueup.store.database import Tx


def staff(tx: Tx, employers: Sequence[str]) -> pl.DataFrame:
    """Return the people of some legal entities.

    Returns   resource, person, legal_entity str, hired_on, terminated_on date|null, locked str|null: newest closed month
    """
    return ledger.frame(
        tx, _STAFF, {"employers": list(employers)},
        {"resource": pl.String, "person": pl.String, "legal_entity": pl.String, "hired_on": pl.Date,
         "terminated_on": pl.Date, "locked": pl.String},
    )  # fmt: skip


def times(tx: Tx, employers: Sequence[str], first: date, last: date) -> pl.DataFrame:
    """Return what people of some legal entities have entered for some days, rejected entries left out.

    Returns   fact, resource str, worked_on date, minutes i64, fresh bool: came after its month was closed
    """
    return ledger.frame(
        tx, _ENTRIES, {"first": first, "last": last, "employers": list(employers)},
        {"fact": pl.String, "resource": pl.String, "worked_on": pl.Date, "minutes": pl.Int64, "fresh": pl.Boolean},
    )  # fmt: skip


_STAFF = """
    select o.gid, o.body ->> 'name', o.body ->> 'legal_entity', (o.body ->> 'hired_on')::date,
        (o.body ->> 'terminated_on')::date, r.period
    from objects o
    left join (
        select legal_entity, max(period) as period from runs where kind = 'month_end' and state = 'done'
        group by legal_entity) r on r.legal_entity = o.body ->> 'legal_entity'
    where o.kind = 'resource' and o.body ->> 'legal_entity' = any(%(employers)s::text[]) and o.tombstone is null
    order by o.gid
"""
_ENTRIES = """
    select t.gid, t.resource, t.worked_on, t.minutes::bigint, coalesce(t.created_at > r.ended_at, false)
    from time_entries t
    join objects o on o.gid = t.resource
    left join (
        select legal_entity, period, max(ended_at) as ended_at from runs where kind = 'month_end' and state = 'done'
        group by legal_entity, period) r
        on r.legal_entity = o.body ->> 'legal_entity' and r.period = to_char(t.worked_on, 'YYYY-MM')
    where t.worked_on between %(first)s and %(last)s and t.tombstone is null and t.status <> 'rejected'
        and o.body ->> 'legal_entity' = any(%(employers)s::text[])
"""
