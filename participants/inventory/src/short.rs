//! Short holds: what there is of a cart is set aside, and what is missing is written down.
//!
//! | operation | body | does | undone by |
//! |---|---|---|---|
//! | `hold_short` | `{order, short_no?, lines: [{sku, qty}]}` | sets aside of each line what can be had, and records the rest as missing | `release_short` |
//! | `release_short` | the same | frees what its step set aside, and what was missing is missing no more | |
//!
//! A short hold takes effect once under its number, beside and beyond the barrier: whoever asks again under it, in whatever
//! saga and step, is told what was set aside then and moves nothing. Without a `short_no` the order's number is the number.
//! Under the number of a hold that was given back nothing can be held again.
//!
//! The answer says of each line what was wanted, held and is missing, and in which hold it lies where something does:
//! `{order, short_no, hold_until, missing, lines: [{sku, wanted, qty, missing, hold?}]}`. What was held is held like
//! everything else: until it is confirmed, or released, or its time is up. The record of what is missing stands until the
//! order's stock is given back by whatever operation, or somebody closes it because it was made good or given up:
//!
//! | call | |
//! |---|---|
//! | `GET /shortages?after=s-1&limit=50` | orders with something missing, ascending by number, in pages |
//! | `GET /shortages?open=true` | those that stand |
//! | `POST /shortages/close` | `{"short_no": text}`: nothing of it is missing any more |
//!
//! The invariant it keeps: **of every line, what is held under the number and what is missing add up to what was wanted**, by
//! a constraint of the table.

use std::sync::Arc;
use std::time::Duration;

use amends_sdk::body::{Reader, does_not_fit};
use amends_sdk::{Body, Call, CallOp, Reply, Tx};
use amends_wire::canonical::{self, hex};
use amends_wire::problem::Misfit;
use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::activity::share;
use crate::body::now_ms;
use crate::books;
use crate::cart::{Cart, ORDER_CHARS_MAX, OrderNo};
use crate::hold::Cause;
use crate::ledger::{Back, Deed};
use crate::outcome::{Refusal, timestamp};
use crate::safety;
use crate::sqlite::{self, Error, Scope};

pub(crate) mod http;
mod ledger;
mod table;

#[cfg(test)]
mod tests;

pub use ledger::ShortLine;
pub(crate) use table::given_back;
pub use table::{Shortage, State};

/// The operations: what holds, and what undoes it.
pub(crate) const OPERATIONS: (&str, &str) = ("hold_short", "release_short");

/// A cart of which what there is is to be held, and the number it comes under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortCart {
    /// The number: the order's where the body names none.
    pub number: OrderNo,
    /// The cart.
    pub cart: Cart,
}

impl ShortCart {
    /// Reads `{"order": text, "short_no": text or nothing, "lines": […]}`, as [`Cart::read`] does.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(body: &Value) -> Result<ShortCart, Vec<Misfit>> {
        let mut reader = Reader::default();
        let number = reader.text_if_any(body, "", "short_no", 1..=ORDER_CHARS_MAX);
        let cart = Cart::read(body);
        match (reader.finish(Some(number)), cart) {
            (Ok(number), Ok(cart)) => {
                let number = number.map_or_else(|| cart.order().clone(), |text| OrderNo::stored(&text));
                Ok(ShortCart { number, cart })
            }
            (number, cart) => Err([number.err(), cart.err()].into_iter().flatten().flatten().collect()),
        }
    }

    fn fingerprint(&self) -> String {
        let lines: String =
            self.cart.lines().iter().map(|line| format!("{}:{},", line.record, line.qty)).collect();
        hex(&canonical::fingerprint([self.cart.order().as_str().as_bytes(), lines.as_bytes()]))
    }
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
enum No {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("what was held under number {0} has been given back; hold it under another short_no")]
    GivenBack(OrderNo),
}

/// Why a call was not carried out.
enum Stop {
    No(No),
    Misfits(Vec<Misfit>),
    Failed(books::Error),
}

impl From<No> for Stop {
    fn from(no: No) -> Stop {
        Stop::No(no)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::No(No::Refused(refusal))
    }
}

impl From<Vec<Misfit>> for Stop {
    fn from(misfits: Vec<Misfit>) -> Stop {
        Stop::Misfits(misfits)
    }
}

impl From<books::Error> for Stop {
    fn from(error: books::Error) -> Stop {
        Stop::Failed(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error.into())
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Stop {
        Stop::Failed(Error::from(error).into())
    }
}

/// The two operations, behind the barrier.
pub(crate) struct ShortHolds {
    hold_for_ms: i64,
}

impl ShortHolds {
    pub(crate) fn new(hold_for: Duration) -> ShortHolds {
        let ms = i64::try_from(hold_for.as_millis()).unwrap_or(i64::MAX / 4);
        ShortHolds { hold_for_ms: ms.clamp(1, i64::MAX / 4) }
    }
}

#[async_trait]
impl Body for ShortHolds {
    async fn perform(&self, tx: &mut Tx<'_>, calls: &[&Call]) -> Result<Vec<Reply>, sqlx::Error> {
        let mut replies = Vec::with_capacity(calls.len());
        for call in calls {
            let reply = match carry_out(tx.sqlite(), call, now_ms(), self.hold_for_ms).await {
                Ok(answer) => Reply::done(answer),
                Err(Stop::No(no)) => Reply::refused(no.to_string(), no.details()),
                Err(Stop::Misfits(misfits)) => Reply::problem(&does_not_fit(&misfits)),
                Err(Stop::Failed(books::Error::Books(error))) => return Err(error.into_database()),
                Err(Stop::Failed(error)) => return Err(sqlx::Error::Protocol(error.to_string())),
            };
            replies.push(reply);
        }
        Ok(replies)
    }

    /// A call is refused before anything of it is written.
    fn isolates(&self) -> bool {
        true
    }
}

async fn carry_out(
    connection: &mut SqliteConnection,
    call: &Call,
    now: i64,
    hold_for: i64,
) -> Result<Value, Stop> {
    let cause = Arc::new(Cause { saga: call.caller.saga, step: call.caller.step.as_str().into() });
    let wanted = ShortCart::read(&call.body)?;
    let undoes = call.caller.op == CallOp::Compensation;
    match (call.operation.as_str(), undoes) {
        ("release_short", true) => release(connection, &wanted, &cause, now).await,
        ("hold_short", _) => hold(connection, &wanted, &cause, now, hold_for).await,
        (operation, _) => {
            let message = format!("{operation} only undoes; release the order instead");
            Err(Stop::Misfits(vec![Misfit { path: String::new(), message }]))
        }
    }
}

/// Holds what there is.
async fn hold(
    connection: &mut SqliteConnection,
    wanted: &ShortCart,
    cause: &Arc<Cause>,
    now: i64,
    hold_for: i64,
) -> Result<Value, Stop> {
    let fingerprint = wanted.fingerprint();
    match table::find(connection, &wanted.number).await? {
        Some(found) if found.fingerprint != fingerprint => {
            let (order, number) = (wanted.cart.order().clone(), wanted.number.clone());
            return Err(Refusal::NumberTaken { order, number }.into());
        }
        Some(found) if found.state == State::GivenBack => {
            return Err(No::GivenBack(wanted.number.clone()).into());
        }
        Some(found) => {
            let earlier: Value = serde_json::from_str(&found.answer).unwrap_or_default();
            return Ok(
                json!({ "order": wanted.cart.order(), "short_no": wanted.number, "missing": found.missing,
                "lines": [], "earlier": earlier }),
            );
        }
        None => {}
    }
    let mut ledger = sqlite::load(connection, &scope(&wanted.cart), now, hold_for).await?;
    safety::load(connection, &mut ledger).await?;
    share::load(connection, &mut ledger, [(&wanted.cart, &**cause)].into_iter(), now).await?;
    let lines = match ledger.hold_short(&wanted.cart, cause).map_err(books::Error::from)? {
        Ok(lines) => lines,
        Err(refusal) => return Err(refusal.into()),
    };
    sqlite::write(connection, &ledger.into_changes(), now).await?;
    let answer = Value::from_iter(lines.iter().map(ShortLine::body));
    let standing = table::Standing { wanted, cause, fingerprint, answer: &answer, lines: &lines };
    table::write(connection, &standing, now).await?;
    let missing: i64 = lines.iter().map(|line| line.missing).sum();
    let until = timestamp(now + hold_for);
    Ok(
        json!({ "order": wanted.cart.order(), "short_no": wanted.number, "hold_until": until, "missing": missing,
        "lines": answer }),
    )
}

/// Frees what the same step held, if it held anything.
async fn release(
    connection: &mut SqliteConnection,
    wanted: &ShortCart,
    cause: &Arc<Cause>,
    now: i64,
) -> Result<Value, Stop> {
    let order = wanted.cart.order();
    let mut answer = json!({ "order": order, "lines": [] });
    let scope = Scope { orders: [order.clone()].into(), ..Scope::default() };
    let mut ledger = sqlite::load(connection, &scope, now, 0).await?;
    if ledger.has_work_of(order, cause) {
        match ledger.decide(&Deed::Undo(order.clone(), Back::Release), cause).map_err(books::Error::from)? {
            Ok(done) => answer = done.body(),
            Err(refusal) => return Err(refusal.into()),
        }
        sqlite::write(connection, &ledger.into_changes(), now).await?;
    }
    table::undo(connection, cause, now).await?;
    Ok(answer)
}

fn scope(cart: &Cart) -> Scope {
    Scope {
        orders: [cart.order().clone()].into(),
        records: cart.lines().iter().map(|line| line.record.clone()).collect(),
        ..Scope::default()
    }
}

impl No {
    fn details(&self) -> Value {
        match self {
            No::Refused(refusal) => refusal.details(),
            No::GivenBack(number) => json!({ "short_no": number }),
        }
    }
}
