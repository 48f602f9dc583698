//! Sagas that sleep: they wait for a time that is far off, or for somebody, and need nobody until then.
//!
//! In the store such a saga is nobody's (see [`Head::asleep`](super::Head::asleep)). Some are kept at hand all
//! the same, since most payments come soon; of any more only id and time are known, so a million of them cost
//! some tens of megabytes. When its time has come, a saga that begins by writing an event becomes its writer's
//! by that; any other is taken from the store again, so that it has an owner before anything is sent.
//!
//! The invariant: a saga that sleeps and is not held is woken at its time, by whoever put it to sleep or by
//! the store's own search when that is gone.

use super::{Coordinator, Effect};
use crate::{
    SagaId,
    planted::{Bug, planted},
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// Who sleeps.
#[derive(Debug, Clone, Default)]
pub(super) struct Sleepers {
    /// Those that are held, the longest asleep first.
    pub(super) held: BTreeSet<(u64, SagaId)>,
    /// Those that are not, with the time at which they wake.
    gone: BTreeMap<SagaId, Timestamp>,
    /// The place of the next one.
    next: u64,
}

impl Coordinator {
    /// The number of sagas that sleep, and how many of those are not held here.
    pub fn asleep(&self) -> (usize, usize) {
        (self.sleepers.held.len() + self.sleepers.gone.len(), self.sleepers.gone.len())
    }

    /// Whether a saga is held here that sleeps: the store knows it as nobody's, so another coordinator may have
    /// taken it meanwhile.
    pub fn is_asleep(&self, id: SagaId) -> bool {
        self.sagas.get(&id).is_some_and(|entry| entry.sleeps.is_some())
    }

    /// Lets a saga sleep that can, once everything about it is durable.
    pub(super) fn put_to_sleep(&mut self, id: SagaId, effects: &mut Vec<Effect>) {
        let Some(entry) = self.sagas.get_mut(&id) else { return };
        if entry.dirty || entry.durable_seq != entry.saga.seq {
            return;
        }
        let Some(at) = entry.saga.sleeps_until() else { return };
        let place = self.sleepers.next;
        self.sleepers.next += 1;
        if let Some(before) = entry.timer.replace(at) {
            self.timers.remove(&(before, id));
        }
        self.timers.insert((at, id));
        if let Some(before) = entry.sleeps.replace(place) {
            self.sleepers.held.remove(&(before, id));
        }
        self.sleepers.held.insert((place, id));
        while self.sleepers.held.len() > self.limits.sleeping_max {
            let Some((_, oldest)) = self.sleepers.held.pop_first() else { return };
            self.let_go(oldest);
            effects.push(Effect::Asleep(oldest));
        }
    }

    fn let_go(&mut self, id: SagaId) {
        let Some(entry) = self.forget(id) else { return };
        let Some(at) = entry.timer else { return };
        if !planted(Bug::SleeperForgotten) {
            self.timers.insert((at, id));
            self.sleepers.gone.insert(id, at);
        }
    }

    /// Whether a timer that has fired is that of a sleeping saga that is not held.
    pub(super) fn wakes(&mut self, id: SagaId) -> bool {
        self.sleepers.gone.remove(&id).is_some()
    }

    /// Takes note that a saga sleeps no longer.
    pub(super) fn is_awake(&mut self, id: SagaId) {
        if let Some(at) = self.sleepers.gone.remove(&id) {
            self.timers.remove(&(at, id));
        }
    }
}
