"""The billing desk: what is ready, what is held and why, what is posted, and which invoices there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from trueup.reporting.amounts import Amount, amount_of, sums, weight
from trueup.reporting.work import held_once, hold_sentence, hold_title
from trueup.store.database import Tx

POSTED = ("posted", "part_paid", "paid", "credited")


@dataclass(frozen=True, slots=True)
class Totals:
    """The desk in three figures of each currency, all net of tax.

    ready       drafts, here or in the ERP, that are not posted yet
    held        what may not be billed yet
    posted      posted invoices less posted credits
    open_minutes  approved billable minutes no billing run has looked at yet
    """

    ready: tuple[Amount, ...]
    ready_count: int
    held: tuple[Amount, ...]
    held_count: int
    posted: tuple[Amount, ...]
    posted_count: int
    open_minutes: int
    periods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeldReason:
    """One reason, over all things it holds.

    deals  True when whole deals are held, before anything of them exists in a system
    """

    code: str
    deals: bool
    title: str
    sentence: str
    count: int
    amounts: tuple[Amount, ...]
    minutes: int
    oldest_at: datetime
    owner: str
    releases_when: str


@dataclass(frozen=True, slots=True)
class HeldItem:
    """One thing on hold.

    label    what people call it: project, day and person, or the deal
    scope    our identifier of the held thing
    """

    number: int
    code: str
    title: str
    scope: str
    scope_kind: str
    label: str
    project: str | None
    project_code: str | None
    customer: str | None
    legal_entity: str | None
    period: str | None
    day: date | None
    person: str | None
    amount: Amount | None
    minutes: int | None
    owner: str
    reason: str
    releases_when: str
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """One invoice or credit in a list."""

    gid: str
    code: str
    number: str | None
    invoice_type: str
    status: str
    customer: str | None
    project_code: str | None
    legal_entity: str | None
    period: str | None
    invoice_date: date
    due_on: date | None
    currency: str
    net: Decimal
    tax: Decimal
    gross: Decimal
    balance: Decimal | None
    breaks: int


def totals(tx: Tx) -> Totals:
    """Return what is ready, held and posted."""
    documents = tx.rows(
        """
        select status, body ->> 'currency' as currency, count(*) as count,
            sum(case when body ->> 'invoice_type' = 'credit' then -1 else 1 end * (body ->> 'net')::numeric) as net
        from objects where kind = 'invoice' and tombstone is null group by status, body ->> 'currency'
        """
    )
    held_count = tx.value("select count(distinct scope) from holds where released_at is null")
    waiting = tx.value(
        """
        select coalesce(sum(b.quantity), 0)::bigint from buckets b join time_entries t on t.gid = b.fact
        where b.bucket = 'unbilled' and b.quantity > 0 and t.billable and t.tombstone is null
        """
    )
    periods = tx.rows("select distinct body ->> 'period' as period from objects where kind = 'invoice' order by 1 desc")
    ready = [row for row in documents if row["status"] in ("draft", "submitted")]
    posted = [row for row in documents if row["status"] in POSTED]
    return Totals(
        _net(ready),
        sum(row["count"] for row in ready),
        held_once(tx),
        int(held_count),
        _net(posted),
        sum(row["count"] for row in posted),
        int(waiting),
        tuple(row["period"] for row in periods if row["period"]),
    )


def _net(rows: Sequence[dict[str, Any]]) -> tuple[Amount, ...]:
    found: dict[str, Decimal] = {}
    for row in rows:
        found[row["currency"]] = found.get(row["currency"], Decimal(0)) + row["net"]
    return tuple(Amount(found[currency], currency) for currency in sorted(found))


def reasons(tx: Tx, *, legal_entity: str | None = None) -> tuple[HeldReason, ...]:
    """Return why things are held, the most money first.

    legal_entity  only what this entity bills
    """
    rows = tx.rows(
        """
        select code, scope_kind = 'contract' as deals, currency, count(*) as count, sum(amount)::bigint as amount,
            coalesce(sum(minutes), 0)::bigint as minutes, min(opened_at) as oldest_at, min(owner) as owner,
            min(releases_when) as releases_when, min(reason) as reason
        from holds where released_at is null and (%(entity)s::text is null or legal_entity = %(entity)s)
        group by 1, 2, 3
        """,
        {"entity": legal_entity},
    )
    groups: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["code"], row["deals"]), []).append(row)
    found = [
        HeldReason(
            code,
            deals,
            hold_title(code, deal=deals),
            hold_sentence(code, deals, parts[0]["reason"]),
            sum(row["count"] for row in parts),
            sums((row["currency"], row["amount"]) for row in parts),
            sum(row["minutes"] for row in parts),
            min(row["oldest_at"] for row in parts),
            parts[0]["owner"],
            parts[0]["releases_when"],
        )
        for (code, deals), parts in groups.items()
    ]
    return tuple(sorted(found, key=lambda one: (-weight(one.amounts), one.code)))


def items(
    tx: Tx,
    *,
    code: str | None = None,
    deals: bool | None = None,
    legal_entity: str | None = None,
    project: str | None = None,
    contract: str | None = None,
    limit: int = 200,
) -> tuple[HeldItem, ...]:
    """Return things on hold, the most money first.

    code, legal_entity, project, contract  only these
    deals  True only whole deals, False only what belongs to projects
    """
    rows = tx.rows(
        """
        select h.number, h.code, h.scope, h.scope_kind, h.amount, h.currency, h.minutes, h.owner, h.reason, h.releases_when,
            h.opened_at, h.period, h.legal_entity, h.project, h.contract,
            p.body ->> 'code' as project_code, c.body ->> 'name' as customer,
            coalesce(t.worked_on, e.spent_on, (s.body ->> 'completed_on')::date) as day,
            r.body ->> 'name' as person, coalesce(t.role, e.category) as kind_of_work,
            coalesce(s.body ->> 'code', s.body ->> 'name') as scope_code, s.body ->> 'name' as scope_name,
            d.body ->> 'code' as deal
        from holds h
        left join objects s on s.gid = h.scope
        left join objects p on p.gid = h.project
        left join objects d on d.gid = h.contract
        left join objects c on c.gid = coalesce(p.body ->> 'customer', d.body ->> 'customer')
        left join time_entries t on t.gid = h.scope
        left join expense_lines e on e.gid = h.scope
        left join objects r on r.gid = coalesce(t.resource, e.resource)
        where h.released_at is null
            and (%(code)s::text is null or h.code = %(code)s)
            and (%(deals)s::bool is null or (h.scope_kind = 'contract') = %(deals)s)
            and (%(entity)s::text is null or h.legal_entity = %(entity)s)
            and (%(project)s::text is null or h.project = %(project)s)
            and (%(contract)s::text is null or h.contract = %(contract)s)
        order by h.amount desc, coalesce(t.worked_on, e.spent_on), h.number limit %(limit)s
        """,
        {
            "code": code,
            "deals": deals,
            "entity": legal_entity,
            "project": project,
            "contract": contract,
            "limit": limit,
        },
    )
    return tuple(
        HeldItem(
            row["number"],
            row["code"],
            hold_title(row["code"]),
            row["scope"],
            row["scope_kind"],
            _label(row),
            row["project"],
            row["project_code"],
            row["customer"],
            row["legal_entity"],
            row["period"],
            row["day"],
            row["person"],
            amount_of(row["amount"], row["currency"]) if row["currency"] else None,
            row["minutes"],
            row["owner"],
            row["reason"],
            row["releases_when"],
            row["opened_at"],
        )
        for row in rows
    )


def _label(row: dict[str, Any]) -> str:
    if row["scope_kind"] in ("time_entry", "expense_line"):
        return str(row["kind_of_work"] or row["scope_kind"].replace("_", " "))
    if row["scope_kind"] == "schedule":
        return f"Schedule of {row['scope'].partition('/')[0]}"
    name = str(row["scope_name"] or "")
    return f"{row['scope_code']} {name}".strip() if row["scope_code"] and row["scope_code"] != name else name


def invoices(
    tx: Tx,
    *,
    status: Sequence[str] | None = None,
    period: str | None = None,
    legal_entity: str | None = None,
    project: str | None = None,
    contract: str | None = None,
    limit: int = 500,
) -> tuple[InvoiceRow, ...]:
    """Return invoices and credits, the newest first.

    status, period, legal_entity, project, contract  only these
    """
    rows = tx.rows(
        """
        select i.gid, i.status, i.body, p.body ->> 'code' as project_code, c.body ->> 'name' as customer,
            (select count(*) from breaks b where b.gid = i.gid and b.closed_at is null) as breaks
        from objects i
        left join objects p on p.gid = i.body ->> 'project'
        left join objects c on c.gid = i.body ->> 'customer'
        where i.kind = 'invoice' and i.tombstone is null
            and (%(status)s::text[] is null or i.status = any(%(status)s))
            and (%(period)s::text is null or i.body ->> 'period' = %(period)s)
            and (%(entity)s::text is null or i.body ->> 'legal_entity' = %(entity)s)
            and (%(project)s::text is null or i.body ->> 'project' = %(project)s)
            and (%(contract)s::text is null or i.body ->> 'contract' = %(contract)s)
        order by i.body ->> 'invoice_date' desc, i.body ->> 'code' limit %(limit)s
        """,
        {
            "status": None if status is None else list(status),
            "period": period,
            "entity": legal_entity,
            "project": project,
            "contract": contract,
            "limit": limit,
        },
    )
    return tuple(_invoice_row(row) for row in rows)


def _invoice_row(row: dict[str, Any]) -> InvoiceRow:
    body = row["body"]
    return InvoiceRow(
        row["gid"],
        body["code"],
        body["number"],
        body["invoice_type"],
        row["status"],
        row["customer"],
        row["project_code"],
        body["legal_entity"],
        body["period"],
        date.fromisoformat(body["invoice_date"]),
        date.fromisoformat(body["due_on"]) if body["due_on"] else None,
        body["currency"],
        Decimal(body["net"]),
        Decimal(body["tax"]),
        Decimal(body["gross"]),
        None if body["balance"] is None else Decimal(body["balance"]),
        row["breaks"],
    )
