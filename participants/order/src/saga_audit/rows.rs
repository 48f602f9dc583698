//! The orders that steps are about, with their lines, events and refunds.

use std::collections::{BTreeSet, HashMap};

use amends_sdk::barrier::Step;
use serde::Deserialize;
use serde_json::json;
use sqlx::{Row, SqliteConnection};

/// An order, as far as an audit looks at it.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The order's own row, where there is one.
    pub(super) head: Option<Head>,
    /// Its lines, ascending by SKU.
    pub(super) lines: Vec<Line>,
    /// Its events, oldest first.
    pub(super) events: Vec<Event>,
    /// Its refunds.
    pub(super) refunds: Vec<Refund>,
}

/// The row of an order.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    pub(super) saga: String,
    pub(super) step: String,
    pub(super) customer: Option<String>,
    pub(super) state: String,
    pub(super) currency: String,
    pub(super) amount_minor: i64,
}

/// A line of an order.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    pub(super) sku: i64,
    pub(super) line_no: i64,
    pub(super) qty: i64,
    pub(super) price_minor: i64,
}

/// A step that an order took.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub(super) id: i64,
    pub(super) operation: String,
    pub(super) op: String,
    pub(super) saga: String,
    pub(super) step: String,
}

/// Money given back.
#[derive(Debug, Deserialize)]
pub(super) struct Refund {
    pub(super) number: String,
    pub(super) state: String,
    pub(super) amount_minor: i64,
    pub(super) saga: String,
    pub(super) step: String,
    /// Pairs of SKU and quantity.
    pub(super) lines: Vec<(i64, i64)>,
}

/// Reads all that there is about the orders that these steps were answered with.
pub(super) async fn rows_of(
    connection: &mut SqliteConnection,
    steps: &[Step],
) -> Result<HashMap<String, Order>, sqlx::Error> {
    let orders: BTreeSet<&str> = steps.iter().filter_map(|step| step.answer["order"].as_str()).collect();
    let rows = sqlx::query(ORDERS).bind(json!(orders).to_string()).fetch_all(connection).await?;
    let mut found = HashMap::new();
    for row in &rows {
        let order = Order {
            head: parsed(row.try_get("head")?)?,
            lines: parsed(row.try_get("lines")?)?.unwrap_or_default(),
            events: parsed(row.try_get("events")?)?.unwrap_or_default(),
            refunds: parsed(row.try_get("refunds")?)?.unwrap_or_default(),
        };
        found.insert(row.try_get("order_no")?, order);
    }
    Ok(found)
}

/// Reads what the database handed over as one text.
fn parsed<T: for<'a> Deserialize<'a>>(text: Option<String>) -> Result<Option<T>, sqlx::Error> {
    let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
    parsed.map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// One row for each order that is asked about, whether it is there or not.
const ORDERS: &str = "
    select w.value as order_no,
        (select json_object('saga', o.saga, 'step', o.step, 'customer', o.user_id, 'state', o.state,
                'currency', o.currency, 'amount_minor', o.amount_minor)
            from orders o where o.order_no = w.value) as head,
        (select json_group_array(json_object('sku', l.sku_id, 'line_no', l.line_no, 'qty', l.qty,
                'price_minor', l.price_minor) order by l.sku_id)
            from order_line l where l.order_no = w.value) as lines,
        (select json_group_array(json_object('id', e.event_id, 'operation', e.operation, 'op', e.op, 'saga', e.saga,
                'step', e.step) order by e.event_id)
            from order_event e where e.order_no = w.value) as events,
        (select json_group_array(json_object('number', r.refund_no, 'state', r.state, 'amount_minor', r.amount_minor, 'saga', r.saga,
                'step', r.step, 'lines', (select json_group_array(json_array(p.sku_id, p.qty))
                    from refund_line p where p.refund_no = r.refund_no)))
            from refund r where r.order_no = w.value) as refunds
    from json_each(?1) w";
