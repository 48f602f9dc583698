//! Giving money back: in parts, under the ceiling of what was paid; and making good a charge as a whole.

use std::sync::Arc;

use amends_sdk::{Call, CallOp, Reply, Tx};
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use tokio::sync::Notify;

use crate::charge::ASK_AGAIN_S;
use crate::request::{Of, Refund};
use crate::rows::{self, Event, Payment, Where, now_ms, saga_of};
use crate::{Behaviour, Mode, request};

/// A refund on its way into the database.
pub(crate) struct New<'a> {
    pub(crate) number: &'a str,
    pub(crate) amount: i64,
    pub(crate) reason: Option<&'a str>,
    pub(crate) mode: Mode,
    pub(crate) settle_at: Option<i64>,
    pub(crate) callback: Option<String>,
    pub(crate) saga: &'a str,
    pub(crate) step: &'a str,
}

/// Carries out a refund, behind the barrier.
pub(crate) async fn refund(
    tx: &mut Tx<'_>,
    call: &Call,
    behaviour: Arc<Behaviour>,
    asked: Arc<Notify>,
) -> Result<Reply, sqlx::Error> {
    if call.caller.op == CallOp::Compensation {
        return make_good(tx.sqlite(), &saga_of(call), &call.caller.step).await;
    }
    let refund = match request::refund(&call.body) {
        Ok(refund) => refund,
        Err(problem) => return Ok(Reply::problem(&problem)),
    };
    let wanted = match &refund.of {
        Of::Payment(number) => Where::Number(number),
        Of::Order(order) => Where::Order(order),
    };
    let Some(payment) = rows::find(tx.sqlite(), wanted).await? else {
        return Ok(Reply::refused("there is no such payment", json!({})));
    };
    let saga = saga_of(call);
    let number = refund.number.clone().unwrap_or_else(|| format!("{saga}:{}", call.caller.step));
    let amount = match allowed(tx.sqlite(), &payment, &refund, &number).await? {
        Ok(amount) => amount,
        Err(reply) => return Ok(reply),
    };
    // Nothing goes back at once: no provider is asked for it.
    let mode = refund.manner.mode.filter(|_| amount > 0).unwrap_or(Mode::AtOnce);
    if mode == Mode::Declined {
        return Ok(Reply::refused(
            "the refund is declined",
            json!({ "payment": payment.number, "declined": true }),
        ));
    }
    let now = now_ms();
    let delay = refund.manner.delay_ms.filter(|_| mode != Mode::Never).or_else(|| behaviour.delay_ms(mode));
    let callback = call.caller.callback.as_ref().filter(|_| mode.calls_back());
    let new = New {
        number: &number,
        amount,
        reason: refund.reason.as_deref(),
        mode,
        settle_at: delay.filter(|_| mode != Mode::AtOnce).map(|delay| now + delay),
        callback: callback.and_then(|callback| serde_json::to_string(callback).ok()),
        saga: &saga,
        step: &call.caller.step,
    };
    let given = give(tx.sqlite(), &payment, &new, now).await?;
    if mode == Mode::AtOnce {
        return Ok(Reply::done(view(&given, &number, amount, "done")));
    }
    asked.notify_one();
    Ok(Reply::pending(Some(ASK_AGAIN_S)))
}

/// How much a refund comes to, or why there is none. One of nothing goes with every state of its payment: it may be for
/// goods that were free, when all the money has gone back.
async fn allowed(
    connection: &mut SqliteConnection,
    payment: &Payment,
    refund: &Refund,
    number: &str,
) -> Result<Result<i64, Reply>, sqlx::Error> {
    let taken: Option<String> =
        sqlx::query_scalar("select payment_no from payment_refund where refund_no = ?1")
            .bind(number)
            .fetch_optional(connection)
            .await?;
    let no = |why: String| {
        let details =
            json!({ "payment": payment.number, "state": payment.state, "left_minor": payment.left() });
        Ok(Err(Reply::refused(why, details)))
    };
    if taken.is_some() {
        return no(format!("refund {number:?} was made already"));
    }
    if refund.amount == Some(0) {
        return Ok(Ok(0));
    }
    if !["paid", "part_refunded"].contains(&payment.state.as_str()) {
        return no(format!(
            "payment {:?} is {}, and has nothing to give back",
            payment.number, payment.state
        ));
    }
    match refund.amount.unwrap_or(payment.left()) {
        amount if amount > payment.left() => no(format!(
            "payment {:?} has {} {} in minor units left, not {amount}",
            payment.number,
            payment.left(),
            payment.currency
        )),
        amount => Ok(Ok(amount)),
    }
}

/// Enters a refund and takes it from what is left. Says how the payment stands now.
pub(crate) async fn give(
    connection: &mut SqliteConnection,
    payment: &Payment,
    new: &New<'_>,
    now: i64,
) -> Result<Payment, sqlx::Error> {
    const SQL: &str = "
        insert into payment_refund (refund_no, payment_no, state, mode, amount_minor, reason, settle_at, callback, declines,
                                    saga, step, created_at, updated_at)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12)";
    let at_once = new.mode == Mode::AtOnce;
    let refunded = payment.refunded + new.amount;
    let state = if new.amount == 0 { payment.state.as_str() } else { payment.state_after(refunded) };
    rows::move_to(connection, payment, state, refunded, now).await?;
    sqlx::query(SQL)
        .bind(new.number)
        .bind(&payment.number)
        .bind(if at_once { "done" } else { "pending" })
        .bind(new.mode.as_str())
        .bind(new.amount)
        .bind(new.reason)
        .bind(new.settle_at)
        .bind(&new.callback)
        .bind(new.mode == Mode::DeclinedLater)
        .bind(new.saga)
        .bind(new.step)
        .bind(now)
        .execute(&mut *connection)
        .await?;
    let asked = Event {
        payment: &payment.number,
        what: "refund_asked",
        refund: Some(new.number),
        paid: 0,
        back: 0,
        saga: new.saga,
        step: new.step,
    };
    rows::append(connection, asked, now).await?;
    if at_once {
        rows::append(connection, Event { what: "refunded", back: new.amount, ..asked }, now).await?;
    }
    Ok(Payment { state: state.to_owned(), refunded, ..payment.clone() })
}

/// Makes good the charge of a step, however far it has come.
async fn make_good(connection: &mut SqliteConnection, saga: &str, step: &str) -> Result<Reply, sqlx::Error> {
    let Some(payment) = rows::find(connection, Where::Step { saga, step }).await? else {
        return Ok(Reply::done(Value::Null));
    };
    let now = now_ms();
    let event = |what| Event { payment: &payment.number, what, refund: None, paid: 0, back: 0, saga, step };
    match (payment.state.as_str(), payment.mode) {
        // What is late is on its way: it comes in, and goes back then.
        ("pending", Some(Mode::Late)) => {
            rows::append(connection, event("void_asked"), now).await?;
            rows::move_to(connection, &payment, "voiding", payment.refunded, now).await?;
        }
        // A charge of nothing has nothing to give back: it is void, as if it had not come in yet.
        (state, _) if state == "pending" || (state == "paid" && payment.amount == 0) => {
            rows::append(connection, event("voided"), now).await?;
            rows::move_to(connection, &payment, "void", payment.refunded, now).await?;
        }
        ("paid" | "part_refunded", _) => {
            let number = format!("{saga}:{step}:undo");
            let new = New {
                number: &number,
                amount: payment.left(),
                reason: Some("the charge is called off"),
                mode: Mode::AtOnce,
                settle_at: None,
                callback: None,
                saga,
                step,
            };
            give(connection, &payment, &new, now).await?;
        }
        _ => {}
    }
    let now = rows::find(connection, Where::Number(&payment.number)).await?;
    Ok(Reply::done(now.map(|payment| payment.view()).unwrap_or_default()))
}

/// A payment with one of its refunds.
pub(crate) fn view(payment: &Payment, number: &str, amount: i64, state: &str) -> Value {
    let mut view = payment.view();
    view["refund"] = json!({ "refund": number, "amount_minor": amount, "state": state });
    view
}
