//! Lists, children and what stands in repair: each law broken once by hand, and by nothing else.

use super::*;
use std::sync::Arc;

const CHILD: &str = "01a1fcac-e203-741e-86ed-bc03a943ebb5";

/// A list done two items at a time, and behind it a saga of two steps.
const ROOT: &str = "
saga: root
steps:
  - look: { action: p.look, read_only: true, with: {} }
  - hold: { for_each: [1, 2, 3], parallel: 2, action: p.hold, compensation: p.free, with: {} }
  - run: { saga: leaf, with: {} }
";

const LEAF: &str = "
saga: leaf
steps:
  - a: { action: p.a, compensation: p.na, with: {} }
  - b: { action: p.b, compensation: p.nb, with: {} }
";

fn parts() -> Parts {
    let text = |source: &str| Arc::new(Text::read(source).expect("a definition"));
    Parts::of(&text(ROOT), &[text(LEAF)]).expect("everything is there")
}

/// A step as it is shown: its name, its status, and what else is shown of it.
fn step(name: &str, status: &str, more: Value) -> Value {
    let op = json!({ "operation": "p.x", "status": "done", "attempts": 1, "output": null, "last_error": null,
        "next_attempt_at": null });
    let mut step =
        json!({ "name": name, "kind": "call", "status": status, "action": op, "compensation": null });
    step.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    step
}

fn shown(id: &str, definition: &str, status: &str, steps: Vec<Value>, stuck: &[(&str, &str)]) -> SagaView {
    let mut shown = view(status, ["done"; 4], &[]);
    let template = view("repair", ["done"; 4], &["a"])["repairs"][0].clone();
    let repairs = stuck.iter().map(|(saga, step)| {
        let mut item = template.clone();
        (item["saga"], item["step"]) = (json!(saga), json!(step));
        item
    });
    shown["repairs"] = repairs.collect();
    (shown["id"], shown["definition"], shown["steps"]) = (json!(id), json!(definition), json!(steps));
    serde_json::from_value(shown).expect("a saga")
}

/// The rehearsed saga with these statuses of itself, of its list, of the three items, and of the step that runs a saga.
fn root(status: &str, list: &str, items: [&str; 3], run: &str, stuck: &[(&str, &str)]) -> SagaView {
    let mut steps = vec![step("look", "done", json!({})), step("hold", list, json!({ "items": 3 }))];
    for (at, status) in items.into_iter().enumerate() {
        steps.push(step(&format!("hold[{at}]"), status, json!({})));
    }
    steps.push(step("run", run, json!({ "kind": "saga", "child": CHILD })));
    shown(SAGA, "root", status, steps, stuck)
}

fn leaf(status: &str, steps: [&str; 2], stuck: &[(&str, &str)]) -> SagaView {
    let steps = ["a", "b"].into_iter().zip(steps).map(|(name, status)| step(name, status, json!({})));
    shown(CHILD, "leaf", status, steps.collect(), stuck)
}

/// Effects as [`effects`] has them; those of `a` and `b` are the child's.
fn done(written: &str) -> Vec<Effect> {
    let saga = |step: &str| if ["a", "b"].contains(&step) { CHILD } else { SAGA };
    let of = |effect: Effect| Effect { saga: saga(&effect.step).parse().expect("an id"), ..effect };
    effects(written).into_iter().map(of).collect()
}

fn ending(view: SagaView, path: &str) -> Ending {
    let last = match view.status {
        Status::Completed => "completed",
        Status::Compensated => "compensated",
        _ => "call_started",
    };
    let journal = journal(&[(1, "started"), (2, last)]);
    Ending { number: 0, id: view.id, path: path.to_owned(), view: Some(view), journal }
}

#[track_caller]
fn check(root: SagaView, leaf: Option<SagaView>, written: &str, expected: &[Law]) {
    let mut endings = vec![ending(root, "")];
    endings.extend(leaf.map(|leaf| ending(leaf, "run/")));
    let queue: Vec<RepairView> =
        endings.iter().flat_map(|ending| ending.view.iter().flat_map(|view| view.repairs.clone())).collect();
    let seen = Content { effects: done(written), ..Content::default() };
    let exact = ["look", "hold", "run/a", "run/b"].map(str::to_owned).into();
    let parts = parts();
    let evidence = Evidence {
        parts: &parts,
        endings: &endings,
        queue: &queue,
        seen: &seen,
        exact: &exact,
        expected: None,
    };
    let verdict = judge(&evidence);
    let broken: BTreeSet<Law> = verdict.breaches.iter().map(|breach| breach.law).collect();
    assert_eq!(broken, expected.iter().copied().collect(), "{written}: {:#?}", verdict.breaches);
}

const ALL: &str = "+look +hold[0] +hold[1] +hold[2] +a +b";

fn completed(written: &str, leaf_is: &str, expected: &[Law]) {
    let leaf_steps = if leaf_is == "completed" { ["done"; 2] } else { ["compensated"; 2] };
    let leaf = leaf(leaf_is, leaf_steps, &[]);
    check(root("completed", "done", ["done"; 3], "done", &[]), Some(leaf), written, expected);
}

fn compensated(undone: &str, expected: &[Law]) {
    let leaf = leaf("compensated", ["compensated"; 2], &[]);
    let root = root("compensated", "compensated", ["compensated"; 3], "compensated", &[]);
    check(root, Some(leaf), &format!("{ALL} {undone}"), expected);
}

#[test]
fn what_went_well_breaks_no_law() {
    completed(ALL, "completed", &[]);
    compensated("-b -a -hold[2] -hold[1] -hold[0]", &[]);
    compensated("-b -a -hold[1] -hold[2] -hold[0]", &[]);
}

#[test]
fn each_item_of_a_list_is_done_once_and_undone() {
    completed("+look +hold[0] +hold[2] +a +b", "completed", &[Law::CompletedIsDone]);
    completed(&format!("{ALL} +hold[1]"), "completed", &[Law::AtMostOnce]);
    completed(&format!("{ALL} -hold[1]"), "completed", &[Law::CompletedIsDone, Law::ReverseOrder]);
    completed(&format!("{ALL} +hold[3]"), "completed", &[Law::NothingLost]);
    completed(&format!("{ALL} +hold"), "completed", &[Law::NothingLost]);
    compensated("-b -a -hold[2] -hold[1]", &[Law::CompensatedIsUndone]);
}

#[test]
fn items_are_undone_the_last_ones_first_as_many_at_a_time_as_were_done() {
    compensated("-b -a -hold[0] -hold[2] -hold[1]", &[Law::ReverseOrder]);
    compensated("-b -a -hold[0] -hold[1] -hold[2]", &[Law::ReverseOrder]);
}

#[test]
fn what_a_child_did_is_undone_before_the_steps_ahead_of_it() {
    compensated("-b -hold[2] -a -hold[1] -hold[0]", &[Law::ReverseOrder]);
    compensated("-a -b -hold[2] -hold[1] -hold[0]", &[Law::ReverseOrder]);
    compensated("-b -hold[2] -hold[1] -hold[0]", &[Law::CompensatedIsUndone, Law::ReverseOrder]);
}

#[test]
fn a_child_ends_as_its_step_does() {
    completed(&format!("{ALL} -b -a"), "compensated", &[Law::CompletedIsDone]);
    let root = root("compensated", "compensated", ["compensated"; 3], "compensated", &[]);
    let kept = leaf("completed", ["done"; 2], &[]);
    let written = format!("{ALL} -hold[2] -hold[1] -hold[0]");
    check(root, Some(kept), &written, &[Law::CompensatedIsUndone, Law::ReverseOrder]);
}

#[test]
fn the_item_of_a_list_is_stuck_and_the_list_is_not() {
    let stuck = |items: &[(&str, &str)], expected: &[Law]| {
        let root = root("repair", "parked", ["done", "parked", "compensated"], "compensated", items);
        let leaf = leaf("compensated", ["compensated"; 2], &[]);
        check(root, Some(leaf), &format!("{ALL} -b -a -hold[2]"), expected);
    };
    stuck(&[(SAGA, "hold[1]")], &[]);
    stuck(&[], &[Law::StuckIsQueued]);
    stuck(&[(SAGA, "hold[1]"), (SAGA, "hold")], &[Law::StuckIsQueued]);
}

#[test]
fn a_child_in_repair_lets_its_parent_rest_and_has_the_item() {
    let written = format!("{ALL} -b");
    let root = |stuck: &[(&str, &str)]| root("repair", "done", ["done"; 3], "compensating", stuck);
    let child = |stuck: &[(&str, &str)]| leaf("repair", ["parked", "compensated"], stuck);
    check(root(&[(CHILD, "a")]), Some(child(&[(CHILD, "a")])), &written, &[]);
    check(root(&[]), Some(child(&[])), &written, &[Law::StuckIsQueued]);
    let moving = leaf("compensating", ["compensating", "compensated"], &[]);
    check(root(&[]), Some(moving), &written, &[Law::EverySagaEnds]);
}
