-- Top-ups to a minimum and discounts are charges too, and a charge names the purchase order it draws on.
alter table charges drop constraint charges_kind_check;
alter table charges add constraint charges_kind_check
    check (kind in ('time', 'expense', 'fee', 'overage', 'minimum', 'discount', 'milestone'));
alter table charges add column purchase_order text;
create index charges_by_order on charges (project, purchase_order) where purchase_order is not null;
