//! The flows of steps, and the holds of the orders they are about.

use std::collections::{BTreeSet, HashMap};

use amends_sdk::barrier::Step;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

/// A flow that a step caused.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    pub(super) id: i64,
    /// As the column has it; see [`crate::ledger::FlowOp`].
    pub(super) op: i64,
    pub(super) sku: Option<i64>,
    pub(super) hold: Option<i64>,
    pub(super) qty: i64,
}

/// A hold of an order that a step is about.
#[derive(Debug, Clone)]
pub(super) struct Hold {
    pub(super) id: i64,
    pub(super) sku: Option<i64>,
    pub(super) qty: i64,
    pub(super) open: i64,
    pub(super) state: i64,
    pub(super) made_by: (String, String),
    pub(super) confirmed_by: Option<(String, String)>,
    pub(super) expires_at: Option<i64>,
}

/// What the books have about some steps.
#[derive(Debug, Default)]
pub(super) struct Books {
    flows: HashMap<(String, String), Vec<Flow>>,
    holds: HashMap<String, Vec<Hold>>,
}

impl Books {
    /// The flows that a step caused, oldest first.
    pub(super) fn flows(&self, saga: Uuid, step: &str) -> &[Flow] {
        self.flows.get(&(saga.to_string(), step.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// Every hold of an order, oldest first.
    pub(super) fn holds(&self, order: &str) -> &[Hold] {
        self.holds.get(order).map_or(&[], Vec::as_slice)
    }
}

/// Reads all that the books have about these steps.
pub(super) async fn books_of(
    connection: &mut SqliteConnection,
    steps: &[Step],
) -> Result<Books, sqlx::Error> {
    let mut books = Books::default();
    let causes: Vec<Value> = steps.iter().map(|step| json!([step.saga, step.step])).collect();
    let rows = sqlx::query(FLOWS).bind(Value::from(causes).to_string()).fetch_all(&mut *connection).await?;
    for row in &rows {
        let flow = Flow {
            id: row.try_get("flow_id")?,
            op: row.try_get("op")?,
            sku: row.try_get("sku_id")?,
            hold: row.try_get("hold_id")?,
            qty: row.try_get("qty")?,
        };
        books.flows.entry((row.try_get("saga")?, row.try_get("step")?)).or_default().push(flow);
    }
    let orders: BTreeSet<&str> = steps.iter().filter_map(|step| step.answer["order"].as_str()).collect();
    let rows = sqlx::query(HOLDS).bind(json!(orders).to_string()).fetch_all(connection).await?;
    for row in &rows {
        let confirmed_by: (Option<String>, Option<String>) =
            (row.try_get("confirmed_saga")?, row.try_get("confirmed_step")?);
        let hold = Hold {
            id: row.try_get("hold_id")?,
            sku: row.try_get("sku_id")?,
            qty: row.try_get("qty")?,
            open: row.try_get("open")?,
            state: row.try_get("state")?,
            made_by: (row.try_get("made_saga")?, row.try_get("made_step")?),
            confirmed_by: confirmed_by.0.zip(confirmed_by.1),
            expires_at: row.try_get("expires_at")?,
        };
        books.holds.entry(row.try_get("order_no")?).or_default().push(hold);
    }
    Ok(books)
}

const FLOWS: &str = "
    select f.flow_id, f.op, f.saga, f.step, f.hold_id, f.qty, s.sku_id
    from json_each(?1) wanted
    cross join inv_flow f on f.saga = wanted.value ->> 0 and f.step = wanted.value ->> 1
    left join inv_stock s on s.stock_id = f.stock_id
    order by f.flow_id";

const HOLDS: &str = "
    select h.hold_id, h.order_no, h.qty, h.qty - h.released - h.shipped as open, h.state, h.made_saga, h.made_step,
        h.confirmed_saga, h.confirmed_step, h.expires_at, s.sku_id
    from json_each(?1) wanted
    cross join inv_hold h on h.order_no = wanted.value
    left join inv_stock s on s.stock_id = h.stock_id
    order by h.hold_id";
