-- What an op may be is said as a range. It is the same law; but SQLite builds a list of three or more anew for every row
-- that it checks, which was a quarter of the cost of a row. SQLite cannot change a constraint, so the table is made anew.
create table saga_barrier_anew (
    saga_id      blob    not null,
    step         text    not null,
    op           integer not null,                -- 0 action, 1 compensation, 2 confirm
    request_hash blob    not null,
    status       integer,
    response     text,
    created_at   integer not null,
    round        integer not null default 0,
    constraint saga_barrier_once primary key (saga_id, step, op),
    constraint saga_barrier_op check (op between 0 and 2)
) strict, without rowid;
insert into saga_barrier_anew (saga_id, step, op, request_hash, status, response, created_at, round)
select saga_id, step, op, request_hash, status, response, created_at, round
from saga_barrier order by saga_id, step, op;
drop table saga_barrier;
alter table saga_barrier_anew rename to saga_barrier;
create index saga_barrier_by_time on saga_barrier (created_at, saga_id, step, op);
