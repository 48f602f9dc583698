//! Reversals that fail, and the people who put them right, while the coordinator dies at every moment.
//!
//! A saga's input says how the undo of one of its steps goes: it `fails` a few times and then works, is `dead`
//! until somebody sends another body, is done by `hand`, or is `left`. Two operators act on every item at the
//! same time and know nothing of each other; each repeats a verb until it is answered. What only this shows:
//! that an answer to a verb is on the disk, that of two verbs one takes effect however often either is sent,
//! that a parked saga which nobody holds in memory is found again after a crash, and that no failure which
//! passes by itself ever becomes somebody's work.

mod books;
mod operators;

use crate::{
    check::{self, Books},
    kill_again_and_again, kills,
    load::{self, Clients, Load, Seen, client},
    one_at_a_time, process,
    process::{Process, Sides},
};
use books::{Reversals, Tally};
use operators::Operators;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Callers that start sagas at the same time.
const CLIENTS: usize = 8;

/// Two steps whose undo goes as the input says, and a third that is always refused.
///
/// The undo has a name of its own, so that a breaker that opens because of it does not hold up the actions.
const STUCK: Load = Load {
    definition: "stuck",
    text: STUCK_TEXT,
    participants: &["ledger", "moody"],
    input: stuck_input,
    waited: u64::MAX,
};

const STUCK_TEXT: &str = r#"
saga: stuck
version: 1
steps:
  - first:
      action: ledger.apply
      with: { refuse: false }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation:
        operation: moody.revert
        with: { how: "${{ input.first }}", fails: "${{ input.fails }}" }
        retry: { quick: 3, attempts: 8, first: 20ms, factor: 2, max: 200ms }
  - second:
      action: ledger.apply
      with: { refuse: false }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation:
        operation: moody.revert
        with: { how: "${{ input.second }}", fails: "${{ input.fails }}" }
        retry: { quick: 3, attempts: 8, first: 20ms, factor: 2, max: 200ms }
  - third:
      action: ledger.apply
      with: { refuse: true }
      retry: { attempts: 40, first: 20ms, factor: 2, max: 200ms }
      compensation: ledger.revert
"#;

/// Every way in its turn, on either step: before the other one's undo, and after it.
///
/// Few fail and most of them not often: where nothing but failures is left the breaker opens, rightly, and what
/// is left takes its time.
fn stuck_input(caller: u64, turn: u64) -> Value {
    let turn = caller + turn;
    let how = ["fails", "dead", "hand", "left", "dead", "hand"][turn as usize % 6];
    let (first, second) = if (turn / 6).is_multiple_of(2) { (how, "well") } else { ("well", how) };
    let times = [1, 2, 1, 4, 1, 3][(caller + turn / 6) as usize % 6];
    json!({ "first": first, "second": second, "fails": times })
}

#[test]
fn reversals_that_fail_end_once_as_somebody_decided_although_the_coordinator_is_killed_again_and_again() {
    let _one = one_at_a_time();
    process::install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (begin, kills) = (Instant::now(), kills().div_ceil(2));
        let folder = tempfile::tempdir().expect("a folder");
        let sides = Sides::in_folder(folder.path(), 1);
        let mut coordinator = [Process::start(&sides.coordinators[0]).await];
        let participant = Process::start(&sides.participant).await;
        load::prepare(&sides, STUCK).await;
        let operators = Operators::start(&sides);
        let clients = Clients::start(&sides, STUCK, CLIENTS);
        let lives = kill_again_and_again(&mut coordinator, &clients, kills).await;
        let seen = clients.stop().await;
        let killed = begin.elapsed();
        let reversals = in_peace(&sides, operators).await;
        drop((coordinator, participant));
        let tally = reversals.balance(&seen);
        report(kills, lives, &seen, &tally, killed, begin.elapsed());
    });
}

/// Waits until everything has ended with the operators' help, and reads everything.
async fn in_peace(sides: &Sides, operators: Operators) -> Reversals {
    let books = Books::read(sides).await;
    let notebook = operators.stop().await;
    let (http, url) = (client(), sides.coordinators[0].url());
    let left = check::get(&http, &format!("{url}/v1/repairs")).await;
    assert_eq!(left["items"], json!([]), "the queue is not empty");
    let summary = check::get(&http, &format!("{url}/v1/repairs/summary")).await;
    let counts = [&summary["open"], &summary["assigned"], &summary["retrying"]];
    assert_eq!(counts, [0, 0, 0], "{summary:#}");
    let settled = check::every(&http, &format!("{url}/v1/repairs?status=settled&limit=100")).await;
    let read = settled.len();
    let by_id = |item: Value| (item["id"].as_str().expect("an id").to_owned(), item);
    let reversals = Reversals { books, settled: settled.into_iter().map(by_id).collect(), notebook };
    assert_eq!(reversals.settled.len(), read, "the queue shows an item twice");
    reversals
}

fn report(kills: u64, lives: u64, seen: &Seen, tally: &Tally, killed: Duration, took: Duration) {
    println!(
        "{kills} kills in {:.1} s, healed and read after {:.1} s; in {lives} lives a saga was acknowledged\n\
         {} acknowledged, {:?}; {} starts without an answer, {} answered as repeats\n\
         {} items, {} parked again; {} verbs told yes, {} told no; {} sent again for want of an answer, {} of them \
         told yes\n\
         {} effects, {} take-overs, {} failed attempts",
        killed.as_secs_f64(),
        took.as_secs_f64(),
        seen.acknowledged.len(),
        tally.by_how,
        seen.unanswered,
        seen.repeats,
        tally.items,
        tally.parked_again,
        tally.told,
        tally.lost,
        tally.repeated,
        tally.repeated_and_done,
        tally.effects,
        tally.of_sagas.taken_over,
        tally.of_sagas.attempts_failed,
    );
    assert!(lives * 2 > kills, "most lives did nothing: {lives} of {kills}");
    for how in ["fails", "dead", "hand", "left"] {
        assert!(tally.by_how.get(how).is_some_and(|sagas| *sagas >= 20), "too few undos go \"{how}\"");
    }
    assert!(tally.lost >= 20, "the operators hardly met");
    assert!(tally.repeated >= 10 && tally.repeated_and_done > 0, "hardly a verb met a kill");
    assert!(tally.of_sagas.attempts_failed > 0, "no call was ever disturbed");
}
