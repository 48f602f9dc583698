//! The line between the coordinator and one service: it hands calls on, counts them, and kills the service at the one it is
//! told of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::process::{Process, Role, until_it_listens};

/// The largest body of a call, in bytes.
const BODY_MAX: usize = 1 << 20;

/// On which side of its work a service dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Before it has seen the call.
    Before,
    /// At some moment after it was sent the call.
    Amid,
    /// After it has answered, and before anybody has heard of it.
    After,
}

/// When a service dies: at which of the calls from now on, and on which side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blow {
    pub(crate) side: Side,
    /// From 1.
    pub(crate) call: u64,
}

/// A line and the process behind it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) role: Role,
    process: Mutex<Process>,
    blow: Mutex<Option<Blow>>,
    calls: AtomicU64,
    client: reqwest::Client,
}

impl Line {
    /// Starts the service, and the line on a listener that is known as the role's advertised address.
    pub(crate) async fn start(role: Role, listener: TcpListener) -> (Arc<Line>, AbortHandle) {
        let client =
            reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("a client");
        let process = Mutex::new(Process::spawn(&role));
        until_it_listens(&role).await;
        let line = Line { role, process, blow: Mutex::new(None), calls: AtomicU64::new(0), client };
        let line = Arc::new(line);
        let router = Router::new().fallback(any(pass)).with_state(line.clone());
        let serving =
            tokio::spawn(async move { axum::serve(listener, router).await.expect("the line stands") });
        (line, serving.abort_handle())
    }

    /// Counts calls anew, and kills the service at one of them.
    pub(crate) fn strike_at(&self, blow: Blow) {
        let mut planned = lock(&self.blow);
        self.calls.store(0, Ordering::SeqCst);
        *planned = Some(blow);
    }

    /// Forgets a blow that was not struck; whether there was one.
    pub(crate) fn forget_blow(&self) -> bool {
        lock(&self.blow).take().is_some()
    }

    /// How many calls were handed on, or would have been.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// The number of the process behind it.
    pub(crate) fn process(&self) -> u32 {
        lock(&self.process).id()
    }

    /// Kills the service.
    pub(crate) fn kill(&self) {
        lock(&self.process).kill();
    }

    /// Starts it again on the same address and the same file.
    pub(crate) async fn restart(&self) {
        self.kill();
        *lock(&self.process) = Process::spawn(&self.role);
        until_it_listens(&self.role).await;
    }

    /// The blow that falls on the call that comes now, if one does.
    fn struck(&self) -> Option<Side> {
        let mut planned = lock(&self.blow);
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        planned.take_if(|blow| blow.call == number).map(|blow| blow.side)
    }

    async fn hand_on(&self, method: Method, path: &str, headers: HeaderMap, body: Bytes) -> Option<Response> {
        let request =
            self.client.request(method, format!("{}{path}", self.role.url())).headers(headers).body(body);
        let answer = request.send().await.ok()?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.ok()?;
        let mut response = (status, body).into_response();
        for name in ["content-type", "retry-after"] {
            if let Some(value) = headers.get(name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        Some(response)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands a request on. A request that gets no answer from the service gets none that says anything.
async fn pass(State(line): State<Arc<Line>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let (is_call, mut headers) = (parts.method == Method::POST, parts.headers);
    headers.remove("host");
    let nothing = || StatusCode::BAD_GATEWAY.into_response();
    let side = is_call.then(|| line.struck()).flatten();
    let handing = {
        let (line, path) = (Arc::clone(&line), path.clone());
        async move { line.hand_on(parts.method, &path, headers, body).await }
    };
    match side {
        None => return handing.await.unwrap_or_else(nothing),
        Some(Side::Before) => {}
        Some(Side::After) => drop(handing.await),
        Some(Side::Amid) => {
            let under_way = tokio::spawn(handing);
            // Another moment with every call, from at once to about when it is written.
            tokio::time::sleep(Duration::from_micros(line.calls() * 700)).await;
            line.kill();
            let _ = under_way.await;
        }
    }
    line.restart().await;
    nothing()
}
