-- The catalogue of a shop: what can be bought, at what price, and how much of it inventory last said there was.
-- Prices are in minor units of the currency, times are unix milliseconds. The constraints repeat the laws that the
-- code keeps, and carry their names.

-- A product as customers see it; its SKUs differ in size, colour and the like.
create table product_spu (
    spu_id     bigint       not null primary key,
    name       varchar(200) not null,
    version    bigint       not null,
    updated_at bigint       not null,
    constraint product_spu_is_positive check (spu_id >= 1),
    constraint product_spu_version_counts_from_one check (version >= 1)
);

-- What is priced and sold. A write counts only when its version is newer than the row's.
create table product_sku (
    sku_id      bigint       not null primary key,
    spu_id      bigint       not null,
    name        varchar(200) not null,
    price_minor bigint       not null,
    currency    varchar(3)   not null,
    status      varchar(16)  not null,
    attrs       jsonb,
    version     bigint       not null,
    updated_at  bigint       not null,
    constraint product_sku_is_positive check (sku_id >= 1),
    constraint product_sku_price_not_negative check (price_minor >= 0),
    constraint product_sku_status_is_known check (status in ('on_sale', 'off_sale', 'discontinued')),
    constraint product_sku_version_counts_from_one check (version >= 1),
    constraint product_sku_belongs_to_a_product foreign key (spu_id) references product_spu (spu_id)
);

create index product_sku_by_product on product_sku (spu_id);

-- What inventory last said: a copy for showing, never for selling. A message counts only when its seq is newer.
create table sku_availability (
    sku_id     bigint      not null primary key,
    usable     bigint      not null,
    state      varchar(16) not null,
    seq        bigint      not null,
    updated_at bigint      not null,
    constraint sku_availability_is_positive check (sku_id >= 1),
    constraint sku_availability_usable_not_negative check (usable >= 0),
    constraint sku_availability_state_is_known check (state in ('in_stock', 'low', 'sold_out')),
    constraint sku_availability_seq_not_negative check (seq >= 0)
);
