//! A participant that answers as it is told, and remembers what it was asked.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::net::TcpListener;

/// One answer.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    /// A status and a body, sent as they are.
    Text(u16, String),
    /// A status with one more header.
    With(u16, &'static str, String),
    /// A good answer, after a while.
    Late(Duration),
    /// This many bytes of a JSON text that never ends, in chunks.
    Long(usize),
    /// The connection is closed without an answer.
    Nothing,
    /// To a batch: its calls one by one, all of them good.
    Batch,
    /// To a batch: this many results, whatever was asked.
    Results(usize),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A participant under the test's hand; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Stub {
    pub(crate) url: String,
    state: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    says: BTreeMap<String, VecDeque<Say>>,
    asked: Vec<Asked>,
}

impl Say {
    /// A JSON answer.
    pub(crate) fn json(status: u16, body: &Value) -> Say {
        Say::Text(status, body.to_string())
    }
}

impl Asked {
    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Stub {
    /// Starts one. Without instructions it answers everything with `{"ok": true}`.
    pub(crate) async fn start() -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::<Mutex<Book>>::default();
        let router = Router::new().fallback(answer).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Stub { url, state }
    }

    /// Queues answers of an operation: `charge`, or `charge/batch`, or `charge?status` for status questions.
    pub(crate) fn say(&self, operation: &str, says: impl IntoIterator<Item = Say>) {
        self.book().says.entry(operation.to_owned()).or_default().extend(says);
    }

    /// Everything asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.book().asked.clone()
    }

    /// How often a path was asked.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.book().asked.iter().filter(|asked| asked.path == path).count()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(state): State<Arc<Mutex<Book>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let question = parts.headers.get("saga-op").is_some_and(|op| op == "status");
    let line = format!("{}{}", path.trim_start_matches('/'), if question { "?status" } else { "" });
    let say = {
        let mut book = state.lock().unwrap_or_else(PoisonError::into_inner);
        book.asked.push(Asked { path: path.clone(), headers: parts.headers, body: body.clone() });
        book.says.get_mut(&line).and_then(VecDeque::pop_front)
    };
    let usual = if path.ends_with("/batch") { Say::Batch } else { Say::json(200, &json!({ "ok": true })) };
    carry_out(say.unwrap_or(usual), &body).await
}

async fn carry_out(say: Say, asked: &Bytes) -> Response {
    let status = |status: u16| StatusCode::from_u16(status).expect("a status");
    match say {
        Say::Text(code, body) => (status(code), body).into_response(),
        Say::With(code, header, value) => (status(code), [(header, value)]).into_response(),
        Say::Late(wait) => {
            tokio::time::sleep(wait).await;
            "{}".into_response()
        }
        Say::Long(bytes) => {
            let chunks = (0..bytes.div_ceil(16384)).map(|_| Ok::<_, std::io::Error>("1".repeat(16384)));
            Body::from_stream(futures::stream::iter(chunks)).into_response()
        }
        // A body that fails at once ends the connection before the header has left.
        Say::Nothing => {
            let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("as told"))]);
            Body::from_stream(broken).into_response()
        }
        Say::Batch => {
            let calls: Value = serde_json::from_slice(asked).unwrap_or_default();
            results(calls["calls"].as_array().map_or(0, Vec::len))
        }
        Say::Results(count) => results(count),
    }
}

fn results(count: usize) -> Response {
    let one = json!({ "status": 200, "body": { "ok": "in a batch" } });
    json!({ "results": vec![one; count] }).to_string().into_response()
}
