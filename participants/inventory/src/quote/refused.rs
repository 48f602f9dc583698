//! What was refused early, remembered for a while, so that a copy of the call that comes late is refused as well.
//!
//! An early no is written nowhere, and whoever got it takes it that nothing was done. A network may still deliver a second
//! copy of the same request, and by then there may be goods again. So the refusal stands for [`REFUSED_FOR`], far longer
//! than copies live, in the memory of this process; where that is full nothing is refused early, and the barrier keeps
//! what is. The law: a step that was refused early takes nothing within that time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use amends_sdk::{Caller, Reply};
use uuid::Uuid;

/// How long an early no stands.
pub(super) const REFUSED_FOR: Duration = Duration::from_secs(5 * 60);

/// The most early refusals that are remembered.
pub(super) const REFUSED_MAX: usize = 100_000;

/// A step of a saga, in a round.
type Step = (Uuid, String, u32);

/// The refusals of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    replies: HashMap<Step, Reply>,
    /// In the order in which they end.
    ends: VecDeque<(Instant, Step)>,
}

impl Memory {
    fn forget(&mut self, now: Instant) {
        while let Some((_, step)) = self.ends.pop_front_if(|(end, _)| *end <= now) {
            self.replies.remove(&step);
        }
    }
}

fn step(caller: &Caller) -> Step {
    (caller.saga, caller.step.clone(), caller.round)
}

impl Refused {
    /// The early no that a call of this step was given.
    pub(super) fn find(&self, caller: &Caller, now: Instant) -> Option<Reply> {
        let mut memory = self.lock();
        memory.forget(now);
        if memory.replies.is_empty() { None } else { memory.replies.get(&step(caller)).cloned() }
    }

    /// Remembers one; false where there is no room, and then it must not be given.
    pub(super) fn keep(&self, caller: &Caller, reply: &Reply, now: Instant) -> bool {
        let mut memory = self.lock();
        memory.forget(now);
        if memory.replies.len() >= REFUSED_MAX {
            return false;
        }
        let step = step(caller);
        if memory.replies.insert(step.clone(), reply.clone()).is_none() {
            memory.ends.push_back((now + REFUSED_FOR, step));
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
