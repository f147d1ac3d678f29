-- What we hold to be true, why, and who is who in which system.
create table objects (
    gid           text primary key,
    kind          text not null,
    version       integer not null default 1 check (version > 0),
    status        text not null,
    legal_entity  text,
    body          jsonb not null,
    tombstone     text check (tombstone in ('deleted', 'merged', 'archived', 'hidden', 'erased')),
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    constraint objects_gid_names_its_kind check (gid ~ '^[a-z]{3}_[0-9a-z]{26}$')
);
create index objects_by_kind on objects (kind, gid);
create index objects_by_code on objects (kind, (body ->> 'code'));
create index objects_by_email on objects (kind, (body ->> 'email')) where kind = 'resource';
create index objects_by_contract on objects (kind, (body ->> 'contract'));
create index objects_by_amended on objects (kind, (body ->> 'amends')) where body ->> 'amends' is not null;
create index objects_by_project on objects (kind, (body ->> 'project'));

create table time_entries (
    gid           text primary key,
    version       integer not null default 1 check (version > 0),
    status        text not null check (status in ('draft', 'submitted', 'approved', 'rejected')),
    resource      text not null,
    project       text not null,
    task          text,
    role          text,
    worked_on     date not null,
    minutes       integer not null check (minutes between 0 and 1440),
    billable      boolean not null,
    notes         text,
    sheet         text,
    legal_entity  text,
    source_order  bigint not null default 0,
    tombstone     text check (tombstone in ('deleted', 'merged', 'archived', 'hidden', 'erased')),
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now()
);
create index time_entries_by_project on time_entries (project, worked_on);

create table expense_lines (
    gid           text primary key,
    version       integer not null default 1 check (version > 0),
    status        text not null check (status in ('submitted', 'approved', 'rejected', 'posted', 'reimbursed')),
    report        text not null,
    line_number   integer not null,
    resource      text not null,
    project       text not null,
    spent_on      date not null,
    category      text not null,
    amount        bigint not null check (abs(amount) < 1000000000000000000),
    currency      text not null check (currency ~ '^[A-Z]{3}$'),
    amount_spent  bigint,
    currency_spent text,
    billable      boolean not null,
    has_receipt   boolean not null,
    vendor_name   text,
    legal_entity  text,
    source_order  bigint not null default 0,
    tombstone     text check (tombstone in ('deleted', 'merged', 'archived', 'hidden', 'erased')),
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now()
);
create index expense_lines_by_project on expense_lines (project, spent_on);
create index expense_lines_by_report on expense_lines (report);

create table crosswalk (
    system        text not null,
    object        text not null,
    external_id   text not null,
    gid           text not null,
    stamp         text not null default '',
    written       text,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    primary key (system, object, external_id)
);
create index crosswalk_by_gid on crosswalk (gid, system, object);
comment on column crosswalk.stamp is 'newest version of the record we have applied: an older one is late';
comment on column crosswalk.written is 'fingerprint of what we last wrote there: the same again is an echo';

create table changes (
    number        bigint generated always as identity primary key,
    gid           text not null,
    kind          text not null,
    version       integer not null,
    message       bigint,
    system        text,
    actor         text not null,
    mapping       text,
    mapping_version integer,
    mapping_digest text,
    decisions     jsonb not null,
    created_at    timestamptz not null default now()
);
create index changes_by_gid on changes (gid, number);
create index changes_by_message on changes (message);
comment on column changes.decisions is '[{verdict, sentence, fields: {name: [before, after]}}]';

create table proposals (
    gid           text not null,
    field         text not null,
    system        text not null,
    value         jsonb,
    sentence      text not null,
    message       bigint,
    state         text not null default 'open' check (state in ('open', 'settled', 'refused')),
    created_at    timestamptz not null default now(),
    settled_at    timestamptz,
    primary key (gid, field, system)
);
create index proposals_open on proposals (created_at) where state = 'open';

create table events (
    number        bigint generated always as identity primary key,
    transaction   xid8 not null default pg_current_xact_id(),
    key           text not null,
    name          text not null,
    subject       text not null,
    kind          text not null,
    data          jsonb not null,
    message       bigint,
    created_at    timestamptz not null default now(),
    constraint events_told_once unique (key)
);
create index events_by_reader on events (transaction, number);
create index events_by_subject on events (subject, number);
