"""What a month of a legal entity holds: the figures its checklist looks at, and the snapshot that is frozen.

A snapshot names things by the firm's own codes, holds no time and no number that was given by chance, and is sorted:
the same facts make the same snapshot, today, after a restart, and in another database.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from trueup.kernel.money import from_units, to_units
from trueup.kernel.periods import first_day, last_day
from trueup.store.database import Tx

LAYOUT = 1
"""Raised when the shape of a snapshot changes: hashes of different layouts are not compared."""

SECTIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "positions": (("contract", "line", "currency"), ("method", "recognised", "billed", "deferred", "unbilled")),
    "margins": (("project", "currency"), ("recognised", "labour", "expense", "minutes")),
    "buckets": (("project", "unit", "currency", "bucket"), ("quantity",)),
    "invoices": (("code",), ("type", "state", "currency", "net", "tax", "gross")),
    "journals": (("code", "account", "currency"), ("type", "debit", "credit")),
    "holds": (("code", "currency"), ("count", "amount", "minutes")),
    "tie_out": (("object", "system", "currency"), ("ours_count", "ours_sum", "theirs_count", "theirs_sum")),
}
"""Section of a snapshot -> what names a row of it, and its figures."""

OPEN_BUCKETS = ("unbilled", "held", "over_cap", "postponed")
Row = dict[str, Any]


def snapshot(tx: Tx, entity: str, period: str) -> dict[str, Any]:
    """Return what a month of a legal entity holds: positions, margins, buckets, invoices, journals, holds, tie-out.

    Returns   JSON-plain: amounts are text in major units, counts and minutes whole numbers; every section is sorted
    """
    key = {"entity": entity, "period": period, "first": first_day(period), "last": last_day(period)}
    found: dict[str, list[Row]] = {
        "positions": _positions(tx, key),
        "margins": _margins(tx, key),
        "buckets": _buckets(tx, key),
        "invoices": _invoices(tx, key),
        "journals": _journals(tx, key),
        "holds": _holds(tx, key),
        "tie_out": _tie_out(tx, key),
    }
    sections = {
        name: sorted(rows, key=lambda row: tuple(str(row[part]) for part in SECTIONS[name][0]))
        for name, rows in found.items()
    }
    return {"layout": LAYOUT, "legal_entity": entity, "period": period, **sections}


def _money(units: int | None, currency: str) -> str:
    return format(from_units(int(units or 0), currency), "f")


def _positions(tx: Tx, key: Mapping[str, Any]) -> list[Row]:
    rows = tx.rows(
        """
        select coalesce(c.body ->> 'code', p.contract) as contract, p.line_key as line, p.currency, p.method, p.recognised,
            p.billed, p.deferred, p.unbilled
        from positions p left join objects c on c.gid = p.contract
        where p.legal_entity = %(entity)s and p.period = %(period)s
        """,
        key,
    )
    return [_in_major(row, "recognised", "billed", "deferred", "unbilled") for row in rows]


def _margins(tx: Tx, key: Mapping[str, Any]) -> list[Row]:
    rows = tx.rows(
        """
        select coalesce(o.body ->> 'code', m.project) as project, m.currency, m.recognised, m.labour, m.expense, m.minutes
        from margins m left join objects o on o.gid = m.project
        where m.legal_entity = %(entity)s and m.period = %(period)s
        """,
        key,
    )
    return [_in_major(row, "recognised", "labour", "expense") for row in rows]


def _in_major(row: Row, *names: str) -> Row:
    return {**row, **{name: _money(row[name], row["currency"]) for name in names}}


_BUCKETS_TIME = """
    select p.body ->> 'code' as project, 'minute' as unit, '' as currency, b.bucket, sum(b.quantity)::bigint as quantity
    from time_entries t join objects p on p.gid = t.project join buckets b on b.fact = t.gid
    where p.body ->> 'legal_entity' = %(entity)s and t.worked_on between %(first)s and %(last)s
        and b.bucket <> 'source' and b.quantity > 0
    group by p.body ->> 'code', b.bucket
"""
_BUCKETS_SPENT = """
    select p.body ->> 'code' as project, 'amount' as unit, e.currency, b.bucket, sum(b.quantity)::bigint as quantity
    from expense_lines e join objects p on p.gid = e.project join buckets b on b.fact = e.gid
    where p.body ->> 'legal_entity' = %(entity)s and e.spent_on between %(first)s and %(last)s
        and b.bucket <> 'source' and b.quantity > 0
    group by p.body ->> 'code', e.currency, b.bucket
"""
_BUCKETS_MILESTONES = """
    select p.body ->> 'code' as project, 'share' as unit, m.body ->> 'currency' as currency, b.bucket,
        sum(b.quantity)::bigint as quantity
    from objects m join objects p on p.gid = m.body ->> 'project' join buckets b on b.fact = m.gid
    where m.kind = 'milestone' and p.body ->> 'legal_entity' = %(entity)s
        and (m.body ->> 'completed_on')::date between %(first)s and %(last)s and b.bucket <> 'source' and b.quantity > 0
    group by p.body ->> 'code', m.body ->> 'currency', b.bucket
"""


def _buckets(tx: Tx, key: Mapping[str, Any]) -> list[Row]:
    """Return where the month's facts lie: minutes of work, money spent, milestones completed."""
    spent = [*tx.rows(_BUCKETS_SPENT, key), *tx.rows(_BUCKETS_MILESTONES, key)]
    return [*tx.rows(_BUCKETS_TIME, key), *(_in_major(row, "quantity") for row in spent)]


_FINAL = ("posted", "part_paid", "paid", "credited")


def _invoices(tx: Tx, key: Mapping[str, Any]) -> list[Row]:
    """Return the month's invoices and credits; whether one is paid by now is no matter of the month."""
    rows = tx.rows(
        """
        select body, status from objects
        where kind = 'invoice' and tombstone is null and body ->> 'legal_entity' = %(entity)s
            and coalesce(body ->> 'period', left(body ->> 'invoice_date', 7)) = %(period)s
        """,
        key,
    )
    found = []
    for row in rows:
        body, currency = row["body"], row["body"]["currency"]
        state = "posted" if row["status"] in _FINAL else "voided" if row["status"] == "voided" else "draft"
        amounts = {name: _money(to_units(Decimal(body[name]), currency), currency) for name in ("net", "tax", "gross")}
        found.append(
            {"code": body["code"], "type": body["invoice_type"], "state": state, "currency": currency, **amounts}
        )
    return found


def _journals(tx: Tx, key: Mapping[str, Any]) -> list[Row]:
    """Return the month's journals, one row for each account."""
    rows = tx.rows(
        """
        select j.body ->> 'code' as code, j.body ->> 'journal_type' as type, j.body ->> 'currency' as currency,
            l ->> 'account' as account, sum((l ->> 'debit')::numeric) as debit, sum((l ->> 'credit')::numeric) as credit
        from objects j, jsonb_array_elements(j.body -> 'lines') l
        where j.kind = 'journal_reference' and j.tombstone is null and j.body ->> 'legal_entity' = %(entity)s
            and j.body ->> 'period' = %(period)s
        group by 1, 2, 3, 4
        """,
        key,
    )
    return [
        {**row, **{side: _money(to_units(row[side], row["currency"]), row["currency"]) for side in ("debit", "credit")}}
        for row in rows
    ]


def _holds(tx: Tx, key: Mapping[str, Any]) -> list[Row]:
    """Return what is held at the month's end: everything open that belongs to this month or an earlier one."""
    rows = tx.rows(
        """
        select code, coalesce(currency, '') as currency, count(*) as count, sum(amount)::bigint as amount,
            coalesce(sum(minutes), 0)::bigint as minutes
        from holds where released_at is null and legal_entity = %(entity)s and (period is null or period <= %(period)s)
        group by code, coalesce(currency, '')
        """,
        key,
    )
    return [_in_major(row, "amount") if row["currency"] else {**row, "amount": str(row["amount"])} for row in rows]


def _tie_out(tx: Tx, key: Mapping[str, Any]) -> list[Row]:
    """Return the sums of the last tie-out for the month; minutes where there is no currency."""
    rows = tx.rows(
        """
        select object, system, currency, ours_count, ours_sum, theirs_count, theirs_sum from tie_outs
        where run = (select run from runs where kind = 'tie_out' and state = 'done' order by ended_at desc, run limit 1)
            and legal_entity = %(entity)s and period = %(period)s
        """,
        key,
    )
    sums = ("ours_sum", "theirs_sum")
    return [
        _in_major(row, *sums) if row["currency"] else {**row, **{name: str(row[name]) for name in sums}} for row in rows
    ]


# --- figures of the checklist ----------------------------------------------------------------------------------------


def _sums(rows: Iterable[Mapping[str, Any]], name: str = "amount") -> list[Row]:
    """Add up per currency."""
    totals: dict[str, int] = {}
    for row in rows:
        if row["currency"]:
            totals[row["currency"]] = totals.get(row["currency"], 0) + int(row[name] or 0)
    return [{"currency": currency, "amount": _money(totals[currency], currency)} for currency in sorted(totals)]


def unapproved(tx: Tx, entity: str, period: str) -> Row:
    """Return the month's time and expenses nobody has approved: count, minutes, value, and by approver.

    Returns   value is what the last billing run priced and held; by_approver names the manager of the project
    """
    key = {"entity": entity, "first": first_day(period), "last": last_day(period)}
    rows = tx.rows(
        """
        select coalesce(m.body ->> 'name', 'nobody is named') as approver, 'time' as kind, count(*) as count,
            sum(t.minutes)::bigint as minutes, h.currency, coalesce(sum(h.amount), 0)::bigint as amount
        from time_entries t join objects p on p.gid = t.project left join objects m on m.gid = p.body ->> 'manager'
        left join holds h on h.scope = t.gid and h.code = 'APPROVAL_MISSING' and h.released_at is null
        where p.body ->> 'legal_entity' = %(entity)s and t.tombstone is null and t.status in ('draft', 'submitted')
            and t.worked_on between %(first)s and %(last)s
        group by 1, h.currency
        union all
        select coalesce(m.body ->> 'name', 'nobody is named'), 'expense', count(*), 0, e.currency, sum(e.amount)::bigint
        from expense_lines e join objects p on p.gid = e.project left join objects m on m.gid = p.body ->> 'manager'
        where p.body ->> 'legal_entity' = %(entity)s and e.tombstone is null and e.status = 'submitted'
            and e.spent_on between %(first)s and %(last)s
        group by 1, e.currency
        order by 1, 2
        """,
        key,
    )
    by_approver = [
        {
            "approver": name,
            "count": sum(row["count"] for row in of),
            "minutes": sum(row["minutes"] for row in of),
            "value": _sums(of),
        }
        for name in sorted({row["approver"] for row in rows})
        for of in [[row for row in rows if row["approver"] == name]]
    ]
    return {
        "time": sum(row["count"] for row in rows if row["kind"] == "time"),
        "expenses": sum(row["count"] for row in rows if row["kind"] == "expense"),
        "minutes": sum(row["minutes"] for row in rows),
        "value": _sums(rows),
        "by_approver": by_approver,
    }


def held(tx: Tx, entity: str, period: str) -> Row:
    """Return what is held at the month's end, by code; `value` counts a thing with two reasons once."""
    by_code = _holds(tx, {"entity": entity, "period": period})
    once = tx.rows(
        """
        select currency, sum(amount)::bigint as amount from (
            select scope, currency, max(amount) as amount from holds
            where released_at is null and legal_entity = %s and (period is null or period <= %s)
            group by scope, currency) things
        group by currency
        """,
        (entity, period),
    )
    return {
        "count": sum(row["count"] for row in by_code),
        "value": _sums(once),
        "by_code": sorted(by_code, key=lambda row: (row["code"], row["currency"])),
    }


def unbilled(tx: Tx, entity: str, period: str) -> Row:
    """Return what is approved, dated up to the month's end, and on no document: by bucket, time and money spent."""
    key = {"entity": entity, "last": last_day(period), "open": list(OPEN_BUCKETS)}
    rows = tx.rows(
        """
        select b.bucket, count(*) as count, sum(b.quantity)::bigint as minutes, '' as currency, 0::bigint as amount
        from buckets b join time_entries t on t.gid = b.fact join objects p on p.gid = t.project
        where b.bucket = any(%(open)s) and b.quantity > 0 and t.tombstone is null and t.billable
            and p.body ->> 'legal_entity' = %(entity)s and t.worked_on <= %(last)s
        group by b.bucket
        union all
        select b.bucket, count(*), 0, e.currency, sum(b.quantity)::bigint
        from buckets b join expense_lines e on e.gid = b.fact join objects p on p.gid = e.project
        where b.bucket = any(%(open)s) and b.quantity > 0 and e.tombstone is null and e.billable
            and p.body ->> 'legal_entity' = %(entity)s and e.spent_on <= %(last)s
        group by b.bucket, e.currency
        order by 1, 4
        """,
        key,
    )
    return {
        "count": sum(row["count"] for row in rows),
        "minutes": sum(row["minutes"] for row in rows),
        "expenses": _sums(rows),
        "by_bucket": [
            {
                "bucket": bucket,
                "count": sum(row["count"] for row in of),
                "minutes": sum(row["minutes"] for row in of),
                "expenses": _sums(of),
            }
            for bucket in OPEN_BUCKETS
            for of in [[row for row in rows if row["bucket"] == bucket]]
            if of
        ],
    }


def drafts(tx: Tx, entity: str, period: str) -> Row:
    """Return the drafts of the month and of earlier ones that the ERP has not posted: how many, and their net."""
    rows = tx.rows(
        """
        select body ->> 'code' as code, status, body ->> 'currency' as currency, (body ->> 'net')::numeric as net
        from objects where kind = 'invoice' and tombstone is null and status in ('draft', 'submitted')
            and body ->> 'legal_entity' = %s and coalesce(body ->> 'period', left(body ->> 'invoice_date', 7)) <= %s
        order by 1
        """,
        (entity, period),
    )
    in_units = [{"currency": row["currency"], "amount": to_units(row["net"], row["currency"])} for row in rows]
    return {"count": len(rows), "net": _sums(in_units), "codes": [row["code"] for row in rows[:50]]}


def last_tie_out(tx: Tx) -> Row | None:
    """Return the last finished tie-out: its run, how much it compared, and whether a message came after it."""
    return tx.row(
        """
        select r.run, (r.figures ->> 'compared')::int as compared,
            coalesce((select received_at from inbox order by number desc limit 1) > r.created_at, false) as late
        from runs r where r.kind = 'tie_out' and r.state = 'done' order by r.ended_at desc, r.run limit 1
        """
    )


def breaks(tx: Tx, entity: str, period: str) -> Row:
    """Return the open breaks of a month that nobody accepted: by class, and the money they are about."""
    rows = tx.rows(
        """
        select class, object, system, coalesce(currency, '') as currency, count(*) as count,
            sum(case when currency is null then 0 else abs(amount) end)::bigint as amount
        from breaks where closed_at is null and accepted_at is null and legal_entity = %s and period = %s
        group by class, object, system, coalesce(currency, '') order by 1, 2, 3, 4
        """,
        (entity, period),
    )
    shown = [_in_major(row, "amount") if row["currency"] else {**row, "amount": None} for row in rows]
    return {"count": sum(row["count"] for row in rows), "value": _sums(rows), "by_class": shown}


def accruals(tx: Tx, entity: str, period: str) -> Row:
    """Return what is earned and not billed, and billed and not earned, at the month's end, per currency."""
    rows = tx.rows(
        """
        select currency, count(*) as lines, sum(unbilled)::bigint as unbilled, sum(deferred)::bigint as deferred
        from positions where legal_entity = %s and period = %s group by currency order by currency
        """,
        (entity, period),
    )
    return {
        "lines": sum(row["lines"] for row in rows),
        "unbilled": _sums(rows, "unbilled"),
        "deferred": _sums(rows, "deferred"),
    }


def journals(tx: Tx, entity: str, period: str) -> Row:
    """Return the month's journals: totals, whether they balance, and what the ERP says of them.

    Returns   journals as {code, type, currency, debit, credit, balanced, status, refused: the ERP's reason or None}
    """
    rows = tx.rows(
        """
        select j.body ->> 'code' as code, j.body ->> 'journal_type' as type, j.body ->> 'currency' as currency, j.status,
            (j.body ->> 'total_debit')::numeric as debit, (j.body ->> 'total_credit')::numeric as credit,
            (select coalesce(sum((l ->> 'debit')::numeric), 0) from jsonb_array_elements(j.body -> 'lines') l) as debits,
            (select coalesce(sum((l ->> 'credit')::numeric), 0) from jsonb_array_elements(j.body -> 'lines') l) as credits,
            (select coalesce(d.cause, 'no reason was given') from deliveries d
             where d.gid = j.gid and d.state in ('rejected', 'parked') order by d.sequence desc limit 1) as refused
        from objects j where j.kind = 'journal_reference' and j.tombstone is null
            and j.body ->> 'legal_entity' = %s and j.body ->> 'period' = %s
        order by 1
        """,
        (entity, period),
    )
    found = []
    for row in rows:
        balanced = row["debit"] == row["credit"] == row["debits"] == row["credits"]
        sides = {side: _money(to_units(row[side], row["currency"]), row["currency"]) for side in ("debit", "credit")}
        names = ("code", "type", "currency", "status", "refused")
        found.append({**{name: row[name] for name in names}, **sides, "balanced": balanced})
    return {"count": len(found), "journals": found}


def margin(tx: Tx, entity: str, period: str) -> Row:
    """Return what the month added: revenue, and what it cost, per currency."""
    rows = tx.rows(
        """
        select currency, count(*) as projects, sum(recognised)::bigint as recognised, sum(labour)::bigint as labour,
            sum(expense)::bigint as expense, sum(minutes)::bigint as minutes
        from margins where legal_entity = %s and period = %s group by currency order by currency
        """,
        (entity, period),
    )
    return {
        "projects": sum(row["projects"] for row in rows),
        "minutes": sum(row["minutes"] for row in rows),
        "recognised": _sums(rows, "recognised"),
        "labour": _sums(rows, "labour"),
        "expense": _sums(rows, "expense"),
    }


def has_positions(tx: Tx, entity: str, period: str) -> bool:
    """Say whether the month's revenue was booked."""
    done = "select exists (select from runs where kind = 'month_end' and legal_entity = %s and period = %s and state = 'done')"
    return bool(tx.value(done, (entity, period)))
