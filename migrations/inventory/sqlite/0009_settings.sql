-- What is kept back of a record, and at how many it is low, changes what can be had of it and what is said of it. So a change of
-- either is a flow, which moves no counter: whoever reads on in the flows hears of it, and of what was kept back at any flow.
--
-- Flow op: 1 replenish, 2 hold, 3 deduct, 4 confirm, 5 release, 6 restore, 7 reinstate, 8 ship, 9 refund, 10 adjust,
-- 11 activity_allocate, 12 activity_return, 13 sync, 14 keep back, 15 let go, 16 threshold.
--
-- SQLite cannot change a constraint, so the table of flows is made anew.

create table inv_flow_anew (
    flow_id    integer primary key,
    op         integer not null,
    biz_no     text    not null,                  -- the order, or the number a replenishment came under
    line_no    integer not null,
    stock_id   integer not null,
    bucket_no  integer not null,
    qty        integer not null,
    d_usable   integer not null,
    d_held     integer not null,
    d_shipped  integer not null,
    hold_id    integer,
    saga       text    not null,                  -- '' when no saga was the cause
    step       text    not null,
    created_at integer not null,
    constraint inv_flow_is_positive check (qty > 0),
    constraint inv_flow_op_is_known check (op between 1 and 16),
    constraint inv_flow_once unique (saga, step, biz_no, op, line_no, bucket_no),
    constraint inv_flow_lies_in_a_bucket
        foreign key (stock_id, bucket_no) references inv_bucket (stock_id, bucket_no)
) strict;
insert into inv_flow_anew
select flow_id, op, biz_no, line_no, stock_id, bucket_no, qty, d_usable, d_held, d_shipped, hold_id, saga, step,
    created_at
from inv_flow order by flow_id;
drop table inv_flow;
alter table inv_flow_anew rename to inv_flow;
