-- Which prices a SKU has had, so that a customer who saw one can be told when it changed, and how far the feed of
-- inventory is known, so that following goes on where it stopped.

-- The version of the write that brought the price; a write that leaves it alone keeps it.
alter table product_sku add column price_version bigint not null default 1;
alter table product_sku add constraint product_sku_price_version_counts_from_one check (price_version >= 1);

update product_sku set price_version = version;

-- Append only.
create table product_price (
    sku_id      bigint     not null,
    version     bigint     not null,
    price_minor bigint     not null,
    currency    varchar(3) not null,
    since       bigint     not null,
    primary key (sku_id, version),
    constraint product_price_not_negative check (price_minor >= 0),
    constraint product_price_version_counts_from_one check (version >= 1),
    constraint product_price_is_of_a_sku foreign key (sku_id) references product_sku (sku_id)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

insert into product_price (sku_id, version, price_minor, currency, since)
select sku_id, version, price_minor, currency, updated_at from product_sku;

-- Written with the availabilities that were read, in one transaction.
create table product_feed (
    source     varchar(64) not null primary key,
    feed       varchar(64),                       -- which feed it was; nothing before it had any flow
    known_to   bigint      not null,              -- the last flow whose changes are all known
    updated_at bigint      not null,
    constraint product_feed_known_not_negative check (known_to >= 0)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;
