//! Each law is broken once by hand, and by nothing else.

use super::*;
use amends_wire::definition::Text;
use serde_json::{Value, json};

mod language;

const SAGA: &str = "01a1fcac-e203-741e-86ed-bc03a943ebb4";

/// A look-up, then one step after the other, of which the last does not hold those before it.
const TEXT: &str = "
saga: t
steps:
  - look: { action: p.look, read_only: true }
  - a: { action: p.a, compensation: p.na }
  - b: { action: p.b, compensation: p.nb }
  - c: { action: p.c, compensation: p.nc, unwind: eager }
";

fn parts() -> Parts {
    let text = std::sync::Arc::new(Text::read(TEXT).expect("a definition"));
    Parts::of(&text, &[]).expect("every operation is known")
}

/// A saga as the coordinator shows it, with these statuses of its steps.
fn view(status: &str, steps: [&str; 4], items: &[&str]) -> Value {
    let at = "2026-01-01T00:00:00.000Z";
    let ended = matches!(status, "completed" | "compensated").then_some(at);
    let step = |(name, status): (&str, &str)| json!({ "name": name, "kind": "call", "status": status, "action": null, "compensation": null });
    let item = |step: &&str| {
        json!({
            "id": SAGA, "kind": "step", "saga": SAGA, "definition": "t", "step": step, "op": "compensation",
            "participant": "p", "operation": "p.na", "status": "open", "reason": "exhausted", "opened_at": at,
            "first_opened_at": at, "attempts": 15, "errors": [], "payload": null, "holds": [], "assignee": null,
            "notes": [], "previous": null, "settled": null,
        })
    };
    let steps: Vec<Value> = ["look", "a", "b", "c"].into_iter().zip(steps).map(step).collect();
    let repairs: Vec<Value> = items.iter().map(item).collect();
    json!({
        "id": SAGA, "definition": "t", "version": 1, "key": "rehearsal-0", "labels": {}, "status": status, "input": {},
        "output": null, "error": null, "created_at": at, "updated_at": at, "ended_at": ended, "deadline_at": null,
        "steps": steps, "repairs": repairs,
    })
}

fn journal(kinds: &[(u64, &str)]) -> Vec<JournalItem> {
    let item = |(seq, kind): &(u64, &str)| {
        let item = json!({ "seq": seq, "at": "2026-01-01T00:00:00.000Z", "type": kind });
        serde_json::from_value(item).expect("an item")
    };
    kinds.iter().map(item).collect()
}

/// Effects written as `+a` applied, `-a` undone and `!a` barred, in their order.
fn effects(written: &str) -> Vec<Effect> {
    let one = |(place, word): (u64, &str)| {
        let what = match &word[..1] {
            "+" => What::Applied,
            "-" => What::Undone,
            _ => What::Barred,
        };
        let saga = SAGA.parse().expect("an id");
        Effect { saga, step: word[1..].to_owned(), what, began: place, ended: place }
    };
    (1..).zip(written.split_whitespace()).map(one).collect()
}

/// The laws that are broken by a saga with this status and these effects, where the queue lists its items.
fn check(view: Option<Value>, journal_of: &[(u64, &str)], done: &str, expected: &[Law]) {
    let listed = view.as_ref().map_or_else(|| json!([]), |view| view["repairs"].clone());
    check_listed(view, journal_of, done, listed, expected);
}

fn check_listed(
    view: Option<Value>,
    journal_of: &[(u64, &str)],
    done: &str,
    listed: Value,
    expected: &[Law],
) {
    let view = view.map(|view| serde_json::from_value::<SagaView>(view).expect("a saga"));
    let queue: Vec<RepairView> = serde_json::from_value(listed).expect("items");
    let endings = [Ending {
        number: 0,
        id: SAGA.parse().expect("an id"),
        path: String::new(),
        view,
        journal: journal(journal_of),
    }];
    let seen = Content { effects: effects(done), ..Content::default() };
    let exact = ["look", "a", "b", "c"].map(str::to_owned).into();
    let parts = parts();
    let evidence = Evidence {
        parts: &parts,
        endings: &endings,
        queue: &queue,
        seen: &seen,
        exact: &exact,
        expected: None,
    };
    let broken: BTreeSet<Law> = judge(&evidence).breaches.iter().map(|breach| breach.law).collect();
    assert_eq!(broken, expected.iter().copied().collect(), "{done}");
}

const COMPLETED: [&str; 4] = ["done"; 4];
const UNDONE: [&str; 4] = ["done", "compensated", "compensated", "compensated"];

fn completed(done: &str, expected: &[Law]) {
    check(Some(view("completed", COMPLETED, &[])), &[(1, "started"), (2, "completed")], done, expected);
}

fn compensated(done: &str, expected: &[Law]) {
    check(Some(view("compensated", UNDONE, &[])), &[(1, "started"), (2, "compensated")], done, expected);
}

#[test]
fn what_went_well_breaks_no_law() {
    completed("+look +a +b +c", &[]);
    compensated("+look +a +b +c -c -b -a", &[]);
    compensated("+look +a !b -a", &[]);
    compensated("!a", &[]);
}

#[test]
fn a_completed_saga_has_everything_once() {
    completed("+look +a +c", &[Law::CompletedIsDone]);
    completed("+look +a +b +c +b", &[Law::AtMostOnce]);
    completed("+look +a +b +c -c", &[Law::CompletedIsDone]);
}

#[test]
fn a_compensated_saga_has_nothing_and_was_undone_backwards() {
    compensated("+look +a +b +c -c -b", &[Law::CompensatedIsUndone]);
    compensated("+look +a +b -a -b", &[Law::ReverseOrder]);
    compensated("+look +a -a -a", &[Law::AtMostOnce]);
    compensated("+look +a -b -a", &[Law::UndoneWasDone]);
    compensated("+look +a -a +a", &[Law::AtMostOnce, Law::NothingAfterUndo]);
    compensated("!a +a", &[Law::CompensatedIsUndone, Law::NothingAfterUndo]);
    // The last step lets those before it go on.
    compensated("+look +a +b +c -b -a -c", &[]);
}

#[test]
fn a_saga_in_repair_has_one_item_for_each_stuck_step() {
    let stuck = |items: &[&str], expected: &[Law]| {
        let view = view("repair", ["done", "done", "parked", "compensated"], items);
        check(Some(view), &[(1, "started")], "+look +a +b +c -c", expected);
    };
    stuck(&["b"], &[]);
    stuck(&[], &[Law::StuckIsQueued]);
    stuck(&["b", "b"], &[Law::StuckIsQueued]);
}

#[test]
fn the_queue_lists_the_items_of_the_sagas_and_no_others() {
    let listed = |is: &[&str], listed: &[&str], expected: &[Law]| {
        let steps = ["done", "done", if is.is_empty() { "compensated" } else { "parked" }, "compensated"];
        let view = |items: &[&str]| view("repair", steps, items);
        let listed = view(listed)["repairs"].clone();
        check_listed(Some(view(is)), &[(1, "started")], "+look +a +b +c -c", listed, expected);
    };
    listed(&["b"], &["b"], &[]);
    listed(&["b"], &[], &[Law::StuckIsQueued]);
    listed(&["b"], &["b", "a"], &[Law::StuckIsQueued]);
    listed(&[], &["b"], &[Law::StuckIsQueued]);
}

#[test]
fn a_saga_has_an_end_and_a_whole_journal() {
    let journal = [(1, "started")];
    check(None, &[], "", &[Law::NothingLost]);
    let standing = view("compensating", ["done", "compensating", "compensated", "pending"], &[]);
    check(Some(standing), &journal, "", &[Law::EverySagaEnds]);
    let moving = view("repair", ["done", "compensating", "done", "parked"], &["c"]);
    check(Some(moving), &journal, "+look +a +b +c", &[Law::EverySagaEnds]);
    let ended = || Some(view("completed", COMPLETED, &[]));
    check(ended(), &journal, "+look +a +b +c", &[Law::JournalIsWhole]);
    check(ended(), &[(1, "started"), (3, "completed")], "+look +a +b +c", &[Law::JournalIsWhole]);
}

#[test]
fn an_effect_of_an_unknown_saga_is_one_that_was_lost() {
    let seen = Content { effects: effects("+a"), ..Content::default() };
    let (parts, exact) = (parts(), BTreeSet::new());
    let evidence =
        Evidence { parts: &parts, endings: &[], queue: &[], seen: &seen, exact: &exact, expected: None };
    let breaches = judge(&evidence).breaches;
    assert_eq!(breaches.len(), 1);
    assert_eq!((breaches[0].law, breaches[0].saga), (Law::NothingLost, None));
}
