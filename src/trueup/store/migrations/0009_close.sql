-- Month ends: which months of which legal entity are closed, what they held then, and who decided what.
create table period_closes (
    legal_entity  text not null,
    period        text not null check (period ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    revision      integer not null check (revision > 0),
    state         text not null default 'open' check (state in ('open', 'closing', 'closed', 'reopened')),
    attempt       integer not null default 0 check (attempt >= 0),
    process       text,
    started_by    text,
    started_at    timestamptz,
    snapshot      jsonb,
    sha256        text check (sha256 ~ '^[0-9a-f]{64}$'),
    closed_by     text,
    closed_at     timestamptz,
    created_at    timestamptz not null default now(),
    primary key (legal_entity, period, revision),
    constraint period_closes_frozen_whole check (
        (state in ('closed', 'reopened')) = (snapshot is not null and sha256 is not null and closed_by is not null
            and closed_at is not null))
);
create unique index period_closes_one_living on period_closes (legal_entity, period) where state <> 'reopened';
comment on table period_closes is 'One row for each time a month is closed; a reopened row keeps its snapshot for ever.';

create table close_items (
    legal_entity  text not null,
    period        text not null,
    revision      integer not null,
    item          text not null,
    position      integer not null,
    state         text not null check (state in ('open', 'passed', 'accepted', 'blocked', 'done')),
    sentence      text not null,
    figures       jsonb not null default '{}',
    mark          text not null,
    attempt       integer not null,
    checked_at    timestamptz not null default now(),
    reason        text,
    accepted_by   text,
    accepted_at   timestamptz,
    accepted_mark text,
    created_at    timestamptz not null default now(),
    primary key (legal_entity, period, revision, item),
    foreign key (legal_entity, period, revision) references period_closes,
    constraint close_items_accepted_whole check (
        (reason is null) = (accepted_by is null) and (reason is null) = (accepted_at is null)
        and (reason is null) = (accepted_mark is null)),
    constraint close_items_accepted_with_a_reason check (state <> 'accepted' or reason is not null)
);
comment on column close_items.mark is 'what was found, as a digest: an acceptance is good for this finding alone';

create table close_proposals (
    number        bigint generated always as identity primary key,
    legal_entity  text not null,
    period        text not null,
    revision      integer not null,
    reason        text not null check (length(btrim(reason)) >= 5),
    asked_by      text not null,
    asked_at      timestamptz not null default now(),
    decided_by    text,
    decided_at    timestamptz,
    created_at    timestamptz not null default now(),
    foreign key (legal_entity, period, revision) references period_closes,
    constraint close_proposals_decided_whole check ((decided_by is null) = (decided_at is null)),
    constraint close_proposals_two_people check (lower(btrim(decided_by)) <> lower(btrim(asked_by)))
);
create unique index close_proposals_one_open on close_proposals (legal_entity, period) where decided_at is null;
comment on table close_proposals is 'A closed month is reopened by two people: one asks with a reason, another decides.';

-- What was frozen stays as it was frozen.
create function keep_snapshot() returns trigger language plpgsql as $$
begin
    if old.snapshot is not null and (new.snapshot, new.sha256, new.closed_by, new.closed_at, new.revision)
            is distinct from (old.snapshot, old.sha256, old.closed_by, old.closed_at, old.revision) then
        raise exception 'the snapshot of a closed month is never changed: reopen the month and close it again'
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger period_closes_keep_snapshot before update on period_closes for each row execute function keep_snapshot();
create trigger period_closes_stay before delete on period_closes for each row execute function refuse_change();

-- The last wall behind the refusals the processes give: no position, no margin and no new journal in a closed month.
create function refuse_closed_period() returns trigger language plpgsql as $$
begin
    if exists (select from period_closes
               where legal_entity = new.legal_entity and period = new.period and state = 'closed') then
        raise exception '% is closed for %: nothing is booked into it', new.period, new.legal_entity
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger positions_in_open_periods before insert or update on positions
    for each row execute function refuse_closed_period();
create trigger margins_in_open_periods before insert or update on margins
    for each row execute function refuse_closed_period();

create function refuse_late_journal() returns trigger language plpgsql as $$
begin
    -- One that is there already may still be posted by the ERP: saving it begins as an insert, too.
    if not exists (select from objects where gid = new.gid) and exists (
        select from period_closes where legal_entity = new.body ->> 'legal_entity'
            and period = new.body ->> 'period' and state = 'closed') then
        raise exception '% is closed for %: the journal % belongs to an open month', new.body ->> 'period',
            new.body ->> 'legal_entity', new.body ->> 'code' using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger journals_in_open_periods before insert on objects
    for each row when (new.kind = 'journal_reference') execute function refuse_late_journal();
