-- What a schedule bills is a charge of its own kind, and its month a run of its own kind.
alter table charges drop constraint charges_kind_check;
alter table charges add constraint charges_kind_check
    check (kind in ('time', 'expense', 'fee', 'overage', 'minimum', 'discount', 'milestone', 'adjustment', 'delta',
        'schedule'));
alter table runs drop constraint runs_kind_check;
alter table runs add constraint runs_kind_check
    check (kind in ('billing', 'month_end', 'tie_out', 'milestone', 'replay', 'schedule'));
