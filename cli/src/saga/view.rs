//! Sagas and their journals for people.

use crate::{
    output::say,
    table::{Table, clean, painted, status_tone},
};
use amends_saga::Status;
use amends_wire::api::{JournalItem, OpView, SagaView, StepView, Time};
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

/// Prints a saga with its steps.
pub(super) fn print(saga: &SagaView) {
    let status = status_word(saga.status);
    say!("saga {}  {}@{}  {}", saga.id, saga.definition, saga.version, painted(status, status_tone(status)));
    let mut facts: Vec<String> = vec![format!("started {}", saga.created_at)];
    facts.extend(saga.ended_at.map(|at| format!("ended {at} after {}", lasted(saga.created_at, at))));
    facts.extend(saga.key.as_ref().map(|key| format!("key {}", clean(key))));
    facts.extend(saga.labels.iter().map(|(name, text)| format!("{}={}", clean(name), clean(text))));
    say!("  {}", facts.join("  "));
    if let Some(error) = &saga.error {
        let step = error.step.as_ref().map(|step| format!(" at {step}")).unwrap_or_default();
        say!("  turned round{step}: {} ({})", clean(&error.message), word(&error.kind));
    }
    if let Some(steps) = saga.steps.as_ref().filter(|steps| !steps.is_empty()) {
        let mut table =
            Table::new(&["step", "status", "action", "tries", "compensation", "tries", "last error"]);
        for row in step_rows(steps) {
            table.row(row);
        }
        say!("{}", table.text());
    }
    if let Some(output) = &saga.output {
        say!("output {output}");
    }
    for repair in &saga.repairs {
        let step = repair.step.as_ref().map_or("-", |step| step.as_str());
        say!("repair item {}: {step} {}", repair.id, repair.operation.as_deref().unwrap_or("-"));
    }
}

/// A row for each step: name, status, action and its attempts, compensation and its attempts, the last error.
pub fn step_rows(steps: &[StepView]) -> Vec<[String; 7]> {
    let row = |step: &StepView| {
        let (action, action_attempts) = op(step.action.as_ref());
        let (compensation, compensation_attempts) = op(step.compensation.as_ref());
        let waits = step.awaits.as_ref().map(|awaits| format!("awaits {}", awaits.signal));
        let last =
            [&step.compensation, &step.action].into_iter().flatten().find_map(|op| op.last_error.as_ref());
        let last = last.map(|error| short(&error.message)).unwrap_or_default();
        [
            step.name.to_string(),
            word(&step.status),
            waits.unwrap_or(action),
            action_attempts,
            compensation,
            compensation_attempts,
            last,
        ]
    };
    steps.iter().map(row).collect()
}

fn op(op: Option<&OpView>) -> (String, String) {
    match op {
        None => ("-".to_owned(), String::new()),
        Some(op) => (op.operation.clone(), op.attempts.to_string()),
    }
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
        "completed" | "call_done" | "await_done" => crate::table::Tone::Good,
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
    for (member, words) in
        [("next_attempt_at", "again at"), ("next_poll_at", "asked again at"), ("timeout_at", "until")]
    {
        if let Some(text) = item.rest.get(member).and_then(Value::as_str) {
            details.push_str(&format!(", {words} {text}"));
        }
    }
    details
}

/// The word a value is written with in JSON.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

fn short(text: &str) -> String {
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
            json!({ "seq": 12, "at": at, "type": "compensated" }),
            "  12  2026-11-20T18:00:00.000Z  compensated",
        );
    }
}
