//! How a given saga stands, as its drawing is coloured: step by step, the items of a fanned-out step counted.

use amends_wire::api::{OpView, SagaView, StepView};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// What a status is drawn as. Colour is never all there is: the status itself stands in the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tone {
    /// Not begun, or not needed.
    Idle,
    /// Under way.
    Active,
    /// Took effect.
    Good,
    /// Taken back.
    Undone,
    /// Went wrong, or waits for somebody.
    Bad,
}

impl Tone {
    /// All of them, as a legend lists them.
    pub(crate) const ALL: [Tone; 5] = [Tone::Idle, Tone::Active, Tone::Good, Tone::Undone, Tone::Bad];

    /// The tone of a step's or a call's status.
    pub(crate) fn of(status: &str) -> Tone {
        match status {
            "running" | "waiting" | "compensating" => Tone::Active,
            "done" | "completed" => Tone::Good,
            "compensated" => Tone::Undone,
            "refused" | "unknown" | "parked" | "repair" | "abandoned" => Tone::Bad,
            _ => Tone::Idle,
        }
    }

    /// The class it has in a drawing.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Tone::Idle => "idle",
            Tone::Active => "active",
            Tone::Good => "good",
            Tone::Undone => "undone",
            Tone::Bad => "bad",
        }
    }

    /// What the legend says.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Tone::Idle => "not begun, or skipped",
            Tone::Active => "under way",
            Tone::Good => "done",
            Tone::Undone => "undone",
            Tone::Bad => "refused, unknown or parked",
        }
    }
}

/// How something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stand {
    /// Its status, in a few words.
    pub(crate) word: String,
    /// Its tone.
    pub(crate) tone: Tone,
    /// What else there is to know, sentence by sentence.
    pub(crate) more: Vec<String>,
}

/// How a step stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepRun {
    /// Its status; for a fanned-out step, how many of its items have which.
    pub(crate) word: String,
    /// Its tone.
    pub(crate) tone: Tone,
    /// What else there is to know.
    pub(crate) more: Vec<String>,
    /// How its undo stands; none where nothing has been undone yet.
    pub(crate) undo: Option<Stand>,
}

/// A saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// Its id.
    pub(crate) id: String,
    /// Its status.
    pub(crate) status: String,
    /// Its steps by name; items are counted in their step.
    pub(crate) steps: HashMap<String, StepRun>,
}

impl Run {
    /// How a saga stands.
    pub(crate) fn of(saga: &SagaView) -> Run {
        let steps = saga.steps.as_deref().unwrap_or_default();
        let mut items: HashMap<String, Vec<&StepView>> = HashMap::new();
        for step in steps {
            if let Some((parent, _)) = step.name.to_string().split_once('[') {
                items.entry(parent.to_owned()).or_default().push(step);
            }
        }
        let stands = |step: &StepView| {
            let name = step.name.to_string();
            let items = items.get(&name).map(Vec::as_slice).unwrap_or_default();
            (!name.contains('[')).then(|| (name, StepRun::of(step, items)))
        };
        Run {
            id: saga.id.to_string(),
            status: word(&saga.status),
            steps: steps.iter().filter_map(stands).collect(),
        }
    }
}

impl StepRun {
    fn of(step: &StepView, items: &[&StepView]) -> StepRun {
        let status = word(&step.status);
        let undo = step.compensation.as_ref().and_then(undo_of);
        let mut more: Vec<String> =
            [&step.action, &step.confirm].into_iter().flatten().flat_map(told).collect();
        more.extend(step.child.map(|child| format!("runs saga {child}")));
        more.extend(items.iter().filter_map(|item| told_of_item(item)).take(ITEMS_TOLD_MAX));
        if items.is_empty() {
            return StepRun { tone: Tone::of(&status), word: status, more, undo };
        }
        let undone = items.iter().filter(|item| word(&item.status) == "compensated").count();
        let undo = undo.or_else(|| {
            let word = format!("{undone} of {} undone", items.len());
            (undone > 0).then(|| Stand { word, tone: Tone::Undone, more: Vec::new() })
        });
        StepRun { tone: Tone::of(&status), word: counted(&status, items), more, undo }
    }
}

/// The most items of which an error is told.
const ITEMS_TOLD_MAX: usize = 10;

/// `done: 40 items`, or `running: 37 done, 2 running, 1 pending`.
fn counted(status: &str, items: &[&StepView]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for item in items {
        *counts.entry(word(&item.status)).or_default() += 1;
    }
    match &counts.iter().collect::<Vec<_>>()[..] {
        [(only, count)] if *only == status => format!("{status}: {count} items"),
        counts => {
            let counts: Vec<String> =
                counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
            format!("{status}: {}", counts.join(", "))
        }
    }
}

fn undo_of(undo: &OpView) -> Option<Stand> {
    let status = word(&undo.status);
    let tone = match status.as_str() {
        "pending" => return None,
        "done" => Tone::Undone,
        other => Tone::of(other),
    };
    let word = if status == "done" { "undone".to_owned() } else { status };
    Some(Stand { word, tone, more: told(undo) })
}

/// How often a call was tried and what it met.
fn told(call: &OpView) -> Vec<String> {
    let mut told = Vec::new();
    if call.attempts > 0 {
        told.push(format!("{} after {} attempts", word(&call.status), call.attempts));
    }
    told.extend(call.last_error.as_ref().map(|error| format!("last error: {}", error.message)));
    told
}

fn told_of_item(item: &StepView) -> Option<String> {
    let call =
        [&item.compensation, &item.action].into_iter().flatten().find(|call| call.last_error.is_some())?;
    let error = call.last_error.as_ref()?;
    Some(format!("{}: {}", item.name, error.message))
}

/// The word a value is written with in JSON.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}
