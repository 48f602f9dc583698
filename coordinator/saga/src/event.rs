//! The facts of a saga's journal. An event says what happened, never what to do next.

use crate::{
    Json, Name, SagaId, StepName, answer::Report, definition::Operation, repair::Audit,
    schedule::UndoSchedule, time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Which of a step's calls is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// The forward call.
    Action,
    /// Its undo.
    Compensation,
    /// What makes a branch of an open saga final. It takes the place of the forward call, which is the
    /// participant's own.
    Confirm,
}

impl Op {
    /// The word used in headers and bodies.
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Action => "action",
            Op::Compensation => "compensation",
            Op::Confirm => "confirm",
        }
    }
}

/// The saga and the step that a child saga is run for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Parent {
    /// The saga.
    pub saga: SagaId,
    /// Its step.
    pub step: StepName,
    /// How many sagas stand above the child, from 1.
    pub depth: u8,
}

/// What is registered of a branch of an open saga: how it is undone, and how it is made final.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BranchTerms {
    /// The compensation.
    pub compensation: Operation,
    /// How that is tried again.
    pub undo_retry: UndoSchedule,
    /// What makes the branch final, where something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Operation>,
    /// How that is tried again: as patiently as a compensation, since there is no way back either.
    pub retry: UndoSchedule,
    /// The body of both.
    pub input: Json,
}

/// Why a saga turned round.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cause {
    /// The step at which it happened, where it was one.
    pub step: Option<StepName>,
    /// The kind.
    pub kind: CauseKind,
    /// A sentence for people.
    pub message: String,
}

/// The kinds of [`Cause`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// A participant, or an expression, said no.
    Refused,
    /// Retries ran out without a definite answer.
    Unknown,
    /// A deadline, a step's `within` or an await's timeout passed.
    Timeout,
    /// Somebody asked for it.
    Cancelled,
    /// A completed saga was undone.
    Reverted,
}

/// One attempt that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// When its answer was known.
    pub at: Timestamp,
    /// What was said.
    #[serde(flatten)]
    pub report: Report,
}

/// An event with its place in time. Its sequence number is its place in the journal, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// One fact of a saga's journal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The saga was accepted. Always the first event.
    Started {
        /// The definition, `name@version`.
        definition: String,
        /// The hash of the definition's content.
        hash: String,
        /// The saga's input.
        input: Json,
        /// The caller's key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The caller's labels.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
        /// When the saga turns round if it is still running.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline_at: Option<Timestamp>,
        /// The saga it is run for, where it is a child.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<Parent>,
    },
    /// A coordinator took the saga over from one that is gone: calls in flight are now in doubt.
    TakenOver {
        /// The epoch from now on.
        epoch: u64,
        /// The new owner.
        owner: String,
    },
    /// A call is to be made; its body is captured here.
    CallStarted {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// The body.
        input: Json,
    },
    /// A call took effect.
    CallDone {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// The attempt that brought the answer.
        attempt: u32,
        /// The answer's body.
        output: Json,
    },
    /// An attempt ended without a definite answer; another follows.
    CallFailed {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// The attempt.
        attempt: u32,
        /// What came instead.
        error: Report,
        /// When the next attempt is due.
        next_attempt_at: Timestamp,
    },
    /// The participant is working on it; its status is asked again.
    CallPending {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// The attempt.
        attempt: u32,
        /// When to ask.
        next_poll_at: Timestamp,
        /// Whether it is a child saga that stands in repair.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        repair: bool,
    },
    /// The participant has never seen the call, so it is sent (again).
    CallNotSeen {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// The attempt.
        attempt: u32,
    },
    /// A definite no, or an answer that makes a repeat useless. For a compensation: the step is parked.
    CallRefused {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// The attempt.
        attempt: u32,
        /// Whether the call itself was at fault.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        contract: bool,
        /// What was said.
        error: Report,
    },
    /// The budget of attempts or of time is spent. For a compensation: the step is parked.
    CallExhausted {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// The last attempt.
        attempt: u32,
        /// Whether time ran out rather than attempts.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        timeout: bool,
        /// Whether it waited for its participant all the time and was never sent, so that there is nothing to undo.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unsent: bool,
        /// What the last attempt met.
        error: Report,
    },
    /// A step could not be started because an expression failed. For a compensation: the step is parked.
    CallUnprepared {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// What the expression met.
        message: String,
    },
    /// A step is not needed: its `when` is false.
    StepSkipped {
        /// The step.
        step: StepName,
    },
    /// A step is done for each item of a list, which is captured here.
    FannedOut {
        /// The step.
        step: StepName,
        /// The list.
        items: Json,
    },
    /// Every item of a fanned-out step is done.
    FanDone {
        /// The step.
        step: StepName,
        /// The items' outputs, in the order of the list.
        output: Json,
    },
    /// A branch of an open saga was registered; from here on it may have done something.
    BranchRegistered {
        /// The branch.
        step: StepName,
        /// How it is undone and made final.
        #[serde(flatten)]
        terms: BranchTerms,
    },
    /// An open saga has more time to be decided.
    Renewed {
        /// Until when.
        deadline_at: Timestamp,
    },
    /// An open saga is decided: its branches are made final.
    Committed,
    /// A step waits for its signal.
    AwaitStarted {
        /// The step.
        step: StepName,
        /// Until when.
        timeout_at: Timestamp,
    },
    /// A signal arrived; it may be early.
    SignalReceived {
        /// The signal.
        signal: Name,
        /// The sender's id for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// What it carries.
        payload: Json,
    },
    /// A step took its signal, or its default when the time was up.
    AwaitDone {
        /// The step.
        step: StepName,
        /// The payload or the default.
        output: Json,
        /// Whether the default was taken.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_default: bool,
    },
    /// A step's time was up and it had no default.
    AwaitTimedOut {
        /// The step.
        step: StepName,
    },
    /// The saga turned round: from here on it is only undone.
    Compensating {
        /// Why.
        error: Cause,
        /// The steps whose call waited for its participant and was never sent, so that there is nothing to undo.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unsent: Vec<StepName>,
    },
    /// Every step is done.
    Completed {
        /// What the definition's `output` yielded.
        output: Json,
        /// What it met instead, in a saga that could no longer turn back for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<String>,
    },
    /// Every step that may have taken effect is undone.
    Compensated,
    /// Somebody looks after a stuck step.
    RepairAssigned {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// The item.
        item: Uuid,
        /// Who looks after it.
        assignee: String,
        /// Who said so.
        #[serde(flatten)]
        audit: Audit,
    },
    /// A stuck call is tried again: one more round of quick attempts.
    RepairRetried {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// The item.
        item: Uuid,
        /// The body from now on, where it is another than before.
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        input: Option<Json>,
        /// Who asked for it.
        #[serde(flatten)]
        audit: Audit,
    },
    /// A stuck call was made good by hand.
    RepairResolved {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// The item.
        item: Uuid,
        /// What the call is taken to have answered.
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        output: Option<Json>,
        /// Who made it good.
        #[serde(flatten)]
        audit: Audit,
    },
    /// The participant says that a stuck call has taken effect after all.
    RepairProven {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// The item.
        item: Uuid,
        /// The participant's answer.
        output: Json,
        /// Who asked it.
        #[serde(flatten)]
        audit: Audit,
    },
    /// A stuck step stays undone.
    RepairSkipped {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// The item.
        item: Uuid,
        /// Who decided it.
        #[serde(flatten)]
        audit: Audit,
    },
    /// The saga is given up because of a stuck step. [`Event::Abandoned`] follows.
    RepairAbandoned {
        /// The step.
        step: StepName,
        /// Which call.
        op: Op,
        /// The item.
        item: Uuid,
        /// Who decided it.
        #[serde(flatten)]
        audit: Audit,
    },
    /// The saga has ended with something left undone, by somebody's decision.
    Abandoned,
}

/// Reads a value that is there, so that a `null` is one.
fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(value).map(Some)
}

impl Event {
    /// The step the event is about.
    pub fn step(&self) -> Option<&StepName> {
        match self {
            Event::CallStarted { step, .. }
            | Event::CallDone { step, .. }
            | Event::CallFailed { step, .. }
            | Event::CallPending { step, .. }
            | Event::CallNotSeen { step, .. }
            | Event::CallRefused { step, .. }
            | Event::CallExhausted { step, .. }
            | Event::CallUnprepared { step, .. }
            | Event::StepSkipped { step }
            | Event::FannedOut { step, .. }
            | Event::FanDone { step, .. }
            | Event::BranchRegistered { step, .. }
            | Event::AwaitStarted { step, .. }
            | Event::AwaitDone { step, .. }
            | Event::AwaitTimedOut { step }
            | Event::RepairAssigned { step, .. }
            | Event::RepairRetried { step, .. }
            | Event::RepairResolved { step, .. }
            | Event::RepairProven { step, .. }
            | Event::RepairSkipped { step, .. }
            | Event::RepairAbandoned { step, .. } => Some(step),
            Event::Started { .. }
            | Event::TakenOver { .. }
            | Event::Renewed { .. }
            | Event::Committed
            | Event::SignalReceived { .. }
            | Event::Compensating { .. }
            | Event::Completed { .. }
            | Event::Compensated
            | Event::Abandoned => None,
        }
    }

    /// Whether nothing can follow.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Event::Completed { .. } | Event::Compensated | Event::Abandoned)
    }
}
