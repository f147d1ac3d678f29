-- Facts lie anywhere: each index that begins with one costs a large run a page of it for nearly every row. A move's key
-- names its fact, so one index tells which moves are made, and finds those of a fact and of a charge of the fact.
alter table moves drop constraint moves_made_once;
drop index moves_by_fact;
drop index moves_by_charge;
alter table moves add constraint moves_made_once unique (fact, key);
