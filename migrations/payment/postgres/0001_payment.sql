-- The payments of a shop, as a provider keeps them: what was charged, what was given back, and every step on the way.
-- Money is in minor units of the payment's currency, times are unix milliseconds. The constraints repeat the laws that
-- the code keeps, and carry their names.

-- One charge. Its refunded_minor counts refunds that are under way as well, so that none can come to more than was paid.
create table payment (
    payment_no     varchar(64)  not null primary key,
    order_no       varchar(64)  not null,
    state          varchar(16)  not null,
    mode           varchar(16)  not null,  -- how it behaves
    amount_minor   bigint       not null,
    currency       varchar(3)   not null,
    refunded_minor bigint       not null default 0,
    settle_at      bigint,  -- when it ends by itself; null when nothing is to happen any more, or ever
    callback       text,  -- who is told then, as JSON
    declines       smallint     not null default 0,  -- whether it then ends in a no
    saga           varchar(64)  not null,
    step           varchar(128) not null,
    created_at     bigint       not null,
    updated_at     bigint       not null,
    constraint payment_state_is_known check (state in (
        'pending', 'paid', 'part_refunded', 'refunded', 'declined', 'void', 'voiding')),
    constraint payment_is_positive check (amount_minor > 0),
    constraint payment_gives_back_no_more_than_was_paid check (refunded_minor >= 0 and refunded_minor <= amount_minor)
);

-- An order has one payment that counts, or may come to count.
create unique index payment_one_live_per_order on payment (order_no)
where state in ('pending', 'paid', 'part_refunded', 'voiding');

create index payment_by_time on payment (settle_at) where settle_at is not null;
create index payment_by_step on payment (saga, step);

-- Money given back; each takes effect once under its number.
create table payment_refund (
    refund_no    varchar(200) not null primary key,
    payment_no   varchar(64)  not null,
    state        varchar(16)  not null,
    mode         varchar(16)  not null,
    amount_minor bigint       not null,
    reason       varchar(200),
    settle_at    bigint,
    callback     text,
    declines     smallint     not null default 0,
    saga         varchar(64)  not null,
    step         varchar(128) not null,
    created_at   bigint       not null,
    updated_at   bigint       not null,
    constraint payment_refund_state_is_known check (state in ('pending', 'done', 'declined')),
    constraint payment_refund_not_negative check (amount_minor >= 0),
    constraint payment_refund_belongs_to_a_payment foreign key (payment_no) references payment (payment_no)
);

create index payment_refund_by_payment on payment_refund (payment_no);
create index payment_refund_by_step on payment_refund (saga, step);
create index payment_refund_by_time on payment_refund (settle_at) where settle_at is not null;

-- Every step a payment took, append only. The money that moved is the sum of what stands here.
create table payment_event (
    event_id       bigint       generated always as identity primary key,
    payment_no     varchar(64)  not null,
    what           varchar(16)  not null,
    refund_no      varchar(200),
    d_paid_minor   bigint       not null default 0,
    d_back_minor   bigint       not null default 0,
    saga           varchar(64)  not null,
    step           varchar(128) not null,
    at             bigint       not null,
    constraint payment_event_is_known check (what in (
        'asked', 'paid', 'declined', 'voided', 'void_asked', 'refund_asked', 'refunded', 'refund_declined')),
    constraint payment_event_belongs_to_a_payment foreign key (payment_no) references payment (payment_no)
);

create index payment_event_by_payment on payment_event (payment_no);
