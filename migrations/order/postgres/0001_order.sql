-- The orders of a shop: what was ordered, where each order stands, and every step it took there with its cause.
-- Money is in minor units of the order's currency, times are unix milliseconds. The constraints repeat the laws that
-- the code keeps, and carry their names.

-- One order. Its state changes only by one conditional update that also counts the version up.
create table orders (
    order_no       varchar(64)  not null primary key,
    saga           varchar(64)  not null,             -- who placed it
    step           varchar(128) not null,
    user_id        varchar(64),
    token          varchar(64),                       -- single use: one order per customer and token
    state          varchar(16)  not null,
    currency       varchar(3)   not null,
    amount_minor   bigint       not null,             -- what its lines come to
    refunded_minor bigint       not null default 0,
    pay_deadline   bigint,
    version        bigint       not null default 1,   -- as many as it has events
    created_at     bigint       not null,
    updated_at     bigint       not null,
    constraint orders_state_is_known check (state in (
        'created', 'reserved', 'paid', 'part_shipped', 'shipped', 'done', 'part_refunded', 'refunded', 'cancelled')),
    constraint orders_amount_not_negative check (amount_minor >= 0),
    constraint orders_refunds_no_more_than_was_paid check (refunded_minor >= 0 and refunded_minor <= amount_minor),
    constraint orders_version_counts_from_one check (version >= 1)
);

create unique index orders_one_per_token on orders (user_id, token) where token is not null;
create index orders_by_pay_deadline on orders (state, pay_deadline) where pay_deadline is not null;

-- What was ordered. Lines of the same SKU are merged, so a line is known by its SKU; line_no follows the SKUs upwards.
create table order_line (
    order_no    varchar(64) not null,
    sku_id      bigint      not null,
    line_no     integer     not null,
    qty         bigint      not null,
    price_minor bigint      not null,
    refunded    bigint      not null default 0,
    shipped     bigint      not null default 0,
    primary key (order_no, sku_id),
    constraint order_line_is_positive check (qty > 0),
    constraint order_line_price_not_negative check (price_minor >= 0),
    constraint order_line_refunded_not_negative check (refunded >= 0),
    constraint order_line_shipped_not_negative check (shipped >= 0),
    constraint order_line_gives_back_no_more_than_was_ordered check (refunded + shipped <= qty),
    constraint order_line_belongs_to_an_order foreign key (order_no) references orders (order_no)
);

-- Money given back, in one go or in parts; each takes effect once under its number.
create table refund (
    refund_no    varchar(200) not null primary key,
    order_no     varchar(64)  not null,
    amount_minor bigint       not null,
    reason       varchar(200),
    saga         varchar(64)  not null,
    step         varchar(128) not null,
    created_at   bigint       not null,
    constraint refund_amount_not_negative check (amount_minor >= 0),
    constraint refund_belongs_to_an_order foreign key (order_no) references orders (order_no)
);

create index refund_by_order on refund (order_no);

-- What a refund was for.
create table refund_line (
    refund_no varchar(200) not null,
    sku_id    bigint       not null,
    qty       bigint       not null,
    primary key (refund_no, sku_id),
    constraint refund_line_is_positive check (qty > 0),
    constraint refund_line_belongs_to_a_refund foreign key (refund_no) references refund (refund_no)
);

-- Every step an order took, append only: the first from nothing, each next one from where the one before it led.
create table order_event (
    event_id   bigint       generated always as identity primary key,
    order_no   varchar(64)  not null,
    version    bigint       not null,
    from_state varchar(16),
    to_state   varchar(16)  not null,
    operation  varchar(64)  not null,
    op         varchar(16)  not null,   -- action, compensation or confirm
    note       varchar(200),
    saga       varchar(64)  not null,   -- who caused it
    step       varchar(128) not null,
    at         bigint       not null,
    constraint order_event_only_the_first_comes_from_nothing check ((version = 1) = (from_state is null)),
    constraint order_event_op_is_known check (op in ('action', 'compensation', 'confirm')),
    constraint order_event_once unique (order_no, version),
    constraint order_event_belongs_to_an_order foreign key (order_no) references orders (order_no)
);
