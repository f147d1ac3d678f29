"""Do the systems agree? Deal by deal beside each other, the sums of the last tie-out, and every break by name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from trueup.kernel.money import round_money
from trueup.reporting.amounts import Amount, amount_of
from trueup.reporting.billing_desk import POSTED
from trueup.reporting.deals import sold_lines
from trueup.reporting.disagreements import Proposal, proposals
from trueup.reporting.work import BREAKS
from trueup.store import objects
from trueup.store.database import Tx


@dataclass(frozen=True, slots=True)
class DealRow:
    """One deal in one currency, in every system. None means the system does not hold it.

    crm_value      value of the lines, won change orders included, as the CRM says it
    psa_value      budgets of its projects, as the PSA confirmed them when we wrote them
    erp_value      the same, as the ERP confirmed them
    hub_billed     posted invoices less posted credits, by our ledger
    erp_billed     the same by the ERP's last word
    crm_billed     what the CRM was told last, in the deal's own currency; None in others
    hub_revenue    recognised to date, by our subledger
    erp_revenue    revenue journals the ERP has posted
    differences    what does not agree, as sentences
    """

    contract: str
    deal: str
    name: str
    customer: str | None
    status: str
    currency: str
    crm_value: Decimal
    psa_value: Decimal | None
    erp_value: Decimal | None
    hub_billed: Decimal
    erp_billed: Decimal
    crm_billed: Decimal | None
    hub_revenue: Decimal
    erp_revenue: Decimal
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TieOut:
    """One object of one system, all groups added up.

    unit   money per currency, minutes, or nothing to add up
    """

    object: str
    vendor_object: str
    system: str
    currency: str | None
    unit: str
    ours_count: int
    theirs_count: int
    ours_sum: Decimal
    theirs_sum: Decimal
    difference: Decimal
    groups: int
    agrees: bool


@dataclass(frozen=True, slots=True)
class Break:
    """One disagreement, by name.

    amount     what the difference is worth
    assignee   who looks into it
    accepted_by, accepted_reason  who accepts it as it is, and why; nobody accepts the rest
    """

    number: int
    cls: str
    title: str
    object: str
    system: str
    gid: str | None
    label: str
    external_id: str | None
    legal_entity: str | None
    period: str | None
    ours: str | None
    theirs: str | None
    amount: Amount | None
    sentence: str
    repair: str
    opened_at: datetime
    closed_at: datetime | None
    field: str | None = None
    assignee: str | None = None
    accepted_by: str | None = None
    accepted_at: datetime | None = None
    accepted_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """What a reader wants to see of the breaks; an empty text means all.

    state  waiting (open, accepted by nobody), accepted, or empty for both
    """

    entity: str = ""
    period: str = ""
    cls: str = ""
    system: str = ""
    state: str = ""


NO_FILTER = Filter()


@dataclass(frozen=True, slots=True)
class Choices:
    """What the filters can be set to: what the breaks and sums of now have."""

    entities: tuple[str, ...]
    periods: tuple[str, ...]
    classes: tuple[tuple[str, str], ...]
    systems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """Breaks of one class, added up per currency."""

    cls: str
    title: str
    count: int
    amounts: tuple[Amount, ...]
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class Month:
    """Whether a month of a legal entity is signed off.

    state      open, prepared or signed
    waiting    open breaks nobody has accepted
    accepted   open breaks somebody has accepted
    agrees     every group of the last tie-out agrees by count and sum
    digest     of what was prepared; None before
    history    earlier sign-offs that were reopened: who, when, why
    """

    legal_entity: str
    period: str
    state: str
    waiting: int
    accepted: int
    records: int
    agrees: bool
    prepared_by: str | None
    prepared_at: datetime | None
    signed_by: str | None
    signed_at: datetime | None
    digest: str | None
    run: str | None
    history: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """The last tie-out."""

    run: str
    made_at: datetime
    compared: int
    groups: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything the page shows.

    run  None before the first tie-out
    """

    run: Run | None
    deals: tuple[DealRow, ...]
    tie_outs: tuple[TieOut, ...]
    breaks: tuple[Break, ...]
    closed: tuple[Break, ...]
    proposals: tuple[Proposal, ...]
    months: tuple[Month, ...] = ()
    sums: tuple[Sum, ...] = ()


def compare(tx: Tx, *, cost: bool = False, chosen: Filter = NO_FILTER) -> Comparison:
    """Return the systems side by side.

    cost    whether the reader may see what people cost
    chosen  which breaks, sums and months
    """
    return Comparison(
        last_run(tx),
        deals(tx),
        tie_outs(tx, chosen=chosen),
        breaks(tx, chosen=chosen),
        breaks(tx, closed=True, chosen=chosen),
        proposals(tx, cost=cost),
        months(tx, chosen),
        break_sums(tx, chosen),
    )


def choices(tx: Tx) -> Choices:
    """Return what the filters can be set to."""
    rows = tx.rows(
        """
        select 'entity' as what, legal_entity as value from breaks where closed_at is null and legal_entity is not null
        union select 'entity', legal_entity from tie_groups where legal_entity <> ''
        union select 'period', period from breaks where closed_at is null and period is not null
        union select 'period', period from tie_groups where period <> ''
        union select 'class', class from breaks where closed_at is null
        union select 'system', system from tie_groups
        union select 'system', system from breaks where closed_at is null
        """
    )
    by: dict[str, list[str]] = {"entity": [], "period": [], "class": [], "system": []}
    for row in rows:
        by[row["what"]].append(row["value"])
    return Choices(
        tuple(sorted(by["entity"])),
        tuple(sorted(by["period"], reverse=True)),
        tuple((cls, BREAKS.get(cls, cls)) for cls in sorted(by["class"])),
        tuple(sorted(by["system"])),
    )


def break_sums(tx: Tx, chosen: Filter = NO_FILTER) -> tuple[Sum, ...]:
    """Return the open breaks by class, the most of them first, with what they are worth per currency."""
    rows = tx.rows(
        """
        select class, coalesce(currency, '') as currency, count(*) as count, sum(abs(amount))::numeric as amount,
            min(opened_at) as oldest_at
        from breaks
        where closed_at is null and (%(entity)s = '' or legal_entity = %(entity)s)
            and (%(period)s = '' or period = %(period)s) and (%(system)s = '' or system = %(system)s)
        group by class, coalesce(currency, '') order by class
        """,
        {"entity": chosen.entity, "period": chosen.period, "system": chosen.system},
    )
    found = []
    for cls in sorted({row["class"] for row in rows}):
        of = [row for row in rows if row["class"] == cls]
        worth = tuple(amount_of(int(row["amount"]), row["currency"]) for row in of if row["currency"] and row["amount"])
        count, oldest = sum(row["count"] for row in of), min(row["oldest_at"] for row in of)
        found.append(Sum(cls, BREAKS.get(cls, cls), count, worth, oldest))
    return tuple(sorted(found, key=lambda one: -one.count))


def months(tx: Tx, chosen: Filter = NO_FILTER, limit: int = 60) -> tuple[Month, ...]:
    """Return the months that were compared, the newest first, with their breaks and signatures."""
    rows = tx.rows(
        """
        with last as (
            select run from runs where kind = 'tie_out' and state = 'done' order by ended_at desc, run limit 1
        ), compared as (
            select legal_entity, period, sum(greatest(ours_count, theirs_count))::bigint as records,
                bool_and(ours_count = theirs_count and ours_sum = theirs_sum and ours_hash = theirs_hash) as agrees
            from tie_outs where run = (select run from last) and legal_entity <> '' and period <> ''
            group by legal_entity, period
        ), differing as (
            select legal_entity, period, count(*) filter (where accepted_at is null) as waiting,
                count(*) filter (where accepted_at is not null) as accepted
            from breaks where closed_at is null and legal_entity is not null and period is not null
            group by legal_entity, period
        )
        select coalesce(c.legal_entity, d.legal_entity) as legal_entity, coalesce(c.period, d.period) as period,
            coalesce(c.records, 0) as records, coalesce(c.agrees, false) as agrees,
            coalesce(d.waiting, 0) as waiting, coalesce(d.accepted, 0) as accepted, s.prepared_by, s.prepared_at,
            s.signed_by, s.signed_at, s.digest, s.run,
            coalesce((select array_agg(
                    format('%%s signed %%s; %%s reopened it on %%s: %%s', coalesce(h.signed_by, 'nobody'),
                        coalesce(h.signed_at::date::text, ''), h.reopened_by, h.reopened_at::date, h.reopen_reason)
                    order by h.number)
                from sign_offs h where h.legal_entity = coalesce(c.legal_entity, d.legal_entity)
                    and h.period = coalesce(c.period, d.period) and h.reopened_at is not null), '{}') as history
        from compared c full join differing d using (legal_entity, period)
        left join sign_offs s on s.legal_entity = coalesce(c.legal_entity, d.legal_entity)
            and s.period = coalesce(c.period, d.period) and s.reopened_at is null
        where (%(entity)s = '' or coalesce(c.legal_entity, d.legal_entity) = %(entity)s)
            and (%(period)s = '' or coalesce(c.period, d.period) = %(period)s)
        order by 2 desc, 1 limit %(limit)s
        """,
        {"entity": chosen.entity, "period": chosen.period, "limit": limit},
    )
    return tuple(
        Month(**{**row, "history": tuple(row["history"])},
              state="signed" if row["signed_by"] else "prepared" if row["prepared_by"] else "open")
        for row in rows
    )  # fmt: skip


def last_run(tx: Tx) -> Run | None:
    """Return the last finished tie-out."""
    row = tx.row(
        """
        select run, coalesce(ended_at, created_at) as made_at, coalesce((figures ->> 'compared')::int, 0) as compared,
            coalesce((figures ->> 'groups')::int, 0) as groups
        from runs where kind = 'tie_out' and state = 'done' order by ended_at desc limit 1
        """
    )
    return Run(**row) if row else None


def breaks(tx: Tx, *, closed: bool = False, limit: int = 500, chosen: Filter = NO_FILTER) -> tuple[Break, ...]:
    """Return open breaks, the most money first; or those that ended, the newest first."""
    rows = tx.rows(
        """
        select * from breaks where (closed_at is not null) = %(closed)s
            and (%(entity)s = '' or legal_entity = %(entity)s) and (%(period)s = '' or period = %(period)s)
            and (%(cls)s = '' or class = %(cls)s) and (%(system)s = '' or system = %(system)s)
            and (%(state)s = '' or (accepted_at is not null) = (%(state)s = 'accepted'))
        order by case when %(closed)s then extract(epoch from closed_at) end desc nulls last,
            accepted_at is not null, abs(amount) desc, number
        limit %(limit)s
        """,
        {
            "closed": closed,
            "limit": limit,
            "entity": chosen.entity,
            "period": chosen.period,
            "cls": chosen.cls,
            "system": chosen.system,
            "state": chosen.state,
        },
    )
    return tuple(_break(row) for row in rows)


def one_break(tx: Tx, number: int) -> Break | None:
    """Return one break, open or ended; None when there is none of this number."""
    row = tx.row("select * from breaks where number = %s", (number,))
    return _break(row) if row else None


def _break(row: Mapping[str, Any]) -> Break:
    return Break(
        row["number"],
        row["class"],
        BREAKS.get(row["class"]) or str(row["class"]),
        row["object"],
        row["system"],
        row["gid"],
        row["label"],
        row["external_id"],
        row["legal_entity"],
        row["period"],
        row["ours"],
        row["theirs"],
        amount_of(row["amount"], row["currency"]) if row["currency"] and row["amount"] else None,
        row["sentence"],
        row["repair"],
        row["opened_at"],
        row["closed_at"],
        row["field"],
        row["assignee"],
        row["accepted_by"],
        row["accepted_at"],
        row["accepted_reason"],
    )


def tie_outs(tx: Tx, *, chosen: Filter = NO_FILTER) -> tuple[TieOut, ...]:
    """Return the last tie-out, one row for each object, system and currency."""
    rows = tx.rows(
        """
        select object, system, nullif(currency, '') as currency, sum(ours_count)::bigint as ours_count,
            sum(theirs_count)::bigint as theirs_count, sum(ours_sum)::bigint as ours_sum,
            sum(theirs_sum)::bigint as theirs_sum, count(*) as groups,
            bool_and(ours_count = theirs_count and ours_sum = theirs_sum and ours_hash = theirs_hash) as agrees
        from tie_outs
        where run = (select run from runs where kind = 'tie_out' and state = 'done' order by ended_at desc limit 1)
            and (%(entity)s = '' or legal_entity = %(entity)s) and (%(period)s = '' or period = %(period)s)
            and (%(system)s = '' or system = %(system)s)
        group by object, system, nullif(currency, '')
        order by bool_and(ours_count = theirs_count and ours_sum = theirs_sum and ours_hash = theirs_hash), system, object, 3
        """,
        {"entity": chosen.entity, "period": chosen.period, "system": chosen.system},
    )
    found = []
    for row in rows:
        kind, _, vendor_object = row["object"].partition(":")
        unit = _unit(kind, row["currency"])
        ours, theirs = (_sum(row[name], row["currency"], unit) for name in ("ours_sum", "theirs_sum"))
        found.append(
            TieOut(
                kind,
                vendor_object,
                row["system"],
                row["currency"],
                unit,
                row["ours_count"],
                row["theirs_count"],
                ours,
                theirs,
                theirs - ours,
                row["groups"],
                row["agrees"],
            )
        )
    return tuple(found)


def _unit(kind: str, currency: str | None) -> str:
    if kind == "time_entry":
        return "minutes"
    return "money" if currency else "count"


def _sum(value: int, currency: str | None, unit: str) -> Decimal:
    return amount_of(value, currency).amount if unit == "money" and currency else Decimal(value)


def deals(tx: Tx, contract: str | None = None) -> tuple[DealRow, ...]:
    """Return deals with their values side by side, those that differ first.

    contract  only this one
    """
    contracts = {
        held.gid: held
        for held in objects.of_kind(tx, "contract")
        if held.body["contract_type"] == "new" and held.status not in ("draft", "lost")
        if contract is None or held.gid == contract
    }
    customers = objects.load(tx, {held.body["customer"] for held in contracts.values()})
    value: dict[tuple[str, str], Decimal] = {}
    for line in sold_lines(tx, list(contracts.values())):
        key = (line.contract, line.currency)
        value[key] = value.get(key, Decimal(0)) + line.amount
    written = _written(tx)
    billed, billed_there = _billed(tx)
    revenue, revenue_there = _revenue(tx)
    told = _told(tx)
    disagree = _crm_disagrees(tx)
    found = []
    for (gid, currency), worth in value.items():
        held = contracts[gid]
        zero = round_money(Decimal(0), currency)
        customer = customers.get(held.body["customer"])
        row = DealRow(
            gid,
            held.body["code"],
            held.body["name"],
            customer.body["name"] if customer else None,
            held.status,
            currency,
            worth,
            written.get((gid, currency, "psa")),
            written.get((gid, currency, "erp")),
            billed.get((gid, currency), zero),
            billed_there.get((gid, currency), zero),
            told.get(gid) if currency == held.body["currency"] else None,
            revenue.get((gid, currency), zero),
            revenue_there.get((gid, currency), zero),
            (),
        )
        found.append(_with_differences(row, disagree.get(gid, ())))
    return tuple(sorted(found, key=lambda row: (not row.differences, row.deal, row.currency)))


def _with_differences(row: DealRow, said: tuple[str, ...]) -> DealRow:
    found = list(said)
    if row.status not in ("signed",):
        for name, value in (("PSA", row.psa_value), ("ERP", row.erp_value)):
            if value is None:
                found.append(f"no project in the {name}")
            elif value != row.crm_value:
                found.append(f"{name} holds {_gap(value, row.crm_value, row.currency)} than was sold")
    else:
        found.append("not set up: the deal is held")
    if row.erp_billed != row.hub_billed:
        found.append(f"ERP has {_gap(row.erp_billed, row.hub_billed, row.currency)} on its invoices")
    if row.crm_billed is not None and row.crm_billed != row.hub_billed:
        found.append(f"CRM shows {_gap(row.crm_billed, row.hub_billed, row.currency)} billed")
    if row.erp_revenue != row.hub_revenue:
        found.append(f"ERP has booked {_gap(row.erp_revenue, row.hub_revenue, row.currency)} of revenue")
    return replace(row, differences=tuple(found))


def _gap(there: Decimal, here: Decimal, currency: str) -> str:
    return f"{abs(there - here):,f} {currency} {'more' if there > here else 'less'}"


def _written(tx: Tx) -> dict[tuple[str, str, str], Decimal]:
    """Return what PSA and ERP confirmed as the budgets of a deal's projects; a change order raises them."""
    rows = tx.rows(
        """
        select p.body ->> 'contract' as contract, p.body ->> 'currency' as currency, s.role,
            sum((p.body ->> 'budget')::numeric) as budget
        from objects p
        join systems s on s.role in ('psa', 'erp')
        where p.kind = 'project' and p.tombstone is null and exists (
            select from deliveries d where d.gid = p.gid and d.system = s.system and d.kind = 'project' and d.state = 'confirmed')
        group by 1, 2, 3
        """
    )
    return {(row["contract"], row["currency"], row["role"]): row["budget"] for row in rows}


Sums = dict[tuple[str, str], Decimal]


def _billed(tx: Tx) -> tuple[Sums, Sums]:
    """Return posted net per deal and currency, as we hold it and as the ERP said last."""
    rows = tx.rows(
        """
        select i.gid, i.body ->> 'contract' as contract, i.body ->> 'currency' as currency,
            case when i.body ->> 'invoice_type' = 'credit' then -1 else 1 end * (i.body ->> 'net')::numeric as ours,
            case when i.body ->> 'invoice_type' = 'credit' then -1 else 1 end
                * coalesce((p.value #>> '{}')::numeric, (i.body ->> 'net')::numeric) as theirs
        from objects i
        left join (proposals p join systems s on s.system = p.system and s.role = 'erp')
            on p.gid = i.gid and p.field = 'net' and p.state = 'open'
        where i.kind = 'invoice' and i.tombstone is null and i.status = any(%s) and i.body ->> 'contract' is not null
        """,
        (list(POSTED),),
    )
    ours: Sums = {}
    theirs: Sums = {}
    for row in rows:
        key = (row["contract"], row["currency"])
        ours[key] = ours.get(key, Decimal(0)) + row["ours"]
        theirs[key] = theirs.get(key, Decimal(0)) + row["theirs"]
    return ours, theirs


def _revenue(tx: Tx) -> tuple[Sums, Sums]:
    """Return recognised revenue per deal and currency, by our subledger and by the journals the ERP has posted."""
    ours = {
        (row["contract"], row["currency"]): amount_of(row["recognised"], row["currency"]).amount
        for row in tx.rows(
            """
            select contract, currency, sum(recognised)::bigint as recognised from positions p
            where period = (select max(q.period) from positions q where q.legal_entity = p.legal_entity)
            group by contract, currency
            """
        )
    }
    theirs = {
        (row["contract"], row["currency"]): row["recognised"]
        for row in tx.rows(
            """
            select l ->> 'contract' as contract, j.body ->> 'currency' as currency,
                sum((l ->> 'credit')::numeric - (l ->> 'debit')::numeric) as recognised
            from objects j cross join lateral jsonb_array_elements(j.body -> 'lines') l
            where j.kind = 'journal_reference' and j.body ->> 'journal_type' = 'revenue' and j.tombstone is null
                and j.status in ('posted', 'matched') and l ->> 'account' like '4%%' and l ->> 'contract' is not null
            group by 1, 2
            """,
            {},
        )
    }
    return ours, theirs


def _told(tx: Tx) -> dict[str, Decimal]:
    """Return what the CRM confirmed last as billed, per deal."""
    rows = tx.rows(
        """
        select distinct on (d.gid) d.gid, d.source ->> 'billed_amount' as billed from deliveries d
        join systems s on s.system = d.system and s.role = 'crm'
        where d.kind = 'contract' and d.state = 'confirmed' and d.source ? 'billed_amount'
        order by d.gid, d.sequence desc
        """
    )
    return {row["gid"]: Decimal(row["billed"]) for row in rows if row["billed"] is not None}


def _crm_disagrees(tx: Tx) -> Mapping[str, tuple[str, ...]]:
    """Return what systems say otherwise about contracts, as sentences."""
    found: dict[str, list[str]] = {}
    for one in proposals(tx, limit=100_000):
        if one.kind == "contract":
            sentence = f"{one.system} says {one.field.replace('_', ' ')} {_shown(one.theirs)}, the hub holds {_shown(one.ours)}"
            found.setdefault(one.gid, []).append(sentence)
    return {gid: tuple(sentences) for gid, sentences in found.items()}


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)
