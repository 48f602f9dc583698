//! Payments, refunds and events as rows, and the few statements that all operations share.

use std::time::{SystemTime, UNIX_EPOCH};

use amends_sdk::Call;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, query};
use uuid::fmt::Hyphenated;

use crate::Mode;

/// A payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payment {
    pub(crate) number: String,
    pub(crate) order: String,
    pub(crate) state: String,
    pub(crate) mode: Option<Mode>,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) refunded: i64,
    pub(crate) saga: String,
    pub(crate) step: String,
}

/// Which payments are wanted; the text is bound as `?1`, and `?2` for a step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Where<'a> {
    Number(&'a str),
    /// The one that counts, or the newest if none does.
    Order(&'a str),
    Step {
        saga: &'a str,
        step: &'a str,
    },
}

impl Payment {
    /// What the answer to every operation says.
    pub(crate) fn view(&self) -> Value {
        json!({
            "payment": self.number, "order": self.order, "state": self.state, "amount_minor": self.amount,
            "currency": self.currency, "refunded_minor": self.refunded,
        })
    }

    /// What may still be given back.
    pub(crate) fn left(&self) -> i64 {
        self.amount - self.refunded
    }

    /// Where a payment stands of which so much was given back.
    pub(crate) fn state_after(&self, refunded: i64) -> &'static str {
        match refunded {
            0 => "paid",
            all if all == self.amount => "refunded",
            _ => "part_refunded",
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select payment_no, order_no, state, mode, amount_minor, currency, refunded_minor, saga, step from payment ",
            $rest
        )
    };
}

/// Finds a payment.
pub(crate) async fn find(
    connection: &mut SqliteConnection,
    wanted: Where<'_>,
) -> Result<Option<Payment>, sqlx::Error> {
    let query = match wanted {
        Where::Number(number) => query(select!("where payment_no = ?1")).bind(number.to_owned()),
        Where::Order(order) => query(select!(
            "where order_no = ?1
             order by state in ('pending', 'paid', 'part_refunded', 'voiding') desc, created_at desc, payment_no limit 1"
        ))
        .bind(order.to_owned()),
        Where::Step { saga, step } => {
            query(select!("where saga = ?1 and step = ?2")).bind(saga.to_owned()).bind(step.to_owned())
        }
    };
    query.fetch_optional(connection).await?.as_ref().map(payment_of).transpose()
}

/// Reads a payment from the nine columns that every query of payments begins with.
pub(crate) fn payment_of(row: &SqliteRow) -> Result<Payment, sqlx::Error> {
    let mode: String = row.try_get(3)?;
    Ok(Payment {
        number: row.try_get(0)?,
        order: row.try_get(1)?,
        state: row.try_get(2)?,
        mode: Mode::named(&mode),
        amount: row.try_get(4)?,
        currency: row.try_get(5)?,
        refunded: row.try_get(6)?,
        saga: row.try_get(7)?,
        step: row.try_get(8)?,
    })
}

/// A step of a payment, to be appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    pub(crate) payment: &'a str,
    pub(crate) what: &'static str,
    pub(crate) refund: Option<&'a str>,
    /// How much money came in with it.
    pub(crate) paid: i64,
    /// How much went back with it.
    pub(crate) back: i64,
    pub(crate) saga: &'a str,
    pub(crate) step: &'a str,
}

/// Appends an event.
pub(crate) async fn append(
    connection: &mut SqliteConnection,
    event: Event<'_>,
    now: i64,
) -> Result<(), sqlx::Error> {
    const SQL: &str = "
        insert into payment_event (payment_no, what, refund_no, d_paid_minor, d_back_minor, saga, step, at)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    query(SQL)
        .bind(event.payment)
        .bind(event.what)
        .bind(event.refund)
        .bind(event.paid)
        .bind(event.back)
        .bind(event.saga)
        .bind(event.step)
        .bind(now)
        .execute(connection)
        .await
        .map(drop)
}

/// Moves a payment from where it was read to another state; an error when it is no longer there, which takes the whole
/// transaction back.
pub(crate) async fn move_to(
    connection: &mut SqliteConnection,
    payment: &Payment,
    state: &str,
    refunded: i64,
    now: i64,
) -> Result<(), sqlx::Error> {
    const SQL: &str = "
        update payment set state = ?2, refunded_minor = ?3, settle_at = iif(?2 in ('pending', 'voiding'), settle_at, null),
                           updated_at = ?4
        where payment_no = ?1 and state = ?5 and refunded_minor = ?6";
    let moved = query(SQL)
        .bind(&payment.number)
        .bind(state)
        .bind(refunded)
        .bind(now)
        .bind(&payment.state)
        .bind(payment.refunded)
        .execute(connection)
        .await?;
    match moved.rows_affected() {
        1 => Ok(()),
        _ => Err(sqlx::Error::Protocol(format!("payment {:?} is not as it was read", payment.number))),
    }
}

/// The saga of a call, as rows carry it.
pub(crate) fn saga_of(call: &Call) -> String {
    Hyphenated::from_uuid(call.caller.saga).to_string()
}

/// The time in unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
