//! The participant: behind the barrier it writes one row for each effect, into a table that would take a
//! second one.

use amends_sdk::{
    Call, CallOp, Callback, Database, Operation, Participant, Reply, Task, Tx, Writer, barrier, each,
    faults::{Faults, On},
};
use async_trait::async_trait;
use serde_json::json;
use sqlx::{Connection, Row};
use std::{collections::BTreeMap, path::Path, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// No key and no constraint: a repetition is to be seen, not prevented.
const EFFECT: &str = "create table effect (saga text not null, step text not null, op text not null)";

/// How long a call takes that is answered later.
const LATER: Duration = Duration::from_millis(30);

/// How many answers are lost after the call took effect.
const LOST: f64 = 0.03;

/// How often each call of a saga took effect: `(step, op)` to a count.
pub(crate) type Effects = BTreeMap<(String, String), u64>;

/// What the participant offers: `apply`, undone by `revert`.
///
/// `apply` refuses when its body says so. One in six first attempts of `revert` is answered 503, unless its
/// body says `how` it behaves; which of them says the saga and the step, and a saga's two steps agree: whoever was met
/// with a 503 comes back together with its like, and may open a breaker.
pub(crate) async fn serve(listener: TcpListener, file: &Path) {
    let participant = open(file).await;
    let stop = CancellationToken::new();
    amends_sdk::run(&participant, listener, None, stop).await.expect("the participant runs");
}

async fn open(file: &Path) -> Participant {
    let store = format!("sqlite:{}", file.display());
    let database =
        Database::open(&store, &[barrier::SQLITE, EFFECT, barrier::ROUND]).await.expect("the ledger opens");
    let writer = Writer::start(&database);
    let answering = writer.clone();
    let body = each(move |tx, call| {
        let answering = answering.clone();
        Box::pin(async move {
            let caller = &call.caller;
            if caller.op == CallOp::Compensation
                && let Some(no) = unwilling(call)
            {
                return Ok(no);
            }
            sqlx::query("insert into effect (saga, step, op) values (?, ?, ?)")
                .bind(caller.saga.to_string())
                .bind(&caller.step)
                .bind(caller.op.as_str())
                .execute(tx.sqlite())
                .await?;
            if call.body["later"] == true
                && let Some(callback) = &caller.callback
                && caller.op == CallOp::Action
            {
                tokio::spawn(call_back(answering, callback.clone()));
                return Ok(Reply::pending(Some(1)));
            }
            match call.body["refuse"] == json!(true) && caller.op == CallOp::Action {
                true => Ok(Reply::refused("refused as asked", json!({}))),
                false => Ok(Reply::done(json!({ "step": caller.step }))),
            }
        })
    });
    let faults = Faults::new();
    faults.lose_answers("apply", On::Every, LOST, 1);
    faults.lose_answers("revert", On::Every, LOST, 2);
    Participant::new("ledger")
        .guarded(Operation::new("apply").compensation("revert").batch(64), &writer, body.clone())
        .guarded(Operation::new("revert").batch(64), &writer, body)
        .faults(&faults)
}

/// Answers a call a moment later, by a callback; where that is lost the coordinator asks.
async fn call_back(writer: Writer, callback: Callback) {
    tokio::time::sleep(LATER).await;
    let settling = Settling { callback: callback.clone(), reply: Reply::done(json!({ "later": true })) };
    let reply = settling.reply.clone();
    writer.run(Box::new(settling)).await.expect("the answer is kept");
    let _ = callback.answer(&reply).await;
}

/// Keeps the answer of a call that is pending.
struct Settling {
    callback: Callback,
    reply: Reply,
}

#[async_trait]
impl Task for Settling {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        self.callback.settle(tx, &self.reply).await.map(drop)
    }
}

/// What a compensation is answered instead of being carried out.
fn unwilling(call: &Call) -> Option<Reply> {
    let (body, caller) = (&call.body, &call.caller);
    let not_now = || Reply::unavailable("not now", None);
    match body["how"].as_str() {
        None => {
            let step: u128 = caller.step.bytes().map(u128::from).sum();
            (caller.attempt == 1 && (caller.saga.as_u128() + step).is_multiple_of(6)).then(not_now)
        }
        Some("fails") => (u64::from(caller.attempt) <= body["fails"].as_u64().unwrap_or(0)).then(not_now),
        Some("well") => None,
        Some(how) => {
            (body["fixed"] != true).then(|| Reply::refused(format!("cannot be undone: {how}"), json!({})))
        }
    }
}

/// What the registration says of it.
pub(crate) fn registration(url: &str) -> serde_json::Value {
    json!({
        "instances": [url],
        "operations": {
            "apply": { "compensation": "revert", "status": true, "timeout": "2s", "batch": { "max": 64 } },
            "revert": { "status": true, "timeout": "2s", "batch": { "max": 64 } },
        },
    })
}

/// Reads every effect, by saga.
pub(crate) async fn effects(file: &Path) -> BTreeMap<String, Effects> {
    let address = format!("sqlite:{}", file.display());
    let mut connection = sqlx::SqliteConnection::connect(&address).await.expect("the ledger opens");
    let counted = "select saga, step, op, count(*) as times from effect group by saga, step, op";
    let rows = sqlx::query(counted).fetch_all(&mut connection).await.expect("the ledger can be read");
    let mut effects: BTreeMap<String, Effects> = BTreeMap::new();
    for row in rows {
        let times = u64::try_from(row.get::<i64, _>("times")).expect("a count");
        let of_saga = effects.entry(row.get("saga")).or_default();
        of_saga.insert((row.get("step"), row.get("op")), times);
    }
    effects
}
