-- Who may call us, and what they asked already.
create table tokens (
    digest        text primary key,
    name          text not null,
    scopes        text[] not null,
    created_at    timestamptz not null default now(),
    expires_at    timestamptz,
    revoked_at    timestamptz,
    last_used_at  timestamptz
);

create table requests (
    token         text not null,
    key           text not null,
    digest        text not null,
    status        integer,
    body          jsonb,
    created_at    timestamptz not null default now(),
    primary key (token, key)
);
comment on table requests is 'Idempotency keys: the same key gets the same answer; another body under the same key is refused.';

create table executors (
    executor      text primary key,
    host          text not null,
    pid           integer not null,
    lock          bigint not null,
    created_at    timestamptz not null default now(),
    beat_at       timestamptz not null default now(),
    ended_at      timestamptz
);
