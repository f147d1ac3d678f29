-- What came in, exactly as it came, and how far each reader has read.
create table inbox (
    number        bigint generated always as identity primary key,
    system        text not null,
    object        text not null,
    external_id   text not null,
    stamp         text not null,
    digest        bytea not null,
    body          bytea not null,
    headers       jsonb not null default '{}',
    origin        text not null check (origin in ('webhook', 'poll', 'fetch', 'api', 'replay')),
    lane          text not null check (lane in ('notice', 'master', 'volume')),
    state         text not null default 'pending'
                  check (state in ('pending', 'applied', 'superseded', 'ignored', 'quarantined', 'waiting')),
    deleted       boolean not null default false,
    duplicates    integer not null default 0,
    attempts      integer not null default 0,
    due_at        timestamptz not null default now(),
    lease_until   timestamptz,
    leased_by     text,
    rule          text,
    reason        text,
    problems      jsonb,
    waits_for     text[],
    gid           text,
    mapping       text,
    mapping_version integer,
    received_at   timestamptz not null default now(),
    settled_at    timestamptz,
    constraint inbox_kept_once unique (system, object, external_id, stamp, digest),
    constraint inbox_ignored_names_its_rule check (state <> 'ignored' or rule is not null),
    constraint inbox_quarantined_has_a_reason check (state <> 'quarantined' or reason is not null)
);
create index inbox_open on inbox (lane, number) where state = 'pending';
create index inbox_waiting on inbox using gin (waits_for) where state = 'waiting';
create index inbox_troubled on inbox (state, number) where state in ('quarantined', 'waiting');
create index inbox_by_gid on inbox (gid) where gid is not null;

create table cursors (
    system      text not null,
    object      text not null,
    cursor      text not null,
    records     bigint not null default 0,
    created_at  timestamptz not null default now(),
    read_at     timestamptz not null default now(),
    primary key (system, object)
);

create table systems (
    system        text primary key,
    connector     text not null,
    role          text not null,
    paused_until  timestamptz,
    last_ok_at    timestamptz,
    last_error    text,
    last_error_at timestamptz,
    calls         bigint not null default 0,
    errors        bigint not null default 0,
    created_at    timestamptz not null default now()
);

create table refused_calls (
    number      bigint generated always as identity primary key,
    system      text not null,
    reason      text not null,
    bytes       integer not null,
    created_at  timestamptz not null default now()
);
comment on table refused_calls is 'Webhooks that were not believed: counted and shown, body not stored.';

create table texts (
    digest      text primary key,
    name        text not null,
    version     integer not null,
    body        text not null,
    created_at  timestamptz not null default now()
);
comment on table texts is 'Every mapping and ownership file ever used, by hash.';
