-- A changed rate line finds the charges made before it changed; one that did not change finds none, however many there are.
drop index charges_by_rate_line;
drop index charges_by_contract;
create index charges_by_rate_line on charges (rate_line, created_at) where rate_line is not null;
create index charges_by_contract on charges (contract, created_at);
