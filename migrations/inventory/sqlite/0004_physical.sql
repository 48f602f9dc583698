-- What lies in the warehouses, as their systems count it, and alerts when a record runs low.

-- How many of a SKU lie in a warehouse, by its newest count. An older count never replaces a newer one.
create table inv_physical (
    warehouse_no text not null,
    sku_id       integer not null,
    on_hand      integer not null,                   -- damaged ones included
    damaged      integer not null default 0,
    wms_version  integer not null,
    synced_at    integer not null,
    primary key (warehouse_no, sku_id),
    constraint inv_physical_sku_is_positive check (sku_id >= 1),
    constraint inv_physical_not_negative check (on_hand >= 0 and damaged >= 0),
    constraint inv_physical_damaged_is_part_of_it check (damaged <= on_hand)
) strict, without rowid;

create index inv_physical_by_sku on inv_physical (sku_id);

-- Counts that arrived, each once under its number.
create table inv_sync (
    batch_no     text not null primary key,
    source       text not null,
    mode         integer not null,                    -- 1 all of a warehouse, 2 some of it
    warehouse_no text not null,
    fingerprint  text not null,           -- of what was sent under the number
    rows_seen    integer not null,
    rows_applied integer not null,
    answer       text not null,                  -- JSON
    created_at   integer not null,
    constraint inv_sync_mode_is_known check (mode in (1, 2)),
    constraint inv_sync_applies_no_more_than_it_knows check (rows_applied >= 0 and rows_seen >= 0)
) strict, without rowid;

-- Records that ran low. One is open at a time; it is opened at or below the threshold and closed at a fifth above it.
create table inv_alert (
    alert_id       integer primary key,
    stock_id       integer not null,
    open_stock_id  integer,                          -- the record while the alert is open, null afterwards
    low_threshold  integer not null,
    usable_opened  integer not null,
    usable_closed  integer,
    opened_at      integer not null,
    closed_at      integer,
    constraint inv_alert_one_open_for_a_record unique (open_stock_id),
    constraint inv_alert_is_open_or_closed check ((closed_at is null) = (open_stock_id is not null)),
    constraint inv_alert_is_open_for_its_record check (open_stock_id is null or open_stock_id = stock_id),
    constraint inv_alert_opened_low check (usable_opened <= low_threshold),
    constraint inv_alert_of_a_stock foreign key (stock_id) references inv_stock (stock_id)
) strict;

create index inv_alert_by_stock on inv_alert (stock_id, alert_id);
create index inv_stock_with_threshold on inv_stock (low_threshold) where low_threshold is not null;
