-- A sweep reads an object from the beginning beside its ordinary reader, and asks for every record it did not see.
create table sweeps (
    number        bigint generated always as identity primary key,
    system        text not null,
    object        text not null,
    reason        text not null,
    cursor        text,
    read_whole    boolean not null default false,
    pages         integer not null default 0,
    fresh         bigint not null default 0,
    vanished      jsonb not null default '{}',
    inconclusive  text,
    created_at    timestamptz not null default now(),
    finished_at   timestamptz,
    constraint sweeps_finished_after_the_end check (finished_at is null or read_whole)
);
create unique index sweeps_one_open on sweeps (system, object) where finished_at is null;
create index sweeps_by_object on sweeps (system, object, number);
comment on column sweeps.inconclusive is 'why nothing was concluded from what is missing: known records were out of sight too';

create table swept (
    sweep         bigint not null references sweeps on delete cascade,
    external_id   text not null,
    created_at    timestamptz not null default now(),
    primary key (sweep, external_id)
);
comment on table swept is 'Identifiers an open sweep has seen; gone when it ends.';

-- Nothing disappears: no message is removed, and no end of one is without a word.
alter table inbox add constraint inbox_superseded_has_a_reason check (state <> 'superseded' or reason is not null);
alter table inbox add constraint inbox_applied_to_something check (state <> 'applied' or gid is not null or reason is not null);
alter table inbox add constraint inbox_waits_for_something check (state <> 'waiting' or cardinality(waits_for) > 0);

create function inbox_keeps_everything() returns trigger language plpgsql as $$
begin
    raise exception 'the inbox keeps everything: message % may not be removed', old.number
        using errcode = 'restrict_violation';
end $$;
create trigger inbox_keeps_everything before delete on inbox for each row execute function inbox_keeps_everything();
