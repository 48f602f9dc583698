//! A whole participant in about thirty lines: accounts of points that a saga adds to, and takes from again.
//!
//! `cargo run -p amends-sdk --example thirty_lines` serves it on 127.0.0.1:7200 and registers it with a coordinator
//! on 127.0.0.1:7070, as soon as there is one. A call by hand, which can be repeated without adding twice:
//!
//! ```text
//! curl -i 127.0.0.1:7200/add -d '{"owner": "ada", "points": 5}' -H 'Idempotency-Key: 1' -H 'Saga-Op: action' \
//!   -H 'Saga-Id: 019a0000-0000-7000-8000-000000000001' -H 'Saga-Step: reward' -H 'Saga-Attempt: 1'
//! ```

use amends_sdk::{Database, Operation, Participant, Registering, Reply, Writer, barrier, each, run};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const ACCOUNT: &str = "create table account (owner text primary key, points integer not null)";
const CHANGE: &str = "insert into account values (?, ?) \
    on conflict do update set points = points + excluded.points returning points";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let database =
        Database::open("sqlite:target/points.db", &[barrier::SQLITE, ACCOUNT, barrier::ROUND]).await?;
    let change = each(|tx, call| {
        Box::pin(async move {
            let (owner, points) = (call.body["owner"].as_str(), call.body["points"].as_i64());
            let (Some(owner), Some(points @ 1..1_000_000)) = (owner, points) else {
                return Ok(Reply::refused("send an owner and 1 to 999999 points", json!({})));
            };
            let points = if call.operation == "add" { points } else { -points };
            let change = sqlx::query_scalar(CHANGE).bind(owner.to_owned()).bind(points);
            let total: i64 = change.fetch_one(tx.sqlite()).await?;
            Ok(Reply::done(json!({ "owner": owner, "points": total })))
        })
    });
    let writer = Writer::start(&database);
    let participant = Participant::new("points")
        .guarded(Operation::new("add").compensation("take").batch(64), &writer, change.clone())
        .guarded(Operation::new("take").batch(64), &writer, change);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:7200").await?;
    let coordinator =
        Registering { coordinator: "http://127.0.0.1:7070".to_owned(), ..Registering::default() };
    let stop = CancellationToken::new();
    tokio::spawn({
        let stop = stop.clone();
        async move { tokio::signal::ctrl_c().await.map(|()| stop.cancel()) }
    });
    Ok(run(&participant, listener, Some(coordinator), stop).await?)
}
