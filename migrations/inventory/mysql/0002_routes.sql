-- Routes: by which way a record is taken, switched online and fenced by its epoch; and business numbers that take
-- effect once.
--
-- Flows of refunds, adjustments, activities and synchronisation have codes of their own. The constraint is widened in place.
--
-- Flow op: 1 replenish, 2 hold, 3 deduct, 4 confirm, 5 release, 6 restore, 7 reinstate, 8 ship, 9 refund, 10 adjust,
-- 11 activity_allocate, 12 activity_return, 13 sync.

alter table inv_flow drop constraint inv_flow_op_is_known;
alter table inv_flow add constraint inv_flow_op_is_known check (op between 1 and 13);

-- Every route a record ever had after its first: the epoch with which it began. An epoch never comes back.
create table inv_route (
    stock_id bigint not null,
    epoch    bigint not null,
    mode     smallint not null,                    -- 1 merged, 2 row, 3 bucket, 4 redis
    why      varchar(256) character set utf8mb4 collate utf8mb4_bin not null,
    at       bigint not null,
    primary key (stock_id, epoch),
    constraint inv_route_mode_is_known check (mode in (1, 2, 3, 4)),
    constraint inv_route_begins_after_the_first check (epoch >= 2),
    constraint inv_route_of_a_stock foreign key (stock_id) references inv_stock (stock_id)
) engine = InnoDB default character set ascii collate ascii_bin;

-- What is not taken by the merged route is found at once.
create index inv_stock_elsewhere on inv_stock (mode);

-- A refund, a shipment or an adjustment takes effect once under its number, and is answered alike ever after.
create table inv_number (
    kind        smallint not null,                 -- 1 refund, 2 shipment, 3 adjustment
    biz_no      varchar(64) character set utf8mb4 collate utf8mb4_bin not null,
    order_no    varchar(64) character set utf8mb4 collate utf8mb4_bin not null,                -- '' when it is about no order
    fingerprint varchar(64) not null,                 -- of what was asked for under it
    answer      longtext character set utf8mb4 collate utf8mb4_bin not null,                 -- what was moved: JSON
    created_at  bigint not null,
    primary key (kind, biz_no),
    constraint inv_number_kind_is_known check (kind in (1, 2, 3))
) engine = InnoDB default character set ascii collate ascii_bin;
