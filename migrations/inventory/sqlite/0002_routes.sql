-- Routes: by which way a record is taken, switched online and fenced by its epoch; and business numbers that take
-- effect once.
--
-- Flows of refunds, adjustments, activities and synchronisation have codes of their own. SQLite cannot change a
-- constraint, so the table of flows is made anew.
--
-- Flow op: 1 replenish, 2 hold, 3 deduct, 4 confirm, 5 release, 6 restore, 7 reinstate, 8 ship, 9 refund, 10 adjust,
-- 11 activity_allocate, 12 activity_return, 13 sync.

create table inv_flow_anew (
    flow_id    integer primary key,
    op         integer not null,                  -- 1 replenish, 2 hold, 3 deduct, 4 confirm, 5 release, 6 restore, 7 reinstate, 8 ship,
                                                  -- 9 refund, 10 adjust, 11 activity_allocate, 12 activity_return, 13 sync
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
    constraint inv_flow_op_is_known check (op between 1 and 13),
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

-- Every route a record ever had after its first: the epoch with which it began. An epoch never comes back.
create table inv_route (
    stock_id integer not null,
    epoch    integer not null,
    mode     integer not null,                    -- 1 merged, 2 row, 3 bucket, 4 redis
    why      text not null,
    at       integer not null,
    primary key (stock_id, epoch),
    constraint inv_route_mode_is_known check (mode in (1, 2, 3, 4)),
    constraint inv_route_begins_after_the_first check (epoch >= 2),
    constraint inv_route_of_a_stock foreign key (stock_id) references inv_stock (stock_id)
) strict, without rowid;

-- What is not taken by the merged route is found at once.
create index inv_stock_elsewhere on inv_stock (mode) where mode <> 1;

-- A refund, a shipment or an adjustment takes effect once under its number, and is answered alike ever after.
create table inv_number (
    kind        integer not null,                 -- 1 refund, 2 shipment, 3 adjustment
    biz_no      text not null,
    order_no    text not null,                -- '' when it is about no order
    fingerprint text not null,                 -- of what was asked for under it
    answer      text not null,                 -- what was moved: JSON
    created_at  integer not null,
    primary key (kind, biz_no),
    constraint inv_number_kind_is_known check (kind in (1, 2, 3))
) strict, without rowid;
