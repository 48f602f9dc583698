-- A count remembers how many of its SKU had left the house when it came, so that what has left since is not sold again.
alter table inv_physical add column shipped_then bigint not null default 0,
    add constraint inv_physical_shipped_then_not_negative check (shipped_then >= 0);

-- Of the counts that are there the flows say it; a parcel of the same moment is taken to have left after it.
update inv_physical counted
join (
    select p.warehouse_no, p.sku_id, sum(f.d_shipped) as qty
    from inv_flow f join inv_stock s on s.stock_id = f.stock_id join inv_physical p on p.sku_id = s.sku_id
    where f.op = 8 and f.created_at < p.synced_at
    group by p.warehouse_no, p.sku_id) gone
    on gone.warehouse_no = counted.warehouse_no and gone.sku_id = counted.sku_id
set counted.shipped_then = gone.qty;
