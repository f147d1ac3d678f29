"""The laws of billing.md S28, asked of the database itself: each query returns what breaks its law.

I3 (twice is once), the value of I4 (billed is what the newest facts are worth) and the constancy of what was posted need
two looks or a second engine: the machine that drives the office asserts them.
"""

LAWS = {
    "I1 a charge is on documents for no less than nothing and no more than itself": """
        select c.key from charges c join allocations a on a.charge = c.key group by c.key, c.amount, c.minutes
        having sum(a.amount) not between least(c.amount, 0) and greatest(c.amount, 0)
            or coalesce(sum(a.minutes), 0) not between 0 and coalesce(c.minutes, 0)""",
    "I1 what stands on documents is what lies in on_draft and invoiced": """
        select fact from (
            select c.fact, sum(a.minutes) as minutes from charges c join allocations a on a.charge = c.key
            where c.kind in ('time', 'overage') group by c.fact) allocated
        full join (
            select fact, sum(quantity) as quantity from buckets
            where bucket in ('on_draft', 'invoiced') and fact like 'tim%%' group by fact) lies using (fact)
        where coalesce(minutes, 0) <> coalesce(quantity, 0)""",
    "I2 an invoice's lines are its net, and its charges are its lines": """
        select i.gid from objects i
        cross join lateral (select sum((l ->> 'net')::numeric) as net from jsonb_array_elements(i.body -> 'lines') l) lines
        cross join lateral (
            select coalesce(sum(amount), 0) / 1000000.0 as net from allocations where document = i.gid) ledger
        where i.kind = 'invoice' and ((i.body ->> 'net')::numeric <> lines.net
            or (i.body ->> 'net')::numeric * case i.body ->> 'invoice_type' when 'credit' then -1 else 1 end <> ledger.net)""",
    "I4 what is on documents is approved, or named": """
        select b.fact from (
            select fact, sum(quantity) as quantity from buckets where bucket in ('on_draft', 'invoiced') group by fact) b
        join time_entries t on t.gid = b.fact
        where t.tombstone is null and b.quantity > case when t.status = 'approved' then t.minutes else 0 end
            and not exists (select from holds where scope = b.fact and code = 'CREDIT_DUE' and released_at is null)""",
    "I8 all buckets of an approved entry are its minutes, or more is on documents or given up": """
        select t.gid from time_entries t
        cross join lateral (
            select coalesce(sum(quantity), 0) as whole,
                coalesce(sum(quantity) filter (where bucket in ('on_draft', 'invoiced', 'credited', 'written_off')), 0) as final
            from buckets where fact = t.gid and bucket <> 'source') b
        where b.whole <> greatest(case when t.status = 'approved' and t.tombstone is null then t.minutes else 0 end, b.final)""",
    "I9 a credit takes back no more than was billed, net and tax": """
        select i.gid from objects i join objects c on c.body ->> 'corrects' = i.gid and c.status <> 'voided'
        group by i.gid, i.body
        having sum((c.body ->> 'net')::numeric) > (i.body ->> 'net')::numeric
            or sum((c.body ->> 'tax')::numeric) > (i.body ->> 'tax')::numeric""",
    "I5 revenue to date is never below nothing nor above the price": """
        select p.contract, p.line_key, p.period, p.recognised from positions p join objects c on c.gid = p.contract
        cross join lateral jsonb_array_elements(c.body -> 'lines') l
        where l ->> 'key' = p.line_key and p.method <> 'as_invoiced'
            and p.recognised not between 0 and (l ->> 'amount')::numeric * 1000000""",
    "I5 revenue is the whole price once all of it was delivered": """
        select p.contract, p.line_key, p.period, p.recognised from positions p
        cross join lateral (
            select sum((m.body ->> 'amount')::numeric) as price, max(m.updated_at) as known_at,
                bool_and(m.status = 'completed' and left(m.body ->> 'completed_on', 7) <= p.period) as whole
            from objects m
            where m.kind = 'milestone' and m.body ->> 'contract' = p.contract and m.body ->> 'line_key' = p.line_key) m
        where p.method = 'milestone' and m.whole and m.known_at < p.created_at and p.recognised <> m.price * 1000000""",
    "I5 a capped line is on documents for no more than its cap": """
        select c.contract, sum(a.amount) as stands from charges c join allocations a on a.charge = c.key
        join objects o on o.gid = c.contract
        cross join lateral jsonb_array_elements(o.body -> 'lines') l
        where l ->> 'key' = c.contract_line and l ->> 'cap' is not null and c.kind in ('time', 'delta', 'adjustment')
        group by c.contract, l ->> 'cap' having sum(a.amount) > (l ->> 'cap')::numeric * 1000000""",
    "I6 a contract's position is what it recognised less what it billed, in the books and in the documents": """
        select p.contract, p.recognised, p.billed, b.earned, b.position, b.documents from (
            select contract, legal_entity, currency, period, sum(recognised) as recognised, sum(billed) as billed
            from positions group by contract, legal_entity, currency, period) p
        cross join lateral (
            select coalesce(sum(credit - debit) filter (where account = '4000'), 0) as earned,
                coalesce(sum(debit - credit) filter (where account in ('1150', '1160', '2400')), 0) as position,
                coalesce(sum(credit - debit) filter (where account = '2400' and journal like 'DOC-%%'), 0) as documents
            from revenue_postings r where (r.contract, r.legal_entity, r.currency) = (p.contract, p.legal_entity, p.currency)
                and r.period <= p.period) b
        where b.earned <> p.recognised or b.position <> p.recognised - p.billed or b.documents <> p.billed""",
    "I7 debits are credits for each legal entity, currency and period": """
        select legal_entity, currency, period from revenue_postings group by legal_entity, currency, period
        having sum(debit) <> sum(credit)""",
    "I7 every journal that goes to the ERP balances": """
        select j.gid from objects j
        cross join lateral (
            select sum((l ->> 'debit')::numeric) as debit, sum((l ->> 'credit')::numeric) as credit
            from jsonb_array_elements(j.body -> 'lines') l) l
        where j.kind = 'journal_reference' and (l.debit <> l.credit or l.debit <> (j.body ->> 'total_debit')::numeric
            or l.credit <> (j.body ->> 'total_credit')::numeric)""",
    "I8 all buckets of an approved expense are its amount, or more is on documents or given up": """
        select e.gid from expense_lines e
        cross join lateral (
            select coalesce(sum(quantity), 0) as whole,
                coalesce(sum(quantity) filter (where bucket in ('on_draft', 'invoiced', 'credited', 'written_off')), 0) as final
            from buckets where fact = e.gid and bucket <> 'source') b
        where b.whole <> greatest(
            case when e.status in ('approved', 'posted', 'reimbursed') and e.tombstone is null then e.amount else 0 end,
            b.final)""",
    "I10 no number of a series is missing, and every document posted bears its own": """
        select s.prefix from number_series s
        cross join lateral (
            select count(*) as count, coalesce(max(ordinal), 0) as last from document_numbers d
            where (d.legal_entity, d.document_type, d.fiscal_year, d.prefix)
                = (s.legal_entity, s.document_type, s.fiscal_year, s.prefix)) d
        where d.count <> s.last_ordinal or d.last <> s.last_ordinal
        union all
        select i.gid from objects i left join document_numbers d on d.document = i.gid
        where i.kind = 'invoice' and i.status in ('posted', 'part_paid', 'paid', 'credited')
            and exists (select from number_series s where s.legal_entity = i.body ->> 'legal_entity')
            and d.number is distinct from i.body ->> 'number'
            and not exists (select from holds where scope = i.gid and code = 'MANUAL' and released_at is null)""",
    "I12 nothing was booked or dated into a month after it was closed": """
        with closed as (select legal_entity, period, closed_at from period_closes where state = 'closed')
        select 'posting ' || journal as late from revenue_postings r join closed c using (legal_entity, period)
        where r.created_at > c.closed_at
        union all
        select 'position ' || contract from positions p join closed c using (legal_entity, period)
        where p.created_at > c.closed_at
        union all
        select o.kind || ' ' || o.gid from objects o
        join closed c on c.legal_entity = o.body ->> 'legal_entity' and c.period = o.body ->> 'period'
        where o.kind in ('invoice', 'journal_reference') and o.created_at > c.closed_at""",
    "I11 every charge has a trace": "select key from charges where trace is null or trace ->> 'rule' is null",
    "every bucket is the sum of its moves": """
        select fact, bucket from buckets b
        full join (
            select fact, bucket, sum(quantity) as moved from (
                select fact, to_bucket as bucket, quantity from moves
                union all select fact, from_bucket, -quantity from moves) both_sides
            group by fact, bucket) m using (fact, bucket)
        where coalesce(b.quantity, 0) <> coalesce(m.moved, 0)""",
    "I4 the price of what is final is what its charges say": """
        select f.fact from (
            select fact, sum(quantity) as minutes from buckets
            where bucket in ('on_draft', 'invoiced', 'credited', 'written_off', 'non_billable', 'covered_by_fixed_fee')
                and fact like 'tim%%' group by fact) f
        cross join lateral (
            select coalesce(sum(minutes), 0) as minutes from charges where fact = f.fact and kind in ('time', 'overage')) c
        cross join lateral (
            select coalesce(sum(minutes), 0) as minutes from reopenings where fact = f.fact and kind in ('time', 'overage')) r
        where f.minutes <> c.minutes - r.minutes""",
}


def broken(database):
    """Name every law that does not hold, with the first things that break it."""
    found = {}
    with database.transaction() as tx:
        for law, sql in LAWS.items():
            rows = tx.rows(sql, {})
            if rows:
                found[law] = rows[:3]
    return found
