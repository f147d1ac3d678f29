-- What could not be used or was refused, grouped by its cause; and plans, which say what pressing will do.

-- A record that failed for one cause. Written by triggers in the transaction that settles it; a record never takes part
-- in two causes at once, and one that came right stays as history.
create table failures (
    source        text not null check (source in ('message', 'delivery')),
    record        text not null,
    issue         text not null,
    system        text not null,
    object        text not null,
    class         text not null,
    code          text not null,
    field         text not null,
    cause         text not null,
    amount        bigint,
    currency      text,
    times         integer not null default 1,
    first_at      timestamptz not null default now(),
    since         timestamptz not null default now(),
    ended_at      timestamptz,
    created_at    timestamptz not null default now(),
    primary key (source, record, issue)
);
create index failures_open on failures (issue) where ended_at is null;
create index failures_by_issue on failures (issue, since);
comment on column failures.issue is 'fingerprint of the cause: class, system, object, code and field, never the record';

-- What people decided about a cause. Whether it came back after it was resolved is read from its failures.
create table issues (
    issue         text primary key,
    state         text not null default 'open' check (state in ('open', 'acknowledged', 'muted', 'resolved')),
    assignee      text,
    muted_until   timestamptz,
    muted_above   bigint,
    muted_currency text,
    changed_at    timestamptz not null default now(),
    created_at    timestamptz not null default now(),
    constraint issues_muted_until_something check ((state = 'muted') = (muted_until is not null or muted_above is not null)),
    constraint issues_muted_above_in_a_currency check ((muted_above is null) = (muted_currency is null))
);

create table issue_acts (
    number        bigint generated always as identity primary key,
    issue         text not null,
    act           text not null check (act in ('assigned', 'acknowledged', 'muted', 'resolved', 'reopened', 'planned', 'applied')),
    by            text not null,
    reason        text not null default '',
    detail        jsonb not null default '{}',
    created_at    timestamptz not null default now(),
    constraint issue_acts_say_why check (act not in ('muted', 'resolved') or length(reason) >= 5)
);
create index issue_acts_by_issue on issue_acts (issue, number);
create trigger issue_acts_append_only before update or delete on issue_acts for each row execute function refuse_change();

-- Digits and quoted values name the record, not the cause.
create function cause_of(said text) returns text language sql immutable as $$
    select left(regexp_replace(regexp_replace(coalesce(said, ''), '''[^'']*''|"[^"]*"', '…', 'g'), '[0-9]+', '#', 'g'), 160)
$$;

create function note_failure(
    p_source text, p_record text, p_system text, p_object text, p_class text, p_code text, p_field text, p_cause text,
    p_amount bigint, p_currency text
) returns void language plpgsql as $$
declare
    print text := substr(md5(concat_ws(E'\x1f', p_source, p_class, p_system, p_object, p_code, p_field)), 1, 12);
begin
    update failures set ended_at = now()
    where source = p_source and record = p_record and issue <> print and ended_at is null;
    insert into failures as f (source, record, issue, system, object, class, code, field, cause, amount, currency)
    values (p_source, p_record, print, p_system, p_object, p_class, p_code, p_field, p_cause, p_amount, p_currency)
    on conflict (source, record, issue) do update set cause = excluded.cause, amount = excluded.amount,
        currency = excluded.currency, times = f.times + case when f.ended_at is null then 0 else 1 end,
        since = case when f.ended_at is null then f.since else now() end, ended_at = null;
end $$;

create function group_message() returns trigger language plpgsql as $$
begin
    if new.state not in ('quarantined', 'waiting') then
        update failures set ended_at = now()
        where source = 'message' and record = new.number::text and ended_at is null and new.state <> 'pending';
    elsif new.state = 'waiting' then
        perform note_failure('message', new.number::text, new.system, new.object, 'waiting', 'waits',
            split_part(coalesce(new.waits_for[1], ''), '/', 2), 'waits for ' || split_part(coalesce(new.waits_for[1], ''), '/', 2),
            null, null);
    else
        perform note_failure('message', new.number::text, new.system, new.object, 'quarantined',
            coalesce(new.problems -> 0 ->> 'code', 'fault'), cause_of(new.problems -> 0 ->> 'field'),
            cause_of(coalesce(new.problems -> 0 ->> 'message', new.reason)), null, null);
    end if;
    return null;
end $$;
create trigger inbox_grouped_on_insert after insert on inbox for each row
    when (new.state in ('quarantined', 'waiting')) execute function group_message();
create trigger inbox_grouped after update of state on inbox for each row
    when (new.state in ('quarantined', 'waiting') or (new.problems is not null or new.waits_for is not null
        or old.state in ('quarantined', 'waiting') or old.problems is not null or old.waits_for is not null
        or old.reason is not null))
    execute function group_message();

create function group_delivery() returns trigger language plpgsql as $$
begin
    if new.state in ('rejected', 'parked', 'unknown') then
        perform note_failure('delivery', new.key, new.system, new.object, new.state,
            coalesce(new.code, cause_of(new.cause)), '', coalesce(nullif(cause_of(new.cause), ''), new.state), new.amount,
            new.currency);
    elsif new.state in ('confirmed', 'superseded') then
        update failures set ended_at = now() where source = 'delivery' and record = new.key and ended_at is null;
    end if;
    return null;
end $$;
create trigger deliveries_grouped_on_insert after insert on deliveries for each row
    when (new.state in ('rejected', 'parked', 'unknown')) execute function group_delivery();
create trigger deliveries_grouped after update of state on deliveries for each row
    when (new.state in ('rejected', 'parked', 'unknown') or old.state in ('rejected', 'parked', 'unknown')
        or old.outcome is not null)
    execute function group_delivery();

update inbox set state = state where state in ('quarantined', 'waiting');
update deliveries set state = state where state in ('rejected', 'parked', 'unknown');

create table plans (
    number        bigint generated always as identity primary key,
    verb          text not null check (verb in ('replay', 'retry')),
    issue         text,
    choice        jsonb not null,
    reason        text not null check (length(reason) >= 5),
    digest        text not null,
    counts        jsonb not null,
    money         jsonb not null,
    seconds       double precision,
    two_people    boolean not null,
    state         text not null default 'proposed' check (state in ('proposed', 'applying', 'applied', 'stopped')),
    stopped_by    text,
    proposed_by   text not null,
    applied_by    text,
    expires_at    timestamptz not null,
    created_at    timestamptz not null default now(),
    ended_at      timestamptz,
    constraint plans_by_two_people check (not two_people or applied_by is null or applied_by <> proposed_by),
    constraint plans_applied_by_somebody check ((state = 'proposed') = (applied_by is null)),
    constraint plans_stopped_say_why check ((state = 'stopped') = (stopped_by is not null))
);

create table plan_items (
    plan          bigint not null references plans (number),
    position      integer not null,
    record        text not null,
    does          text not null check (does in ('create', 'update', 'settle', 'no_op', 'blocked')),
    why           text not null default '',
    differences   jsonb not null default '[]',
    expects       text not null,
    applied_at    timestamptz,
    created_at    timestamptz not null default now(),
    primary key (plan, position)
);
create index plan_items_open on plan_items (plan, position) where applied_at is null and does in ('create', 'update', 'settle');
