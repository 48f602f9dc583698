-- The stock of a shop: what there is, what is set aside and for whom, and every change with its cause.
-- Times are unix milliseconds. The constraints repeat the laws that the code keeps, and carry their names.
-- Texts compare byte by byte; numbers and names from outside never begin or end with a space, so padding is no matter.

-- One sellable (or activity, or consignment) record. '*' as a warehouse is the sales layer.
create table inv_stock (
    stock_id        bigint      not null auto_increment primary key,
    sku_id          bigint      not null,
    stock_type      smallint    not null default 1,   -- 1 sellable, 2 activity, 3 consignment
    dept_no         varchar(32) not null default '*',
    warehouse_no    varchar(32) not null default '*',
    stock_status    smallint    not null default 1,
    goods_level     smallint    not null default 1,
    activity_id     bigint      not null default 0,
    channel         smallint    not null default 0,
    mode            smallint    not null default 1,   -- 1 merged, 2 row, 3 bucket, 4 redis
    epoch           bigint      not null default 1,   -- fences the route the record had before
    bucket_count    smallint    not null default 1,
    safety_stock    bigint      not null default 0,
    low_threshold   bigint,
    backorder_limit bigint      not null default 0,
    created_at      bigint      not null,
    constraint inv_stock_sku_is_positive check (sku_id >= 1),
    constraint inv_stock_type_is_known check (stock_type in (1, 2, 3)),
    constraint inv_stock_mode_is_known check (mode in (1, 2, 3, 4)),
    constraint inv_stock_has_buckets check (bucket_count >= 1),
    constraint inv_stock_safety_not_negative check (safety_stock >= 0),
    constraint inv_stock_one_record
        unique (sku_id, stock_type, dept_no, warehouse_no, stock_status, goods_level, activity_id, channel)
) engine = InnoDB default character set ascii collate ascii_bin;

-- The only counters. Bucket 0 always exists; further ones spread a hot record.
create table inv_bucket (
    stock_id  bigint   not null,
    bucket_no smallint not null,
    usable    bigint   not null default 0,
    held      bigint   not null default 0,
    shipped   bigint   not null default 0,
    inbound   bigint   not null default 0,             -- everything that ever came in, less what was adjusted away
    version   bigint   not null default 0,
    primary key (stock_id, bucket_no),
    constraint inv_bucket_usable_not_negative check (usable >= 0),
    constraint inv_bucket_held_not_negative check (held >= 0),
    constraint inv_bucket_shipped_not_negative check (shipped >= 0),
    constraint inv_bucket_is_balanced check (usable + held + shipped = inbound),
    constraint inv_bucket_belongs_to_a_stock foreign key (stock_id) references inv_stock (stock_id)
) engine = InnoDB default character set ascii collate ascii_bin;

-- What an order line has set aside in a bucket, and how much of it came back or left.
create table inv_hold (
    hold_id        bigint       not null auto_increment primary key,
    order_no       varchar(64)  character set utf8mb4 collate utf8mb4_bin not null,
    line_no        integer      not null,
    stock_id       bigint       not null,
    bucket_no      smallint     not null,
    epoch          bigint       not null,
    qty            bigint       not null,
    released       bigint       not null default 0,
    shipped        bigint       not null default 0,
    state          smallint     not null,              -- 1 held, 2 confirmed, 3 closed
    made_saga      varchar(36)  not null,              -- who set it aside
    made_step      varchar(128) not null,
    confirmed_saga varchar(36),                        -- who confirmed it; the maker itself when it was deducted
    confirmed_step varchar(128),
    expires_at     bigint,
    created_at     bigint       not null,
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
        foreign key (stock_id, bucket_no) references inv_bucket (stock_id, bucket_no),
    index inv_hold_by_expiry (expires_at)
) engine = InnoDB default character set ascii collate ascii_bin;

-- Every change, append only: what moved, how much, and who caused it. Counters are sums of these rows.
create table inv_flow (
    flow_id    bigint       not null auto_increment primary key,
    op         smallint     not null,                  -- 1 replenish, 2 hold, 3 deduct, 4 confirm, 5 release, 6 restore, 7 reinstate, 8 ship
    biz_no     varchar(64)  character set utf8mb4 collate utf8mb4_bin not null, -- the order, or the number a replenishment came under
    line_no    integer      not null,
    stock_id   bigint       not null,
    bucket_no  smallint     not null,
    qty        bigint       not null,
    d_usable   bigint       not null,
    d_held     bigint       not null,
    d_shipped  bigint       not null,
    hold_id    bigint,
    saga       varchar(36)  not null,                  -- '' when no saga was the cause
    step       varchar(128) not null,
    created_at bigint       not null,
    constraint inv_flow_is_positive check (qty > 0),
    constraint inv_flow_op_is_known check (op between 1 and 8),
    constraint inv_flow_once unique (saga, step, biz_no, op, line_no, bucket_no),
    constraint inv_flow_lies_in_a_bucket
        foreign key (stock_id, bucket_no) references inv_bucket (stock_id, bucket_no)
) engine = InnoDB default character set ascii collate ascii_bin;

-- A replenishment takes effect once under its number.
create table inv_replenish (
    biz_no      varchar(64) character set utf8mb4 collate utf8mb4_bin not null primary key,
    fingerprint varchar(64) not null,
    line_count  integer     not null,
    qty         bigint      not null,
    created_at  bigint      not null
) engine = InnoDB default character set ascii collate ascii_bin;
