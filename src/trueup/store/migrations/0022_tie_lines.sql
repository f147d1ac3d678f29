-- The continuous tie-out: one line for every record of every system, sums of the lines, and who signed a month.

-- How far the tie-out has read each system. It has a cursor of its own: what intake has read proves nothing.
create table tie_sources (
    system        text not null,
    object        text not null,
    cursor        text,
    swept_at      timestamptz,
    read_at       timestamptz not null default now(),
    created_at    timestamptz not null default now(),
    primary key (system, object)
);

create table tie_lines (
    system        text not null,
    object        text not null,
    external_id   text not null,
    record        text not null,
    gid           text,
    said          jsonb,
    stamp         text not null default '',
    legal_entity  text not null default '',
    period        text not null default '',
    currency      text not null default '',
    ours_amount   numeric,
    ours_hash     bigint,
    theirs_amount numeric,
    theirs_hash   bigint,
    created_at    timestamptz not null default now(),
    primary key (system, object, external_id),
    constraint tie_lines_ours_is_whole check ((ours_amount is null) = (ours_hash is null)),
    constraint tie_lines_theirs_is_whole check ((theirs_amount is null) = (theirs_hash is null))
);
create index tie_lines_by_record on tie_lines (system, object, record) where record <> external_id;
create index tie_lines_by_gid on tie_lines (gid) where gid is not null;
create index tie_lines_that_differ on tie_lines (system, object, legal_entity, period, currency)
    where ours_hash is distinct from theirs_hash;
comment on column tie_lines.said is 'the compared fields as the system said them last; null: the system does not have it';
comment on column tie_lines.ours_hash is 'of the compared fields as the hub holds them; null: nothing to compare on our side';

-- Sums of the lines. Hashes are added up, so that the order in which records come makes no difference.
create table tie_groups (
    system        text not null,
    object        text not null,
    legal_entity  text not null,
    period        text not null,
    currency      text not null,
    records       bigint not null default 0,
    ours_count    bigint not null default 0,
    ours_sum      numeric not null default 0,
    ours_hash     numeric not null default 0,
    theirs_count  bigint not null default 0,
    theirs_sum    numeric not null default 0,
    theirs_hash   numeric not null default 0,
    created_at    timestamptz not null default now(),
    primary key (system, object, legal_entity, period, currency),
    constraint tie_groups_never_below_nothing check (ours_count >= 0 and theirs_count >= 0 and records >= 0)
);

-- What a system says while it is read, page by page; unlogged, because a sweep that is cut short begins again.
create unlogged table tie_said (
    run           text not null,
    system        text not null,
    object        text not null,
    external_id   text not null,
    record        text not null,
    generation    integer not null,
    stamp         text not null,
    position      bigint not null,
    said          jsonb,
    created_at    timestamptz not null default now(),
    primary key (run, system, object, external_id, position)
);

-- Which objects changed since the last tie-out, written by whoever changes them, in the same transaction. The tie-out
-- takes what it can see and leaves what is not committed yet: no watermark can pass a slow transaction.
create table tie_changes (
    number        bigint generated always as identity primary key,
    gid           text not null,
    created_at    timestamptz not null default now()
);

create function tie_note() returns trigger language plpgsql as $$
begin
    insert into tie_changes (gid) select gid from touched;
    return null;
end $$;
create function tie_note_moved() returns trigger language plpgsql as $$
begin
    insert into tie_changes (gid) values (old.gid), (new.gid);
    return null;
end $$;
create trigger objects_tie_insert after insert on objects
    referencing new table as touched for each statement execute function tie_note();
create trigger objects_tie_update after update on objects
    referencing new table as touched for each statement execute function tie_note();
create trigger objects_tie_delete after delete on objects
    referencing old table as touched for each statement execute function tie_note();
create trigger time_entries_tie_update after update on time_entries
    referencing new table as touched for each statement execute function tie_note();
create trigger time_entries_tie_delete after delete on time_entries
    referencing old table as touched for each statement execute function tie_note();
-- A new time entry is linked to its system in the same transaction: the link is the note.
create trigger crosswalk_tie_insert after insert on crosswalk
    referencing new table as touched for each statement execute function tie_note();
create trigger crosswalk_tie_delete after delete on crosswalk
    referencing old table as touched for each statement execute function tie_note();
create trigger crosswalk_tie_moved after update on crosswalk
    for each row when (old.gid is distinct from new.gid) execute function tie_note_moved();

alter table tie_outs add column ours_hash numeric not null default 0,
    add column theirs_hash numeric not null default 0;

alter table breaks drop constraint breaks_class_check;
alter table breaks add constraint breaks_class_check check (class in ('missing_in_target', 'extra_in_target', 'amount',
    'quantity', 'status', 'date', 'timing', 'currency', 'rounding', 'fx', 'tax', 'ownership', 'deleted_upstream'));
alter table breaks
    add column vendor_object text not null default '',
    add column field text,
    add column changed_at timestamptz not null default now(),
    add column assignee text,
    add column accepted_by text,
    add column accepted_at timestamptz,
    add column accepted_reason text,
    add constraint breaks_accepted_with_a_reason check (
        (accepted_at is null) = (accepted_by is null) and (accepted_at is null) = (accepted_reason is null));
drop index breaks_one_open;
create unique index breaks_one_open on breaks (class, system, object, vendor_object, external_id) where closed_at is null;
create index breaks_by_gid on breaks (gid) where gid is not null;

create table break_notes (
    number        bigint generated always as identity primary key,
    break         bigint not null references breaks (number),
    act           text not null check (act in ('noted', 'assigned', 'accepted', 'acceptance_ended', 'repaired')),
    person        text not null,
    words         text not null default '',
    created_at    timestamptz not null default now()
);
create index break_notes_by_break on break_notes (break, number);

-- A month of a legal entity, prepared by one person and signed by another.
create table sign_offs (
    number        bigint generated always as identity primary key,
    legal_entity  text not null,
    period        text not null check (period ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    run           text not null,
    digest        text not null check (digest ~ '^[0-9a-f]{64}$'),
    sums          jsonb not null,
    accepted      jsonb not null,
    prepared_by   text not null,
    prepared_at   timestamptz not null default now(),
    signed_by     text,
    signed_at     timestamptz,
    reopened_by   text,
    reopened_at   timestamptz,
    reopen_reason text,
    created_at    timestamptz not null default now(),
    constraint sign_offs_by_a_second_person check (signed_by is null or signed_by <> prepared_by),
    constraint sign_offs_signed_whole check ((signed_by is null) = (signed_at is null)),
    constraint sign_offs_reopened_with_a_reason check (
        (reopened_at is null) = (reopened_by is null) and (reopened_at is null) = (reopen_reason is null))
);
create unique index sign_offs_one_standing on sign_offs (legal_entity, period) where reopened_at is null;
comment on column sign_offs.digest is 'SHA-256 of the sums and the accepted breaks that were prepared';
