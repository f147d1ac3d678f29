"""The laws of billing.md S28, asked of the database itself: each query returns what breaks its law."""

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
