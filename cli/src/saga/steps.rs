//! A saga's steps as rows of a table: the items of a fanned-out step stand below it, a child saga beside its step.

use super::view::{short, word};
use amends_wire::api::{OpView, SagaView, StepStatus, StepView};
use std::collections::BTreeMap;

/// The most items of one step that are shown, unless all are asked for.
const ITEMS_SHOWN_MAX: usize = 20;

/// How the operation of a step that runs a saga begins.
const CHILD_PREFIX: &str = "saga.";

/// What a row has: name, status, action and its attempts, compensation and its attempts, and a note.
pub(super) type Row = [String; 7];

/// The headings of the rows. The branches of an open saga are done by others; what is called forward confirms them.
pub(super) fn headings(saga: &SagaView) -> [&'static str; 7] {
    match saga.open {
        true => ["branch", "status", "confirm", "tries", "compensation", "tries", "note"],
        false => ["step", "status", "action", "tries", "compensation", "tries", "note"],
    }
}

/// A row for each step, in the order they are written; items below their step, and where there are many of them only
/// those at which something is the matter, unless `all` is asked for.
pub(super) fn rows(steps: &[StepView], all: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut rest = steps;
    while let Some((step, behind)) = rest.split_first() {
        // The items of a step stand right behind it.
        let of_step = |item: &&StepView| parent(item.name.as_str()) == Some(step.name.as_str());
        let count = behind.iter().take_while(of_step).count();
        let (items, behind) = behind.split_at(count);
        rows.push(row(step));
        rows.extend(item_rows(step.name.as_str(), items, all));
        rest = behind;
    }
    rows
}

/// The step that an item belongs to.
fn parent(name: &str) -> Option<&str> {
    name.split_once('[').map(|(parent, _)| parent)
}

fn item_rows(parent: &str, items: &[StepView], all: bool) -> Vec<Row> {
    let indented = |item: &StepView| {
        let mut row = row(item);
        row[0] = format!("  {}", row[0]);
        row
    };
    if all || items.len() <= ITEMS_SHOWN_MAX {
        return items.iter().map(indented).collect();
    }
    let mut counts: BTreeMap<StepStatus, usize> = BTreeMap::new();
    for item in items {
        *counts.entry(item.status).or_default() += 1;
    }
    let counted: Vec<String> =
        counts.iter().map(|(status, count)| format!("{count} {}", word(status))).collect();
    let summary = format!("{} items: {}; all of them with --items", items.len(), counted.join(", "));
    let mut rows = vec![[
        format!("  {parent}[…]"),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        summary,
    ]];
    rows.extend(items.iter().filter(|item| is_remarkable(item)).take(ITEMS_SHOWN_MAX).map(indented));
    rows
}

/// Whether an item of many is shown by itself.
fn is_remarkable(item: &StepView) -> bool {
    match item.status {
        StepStatus::Refused | StepStatus::Unknown | StepStatus::Parked | StepStatus::Compensating => true,
        StepStatus::Pending
        | StepStatus::Running
        | StepStatus::Waiting
        | StepStatus::Done
        | StepStatus::Skipped
        | StepStatus::Compensated => false,
    }
}

fn row(step: &StepView) -> Row {
    let (action, tries) = call(step.action.as_ref().or(step.confirm.as_ref()));
    let (compensation, undo_tries) = call(step.compensation.as_ref());
    let awaits = step.awaits.as_ref().map(|awaits| format!("awaits {}", awaits.signal));
    [
        step.name.to_string(),
        word(&step.status),
        awaits.unwrap_or(action),
        tries,
        compensation,
        undo_tries,
        note(step),
    ]
}

fn call(call: Option<&OpView>) -> (String, String) {
    match call {
        None => ("-".to_owned(), String::new()),
        // A child saga is called under a name that no participant can have.
        Some(call) => match call.operation.strip_prefix(CHILD_PREFIX) {
            Some(child) => (format!("saga {child}"), call.attempts.to_string()),
            None => (call.operation.clone(), call.attempts.to_string()),
        },
    }
}

/// What there is to say of a step beside its calls: the last error, until when it waits, why it did not run.
fn note(step: &StepView) -> String {
    let mut notes = Vec::new();
    if step.settled_by_hand {
        notes.push("settled by hand".to_owned());
    } else if step.status == StepStatus::Skipped {
        notes.push("its condition is false".to_owned());
    }
    if let Some(until) = step.awaits.as_ref().and_then(|awaits| awaits.timeout_at) {
        notes.push(format!("until {until}"));
    }
    let calls = [&step.compensation, &step.confirm, &step.action];
    if let Some(error) = calls.iter().copied().flatten().find_map(|call| call.last_error.as_ref()) {
        notes.push(short(&error.message));
    }
    let next = calls.into_iter().flatten().find_map(|call| call.next_attempt_at);
    notes.extend(next.map(|next| format!("again at {next}")));
    notes.join("; ")
}

#[cfg(test)]
mod tests;
