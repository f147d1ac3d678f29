-- Document numbers without a gap: given in the transaction that posts, under the lock of their series.
create table number_series (
    legal_entity  text not null,
    document_type text not null,
    fiscal_year   integer not null,
    prefix        text not null,
    last_ordinal  bigint not null default 0 check (last_ordinal >= 0),
    last_day      date,
    created_at    timestamptz not null default now(),
    primary key (legal_entity, document_type, fiscal_year, prefix)
);
comment on table number_series is 'No database sequence: those leave a gap when a transaction is rolled back.';

create table document_numbers (
    number        text primary key,
    legal_entity  text not null,
    document_type text not null,
    fiscal_year   integer not null,
    prefix        text not null,
    ordinal       bigint not null check (ordinal > 0),
    day           date not null,
    document      text not null,
    created_at    timestamptz not null default now(),
    foreign key (legal_entity, document_type, fiscal_year, prefix) references number_series,
    constraint document_numbers_once unique (legal_entity, document_type, fiscal_year, prefix, ordinal),
    constraint document_numbers_one_a_document unique (document)
);

create function follow_on() returns trigger language plpgsql as $$
declare
    before_it document_numbers;
begin
    select * into before_it from document_numbers
        where legal_entity = new.legal_entity and document_type = new.document_type and fiscal_year = new.fiscal_year
            and prefix = new.prefix and ordinal = new.ordinal - 1;
    if new.ordinal > 1 and before_it.number is null then
        raise exception 'the number % would leave a gap before it', new.number using errcode = 'check_violation';
    end if;
    if before_it.day > new.day then
        raise exception 'the number % would be dated before %', new.number, before_it.number
            using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger document_numbers_follow_on before insert on document_numbers for each row execute function follow_on();
create trigger document_numbers_append_only before update or delete on document_numbers
    for each row execute function refuse_change();
