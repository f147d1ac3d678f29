-- What is needed to do billing again from raw inputs: by which rules, in which order, and what each act had seen.
create table editions (
    number        bigint generated always as identity primary key,
    ownership     text not null references texts (digest),
    firm          text not null references texts (digest),
    engine        text not null,
    created_at    timestamptz not null default now(),
    constraint editions_kept_once unique (ownership, firm, engine)
);
comment on table editions is 'The rules the house worked by: ownership and firm by hash of their texts, and the version of the engine.';

create table acts (
    number        bigint generated always as identity primary key,
    kind          text not null,
    arguments     jsonb not null,
    edition       bigint references editions (number),
    legal_entity  text,
    about         text[] not null default '{}',
    transaction   xid8 not null default pg_current_xact_id(),
    snapshot      pg_snapshot not null default pg_current_snapshot(),
    created_at    timestamptz not null default now()
);
comment on table acts is 'What the house did and can do again: deals set up, things billed, credited and adjusted; and months closed.';
comment on column acts.about is 'our identifiers it is about; none means everything of the legal entity';
comment on column acts.snapshot is 'what the act had seen: transactions that are visible in it, and no others';
create index acts_by_transaction on acts (transaction);
create trigger acts_append_only before update or delete on acts for each row execute function refuse_change();

-- Null in rows from before: what was decided then cannot be put in order with certainty.
alter table changes add column transaction xid8, add column edition bigint;
alter table changes alter column transaction set default pg_current_xact_id();
comment on column changes.transaction is 'the transaction that decided: acts say which of them they had seen';
comment on column changes.edition is 'the rules that were in force';
alter table adjustments add column transaction xid8;
alter table adjustments alter column transaction set default pg_current_xact_id();
comment on column adjustments.transaction is 'the act that proposed it: done again, it gives the same number';
alter table holds add column released_in xid8;
comment on column holds.released_in is 'the transaction that ended it: acts say whether they had seen that';
