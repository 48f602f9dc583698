-- The barrier: one row for each op of a saga's step that this database has seen. It makes every call take
-- effect once, keeps the answer for every repeat, and refuses an action that comes after its compensation.
-- op: 0 action, 1 compensation, 2 confirm. status: null while the transaction that inserted the row runs;
-- 0 for an action that its compensation has overtaken, 1 for one overtaken while it was pending; otherwise
-- the HTTP status that was answered. response: the answer's JSON. created_at: unix milliseconds.
create table saga_barrier (
    saga_id      uuid     not null,
    step         text     not null,
    op           smallint not null,
    request_hash bytea    not null,
    status       smallint,
    response     text,
    created_at   bigint   not null,
    constraint saga_barrier_once primary key (saga_id, step, op),
    constraint saga_barrier_op check (op in (0, 1, 2))
);
