//! What comes of a comparison: which laws are kept, what breaks them, and what is owed by decision.

use amends_saga::SagaId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that breaks a law.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is; one of [`names`](super::names), or a name of the participant's own.
    pub name: String,
    /// The name of the law it breaks.
    pub law: String,
    /// The participant.
    pub participant: String,
    /// The saga, where it is about one.
    pub saga: Option<SagaId>,
    /// The step, where it is about one.
    pub step: Option<String>,
    /// A sentence for people.
    pub message: String,
    /// What it rests on.
    pub detail: Option<Value>,
}

/// An effect that stands by an operator's decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Debt {
    /// The participant.
    pub participant: String,
    /// The saga.
    pub saga: SagaId,
    /// The step.
    pub step: String,
    /// A sentence for people.
    pub message: String,
}

/// What became of one law.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LawResult {
    /// Its number among the project's invariants; empty for a law of the participant's own.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it says.
    pub law: String,
    /// How many effects, or missing effects, were held against it.
    pub checked: u64,
    /// How often it was found broken.
    pub broken: u64,
}

/// What came of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The participant.
    pub participant: String,
    /// Each law, in a fixed order, then those of the participant's own that were broken.
    pub laws: Vec<LawResult>,
    /// What breaks them, at most a thousand: first what the participant says itself.
    pub findings: Vec<Finding>,
    /// What stands by an operator's decision, at most a thousand.
    pub debts: Vec<Debt>,
    /// Effects that were judged.
    pub judged: u64,
    /// Effects that prove nothing yet: in motion, younger than the settling time, or of a saga not looked up.
    pub in_motion: u64,
}

impl Comparison {
    /// Whether every law is kept.
    pub fn is_kept(&self) -> bool {
        self.laws.iter().all(|law| law.broken == 0)
    }
}
