//! What the payments tell of themselves in `GET /metrics`, below the figures of every participant.
//!
//! | name | kind | says |
//! |---|---|---|
//! | `amends_payment_events_total{what}` | counter | steps that payments took: `asked`, `paid`, `declined`, `voided`, `void_asked`, `refund_asked`, `refunded`, `refund_declined` |
//! | `amends_payment_undone_total{why}` | counter | payments that came in and went back because their saga turned round: `called_off` when they had come in, `late` when they came in afterwards |
//!
//! Steps are counted by reading on in the events, so what was rolled back is not counted, and no call waits for it. They
//! are those since this process began. Money that went back unasked is told of in the log, too: somebody has paid and got
//! nothing, such as for goods that were gone by then, and the saga that is named says why.

use std::sync::{Mutex, PoisonError};

use amends_sdk::metrics::{Figures, Text};
use async_trait::async_trait;
use sqlx::{Row, SqlitePool, query};

#[cfg(test)]
mod tests;

/// Events that are read at once.
const EVENTS_MAX: i64 = 5_000;

/// The steps that a payment can take.
const STEPS: [&str; 8] =
    ["asked", "paid", "declined", "voided", "void_asked", "refund_asked", "refunded", "refund_declined"];

/// The figures, as far as the events were read.
#[derive(Debug)]
pub(crate) struct PaymentFigures {
    readers: SqlitePool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// The last event that was counted; `None` before the first look.
    event: Option<i64>,
    steps: [u64; STEPS.len()],
    called_off: u64,
    late: u64,
}

impl PaymentFigures {
    pub(crate) fn new(readers: &SqlitePool) -> PaymentFigures {
        PaymentFigures { readers: readers.clone(), seen: Mutex::default() }
    }

    fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Counts the next events, and says whether there may be more. What goes back by the step that took it is the making
    /// good of a charge; a refund that somebody asked for is a step of its own.
    async fn read_on(&mut self, readers: &SqlitePool, after: i64) -> Result<bool, sqlx::Error> {
        const SQL: &str = "
            select e.event_id, e.what, e.payment_no, e.saga, e.d_back_minor, p.order_no, p.currency,
                e.what = 'refunded' and p.saga = e.saga and p.step = e.step as undone,
                exists (select 1 from payment_event v where v.payment_no = e.payment_no and v.what = 'void_asked') as late
            from payment_event e join payment p on p.payment_no = e.payment_no
            where e.event_id > ?1 order by e.event_id limit ?2";
        let rows = query(SQL).bind(after).bind(EVENTS_MAX).fetch_all(readers).await?;
        for row in &rows {
            let text = |column: &str| row.try_get::<String, _>(column);
            let what = text("what")?;
            if let Some(at) = STEPS.iter().position(|step| *step == what) {
                self.steps[at] += 1;
            }
            if row.try_get("undone")? {
                let late: bool = row.try_get("late")?;
                *if late { &mut self.late } else { &mut self.called_off } += 1;
                let (payment, order, saga, currency) =
                    (text("payment_no")?, text("order_no")?, text("saga")?, text("currency")?);
                let amount_minor: i64 = row.try_get("d_back_minor")?;
                tracing::warn!(
                    payment,
                    order,
                    saga,
                    amount_minor,
                    currency,
                    late,
                    "somebody paid and got the money back: the saga could not be carried through"
                );
            }
            self.event = Some(row.try_get("event_id")?);
        }
        Ok(rows.len() as i64 == EVENTS_MAX)
    }
}

#[async_trait]
impl Figures for PaymentFigures {
    async fn look(&self) -> Result<(), sqlx::Error> {
        let mut seen = self.seen();
        match seen.event {
            Some(_) => while seen.read_on(&self.readers, seen.event.unwrap_or(0)).await? {},
            None => {
                let last = "select coalesce(max(event_id), 0) from payment_event";
                seen.event = Some(sqlx::query_scalar(last).fetch_one(&self.readers).await?);
            }
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(())
    }

    fn write(&self, text: &mut Text) {
        let seen = self.seen();
        let steps: Vec<(&str, u64)> = STEPS.into_iter().zip(seen.steps).collect();
        text.each("amends_payment_events_total", "steps that payments took", "what", &steps);
        let says = "payments that came in and went back because their saga turned round";
        let undone = [("called_off", seen.called_off), ("late", seen.late)];
        text.each("amends_payment_undone_total", says, "why", &undone);
    }
}
