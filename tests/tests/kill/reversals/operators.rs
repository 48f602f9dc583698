//! Two people at the repair queue who do not know of each other: each acts on every item either is shown.

use crate::{load::client, process::Sides};
use futures::{StreamExt, stream};
use reqwest::Client;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Who they are.
pub(super) const NAMES: [&str; 2] = ["ada", "bob"];

/// Between two looks at the queue, and before a verb without an answer is repeated.
const PAUSE: Duration = Duration::from_millis(20);

/// Verbs that one person gives at the same time.
const AT_ONCE: usize = 8;

/// One verb that one person gave to one item, repeated until it was answered.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) item: String,
    pub(super) by: &'static str,
    /// Like no other's.
    pub(super) note: String,
    /// 200 or 409.
    pub(super) status: u16,
    /// The answer.
    pub(super) body: Value,
    /// How often it was sent without an answer before.
    pub(super) unanswered: u64,
}

/// What the two have seen and done.
#[derive(Debug, Default)]
pub(super) struct Notebook {
    /// Every item that the queue has ever shown.
    pub(super) shown: BTreeSet<String>,
    pub(super) given: Vec<Given>,
}

/// The two at work.
#[derive(Debug)]
pub(super) struct Operators {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    notebook: Arc<Mutex<Notebook>>,
}

impl Operators {
    /// Sets them to work.
    pub(super) fn start(sides: &Sides) -> Operators {
        let (stop, notebook) = (CancellationToken::new(), Arc::<Mutex<Notebook>>::default());
        let mut tasks = JoinSet::new();
        for by in NAMES {
            let url = sides.coordinators[0].url();
            let operator = Operator { by, http: client(), url, notebook: notebook.clone() };
            tasks.spawn(operator.work(stop.clone()));
        }
        Operators { tasks, stop, notebook }
    }

    /// Lets each get its last answers, and says what they did.
    pub(super) async fn stop(mut self) -> Notebook {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("an operator never fails");
        }
        std::mem::take(&mut *self.notebook.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Operator {
    by: &'static str,
    http: Client,
    url: String,
    notebook: Arc<Mutex<Notebook>>,
}

impl Operator {
    async fn work(self, stop: CancellationToken) {
        let mut done = BTreeSet::new();
        while !stop.is_cancelled() {
            let items = self.look().await.unwrap_or_default();
            let new = items.into_iter().filter(|item| done.insert(id(item)));
            let new: Vec<Value> = new.collect();
            stream::iter(new).for_each_concurrent(AT_ONCE, |item| self.act(item)).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The first page of what is not settled; `None` when nobody answers.
    async fn look(&self) -> Option<Vec<Value>> {
        let request = self.http.get(format!("{}/v1/repairs", self.url));
        let (status, page) = answer(request, &[200]).await?;
        let items = page["items"].as_array().unwrap_or_else(|| panic!("{status}: {page}")).clone();
        self.note(|notebook| notebook.shown.extend(items.iter().map(id)));
        Some(items)
    }

    /// Does about an item what its undo calls for, again and again until there is an answer.
    async fn act(&self, item: Value) {
        let (id, how) = (id(&item), item["payload"]["how"].as_str().unwrap_or_default());
        let note = format!("{} about {id}", self.by);
        let (verb, mut body) = match how {
            "dead" => {
                let mut input = item["payload"].clone();
                input["fixed"] = json!(true);
                ("retry", json!({ "input": input }))
            }
            "hand" => ("resolve", json!({})),
            "left" => ("skip", json!({})),
            other => panic!("an undo that goes \"{other}\" has an item: {item:#}"),
        };
        body["by"] = json!(self.by);
        body["note"] = json!(note);
        let mut unanswered = 0;
        let (status, body) = loop {
            let request = self.http.post(format!("{}/v1/repairs/{id}/{verb}", self.url)).json(&body);
            match answer(request, &[200, 409]).await {
                Some(answer) => break answer,
                None => unanswered += 1,
            }
            tokio::time::sleep(PAUSE).await;
        };
        let given = Given { item: id, by: self.by, note, status, body, unanswered };
        self.note(|notebook| notebook.given.push(given));
    }

    fn note(&self, note: impl FnOnce(&mut Notebook)) {
        note(&mut self.notebook.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A definite answer, or none. Anything that is neither one of these nor a plea for patience is a fault.
async fn answer(request: reqwest::RequestBuilder, definite: &[u16]) -> Option<(u16, Value)> {
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    let body: Value = response.json().await.ok()?;
    match status {
        429 | 503 => None,
        status if definite.contains(&status) => Some((status, body)),
        status => panic!("an operator was answered {status}: {body}"),
    }
}

fn id(item: &Value) -> String {
    item["id"].as_str().unwrap_or_else(|| panic!("an item without an id: {item}")).to_owned()
}
