//! The barrier: every call takes effect once, and an action never after its compensation.
//!
//! One table in the participant's own database, written in the participant's own transaction, insert
//! first. [`enter`] inserts the rows of many calls in one statement and says for each what it is;
//! [`answer`] keeps the answers of those that ran. A compensation inserts its action's row as well: when
//! that insert succeeds the action has never been here, so there is nothing to undo and the row refuses
//! the action for ever.
//!
//! Calls entered together must differ in saga and step; the [`crate::Writer`] sees to that.

mod sql;

use crate::{Call, Reply};
use amends_wire::{
    participant::CallOp,
    problem::{Problem, Slug},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::SqliteConnection;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The table, for a participant's migrations.
pub const SQLITE: &str = include_str!("../../../migrations/barrier/sqlite/0001_barrier.sql");

/// What a call turned out to be when it met the barrier.
#[derive(Debug, Clone, PartialEq)]
pub enum Entered {
    /// It is here for the first time: run its body.
    First,
    /// It is to be answered with this, and nothing is to be run.
    Answer(Reply),
}

/// The rows of one saga's step, by op.
type Row = (Uuid, String, i64);

/// What is kept in a row.
#[derive(Debug, Clone)]
struct Kept {
    request_hash: Vec<u8>,
    status: Option<i64>,
    response: Option<String>,
}

/// The status of an action's row that its compensation inserted.
const OVERTAKEN: i64 = 0;

/// Lets calls of different steps through the barrier, in one transaction with what they do.
///
/// # Errors
/// The database's own; then the transaction must be rolled back.
pub async fn enter(
    tx: &mut SqliteConnection,
    calls: &[&Call],
    now_ms: i64,
) -> Result<Vec<Entered>, sqlx::Error> {
    let mut rows = Vec::with_capacity(calls.len() * 2);
    for call in calls {
        let (saga, step) = (call.caller.saga, call.caller.step.as_str());
        let hash = request_hash(call);
        rows.push(sql::New { saga, step, op: op_number(call.caller.op), hash, status: None });
        if call.caller.op == CallOp::Compensation {
            rows.push(sql::New {
                saga,
                step,
                op: op_number(CallOp::Action),
                hash: [0; 16],
                status: Some(OVERTAKEN),
            });
        }
    }
    let inserted = sql::insert(tx, &rows, now_ms).await?;
    let known: Vec<&sql::New<'_>> = rows.iter().filter(|row| !inserted.contains(&row.key())).collect();
    let known = sql::select(tx, &known).await?;
    Ok(calls.iter().map(|call| entered(call, &known)).collect())
}

/// Keeps the answers of calls that ran. An answer that is not definite must not be committed.
///
/// # Errors
/// The database's own; then the transaction must be rolled back.
pub async fn answer(tx: &mut SqliteConnection, answers: &[(&Call, &Reply)]) -> Result<(), sqlx::Error> {
    let rows: Vec<sql::Answer<'_>> = answers
        .iter()
        .map(|(call, reply)| sql::Answer {
            saga: call.caller.saga,
            step: &call.caller.step,
            op: op_number(call.caller.op),
            status: i64::from(reply.status),
            response: reply.body.to_string(),
        })
        .collect();
    sql::answer(tx, &rows).await
}

/// Answers status questions from the rows that are there.
///
/// # Errors
/// The database's own.
pub async fn status(tx: &mut SqliteConnection, calls: &[&Call]) -> Result<Vec<Reply>, sqlx::Error> {
    let asked: Vec<sql::New<'_>> = calls
        .iter()
        .map(|call| sql::New {
            saga: call.caller.saga,
            step: &call.caller.step,
            op: op_number(call.caller.status_of),
            hash: [0; 16],
            status: None,
        })
        .collect();
    let known = sql::select(tx, &asked.iter().collect::<Vec<_>>()).await?;
    let reply = |row: &sql::New<'_>| match known.get(&row.key()) {
        Some(kept) => kept.reply().unwrap_or_else(overtaken),
        None => Reply::problem(&Problem::new(Slug::NotFound, "this call was never seen here")),
    };
    Ok(asked.iter().map(reply).collect())
}

fn entered(call: &Call, known: &BTreeMap<Row, Kept>) -> Entered {
    let key = |op| (call.caller.saga, call.caller.step.clone(), op_number(op));
    if let Some(own) = known.get(&key(call.caller.op)) {
        if own.status == Some(OVERTAKEN) {
            return Entered::Answer(overtaken());
        }
        if own.request_hash != request_hash(call) {
            let detail =
                "this step's call came before with another body or operation; a repeat must be the same";
            return Entered::Answer(Reply::problem(&Problem::new(Slug::InputDoesNotFit, detail)));
        }
        return Entered::Answer(own.reply().unwrap_or_else(overtaken));
    }
    if call.caller.op != CallOp::Compensation {
        return Entered::First;
    }
    match known.get(&key(CallOp::Action)) {
        Some(action) if action.took_effect() => Entered::First,
        // The action was never here, or was refused: there is nothing to undo.
        Some(_) | None => Entered::Answer(Reply::done(Value::Null)),
    }
}

fn overtaken() -> Reply {
    Reply::refused("the step was compensated before this action arrived", Value::Null)
}

impl Kept {
    fn took_effect(&self) -> bool {
        matches!(self.status, Some(200..=299))
    }

    fn reply(&self) -> Option<Reply> {
        let status = u16::try_from(self.status?).ok().filter(|status| *status != 0)?;
        let body = self.response.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Some(Reply { status, body: body.unwrap_or_default(), retry_after: None })
    }
}

/// The first half of SHA-256 over operation and body. `serde_json` writes objects with sorted keys.
fn request_hash(call: &Call) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(call.operation.as_bytes());
    hash.update([0]);
    hash.update(call.body.to_string().as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

fn op_number(op: CallOp) -> i64 {
    match op {
        CallOp::Action => 0,
        CallOp::Compensation => 1,
        CallOp::Confirm => 2,
        CallOp::Status => unreachable!("a status question has no row of its own"),
    }
}
