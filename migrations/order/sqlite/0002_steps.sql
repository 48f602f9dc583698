-- Money goes back in steps, goods leave in shipments of their own, and orders nobody pays for are called off.
-- A refund that takes several steps is begun, and then done or called off; what it is about is set aside meanwhile, so
-- that refunds under way and done never come to more than was ordered. SQLite cannot widen a check constraint: the
-- tables are made anew and the rows carried over.
drop index orders_one_per_token;
drop index orders_by_pay_deadline;
drop index refund_by_order;
alter table refund_line rename to refund_line_before;
alter table refund rename to refund_before;
alter table order_event rename to order_event_before;
alter table order_line rename to order_line_before;
alter table orders rename to orders_before;

-- One order. Its state changes only by one conditional update that also counts the version up.
create table orders (
    order_no       text    not null primary key,
    saga           text    not null,             -- who placed it
    step           text    not null,
    user_id        text,
    token          text,                         -- single use: one order per customer and token
    state          text    not null,
    currency       text    not null,
    amount_minor   integer not null,             -- what its lines come to
    refunded_minor integer not null default 0,   -- what was given back, refunds under way left out
    pay_deadline   integer,                      -- from when on it may be called off unpaid
    version        integer not null default 1,   -- as many as it has events
    created_at     integer not null,
    updated_at     integer not null,
    constraint orders_state_is_known check (state in (
        'created', 'reserved', 'paid', 'part_shipped', 'shipped', 'done', 'refunding', 'part_refunded', 'refunded',
        'cancelled')),
    constraint orders_amount_not_negative check (amount_minor >= 0),
    constraint orders_refunds_no_more_than_was_paid check (refunded_minor >= 0 and refunded_minor <= amount_minor),
    constraint orders_version_counts_from_one check (version >= 1)
) strict, without rowid;

insert into orders (order_no, saga, step, user_id, token, state, currency, amount_minor, refunded_minor, pay_deadline,
                    version, created_at, updated_at)
select order_no, saga, step, user_id, token, state, currency, amount_minor, refunded_minor, pay_deadline,
       version, created_at, updated_at
from orders_before;

create unique index orders_one_per_token on orders (user_id, token) where token is not null;
create index orders_by_pay_deadline on orders (state, pay_deadline) where pay_deadline is not null;

-- What was ordered. Lines of the same SKU are merged, so a line is known by its SKU; line_no follows the SKUs upwards.
create table order_line (
    order_no    text    not null,
    sku_id      integer not null,
    line_no     integer not null,
    qty         integer not null,
    price_minor integer not null,
    refunded    integer not null default 0,
    refunding   integer not null default 0,      -- in refunds that are begun
    shipped     integer not null default 0,
    primary key (order_no, sku_id),
    constraint order_line_is_positive check (qty > 0),
    constraint order_line_price_not_negative check (price_minor >= 0),
    constraint order_line_refunded_not_negative check (refunded >= 0),
    constraint order_line_refunding_not_negative check (refunding >= 0),
    constraint order_line_shipped_not_negative check (shipped >= 0),
    constraint order_line_gives_back_no_more_than_was_ordered check (refunded + refunding + shipped <= qty),
    constraint order_line_belongs_to_an_order foreign key (order_no) references orders (order_no)
) strict, without rowid;

insert into order_line (order_no, sku_id, line_no, qty, price_minor, refunded, shipped)
select order_no, sku_id, line_no, qty, price_minor, refunded, shipped from order_line_before;

-- Money given back, in one go or in parts; each takes effect once under its number.
create table refund (
    refund_no    text    not null primary key,
    order_no     text    not null,
    state        text    not null default 'done',
    amount_minor integer not null,
    reason       text,
    saga         text    not null,
    step         text    not null,
    created_at   integer not null,
    ended_at     integer,
    constraint refund_state_is_known check (state in ('begun', 'done', 'called_off')),
    constraint refund_has_ended_unless_it_is_begun check ((state = 'begun') = (ended_at is null)),
    constraint refund_amount_not_negative check (amount_minor >= 0),
    constraint refund_belongs_to_an_order foreign key (order_no) references orders (order_no)
) strict, without rowid;

insert into refund (refund_no, order_no, amount_minor, reason, saga, step, created_at, ended_at)
select refund_no, order_no, amount_minor, reason, saga, step, created_at, created_at from refund_before;

create index refund_by_order on refund (order_no);

-- What a refund was for.
create table refund_line (
    refund_no text    not null,
    sku_id    integer not null,
    qty       integer not null,
    primary key (refund_no, sku_id),
    constraint refund_line_is_positive check (qty > 0),
    constraint refund_line_belongs_to_a_refund foreign key (refund_no) references refund (refund_no)
) strict, without rowid;

insert into refund_line (refund_no, sku_id, qty) select refund_no, sku_id, qty from refund_line_before;

-- Every step an order took, append only: the first from nothing, each next one from where the one before it led.
create table order_event (
    event_id   integer primary key,
    order_no   text    not null,
    version    integer not null,
    from_state text,
    to_state   text    not null,
    operation  text    not null,
    op         text    not null,   -- action, compensation or confirm
    note       text,
    saga       text    not null,   -- who caused it; empty where no saga did
    step       text    not null,
    at         integer not null,
    constraint order_event_only_the_first_comes_from_nothing check ((version = 1) = (from_state is null)),
    constraint order_event_op_is_known check (op in ('action', 'compensation', 'confirm')),
    constraint order_event_once unique (order_no, version),
    constraint order_event_belongs_to_an_order foreign key (order_no) references orders (order_no)
) strict;

insert into order_event (event_id, order_no, version, from_state, to_state, operation, op, note, saga, step, at)
select event_id, order_no, version, from_state, to_state, operation, op, note, saga, step, at from order_event_before;

drop table refund_line_before;
drop table refund_before;
drop table order_event_before;
drop table order_line_before;
drop table orders_before;

-- Goods that left together; each shipment takes effect once under its number.
create table shipment (
    ship_no    text    not null primary key,
    order_no   text    not null,
    saga       text    not null,
    step       text    not null,
    created_at integer not null,
    constraint shipment_belongs_to_an_order foreign key (order_no) references orders (order_no)
) strict, without rowid;

create index shipment_by_order on shipment (order_no);

-- What left.
create table shipment_line (
    ship_no text    not null,
    sku_id  integer not null,
    qty     integer not null,
    primary key (ship_no, sku_id),
    constraint shipment_line_is_positive check (qty > 0),
    constraint shipment_line_belongs_to_a_shipment foreign key (ship_no) references shipment (ship_no)
) strict, without rowid;

-- What had left before shipments were kept left in one.
insert into shipment (ship_no, order_no, saga, step, created_at)
select order_no || ':before', order_no, saga, step, updated_at from orders
where order_no in (select order_no from order_line where shipped > 0);
insert into shipment_line (ship_no, sku_id, qty)
select order_no || ':before', sku_id, shipped from order_line where shipped > 0;

-- What order tokens are signed with: one text, made when the orders are first opened.
create table order_secret (
    one    integer not null primary key,
    secret text    not null,
    constraint order_secret_is_one check (one = 1)
) strict, without rowid;

-- Orders that were called off because nobody paid in time, until the saga that gives their goods back is started.
create table order_timeout (
    order_no   text    not null primary key,
    decided_at integer not null,
    saga       text,                             -- the one that was started
    attempts   integer not null default 0,
    next_at    integer not null,
    last_error text,
    constraint order_timeout_belongs_to_an_order foreign key (order_no) references orders (order_no)
) strict, without rowid;

create index order_timeout_by_time on order_timeout (next_at) where saga is null;
