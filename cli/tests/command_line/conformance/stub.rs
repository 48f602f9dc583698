//! A wallet that keeps the contract in memory, and breaks it in one way when it is told to.

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// One way to break the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    NoBarrier,
    AnswersDiffer,
    EffectTwice,
    AttemptInTheKey,
    LooksBeforeItWrites,
    BodyIgnored,
    StepIgnored,
    LateActionDone,
    ActionOnceMoreAfterUndo,
    UndoFirstRefused,
    UndoFirstTakesEffect,
    UndoTwiceRefused,
    UndoTwiceTakesEffect,
    UndoFails,
    UndoOfRefusedChecksTheBody,
    RefusalForgotten,
    RoundIgnored,
    RoundPassesTheBar,
    RoundDoesItAgain,
    UndoAfterConfirm,
    ConfirmAfterUndo,
    ConfirmFails,
    StatusActs,
    StatusAlwaysUnknown,
    StatusOfLateUnknown,
    MisfitFails,
    GarbageFails,
    GarbageHangsUp,
    HeadersMadeUp,
    HeadersUnread,
    Unsigned,
    StaleSignatureTaken,
    BatchSwapped,
    BatchRepeatsActTwice,
    BatchFailsWhole,
    BatchStatusActs,
    BatchUndoFirstRefused,
    BatchGarbageFails,
    BatchLosesOne,
    PlainText,
    AuditForgets,
    Unwell,
    AnythingIsAnOperation,
}

use Mistake as M;

#[derive(Debug, Clone, PartialEq)]
struct Row {
    body: Value,
    status: u16,
    response: Value,
    at: i64,
    round: u64,
}

#[derive(Debug, Default)]
struct Books {
    balance: i64,
    charges: i64,
    rows: BTreeMap<(String, String, u8), Row>,
}

#[derive(Debug)]
pub(crate) struct Wallet {
    mistake: Mistake,
    secret: Option<amends_wire::participant::Secret>,
    books: Mutex<Books>,
}

/// A call as headers or a batch's entry say it.
#[derive(Debug, Clone)]
struct Call {
    saga: String,
    step: String,
    op: String,
    of: String,
    attempt: String,
    round: u64,
    body: Value,
}

type Answer = (u16, Value);

/// When a step was last called, and what its action and its compensation were answered.
type Told = (i64, Option<u16>, Option<u16>);

const OVERTAKEN: u16 = 0;

/// A row that a confirmation put there.
const CONFIRMED: u16 = 2;

/// Serves a wallet for as long as the process lives, and says where.
pub(crate) fn serve(mistake: Mistake, secret: Option<&str>) -> String {
    let secret = secret.map(|text| amends_wire::participant::Secret::parse(text).expect("a secret"));
    let wallet = Arc::new(Wallet { mistake, secret, books: Mutex::new(Books::default()) });
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/balance", get(balance))
        .route("/saga-audit", get(audit))
        .route("/{operation}", post(single))
        .route("/{operation}/batch", post(batch))
        .with_state(wallet);
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            tell.send(listener.local_addr().expect("its address")).expect("it is waited for");
            axum::serve(listener, router).await.expect("it serves");
        });
    });
    format!("http://{}", told.recv().expect("it serves"))
}

async fn healthz(State(wallet): State<Arc<Wallet>>) -> StatusCode {
    if wallet.mistake == M::Unwell { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT }
}

async fn balance(State(wallet): State<Arc<Wallet>>) -> Response {
    let books = wallet.books.lock().expect("the books");
    axum::Json(json!({ "balance": books.balance })).into_response()
}

async fn audit(State(wallet): State<Arc<Wallet>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let since: i64 = query["since"].parse().expect("a number");
    let books = wallet.books.lock().expect("the books");
    let mut steps: BTreeMap<(&String, &String), Told> = BTreeMap::new();
    for ((saga, step, op), row) in &books.rows {
        let entry = steps.entry((saga, step)).or_default();
        entry.0 = entry.0.max(row.at);
        match op {
            0 => entry.1 = Some(row.status),
            1 => entry.2 = Some(row.status),
            _ => {}
        }
    }
    let mut effects: Vec<Value> = steps
        .into_iter()
        .filter(|(_, (at, ..))| *at >= since)
        .map(|((saga, step), (at, action, undo))| {
            let state = match (action, undo) {
                (Some(200), Some(200..)) if wallet.mistake != M::AuditForgets => "undone",
                (Some(200), _) => "applied",
                _ => "barred",
            };
            json!({ "saga": saga, "step": step, "op_state": state, "at": at })
        })
        .collect();
    effects.sort_by_key(|effect| effect["at"].as_i64());
    axum::Json(json!({ "effects": effects, "next": null })).into_response()
}

async fn single(
    State(wallet): State<Arc<Wallet>>,
    Path(operation): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let answer = match wallet.read(&headers, &bytes) {
        Ok(call) => wallet.answer(&operation, &call).await,
        Err(answer) => answer,
    };
    wallet.send(answer)
}

async fn batch(
    State(wallet): State<Arc<Wallet>>,
    Path(operation): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    if !wallet.is_signed(&headers, &bytes) {
        return wallet.send((401, json!({ "message": "not signed" })));
    }
    let read: Result<Value, _> = serde_json::from_slice(&bytes);
    let calls = match read.ok().and_then(|batch| batch["calls"].as_array().cloned()) {
        Some(calls) => calls,
        None if wallet.mistake == M::BatchGarbageFails => return wallet.send((500, json!({}))),
        None => return wallet.send((400, json!({ "message": "no batch" }))),
    };
    let mut results = Vec::new();
    for entry in &calls {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let mut call = Call {
            saga: text("saga"),
            step: text("step"),
            op: text("op"),
            of: text("status_of"),
            attempt: entry["attempt"].to_string(),
            round: entry["round"].as_u64().unwrap_or_default(),
            body: entry["body"].clone(),
        };
        if wallet.mistake == M::BatchStatusActs && call.op == "status" {
            call.op = "action".to_owned();
        }
        if wallet.mistake == M::BatchRepeatsActTwice && call.op == "action" {
            call.step = format!("{}-{}", call.step, call.attempt);
        }
        let (status, body) = wallet.answer(&operation, &call).await;
        let is_null = operation == "refund" && body.is_null();
        results.push(match wallet.mistake {
            M::BatchUndoFirstRefused if is_null => json!({ "status": 409, "body": {} }),
            _ => json!({ "status": status, "body": body }),
        });
    }
    match wallet.mistake {
        M::BatchSwapped => results.reverse(),
        M::BatchLosesOne => drop(results.pop()),
        M::BatchFailsWhole if results.iter().any(|one| one["status"] == 422) => {
            results.iter_mut().for_each(|one| *one = json!({ "status": 422, "body": {} }));
        }
        _ => {}
    }
    wallet.send((200, json!({ "results": results })))
}

impl Wallet {
    fn send(&self, (status, body): Answer) -> Response {
        let media = if self.mistake == M::PlainText { "text/plain" } else { "application/json" };
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let status = StatusCode::from_u16(status).expect("a status");
        (status, [(header::CONTENT_TYPE, media)], text).into_response()
    }

    fn is_signed(&self, headers: &HeaderMap, bytes: &[u8]) -> bool {
        let Some(secret) = &self.secret else { return true };
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        let (id, at) = (text("webhook-id"), text("webhook-timestamp"));
        let now = match self.mistake {
            M::Unsigned => return true,
            M::StaleSignatureTaken => at.parse().unwrap_or_default(),
            _ => i64::try_from(now).expect("a time"),
        };
        let secrets = std::slice::from_ref(secret);
        amends_wire::participant::verify(secrets, id, at, text("webhook-signature"), now, bytes).is_ok()
    }

    fn read(&self, headers: &HeaderMap, bytes: &[u8]) -> Result<Call, Answer> {
        if !self.is_signed(headers, bytes) {
            return Err((401, json!({ "message": "not signed" })));
        }
        let no = |what: &str| (400, json!({ "message": what }));
        let text = |name: &str| match headers.get_all(name).iter().collect::<Vec<_>>()[..] {
            [one] => Ok(one.to_str().unwrap_or_default().to_owned()),
            _ if self.mistake == M::HeadersMadeUp => Ok("action".to_owned()),
            _ => Err(no(name)),
        };
        let call = Call {
            saga: text("saga-id")?,
            step: text("saga-step")?,
            op: text("saga-op")?,
            of: headers
                .get("saga-status-of")
                .map(|of| of.to_str().unwrap_or_default().to_owned())
                .unwrap_or_default(),
            attempt: text("saga-attempt")?,
            round: headers
                .get("saga-round")
                .and_then(|text| text.to_str().ok()?.parse().ok())
                .unwrap_or_default(),
            body: match serde_json::from_slice(bytes) {
                Ok(body) => body,
                Err(_) if self.mistake == M::GarbageFails => return Err((500, json!({}))),
                Err(_) if self.mistake == M::GarbageHangsUp && bytes.len() > 1000 => panic!("as planted"),
                Err(_) => return Err(no("no JSON")),
            },
        };
        text("idempotency-key")?;
        let is_op = ["action", "compensation", "confirm", "status"].contains(&call.op.as_str());
        let is_right = uuid::Uuid::parse_str(&call.saga).is_ok()
            && is_op
            && call.attempt.parse::<u32>().is_ok_and(|attempt| attempt > 0)
            && !call.step.contains(' ');
        match is_right || matches!(self.mistake, M::HeadersUnread | M::HeadersMadeUp) {
            true => Ok(call),
            false => Err(no("a header")),
        }
    }

    async fn answer(&self, operation: &str, call: &Call) -> Answer {
        if !["charge", "refund", "settle"].contains(&operation) && self.mistake != M::AnythingIsAnOperation {
            return (404, json!({ "message": "no operation" }));
        }
        if self.mistake == M::LooksBeforeItWrites && call.op != "status" {
            let known = self.books.lock().expect("the books").rows.get(&self.key(call, &call.op)).cloned();
            if known.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let mut books = self.books.lock().expect("the books");
                return self.act(&mut books, operation, call);
            }
        }
        let mut books = self.books.lock().expect("the books");
        self.guarded(&mut books, operation, call)
    }

    fn key(&self, call: &Call, op: &str) -> (String, String, u8) {
        let step = match self.mistake {
            M::StepIgnored => String::new(),
            M::AttemptInTheKey => format!("{}{}", call.step, call.attempt),
            _ => call.step.clone(),
        };
        let op = match op {
            "compensation" => 1,
            "confirm" => 2,
            _ => 0,
        };
        (call.saga.clone(), step, op)
    }

    fn guarded(&self, books: &mut Books, operation: &str, call: &Call) -> Answer {
        let unseen = (404, json!({ "message": "never seen" }));
        if call.op == "status" {
            let row = books.rows.get(&self.key(call, &call.of));
            return match row {
                _ if self.mistake == M::StatusAlwaysUnknown => unseen,
                Some(row) if row.status == OVERTAKEN && self.mistake == M::StatusOfLateUnknown => unseen,
                Some(row) if matches!(row.status, OVERTAKEN | CONFIRMED) => (409, json!({})),
                Some(row) => (row.status, row.response.clone()),
                None if self.mistake == M::StatusActs => self.act(books, operation, call),
                None => unseen,
            };
        }
        let key = self.key(call, &call.op);
        let known = books.rows.get(&key).cloned().filter(|_| self.mistake != M::NoBarrier);
        if let Some(row) = known {
            let is_newer = call.op == "action" && call.round > row.round && self.mistake != M::RoundIgnored;
            let gives_way = matches!(row.status, 400..) || self.mistake == M::RoundDoesItAgain;
            if !(is_newer && gives_way) {
                return self.again(books, call, row);
            }
        }
        let action = books.rows.get(&self.key(call, "action")).cloned();
        let nothing = action.as_ref().is_none_or(|row| row.status != 200);
        if call.op == "confirm" {
            return self.confirmed(books, operation, call, key);
        }
        let answer = match (call.op.as_str(), action) {
            ("compensation", Some(row))
                if row.status != 200 && self.mistake == M::UndoOfRefusedChecksTheBody =>
            {
                (422, json!({ "message": "the body does not fit" }))
            }
            ("compensation", None) if self.mistake == M::UndoFirstRefused => {
                (409, json!({ "message": "no charge" }))
            }
            ("compensation", _) if nothing && self.mistake != M::UndoFirstTakesEffect => (200, Value::Null),
            _ => self.act(books, operation, call),
        };
        let (at, round, (status, response)) = (now_ms(), call.round, answer.clone());
        let is_kept = status < 500 && !(status == 409 && self.mistake == M::RefusalForgotten);
        let bars = self.mistake != M::LateActionDone && self.mistake != M::NoBarrier;
        if is_kept && self.mistake != M::NoBarrier {
            books.rows.insert(key, Row { body: call.body.clone(), status, response, at, round });
        }
        if call.op == "compensation" && nothing && is_kept && bars {
            let barred = books.rows.entry(self.key(call, "action")).or_insert(bar(OVERTAKEN));
            if self.mistake != M::RoundPassesTheBar {
                barred.round = u64::MAX;
            }
        }
        if call.op == "compensation" && self.mistake == M::ActionOnceMoreAfterUndo && !nothing {
            books.rows.remove(&self.key(call, "action"));
        }
        answer
    }

    fn confirmed(
        &self,
        books: &mut Books,
        operation: &str,
        call: &Call,
        key: (String, String, u8),
    ) -> Answer {
        let is_undone = books.rows.get(&self.key(call, "compensation")).is_some_and(|row| row.status >= 200);
        if is_undone && self.mistake != M::ConfirmAfterUndo {
            return (409, json!({ "message": "refunded" }));
        }
        let (status, response) = self.act(books, operation, call);
        if status == 200 {
            let (body, response, at) = (call.body.clone(), response.clone(), now_ms());
            books.rows.insert(key, Row { body, status, response, at, round: 0 });
            if self.mistake != M::UndoAfterConfirm {
                books.rows.entry(self.key(call, "action")).or_insert(bar(CONFIRMED));
                books.rows.entry(self.key(call, "compensation")).or_insert(bar(CONFIRMED));
            }
        }
        (status, response)
    }

    fn again(&self, books: &mut Books, call: &Call, row: Row) -> Answer {
        let amount = call.body["amount"].as_i64().unwrap_or_default();
        match self.mistake {
            M::EffectTwice if call.op == "action" && row.status == 200 => books.balance -= amount,
            M::UndoTwiceTakesEffect if call.op == "compensation" => books.balance += amount,
            M::UndoTwiceRefused if call.op == "compensation" => {
                return (409, json!({ "message": "refunded already" }));
            }
            _ => {}
        }
        if matches!(row.status, OVERTAKEN | CONFIRMED) {
            return (409, json!({ "message": "overtaken" }));
        }
        let is_of_its_round = call.round <= row.round && row.round < u64::MAX;
        if row.body != call.body && is_of_its_round && self.mistake != M::BodyIgnored {
            return (422, json!({ "message": "another body" }));
        }
        if self.mistake == M::AnswersDiffer && row.status == 200 {
            books.charges += 1;
            return (200, json!({ "charge": books.charges }));
        }
        (row.status, row.response)
    }

    fn act(&self, books: &mut Books, operation: &str, call: &Call) -> Answer {
        if operation == "settle" {
            let status = if self.mistake == M::ConfirmFails { 500 } else { 200 };
            return (status, json!({ "settled": true }));
        }
        let Some(amount) = call.body["amount"].as_i64() else {
            let status = if self.mistake == M::MisfitFails { 500 } else { 422 };
            return (status, json!({ "message": "an amount is needed" }));
        };
        if operation == "refund" {
            if self.mistake == M::UndoFails {
                return (500, json!({}));
            }
            books.balance += amount;
            return (200, json!({ "refunded": amount }));
        }
        if amount > 1000 {
            books.charges += 1;
            return (409, json!({ "message": "not enough", "asked": books.charges }));
        }
        books.balance -= amount;
        books.charges += 1;
        (200, json!({ "charge": books.charges }))
    }
}

/// A row that stands in the way of what comes later.
fn bar(status: u16) -> Row {
    Row { body: Value::Null, status, response: Value::Null, at: now_ms(), round: 0 }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    i64::try_from(since.as_millis()).expect("a time")
}
