-- The stock of a shop: what there is, what is set aside and for whom, and every change with its cause.
-- Times are unix milliseconds. The constraints repeat the laws that the code keeps, and carry their names.

-- One sellable (or activity, or consignment) record. '*' as a warehouse is the sales layer.
create table inv_stock (
    stock_id        integer primary key,
    sku_id          integer not null,
    stock_type      integer not null default 1,   -- 1 sellable, 2 activity, 3 consignment
    dept_no         text    not null default '*',
    warehouse_no    text    not null default '*',
    stock_status    integer not null default 1,
    goods_level     integer not null default 1,
    activity_id     integer not null default 0,
    channel         integer not null default 0,
    mode            integer not null default 1,   -- 1 merged, 2 row, 3 bucket, 4 redis
    epoch           integer not null default 1,   -- fences the route the record had before
    bucket_count    integer not null default 1,
    safety_stock    integer not null default 0,
    low_threshold   integer,
    backorder_limit integer not null default 0,
    created_at      integer not null,
    constraint inv_stock_sku_is_positive check (sku_id >= 1),
    constraint inv_stock_type_is_known check (stock_type in (1, 2, 3)),
    constraint inv_stock_mode_is_known check (mode in (1, 2, 3, 4)),
    constraint inv_stock_has_buckets check (bucket_count >= 1),
    constraint inv_stock_safety_not_negative check (safety_stock >= 0),
    constraint inv_stock_one_record
        unique (sku_id, stock_type, dept_no, warehouse_no, stock_status, goods_level, activity_id, channel)
) strict;

-- The only counters. Bucket 0 always exists; further ones spread a hot record.
create table inv_bucket (
    stock_id  integer not null,
    bucket_no integer not null,
    usable    integer not null default 0,
    held      integer not null default 0,
    shipped   integer not null default 0,
    inbound   integer not null default 0,         -- everything that ever came in, less what was adjusted away
    version   integer not null default 0,
    primary key (stock_id, bucket_no),
    constraint inv_bucket_usable_not_negative check (usable >= 0),
    constraint inv_bucket_held_not_negative check (held >= 0),
    constraint inv_bucket_shipped_not_negative check (shipped >= 0),
    constraint inv_bucket_is_balanced check (usable + held + shipped = inbound),
    constraint inv_bucket_belongs_to_a_stock foreign key (stock_id) references inv_stock (stock_id)
) strict, without rowid;

-- What an order line has set aside in a bucket, and how much of it came back or left.
create table inv_hold (
    hold_id        integer primary key,
    order_no       text    not null,
    line_no        integer not null,
    stock_id       integer not null,
    bucket_no      integer not null,
    epoch          integer not null,
    qty            integer not null,
    released       integer not null default 0,
    shipped        integer not null default 0,
    state          integer not null,              -- 1 held, 2 confirmed, 3 closed
    made_saga      text    not null,              -- who set it aside
    made_step      text    not null,
    confirmed_saga text,                          -- who confirmed it; the maker itself when it was deducted
    confirmed_step text,
    expires_at     integer,
    created_at     integer not null,
    constraint inv_hold_is_positive check (qty > 0),
    constraint inv_hold_released_not_negative check (released >= 0),
    constraint inv_hold_shipped_not_negative check (shipped >= 0),
    constraint inv_hold_gives_back_no_more_than_it_took check (released + shipped <= qty),
    constraint inv_hold_state_is_known check (state in (1, 2, 3)),
    constraint inv_hold_closed_has_nothing_open check ((state = 3) = (released + shipped = qty)),
    constraint inv_hold_only_a_held_one_expires check ((state = 1) = (expires_at is not null)),
    constraint inv_hold_confirmed_by_someone
        check ((state <> 2 or confirmed_saga is not null) and (confirmed_saga is null) = (confirmed_step is null)),
    constraint inv_hold_once unique (order_no, line_no, stock_id, bucket_no),
    constraint inv_hold_lies_in_a_bucket
        foreign key (stock_id, bucket_no) references inv_bucket (stock_id, bucket_no)
) strict;

create index inv_hold_by_expiry on inv_hold (expires_at) where expires_at is not null;

-- Every change, append only: what moved, how much, and who caused it. Counters are sums of these rows.
create table inv_flow (
    flow_id    integer primary key,
    op         integer not null,                  -- 1 replenish, 2 hold, 3 deduct, 4 confirm, 5 release, 6 restore, 7 reinstate, 8 ship
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
    constraint inv_flow_op_is_known check (op between 1 and 8),
    constraint inv_flow_once unique (saga, step, biz_no, op, line_no, bucket_no),
    constraint inv_flow_lies_in_a_bucket
        foreign key (stock_id, bucket_no) references inv_bucket (stock_id, bucket_no)
) strict;

-- A replenishment takes effect once under its number.
create table inv_replenish (
    biz_no      text    primary key,
    fingerprint text    not null,
    line_count  integer not null,
    qty         integer not null,
    created_at  integer not null
) strict, without rowid;
