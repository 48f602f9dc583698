-- The round of a call: 0 at first, one more each time an operator has a refused action tried anew. A refusal of an
-- older round gives way to the call of a newer one. From here on a status of 2 is an action's or a compensation's row
-- that a confirm inserted, so that neither takes effect after it.
alter table saga_barrier add column round integer not null default 0;
