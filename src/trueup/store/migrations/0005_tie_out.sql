-- Do all systems agree? Sums per group, and each difference by name.
create table tie_outs (
    run           text not null,
    object        text not null,
    system        text not null,
    legal_entity  text not null,
    period        text not null,
    currency      text not null,
    ours_count    bigint not null,
    ours_sum      bigint not null,
    theirs_count  bigint not null,
    theirs_sum    bigint not null,
    created_at    timestamptz not null default now(),
    primary key (run, object, system, legal_entity, period, currency)
);

create table breaks (
    number        bigint generated always as identity primary key,
    class         text not null check (class in ('missing_in_target', 'extra_in_target', 'amount', 'quantity', 'status',
                      'date', 'currency', 'rounding', 'tax', 'ownership', 'deleted_upstream')),
    object        text not null,
    system        text not null,
    gid           text,
    external_id   text,
    label         text not null,
    legal_entity  text,
    period        text,
    currency      text,
    ours          text,
    theirs        text,
    amount        bigint not null default 0,
    sentence      text not null,
    repair        text not null,
    first_run     text not null,
    last_run      text not null,
    opened_at     timestamptz not null default now(),
    closed_at     timestamptz,
    created_at    timestamptz not null default now()
);
create unique index breaks_one_open on breaks (class, object, system, label) where closed_at is null;
