-- What one legal entity charges another for lent people: once for each version of a fact, in both currencies.
create table intercompany_charges (
    pair            text primary key,
    fact            text not null,
    fact_version    integer not null check (fact_version > 0),
    period          text not null check (period ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    lender          text not null,
    borrower        text not null,
    project         text not null,
    resource        text not null,
    worked_on       date not null,
    minutes         bigint not null check (minutes >= 0),
    rule            text not null check (rule in ('cost_plus', 'share', 'fixed')),
    amount          bigint not null,
    currency        text not null,
    amount_borrower bigint not null,
    currency_borrower text not null,
    fx_e9           bigint not null check (fx_e9 > 0),
    fx_on           date,
    fx_source       text,
    vat_treatment   text,
    created_at      timestamptz not null default now(),
    constraint intercompany_charged_once unique (fact, fact_version),
    constraint intercompany_between_two check (lender <> borrower),
    constraint intercompany_rate_has_a_date check (currency = currency_borrower or (fx_on is not null and fx_source is not null))
);
create index intercompany_charges_by_period on intercompany_charges (period, lender, borrower);
comment on table intercompany_charges is 'A later version of a fact takes the place of the one before: read intercompany_current.';
create view intercompany_current as
    select distinct on (fact) * from intercompany_charges order by fact, fact_version desc;
