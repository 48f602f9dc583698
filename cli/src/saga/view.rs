//! Sagas and their journals for people.

use super::steps;
use crate::{
    output::say,
    table::{Table, clean, painted, status_tone},
};
use amends_saga::Status;
use amends_wire::api::{JournalItem, RepairView, SagaView, Time};
use serde::Serialize;
use serde_json::Value;

/// The longest message in a table, in characters.
const MESSAGE_CHARS_MAX: usize = 100;

/// A saga's status as the API writes it.
pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::Running => "running",
        Status::Compensating => "compensating",
        Status::Repair => "repair",
        Status::Completed => "completed",
        Status::Compensated => "compensated",
        Status::Abandoned => "abandoned",
    }
}

/// Prints a saga with its steps; `items` asks for every item of a fanned-out step.
pub(super) fn print(saga: &SagaView, items: bool) {
    let status = status_word(saga.status);
    let hand = if saga.settled_by_hand { "  settled by hand" } else { "" };
    say!(
        "saga {}  {}@{}  {}{hand}",
        saga.id,
        saga.definition,
        saga.version,
        painted(status, status_tone(status))
    );
    say!("  {}", facts(saga).join("  "));
    if let Some(parent) = &saga.parent {
        say!("  runs for step {} of saga {}", parent.step, parent.saga);
    }
    if let Some(error) = &saga.error {
        let step = error.step.as_ref().map(|step| format!(" at {step}")).unwrap_or_default();
        say!("  turned round{step}: {} ({})", clean(&error.message), word(&error.kind));
    }
    if let Some(steps) = saga.steps.as_ref().filter(|steps| !steps.is_empty()) {
        let mut table = Table::new(&steps::headings(saga));
        for row in steps::rows(steps, items) {
            table.row(row);
        }
        say!("{}", table.text());
    }
    for step in saga.steps.iter().flatten() {
        if let Some(child) = step.child {
            say!("step {} runs saga {child}; see `amends saga show {child}`", step.name);
        }
    }
    if let Some(output) = &saga.output {
        say!("output {output}");
    }
    for repair in &saga.repairs {
        say!("{}", repair_line(saga, repair));
    }
}

fn facts(saga: &SagaView) -> Vec<String> {
    let mut facts: Vec<String> = vec![format!("started {}", saga.created_at)];
    facts.extend(saga.ended_at.map(|at| format!("ended {at} after {}", lasted(saga.created_at, at))));
    let until = saga.deadline_at.filter(|_| saga.committed_at.is_none() && saga.status == Status::Running);
    let until_word = if saga.open { "to be decided until" } else { "deadline" };
    facts.extend(saga.committed_at.map(|at| format!("committed {at}")));
    facts.extend(until.map(|at| format!("{until_word} {at}")));
    facts.extend(saga.key.as_ref().map(|key| format!("key {}", clean(key))));
    facts.extend(saga.labels.iter().map(|(name, text)| format!("{}={}", clean(name), clean(text))));
    facts
}

/// A stuck step: whose it is, which way it was going, and what is likely to help.
fn repair_line(saga: &SagaView, repair: &RepairView) -> String {
    let step = repair.step.as_ref().map_or("-", |step| step.as_str());
    let operation = clean(repair.operation.as_deref().unwrap_or("-"));
    let child = repair.saga.filter(|id| *id != saga.id).map(|id| format!(" of child saga {id}"));
    let (op, reason) = (repair.op.as_str(), word(&repair.reason));
    let mut line = format!(
        "repair item {}: {op} {operation} of step {step}{}, {reason}",
        repair.id,
        child.unwrap_or_default()
    );
    if let Some(proposed) = &repair.proposed {
        line.push_str(&format!("; try `{}`", clean(proposed)));
    }
    line
}

/// The cells of a saga in a list.
pub(super) fn list_row(saga: &SagaView) -> [String; 7] {
    let labels: Vec<String> = saga.labels.iter().map(|(name, text)| format!("{name}={text}")).collect();
    let why = saga.error.as_ref().map(|error| {
        let step = error.step.as_ref().map(|step| format!("{step}: ")).unwrap_or_default();
        short(&format!("{step}{}", error.message))
    });
    [
        saga.id.to_string(),
        format!("{}@{}", saga.definition, saga.version),
        status_word(saga.status).to_owned(),
        saga.key.clone().unwrap_or_default(),
        labels.join(" "),
        saga.updated_at.to_string(),
        why.unwrap_or_default(),
    ]
}

/// An event of the journal on one line.
pub(super) fn journal_line(item: &JournalItem) -> String {
    let text = |member: &str| item.rest.get(member).and_then(Value::as_str);
    let mut line = format!("{:>4}  {}  {:<16}", item.seq, item.at, item.kind);
    if let Some(step) = &item.step {
        line.push_str(&format!(" {step}"));
    }
    if let Some(op) = text("op") {
        line.push_str(&format!(" {op}"));
    }
    if let Some(attempt) = item.rest.get("attempt") {
        line.push_str(&format!(" attempt {attempt}"));
    }
    line.push_str(&details(item));
    let tone = match item.kind.as_str() {
        "completed" | "committed" | "call_done" | "await_done" | "fan_done" => crate::table::Tone::Good,
        "compensating" | "compensated" | "call_failed" | "await_timed_out" => crate::table::Tone::Warn,
        "call_refused" | "call_exhausted" | "call_unprepared" => crate::table::Tone::Bad,
        _ => crate::table::Tone::Plain,
    };
    painted(line.trim_end(), tone)
}

/// What else belongs on the line of an event.
fn details(item: &JournalItem) -> String {
    let of = |value: &Value, member: &str| value.get(member).and_then(Value::as_str).map(short);
    let mut details = String::new();
    if let Some(error) = item.rest.get("error") {
        let status = error
            .get("status")
            .and_then(Value::as_u64)
            .map(|status| format!("{status} "))
            .unwrap_or_default();
        details.push_str(&format!(": {status}{}", of(error, "message").unwrap_or_default()));
    }
    for (member, word) in [("definition", ""), ("signal", ""), ("message", ": "), ("owner", "by ")] {
        if let Some(text) = item.rest.get(member).and_then(Value::as_str) {
            details.push_str(&format!(" {word}{}", short(text)));
        }
    }
    details.push_str(&dynamic(item));
    for (member, words) in [
        ("next_attempt_at", "again at"),
        ("next_poll_at", "asked again at"),
        ("timeout_at", "until"),
        ("deadline_at", "to be decided until"),
    ] {
        // A saga's own deadline is nothing that happens at its start.
        let passed_over = item.kind == "started" && member == "deadline_at";
        if let Some(text) = item.rest.get(member).and_then(Value::as_str).filter(|_| !passed_over) {
            let comma = if item.kind == "renewed" { "" } else { "," };
            details.push_str(&format!("{comma} {words} {text}"));
        }
    }
    details
}

/// What belongs to items, branches and children.
fn dynamic(item: &JournalItem) -> String {
    let operation = |member: &str| {
        let operation = item.rest.get(member)?;
        let part = |name: &str| operation.get(name).and_then(Value::as_str).map(clean);
        Some(format!("{}.{}", part("participant")?, part("name")?))
    };
    let mut text = String::new();
    if let Some(items) = item.rest.get("items").and_then(Value::as_array) {
        text.push_str(&format!(" {} items", items.len()));
    }
    if item.kind == "branch_registered" {
        text.push_str(
            &operation("compensation").map(|undo| format!(" undone by {undo}")).unwrap_or_default(),
        );
        text.push_str(
            &operation("confirm").map(|confirm| format!(", confirmed by {confirm}")).unwrap_or_default(),
        );
    }
    if let Some(parent) = item.rest.get("parent") {
        let of = |member: &str| parent.get(member).and_then(Value::as_str).map(clean).unwrap_or_default();
        text.push_str(&format!(" for step {} of saga {}", of("step"), of("saga")));
    }
    let is = |member: &str| item.rest.get(member) == Some(&Value::Bool(true));
    if is("repair") {
        text.push_str(", the child saga stands in repair");
    }
    if is("unsent") {
        text.push_str(", never sent");
    }
    if let Some(unsent) = item.rest.get("unsent").and_then(Value::as_array) {
        let steps: Vec<String> = unsent.iter().filter_map(Value::as_str).map(clean).collect();
        text.push_str(&format!(", never sent: {}", steps.join(", ")));
    }
    if is("by_default") {
        text.push_str(" its default was taken");
    }
    text
}

/// The word a value is written with in JSON.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

pub(super) fn short(text: &str) -> String {
    let text = clean(text);
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn lasted(from: Time, to: Time) -> String {
    let ms = to.0.0.saturating_sub(from.0.0).max(0);
    if ms < 10_000 { format!("{ms} ms") } else { format!("{} s", ms / 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Shows an event as one line, with its time cut off.
    fn check(item: Value, expected: &str) {
        let item: JournalItem = serde_json::from_value(item).expect("an event");
        assert_eq!(journal_line(&item), expected);
    }

    #[test]
    fn items_branches_and_children_say_what_they_are() {
        let at = "2026-11-20T18:00:00.000Z";
        check(
            json!({ "seq": 3, "at": at, "type": "fanned_out", "step": "reserve", "items": [1, 2, 3] }),
            "   3  2026-11-20T18:00:00.000Z  fanned_out       reserve 3 items",
        );
        check(
            json!({ "seq": 4, "at": at, "type": "call_done", "step": "reserve[2]", "op": "action", "attempt": 1, "output": {} }),
            "   4  2026-11-20T18:00:00.000Z  call_done        reserve[2] action attempt 1",
        );
        let operation = |name: &str| json!({ "participant": "inventory", "name": name });
        check(
            json!({ "seq": 2, "at": at, "type": "branch_registered", "step": "hold", "input": {},
                    "compensation": operation("release"), "confirm": operation("confirm") }),
            "   2  2026-11-20T18:00:00.000Z  branch_registered hold undone by inventory.release, confirmed by \
             inventory.confirm",
        );
        check(
            json!({ "seq": 5, "at": at, "type": "renewed", "deadline_at": at }),
            "   5  2026-11-20T18:00:00.000Z  renewed          to be decided until 2026-11-20T18:00:00.000Z",
        );
        check(
            json!({ "seq": 1, "at": at, "type": "started", "definition": "refund@1", "deadline_at": at,
                    "parent": { "saga": "0193", "step": "undo", "depth": 1 } }),
            "   1  2026-11-20T18:00:00.000Z  started          refund@1 for step undo of saga 0193",
        );
        check(
            json!({ "seq": 7, "at": at, "type": "call_pending", "step": "undo", "op": "action", "attempt": 1,
                    "next_poll_at": at, "repair": true }),
            "   7  2026-11-20T18:00:00.000Z  call_pending     undo action attempt 1, the child saga stands in repair, \
             asked again at 2026-11-20T18:00:00.000Z",
        );
    }

    #[test]
    fn events_are_shown_on_one_line() {
        let at = "2026-11-20T18:00:00.000Z";
        check(
            json!({ "seq": 1, "at": at, "type": "started", "definition": "checkout@1", "input": {} }),
            "   1  2026-11-20T18:00:00.000Z  started          checkout@1",
        );
        check(
            json!({ "seq": 9, "at": at, "type": "call_failed", "step": "reserve", "op": "compensation", "attempt": 2,
                    "error": { "status": 503, "message": "made to\nfail" }, "next_attempt_at": at }),
            "   9  2026-11-20T18:00:00.000Z  call_failed      reserve compensation attempt 2: 503 made to fail, \
             again at 2026-11-20T18:00:00.000Z",
        );
        check(
            json!({ "seq": 10, "at": at, "type": "compensating", "unsent": ["charge"],
                    "error": { "kind": "timeout", "message": "the saga's deadline has passed" } }),
            "  10  2026-11-20T18:00:00.000Z  compensating    : the saga's deadline has passed, never sent: charge",
        );
        check(
            json!({ "seq": 11, "at": at, "type": "call_exhausted", "step": "charge", "op": "action", "attempt": 1,
                    "timeout": true, "unsent": true, "error": { "status": null, "message": "too late" } }),
            "  11  2026-11-20T18:00:00.000Z  call_exhausted   charge action attempt 1: too late, never sent",
        );
        check(
            json!({ "seq": 12, "at": at, "type": "compensated" }),
            "  12  2026-11-20T18:00:00.000Z  compensated",
        );
    }
}
