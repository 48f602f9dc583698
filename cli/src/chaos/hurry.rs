//! Waits made short: a rehearsal is to show in seconds what a night would.
//!
//! Only pauses shrink: those between attempts, and those of a breaker that is open. How often something is tried, what
//! follows from it, timeouts and deadlines stay as they are written.

use amends_saga::{
    Millis,
    gate::GateLimits,
    schedule::{Schedule, UndoSchedule},
};
use amends_wire::{
    definition::Defaults,
    registration::{OperationTerms, RetryTerms},
    span::Span,
};
use serde_json::{Value, json};

/// The longest first pause.
const FIRST_MAX: Millis = Millis(5);

/// The longest pause.
const PAUSE_MAX: Millis = Millis(80);

/// What holds where neither a definition nor an operation says anything.
pub(super) fn defaults() -> Defaults {
    let shorter = |schedule: Schedule| Schedule { first: FIRST_MAX, max: PAUSE_MAX, ..schedule };
    let undo = UndoSchedule::DEFAULT;
    let compensation = UndoSchedule { slow: shorter(undo.slow), ..undo };
    Defaults { action: shorter(Schedule::ACTION), compensation, ..Defaults::default() }
}

/// Breakers that close again soon, and budgets that a short run full of faults does not spend.
pub(super) fn gates() -> GateLimits {
    GateLimits {
        open_first: Millis(100),
        open_max: Millis(400),
        retry_percent: 1_000,
        retry_floor: 2_000,
        pace_percent: 1_000,
        pace_floor: 2_000,
        slow_start: 1_000,
        ..GateLimits::default()
    }
}

/// A definition with short pauses, from its content as JSON.
pub(super) fn definition(mut content: Value) -> Value {
    let steps = content.get_mut("steps").and_then(Value::as_array_mut);
    for step in
        steps.into_iter().flatten().filter_map(Value::as_object_mut).flat_map(|step| step.values_mut())
    {
        retry(step.get_mut("retry"));
        retry(step.get_mut("compensation").and_then(|compensation| compensation.get_mut("retry")));
    }
    content
}

/// An operation with short pauses.
pub(super) fn operation(terms: OperationTerms) -> OperationTerms {
    let shorter = |span: Option<Span>, most: Millis| span.map(|span| span.min(Span(most)));
    let retry = terms.retry.map(|retry| RetryTerms {
        first: shorter(retry.first, FIRST_MAX),
        max: shorter(retry.max, PAUSE_MAX),
        ..retry
    });
    OperationTerms { retry, ..terms }
}

fn retry(retry: Option<&mut Value>) {
    let Some(Value::Object(members)) = retry else { return };
    for (word, most) in [("first", FIRST_MAX), ("max", PAUSE_MAX)] {
        let Some(said) = members.get_mut(word) else { continue };
        let span: Option<Span> = said.as_str().and_then(|text| text.parse().ok());
        if span.is_some_and(|span| span.millis() > most) {
            *said = json!(Span(most).to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amends_wire::definition::Text;

    #[test]
    fn pauses_shrink_and_nothing_else_does() {
        let text = Text::read(include_str!("../../../sagas/checkout.yaml")).expect("a definition");
        let content = definition(text.to_json().clone());
        let paid = &content["steps"][5]["paid"];
        assert_eq!(paid["retry"], json!({ "attempts": 8, "first": "5ms", "factor": 2, "max": "80ms" }));
        let undo = json!({ "quick": 3, "attempts": 20, "first": "5ms", "factor": 2, "max": "80ms", "within": "24h" });
        assert_eq!(paid["compensation"]["retry"], undo);
        let hurried = Text::read(&content.to_string()).expect("still a definition");
        assert_eq!(hurried.deadline, text.deadline);
        assert_eq!(content["steps"][3], text.to_json()["steps"][3]);
    }

    #[test]
    fn what_is_short_already_stays() {
        let retry = RetryTerms { first: Some(Span(Millis(1))), max: None, ..RetryTerms::default() };
        let terms = OperationTerms { retry: Some(retry), ..OperationTerms::default() };
        assert_eq!(operation(terms.clone()), terms);
    }
}
