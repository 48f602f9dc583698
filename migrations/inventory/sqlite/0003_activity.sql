-- Activities: sales of a limited time from stock of their own, and how much of it one customer may have.
--
-- The stock of an activity is a record of type 2 that bears its number; what moves between it and the ordinary record is
-- written as flows 11 and 12. The limit of a customer is kept by a conditional insert or update of one row.

create table inv_activity (
    activity_id    integer not null primary key,
    name           text not null,
    starts_at      integer not null,
    ends_at        integer not null,                 -- the first moment after it
    state          integer not null default 1,        -- 1 open, 2 closed by hand
    per_user_limit integer,                          -- null: a customer may have any number
    created_at     integer not null,
    changed_at     integer not null,
    constraint inv_activity_is_positive check (activity_id >= 1),
    constraint inv_activity_ends_after_it_starts check (ends_at > starts_at),
    constraint inv_activity_state_is_known check (state in (1, 2)),
    constraint inv_activity_limit_is_positive check (per_user_limit is null or per_user_limit >= 1)
) strict, without rowid;

-- How many a customer has of an activity.
create table inv_quota (
    activity_id integer not null,
    user_id     text not null,
    bought      integer not null,
    primary key (activity_id, user_id),
    constraint inv_quota_not_negative check (bought >= 0),
    constraint inv_quota_of_an_activity foreign key (activity_id) references inv_activity (activity_id)
) strict, without rowid;

-- Every change of a quota, append only, with the step that caused it.
create table inv_quota_move (
    saga        text not null,
    step        text not null,
    undo        integer not null,                     -- 0 the step's action, 1 its undoing
    activity_id integer not null,
    user_id     text not null,
    delta       integer not null,
    created_at  integer not null,
    primary key (saga, step, undo),
    constraint inv_quota_move_is_one check (delta <> 0),
    constraint inv_quota_move_undo_is_known check (undo in (0, 1)),
    constraint inv_quota_move_of_a_quota
        foreign key (activity_id, user_id) references inv_quota (activity_id, user_id)
) strict, without rowid;

-- The records of an activity are found at once.
create index inv_stock_of_activity on inv_stock (activity_id, sku_id) where activity_id <> 0;
