-- One budget for each vendor account, shared by every worker: calls are given out in lots, on the database's clock.
create table budgets (
    account         text primary key,
    per_second      double precision not null check (per_second > 0),
    concurrency     integer not null check (concurrency > 0),
    timeout_seconds double precision not null check (timeout_seconds > 0),
    rate            double precision not null,
    slots           double precision not null,
    tokens          double precision not null default 1 check (tokens >= 0),
    filled_at       timestamptz not null default clock_timestamp(),
    paused_until    timestamptz,
    strikes         integer not null default 0,
    slowed_at       timestamptz,
    raised_at       timestamptz,
    created_at      timestamptz not null default now(),
    constraint budgets_stay_within_the_account check (
        rate > 0 and rate <= per_second and slots >= 1 and slots <= concurrency)
);

create table budget_lots (
    lot         bigint generated always as identity primary key,
    account     text not null references budgets (account) on delete cascade,
    holder      text not null,
    lane        text not null,
    entity      text not null,
    calls       integer not null check (calls > 0),
    lease_until timestamptz not null,
    created_at  timestamptz not null default clock_timestamp()
);
create index budget_lots_by_account on budget_lots (account, lease_until);

create table budget_waits (
    account text not null references budgets (account) on delete cascade,
    holder  text not null,
    lane    text not null,
    entity  text not null,
    wanted  integer not null,
    since   timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp(),
    created_at timestamptz not null default now(),
    primary key (account, holder, lane, entity)
);

create table budget_turns (
    account text not null references budgets (account) on delete cascade,
    lane    text not null,
    entity  text not null,
    turn    double precision not null default 0,
    created_at timestamptz not null default now(),
    primary key (account, lane, entity)
);

create table budget_use (
    account text not null references budgets (account) on delete cascade,
    minute  timestamptz not null,
    lane    text not null,
    entity  text not null,
    calls   bigint not null default 0,
    created_at timestamptz not null default now(),
    primary key (account, minute, lane, entity)
);

create table sign_ins (
    account      text primary key,
    mark         text not null,
    holder       text,
    until        timestamptz,
    accepted_at  timestamptz,
    in_a_row     integer not null default 0,
    next_at      timestamptz,
    stopped_at   timestamptz,
    reason       text,
    created_at   timestamptz not null default now()
);

create table sign_in_failures (
    number    bigint generated always as identity primary key,
    account   text not null references sign_ins (account) on delete cascade,
    failed_at timestamptz not null default clock_timestamp(),
    reason    text not null,
    created_at timestamptz not null default now()
);
create index sign_in_failures_by_account on sign_in_failures (account, failed_at);

-- Whose delivery it is, so that one legal entity's backlog does not stand before everybody else's.
alter table deliveries add column legal_entity text not null default '';
create function deliveries_whose() returns trigger language plpgsql as $$
begin
    if new.legal_entity = '' then
        new.legal_entity := coalesce(
            new.source ->> 'legal_entity', (select body ->> 'legal_entity' from objects where gid = new.gid), '');
    end if;
    return new;
end $$;
create trigger deliveries_whose before insert on deliveries for each row execute function deliveries_whose();
create index deliveries_fair on deliveries (system, legal_entity, priority, sequence)
    where state in ('due', 'sending', 'unknown', 'landed', 'processing');

-- Months a system has refused a document in: the rest waits until one of them is let through to ask again.
create table vendor_periods (
    system       text not null,
    legal_entity text not null,
    period       text not null check (period ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    reason       text not null,
    ask_again_at timestamptz not null,
    asked_by     text,
    created_at   timestamptz not null default now(),
    primary key (system, legal_entity, period)
);
