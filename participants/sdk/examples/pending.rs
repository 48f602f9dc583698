//! A participant whose work outlives the request: a printer. It keeps each job with its callback in its own database,
//! answers 202, prints by and by, and calls back.
//!
//! `cargo run -p amends-sdk --example pending` serves it on 127.0.0.1:7201 and registers it with a coordinator on
//! 127.0.0.1:7070, or on the one of `AMENDS_COORDINATOR`. Kill it while it prints, and start it again: the job is printed, and the saga goes on.
//!
//! A job is printed at least once and settled exactly once: the row of the job goes in the transaction that keeps the
//! answer. Where the saga was undone in the meantime, nobody is told, and the print is thrown away.

use amends_sdk::{
    Call, CallOp, Callback, Database, Operation, Participant, Registering, Reply, Task, Tx, Writer,
    barrier::{self, Settled},
    each, run,
};
use serde_json::json;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const JOB: &str = "create table job (id integer primary key, pages integer not null, callback text not null)";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let participant = printer("sqlite:target/printer.db", Duration::from_millis(200)).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:7201").await?;
    let coordinator = std::env::var("AMENDS_COORDINATOR").unwrap_or("http://127.0.0.1:7070".to_owned());
    let to = Registering { coordinator, ..Registering::default() };
    let stop = CancellationToken::new();
    tokio::spawn({
        let stop = stop.clone();
        async move { tokio::signal::ctrl_c().await.map(|()| stop.cancel()) }
    });
    Ok(run(&participant, listener, Some(to), stop).await?)
}

/// The printer as a participant; `page` is how long it prints a page.
pub async fn printer(store: &str, page: Duration) -> Result<Participant, amends_sdk::Error> {
    let database = Database::open(store, &[barrier::SQLITE, JOB, barrier::ROUND]).await?;
    let writer = Writer::start(&database);
    let arrived = Arc::new(Notify::new());
    let body = each({
        let arrived = arrived.clone();
        move |tx, call| Box::pin(take(tx, call, arrived.clone()))
    });
    tokio::spawn(print(writer.clone(), arrived, page));
    Ok(Participant::new("printer")
        .guarded(Operation::new("print").compensation("shred"), &writer, body.clone())
        .guarded(Operation::new("shred"), &writer, body))
}

/// Takes a job on, in the transaction of the barrier's row: `{"pages": 3}`.
async fn take(tx: &mut Tx<'_>, call: &Call, arrived: Arc<Notify>) -> Result<Reply, sqlx::Error> {
    if call.caller.op != CallOp::Action {
        // A print that is thrown away needs no undoing.
        return Ok(Reply::done(json!({})));
    }
    let Some(pages @ 1..=100) = call.body["pages"].as_i64() else {
        return Ok(Reply::refused("send 1 to 100 pages", json!({})));
    };
    let Some(callback) = &call.caller.callback else {
        return Ok(Reply::refused("this printer calls back, and nobody said where", json!({})));
    };
    let kept = serde_json::to_string(callback).unwrap_or_default();
    let job = sqlx::query("insert into job (pages, callback) values (?, ?)").bind(pages).bind(kept);
    job.execute(tx.sqlite()).await?;
    arrived.notify_one();
    Ok(Reply::pending(Some(5)))
}

/// Prints whatever is in the table, job by job: what arrives now, and what was left by a process that was killed.
async fn print(writer: Writer, arrived: Arc<Notify>, page: Duration) {
    loop {
        let next = "select id, pages, callback from job order by id limit 1";
        let next = sqlx::query_as::<_, (i64, i64, String)>(next);
        match next.fetch_optional(writer.database().readers()).await {
            Ok(Some((id, pages, callback))) => {
                tokio::time::sleep(page * u32::try_from(pages).unwrap_or(1)).await;
                if let Ok(callback) = serde_json::from_str(&callback) {
                    finish(&writer, id, callback, Reply::done(json!({ "pages": pages }))).await;
                }
            }
            Ok(None) => {
                let _ = tokio::time::timeout(Duration::from_secs(1), arrived.notified()).await;
            }
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// Settles a job, and tells the coordinator when that is durable.
async fn finish(writer: &Writer, id: i64, callback: Callback, reply: Reply) {
    let settled = Arc::new(OnceLock::new());
    let task = Finish { id, callback: callback.clone(), reply: reply.clone(), settled: settled.clone() };
    if writer.run(Box::new(task)).await.is_ok()
        && settled.get() == Some(&Settled::Kept)
        && let Err(error) = callback.answer(&reply).await
    {
        eprintln!("{error}; the coordinator will ask");
    }
}

struct Finish {
    id: i64,
    callback: Callback,
    reply: Reply,
    settled: Arc<OnceLock<Settled>>,
}

#[async_trait::async_trait]
impl Task for Finish {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let settled = self.callback.settle(tx, &self.reply).await?;
        sqlx::query("delete from job where id = ?").bind(self.id).execute(tx.sqlite()).await?;
        let _ = self.settled.set(settled);
        Ok(())
    }
}
