//! Activities: sales of a limited time, from stock of their own, with a limit for each customer.
//!
//! An activity's stock lies in records that bear its number, so that what it sells never touches ordinary stock. Stock
//! is moved to and fro by two operations that undo each other, and so is what a customer may still have:
//!
//! | operation | body | does | undone by |
//! |---|---|---|---|
//! | `activity_allocate` | `{activity, lines: [{sku, qty}]}` | ordinary stock becomes the activity's | `activity_return` |
//! | `activity_return` | `{activity, lines}` or `{activity}` for all that is left | the opposite | `activity_allocate` |
//! | `quota_take` | `{activity, user, qty}`, or a cart's `lines` in place of `qty` | counts against the customer's limit | `quota_return` |
//! | `quota_return` | the same | the opposite | `quota_take` |
//!
//! Every line or none is moved. A compensation moves exactly what its own action moved, whatever its body says. What the
//! activity has sold or set aside cannot be moved back: undoing an allocation of which some is gone is refused, and
//! whatever is left goes back by an action. What comes back to an activity that is over, when its leftovers are returned,
//! [follows them](late) by itself.
//!
//! An activity is sold from `starts_at` until before `ends_at`, while nobody has closed it. The limit is kept by one
//! conditional insert or update of the customer's row: of any number of calls at once, no more get through than fit. A cart's
//! lines count where they name the activity; the others are ordinary sales.
//!
//! Whoever takes an activity's stock, by whatever operation and in whatever cart, must have the customer's share: a hold, a
//! short hold or a deduction of it is refused outside the activity's time, and where the same saga has not taken a share
//! with `quota_take` that covers it. So a cart that merely names an activity gets nothing of it.
//!
//! The invariant it keeps: **what leaves one record arrives in the other, a customer has what was taken less what was
//! returned, never more than the limit was when it was taken, and a saga sells no more than the share it took.**

use std::sync::Arc;

use amends_saga::Timestamp;
use amends_sdk::body::{Reader, does_not_fit, given};
use amends_sdk::{Body, Call, CallOp, Reply, Tx};
use amends_wire::api::Time;
use amends_wire::problem::Misfit;
use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::body::now_ms;
use crate::cart::ORDER_CHARS_MAX;
use crate::hold::Cause;
use crate::record::ACTIVITY_MAX;
use crate::sqlite::Error;

pub(crate) mod http;
pub mod late;
mod laws;
mod quota;
pub(crate) mod share;
mod table;
mod transfer;

#[cfg(test)]
mod tests;

pub(crate) use laws::LAWS;
pub use table::{Activity, ActivityState};

/// The largest limit of a customer, and the most of one activity that a customer can have.
pub const LIMIT_MAX: i64 = crate::balance::INBOUND_MAX;

/// The longest name of an activity, in characters.
pub const NAME_CHARS_MAX: usize = 128;

/// The longest name of a customer, in characters.
pub const USER_CHARS_MAX: usize = ORDER_CHARS_MAX;

/// The operations, each with the one that undoes it.
pub(crate) const OPERATIONS: [(&str, &str); 4] = [
    ("activity_allocate", "activity_return"),
    ("activity_return", "activity_allocate"),
    ("quota_take", "quota_return"),
    ("quota_return", "quota_take"),
];

/// Which way something moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To the activity, or to the customer.
    Out,
    /// Back again.
    Back,
}

/// Why nothing was moved.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("there is no activity {0}; make it first")]
    Unknown(i64),
    #[error("activity {activity} {why}")]
    Closed { activity: i64, why: String },
    #[error("{}", short_message(.0))]
    Short(Vec<Short>),
    #[error("activity {0} has nothing left that could be returned")]
    NothingLeft(i64),
    #[error(
        "customer {user} has {bought} of activity {activity} and may have {limit}: {wanted} more are too many"
    )]
    Limit { activity: i64, user: String, bought: i64, limit: i64, wanted: i64 },
    #[error("customer {user} has {bought} of activity {activity}; {wanted} cannot be returned")]
    Exceeds { activity: i64, user: String, bought: i64, wanted: i64 },
    #[error("step {step} of this saga has moved nothing that could be undone")]
    NotMine { step: Arc<str> },
    #[error("a stock would exceed {}", crate::balance::INBOUND_MAX)]
    TooMuch,
}

/// A line that cannot be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Short {
    sku: i64,
    wanted: i64,
    available: Option<i64>,
}

/// Why a call was not carried out.
enum Stop {
    Refused(Refusal),
    Misfits(Vec<Misfit>),
    Failed(Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<Vec<Misfit>> for Stop {
    fn from(misfits: Vec<Misfit>) -> Stop {
        Stop::Misfits(misfits)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Stop {
        Stop::Failed(Error::Database(error))
    }
}

/// The four operations, behind the barrier.
pub(crate) struct Activities;

#[async_trait]
impl Body for Activities {
    async fn perform(&self, tx: &mut Tx<'_>, calls: &[&Call]) -> Result<Vec<Reply>, sqlx::Error> {
        let mut replies = Vec::with_capacity(calls.len());
        for call in calls {
            let reply = match carry_out(tx.sqlite(), call, now_ms()).await {
                Ok(answer) => Reply::done(answer),
                Err(Stop::Refused(refusal)) => Reply::refused(refusal.to_string(), refusal.details()),
                Err(Stop::Misfits(misfits)) => Reply::problem(&does_not_fit(&misfits)),
                Err(Stop::Failed(error)) => return Err(error.into_database()),
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

async fn carry_out(connection: &mut SqliteConnection, call: &Call, now: i64) -> Result<Value, Stop> {
    let cause = Arc::new(Cause { saga: call.caller.saga, step: call.caller.step.as_str().into() });
    let undoes = call.caller.op == CallOp::Compensation;
    let (moves_stock, way) = match call.operation.as_str() {
        "activity_allocate" => (true, Way::Out),
        "activity_return" => (true, Way::Back),
        "quota_take" => (false, Way::Out),
        "quota_return" => (false, Way::Back),
        other => {
            let message = format!("{other:?} is no operation on activities");
            return Err(Stop::Misfits(vec![Misfit { path: String::new(), message }]));
        }
    };
    match (moves_stock, undoes) {
        (true, false) => {
            let wanted = transfer::Wanted::read(&call.body)?;
            transfer::perform(connection, &wanted, way, &cause, now).await
        }
        (true, true) => transfer::undo(connection, read_activity(&call.body)?, way, &cause, now).await,
        (false, false) => {
            let wanted = quota::Wanted::read(&call.body)?;
            quota::perform(connection, &wanted, way, &cause, now).await
        }
        (false, true) => quota::undo(connection, way, &cause, now).await,
    }
}

fn read_activity(body: &Value) -> Result<i64, Vec<Misfit>> {
    let mut reader = Reader::default();
    let activity = activity_of(&mut reader, body);
    reader.finish(activity)
}

fn activity_of(reader: &mut Reader, body: &Value) -> Option<i64> {
    reader.integer(body, "", "activity", 1..=ACTIVITY_MAX)
}

/// The activity, if it can be sold from, or given stock, now.
fn open_at(activity: Option<Activity>, number: i64, now: i64, selling: bool) -> Result<Activity, Refusal> {
    let activity = activity.ok_or(Refusal::Unknown(number))?;
    let why = match activity.state {
        ActivityState::Closed => Some("is closed".to_owned()),
        ActivityState::Open if now >= activity.ends_at => {
            Some(format!("ended at {}", Time(Timestamp(activity.ends_at))))
        }
        ActivityState::Open if selling && now < activity.starts_at => {
            Some(format!("begins at {}", Time(Timestamp(activity.starts_at))))
        }
        ActivityState::Open => None,
    };
    match why {
        Some(why) => Err(Refusal::Closed { activity: number, why }),
        None => Ok(activity),
    }
}

impl Refusal {
    fn details(&self) -> Value {
        match self {
            Refusal::Unknown(activity) | Refusal::NothingLeft(activity) => json!({ "activity": activity }),
            Refusal::Closed { activity, .. } => json!({ "activity": activity }),
            Refusal::Short(lines) => {
                json!({ "lines": lines.iter().map(Short::body).collect::<Vec<_>>() })
            }
            Refusal::Limit { activity, user, bought, limit, wanted } => {
                json!({ "activity": activity, "user": user, "bought": bought, "limit": limit, "wanted": wanted })
            }
            Refusal::Exceeds { activity, user, bought, wanted } => {
                json!({ "activity": activity, "user": user, "bought": bought, "wanted": wanted })
            }
            Refusal::NotMine { step } => json!({ "step": step }),
            Refusal::TooMuch => json!({}),
        }
    }
}

impl Short {
    fn body(&self) -> Value {
        let mut body =
            json!({ "sku": self.sku, "wanted": self.wanted, "available": self.available.unwrap_or(0) });
        if self.available.is_none() {
            body["unknown"] = json!(true);
        }
        body
    }
}

fn short_message(lines: &[Short]) -> String {
    let Some(first) = lines.first() else { return "not enough stock".into() };
    let available = first.available.unwrap_or(0);
    let what = format!("of sku {} {available} can be moved, not {}", first.sku, first.wanted);
    match lines.len() - 1 {
        0 => what,
        others => format!("{what}; and {others} more lines"),
    }
}

/// Whether a member is there and not null.
fn is_given(of: &Value, member: &str) -> bool {
    given(of, member).is_some()
}
