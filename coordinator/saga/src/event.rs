//! The facts of a saga's journal. An event says what happened, never what to do next.

use crate::{Json, Name, answer::Report, repair::Audit, time::Timestamp};
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
}

impl Op {
    /// The word used in headers and bodies.
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Action => "action",
            Op::Compensation => "compensation",
        }
    }
}

/// Why a saga turned round.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cause {
    /// The step at which it happened, where it was one.
    pub step: Option<Name>,
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
        step: Name,
        /// Which call.
        op: Op,
        /// The body.
        input: Json,
    },
    /// A call took effect.
    CallDone {
        /// The step.
        step: Name,
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
        step: Name,
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
        step: Name,
        /// Which call.
        op: Op,
        /// The attempt.
        attempt: u32,
        /// When to ask.
        next_poll_at: Timestamp,
    },
    /// The participant has never seen the call, so it is sent (again).
    CallNotSeen {
        /// The step.
        step: Name,
        /// Which call.
        op: Op,
        /// The attempt.
        attempt: u32,
    },
    /// A definite no, or an answer that makes a repeat useless. For a compensation: the step is parked.
    CallRefused {
        /// The step.
        step: Name,
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
        step: Name,
        /// Which call.
        op: Op,
        /// The last attempt.
        attempt: u32,
        /// Whether time ran out rather than attempts.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        timeout: bool,
        /// What the last attempt met.
        error: Report,
    },
    /// A step could not be started because an expression failed. For a compensation: the step is parked.
    CallUnprepared {
        /// The step.
        step: Name,
        /// Which call.
        op: Op,
        /// What the expression met.
        message: String,
    },
    /// A step waits for its signal.
    AwaitStarted {
        /// The step.
        step: Name,
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
        step: Name,
        /// The payload or the default.
        output: Json,
        /// Whether the default was taken.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_default: bool,
    },
    /// A step's time was up and it had no default.
    AwaitTimedOut {
        /// The step.
        step: Name,
    },
    /// The saga turned round: from here on it is only undone.
    Compensating {
        /// Why.
        error: Cause,
    },
    /// Every step is done.
    Completed {
        /// What the definition's `output` yielded.
        output: Json,
    },
    /// Every step that may have taken effect is undone.
    Compensated,
    /// Somebody looks after a stuck step.
    RepairAssigned {
        /// The step.
        step: Name,
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
        step: Name,
        /// Which call.
        op: Op,
        /// The item.
        item: Uuid,
        /// The body from now on, where it is another than before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<Json>,
        /// Who asked for it.
        #[serde(flatten)]
        audit: Audit,
    },
    /// A stuck call was made good by hand.
    RepairResolved {
        /// The step.
        step: Name,
        /// Which call.
        op: Op,
        /// The item.
        item: Uuid,
        /// What the call is taken to have answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Json>,
        /// Who made it good.
        #[serde(flatten)]
        audit: Audit,
    },
    /// The participant says that a stuck call has taken effect after all.
    RepairProven {
        /// The step.
        step: Name,
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
        step: Name,
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
        step: Name,
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

impl Event {
    /// The step the event is about.
    pub fn step(&self) -> Option<&Name> {
        match self {
            Event::CallStarted { step, .. }
            | Event::CallDone { step, .. }
            | Event::CallFailed { step, .. }
            | Event::CallPending { step, .. }
            | Event::CallNotSeen { step, .. }
            | Event::CallRefused { step, .. }
            | Event::CallExhausted { step, .. }
            | Event::CallUnprepared { step, .. }
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
