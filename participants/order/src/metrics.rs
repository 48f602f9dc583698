//! What the orders tell of themselves in `GET /metrics`, below the figures of every participant.
//!
//! | name | kind | says |
//! |---|---|---|
//! | `amends_order_changes_total{operation,op,to}` | counter | steps that orders took, by the call that caused them and where they led |
//! | `amends_order_paid_undone_total` | counter | orders that were paid and whose payment was taken back because their saga turned round |
//! | `amends_order_called_off_waiting` | gauge | orders that were called off unpaid and whose goods no saga gives back yet |
//!
//! Steps are counted by reading on in the events, so what was rolled back is not counted, and no call waits for it. They
//! are those since this process began. An order that was paid and is not any more is told of in the log, too: a customer
//! has lost what was bought, whatever the reason.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use amends_sdk::metrics::{Figures, Text};
use async_trait::async_trait;
use sqlx::{Row, SqlitePool, query};

#[cfg(test)]
mod tests;

/// Events that are read at once.
const EVENTS_MAX: i64 = 5_000;

/// The figures, as far as the events were read.
#[derive(Debug)]
pub(crate) struct OrderFigures {
    readers: SqlitePool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    /// The last event that was counted; `None` before the first look.
    event: Option<i64>,
    changes: BTreeMap<(String, String, String), u64>,
    paid_undone: u64,
    waiting: i64,
}

impl OrderFigures {
    pub(crate) fn new(readers: &SqlitePool) -> OrderFigures {
        OrderFigures { readers: readers.clone(), seen: Mutex::default() }
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Seen {
    /// Counts the next events, and says whether there may be more.
    async fn read_on(&mut self, readers: &SqlitePool, after: i64) -> Result<bool, sqlx::Error> {
        const SQL: &str = "
            select event_id, order_no, operation, op, to_state, saga, note from order_event
            where event_id > ?1 order by event_id limit ?2";
        let rows = query(SQL).bind(after).bind(EVENTS_MAX).fetch_all(readers).await?;
        for row in &rows {
            let text = |column: &str| row.try_get::<String, _>(column);
            let (operation, op, to) = (text("operation")?, text("op")?, text("to_state")?);
            // The refund that makes a payment good is the compensation of `pay`; a customer's own refund is an action.
            if operation == "refund" && op == "compensation" {
                let (order, saga) = (text("order_no")?, text("saga")?);
                tracing::warn!(order, saga, "a paid order was undone: its saga could not be carried through");
                self.paid_undone += 1;
            }
            *self.changes.entry((operation, op, to)).or_default() += 1;
            self.event = Some(row.try_get("event_id")?);
        }
        Ok(rows.len() as i64 == EVENTS_MAX)
    }
}

#[async_trait]
impl Figures for OrderFigures {
    async fn look(&self) -> Result<(), sqlx::Error> {
        let mut seen = self.seen();
        match seen.event {
            Some(_) => while seen.read_on(&self.readers, seen.event.unwrap_or(0)).await? {},
            None => {
                let last = "select coalesce(max(event_id), 0) from order_event";
                seen.event = Some(sqlx::query_scalar(last).fetch_one(&self.readers).await?);
            }
        }
        let waiting = "select count(*) from order_timeout where saga is null";
        seen.waiting = sqlx::query_scalar(waiting).fetch_one(&self.readers).await?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(())
    }

    fn write(&self, text: &mut Text) {
        let seen = self.seen();
        let name = "amends_order_changes_total";
        text.begin(name, "counter", "steps that orders took");
        for ((operation, op, to), count) in &seen.changes {
            text.value(name, &[("operation", operation), ("op", op), ("to", to)], count);
        }
        let says = "orders that were paid and whose payment was taken back because their saga turned round";
        text.one("amends_order_paid_undone_total", "counter", says, &seen.paid_undone);
        let says = "orders that were called off unpaid and whose goods no saga gives back yet";
        text.one("amends_order_called_off_waiting", "gauge", says, &seen.waiting);
    }
}
