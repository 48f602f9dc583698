//! What was seen during a rehearsal: what the participants did, and which faults were met, in one order.

use super::plan::Fault;
use amends_saga::SagaId;
use amends_wire::participant::CallOp;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// One thing that a participant has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) saga: SagaId,
    pub(super) step: String,
    pub(super) what: What,
    /// The place in the order of all that was seen at which the call arrived.
    pub(super) began: u64,
    /// The place at which it was done.
    pub(super) ended: u64,
}

/// What a participant has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// An action took effect.
    Applied,
    /// A compensation undid an action.
    Undone,
    /// A compensation met nothing to undo, and the action is refused from now on.
    Barred,
}

/// A fault that a call has met.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Injected {
    /// Which of the sagas, from 0.
    pub saga: u64,
    /// The step.
    pub step: String,
    /// Which of its calls.
    pub op: CallOp,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The fault.
    pub fault: Fault,
}

/// The record of a rehearsal.
#[derive(Debug, Default)]
pub(super) struct Book {
    place: AtomicU64,
    content: Mutex<Content>,
}

/// What is recorded.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// In the order in which they were done.
    pub(super) effects: Vec<Effect>,
    pub(super) injected: Vec<Injected>,
    /// Calls by what they asked, as the coordinator sent them.
    pub(super) calls: BTreeMap<CallOp, u64>,
    /// Steps whose action has arrived and was not answered definitely: it may have taken effect.
    pub(super) doubtful: BTreeSet<(SagaId, String)>,
    /// Two answers to one call that should have been alike.
    pub(super) unlike: Vec<(SagaId, String, String)>,
    /// The first definite answer to each call, by its key.
    pub(super) answers: BTreeMap<(SagaId, String, CallOp), (u16, Vec<u8>)>,
}

impl Book {
    /// The next place in the order of all that is seen.
    pub(super) fn next(&self) -> u64 {
        self.place.fetch_add(1, Ordering::SeqCst)
    }

    pub(super) fn effect(&self, effect: Effect) {
        self.lock().effects.push(effect);
    }

    pub(super) fn inject(&self, injected: Injected) {
        self.lock().injected.push(injected);
    }

    pub(super) fn sent(&self, op: CallOp) {
        *self.lock().calls.entry(op).or_default() += 1;
    }

    pub(super) fn doubt(&self, saga: SagaId, step: &str) {
        self.lock().doubtful.insert((saga, step.to_owned()));
    }

    /// Notes that a call was done, and compares with what was answered to it before.
    pub(super) fn done(&self, saga: SagaId, step: &str, op: CallOp, status: u16, body: &[u8]) -> bool {
        let mut content = self.lock();
        let key = (saga, step.to_owned(), op);
        let Some((before, said)) = content.answers.get(&key) else {
            content.answers.insert(key, (status, body.to_owned()));
            return true;
        };
        if (*before, &said[..]) != (status, body) {
            let shown = |body: &[u8]| String::from_utf8_lossy(body).chars().take(80).collect::<String>();
            let told = format!("was answered {before} {} and then {status} {}", shown(said), shown(body));
            content.unlike.push((saga, step.to_owned(), told));
        }
        false
    }

    /// A copy of the record.
    pub(super) fn content(&self) -> Content {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
