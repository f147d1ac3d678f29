-- A large run is carried out in parts, each with a row of its own.
alter table runs drop constraint runs_kind_check;
alter table runs add constraint runs_kind_check
    check (kind in ('billing', 'billing_part', 'month_end', 'tie_out', 'milestone', 'replay', 'schedule'));

-- Charges stay: what was decided is corrected by rows of its own. So whether an allocation's charge is there needs to be
-- looked at only when it is written, and once a statement instead of once a row.
create trigger charges_append_only before update or delete on charges for each row execute function refuse_change();
alter table allocations drop constraint allocations_charge_fkey;
create or replace function keep_allocations() returns trigger language plpgsql as $$
declare
    wrong text;
begin
    select a.charge into wrong
    from allocated a where not exists (select from charges c where c.key = a.charge) limit 1;
    if wrong is not null then
        raise exception 'there is no charge %', wrong using errcode = 'foreign_key_violation';
    end if;
    select c.key into wrong
    from charges c
    join allocations a on a.charge = c.key
    where c.key in (select charge from allocated where amount < 0 or minutes < 0)
    group by c.key, c.amount, c.minutes
    having sum(a.amount) not between least(c.amount, 0) and greatest(c.amount, 0)
        or coalesce(sum(a.minutes), 0) not between 0 and coalesce(c.minutes, 0)
    limit 1;
    if wrong is not null then
        raise exception 'charge % would be credited for more than it was billed', wrong using errcode = 'check_violation';
    end if;
    return null;
end $$;
