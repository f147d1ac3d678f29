-- The effect ledger to its end: every state of a delivery, the only ways from one to another, and what is known of silence.
alter table deliveries drop constraint deliveries_state_check;
alter table deliveries add constraint deliveries_state_check check (state in ('planned', 'due', 'sending', 'unknown',
    'landed', 'processing', 'confirmed', 'rejected', 'parked', 'superseded', 'compensated'));
alter table deliveries
    add column round         integer not null default 1,
    add column first_sent_at timestamptz,
    add column silent_at     timestamptz,
    add column in_doubt      boolean not null default false,
    add column looks         integer not null default 0,
    add column job           text,
    add column accepted_at   timestamptz,
    add column read_back_at  timestamptz,
    add column undoes        text references deliveries (key);
comment on column deliveries.round is 'with the key it makes the idempotency key: a new one after a refusal a person has dealt with';
comment on column deliveries.first_sent_at is 'when this round was sent first: the life of an idempotency key is counted from here';
comment on column deliveries.silent_at is 'when the last attempt ended in silence: the cool-down for late commits is counted from here';
comment on column deliveries.in_doubt is 'nobody knows whether it landed; nothing else is sent for its object, also while it is parked';
comment on column deliveries.job is 'what the system calls the work it has accepted';
comment on column deliveries.read_back_at is 'when it is to be read again, to see that no older value has come over it';
comment on column deliveries.undoes is 'the delivery that this one takes back';

update deliveries set first_sent_at = sent_at, silent_at = case when state in ('sending', 'unknown') then now() end,
    in_doubt = state = 'unknown' or (state = 'parked' and code = 'silence')
where sent_at is not null;
-- One at a time was kept by whoever claimed; where it was not, a person looks at the older one.
update deliveries d set state = 'parked', code = 'silence', in_doubt = true, settled_at = now(),
    cause = 'two writes to this object were under way at once; look in the system whether this one landed'
where d.state in ('sending', 'unknown') and exists (
    select from deliveries n where n.system = d.system and n.object = d.object and n.gid = d.gid
        and n.sequence > d.sequence and n.state in ('sending', 'unknown'));
create unique index deliveries_one_under_way on deliveries (system, object, gid)
    where state in ('sending', 'unknown', 'landed', 'processing');

drop index deliveries_open;
create index deliveries_open on deliveries (system, priority, sequence)
    where state in ('planned', 'due', 'sending', 'unknown', 'landed', 'processing');
create index deliveries_in_doubt on deliveries (system, object, gid) where in_doubt;
create index deliveries_to_read_back on deliveries (system, read_back_at) where read_back_at is not null;
create index deliveries_undoing on deliveries (undoes) where undoes is not null;
drop index deliveries_troubled;
create index deliveries_troubled on deliveries (state) where state in ('rejected', 'parked', 'unknown', 'landed', 'processing');

create function keep_delivery_steps() returns trigger language plpgsql as $$
begin
    if (old.state, new.state) not in (values
            ('planned', 'due'), ('planned', 'parked'), ('planned', 'superseded'),
            ('due', 'sending'), ('due', 'confirmed'), ('due', 'rejected'), ('due', 'parked'), ('due', 'superseded'),
            ('sending', 'confirmed'), ('sending', 'processing'), ('sending', 'unknown'), ('sending', 'due'),
            ('sending', 'rejected'), ('sending', 'parked'), ('sending', 'landed'),
            ('unknown', 'sending'), ('unknown', 'landed'), ('unknown', 'due'), ('unknown', 'parked'),
            ('landed', 'confirmed'), ('landed', 'unknown'), ('landed', 'parked'),
            ('processing', 'confirmed'), ('processing', 'unknown'), ('processing', 'rejected'), ('processing', 'parked'),
            ('confirmed', 'compensated'),
            ('rejected', 'due'), ('rejected', 'superseded'),
            ('parked', 'due'), ('parked', 'landed'), ('parked', 'superseded')) then
        raise exception 'a delivery that is % cannot become %', old.state, new.state
            using errcode = 'check_violation', constraint = 'deliveries_steps';
    end if;
    -- Silence about something that cannot be repeated: first somebody looks.
    if old.state = 'unknown' and new.state = 'sending' and new.external_id is null and new.dedupe in ('C', 'D') then
        raise exception 'a write of class % that met silence is not sent again before it was looked for', new.dedupe
            using errcode = 'check_violation', constraint = 'deliveries_look_first';
    end if;
    return new;
end $$;
create trigger deliveries_steps before update of state on deliveries
    for each row when (old.state is distinct from new.state) execute function keep_delivery_steps();

alter table delivery_attempts drop constraint delivery_attempts_action_check;
alter table delivery_attempts add constraint delivery_attempts_action_check
    check (action in ('send', 'find', 'wait', 'ask', 'read'));

-- What was sent, met silence, and was sent again with other content: it may still come over what came after it.
create table delivery_bodies (
    key           text not null references deliveries (key),
    digest        text not null,
    body          jsonb not null,
    created_at    timestamptz not null default now(),
    primary key (key, digest)
);

create table regressions (
    number        bigint generated always as identity primary key,
    key           text not null references deliveries (key),
    older         text not null references deliveries (key),
    external_id   text not null,
    fields        jsonb not null check (jsonb_array_length(fields) > 0),
    healed_by     text not null references deliveries (key),
    created_at    timestamptz not null default now()
);
create index regressions_by_key on regressions (key);
comment on table regressions is 'an older value stood over a newer one at a system; the newest was sent again';
