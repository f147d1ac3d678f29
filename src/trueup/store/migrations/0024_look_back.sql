-- A record may become visible after a reader's cursor has passed its stamp: readers look back along a trail.
create table cursor_trail (
    system      text not null,
    object      text not null,
    created_at    timestamptz not null default now(),
    cursor      text,
    primary key (system, object, created_at)
);
comment on table cursor_trail is 'Where each reader stood at the end of a reading; it looks back from there for what became visible late.';
comment on column cursor_trail.cursor is 'null: before the first reading, that is from the beginning';

alter table cursors add column looked_back_at timestamptz;
insert into cursor_trail (system, object, cursor) select system, object, cursor from cursors;
