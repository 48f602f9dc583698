//! A participant that keeps an account of its effects, driven through its router, on any dialect.
//!
//! What a call does is said by its body: `{"points": 5}` applies, and `"then"` may add `refuse`, `fail`,
//! `panic`, `unavailable` or `pending`. Each effect is a row, so what took effect, and how often, can be counted.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod decisions;
pub(crate) mod scenarios;

use amends_sdk::{
    Body, Call, CallOp, Database, Dialect, Migrations, Operation, Participant, Readers, Reply, Secret, Tx,
    Writer, barrier, each,
};
use amends_wire::{
    audit::{Audited, Page, Query, read_all},
    participant::sign,
};
use axum::{Router, body::Body as HttpBody};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;
use uuid::Uuid;

/// The same text makes the table in all three dialects.
const EFFECT: &str = "create table effect (saga varchar(36) not null, step varchar(80) not null, op varchar(12) not null, \
     points bigint not null, check (points <> 13))";

/// A participant's router and its database.
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) database: Database,
    pub(crate) participant: Participant,
    pub(crate) writer: Writer,
}

/// How bodies are run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    /// One call at a time, in savepoints.
    Each,
    /// Whatever waits together.
    Merged,
}

/// An answer as it came over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) retry_after: Option<String>,
    pub(crate) media: String,
}

/// One call to be made.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) saga: Uuid,
    pub(crate) step: String,
    pub(crate) op: CallOp,
    pub(crate) status_of: Option<CallOp>,
    pub(crate) attempt: u32,
    pub(crate) round: u32,
    pub(crate) operation: &'static str,
    pub(crate) body: Value,
}

impl World {
    /// Opens a participant on a store; a second one on the same store is a second instance.
    pub(crate) async fn open(store: &str, run: Run) -> World {
        let migrations = Migrations {
            name: "world",
            sqlite: &[barrier::SQLITE, EFFECT, barrier::BY_TIME, barrier::ROUND, barrier::OP_SQLITE],
            postgres: &[barrier::POSTGRES, EFFECT, barrier::BY_TIME, barrier::ROUND, barrier::OP_POSTGRES],
            mysql: &[barrier::MYSQL, EFFECT, barrier::BY_TIME, barrier::ROUND, barrier::OP_MYSQL],
        };
        let database = Database::open_any(store, &migrations).await.expect("the database opens");
        let writer = Writer::start(&database);
        let body: Arc<dyn Body> = match run {
            Run::Each => each(|tx, call| Box::pin(perform(tx, call))),
            Run::Merged => Arc::new(Merged),
        };
        let participant = Participant::new("account")
            .guarded(
                Operation::new("add").compensation("take").confirm("seal").batch(64),
                &writer,
                body.clone(),
            )
            .guarded(Operation::new("take").batch(64), &writer, body.clone())
            .guarded(Operation::new("seal").batch(64), &writer, body)
            .plain(Operation::new("echo").batch(8), |call: Call| async move {
                assert_ne!(call.body, json!("panic"), "made to panic");
                Reply::done(call.body)
            });
        World { router: participant.router(), database, participant, writer }
    }

    /// Posts bytes with headers to a path.
    pub(crate) async fn post(&self, path: &str, headers: HeaderMap, body: impl Into<HttpBody>) -> Answer {
        let mut request = Request::post(path).body(body.into()).expect("a request");
        *request.headers_mut() = headers;
        self.send(request).await
    }

    /// Gets a path.
    pub(crate) async fn get(&self, path: &str, headers: HeaderMap) -> Answer {
        let mut request = Request::get(path).body(HttpBody::empty()).expect("a request");
        *request.headers_mut() = headers;
        self.send(request).await
    }

    /// Every page of the audit, at most `limit` rows each.
    pub(crate) async fn audit(&self, since: i64, limit: u32) -> Audited {
        let query = Query { limit, ..Query::since(since) };
        let pages = read_all(query, 10_000, |query| async move {
            let cursor = query.cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let path = format!("/saga-audit?since={}&limit={}{cursor}", query.since, query.limit);
            let answer = self.get(&path, HeaderMap::new()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            serde_json::from_value::<Page>(answer.body)
        });
        pages.await.expect("an audit")
    }

    pub(crate) async fn send(&self, request: Request<HttpBody>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("the router never fails");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let header =
            |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Answer {
            status: parts.status.as_u16(),
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            retry_after: header("retry-after"),
            media: header("content-type").unwrap_or_default(),
        }
    }

    /// Makes one call.
    pub(crate) async fn ask(&self, ask: &Ask) -> Answer {
        self.post(&format!("/{}", ask.operation), ask.headers(), ask.body.to_string()).await
    }

    /// Makes calls as one batch of the first one's operation.
    pub(crate) async fn batch(&self, asks: &[Ask]) -> Vec<Answer> {
        let calls: Vec<Value> = asks.iter().map(Ask::entry).collect();
        let path = format!("/{}/batch", asks[0].operation);
        let answer = self.post(&path, HeaderMap::new(), json!({ "calls": calls }).to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let results = answer.body["results"].as_array().expect("results").clone();
        let read = |result: Value| Answer {
            status: result["status"]
                .as_u64()
                .and_then(|status| u16::try_from(status).ok())
                .expect("a status"),
            body: result["body"].clone(),
            retry_after: result["retry_after"].as_u64().map(|secs| secs.to_string()),
            media: String::new(),
        };
        results.into_iter().map(read).collect()
    }

    /// The effects on a saga, as `step op points`, sorted.
    pub(crate) async fn effects(&self, saga: Uuid) -> Vec<String> {
        self.texts(&format!(
            "select concat(step, ' ', op, ' ', points) from effect where saga = '{saga}' order by 1"
        ))
        .await
    }

    /// How many rows the barrier holds without an answer; there must never be one.
    pub(crate) async fn unanswered(&self) -> usize {
        self.texts("select 'row' from saga_barrier where status is null").await.len()
    }

    /// Ends every other connection to the database, from the server's side.
    pub(crate) async fn hang_up(&self) {
        match self.database.any_readers() {
            Readers::Sqlite(_) => panic!("a file has no server to hang up"),
            Readers::Postgres(pool) => {
                let sql = "select pg_terminate_backend(pid) from pg_stat_activity \
                           where datname = current_database() and pid <> pg_backend_pid()";
                sqlx::query(sql).execute(pool).await.expect("a query");
            }
            Readers::MySql(pool) => {
                let sql = "select cast(id as signed) from information_schema.processlist \
                           where db = database() and id <> connection_id()";
                let ids: Vec<i64> = sqlx::query_scalar(sql).fetch_all(pool).await.expect("a query");
                for id in ids {
                    let _ = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("kill {id}"))).execute(pool).await;
                }
            }
        }
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = || sqlx::AssertSqlSafe(sql.to_owned());
        match self.database.any_readers() {
            Readers::Sqlite(pool) => sqlx::query_scalar(sql()).fetch_all(pool).await,
            Readers::Postgres(pool) => sqlx::query_scalar(sql()).fetch_all(pool).await,
            Readers::MySql(pool) => sqlx::query_scalar(sql()).fetch_all(pool).await,
        }
        .expect("a query")
    }
}

impl Ask {
    pub(crate) fn new(saga: Uuid, step: &str, op: CallOp, body: Value) -> Ask {
        let operation = match op {
            CallOp::Action | CallOp::Status => "add",
            CallOp::Compensation => "take",
            CallOp::Confirm => "seal",
        };
        Ask { saga, step: step.to_owned(), op, status_of: None, attempt: 1, round: 0, operation, body }
    }

    pub(crate) fn status(saga: Uuid, step: &str, of: CallOp) -> Ask {
        Ask { status_of: Some(of), ..Ask::new(saga, step, CallOp::Status, json!({})) }
    }

    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: String| {
            headers.insert(name, value.parse().expect("a header"));
        };
        put("saga-id", self.saga.to_string());
        put("saga-step", self.step.clone());
        put("saga-op", self.op.to_string());
        put("saga-attempt", self.attempt.to_string());
        put("saga-epoch", "1".to_owned());
        if self.round > 0 {
            put("saga-round", self.round.to_string());
        }
        put("idempotency-key", self.key());
        if let Some(of) = self.status_of {
            put("saga-status-of", of.to_string());
        }
        headers
    }

    pub(crate) fn signed(&self, secret: &Secret, at: i64) -> HeaderMap {
        let mut headers = self.headers();
        for (name, value) in sign(secret, "message-1", at, self.body.to_string().as_bytes()) {
            headers.insert(name, value.parse().expect("a header"));
        }
        headers
    }

    fn entry(&self) -> Value {
        json!({ "saga": self.saga, "step": self.step, "op": self.op, "attempt": self.attempt, "round": self.round, "key": self.key(),
                "status_of": self.status_of, "body": self.body })
    }

    fn key(&self) -> String {
        let round = if self.round > 0 { format!(":r{}", self.round) } else { String::new() };
        format!("{}/{}/{}{round}", self.saga, self.step, self.status_of.unwrap_or(self.op))
    }
}

/// All waiting calls together: effects first and in one go, as a body that gathers its statements would.
struct Merged;

#[async_trait::async_trait]
impl Body for Merged {
    async fn perform(&self, tx: &mut Tx<'_>, calls: &[&Call]) -> Result<Vec<Reply>, sqlx::Error> {
        let mut replies = Vec::new();
        for call in calls {
            // A refused call leaves nothing behind, as the trait demands.
            let refuses = call.body["then"] == "refuse";
            replies.push(if refuses {
                Reply::refused("not today", json!({}))
            } else {
                perform(tx, call).await?
            });
        }
        Ok(replies)
    }
}

async fn perform(tx: &mut Tx<'_>, call: &Call) -> Result<Reply, sqlx::Error> {
    let points = call.body["points"].as_i64().unwrap_or(0);
    let (saga, step) = (call.caller.saga.to_string(), call.caller.step.clone());
    let op = call.caller.op.as_str();
    insert(tx, saga, step, op, points).await?;
    Ok(match call.body["then"].as_str() {
        Some("refuse") => Reply::refused("not today", json!({})),
        Some("unavailable") => Reply::unavailable("not now", Some(7)),
        Some("pending") => Reply::pending(Some(2)),
        Some("panic") => panic!("made to panic"),
        _ => Reply::done(json!({ "points": points })),
    })
}

/// 13 points break a constraint.
async fn insert(
    tx: &mut Tx<'_>,
    saga: String,
    step: String,
    op: &'static str,
    points: i64,
) -> Result<(), sqlx::Error> {
    match tx.dialect() {
        Dialect::Sqlite => {
            let query = sqlx::query("insert into effect values (?, ?, ?, ?)")
                .bind(saga)
                .bind(step)
                .bind(op)
                .bind(points);
            query.execute(tx.sqlite()).await.map(drop)
        }
        Dialect::Postgres => {
            let query = sqlx::query("insert into effect values ($1, $2, $3, $4)")
                .bind(saga)
                .bind(step)
                .bind(op)
                .bind(points);
            query.execute(tx.postgres()).await.map(drop)
        }
        Dialect::MySql => {
            let query = sqlx::query("insert into effect values (?, ?, ?, ?)")
                .bind(saga)
                .bind(step)
                .bind(op)
                .bind(points);
            query.execute(tx.mysql()).await.map(drop)
        }
    }
}
