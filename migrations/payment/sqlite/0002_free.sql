-- A charge of nothing is a payment as well: an order all of whose goods are free is placed and paid like any other. SQLite
-- cannot loosen a check constraint: the tables are made anew and the rows carried over.
drop index payment_one_live_per_order;
drop index payment_by_time;
drop index payment_by_step;
drop index payment_refund_by_payment;
drop index payment_refund_by_step;
drop index payment_refund_by_time;
drop index payment_event_by_payment;
alter table payment_event rename to payment_event_before;
alter table payment_refund rename to payment_refund_before;
alter table payment rename to payment_before;

-- One charge. Its refunded_minor counts refunds that are under way as well, so that none can come to more than was paid.
create table payment (
    payment_no     text    not null primary key,
    order_no       text    not null,
    state          text    not null,
    mode           text    not null,  -- how it behaves
    amount_minor   integer not null,
    currency       text    not null,
    refunded_minor integer not null default 0,
    settle_at      integer,  -- when it ends by itself; null when nothing is to happen any more, or ever
    callback       text,  -- who is told then, as JSON
    declines       integer not null default 0,  -- whether it then ends in a no
    saga           text    not null,
    step           text    not null,
    created_at     integer not null,
    updated_at     integer not null,
    constraint payment_state_is_known check (state in (
        'pending', 'paid', 'part_refunded', 'refunded', 'declined', 'void', 'voiding')),
    constraint payment_not_negative check (amount_minor >= 0),
    constraint payment_gives_back_no_more_than_was_paid check (refunded_minor >= 0 and refunded_minor <= amount_minor)
) strict, without rowid;

insert into payment (payment_no, order_no, state, mode, amount_minor, currency, refunded_minor, settle_at,
                     callback, declines, saga, step, created_at, updated_at)
select payment_no, order_no, state, mode, amount_minor, currency, refunded_minor, settle_at,
       callback, declines, saga, step, created_at, updated_at
from payment_before;

-- An order has one payment that counts, or may come to count.
create unique index payment_one_live_per_order on payment (order_no)
where state in ('pending', 'paid', 'part_refunded', 'voiding');

create index payment_by_time on payment (settle_at) where settle_at is not null;
create index payment_by_step on payment (saga, step);

-- Money given back; each takes effect once under its number.
create table payment_refund (
    refund_no    text    not null primary key,
    payment_no   text    not null,
    state        text    not null,
    mode         text    not null,
    amount_minor integer not null,
    reason       text,
    settle_at    integer,
    callback     text,
    declines     integer not null default 0,
    saga         text    not null,
    step         text    not null,
    created_at   integer not null,
    updated_at   integer not null,
    constraint payment_refund_state_is_known check (state in ('pending', 'done', 'declined')),
    constraint payment_refund_not_negative check (amount_minor >= 0),
    constraint payment_refund_belongs_to_a_payment foreign key (payment_no) references payment (payment_no)
) strict, without rowid;

insert into payment_refund (refund_no, payment_no, state, mode, amount_minor, reason, settle_at, callback, declines,
                            saga, step, created_at, updated_at)
select refund_no, payment_no, state, mode, amount_minor, reason, settle_at, callback, declines,
       saga, step, created_at, updated_at
from payment_refund_before;

create index payment_refund_by_payment on payment_refund (payment_no);
create index payment_refund_by_step on payment_refund (saga, step);
create index payment_refund_by_time on payment_refund (settle_at) where settle_at is not null;

-- Every step a payment took, append only. The money that moved is the sum of what stands here.
create table payment_event (
    event_id       integer primary key,
    payment_no     text    not null,
    what           text    not null,
    refund_no      text,
    d_paid_minor   integer not null default 0,
    d_back_minor   integer not null default 0,
    saga           text    not null,
    step           text    not null,
    at             integer not null,
    constraint payment_event_is_known check (what in (
        'asked', 'paid', 'declined', 'voided', 'void_asked', 'refund_asked', 'refunded', 'refund_declined')),
    constraint payment_event_belongs_to_a_payment foreign key (payment_no) references payment (payment_no)
) strict;

insert into payment_event (event_id, payment_no, what, refund_no, d_paid_minor, d_back_minor, saga, step, at)
select event_id, payment_no, what, refund_no, d_paid_minor, d_back_minor, saga, step, at
from payment_event_before;

create index payment_event_by_payment on payment_event (payment_no);

drop table payment_event_before;
drop table payment_refund_before;
drop table payment_before;
