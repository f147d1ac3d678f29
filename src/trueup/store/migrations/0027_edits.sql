-- A person's correction of a record that failed: the record as it came stays, and a copy says who changed what, and why.
alter table inbox drop constraint inbox_origin_check;
alter table inbox add constraint inbox_origin_check check (origin in ('webhook', 'poll', 'fetch', 'api', 'replay', 'edit'));

alter table plans drop constraint plans_verb_check;
alter table plans add constraint plans_verb_check check (verb in ('replay', 'retry', 'edit'));

create table message_edits (
    message       bigint primary key references inbox (number),
    original      bigint not null references inbox (number),
    plan          bigint not null references plans (number),
    changes       jsonb not null,
    reason        text not null check (length(reason) >= 5),
    edited_by     text not null,
    agreed_by     text not null,
    created_at    timestamptz not null default now(),
    constraint message_edits_by_two_people check (edited_by <> agreed_by)
);
create index message_edits_by_original on message_edits (original);
create trigger message_edits_append_only before update or delete on message_edits for each row execute function refuse_change();
