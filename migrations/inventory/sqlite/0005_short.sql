-- Shortages: orders for which what there was has been set aside, and of what how many are missing. And stock that is kept
-- back is found at once.

-- A short hold takes effect once under its number, and is answered alike while it stands.
create table inv_short (
    short_no    text    not null primary key,
    order_no    text    not null,
    saga        text    not null,                 -- the step that held it
    step        text    not null,
    fingerprint text    not null,                 -- of what was asked for under the number
    answer      text    not null,                 -- the lines as they were answered: JSON
    missing     integer not null,                 -- all lines together
    state       integer not null,                 -- 1 stands, 2 given back, 3 closed by hand
    created_at  integer not null,
    ended_at    integer,
    constraint inv_short_missing_not_negative check (missing >= 0),
    constraint inv_short_state_is_known check (state in (1, 2, 3)),
    constraint inv_short_ends_once check ((state = 1) = (ended_at is null))
) strict, without rowid;

create index inv_short_standing on inv_short (order_no) where state = 1;

-- The lines that were short, and by how many.
create table inv_short_line (
    short_no text    not null,
    line_no  integer not null,
    stock_id integer not null,
    wanted   integer not null,
    held     integer not null,
    missing  integer not null,
    primary key (short_no, line_no),
    constraint inv_short_line_is_short check (missing >= 1),
    constraint inv_short_line_held_not_negative check (held >= 0),
    constraint inv_short_line_adds_up check (held + missing = wanted),
    constraint inv_short_line_of_a_short foreign key (short_no) references inv_short (short_no),
    constraint inv_short_line_of_a_stock foreign key (stock_id) references inv_stock (stock_id)
) strict, without rowid;

create index inv_stock_with_safety on inv_stock (stock_id, safety_stock) where safety_stock > 0;
