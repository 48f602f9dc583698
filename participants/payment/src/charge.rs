//! Taking money: at once, by and by, or not.

use std::sync::Arc;

use amends_sdk::{Call, CallOp, Reply, Tx};
use serde_json::json;
use sqlx::SqliteConnection;
use tokio::sync::Notify;

use crate::request::Charge;
use crate::rows::{self, Event, Where, now_ms, saga_of};
use crate::{Behaviour, Mode, request};

/// Seconds after which a coordinator that hears nothing may ask.
pub(crate) const ASK_AGAIN_S: u64 = 1;

/// Carries out a charge, behind the barrier.
pub(crate) async fn charge(
    tx: &mut Tx<'_>,
    call: &Call,
    behaviour: Arc<Behaviour>,
    asked: Arc<Notify>,
) -> Result<Reply, sqlx::Error> {
    if call.caller.op != CallOp::Action {
        return Ok(Reply::refused("a charge undoes nothing", json!({})));
    }
    let charge = match request::charge(&call.body) {
        Ok(charge) => charge,
        Err(problem) => return Ok(Reply::problem(&problem)),
    };
    if let Some(reply) = in_the_way(tx.sqlite(), &charge).await? {
        return Ok(reply);
    }
    let mode = mode_of(&charge, &behaviour);
    if mode == Mode::Declined {
        let details = json!({ "payment": charge.payment, "order": charge.order, "declined": true });
        return Ok(Reply::refused("the payment is declined", details));
    }
    insert(tx.sqlite(), call, &charge, mode, &behaviour).await?;
    if mode == Mode::AtOnce {
        let paid = rows::find(tx.sqlite(), Where::Number(&charge.payment)).await?;
        return Ok(Reply::done(paid.map(|payment| payment.view()).unwrap_or_default()));
    }
    asked.notify_one();
    Ok(Reply::pending(Some(ASK_AGAIN_S)))
}

/// How a charge is answered. Where there is nothing to pay no provider is asked, so none can say no or be late.
fn mode_of(charge: &Charge, behaviour: &Behaviour) -> Mode {
    match charge.amount {
        0 => Mode::AtOnce,
        _ => charge.manner.mode.unwrap_or_else(|| behaviour.of(&charge.payment)),
    }
}

/// What there is already that this charge does not go with.
async fn in_the_way(
    connection: &mut SqliteConnection,
    charge: &Charge,
) -> Result<Option<Reply>, sqlx::Error> {
    if let Some(taken) = rows::find(connection, Where::Number(&charge.payment)).await? {
        let why = format!("payment {:?} was asked for before", charge.payment);
        return Ok(Some(Reply::refused(why, json!({ "payment": taken.number, "state": taken.state }))));
    }
    let other = rows::find(connection, Where::Order(&charge.order)).await?;
    let live = other
        .filter(|payment| ["pending", "paid", "part_refunded", "voiding"].contains(&payment.state.as_str()));
    Ok(live.map(|payment| {
        let why = format!("order {:?} has a payment already", charge.order);
        Reply::refused(why, json!({ "payment": payment.number, "state": payment.state }))
    }))
}

async fn insert(
    connection: &mut SqliteConnection,
    call: &Call,
    charge: &Charge,
    mode: Mode,
    behaviour: &Behaviour,
) -> Result<(), sqlx::Error> {
    const SQL: &str = "
        insert into payment (payment_no, order_no, state, mode, amount_minor, currency, settle_at, callback, declines,
                             saga, step, created_at, updated_at)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12)";
    let (saga, now, at_once) = (saga_of(call), now_ms(), mode == Mode::AtOnce);
    let delay = charge.manner.delay_ms.filter(|_| mode != Mode::Never).or_else(|| behaviour.delay_ms(mode));
    let callback = call.caller.callback.as_ref().filter(|_| mode.calls_back());
    sqlx::query(SQL)
        .bind(&charge.payment)
        .bind(&charge.order)
        .bind(if at_once { "paid" } else { "pending" })
        .bind(mode.as_str())
        .bind(charge.amount)
        .bind(&charge.currency)
        .bind(delay.filter(|_| !at_once).map(|delay| now + delay))
        .bind(callback.and_then(|callback| serde_json::to_string(callback).ok()))
        .bind(mode == Mode::DeclinedLater)
        .bind(&saga)
        .bind(&call.caller.step)
        .bind(now)
        .execute(&mut *connection)
        .await?;
    let asked = Event {
        payment: &charge.payment,
        what: "asked",
        refund: None,
        paid: 0,
        back: 0,
        saga: &saga,
        step: &call.caller.step,
    };
    rows::append(connection, asked, now).await?;
    if at_once {
        rows::append(connection, Event { what: "paid", paid: charge.amount, ..asked }, now).await?;
    }
    Ok(())
}
