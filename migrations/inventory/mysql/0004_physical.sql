-- What lies in the warehouses, as their systems count it, and alerts when a record runs low.

-- How many of a SKU lie in a warehouse, by its newest count. An older count never replaces a newer one.
create table inv_physical (
    warehouse_no varchar(32) not null,
    sku_id       bigint not null,
    on_hand      bigint not null,                   -- damaged ones included
    damaged      bigint not null default 0,
    wms_version  bigint not null,
    synced_at    bigint not null,
    primary key (warehouse_no, sku_id),
    constraint inv_physical_sku_is_positive check (sku_id >= 1),
    constraint inv_physical_not_negative check (on_hand >= 0 and damaged >= 0),
    constraint inv_physical_damaged_is_part_of_it check (damaged <= on_hand)
) engine = InnoDB default character set ascii collate ascii_bin;

create index inv_physical_by_sku on inv_physical (sku_id);

-- Counts that arrived, each once under its number.
create table inv_sync (
    batch_no     varchar(56) character set utf8mb4 collate utf8mb4_bin not null primary key,
    source       varchar(64) character set utf8mb4 collate utf8mb4_bin not null,
    mode         smallint not null,                    -- 1 all of a warehouse, 2 some of it
    warehouse_no varchar(32) not null,
    fingerprint  varchar(64) not null,           -- of what was sent under the number
    rows_seen    bigint not null,
    rows_applied bigint not null,
    answer       longtext character set utf8mb4 collate utf8mb4_bin not null,                  -- JSON
    created_at   bigint not null,
    constraint inv_sync_mode_is_known check (mode in (1, 2)),
    constraint inv_sync_applies_no_more_than_it_knows check (rows_applied >= 0 and rows_seen >= 0)
) engine = InnoDB default character set ascii collate ascii_bin;

-- Records that ran low. One is open at a time; it is opened at or below the threshold and closed at a fifth above it.
create table inv_alert (
    alert_id       bigint not null auto_increment primary key,
    stock_id       bigint not null,
    open_stock_id  bigint,                          -- the record while the alert is open, null afterwards
    low_threshold  bigint not null,
    usable_opened  bigint not null,
    usable_closed  bigint,
    opened_at      bigint not null,
    closed_at      bigint,
    constraint inv_alert_one_open_for_a_record unique (open_stock_id),
    constraint inv_alert_is_open_or_closed check ((closed_at is null) = (open_stock_id is not null)),
    constraint inv_alert_is_open_for_its_record check (open_stock_id is null or open_stock_id = stock_id),
    constraint inv_alert_opened_low check (usable_opened <= low_threshold),
    constraint inv_alert_of_a_stock foreign key (stock_id) references inv_stock (stock_id)
) engine = InnoDB default character set ascii collate ascii_bin;

create index inv_alert_by_stock on inv_alert (stock_id, alert_id);
create index inv_stock_with_threshold on inv_stock (low_threshold);
