-- The effect ledger: an outbound write stands here, under its own key, before it is made.
create table deliveries (
    key           text primary key,
    system        text not null,
    object        text not null,
    gid           text not null,
    kind          text not null,
    purpose       text not null,
    source        jsonb,
    dedupe        text not null check (dedupe in ('A', 'B', 'C', 'D')),
    state         text not null default 'due'
                  check (state in ('planned', 'due', 'sending', 'unknown', 'confirmed', 'rejected', 'parked', 'superseded')),
    depends_on    text[] not null default '{}',
    sequence      bigint generated always as identity,
    priority      integer not null default 50,
    amount        bigint,
    currency      text,
    attempts      integer not null default 0,
    due_at        timestamptz not null default now(),
    lease_until   timestamptz,
    leased_by     text,
    fence         bigint not null default 0,
    body          jsonb,
    body_digest   text,
    mapping       text,
    mapping_version integer,
    external_id   text,
    outcome       text,
    code          text,
    cause         text,
    process       text,
    created_at    timestamptz not null default now(),
    sent_at       timestamptz,
    settled_at    timestamptz
);
create index deliveries_open on deliveries (system, priority, sequence) where state in ('planned', 'due', 'sending', 'unknown');
create index deliveries_by_gid on deliveries (gid, system);
create index deliveries_troubled on deliveries (state) where state in ('rejected', 'parked', 'unknown');
create index deliveries_by_process on deliveries (process) where process is not null;

create table delivery_attempts (
    key           text not null references deliveries (key),
    attempt       integer not null,
    action        text not null check (action in ('send', 'find', 'wait')),
    outcome       text not null,
    detail        text,
    took_ms       integer,
    created_at    timestamptz not null default now(),
    primary key (key, attempt)
);
