//! The keys of each kind of step, and what to do about a key that stands at the wrong one.

/// The keys of a step that calls.
pub(crate) const CALL_KEYS: &[&str] = &[
    "action",
    "compensation",
    "reason",
    "read_only",
    "with",
    "after",
    "when",
    "for_each",
    "parallel",
    "pivot",
    "retry",
    "timeout",
    "within",
    "unwind",
    "returns",
];
/// The keys of a step that runs a saga.
pub(crate) const CHILD_KEYS: &[&str] = &[
    "saga",
    "with",
    "after",
    "when",
    "for_each",
    "parallel",
    "pivot",
    "within",
    "compensation",
    "reason",
    "unwind",
    "returns",
];
/// The keys of a step that waits.
pub(crate) const AWAIT_KEYS: &[&str] = &["await", "timeout", "default", "after", "when", "returns"];
/// The keys of every kind.
pub(crate) const ALL_KEYS: &[&str] = &[
    "action",
    "await",
    "saga",
    "compensation",
    "reason",
    "read_only",
    "with",
    "after",
    "when",
    "for_each",
    "parallel",
    "pivot",
    "retry",
    "timeout",
    "within",
    "unwind",
    "returns",
    "default",
];

/// What to do about a key that steps of this kind lack and others have.
pub(super) fn on_call(key: &str) -> Option<&'static str> {
    match key {
        "default" => {
            Some("only a waiting step takes a default; give an expression one with \"| default(…)\"")
        }
        _ => elsewhere(key),
    }
}

pub(super) fn on_child(key: &str) -> Option<&'static str> {
    match key {
        "retry" | "timeout" => Some("the child's own steps say this; \"within\" bounds the child as a whole"),
        "input" => Some("what \"with\" yields is the child's input"),
        "version" => Some("write it behind the name: \"saga: NAME@VERSION\""),
        "read_only" => Some("write \"compensation: none\" with a \"reason\" if nothing has to be undone"),
        _ => on_call(key),
    }
}

pub(super) fn on_await(key: &str) -> Option<&'static str> {
    match key {
        "with" => Some("a waiting step sends nothing; make the call a step of its own"),
        "pivot" => Some("make the call or the saga that follows it the pivot"),
        "for_each" | "parallel" => {
            Some("only calls and sagas are fanned out; let a child saga wait for each item")
        }
        "retry" | "within" => Some("\"timeout\" bounds the wait"),
        "compensation" | "reason" | "read_only" | "unwind" => {
            Some("waiting changes nothing, so there is nothing to undo")
        }
        _ => elsewhere(key),
    }
}

/// What this language calls what others have by another name.
pub(super) fn elsewhere(key: &str) -> Option<&'static str> {
    match key {
        "if" | "condition" | "unless" => Some("a step is left out with \"when\""),
        "needs" | "depends_on" | "requires" => Some("the steps to wait for stand in \"after\""),
        "foreach" | "loop" | "each" => Some("a step is done for the items of a list with \"for_each\""),
        "undo" | "rollback" | "compensate" => Some("what undoes the action is its \"compensation\""),
        "call" | "run" | "do" => Some("the operation that is called is the \"action\""),
        "wait" | "signal" => Some("a step waits for a signal with \"await\""),
        _ => None,
    }
}
