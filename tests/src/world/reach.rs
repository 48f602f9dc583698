//! What callers, operators and participants find at the coordinators: whoever holds a saga, or takes it to be asked.

use super::{World, count::Situation, node::Node, shop::Plan};
use amends_saga::{
    Input, Rejected, Saga, SagaId,
    gate::{BreakerState, Why},
};

impl World {
    /// Takes a completed saga from the store, to undo it.
    pub(super) fn revert(&mut self, node: usize, id: SagaId) {
        let now = self.time();
        // One that was on its way while the last saga ended is too late: nobody is there any more to undo it.
        if self.settled || self.random.chance(self.mix.store_before) {
            return;
        }
        let owner = self.nodes[node].owner.clone();
        let Some(stored) = self.store.revive(&owner, id, now) else { return };
        self.checker.claimed(id, stored.epoch);
        let plan = Plan::find(&stored.head.hash);
        let saga = Saga::replay(id, plan.definition.clone(), &stored.records);
        let (print, taken) = (stored.head.fingerprint, (stored.epoch, owner.name.as_str()));
        let reason = "it was sent back".to_owned();
        let told = self.nodes[node].coordinator.revert(saga, print, taken, reason, now);
        self.stir(&[10, u64::from(told.is_ok())]);
        self.note(|_| format!("node {node} reverts {id}: {told:?}"));
        if told == Err(Rejected::PastPivot) {
            self.count(Situation::RevertRefused);
        }
    }

    /// Counts what its gates have come to.
    pub(super) fn count_gates(&mut self, node: usize) {
        for view in self.nodes[node].coordinator.gates(self.time()) {
            let mut found = Vec::new();
            found.extend((view.opened > 0).then_some(Situation::BreakerOpened));
            let closed = view.breaker == BreakerState::Closed;
            found.extend((view.opened > 0 && closed).then_some(Situation::BreakerClosed));
            for (why, count) in view.deferred {
                let situation = match why {
                    Why::Limit => Situation::DeferredByLimit,
                    Why::Breaker => Situation::DeferredByBreaker,
                    Why::Budget => Situation::DeferredByBudget,
                    Why::Pace => Situation::DeferredByPace,
                };
                found.extend((count > 0).then_some(situation));
            }
            found.into_iter().for_each(|situation| self.count(situation));
            if view.in_flight > self.mix.in_flight_max {
                self.checker
                    .violated(format!("I25: {} calls are in flight to {}", view.in_flight, view.participant));
            }
        }
    }

    /// The coordinators that hold a saga and can be reached.
    pub(super) fn holders(&self, id: SagaId) -> Vec<usize> {
        let holds = |n: &&Node| n.is_up && n.paused_until <= self.now && n.coordinator.get(id).is_some();
        self.nodes.iter().filter(holds).map(|n| n.index).collect()
    }

    /// A coordinator that can be reached and holds a saga; one that nobody holds is taken from the store.
    pub(super) fn reach(&mut self, id: SagaId) -> Option<usize> {
        let holders = self.holders(id);
        if !holders.is_empty() {
            return Some(*self.random.pick(&holders));
        }
        let node = self.any_node();
        let it = &self.nodes[node];
        if !it.is_up || it.paused_until > self.now {
            return None;
        }
        self.take_back(node, id);
        let held = self.nodes[node].coordinator.get(id).is_some();
        if held {
            self.count(Situation::SignalWoke);
            self.pump(node);
        }
        held.then_some(node)
    }

    /// Gives a saga a signal through a coordinator; says whether it was taken.
    pub(super) fn signal(&mut self, node: usize, id: SagaId, input: Input) -> bool {
        let now = self.time();
        let taken = self.nodes[node].coordinator.input(id, input, now).is_ok();
        self.pump(node);
        taken
    }
}
