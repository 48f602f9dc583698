//! What stands behind the barrier: calls become deeds, deeds are performed together, outcomes become replies.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amends_sdk::body::{does_not_fit, given};
use amends_sdk::{Body, Call, CallOp, Reply, Tx};
use amends_wire::problem::Misfit;
use async_trait::async_trait;
use serde_json::Value;
use sqlx::SqliteConnection;

use crate::books::{self, Error};
use crate::cart::{Cart, Part, read_order};
use crate::hold::Cause;
use crate::ledger::{Back, Deed};
use crate::outcome::{Done, Refusal};
use crate::route::row::{self, Clock, Taken};
use crate::route::{Fence, Routes};
use crate::sqlite;

/// Every operation on carts. One body for all of them, so that whatever waits together is decided together.
pub(crate) struct Carts {
    hold_for_ms: i64,
    routes: Routes,
    fence: Fence,
}

impl Carts {
    pub(crate) fn new(hold_for: Duration, routes: &Routes, fence: Fence) -> Carts {
        Carts {
            hold_for_ms: i64::try_from(hold_for.as_millis()).unwrap_or(i64::MAX / 4).clamp(1, i64::MAX / 4),
            routes: routes.clone(),
            fence,
        }
    }

    /// Performs deeds by the route that is in force: a cart that stands alone by the row route where it has one.
    async fn decide(
        &self,
        connection: &mut SqliteConnection,
        deeds: &[(Deed, Arc<Cause>)],
    ) -> Result<Vec<Reply>, Error> {
        let clock = Clock { now: now_ms(), hold_for: self.hold_for_ms };
        if let [(deed, cause)] = deeds
            && let Deed::Hold(cart) | Deed::Deduct(cart) = deed
            && let Some(pins) = self.routes.pins(cart)
        {
            match row::take(connection, (deed, cause), &pins, self.fence, clock).await? {
                Taken::Decided(answer) => return Ok(vec![reply_of(answer)]),
                Taken::Moved => self.routes.refresh(connection).await.map_err(sqlite::Error::from)?,
            }
        }
        books::perform(connection, deeds, clock.now, clock.hold_for, &self.routes, reply_of).await
    }
}

#[async_trait]
impl Body for Carts {
    async fn perform(&self, tx: &mut Tx<'_>, calls: &[&Call]) -> Result<Vec<Reply>, sqlx::Error> {
        let mut replies: Vec<Option<Reply>> = Vec::with_capacity(calls.len());
        let mut deeds = Vec::with_capacity(calls.len());
        for call in calls {
            match call.read(deed).as_ref() {
                Ok(deed) => {
                    let step = call.caller.step.as_str().into();
                    deeds.push((deed.clone(), Arc::new(Cause { saga: call.caller.saga, step })));
                    replies.push(None);
                }
                Err(misfits) => replies.push(Some(Reply::problem(&does_not_fit(misfits)))),
            }
        }
        if deeds.is_empty() {
            return Ok(replies.into_iter().flatten().collect());
        }
        let mut decided = self.decide(tx.sqlite(), &deeds).await.map_err(database_error)?.into_iter();
        // There are as many of them as places left open, in the same order.
        Ok(replies.into_iter().filter_map(|reply| reply.or_else(|| decided.next())).collect())
    }

    fn prepare(&self, call: &Call) {
        let _ = call.read(deed);
    }

    /// A cart is refused before anything of it is written.
    fn isolates(&self) -> bool {
        true
    }

    /// On the row route every cart has a transaction of its own.
    fn alone(&self, call: &Call) -> bool {
        let has_pins = |deed: &Deed| match deed {
            Deed::Hold(cart) | Deed::Deduct(cart) => self.routes.pins(cart).is_some(),
            _ => false,
        };
        !self.routes.is_empty() && call.read(deed).as_ref().as_ref().is_ok_and(has_pins)
    }
}

/// What a call asks for, by its operation and by whether it undoes.
fn deed(call: &Call) -> Result<Deed, Vec<Misfit>> {
    let undoes = call.caller.op == CallOp::Compensation;
    match (call.operation.as_str(), undoes) {
        ("hold", _) => Ok(Deed::Hold(Cart::read(&call.body)?)),
        ("deduct", _) => Ok(Deed::Deduct(Cart::read(&call.body)?)),
        ("confirm", _) => Ok(Deed::Confirm(read_order(&call.body)?)),
        ("refund", _) => Ok(Deed::Refund(Part::read_refund(&call.body)?)),
        ("ship", _) => Ok(Deed::Ship(Part::read_shipment(&call.body)?)),
        ("release", false) => read_release(&call.body),
        ("restore", false) => Ok(Deed::Restore(read_order(&call.body)?)),
        ("release", true) => Ok(Deed::Undo(read_order(&call.body)?, Back::Release)),
        ("restore", true) => Ok(Deed::Undo(read_order(&call.body)?, Back::Restore)),
        (other, _) => {
            Err(vec![Misfit { path: String::new(), message: format!("{other:?} is no operation on carts") }])
        }
    }
}

/// Reads `{"order", "leave_confirmed"?}`.
fn read_release(body: &Value) -> Result<Deed, Vec<Misfit>> {
    let order = read_order(body);
    let leave = match given(body, "leave_confirmed") {
        None => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| Misfit {
            path: "/leave_confirmed".to_owned(),
            message: "must be true or false".to_owned(),
        }),
    };
    match (order, leave) {
        (Ok(order), Ok(true)) => Ok(Deed::ReleaseHeld(order)),
        (Ok(order), Ok(false)) => Ok(Deed::Release(order)),
        (Err(misfits), Ok(_)) => Err(misfits),
        (order, Err(misfit)) => Err(order.err().into_iter().flatten().chain([misfit]).collect()),
    }
}

fn reply_of(outcome: Result<Done, Refusal>) -> Reply {
    match outcome {
        Ok(done) => Reply::done(done.body()),
        Err(refusal) => Reply::refused(refusal.to_string(), refusal.details()),
    }
}

/// The writer rolls back on any error; only the database's own keeps its kind.
fn database_error(error: Error) -> sqlx::Error {
    match error {
        Error::Books(error) => error.into_database(),
        other => sqlx::Error::Protocol(other.to_string()),
    }
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX / 4)
}
