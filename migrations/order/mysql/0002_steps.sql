-- Money goes back in steps, goods leave in shipments of their own, and orders nobody pays for are called off.
-- A refund that takes several steps is begun, and then done or called off; what it is about is set aside meanwhile, so
-- that refunds under way and done never come to more than was ordered.
alter table orders
    drop constraint orders_state_is_known,
    add constraint orders_state_is_known check (state in (
        'created', 'reserved', 'paid', 'part_shipped', 'shipped', 'done', 'refunding', 'part_refunded', 'refunded',
        'cancelled'));

alter table order_line
    add column refunding bigint not null default 0,
    drop constraint order_line_gives_back_no_more_than_was_ordered,
    add constraint order_line_refunding_not_negative check (refunding >= 0),
    add constraint order_line_gives_back_no_more_than_was_ordered check (refunded + refunding + shipped <= qty);

alter table refund
    add column state varchar(16) not null default 'done',
    add column ended_at bigint;
update refund set ended_at = created_at;
alter table refund
    add constraint refund_state_is_known check (state in ('begun', 'done', 'called_off')),
    add constraint refund_has_ended_unless_it_is_begun check ((state = 'begun') = (ended_at is null));

-- Goods that left together; each shipment takes effect once under its number.
create table shipment (
    ship_no    varchar(200) not null primary key,
    order_no   varchar(64)  not null,
    saga       varchar(64)  not null,
    step       varchar(128) not null,
    created_at bigint       not null,
    constraint shipment_belongs_to_an_order foreign key (order_no) references orders (order_no)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

create index shipment_by_order on shipment (order_no);

-- What left.
create table shipment_line (
    ship_no varchar(200) not null,
    sku_id  bigint       not null,
    qty     bigint       not null,
    primary key (ship_no, sku_id),
    constraint shipment_line_is_positive check (qty > 0),
    constraint shipment_line_belongs_to_a_shipment foreign key (ship_no) references shipment (ship_no)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- What had left before shipments were kept left in one.
insert into shipment (ship_no, order_no, saga, step, created_at)
select concat(order_no, ':before'), order_no, saga, step, updated_at from orders
where order_no in (select order_no from order_line where shipped > 0);
insert into shipment_line (ship_no, sku_id, qty)
select concat(order_no, ':before'), sku_id, shipped from order_line where shipped > 0;

-- What order tokens are signed with: one text, made when the orders are first opened.
create table order_secret (
    one    tinyint      not null primary key,
    secret varchar(128) not null,
    constraint order_secret_is_one check (one = 1)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- Orders that were called off because nobody paid in time, until the saga that gives their goods back is started.
create table order_timeout (
    order_no   varchar(64)  not null primary key,
    decided_at bigint       not null,
    saga       varchar(64),                       -- the one that was started
    attempts   int          not null default 0,
    next_at    bigint       not null,
    last_error varchar(300),
    constraint order_timeout_belongs_to_an_order foreign key (order_no) references orders (order_no)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

create index order_timeout_by_time on order_timeout (saga, next_at);
