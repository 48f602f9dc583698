//! The three kinds of step, each with the keys that it may have and no other.

use super::terms::{After, Compensation, Retry, Spell};
use serde_json::{Map, Value};

/// Any step, ready to be added to a definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    name: String,
    body: Map<String, Value>,
}

/// A step that calls an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct CallStep(Step);

/// A step that waits for a signal.
#[derive(Debug, Clone, PartialEq)]
pub struct AwaitStep(Step);

/// A step that runs another saga.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildStep(Step);

/// A step that calls `operation`, as `inventory.hold`. It says how it is undone: with a compensation, with none and
/// why, or by being read-only.
pub fn call(name: impl Into<String>, operation: impl Into<String>) -> CallStep {
    CallStep(Step::new(name, "action", operation))
}

/// A step that waits for the signal `signal`; it needs a timeout.
pub fn signal(name: impl Into<String>, signal: impl Into<String>) -> AwaitStep {
    AwaitStep(Step::new(name, "await", signal))
}

/// A step that runs another saga: `name` for the newest version, or `name@version`. It is undone by reverting that
/// saga.
pub fn child(name: impl Into<String>, definition: impl Into<String>) -> ChildStep {
    ChildStep(Step::new(name, "saga", definition))
}

impl Step {
    fn new(name: impl Into<String>, key: &str, value: impl Into<String>) -> Step {
        let body = Map::from_iter([(key.to_owned(), Value::String(value.into()))]);
        Step { name: name.into(), body }
    }

    fn set(mut self, key: &str, value: impl Into<Value>) -> Step {
        self.body.insert(key.to_owned(), value.into());
        self
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(Map::from_iter([(self.name, Value::Object(self.body))]))
    }
}

/// The keys that several kinds of step have.
macro_rules! keys {
    ($kind:ident: $($key:ident)*) => {
        impl $kind {
            $(keys!(@ $key);)*

            fn set(self, key: &str, value: impl Into<Value>) -> $kind {
                $kind(self.0.set(key, value))
            }
        }

        impl From<$kind> for Step {
            fn from(step: $kind) -> Step {
                step.0
            }
        }
    };
    (@ after) => {
        /// What it comes after: `"quote"`, `["stock", "order"]`, or `[]` for nothing. The step written before it
        /// where nothing is said.
        #[must_use]
        pub fn after(self, steps: impl Into<After>) -> Self {
            self.set("after", steps.into())
        }
    };
    (@ when) => {
        /// One expression that yields whether it runs at all.
        #[must_use]
        pub fn when(self, expression: impl Into<Value>) -> Self {
            self.set("when", expression.into())
        }
    };
    (@ for_each) => {
        /// Runs it once for every item of a list: the list, or one expression that yields it. Its expressions see
        /// `item` and `index`; its output is the list of outputs.
        #[must_use]
        pub fn for_each(self, list: impl Into<Value>) -> Self {
            self.set("for_each", list.into())
        }
    };
    (@ parallel) => {
        /// How many items are under way at a time; 1 where nothing is said.
        #[must_use]
        pub fn parallel(self, items: u32) -> Self {
            self.set("parallel", items)
        }
    };
    (@ pivot) => {
        /// Makes it the point of no return: once it is done, the saga only goes forward.
        #[must_use]
        pub fn pivot(self) -> Self {
            self.set("pivot", true)
        }
    };
    (@ with) => {
        /// What it is given: a body, whose texts may hold expressions; `{}` where nothing is said.
        #[must_use]
        pub fn with(self, body: impl Into<Value>) -> Self {
            self.set("with", body.into())
        }
    };
    (@ within) => {
        /// Bounds it as a whole, with all that is tried again.
        #[must_use]
        pub fn within(self, span: impl Into<Spell>) -> Self {
            self.set("within", span.into())
        }
    };
    (@ no_compensation) => {
        /// Says that nothing undoes it, and why that is right.
        #[must_use]
        pub fn no_compensation(self, reason: impl Into<String>) -> Self {
            self.set("compensation", "none").set("reason", reason.into())
        }
    };
    (@ unwind_eager) => {
        /// When its undo is stuck, the steps before it are undone all the same, instead of waiting.
        #[must_use]
        pub fn unwind_eager(self) -> Self {
            self.set("unwind", "eager")
        }
    };
    (@ unwind_strict) => {
        /// When its undo is stuck, the steps before it wait; so it is where nothing is said.
        #[must_use]
        pub fn unwind_strict(self) -> Self {
            self.set("unwind", "strict")
        }
    };
    (@ timeout) => {
        /// Bounds one attempt of a call, or the whole of a wait.
        #[must_use]
        pub fn timeout(self, span: impl Into<Spell>) -> Self {
            self.set("timeout", span.into())
        }
    };
    (@ returns) => {
        /// JSON Schema of its output, against which expressions are checked.
        #[must_use]
        pub fn returns(self, schema: impl Into<Value>) -> Self {
            self.set("returns", schema.into())
        }
    };
}

keys!(CallStep: after when for_each parallel pivot with timeout within no_compensation unwind_eager unwind_strict returns);
keys!(AwaitStep: after when timeout returns);
keys!(ChildStep: after when for_each parallel pivot with within no_compensation unwind_eager unwind_strict returns);

impl CallStep {
    /// What undoes it: an operation's name, or [`undo`](super::undo) with more to say.
    #[must_use]
    pub fn compensation(self, compensation: impl Into<Compensation>) -> CallStep {
        self.set("compensation", compensation.into())
    }

    /// Says that it changes nothing, so that there is nothing to undo.
    #[must_use]
    pub fn read_only(self) -> CallStep {
        self.set("read_only", true)
    }

    /// How its action is tried again when its outcome is not known.
    #[must_use]
    pub fn retry(self, retry: Retry) -> CallStep {
        self.set("retry", retry)
    }
}

impl AwaitStep {
    /// What to go on with when the time is up; without it the saga is undone.
    #[must_use]
    pub fn default(self, output: impl Into<Value>) -> AwaitStep {
        self.set("default", output.into())
    }
}
