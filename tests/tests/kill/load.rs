//! Callers that start sagas, each under a key of its own, and repeat a start until it is answered.

use crate::{
    ledger,
    process::{Role, Sides},
};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Three steps; the last is refused when the input says so, and then the first two are undone.
pub(crate) const TRIP: Load =
    Load { definition: "trip", text: TRIP_TEXT, participants: &["ledger"], input: trip_input, waited: 4 };

const TRIP_TEXT: &str = r#"
saga: trip
version: 1
steps:
  - first:
      action: ledger.apply
      with: { refuse: false }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation: { operation: ledger.revert, retry: { quick: 3, attempts: 60, first: 20ms, factor: 2, max: 200ms } }
  - second:
      action: ledger.apply
      with: { refuse: false }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation: { operation: ledger.revert, retry: { quick: 3, attempts: 60, first: 20ms, factor: 2, max: 200ms } }
  - third:
      action: ledger.apply
      with: { refuse: "${{ input.refuse }}" }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation: { operation: ledger.revert, retry: { quick: 3, attempts: 60, first: 20ms, factor: 2, max: 200ms } }
"#;

/// Between two starts of one caller.
const PAUSE: Duration = Duration::from_millis(100);

/// What the callers start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// The definition's name.
    pub(crate) definition: &'static str,
    /// The definition, of version 1.
    pub(crate) text: &'static str,
    /// The names under which the one participant is registered.
    pub(crate) participants: &'static [&'static str],
    /// A saga's input, by the number of its caller and the turn of that caller.
    pub(crate) input: fn(u64, u64) -> Value,
    /// One saga in this many is waited for.
    pub(crate) waited: u64,
}

/// What a caller was told of a saga.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) id: String,
    /// What it was started with.
    pub(crate) input: Value,
    /// Its status as the answer said.
    pub(crate) status: String,
}

/// Everything the callers saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// By key.
    pub(crate) acknowledged: BTreeMap<String, Told>,
    /// Starts that were answered with nothing, or with 5xx.
    pub(crate) unanswered: u64,
    /// Starts that were answered as repeats.
    pub(crate) repeats: u64,
}

/// Callers at work.
#[derive(Debug)]
pub(crate) struct Clients {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    count: Arc<AtomicU64>,
    seen: Arc<Mutex<Seen>>,
}

/// One trip in three is refused.
fn trip_input(caller: u64, turn: u64) -> Value {
    json!({ "refuse": (turn + caller).is_multiple_of(3) })
}

/// Registers the participant, under each of its names, and the definition.
pub(crate) async fn prepare(sides: &Sides, load: Load) {
    let client = client();
    let url = sides.coordinators[0].url();
    let put = |path: String| client.put(format!("{url}{path}"));
    let registration = ledger::registration(&sides.participant.url());
    let mut requests: Vec<reqwest::RequestBuilder> = Vec::new();
    for name in load.participants {
        requests.push(put(format!("/v1/participants/{name}")).json(&registration));
    }
    let definition = put(format!("/v1/definitions/{}/1", load.definition));
    requests.push(definition.header("content-type", "application/yaml").body(load.text));
    for request in requests {
        let answer = request.send().await.expect("the coordinator answers");
        let (status, body) = (answer.status(), answer.text().await);
        assert_eq!(status, StatusCode::CREATED, "{body:?}");
    }
}

/// A client that gives up before the coordinator would.
pub(crate) fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().expect("a client")
}

impl Clients {
    /// Sets this many callers to work.
    pub(crate) fn start(sides: &Sides, load: Load, count: usize) -> Clients {
        let (stop, seen) = (CancellationToken::new(), Arc::<Mutex<Seen>>::default());
        let acknowledged = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        let http = client();
        for number in 0..count {
            let caller = Caller {
                number,
                load,
                http: http.clone(),
                urls: sides.coordinators.iter().map(Role::url).collect(),
                seen: seen.clone(),
                count: acknowledged.clone(),
            };
            tasks.spawn(caller.work(stop.clone()));
        }
        Clients { tasks, stop, count: acknowledged, seen }
    }

    /// How many sagas were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Lets every caller get its last answer, and says what they saw.
    pub(crate) async fn stop(mut self) -> Seen {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a caller never fails");
        }
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Caller {
    number: usize,
    load: Load,
    http: Client,
    urls: Vec<String>,
    seen: Arc<Mutex<Seen>>,
    count: Arc<AtomicU64>,
}

impl Caller {
    async fn work(self, stop: CancellationToken) {
        let mut turn = 0;
        while !stop.is_cancelled() {
            let key = format!("{}-{}-{turn}", self.load.definition, self.number);
            let input = (self.load.input)(self.number as u64, turn);
            let told = self.until_answered(&key, input, turn % self.load.waited == 0).await;
            self.note(|seen| drop(seen.acknowledged.insert(key, told)));
            self.count.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
            turn += 1;
        }
    }

    /// Starts a saga, and starts it again with the same key until there is an answer.
    async fn until_answered(&self, key: &str, input: Value, wait: bool) -> Told {
        let body = json!({ "definition": self.load.definition, "input": input, "key": key });
        let query = if wait { "?wait=5s" } else { "" };
        // Whoever gives no answer, the next one is asked.
        for url in self.urls.iter().cycle().skip(self.number) {
            let request = self.http.post(format!("{url}/v1/sagas{query}")).json(&body);
            match answer(request).await {
                Ok((status, saga)) => {
                    self.note(|seen| seen.repeats += u64::from(status == StatusCode::OK));
                    let text = |member: &str| saga[member].as_str().expect("a text").to_owned();
                    return Told { id: text("id"), input, status: text("status") };
                }
                Err(()) => self.note(|seen| seen.unanswered += 1),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        unreachable!("a cycle has no end")
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A definite answer, or none. Anything that is neither a saga nor a plea for patience is a fault.
async fn answer(request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), ()> {
    let response = request.send().await.map_err(drop)?;
    let status = response.status();
    let body: Value = response.json().await.map_err(drop)?;
    match status.as_u16() {
        200..=202 => Ok((status, body)),
        429 | 503 => Err(()),
        _ => panic!("a start was answered with {status}: {body}"),
    }
}
