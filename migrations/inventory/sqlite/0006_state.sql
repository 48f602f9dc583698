-- What a hold's state may be is said as a range. It is the same law; but SQLite builds a list of three or more anew for
-- every row that it checks, which was a quarter of the cost of a hold. SQLite cannot change a constraint, so the table is
-- made anew.
create table inv_hold_anew (
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
    constraint inv_hold_state_is_known check (state between 1 and 3),
    constraint inv_hold_closed_has_nothing_open check ((state = 3) = (released + shipped = qty)),
    constraint inv_hold_only_a_held_one_expires check ((state = 1) = (expires_at is not null)),
    constraint inv_hold_confirmed_by_someone
        check ((state <> 2 or confirmed_saga is not null) and (confirmed_saga is null) = (confirmed_step is null)),
    constraint inv_hold_once unique (order_no, line_no, stock_id, bucket_no),
    constraint inv_hold_lies_in_a_bucket
        foreign key (stock_id, bucket_no) references inv_bucket (stock_id, bucket_no)
) strict;
insert into inv_hold_anew (hold_id, order_no, line_no, stock_id, bucket_no, epoch, qty, released, shipped, state,
    made_saga, made_step, confirmed_saga, confirmed_step, expires_at, created_at)
select hold_id, order_no, line_no, stock_id, bucket_no, epoch, qty, released, shipped, state,
    made_saga, made_step, confirmed_saga, confirmed_step, expires_at, created_at
from inv_hold order by hold_id;
drop table inv_hold;
alter table inv_hold_anew rename to inv_hold;

create index inv_hold_by_expiry on inv_hold (expires_at) where expires_at is not null;
