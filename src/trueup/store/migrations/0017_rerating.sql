-- A changed rate line finds the charges made before it changed; one that did not change finds none, however many there are.
drop index charges_by_rate_line;
drop index charges_by_contract;
create index charges_by_rate_line on charges (rate_line, created_at) where rate_line is not null;
create index charges_by_contract on charges (contract, created_at);

-- What somebody has worked in all on a day is read for the days a run bills, not for everybody's month.
create index time_entries_by_resource on time_entries (resource, worked_on);
