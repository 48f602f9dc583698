//! Items for people.

use crate::{
    output::say,
    table::{Table, Tone, clean, painted},
};
use amends_wire::api::{RepairKind, RepairReason, RepairStatus, RepairView, Time};
use serde_json::Value;

/// The longest message in a table, in characters.
const MESSAGE_CHARS_MAX: usize = 60;

/// Items as a table.
pub(super) fn table(items: &[RepairView]) -> Table {
    let mut table = Table::new(&[
        "item",
        "age",
        "status",
        "reason",
        "step",
        "operation",
        "tries",
        "assignee",
        "last error",
    ]);
    for item in items {
        table.toned(row(item));
    }
    table
}

fn row(item: &RepairView) -> Vec<(String, Tone)> {
    let status = word(&item.status);
    let last = item.errors.last().map(|error| error.message.clone());
    let last = last.or_else(|| item.finding.as_ref().map(|finding| finding.name.clone())).unwrap_or_default();
    vec![
        (item.id.to_string(), Tone::Plain),
        (age(item.first_opened_at), Tone::Plain),
        (status, tone(item.status)),
        (word(&item.reason), Tone::Plain),
        (step(item), Tone::Plain),
        (operation(item), Tone::Plain),
        (item.attempts.to_string(), Tone::Plain),
        (item.assignee.clone().unwrap_or_default(), Tone::Plain),
        (last.chars().take(MESSAGE_CHARS_MAX).collect(), Tone::Faint),
    ]
}

/// One item with everything that is known of it.
pub(super) fn print(item: &RepairView) {
    let status = word(&item.status);
    say!("item {}  {}  {}", item.id, painted(&status, tone(item.status)), word(&item.reason));
    match item.kind {
        RepairKind::Step => say!(
            "  the {} of step {} cannot go on by itself: {}",
            item.op.as_str(),
            step(item),
            because(item.reason)
        ),
        RepairKind::Anomaly => {
            say!("  the books of {} do not agree with what the saga did", item.participant)
        }
    }
    if let Some(finding) = &item.finding {
        say!("  {}: {}", finding.name, clean(&finding.message));
    }
    if let Some(saga) = item.saga {
        let definition = item.definition.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        say!("  saga {saga} of {definition}; operation {}", operation(item));
    }
    let first = match item.opened_at == item.first_opened_at {
        true => String::new(),
        false => format!(", for the first time {}", item.first_opened_at),
    };
    say!("  opened {}{first}; {} ago", item.opened_at, age(item.first_opened_at));
    if let Some(who) = &item.assignee {
        say!("  looked after by {}", clean(who));
    }
    if !item.holds.is_empty() {
        let held: Vec<String> = item.holds.iter().map(ToString::to_string).collect();
        say!("  wait behind it: {}", held.join(", "));
    }
    if let Some(payload) = &item.payload {
        say!("  body {payload}");
    }
    errors(item);
    for note in &item.notes {
        say!("  note of {}, {}: {}", clean(&note.by), note.at, clean(&note.note));
    }
    if let Some(settled) = &item.settled {
        let by = settled.by.as_ref().map(|by| format!(" by {}", clean(by))).unwrap_or_default();
        say!("  settled {}{by}: {}", settled.at, word(&settled.how));
    }
    if let Some(previous) = item.previous {
        say!("  was parked before: item {previous}");
    }
}

fn errors(item: &RepairView) {
    if item.errors.is_empty() {
        return;
    }
    let mut table = Table::new(&["attempt", "at", "status", "took", "error"]);
    for error in &item.errors {
        let status = error.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        table.toned([
            (error.attempt.to_string(), Tone::Plain),
            (error.at.to_string(), Tone::Faint),
            (status, Tone::Plain),
            (format!("{} ms", error.latency_ms), Tone::Faint),
            (error.message.clone(), Tone::Plain),
        ]);
    }
    table.print();
}

fn because(reason: RepairReason) -> &'static str {
    match reason {
        RepairReason::Exhausted => "every attempt failed and the budget is spent",
        RepairReason::Refused => "the participant said a definite no",
        RepairReason::Contract => "the call itself is wrong, so repeating it is useless",
        RepairReason::Anomaly => "an audit found it",
    }
}

pub(super) fn step(item: &RepairView) -> String {
    item.step.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn operation(item: &RepairView) -> String {
    item.operation.clone().unwrap_or_else(|| item.participant.to_string())
}

fn tone(status: RepairStatus) -> Tone {
    match status {
        RepairStatus::Open => Tone::Bad,
        RepairStatus::Assigned | RepairStatus::Retrying => Tone::Warn,
        RepairStatus::Settled => Tone::Good,
    }
}

/// A word as the API writes it.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => "-".to_owned(),
    }
}

/// How long ago something was, in its largest unit or two.
pub(super) fn age(since: Time) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let seconds = u64::try_from((now - since.0.0) / 1000).unwrap_or(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}
