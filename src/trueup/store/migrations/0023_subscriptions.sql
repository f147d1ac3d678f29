-- Business events on their way to those who asked for them: read from the log below a watermark, one row each until told.
create table subscriptions (
    subscription     text primary key,
    read_transaction xid8 not null,
    read_number      bigint not null,
    state            text not null default 'active' check (state in ('active', 'paused', 'gone')),
    reason           text,
    paused_until     timestamptz,
    misses           integer not null default 0,
    sent             bigint not null default 0,
    created_at       timestamptz not null default now()
);
comment on table subscriptions is 'Who is told of business events, and how far each has been read to; addresses stand in the workspace.';

create table sendings (
    subscription  text not null references subscriptions (subscription),
    event         bigint not null references events (number),
    subject       text not null,
    sequence      bigint generated always as identity,
    state         text not null default 'due' check (state in ('due', 'told', 'failed')),
    attempts      integer not null default 0,
    status        integer,
    detail        text,
    due_at        timestamptz not null default now(),
    leased_by     text,
    lease_until   timestamptz,
    created_at    timestamptz not null default now(),
    told_at       timestamptz,
    primary key (subscription, event)
);
create index sendings_due on sendings (subscription, sequence) where state = 'due';
create index sendings_failed on sendings (subscription, event) where state = 'failed';
create index sendings_told on sendings (told_at) where state = 'told';
