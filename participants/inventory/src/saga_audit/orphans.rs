//! Flows and holds that no call accounts for: a walk along both tables by the numbers of their rows.

use amends_sdk::saga_audit::Walk;
use amends_wire::audit::{Reported, names};
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

/// Holds first, then flows.
pub(super) const WALKS: [Walk; 2] = [
    Walk {
        last: "select max(hold_id) from inv_hold",
        time: "select created_at from inv_hold where hold_id >= ?1 order by hold_id limit 1",
        upto: "select max(hold_id) from (select hold_id from inv_hold where hold_id > ?1 order by hold_id limit ?2)",
        found: "select h.hold_id as id, h.order_no, s.sku_id, h.qty, h.qty - h.released - h.shipped as open,
                h.made_saga as saga, h.made_step as step, h.expires_at, b.status
            from inv_hold h left join inv_stock s on s.stock_id = h.stock_id
            left join saga_barrier b on b.saga_id = unhex(h.made_saga, '-') and b.step = h.made_step and b.op = 0
            where h.hold_id > ?1 and h.hold_id <= ?2
                and (b.status is null or (b.status <> 1 and b.status not between 200 and 299))
            order by h.hold_id limit ?3",
        tell: hold,
    },
    Walk {
        last: "select max(flow_id) from inv_flow",
        time: "select created_at from inv_flow where flow_id >= ?1 order by flow_id limit 1",
        upto: "select max(flow_id) from (select flow_id from inv_flow where flow_id > ?1 order by flow_id limit ?2)",
        found: "select f.flow_id as id, f.biz_no as order_no, f.qty, f.saga, f.step
            from inv_flow f where f.flow_id > ?1 and f.flow_id <= ?2 and f.saga <> ''
                and not exists (select 1 from saga_barrier b where b.saga_id = unhex(f.saga, '-') and b.step = f.step)
            order by f.flow_id limit ?3",
        tell: flow,
    },
];

fn hold(row: &SqliteRow) -> Result<Reported, sqlx::Error> {
    let (id, qty, open): (i64, i64, i64) = (row.try_get("id")?, row.try_get("qty")?, row.try_get("open")?);
    let (order, sku): (String, Option<i64>) = (row.try_get("order_no")?, row.try_get("sku_id")?);
    let status: Option<i64> = row.try_get("status")?;
    let (name, why) = match status {
        None => (names::ORPHAN_HOLD, "its step never called here"),
        Some(_) => (names::EFFECT_THOUGH_BARRED, "its step has done nothing here"),
    };
    let message =
        format!("hold {id} sets {qty} of sku {} aside for order {order}, but {why}", sku.unwrap_or_default());
    let detail = json!({ "hold": id, "order": order, "sku": sku, "qty": qty, "open": open,
        "expires_at": row.try_get::<Option<i64>, _>("expires_at")?, "saga": row.try_get::<String, _>("saga")? });
    reported(row, name, message, detail)
}

fn flow(row: &SqliteRow) -> Result<Reported, sqlx::Error> {
    let (id, qty, order): (i64, i64, String) =
        (row.try_get("id")?, row.try_get("qty")?, row.try_get("order_no")?);
    let message = format!("flow {id} moves {qty} pieces for order {order}, but its step never called here");
    let saga: String = row.try_get("saga")?;
    let detail = json!({ "flow": id, "order": order, "qty": qty, "saga": saga });
    reported(row, names::ORPHAN_EFFECT, message, detail)
}

fn reported(row: &SqliteRow, name: &str, message: String, detail: Value) -> Result<Reported, sqlx::Error> {
    let saga: String = row.try_get("saga")?;
    Ok(Reported {
        name: name.to_owned(),
        saga: Uuid::parse_str(&saga).ok(),
        step: Some(row.try_get("step")?),
        message,
        detail: Some(detail),
    })
}
