//! The whole language while the coordinator dies at every moment: conditions, items of a list, child sagas, a pivot
//! and what comes after it, sagas that are sent back, and open sagas that are committed and rolled back.
//!
//! What only this shows: that a child and its parent agree on their end however often the word of it is lost, that a
//! saga which has completed and is reverted is undone once, and that a branch is made final or undone and never both.

use crate::{
    check::Books,
    kill_again_and_again, kills,
    ledger::{self, Effects},
    load::{Clients, Load, Seen, client},
    one_at_a_time, process,
    process::{Process, Sides},
};
use reqwest::Client;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Callers that start sagas at the same time, of each definition.
const CLIENTS: usize = 8;

/// Everything there is on the way to a pivot, and a step after it.
const WHOLE: Load =
    Load { definition: "whole", text: WHOLE_TEXT, participants: &[], input: whole_input, waited: 5 };

/// A saga that somebody sends back as soon as it has completed.
const RETURNED: Load =
    Load { definition: "returned", text: RETURNED_TEXT, participants: &[], input: whole_input, waited: 5 };

const WHOLE_TEXT: &str = r#"
saga: whole
version: 1
steps:
  - never:
      when: "${{ input.never }}"
      action: ledger.apply
      compensation: ledger.revert
  - each:
      for_each: "${{ input.list }}"
      parallel: 2
      action: ledger.apply
      with: { refuse: false, item: "${{ item }}" }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation: { operation: ledger.revert, retry: { quick: 3, attempts: 60, first: 20ms, factor: 2, max: 200ms } }
  - part:
      saga: part
      with: { refuse: "${{ input.refuse_part }}" }
  - pause:
      await: nothing
      timeout: 50ms
      default: null
  - last:
      action: ledger.apply
      with: { refuse: "${{ input.refuse }}" }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation: { operation: ledger.revert, retry: { quick: 3, attempts: 60, first: 20ms, factor: 2, max: 200ms } }
      pivot: true
  - after:
      action: ledger.apply
      with: { refuse: false }
      retry: { attempts: 60, first: 20ms, factor: 2, max: 200ms }
"#;

const RETURNED_TEXT: &str = r#"
saga: returned
version: 1
steps:
  - each:
      for_each: "${{ input.list }}"
      action: ledger.apply
      with: { refuse: false }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation: { operation: ledger.revert, retry: { quick: 3, attempts: 60, first: 20ms, factor: 2, max: 200ms } }
  - part:
      saga: part
      with: { refuse: "${{ input.refuse_part }}" }
"#;

/// A saga that waits for somebody's word between two steps.
const SIGNALLED_TEXT: &str = r#"
saga: signalled
version: 1
steps:
  - before:
      action: ledger.apply
      with: { refuse: false }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation: ledger.revert
  - go:
      await: go
      timeout: 60s
  - behind:
      action: ledger.apply
      with: { refuse: false }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation: ledger.revert
"#;

/// A saga whose first call is answered later, by a callback.
const LATER_TEXT: &str = r#"
saga: later
version: 1
steps:
  - one:
      action: ledger.apply
      with: { refuse: false, later: true }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation: ledger.revert
  - two:
      action: ledger.apply
      with: { refuse: false }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation: ledger.revert
"#;

const PART_TEXT: &str = r#"
saga: part
version: 1
steps:
  - only:
      action: ledger.apply
      with: { refuse: "${{ input.refuse }}" }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation: { operation: ledger.revert, retry: { quick: 3, attempts: 60, first: 20ms, factor: 2, max: 200ms } }
"#;

/// Of five sagas one is refused at its end, and one in its child.
fn whole_input(caller: u64, turn: u64) -> Value {
    let turn = (caller + turn) % 5;
    json!({ "never": false, "list": [1, 2, 3], "refuse": turn == 3, "refuse_part": turn == 4 })
}

#[test]
fn whatever_the_language_has_survives_kills_at_any_moment() {
    let _one = one_at_a_time();
    process::install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (begin, kills) = (Instant::now(), kills().div_ceil(2));
        let folder = tempfile::tempdir().expect("a folder");
        let sides = Sides::in_folder(folder.path(), 1);
        let mut coordinator = [Process::start(&sides.coordinators[0]).await];
        let participant = Process::start(&sides.participant).await;
        prepare(&sides).await;
        let (whole, returned) =
            (Clients::start(&sides, WHOLE, CLIENTS), Clients::start(&sides, RETURNED, CLIENTS));
        let others = Others::start(&sides);
        let lives = kill_again_and_again(&mut coordinator, &whole, kills).await;
        let seen = [whole.stop().await, returned.stop().await];
        let told = others.stop(&sides).await;
        let books = Books::read(&sides).await;
        drop((coordinator, participant));
        let tally = balance(&books, &seen, &told);
        println!("{kills} kills in {:.1} s, {lives} useful; {tally:#?}", begin.elapsed().as_secs_f64());
        tally.is_enough();
    });
}

/// Registers the participant and every definition.
pub(crate) async fn prepare(sides: &Sides) {
    let (http, url) = (client(), sides.coordinators[0].url());
    let participant = http.put(format!("{url}/v1/participants/ledger"));
    let mut requests = vec![participant.json(&ledger::registration(&sides.participant.url()))];
    for (name, text) in [
        ("part", PART_TEXT),
        ("whole", WHOLE_TEXT),
        ("returned", RETURNED_TEXT),
        ("signalled", SIGNALLED_TEXT),
        ("later", LATER_TEXT),
    ] {
        let put = http.put(format!("{url}/v1/definitions/{name}/1"));
        requests.push(put.header("content-type", "application/yaml").body(text));
    }
    for request in requests {
        let answer = request.send().await.expect("the coordinator answers");
        let (status, body) = (answer.status(), answer.text().await);
        assert!(status.is_success(), "{status}: {body:?}");
    }
}

/// Who sends sagas back, and who runs open ones.
struct Others {
    tasks: JoinSet<BTreeMap<String, bool>>,
    stop: CancellationToken,
}

impl Others {
    fn start(sides: &Sides) -> Others {
        let (stop, url, mut tasks) = (CancellationToken::new(), sides.coordinators[0].url(), JoinSet::new());
        tasks.spawn(send_back(url.clone(), stop.clone()));
        for number in 0..4 {
            tasks.spawn(open_sagas(url.clone(), number, stop.clone()));
        }
        Others { tasks, stop }
    }

    /// Lets everybody come to an end; returns of each open saga whether it was committed.
    async fn stop(mut self, sides: &Sides) -> BTreeMap<String, bool> {
        self.stop.cancel();
        let mut told = BTreeMap::new();
        while let Some(ended) = self.tasks.join_next().await {
            told.extend(ended.expect("nobody fails"));
        }
        // What completed last is sent back as well.
        let url = sides.coordinators[0].url();
        let begin = Instant::now();
        while send_some_back(&client(), &url).await != Some(0) && begin.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        told
    }
}

async fn send_back(url: String, stop: CancellationToken) -> BTreeMap<String, bool> {
    let http = client();
    while !stop.is_cancelled() {
        send_some_back(&http, &url).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    BTreeMap::new()
}

/// Reverts a page of those that can be; says how many have not ended so yet, if anybody answers.
async fn send_some_back(http: &Client, url: &str) -> Option<usize> {
    let list = format!("{url}/v1/sagas?definition=returned&status=completed,running&limit=20");
    let page: Value = http.get(list).send().await.ok()?.json().await.ok()?;
    let sagas = page["items"].as_array()?;
    for saga in sagas.iter().filter(|saga| saga["status"] == "completed") {
        let id = saga["id"].as_str()?;
        let asked = http.post(format!("{url}/v1/sagas/{id}/revert")).json(&json!({ "reason": "sent back" }));
        if let Ok(answer) = asked.send().await {
            let (status, said) = (answer.status().as_u16(), answer.text().await.unwrap_or_default());
            // An earlier request may have reverted it although its answer was lost.
            let is_good = matches!(status, 200 | 503) || said.contains("\"reverted\":true");
            assert!(is_good, "a revert was answered {status}: {said}");
        }
    }
    Some(sagas.len())
}

async fn open_sagas(url: String, number: u64, stop: CancellationToken) -> BTreeMap<String, bool> {
    let (http, mut told) = (client(), BTreeMap::new());
    for turn in 0_u64.. {
        if stop.is_cancelled() {
            break;
        }
        let begin = json!({ "timeout": "60s", "key": format!("open-{number}-{turn}") });
        let saga = ask(&http, &format!("{url}/v1/sagas/open"), &begin).await;
        let id = saga["id"].as_str().expect("an id").to_owned();
        for name in ["one", "two"] {
            let branch = json!({
                "name": name, "compensation": "ledger.revert", "confirm": "ledger.apply", "with": { "refuse": false },
            });
            ask(&http, &format!("{url}/v1/sagas/{id}/branches"), &branch).await;
        }
        let commits = turn % 3 != 0;
        let verb = if commits { "commit" } else { "rollback" };
        ask(&http, &format!("{url}/v1/sagas/{id}/{verb}"), &json!({})).await;
        told.insert(id, commits);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    told
}

/// Asks until there is an answer, which must be a good one.
pub(crate) async fn ask(http: &Client, url: &str, body: &Value) -> Value {
    loop {
        if let Ok(answer) = http.post(url).json(body).send().await {
            let status = answer.status();
            if let Ok(said) = answer.json::<Value>().await {
                match status.as_u16() {
                    200..=202 => return said,
                    // The answer to an earlier request was lost.
                    409 if said["reverted"] == true => return said,
                    429 | 503 => {}
                    _ => panic!("{url} was answered {status}: {said:#}"),
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    acknowledged: usize,
    completed: usize,
    compensated: usize,
    reverted: usize,
    committed: usize,
    rolled_back: usize,
    children: usize,
    taken_over: usize,
}

impl Tally {
    fn is_enough(&self) {
        let all = [self.completed, self.compensated, self.reverted, self.committed, self.rolled_back];
        assert!(all.iter().all(|count| *count >= 10), "too little was done");
        assert!(self.children >= 40 && self.taken_over >= 10, "too little was done");
    }
}

/// Holds what was told, the journals and the effects against each other.
pub(crate) fn balance(books: &Books, seen: &[Seen], open: &BTreeMap<String, bool>) -> Tally {
    let mut tally = Tally::default();
    for told in seen.iter().flat_map(|seen| seen.acknowledged.values()) {
        assert!(books.sagas.contains_key(&told.id), "saga {} was acknowledged and is forgotten", told.id);
        tally.acknowledged += 1;
    }
    for id in books.effects.keys() {
        assert!(books.sagas.contains_key(id), "the ledger holds effects of saga {id}, which nobody knows");
    }
    for (id, (saga, journal)) in &books.sagas {
        let kinds: Vec<&str> = journal.iter().map(|item| item["type"].as_str().unwrap_or_default()).collect();
        let gapless = journal.iter().zip(1_u64..).all(|(item, seq)| item["seq"] == seq);
        assert!(gapless, "the journal of saga {id} has a gap: {kinds:?}");
        tally.taken_over += kinds.iter().filter(|kind| **kind == "taken_over").count();
        let none = Effects::new();
        let effects = books.effects.get(id).unwrap_or(&none);
        let about = || format!("{saga:#}\n{journal:#?}\n{effects:?}");
        let (name, status) =
            (saga["definition"].as_str().unwrap_or(""), saga["status"].as_str().unwrap_or(""));
        let input = &saga["input"];
        let (refuse, refuse_part) = (input["refuse"] == true, input["refuse_part"] == true);
        match name {
            "whole" => {
                let expected = if refuse || refuse_part { "compensated" } else { "completed" };
                assert_eq!(status, expected, "{}", about());
            }
            "returned" => assert_eq!(status, "compensated", "{}", about()),
            "signalled" | "later" => assert_eq!(status, "completed", "{}", about()),
            "part" => parted(books, saga, &about()),
            _ => {
                let committed = open.get(id).copied();
                let expected = if committed == Some(true) { "completed" } else { "compensated" };
                assert_eq!(status, expected, "{}", about());
                tally.committed += usize::from(status == "completed");
                tally.rolled_back += usize::from(status == "compensated");
            }
        }
        assert_eq!(*effects, expected(name, status, input, effects), "{}", about());
        tally.children += usize::from(name == "part");
        tally.completed += usize::from(name == "whole" && status == "completed");
        tally.compensated += usize::from(name == "whole" && status == "compensated");
        tally.reverted += usize::from(saga["error"]["kind"] == "reverted");
    }
    tally
}

/// A child stands where its parent does.
fn parted(books: &Books, child: &Value, about: &str) {
    let parent = child["parent"]["saga"].as_str().unwrap_or_default();
    let Some((parent, _)) = books.sagas.get(parent) else { panic!("a child without a parent: {about}") };
    assert_eq!(child["status"], parent["status"], "{about}\n{parent:#}");
}

/// The effects that a saga of this definition and status must have, given which of its calls took effect at all.
fn expected(name: &str, status: &str, input: &Value, found: &Effects) -> Effects {
    let key = |step: &str, op: &str| (step.to_owned(), op.to_owned());
    let actions = |steps: &[&str]| steps.iter().map(|step| (key(step, "action"), 1)).collect();
    match (name, status) {
        ("whole", "completed") => {
            let items = (0..input["list"].as_array().map_or(0, Vec::len)).map(|i| format!("each[{i}]"));
            let steps = items.chain(["last", "after"].map(str::to_owned));
            steps.map(|step| ((step, "action".to_owned()), 1)).collect()
        }
        ("part", "completed") => actions(&["only"]),
        ("signalled", "completed") => actions(&["before", "behind"]),
        ("later", "completed") => actions(&["one", "two"]),
        ("open", "completed") => ["one", "two"].map(|step| (key(step, "confirm"), 1)).into(),
        // Nobody did the branches' work, so there is nothing to undo.
        ("open", _) => Effects::new(),
        _ => {
            let done = found.keys().filter(|(_, op)| op == "action");
            done.flat_map(|(step, _)| [(key(step, "action"), 1), (key(step, "compensation"), 1)]).collect()
        }
    }
}
