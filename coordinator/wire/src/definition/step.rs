//! One step of a definition: its kind, and the keys that every kind has.

pub(crate) mod call;
mod child;
pub(crate) mod keys;
mod waiting;

use super::{
    OperationName,
    called::Callee,
    diagnostic::Faults,
    fields::Fields,
    schema::Schema,
    template::{self, Place, Written},
    tree::{Entry, Kind, Node},
};
use crate::registration::RetryTerms;
use amends_saga::{
    Millis, Name,
    definition::{FAN_MAX, Fan, Template},
};
use keys::{ALL_KEYS, AWAIT_KEYS, CALL_KEYS, CHILD_KEYS, elsewhere, on_await, on_call, on_child};
use std::sync::Arc;

/// A step as it is written; names of operations and sagas are not looked up yet.
#[derive(Debug)]
pub(crate) struct StepText {
    pub(crate) kind: KindText,
    pub(crate) when: Option<Arc<dyn Template>>,
    pub(crate) pivot: bool,
    pub(crate) fan: Option<Fan>,
    /// What its output looks like, where the definition says so.
    pub(crate) returns: Option<Arc<Schema>>,
}

/// What a step does, as it is written.
#[derive(Debug)]
pub(crate) enum KindText {
    Call(Box<CallText>),
    Await(AwaitText),
    Child(Box<ChildText>),
}

/// A call as it is written.
#[derive(Debug)]
pub(crate) struct CallText {
    pub(crate) action: OperationName,
    pub(crate) with: Arc<dyn Template>,
    pub(crate) retry: RetryTerms,
    pub(crate) timeout: Option<Millis>,
    pub(crate) within: Option<Millis>,
    pub(crate) undo: UndoText,
}

/// How a step is made good again, as it is written.
#[derive(Debug)]
pub(crate) enum UndoText {
    ReadOnly,
    None { reason: String },
    Call { operation: OperationName, with: Option<Arc<dyn Template>>, retry: RetryTerms, eager: bool },
}

/// A wait as it is written.
#[derive(Debug)]
pub(crate) struct AwaitText {
    pub(crate) signal: Name,
    pub(crate) timeout: Millis,
    pub(crate) default: Option<Arc<dyn Template>>,
}

/// A child saga as it is written.
#[derive(Debug)]
pub(crate) struct ChildText {
    pub(crate) name: Name,
    pub(crate) version: Option<u32>,
    pub(crate) with: Arc<dyn Template>,
    pub(crate) within: Option<Millis>,
    pub(crate) undo: ChildUndo,
}

/// How a child saga is made good again.
#[derive(Debug)]
pub(crate) enum ChildUndo {
    /// It is reverted.
    Revert { eager: bool },
    /// It stays as it is.
    None { reason: String },
}

/// What stands around a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around<'a> {
    /// The definition's name, where it has one.
    pub(crate) definition: Option<&'a Name>,
    /// The step's own name, and the byte at which it stands.
    pub(crate) name: &'a Name,
    pub(crate) name_at: usize,
    /// The pivot, where the step comes after it.
    pub(crate) past: Option<&'a Name>,
}

/// Why a step after the pivot has nothing that undoes it.
const PAST_REASON: &str = "it comes after the pivot";

/// The most items of a fanned-out step that are under way at a time.
const PARALLEL_MAX: u32 = 100;

const DOES_HELP: &str = "give it an \"action\" to call, a signal to \"await\", or a \"saga\" to run";

/// A step as it was read.
pub(crate) struct Read {
    /// The step; none when a fault leaves nothing to work with.
    pub(crate) step: Option<StepText>,
    /// Its expressions.
    pub(crate) written: Vec<Written>,
    /// What it calls, with the byte at which.
    pub(crate) called: Vec<(usize, Callee)>,
}

/// Reads a step's body.
pub(crate) fn read(around: Around<'_>, body: &Node, source: &str, faults: &mut Faults) -> Read {
    let mut reader = Reader { around, source, written: Vec::new(), called: Vec::new(), faults };
    let step = reader.step(body);
    Read { step, written: reader.written, called: reader.called }
}

struct Reader<'a> {
    around: Around<'a>,
    source: &'a str,
    written: Vec<Written>,
    called: Vec<(usize, Callee)>,
    faults: &'a mut Faults,
}

impl Reader<'_> {
    fn step(&mut self, body: &Node) -> Option<StepText> {
        let what = format!("step \"{}\"", self.around.name);
        let has =
            |key: &str| matches!(&body.kind, Kind::Map(entries) if entries.iter().any(|e| e.key == key));
        let written: Vec<Word> = Word::ALL.into_iter().filter(|word| has(word.key())).collect();
        match written[..] {
            [one] => self.of_kind(one, body, what),
            [] => {
                if !matches!(body.kind, Kind::Null) {
                    Fields::of_kind(body, what.clone(), ALL_KEYS, elsewhere, self.faults)?;
                }
                self.faults.add(self.around.name_at, format!("{what} does nothing"), DOES_HELP);
                None
            }
            [first, second, ..] => {
                let message = format!("{what} has both \"{}\" and \"{}\"", first.key(), second.key());
                self.faults.add(self.around.name_at, message, "make two steps of it");
                None
            }
        }
    }

    fn of_kind(&mut self, word: Word, body: &Node, what: String) -> Option<StepText> {
        let fields = match word {
            Word::Action => Fields::of_kind(body, what, CALL_KEYS, on_call, self.faults)?,
            Word::Saga => Fields::of_kind(body, what, CHILD_KEYS, on_child, self.faults)?,
            Word::Await => {
                Fields::of_kind(body, format!("the waiting {what}"), AWAIT_KEYS, on_await, self.faults)?
            }
        };
        let common = self.common(word, &fields);
        if let (Word::Await, Some(returns)) = (word, common.as_ref().and_then(|it| it.returns.as_deref())) {
            self.default_fits(&fields, returns);
        }
        let kind = match word {
            Word::Action => self.call(&fields).map(|call| KindText::Call(Box::new(call))),
            Word::Saga => self.child(&fields).map(|child| KindText::Child(Box::new(child))),
            Word::Await => self.waiting(&fields).map(KindText::Await),
        };
        Some(common?.with(kind?))
    }

    /// Reads the keys that kinds have in common.
    fn common(&mut self, word: Word, fields: &Fields<'_>) -> Option<Common> {
        let when = fields.get("when").map(|entry| self.condition(fields, entry));
        // A wait has no list, which has been told.
        let fan = if matches!(word, Word::Await) { Some(None) } else { self.fan(fields) };
        let pivot = fields.flag("pivot", self.faults);
        if let (Some(entry), Some(true)) = (fields.get("pivot"), pivot) {
            for (key, help) in [
                ("for_each", "make a step after it the pivot, or fan a child saga out before it"),
                (
                    "when",
                    "a pivot that is skipped would let nobody turn back; put the condition on the steps after it",
                ),
            ] {
                if fields.get(key).is_some() {
                    let message = format!("{} is the pivot and has a \"{key}\"", fields.what);
                    self.faults.add(entry.key_at, message, help);
                }
            }
        }
        let returns = fields.get("returns").map(|entry| Schema::read(entry, self.faults).map(Arc::new));
        Some(Common { when: transposed(when)?, fan: fan?, pivot: pivot?, returns: transposed(returns)? })
    }

    /// Reads `for_each` and `parallel`.
    fn fan(&mut self, fields: &Fields<'_>) -> Option<Option<Fan>> {
        let parallel = fields.count("parallel", 1..=PARALLEL_MAX, self.faults);
        let Some(entry) = fields.get("for_each") else {
            if let Some(entry) = fields.get("parallel") {
                let message = format!("{} has \"parallel\" and no \"for_each\"", fields.what);
                self.faults.add(
                    entry.key_at,
                    message,
                    "add \"for_each\" with a list, or remove \"parallel\"",
                );
            }
            return Some(None);
        };
        let over = match &entry.value.kind {
            Kind::List(items) if items.len() > FAN_MAX => {
                let message = format!(
                    "\"for_each\" of {} lists {} items, more than {FAN_MAX}",
                    fields.what,
                    items.len()
                );
                self.faults.add(entry.value.at, message, "hand the items on in parts");
                return None;
            }
            Kind::List(_) => self.template(&entry.value, Place::Listed),
            _ => self.expression(
                fields,
                entry,
                Place::ForEach,
                "a list, or an expression that yields one: \"${{ input.lines }}\"",
            )?,
        };
        if fields.get("parallel").is_some() && parallel.is_none() {
            return None;
        }
        Some(Some(Fan { over, parallel: parallel.unwrap_or(1) }))
    }

    fn condition(&mut self, fields: &Fields<'_>, entry: &Entry) -> Option<Arc<dyn Template>> {
        self.expression(
            fields,
            entry,
            Place::When,
            "one expression that yields true or false: \"${{ input.gift }}\"",
        )
    }

    /// Reads a member that must be one expression and nothing else.
    fn expression(
        &mut self,
        fields: &Fields<'_>,
        entry: &Entry,
        place: Place,
        wanted: &str,
    ) -> Option<Arc<dyn Template>> {
        if template::is_one_expression(&entry.value) {
            return Some(self.template(&entry.value, place));
        }
        if !entry.value.is_bad() {
            let message = format!(
                "\"{}\" of {} is {} and must be one expression",
                entry.key,
                fields.what,
                entry.value.told()
            );
            self.faults.add(entry.value.at, message, format!("write {wanted}"));
        }
        None
    }

    fn template(&mut self, node: &Node, place: Place) -> Arc<dyn Template> {
        template::read(node, self.source, place, &mut self.written, self.faults)
    }
}

/// The key that says what kind of step it is.
#[derive(Debug, Clone, Copy)]
enum Word {
    Action,
    Await,
    Saga,
}

impl Word {
    const ALL: [Word; 3] = [Word::Action, Word::Await, Word::Saga];

    fn key(self) -> &'static str {
        match self {
            Word::Action => "action",
            Word::Await => "await",
            Word::Saga => "saga",
        }
    }
}

/// What kinds have in common.
struct Common {
    when: Option<Arc<dyn Template>>,
    fan: Option<Fan>,
    pivot: bool,
    returns: Option<Arc<Schema>>,
}

impl Common {
    fn with(self, kind: KindText) -> StepText {
        let Common { when, fan, pivot, returns } = self;
        StepText { kind, when, pivot, fan, returns }
    }
}

/// A member that is absent is sound; one that could not be read is not.
fn transposed<T>(member: Option<Option<T>>) -> Option<Option<T>> {
    match member {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}
