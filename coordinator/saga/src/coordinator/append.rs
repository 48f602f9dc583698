//! What is handed to the store: one conditional write for each saga of a batch, and how it ended.

use super::Fingerprint;
use crate::{
    SagaId,
    event::{Event, Op, Record},
    repair::RepairRow,
    state::{Saga, Status, StepPhase},
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// One saga's share of a batch: a conditional write.
///
/// It must hit exactly the row whose last sequence number is `after_seq` and whose epoch is `epoch`, or
/// insert a row when `after_seq` is 0; otherwise it must change nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// The saga.
    pub id: SagaId,
    /// The owner's epoch.
    pub epoch: u64,
    /// The last sequence number the store must have; 0 for a new saga.
    pub after_seq: u64,
    /// The events, numbered from `after_seq + 1`.
    pub records: Vec<Record>,
    /// What the store keeps beside the journal, for finding.
    pub head: Head,
    /// The repair items that these events open or change, in the order in which they did; to be written in
    /// the same transaction.
    pub repairs: Vec<RepairRow>,
}

/// What the store keeps of a saga beside its journal. Derived; the journal is the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: Status,
    /// The definition's name.
    pub definition: String,
    /// The definition's version.
    pub version: u32,
    /// The hash of the definition's content.
    pub hash: String,
    /// The caller's key; unique among all sagas.
    pub key: Option<String>,
    /// The fingerprint of the start.
    pub fingerprint: Fingerprint,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its last event was decided.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When it has something to do by itself again; `None` once it has ended, and while all it waits for is
    /// an operator. Without it the store keeps the saga as nobody's, and no coordinator claims it.
    pub wake_at: Option<Timestamp>,
    /// Whether it only waits for that time, or for somebody: the store keeps it as nobody's until then.
    pub asleep: bool,
    /// The steps it stands at, by name.
    pub at_steps: Vec<String>,
    /// The participants it waits for, by name.
    pub at_participants: Vec<String>,
}

/// How one saga's conditional write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is durable.
    Done,
    /// The row was not as expected: another owner has it. Nothing was changed.
    Fenced,
    /// The new saga's key is taken. Nothing was changed.
    KeyTaken {
        /// By this saga.
        by: SagaId,
        /// Which was started with this fingerprint.
        fingerprint: Fingerprint,
    },
}

impl Head {
    /// Derives the head of a saga.
    pub fn of(saga: &Saga, fingerprint: Fingerprint) -> Head {
        let mut at_steps = Vec::new();
        let mut at_participants = BTreeSet::new();
        let sleeps_until = saga.sleeps_until();
        for (ix, state) in saga.steps() {
            let step = saga.spec(ix);
            let operation = match state.phase {
                StepPhase::Running if saga.is_fanned(ix) => continue,
                StepPhase::Running => step.forward(),
                StepPhase::Compensating => step.undo().map(|undo| &undo.operation),
                StepPhase::Parked => saga.parked_op(ix).and_then(|op| step.operation(op)),
                StepPhase::Waiting { .. } => None,
                StepPhase::Pending
                | StepPhase::Registered
                | StepPhase::Done
                | StepPhase::Refused
                | StepPhase::Unknown
                | StepPhase::Skipped
                | StepPhase::Compensated => continue,
            };
            let participant = operation.filter(|operation| !operation.is_child());
            let participant = participant.map(|operation| &operation.participant);
            at_steps.push(saga.step_name(ix).to_string());
            at_participants.extend(participant.map(ToString::to_string));
        }
        Head {
            status: saga.status(),
            definition: saga.definition.name.to_string(),
            version: saga.definition.version,
            hash: saga.definition.hash.clone(),
            key: saga.key.clone(),
            fingerprint,
            labels: saga.labels.clone(),
            created_at: saga.created_at,
            updated_at: saga.updated_at,
            ended_at: saga.ended_at,
            wake_at: sleeps_until.or((!saga.is_terminal() && !saga.is_shelved()).then_some(saga.updated_at)),
            asleep: sleeps_until.is_some(),
            at_steps,
            at_participants: at_participants.into_iter().collect(),
        }
    }
}

/// Whether an event may open or change a repair item. Most do not, and are spared the comparison.
pub(super) fn may_touch_items(saga: &Saga, event: &Event) -> bool {
    let past_pivot = saga.is_past_pivot();
    let may_park_forward = past_pivot || saga.definition.pivot().is_some();
    match event {
        Event::CallDone { op, .. } => *op == Op::Compensation || past_pivot,
        Event::CallRefused { op, .. }
        | Event::CallExhausted { op, .. }
        | Event::CallUnprepared { op, .. } => *op == Op::Compensation || may_park_forward,
        Event::RepairAssigned { .. }
        | Event::RepairRetried { .. }
        | Event::RepairResolved { .. }
        | Event::RepairProven { .. }
        | Event::RepairSkipped { .. }
        | Event::RepairAbandoned { .. }
        | Event::Abandoned => true,
        Event::Started { .. }
        | Event::TakenOver { .. }
        | Event::CallStarted { .. }
        | Event::CallFailed { .. }
        | Event::CallPending { .. }
        | Event::CallNotSeen { .. }
        | Event::StepSkipped { .. }
        | Event::FannedOut { .. }
        | Event::FanDone { .. }
        | Event::BranchRegistered { .. }
        | Event::Renewed { .. }
        | Event::Committed
        | Event::AwaitStarted { .. }
        | Event::SignalReceived { .. }
        | Event::AwaitDone { .. }
        | Event::AwaitTimedOut { .. }
        | Event::Compensating { .. }
        | Event::Completed { .. }
        | Event::Compensated => false,
    }
}
