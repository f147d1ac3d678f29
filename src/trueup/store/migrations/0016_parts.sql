-- A large run is carried out in parts, each with a row of its own.
alter table runs drop constraint runs_kind_check;
alter table runs add constraint runs_kind_check
    check (kind in ('billing', 'billing_part', 'month_end', 'tie_out', 'milestone', 'replay', 'schedule'));
