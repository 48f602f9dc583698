-- What an op may be is said as a range, as it is for SQLite, where a list costs more. It is the same law.
alter table saga_barrier
    drop constraint saga_barrier_op,
    add constraint saga_barrier_op check (op between 0 and 2);
