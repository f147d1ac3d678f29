-- The bucket ledger: every approved minute, cent and milestone share is in exactly one bucket, and stays counted.
create table buckets (
    fact          text not null,
    bucket        text not null check (bucket in ('source', 'unbilled', 'held', 'over_cap', 'on_draft', 'invoiced',
                      'credited', 'written_off', 'postponed', 'non_billable', 'covered_by_fixed_fee')),
    quantity      bigint not null,
    primary key (fact, bucket),
    constraint buckets_never_overdrawn check (quantity >= 0 or bucket = 'source')
) with (fillfactor = 70);
comment on table buckets is 'Balances, kept by the trigger on moves alone; what is in all buckets is what left the source.';

create table moves (
    number        bigint generated always as identity primary key,
    key           text not null,
    fact          text not null,
    fact_version  integer not null,
    unit          text not null check (unit in ('minute', 'amount', 'share')),
    from_bucket   text not null,
    to_bucket     text not null,
    quantity      bigint not null check (quantity > 0),
    charge        text,
    document      text,
    line_key      text,
    reason        text not null,
    actor         text not null,
    created_at    timestamptz not null default now(),
    constraint moves_made_once unique (key),
    constraint moves_go_somewhere check (from_bucket <> to_bucket)
);
create index moves_by_fact on moves (fact);
create index moves_by_document on moves (document) where document is not null;

create function keep_buckets() returns trigger language plpgsql as $$
declare
    short bigint;
begin
    -- One pass: what is left after both sides of every move are added up either fills a bucket or is taken from one.
    with net as materialized (
        select fact, bucket, sum(quantity)::bigint as quantity from (
            select fact, from_bucket as bucket, -quantity as quantity from moved
            union all
            select fact, to_bucket, quantity from moved
        ) both_sides
        group by fact, bucket
    ), filled as (
        insert into buckets (fact, bucket, quantity)
        select fact, bucket, quantity from net where quantity > 0 or bucket = 'source' order by fact, bucket
        on conflict (fact, bucket) do update set quantity = buckets.quantity + excluded.quantity
    ), taken as (
        update buckets set quantity = buckets.quantity + net.quantity from net
        where net.quantity < 0 and net.bucket <> 'source' and buckets.fact = net.fact and buckets.bucket = net.bucket
        returning 1
    )
    select (select count(*) from net where quantity < 0 and bucket <> 'source') - (select count(*) from taken) into short;
    if short > 0 then
        raise exception 'a move takes from a bucket that holds nothing' using errcode = 'check_violation';
    end if;
    return null;
end $$;
create trigger moves_keep_buckets after insert on moves
    referencing new table as moved for each statement execute function keep_buckets();

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append only: write a correcting row', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger moves_append_only before update or delete on moves for each row execute function refuse_change();

create table charges (
    key           text primary key,
    fact          text not null,
    fact_version  integer not null,
    kind          text not null check (kind in ('time', 'expense', 'fee', 'overage', 'milestone')),
    project       text not null,
    contract      text not null,
    contract_line text,
    legal_entity  text not null,
    currency      text not null,
    minutes       bigint,
    rate          bigint,
    amount        bigint not null,
    bucket        text not null check (bucket in ('on_draft', 'covered_by_fixed_fee', 'non_billable')),
    document      text,
    line_key      text,
    rate_line     text,
    service_on    date not null,
    period        text not null,
    run           text not null,
    trace         jsonb not null,
    created_at    timestamptz not null default now()
);
create index charges_by_document on charges (document, line_key);
create index charges_by_fact on charges (fact);
create index charges_by_project on charges (project, period);

create table allocations (
    charge        text not null references charges (key),
    document      text not null,
    line_key      text not null,
    minutes       bigint,
    amount        bigint not null,
    created_at    timestamptz not null default now(),
    primary key (charge, document, line_key)
);
create index allocations_by_document on allocations (document);
comment on table allocations is 'Which part of which charge stands on which line; a credit has negative rows and names the same charges.';

create table holds (
    number        bigint generated always as identity primary key,
    code          text not null,
    scope         text not null,
    scope_kind    text not null,
    project       text,
    contract      text,
    legal_entity  text,
    amount        bigint not null default 0,
    currency      text,
    minutes       bigint,
    owner         text not null,
    reason        text not null,
    releases_when text not null,
    period        text,
    opened_at     timestamptz not null default now(),
    released_at   timestamptz,
    released_by   text,
    release_reason text,
    created_at    timestamptz not null default now(),
    constraint holds_released_with_a_reason check ((released_at is null) = (release_reason is null))
);
create unique index holds_one_open on holds (code, scope) where released_at is null;
create index holds_by_contract on holds (contract) where released_at is null;

create table runs (
    run           text primary key,
    kind          text not null check (kind in ('billing', 'month_end', 'tie_out', 'milestone', 'replay')),
    legal_entity  text,
    period        text,
    state         text not null default 'running' check (state in ('running', 'done', 'failed')),
    figures       jsonb not null default '{}',
    created_at    timestamptz not null default now(),
    ended_at      timestamptz
);

create table positions (
    contract      text not null,
    line_key      text not null,
    period        text not null,
    legal_entity  text not null,
    currency      text not null,
    method        text not null,
    recognised    bigint not null,
    billed        bigint not null,
    deferred      bigint not null check (deferred >= 0),
    unbilled      bigint not null check (unbilled >= 0),
    created_at    timestamptz not null default now(),
    primary key (contract, line_key, legal_entity, currency, period),
    constraint positions_tie check (unbilled - deferred = recognised - billed)
);

create table margins (
    project       text not null,
    period        text not null,
    legal_entity  text not null,
    currency      text not null,
    recognised    bigint not null,
    labour        bigint not null,
    expense       bigint not null,
    minutes       bigint not null default 0,
    created_at    timestamptz not null default now(),
    primary key (project, period)
);
comment on table margins is 'Snapshot per project and month of posting: what the month added.';
