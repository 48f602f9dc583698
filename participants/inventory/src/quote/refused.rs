//! What was refused early, remembered for a while, so that a copy of the call that comes late is refused as well.
//!
//! An early no is written nowhere, and whoever got it takes it that nothing was done. A network may still deliver a second
//! copy of the same request, and by then there may be goods again. So the refusal stands for [`REFUSED_FOR`], far longer
//! than copies live, in the memory of this process; where that is full nothing is refused early, and the barrier keeps
//! what is. The law: a step that was refused early takes nothing within that time.
//!
//! Two copies may also be here at once, one that is looked at and one that is being written. Whoever looks says so before
//! reading ([`Refused::look`]), and whoever writes says so as well ([`Refused::meet`]): a step that is written meanwhile, or was
//! when the look began, is not refused early.

use std::collections::{HashMap, HashSet, VecDeque};
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
    /// Steps that are being looked at and that nobody has begun to write.
    looked_at: HashSet<Step>,
    /// The sagas whose calls were the last to be written: all others have been committed, or have not begun.
    written: HashSet<Uuid>,
}

/// Steps that are being looked at, until it is dropped.
#[derive(Debug)]
pub(super) struct Look<'a> {
    refused: &'a Refused,
    steps: Vec<Step>,
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

    /// The early noes that calls were given which are written now; whoever was given none is not refused early any more.
    ///
    /// What was written before must have been committed or rolled back.
    pub(super) fn meet(&self, callers: &[&Caller], now: Instant) -> Vec<Option<Reply>> {
        let mut memory = self.lock();
        memory.forget(now);
        memory.written.clear();
        let mut met = |caller: &&Caller| {
            if !memory.replies.is_empty() || !memory.looked_at.is_empty() {
                let step = step(caller);
                if let Some(reply) = memory.replies.get(&step) {
                    return Some(reply.clone());
                }
                memory.looked_at.remove(&step);
            }
            memory.written.insert(caller.saga);
            None
        };
        callers.iter().map(&mut met).collect()
    }

    /// Begins to look at calls; the books must be read after this.
    pub(super) fn look<'c>(&self, callers: impl Iterator<Item = &'c Caller>) -> Look<'_> {
        let steps: Vec<Step> = callers.map(step).collect();
        let mut memory = self.lock();
        let waiting: Vec<Step> =
            steps.iter().filter(|(saga, ..)| !memory.written.contains(saga)).cloned().collect();
        memory.looked_at.extend(waiting);
        Look { refused: self, steps }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Look<'_> {
    /// Refuses a call, and remembers it; false where there is no room, or where a copy of it is being written, and then the
    /// reply must not be given.
    pub(super) fn refuse(&self, caller: &Caller, reply: &Reply, now: Instant) -> bool {
        let mut memory = self.refused.lock();
        memory.forget(now);
        let step = step(caller);
        if memory.replies.len() >= REFUSED_MAX || !memory.looked_at.remove(&step) {
            return false;
        }
        if memory.replies.insert(step.clone(), reply.clone()).is_none() {
            memory.ends.push_back((now + REFUSED_FOR, step));
        }
        true
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        let mut memory = self.refused.lock();
        for step in &self.steps {
            memory.looked_at.remove(step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amends_sdk::CallOp;
    use serde_json::json;

    fn caller(saga: u128) -> Caller {
        Caller {
            saga: Uuid::from_u128(saga),
            step: "hold".into(),
            op: CallOp::Action,
            status_of: CallOp::Action,
            attempt: 1,
            round: 0,
            epoch: 1,
            key: "k".into(),
            callback: None,
        }
    }

    /// One copy is looked at and another is written, in an order; says whether each was told no.
    fn race(order: &[&str]) -> (bool, bool) {
        let (refused, no, now) = (Refused::default(), Reply::refused("sold out", json!({})), Instant::now());
        let (one, other) = (caller(1), caller(2));
        let (mut look, mut early, mut written) = (None, false, false);
        for event in order {
            match *event {
                "looks" => look = Some(refused.look([&one].into_iter())),
                "says no" => early = look.take().is_some_and(|look| look.refuse(&one, &no, now)),
                "writes" => written = refused.meet(&[&one], now)[0].is_some(),
                _ => assert_eq!(refused.meet(&[&other], now), [None]),
            }
        }
        (early, written)
    }

    #[test]
    fn of_two_copies_either_both_are_told_no_or_the_writer_decides() {
        for (order, told) in [
            (["looks", "says no", "writes"].as_slice(), (true, true)),
            (&["looks", "writes", "says no"], (false, false)),
            (&["writes", "looks", "says no"], (false, false)),
            (&["looks", "writes", "others write", "says no"], (false, false)),
            // What was written before others is committed when the look begins, and the books show it.
            (&["writes", "others write", "looks", "says no"], (true, false)),
        ] {
            assert_eq!(race(order), told, "{order:?}");
        }
    }

    #[test]
    fn a_look_that_is_given_up_leaves_nothing_behind() {
        let refused = Refused::default();
        drop(refused.look([&caller(1), &caller(2)].into_iter()));
        assert!(refused.lock().looked_at.is_empty());
    }
}
