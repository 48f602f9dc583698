//! What the gates let go, and what becomes of it.

use super::{Coordinator, Effect};
use crate::{
    Answer, Name, Report, SagaId, Start,
    decide::Input,
    due::{CallKey, due},
    gate::GateView,
    time::Timestamp,
};

impl Coordinator {
    /// The gate of every participant called so far.
    pub fn gates(&self, now: Timestamp) -> Vec<GateView> {
        self.gates.views(now)
    }

    /// Sends what has waited at a gate and may go now, unless its saga wants something else by now.
    pub(super) fn release(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.gates.next_wake().is_none_or(|at| at > now) {
            return;
        }
        let (released, expired) = self.gates.release(now);
        for (id, key) in released {
            let Some(entry) = self.sagas.get_mut(&id) else {
                self.gates.never_sent((id, key), now);
                continue;
            };
            entry.waiting.remove(&key);
            let is_durable = entry.durable_seq == entry.saga.seq;
            let wanted = is_durable.then(|| due(&entry.saga).calls).into_iter().flatten();
            match wanted.into_iter().find(|call| call.key == key && call.at <= now) {
                Some(call) => effects.push(Effect::Send { saga: id, epoch: entry.saga.epoch, call }),
                None => {
                    // What is being written decides anew whether the call is wanted.
                    entry.in_flight.remove(&key);
                    self.gates.never_sent((id, key), now);
                }
            }
        }
        for (id, key) in expired {
            if !self.sagas.contains_key(&id) {
                continue;
            }
            let taken = self.input(id, Input::GiveUp { key }, now);
            assert_eq!(taken, Ok(()), "a held saga takes it that a call is given up");
            let entry = self.sagas.get_mut(&id).expect("just seen");
            entry.waiting.remove(&key);
            entry.in_flight.remove(&key);
        }
    }

    /// Counts a call that waits as one without an answer, which is a bug.
    pub(super) fn spend(&mut self, id: SagaId, key: CallKey, now: Timestamp) {
        let report = Report::new(None, "deferred", 0);
        let answer = Answer::Unknown { report, retry_after: None };
        let taken = self.input(id, Input::Answer { key, answer }, now);
        assert_eq!(taken, Ok(()), "a held saga takes an answer");
    }

    /// A participant that a start needs and that has too much waiting.
    pub(super) fn busy_participant(&self, start: &Start) -> Option<Name> {
        let calls = start.definition.steps().filter_map(|(_, step)| step.call());
        let mut participants = calls.map(|call| &call.action.participant);
        participants.find(|participant| self.gates.is_busy(participant)).cloned()
    }
}

#[cfg(test)]
mod tests;
