//! What the orders say was done for which saga: the orders' [`SagaAudit`].
//!
//! A page walks along the barrier first. For every step it holds three things against each other: what the caller was
//! answered, which events tell of the step, and how order, lines and refunds stand. Then it walks along the events by
//! themselves, for those that no call accounts for. It reads one snapshot and changes nothing.
//!
//! Effects: of `create` `{"order", "customer", "currency", "lines": [{"sku", "qty", "price_minor"}], "total_minor",
//! "total"}`, of `pay` `{"order", "amount_minor"}`, of `refund` and `refund_begin` `{"order", "refund", "lines"}`, of any
//! other `{"order"}`.

mod judge;
mod rows;

use amends_sdk::barrier::{Window, trail_sqlite};
use amends_sdk::saga_audit::{Failure, Place, SagaAudit, Walk, walk};
use amends_wire::audit::{Page, Query, Reported, names};
use async_trait::async_trait;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};
use uuid::Uuid;

/// The audit of orders.
pub(crate) struct OrderAudit(pub(crate) SqlitePool);

#[async_trait]
impl SagaAudit for OrderAudit {
    async fn page(&self, query: &Query) -> Result<Page, Failure> {
        let place = Place::read(query)?;
        let mut snapshot = self.0.begin().await?;
        let page = match place {
            Place::Barrier(after) => {
                let window = Window { since: query.since, after, limit: query.limit };
                on_the_barrier(&mut snapshot, &window).await?
            }
            Place::Own { table, after } => walk(&mut snapshot, &WALKS, query.since, table, after).await?,
        };
        snapshot.rollback().await?;
        Ok(page)
    }
}

async fn on_the_barrier(snapshot: &mut SqliteConnection, window: &Window) -> Result<Page, Failure> {
    let trail = trail_sqlite(snapshot, window).await?;
    let rows = rows::rows_of(snapshot, &trail.steps).await?;
    let mut page = Page::default();
    for step in &trail.steps {
        page.effects.push(judge::judge(step, &rows, &mut page.findings));
    }
    let next = match trail.next {
        Some(after) => Place::Barrier(Some(after)),
        None => Place::Own { table: 0, after: None },
    };
    Ok(Page { next: next.cursor(), ..page })
}

/// The events, for those whose step never called here, or has done nothing here. Those that no saga caused are left out:
/// an order that nobody paid for was called off.
const WALKS: [Walk; 1] = [Walk {
    last: "select max(event_id) from order_event",
    time: "select at from order_event where event_id >= ?1 order by event_id limit 1",
    upto: "select max(event_id) from
        (select event_id from order_event where event_id > ?1 order by event_id limit ?2)",
    found: "select e.event_id as id, e.order_no, e.operation, e.op, e.to_state, e.saga, e.step, b.status
        from order_event e
        left join saga_barrier b on b.saga_id = unhex(e.saga, '-') and b.step = e.step and b.op = 0
        where e.event_id > ?1 and e.event_id <= ?2 and e.saga <> ''
            and (b.status is null or (b.status <> 1 and b.status not between 200 and 299))
        order by e.event_id limit ?3",
    tell: event,
}];

fn event(row: &SqliteRow) -> Result<Reported, sqlx::Error> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let (id, order, to, saga): (i64, String, String, String) =
        (row.try_get("id")?, text("order_no")?, text("to_state")?, text("saga")?);
    let (name, why) = match row.try_get::<Option<i64>, _>("status")? {
        None => (names::ORPHAN_EFFECT, "its step never called here"),
        Some(_) => (names::EFFECT_THOUGH_BARRED, "its step has done nothing here"),
    };
    let detail =
        json!({ "event": id, "order": order, "operation": text("operation")?, "to": to, "saga": saga });
    Ok(Reported {
        name: name.to_owned(),
        saga: Uuid::parse_str(&saga).ok(),
        step: Some(text("step")?),
        message: format!("event {id} takes order {order} to {to}, but {why}"),
        detail: Some(detail),
    })
}

#[cfg(test)]
mod tests;
