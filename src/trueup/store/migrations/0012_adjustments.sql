-- People's decisions about what is billed, and what makes a billed minute open again.
alter table charges drop constraint charges_kind_check;
alter table charges add constraint charges_kind_check
    check (kind in ('time', 'expense', 'fee', 'overage', 'minimum', 'discount', 'milestone', 'adjustment', 'delta'));
alter table charges drop constraint charges_bucket_check;
alter table charges add constraint charges_bucket_check
    check (bucket in ('on_draft', 'covered_by_fixed_fee', 'non_billable', 'written_off'));
comment on column charges.kind is
    'adjustment lowers or raises a bill and is no price of the fact; delta is the rest of its price after a re-rating';

create table reopenings (
    key           text primary key,
    charge        text not null references charges (key),
    fact          text not null,
    kind          text not null,
    place         text not null check (place in ('on_draft', 'invoiced', 'credited', 'written_off', 'non_billable',
                      'covered_by_fixed_fee')),
    minutes       bigint not null default 0,
    amount        bigint not null,
    document      text,
    reason        text not null,
    created_at    timestamptz not null default now()
);
comment on table reopenings is
    'Parts of charges that price their fact no longer: voided, credited to be billed again, or no longer worked.';
create index reopenings_by_fact on reopenings (fact);
create index reopenings_by_charge on reopenings (charge);
create trigger reopenings_append_only before update or delete on reopenings for each row execute function refuse_change();

-- A charge is never on documents for less than nothing or for more than itself.
create function keep_allocations() returns trigger language plpgsql as $$
declare
    wrong text;
begin
    select c.key into wrong
    from charges c
    join allocations a on a.charge = c.key
    where c.key in (select charge from allocated where amount < 0 or minutes < 0)
    group by c.key, c.amount, c.minutes
    having sum(a.amount) not between least(c.amount, 0) and greatest(c.amount, 0)
        or coalesce(sum(a.minutes), 0) not between 0 and coalesce(c.minutes, 0)
    limit 1;
    if wrong is not null then
        raise exception 'charge % would be credited for more than it was billed', wrong using errcode = 'check_violation';
    end if;
    return null;
end $$;
create trigger allocations_within_their_charge after insert on allocations
    referencing new table as allocated for each statement execute function keep_allocations();

create table adjustments (
    number        bigint generated always as identity primary key,
    key           text not null,
    kind          text not null check (kind in ('write_down', 'write_up', 'write_off', 'courtesy', 'postponed',
                      'non_billable', 're_rate')),
    legal_entity  text not null,
    policy        text check (policy in ('delta_next', 'credit_partial', 'credit_full_rebill')),
    until         date,
    reason        text not null check (length(reason) >= 5),
    two_people    boolean not null,
    state         text not null default 'proposed' check (state in ('proposed', 'applied', 'rejected', 'undone')),
    proposed_by   text not null,
    approved_by   text,
    decided_at    timestamptz,
    undone_by     text,
    undone_at     timestamptz,
    undo_reason   text,
    created_at    timestamptz not null default now(),
    constraint adjustments_once unique (key),
    constraint adjustments_decided_by_somebody check ((state = 'proposed') = (approved_by is null)),
    constraint adjustments_by_two_people
        check (not two_people or state not in ('applied', 'undone') or approved_by <> proposed_by),
    constraint adjustments_undone_with_a_reason check ((state = 'undone') = (undo_reason is not null)),
    constraint adjustments_postponed_until_a_day check ((kind = 'postponed') = (until is not null))
);
create index adjustments_open on adjustments (legal_entity, kind) where state in ('proposed', 'applied');

create table adjustment_facts (
    adjustment    bigint not null references adjustments (number),
    fact          text not null,
    charge        text not null default '',
    fact_version  integer not null,
    project       text not null,
    currency      text not null,
    unit          text not null check (unit in ('minute', 'amount')),
    quantity      bigint not null,
    amount        bigint not null,
    old_amount    bigint,
    new_amount    bigint,
    document      text,
    line_key      text,
    rate          bigint,
    rate_line     text,
    created_at    timestamptz not null default now(),
    primary key (adjustment, fact, charge)
);
create index adjustment_facts_by_fact on adjustment_facts (fact);
comment on column adjustment_facts.amount is
    'what the decision changes: below zero lowers the bill; for a write-off the value given up, above zero';

create table edits (
    fact          text primary key,
    version       integer not null,
    created_at    timestamptz not null default now()
);
comment on table edits is 'Facts on documents that changed since: billing compares them and takes them from here.';

-- Whoever bills, credits or re-rates finds the charges of a fact, or of a rate line, without reading the others.
create index charges_by_rate_line on charges (rate_line, service_on) where rate_line is not null;
create index charges_by_contract on charges (contract, service_on);
create index moves_by_charge on moves (charge) where charge is not null;
create index moves_taken_back on moves (fact)
    where from_bucket in ('on_draft', 'invoiced', 'credited', 'written_off', 'non_billable', 'covered_by_fixed_fee')
        and to_bucket in ('unbilled', 'source');
create index rate_lines_by_contract on objects ((body ->> 'contract'), (body ->> 'role')) where kind = 'rate_line';
