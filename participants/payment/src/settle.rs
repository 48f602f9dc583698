//! Ending what is pending: in the transaction that ends it the call gets its final answer, and then its callback is made.
//!
//! What is to end and when stands in the database, so a restart loses nothing. A callback that is lost with a crash is
//! not made again: whoever waits asks for the status.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use amends_sdk::barrier::{self, Settled};
use amends_sdk::{CallOp, Callback, Reply, Task, Tx, Writer};
use async_trait::async_trait;
use serde_json::json;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, query};
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use crate::Mode;
use crate::refund::{New, give, view};
use crate::rows::{self, Event, Payment, Where, now_ms, payment_of};

/// Payments and refunds that end in one transaction.
const AT_ONCE_MAX: i64 = 256;
/// Callbacks under way; further ones wait.
const CALLBACKS_MAX: usize = 64;
/// How long is slept at most when nothing is due.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// Ends what is due until nobody holds `alive` any more.
pub(crate) async fn run(writer: Writer, asked: Arc<Notify>, alive: Weak<()>) {
    let callbacks = Arc::new(Semaphore::new(CALLBACKS_MAX));
    while alive.upgrade().is_some() {
        let wait = match round(&writer, &callbacks).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(%error, "pending payments could not be ended now");
                SLEEP_MAX
            }
        };
        let _ = tokio::time::timeout(wait, asked.notified()).await;
    }
}

/// Ends what is due now and says how long to sleep.
async fn round(writer: &Writer, callbacks: &Arc<Semaphore>) -> Result<Duration, amends_sdk::Error> {
    const NEXT: &str = "
        select min(at) from (select min(settle_at) as at from payment where settle_at is not null
                             union all select min(settle_at) from payment_refund where settle_at is not null)";
    let next: Option<i64> = sqlx::query_scalar(NEXT).fetch_one(writer.database().readers()).await?;
    let wait = next.map_or(SLEEP_MAX, |at| {
        Duration::from_millis(u64::try_from(at - now_ms()).unwrap_or(0)).min(SLEEP_MAX)
    });
    if !wait.is_zero() {
        return Ok(wait);
    }
    let told = Arc::new(OnceLock::new());
    writer.run(Box::new(End(told.clone()))).await?;
    for tell in told.get().cloned().unwrap_or_default() {
        tokio::spawn(call_back(tell, callbacks.clone()));
    }
    Ok(Duration::ZERO)
}

/// An answer to be told.
#[derive(Debug, Clone)]
struct Tell {
    callback: Callback,
    reply: Reply,
    times: u32,
}

async fn call_back(tell: Tell, callbacks: Arc<Semaphore>) {
    let Ok(_permit) = callbacks.acquire_owned().await else { return };
    for _ in 0..tell.times {
        if let Err(error) = tell.callback.answer(&tell.reply).await {
            tracing::info!(step = tell.callback.step, %error, "a callback was not taken; the coordinator asks");
        }
    }
}

/// Ends whatever is due, in one transaction.
struct End(Arc<OnceLock<Vec<Tell>>>);

#[async_trait]
impl Task for End {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let now = now_ms();
        let mut told = Vec::new();
        for mut due in due(tx.sqlite(), now).await? {
            let how = due.how.take();
            let reply = match &due.refund {
                None => end_payment(tx, &due, now).await?,
                Some(_) => end_refund(tx, &due, now).await?,
            };
            let callback = how.and_then(|text| serde_json::from_str::<Callback>(&text).ok());
            if let (Some(reply), Some(callback)) = (reply, callback) {
                let times = if due.mode == Some(Mode::DoubleCallback) { 2 } else { 1 };
                told.push(Tell { callback, reply, times });
            }
        }
        let _ = self.0.set(told);
        Ok(())
    }
}

/// What is due: a payment, or one of its refunds.
struct Due {
    payment: Payment,
    refund: Option<(String, i64)>,
    saga: String,
    step: String,
    mode: Option<Mode>,
    declines: bool,
    how: Option<String>,
}

async fn due(connection: &mut SqliteConnection, now: i64) -> Result<Vec<Due>, sqlx::Error> {
    const PAYMENTS: &str = "
        select payment_no, order_no, state, mode, amount_minor, currency, refunded_minor, saga, step, declines, callback
        from payment where settle_at <= ?1 order by settle_at limit ?2";
    const REFUNDS: &str = "
        select p.payment_no, p.order_no, p.state, p.mode, p.amount_minor, p.currency, p.refunded_minor, p.saga, p.step,
               r.declines, r.callback, r.refund_no, r.amount_minor, r.saga, r.step, r.mode
        from payment_refund r join payment p on p.payment_no = r.payment_no
        where r.settle_at <= ?1 order by r.settle_at limit ?2";
    let payment = |row: &SqliteRow| {
        let payment = payment_of(row)?;
        let (saga, step, mode) = (payment.saga.clone(), payment.step.clone(), payment.mode);
        Ok::<_, sqlx::Error>(Due {
            payment,
            refund: None,
            saga,
            step,
            mode,
            declines: row.try_get(9)?,
            how: row.try_get(10)?,
        })
    };
    let refund = |row: &SqliteRow| {
        let mode: String = row.try_get(15)?;
        Ok::<_, sqlx::Error>(Due {
            payment: payment_of(row)?,
            refund: Some((row.try_get(11)?, row.try_get(12)?)),
            saga: row.try_get(13)?,
            step: row.try_get(14)?,
            mode: Mode::named(&mode),
            declines: row.try_get(9)?,
            how: row.try_get(10)?,
        })
    };
    let rows = query(PAYMENTS).bind(now).bind(AT_ONCE_MAX).fetch_all(&mut *connection).await?;
    let mut due = rows.iter().map(payment).collect::<Result<Vec<Due>, _>>()?;
    let rows = query(REFUNDS).bind(now).bind(AT_ONCE_MAX).fetch_all(connection).await?;
    due.extend(rows.iter().map(refund).collect::<Result<Vec<Due>, _>>()?);
    Ok(due)
}

impl Due {
    fn event(&self, what: &'static str) -> Event<'_> {
        let refund = self.refund.as_ref().map(|(number, _)| number.as_str());
        Event {
            payment: &self.payment.number,
            what,
            refund,
            paid: 0,
            back: 0,
            saga: &self.saga,
            step: &self.step,
        }
    }

    /// Gives the pending call its final answer.
    async fn settle(&self, tx: &mut Tx<'_>, reply: &Reply) -> Result<Settled, sqlx::Error> {
        let saga = Uuid::parse_str(&self.saga).map_err(|error| sqlx::Error::Decode(error.into()))?;
        barrier::settle(tx, saga, &self.step, CallOp::Action, reply).await
    }
}

/// Ends a charge. Says what to tell the caller, unless it was called off in the meantime.
async fn end_payment(tx: &mut Tx<'_>, due: &Due, now: i64) -> Result<Option<Reply>, sqlx::Error> {
    let payment = &due.payment;
    if due.declines {
        rows::append(tx.sqlite(), due.event("declined"), now).await?;
        rows::move_to(tx.sqlite(), payment, "declined", 0, now).await?;
        let reply = Reply::refused(
            "the payment is declined",
            json!({ "payment": payment.number, "order": payment.order, "declined": true }),
        );
        return Ok((due.settle(tx, &reply).await? == Settled::Kept).then_some(reply));
    }
    let paid = Payment { state: "paid".to_owned(), ..payment.clone() };
    let reply = Reply::done(paid.view());
    rows::append(tx.sqlite(), Event { paid: payment.amount, ..due.event("paid") }, now).await?;
    rows::move_to(tx.sqlite(), payment, "paid", 0, now).await?;
    match due.settle(tx, &reply).await? {
        Settled::Kept => Ok(Some(reply)),
        Settled::NotPending if payment.state == "pending" => Ok(None),
        // It comes too late: whoever asked for it has called it off.
        Settled::Overtaken | Settled::NotPending => {
            let number = format!("{}:{}:late", due.saga, due.step);
            let new = New {
                number: &number,
                amount: payment.amount,
                reason: Some("it came in after the charge was called off"),
                mode: Mode::AtOnce,
                settle_at: None,
                callback: None,
                saga: &due.saga,
                step: &due.step,
            };
            give(tx.sqlite(), &paid, &new, now).await?;
            Ok(None)
        }
    }
}

/// Ends a refund; one that is declined counts no more.
async fn end_refund(tx: &mut Tx<'_>, due: &Due, now: i64) -> Result<Option<Reply>, sqlx::Error> {
    const SQL: &str = "
        update payment_refund set state = ?2, settle_at = null, updated_at = ?3
        where refund_no = ?1 and state = 'pending'";
    let Some((number, amount)) = &due.refund else { return Ok(None) };
    // Another refund of the same payment may have ended in this very transaction.
    let fresh = rows::find(tx.sqlite(), Where::Number(&due.payment.number)).await?;
    let Some(payment) = fresh else { return Ok(None) };
    let state = if due.declines { "declined" } else { "done" };
    query(SQL).bind(number).bind(state).bind(now).execute(tx.sqlite()).await?;
    let reply = if due.declines {
        let refunded = payment.refunded - amount;
        rows::move_to(tx.sqlite(), &payment, payment.state_after(refunded), refunded, now).await?;
        rows::append(tx.sqlite(), due.event("refund_declined"), now).await?;
        Reply::refused("the refund is declined", json!({ "payment": payment.number, "declined": true }))
    } else {
        rows::append(tx.sqlite(), Event { back: *amount, ..due.event("refunded") }, now).await?;
        Reply::done(view(&payment, number, *amount, "done"))
    };
    Ok((due.settle(tx, &reply).await? == Settled::Kept).then_some(reply))
}
