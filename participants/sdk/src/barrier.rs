//! The barrier: every call takes effect once, and an action never after its compensation.
//!
//! One table in the participant's own database, written in the participant's own transaction. [`enter`] claims the rows of
//! many calls in one statement and says for each what it is; [`answer`] keeps the answers of those that ran. Where others
//! write as well a row is claimed by inserting it; on SQLite, whose transaction is alone, by seeing that it is not there,
//! and it is written once, with its answer. A compensation inserts its action's row as well: when
//! that insert succeeds the action has never been here, so there is nothing to undo and the row refuses
//! the action for ever.
//!
//! ```text
//! action        row absent -> First          row answered -> Repeat
//!               compensated or confirmed -> Late
//!               refused in an older round -> First        (the refusal gives way)
//! compensation  row absent, and its action's row
//!                 absent, overtaken or refused  -> Null     (nothing to undo; the answer is kept)
//!                 done or pending               -> First    (a pending action is overtaken by this)
//!               row answered -> Repeat         confirmed -> Late
//! confirm       row absent, and its action's row
//!                 absent or done                -> First
//!                 refused                       -> Null     (nothing to make final)
//!                 pending                       -> Late     (425: it comes too early)
//!               row answered -> Repeat         compensated -> Late
//! any           row of another body or operation -> Mismatch
//! ```
//!
//! A confirm bars what may not come after it by inserting both rows, its action's and its compensation's: whichever of
//! confirm and compensation is first has decided. When the confirm is refused its bars go with its own row.
//!
//! Calls entered together must differ in saga and step; the [`crate::Writer`] sees to that. A row without a
//! status is one that the running transaction claimed or renewed: nothing is committed without its answer. Rows are
//! claimed in one global order, so that two transactions never wait for each other in a circle.

mod fingerprint;
mod judge;
mod marks;
mod mysql;
mod postgres;
mod rows;
mod sized;
mod sqlite;
mod trail;

use crate::{Call, Dialect, Reply, Tx};
use amends_wire::{
    participant::CallOp,
    problem::{Problem, Slug},
};
pub(crate) use fingerprint::{Hash, fingerprint};
use judge::{Action, Kept, Row, Rows, Verdict, judge};
use rows::{bar, claim, overtake, renew, rows_of, select, take_back, unbar};
use serde_json::Value;
use uuid::Uuid;

pub use trail::{After, Step, Trail, Window, trail, trail_sqlite};

/// The table for SQLite, for a participant's migrations.
pub const SQLITE: &str = include_str!("../../../migrations/barrier/sqlite/0001_barrier.sql");
/// The table for PostgreSQL, for a participant's migrations.
pub const POSTGRES: &str = include_str!("../../../migrations/barrier/postgres/0001_barrier.sql");
/// The table for MySQL and MariaDB, for a participant's migrations.
pub const MYSQL: &str = include_str!("../../../migrations/barrier/mysql/0001_barrier.sql");
/// The index by time, the same text for all three dialects. The audit is as right without it, and slower by as much as
/// the table is longer than what it is asked about.
pub const BY_TIME: &str = include_str!("../../../migrations/barrier/sqlite/0002_by_time.sql");
/// The column of rounds, the same text for all three dialects. The barrier does not work without it; a database that
/// has the table already is given it by the last of its migrations.
pub const ROUND: &str = include_str!("../../../migrations/barrier/sqlite/0003_round.sql");
/// The table with a law that costs less to check, for SQLite; it has the rounds already and is given the index by time.
/// The barrier is as right without it; the last of a database's migrations makes it of the one that is there.
pub const OP_SQLITE: &str = include_str!("../../../migrations/barrier/sqlite/0004_op.sql");
/// The same law for PostgreSQL, where it costs what it did.
pub const OP_POSTGRES: &str = include_str!("../../../migrations/barrier/postgres/0004_op.sql");
/// The same law for MySQL and MariaDB, where it costs what it did.
pub const OP_MYSQL: &str = include_str!("../../../migrations/barrier/mysql/0004_op.sql");

/// How often a row that somebody else changed is judged again.
const TURNS_MAX: u32 = 8;

/// The status of an action's row that its compensation inserted.
const OVERTAKEN: i16 = 0;
/// The status of an action's row whose compensation came while it was pending.
const OVERTAKEN_PENDING: i16 = 1;
/// The status of an action's or a compensation's row that its confirm inserted.
const CONFIRMED: i16 = 2;
/// The round of a refused action that no round is newer than, because its compensation or its confirm was here.
const ROUND_BARRED: i32 = i32::MAX;

/// What a call turned out to be when it met the barrier.
#[derive(Debug, Clone, PartialEq)]
pub enum Entered {
    /// It is here for the first time: run its body, then [`answer`] or [`forget`] it.
    First,
    /// It was answered before, with this; nothing is to be run.
    Repeat(Reply),
    /// It is an action or a confirm whose compensation was here before it, an action or a compensation whose confirm was
    /// here before it, or a confirm that does not wait for its action: this refuses it, and nothing of it is kept.
    Late(Reply),
    /// It is a compensation with nothing to undo, or a confirm with nothing to make final: do not run its body, but
    /// [`answer`] it with this.
    Null(Reply),
    /// Its step called another operation, or with another body, before; this contract error says so.
    Mismatch(Reply),
}

/// What became of the answer to a pending call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is kept: every further attempt and status question is answered with it.
    Kept,
    /// The step was compensated in the meantime: undo what was done, in this transaction.
    Overtaken,
    /// The call is not pending: never seen here, or answered already.
    NotPending,
}

/// The primary key of a row; its order is the order in which rows are inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    saga: Uuid,
    step: &'a str,
    op: i16,
}

/// A row to be inserted unless it is there.
#[derive(Debug, Clone, Copy)]
struct New<'a> {
    key: Key<'a>,
    hash: Hash,
    status: Option<i16>,
    round: i32,
}

/// A refusal that is there, to give way or to stand for ever, if it still is as it was seen.
#[derive(Debug, Clone, Copy)]
struct Refused<'a> {
    key: Key<'a>,
    status: i16,
    round: i32,
}

/// A row that was claimed, to be given its answer.
#[derive(Debug)]
struct Answered<'a> {
    key: Key<'a>,
    hash: Hash,
    status: i16,
    response: String,
    round: i32,
}

/// The table's script for a dialect.
pub const fn migration(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
        Dialect::MySql => MYSQL,
    }
}

/// Lets calls of different steps through the barrier, in one transaction with what they do.
///
/// The results stand in the order of the calls. `now_ms` is kept with new rows, in unix milliseconds.
///
/// # Errors
/// The database's own; then the transaction must be rolled back.
///
/// # Panics
/// When a call is a status question; ask [`status`].
pub async fn enter(tx: &mut Tx<'_>, calls: &[&Call], now_ms: i64) -> Result<Vec<Entered>, sqlx::Error> {
    let hashes: Vec<Hash> = calls.iter().map(|call| fingerprint(call)).collect();
    enter_hashed(tx, calls, &hashes, now_ms).await
}

/// Does what [`enter`] does, with the calls' fingerprints.
pub(crate) async fn enter_hashed(
    tx: &mut Tx<'_>,
    calls: &[&Call],
    hashes: &[Hash],
    now_ms: i64,
) -> Result<Vec<Entered>, sqlx::Error> {
    let rows = rows_of(calls, hashes);
    let keys: Vec<Key<'_>> = rows.iter().map(|row| row.key).collect();
    let Some(known) = claim(tx, &rows, &keys, now_ms).await? else {
        // Not one row was there, which is what nearly always happens to actions.
        let new = |call: &&Call| match call.caller.op {
            CallOp::Compensation => Entered::Null(Reply::done(Value::Null)),
            CallOp::Action | CallOp::Confirm | CallOp::Status => Entered::First,
        };
        return Ok(calls.iter().map(new).collect());
    };
    let find = |key: Key<'_>| keys.binary_search(&key).ok().and_then(|at| known[at].as_ref());
    let mut entered = Vec::with_capacity(calls.len());
    for (call, hash) in calls.iter().zip(hashes) {
        entered.push(admit(tx, call, *hash, rows_found(call, find), now_ms).await?);
    }
    Ok(entered)
}

/// The rows that matter to a call, each where `find` has it.
fn rows_found<'r, 'c>(call: &'c Call, find: impl Fn(Key<'c>) -> Option<&'r Kept>) -> Rows<'r> {
    let op = call.caller.op;
    let of = |other| find(key_of(call, other));
    Rows {
        own: of(op),
        action: (op != CallOp::Action).then(|| of(CallOp::Action)).flatten(),
        undo: (op == CallOp::Confirm).then(|| of(CallOp::Compensation)).flatten(),
    }
}

/// Judges a call and does with the rows what follows, again where another transaction was quicker.
async fn admit(
    tx: &mut Tx<'_>,
    call: &Call,
    hash: Hash,
    found: Rows<'_>,
    now_ms: i64,
) -> Result<Entered, sqlx::Error> {
    let keys = [call.caller.op, CallOp::Action, CallOp::Compensation].map(|op| key_of(call, op));
    let mut fresh: Vec<Option<Kept>>;
    let mut rows = found;
    for _ in 0..TURNS_MAX {
        let verdict = judge(call, &hash, rows);
        if follow(tx, call, hash, rows, &verdict, now_ms).await? {
            return Ok(verdict.entered);
        }
        fresh = select(tx, &keys).await?;
        rows =
            rows_found(call, |key| keys.iter().position(|one| *one == key).and_then(|at| fresh[at].as_ref()));
    }
    Err(sqlx::Error::Protocol(format!("the rows of step \"{}\" never came to rest", call.caller.step)))
}

/// Does with the rows what a verdict says; `false` when one of them is no longer as it was judged.
async fn follow(
    tx: &mut Tx<'_>,
    call: &Call,
    hash: Hash,
    rows: Rows<'_>,
    verdict: &Verdict,
    now_ms: i64,
) -> Result<bool, sqlx::Error> {
    let key = key_of(call, call.caller.op);
    let refused = |key, row: &Kept| Refused { key, status: row.status, round: row.round };
    let of_action = key_of(call, CallOp::Action);
    let as_judged = match (verdict.action, rows.action) {
        (Action::Stays, _) | (_, None) => true,
        (Action::Overtaken, Some(_)) => overtake(tx, of_action).await?,
        (Action::Barred, Some(action)) => {
            action.round == ROUND_BARRED || bar(tx, refused(of_action, action)).await?
        }
    };
    if !as_judged {
        return Ok(false);
    }
    match (verdict.row, rows.own) {
        (Row::Stays, _) | (Row::Renewed, None) => Ok(true),
        (Row::Renewed, Some(own)) => renew(tx, refused(key, own), hash, round_of(call), now_ms).await,
        (Row::TakenBack, _) => {
            take_back(tx, &[key]).await?;
            unbar(tx, key).await?;
            Ok(true)
        }
    }
}

/// Keeps the answers of calls that ran.
///
/// Only answers for which [`Reply::is_kept`] says so should be kept; the others are for [`forget`]. `now_ms` is that of
/// [`enter`].
///
/// # Errors
/// The database's own; then the transaction must be rolled back.
pub async fn answer(tx: &mut Tx<'_>, answers: &[(&Call, &Reply)], now_ms: i64) -> Result<(), sqlx::Error> {
    let hashed: Vec<_> =
        answers.iter().map(|(call, reply)| Answer { call, hash: fingerprint(call), reply }).collect();
    answer_hashed(tx, &hashed, now_ms).await
}

/// A call that ran, with its fingerprint and its answer.
pub(crate) struct Answer<'a> {
    pub(crate) call: &'a Call,
    pub(crate) hash: Hash,
    pub(crate) reply: &'a Reply,
}

/// Does what [`answer`] does, with the calls' fingerprints.
pub(crate) async fn answer_hashed(
    tx: &mut Tx<'_>,
    answers: &[Answer<'_>],
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    let mut kept: Vec<Answered<'_>> = answers
        .iter()
        .map(|Answer { call, hash, reply }| Answered {
            key: key_of(call, call.caller.op),
            hash: *hash,
            status: i16::try_from(reply.status).unwrap_or(i16::MAX),
            response: text(&reply.body),
            round: round_of(call),
        })
        .collect();
    kept.sort_unstable_by_key(|row| row.key);
    rows::answer(tx, &kept, now_ms).await
}

/// A body as it is kept. Writing a value into memory cannot fail.
fn text(body: &Value) -> String {
    serde_json::to_string(body).unwrap_or_default()
}

/// Takes back the rows of calls that entered as [`Entered::First`] and left nothing behind, so that the next
/// attempt runs.
///
/// # Errors
/// The database's own; then the transaction must be rolled back.
pub async fn forget(tx: &mut Tx<'_>, calls: &[&Call]) -> Result<(), sqlx::Error> {
    let keys: Vec<Key<'_>> = calls.iter().map(|call| key_of(call, call.caller.op)).collect();
    take_back(tx, &keys).await?;
    for (call, key) in calls.iter().zip(keys) {
        if call.caller.op == CallOp::Confirm {
            unbar(tx, key).await?;
        }
    }
    Ok(())
}

/// Answers status questions from the rows that are there: the answer that was given, 409 for a call that was barred by
/// the compensation or the confirm of its step, 404 for a call that was never seen.
///
/// # Errors
/// The database's own.
pub async fn status(tx: &mut Tx<'_>, calls: &[&Call]) -> Result<Vec<Reply>, sqlx::Error> {
    let keys: Vec<Key<'_>> = calls.iter().map(|call| key_of(call, call.caller.status_of)).collect();
    let reply = |kept: Option<Kept>| match kept {
        Some(kept) => kept.reply(),
        None => Reply::problem(&Problem::new(Slug::NotFound, "this call was never seen here")),
    };
    Ok(select(tx, &keys).await?.into_iter().map(reply).collect())
}

/// Gives a pending call, one that was answered 202, its final answer, in the transaction that ends its work.
///
/// A no to a compensation or a confirm is told whoever asks for the status, and gives way to the next call.
///
/// # Errors
/// The database's own; then the transaction must be rolled back.
pub async fn settle(
    tx: &mut Tx<'_>,
    saga: Uuid,
    step: &str,
    op: CallOp,
    reply: &Reply,
) -> Result<Settled, sqlx::Error> {
    let key = Key { saga, step, op: op_number(op) };
    let (status, response) = (i16::try_from(reply.status).unwrap_or(i16::MAX), text(&reply.body));
    let settled = rows::settle(tx, key, status, response).await?;
    if settled {
        return Ok(Settled::Kept);
    }
    let kept = select(tx, &[key]).await?;
    let overtaken = kept.into_iter().flatten().any(|kept| kept.is_overtaken());
    Ok(if overtaken { Settled::Overtaken } else { Settled::NotPending })
}

fn key_of(call: &Call, op: CallOp) -> Key<'_> {
    Key { saga: call.caller.saga, step: &call.caller.step, op: op_number(op) }
}

fn round_of(call: &Call) -> i32 {
    i32::try_from(call.caller.round).unwrap_or(ROUND_BARRED - 1).min(ROUND_BARRED - 1)
}

fn op_number(op: CallOp) -> i16 {
    match op {
        CallOp::Action => 0,
        CallOp::Compensation => 1,
        CallOp::Confirm => 2,
        CallOp::Status => panic!("a status question has no row of its own"),
    }
}
