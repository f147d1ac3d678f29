-- The database's clock may jump. Each machine notes how far its own steady clock had come at which time of the
-- database; a jump is noted once, and every time that is waited for has been moved with it.
create table clock_jumps (
    number      bigserial primary key,
    seconds     float8 not null,
    moved       bigint not null,
    created_at  timestamptz not null default now()
);
comment on table clock_jumps is 'Each time the database''s clock has jumped, and how many rows were moved with it.';
comment on column clock_jumps.seconds is 'ahead is positive';

create table clock_seen (
    machine     text primary key,
    elapsed     float8 not null,
    steady      float8 not null,
    created_at  timestamptz not null default now()
);
comment on table clock_seen is 'What a machine''s steady clock said, and the database''s without its jumps at the same moment.';
comment on column clock_seen.machine is 'until its next start: a steady clock begins anew with it';
comment on column clock_seen.elapsed is 'seconds of the machine''s steady clock';
comment on column clock_seen.steady is 'seconds since 1970 by the database, less all jumps';
