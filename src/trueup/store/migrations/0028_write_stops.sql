-- A record whose writes came back changed again and again: it is not written until a person releases it.
create table write_stops (
    number        bigint generated always as identity primary key,
    key           text not null references deliveries (key),
    system        text not null,
    object        text not null,
    gid           text not null,
    turns         jsonb not null check (jsonb_array_length(turns) > 0),
    created_at    timestamptz not null default now(),
    released_at   timestamptz
);
create index write_stops_by_record on write_stops (gid, system, object);
create unique index write_stops_one_open on write_stops (system, object, gid) where released_at is null;
comment on column write_stops.key is 'the write that was not made';
comment on column write_stops.turns is 'each write that came back changed: key, field, told, brought, system, mapping';
comment on column write_stops.released_at is 'a person had the write made after all: turns are counted from here';
