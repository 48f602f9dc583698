-- What comes back to an activity after its leftovers were returned is returned too: an activity remembers since when it is.
alter table inv_activity add column returned_at bigint;
