-- The revenue subledger: what was expected of the ledger, by obligation and month of service. Every journal balances.
alter table positions
    add column obligation text,
    add column claim text not null default 'net' check (claim in ('net', 'receivable', 'contract_asset')),
    add column provision bigint not null default 0 check (provision >= 0),
    add column estimate_change bigint not null default 0;
update positions set obligation = line_key;
alter table positions alter column obligation set not null;
alter table positions drop constraint positions_pkey;
alter table positions add primary key (contract, line_key, obligation, legal_entity, currency, period);
comment on column positions.obligation is 'performance obligation; the line''s own key where none is declared';

create table revenue_journals (
    journal       text not null,
    legal_entity  text not null,
    currency      text not null,
    period        text not null,
    debit         bigint not null,
    credit        bigint not null,
    created_at    timestamptz not null default now(),
    primary key (journal, legal_entity, currency)
);
comment on table revenue_journals is 'Sums of revenue_postings, kept by its trigger alone: at commit debits equal credits.';

create table revenue_postings (
    journal       text not null,
    line          integer not null,
    legal_entity  text not null,
    currency      text not null,
    period        text not null,
    origin_period text not null,
    account       text not null,
    debit         bigint not null check (debit >= 0),
    credit        bigint not null check (credit >= 0),
    contract      text,
    contract_line text,
    obligation    text,
    project       text,
    memo          text not null,
    created_at    timestamptz not null default now(),
    primary key (journal, legal_entity, currency, line),
    constraint revenue_postings_one_side check ((debit = 0) <> (credit = 0)),
    constraint revenue_postings_no_foresight check (origin_period <= period)
);
create index revenue_postings_by_contract on revenue_postings (contract, account);
create index revenue_postings_by_entity on revenue_postings (legal_entity, period);

create function keep_revenue_journals() returns trigger language plpgsql as $$
begin
    if exists (
        select from (select distinct legal_entity, period from posted) p
        join revenue_journals j on j.legal_entity = p.legal_entity and j.period > p.period
    ) then
        raise exception 'a later month is posted already: this one is closed, post in the open month'
            using errcode = 'check_violation';
    end if;
    insert into revenue_journals (journal, legal_entity, currency, period, debit, credit)
    select journal, legal_entity, currency, max(period), sum(debit), sum(credit) from posted
    group by journal, legal_entity, currency
    on conflict (journal, legal_entity, currency) do update
        set debit = revenue_journals.debit + excluded.debit, credit = revenue_journals.credit + excluded.credit;
    return null;
end $$;
create trigger revenue_postings_keep_journals after insert on revenue_postings
    referencing new table as posted for each statement execute function keep_revenue_journals();
create trigger revenue_postings_append_only before update or delete on revenue_postings
    for each row execute function refuse_change();

create function refuse_unbalanced() returns trigger language plpgsql as $$
begin
    if exists (
        select from revenue_journals
        where journal = new.journal and legal_entity = new.legal_entity and currency = new.currency and debit <> credit
    ) then
        raise exception 'journal % does not balance', new.journal using errcode = 'check_violation';
    end if;
    return null;
end $$;
create constraint trigger revenue_journals_balance after insert or update on revenue_journals
    deferrable initially deferred for each row execute function refuse_unbalanced();

create table advance_positions (
    contract      text not null,
    advance       text not null,
    period        text not null,
    amount        bigint not null check (amount > 0),
    released      bigint not null check (released between 0 and amount),
    functional_currency text not null,
    functional    bigint not null,
    functional_released bigint not null,
    created_at    timestamptz not null default now(),
    primary key (contract, advance, period),
    constraint advance_positions_used_up check (released < amount or functional_released = functional)
);
comment on table advance_positions is 'Advances in foreign currency at each month end, each at the rate of its own day.';

-- What months closed before this migration have booked: their journals in one, per legal entity and currency.
insert into revenue_postings (journal, line, legal_entity, currency, period, origin_period, account, debit, credit,
    contract, contract_line, obligation, memo)
select 'OPEN-' || legal_entity || '-' || period, row_number() over (partition by legal_entity, currency order by contract, line_key, account),
    legal_entity, currency, period, period, account, greatest(amount, 0), greatest(-amount, 0), contract,
    case when account = '4000' then line_key end, case when account = '4000' then line_key end, 'Booked until ' || period
from (
    select p.contract, p.line_key, p.legal_entity, p.currency, p.period, side.account, side.amount
    from positions p cross join lateral (values
        ('4000', -p.recognised), ('2400', p.billed - p.deferred), ('1150', p.unbilled)) side (account, amount)
    where p.period = (select max(q.period) from positions q where q.legal_entity = p.legal_entity)
) opening
where amount <> 0;
