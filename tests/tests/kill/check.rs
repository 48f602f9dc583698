//! The books at the end: what the callers were told, what the coordinator says, and what the ledger holds.

use crate::{
    ledger::{self, Effects},
    load::{Seen, client},
    process::Sides,
};
use futures::{StreamExt, stream};
use reqwest::Client;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// How long everything may take to end once nobody is killed any more: a breaker that is unlucky with its first five probes
/// is open for more than two minutes.
const HEALING: Duration = Duration::from_secs(300);

/// Everything there is to compare.
#[derive(Debug)]
pub(crate) struct Books {
    /// Every saga of the coordinator, by id, with its journal.
    pub(crate) sagas: BTreeMap<String, (Value, Vec<Value>)>,
    pub(crate) effects: BTreeMap<String, Effects>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sagas: usize,
    pub(crate) completed: usize,
    pub(crate) compensated: usize,
    pub(crate) ends_kept: usize,
    pub(crate) effects: u64,
    pub(crate) taken_over: usize,
    pub(crate) attempts_failed: usize,
}

impl Books {
    /// Waits until every saga has ended, and reads everything.
    pub(crate) async fn read(sides: &Sides) -> Books {
        let (http, url) = (client(), sides.coordinators[0].url());
        until_all_have_ended(&http, &url, &sides.participant.url()).await;
        let sagas = every(&http, &format!("{url}/v1/sagas?limit=500")).await;
        let journals = stream::iter(sagas).map(|saga| with_journal(&http, &url, saga)).buffer_unordered(16);
        Books { sagas: journals.collect().await, effects: ledger::effects(&sides.participant.file).await }
    }

    /// Holds everything against everything.
    pub(crate) fn balance(&self, seen: &Seen) -> Tally {
        let mut tally = Tally { sagas: self.sagas.len(), ..Tally::default() };
        self.nothing_is_forgotten(seen, &mut tally);
        for (id, (saga, journal)) in &self.sagas {
            journal_is_whole(id, journal, &mut tally);
            let none = Effects::new();
            let effects = self.effects.get(id).unwrap_or(&none);
            tally.effects += effects.values().sum::<u64>();
            let status = saga["status"].as_str().unwrap_or_default();
            assert_eq!(*effects, expected(status, effects), "effects of {status} saga {id}: {journal:#?}");
        }
        for id in self.effects.keys() {
            assert!(self.sagas.contains_key(id), "the ledger holds effects of saga {id}, which nobody knows");
        }
        tally
    }

    /// Every acknowledged start has its saga, once, ended as it had to, and an end that was told is kept.
    fn nothing_is_forgotten(&self, seen: &Seen, tally: &mut Tally) {
        let keys: BTreeSet<&str> = self.sagas.values().filter_map(|(saga, _)| saga["key"].as_str()).collect();
        assert_eq!(keys.len(), self.sagas.len(), "two sagas have the same key, or one has none");
        for (key, told) in &seen.acknowledged {
            let Some((saga, _)) = self.sagas.get(&told.id) else {
                panic!("saga {} of key {key} was acknowledged and is forgotten", told.id);
            };
            let is_refused = told.input["refuse"] == true;
            let status = if is_refused { "compensated" } else { "completed" };
            assert_eq!((saga["key"].as_str(), saga["status"].as_str()), (Some(key.as_str()), Some(status)));
            if told.status == "completed" || told.status == "compensated" {
                assert_eq!(told.status, status, "saga {}: an end was told and another came", told.id);
                tally.ends_kept += 1;
            }
            tally.completed += usize::from(!is_refused);
            tally.compensated += usize::from(is_refused);
        }
    }
}

/// The effects a saga of this status must have, given which of its calls took effect at all.
///
/// Completed: every action once. Compensated: what was done, once, and for each of it one undo.
fn expected(status: &str, found: &Effects) -> Effects {
    let key = |step: &str, op: &str| (step.to_owned(), op.to_owned());
    match status {
        "completed" => ["first", "second", "third"].map(|step| (key(step, "action"), 1)).into(),
        "compensated" => ["first", "second"]
            .into_iter()
            .filter(|step| found.contains_key(&key(step, "action")))
            .flat_map(|step| [(key(step, "action"), 1), (key(step, "compensation"), 1)])
            .collect(),
        other => panic!("a saga has not ended: {other}"),
    }
}

/// Sequence numbers from 1 without a gap, one beginning, one end, and the end last.
pub(crate) fn journal_is_whole(id: &str, journal: &[Value], tally: &mut Tally) {
    let kinds: Vec<&str> = journal.iter().map(|item| item["type"].as_str().unwrap_or_default()).collect();
    for (item, seq) in journal.iter().zip(1_u64..) {
        assert_eq!(item["seq"], seq, "the journal of saga {id} has a gap: {kinds:?}");
    }
    let ends = |kind: &&&str| matches!(**kind, "completed" | "compensated" | "abandoned");
    assert_eq!(kinds.first(), Some(&"started"), "saga {id}: {kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "started").count(), 1, "saga {id}: {kinds:?}");
    assert_eq!(kinds.iter().filter(ends).count(), 1, "saga {id}: {kinds:?}");
    assert!(kinds.last().as_ref().is_some_and(ends), "saga {id}: {kinds:?}");
    tally.taken_over += kinds.iter().filter(|kind| **kind == "taken_over").count();
    tally.attempts_failed += kinds.iter().filter(|kind| **kind == "call_failed").count();
}

async fn until_all_have_ended(http: &Client, url: &str, participant: &str) {
    let live = format!("{url}/v1/sagas?status=running,compensating,repair&limit=5");
    let begin = Instant::now();
    loop {
        let left = get(http, &live).await;
        if left["items"].as_array().is_some_and(Vec::is_empty) {
            return;
        }
        if begin.elapsed() >= HEALING {
            let id = left["items"][0]["id"].as_str().unwrap_or_default();
            let journal = get(http, &format!("{url}/v1/sagas/{id}/journal?limit=500")).await;
            let saga = get(http, &format!("{url}/v1/sagas/{id}")).await;
            let participants = get(http, &format!("{url}/v1/participants")).await;
            let metrics = http.get(format!("{participant}/metrics")).send().await.expect("it still answers");
            let metrics = metrics.text().await.expect("its figures");
            panic!(
                "after {HEALING:?} sagas have not ended: {left:#}; {participants:#}; the first: {saga:#}\n{journal:#}\n\
                 the participant: {metrics}"
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Reads a whole list, page after page; `url` has a query already.
pub(crate) async fn every(http: &Client, url: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(http, &format!("{url}{cursor}")).await;
        items.extend(page["items"].as_array().expect("items").iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

async fn with_journal(http: &Client, url: &str, saga: Value) -> (String, (Value, Vec<Value>)) {
    let id = saga["id"].as_str().expect("an id").to_owned();
    let page = get(http, &format!("{url}/v1/sagas/{id}/journal?limit=500")).await;
    assert!(page["next"].is_null(), "saga {id} has an endless journal");
    (id, (saga, page["items"].as_array().expect("items").clone()))
}

pub(crate) async fn get(http: &Client, url: &str) -> Value {
    let response = http.get(url).send().await.expect("the coordinator answers");
    assert!(response.status().is_success(), "{url}: {}", response.status());
    response.json().await.expect("JSON")
}
