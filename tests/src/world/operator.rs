//! The people who look after the repair queue: they look now and then, decide, and do not know of each other.
//!
//! What they decide is right for the most part: they prove only what the participant says is undone. But they
//! ask twice, ask a coordinator that is about to crash, and two of them often want different things of one item.

use super::{Event as WorldEvent, World, count::Situation, node, participant::Said, shop::Plan};
use amends_saga::{Audit, Json, Op, Saga, SagaId, StepName, Verb, repair::RepairStatus};
use uuid::Uuid;

/// What somebody asks a coordinator to do.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) saga: SagaId,
    pub(super) item: Uuid,
    pub(super) verb: Verb,
    pub(super) audit: Audit,
}

impl World {
    /// Schedules the next look at the queue.
    pub(super) fn look_after_queue(&mut self) {
        if self.mix.operators > 0 {
            let ms = self.random.within(500, 6_000);
            self.at(ms, WorldEvent::Operator);
        }
    }

    /// Looks at the queue and does something about some of it.
    pub(super) fn operate(&mut self) {
        if self.settled {
            return;
        }
        self.look_after_queue();
        let items: Vec<Stuck> = self.store.stuck().iter().flat_map(unsettled).collect();
        for Stuck { saga, item, step, op, number } in items {
            let busy = if self.healed { 700 } else { self.mix.operators };
            if !self.random.chance(busy) {
                continue;
            }
            let people = if self.random.chance(250) { 2 } else { 1 };
            for _ in 0..people {
                let verb = self.choose(saga, &step, op, number);
                self.ask_for(saga, item, verb);
            }
        }
    }

    /// A retry at first; something final in the end.
    fn choose(&mut self, saga: SagaId, step: &StepName, op: Op, number: u32) -> Verb {
        let branch = (saga, self.checker.unit(saga, step));
        let is_undone = self.participants.status(branch, op) == Said::Done;
        let patience = if self.healed { 2 } else { 4 };
        match self.random.below(10) {
            0 => Verb::Assign { assignee: format!("person {}", self.random.below(3)) },
            1 | 2 if is_undone => Verb::Prove { output: Json::default() },
            3 => Verb::Resolve { output: None },
            4 => Verb::Skip,
            5 => Verb::Abandon,
            _ if number <= patience => Verb::Retry { input: None },
            _ => Verb::Resolve { output: None },
        }
    }

    fn ask_for(&mut self, saga: SagaId, item: Uuid, verb: Verb) {
        self.asks += 1;
        let by = format!("person {}", self.random.below(3));
        let audit = Audit { by, note: Some(format!("ask {}", self.asks)), from: None };
        let node = self.any_node();
        let ask = Ask { saga, item, verb, audit };
        self.note(|_| format!("{} asks node {node} to {:?} {item} of {saga}", ask.audit.by, ask.verb));
        // A request that got no answer is made again, perhaps elsewhere.
        let copies = if self.random.chance(200) { 2 } else { 1 };
        for _ in 0..copies {
            let (ms, ask) = (self.random.within(1, 200), Box::new(ask.clone()));
            let incarnation = self.nodes[node].incarnation;
            self.at(ms, WorldEvent::Node { node, incarnation, event: node::Event::Repair(ask) });
        }
    }

    /// Does at a coordinator what somebody asks; a saga that nobody holds is taken back first.
    pub(super) fn repair(&mut self, node: usize, ask: Ask) {
        let now = self.time();
        if self.nodes[node].coordinator.get(ask.saga).is_none() {
            let incarnation = self.nodes[node].incarnation;
            self.take_back(node, ask.saga);
            if self.nodes[node].incarnation != incarnation
                || self.nodes[node].coordinator.get(ask.saga).is_none()
            {
                return;
            }
            self.count(Situation::TakenBack);
        }
        let input = amends_saga::Input::Repair { item: ask.item, verb: ask.verb, audit: ask.audit };
        if self.nodes[node].coordinator.input(ask.saga, input, now).is_err() {
            self.count(Situation::OperatorTold);
        }
    }
}

/// An item that is not settled.
struct Stuck {
    saga: SagaId,
    item: Uuid,
    step: StepName,
    op: Op,
    /// How often the call was parked.
    number: u32,
}

/// A saga's items that are not settled.
fn unsettled(stored: &amends_store::Stored) -> Vec<Stuck> {
    let plan = Plan::find(&stored.head.hash);
    let saga = Saga::replay(stored.id, plan.definition.clone(), &stored.records);
    let open = saga.items().filter(|(_, _, repair)| repair.status != RepairStatus::Settled);
    let stuck = |(ix, op, repair): (_, _, &amends_saga::Repair)| {
        let (item, step, number) = (repair.item, saga.step_name(ix), repair.number);
        Stuck { saga: saga.id, item, step, op, number }
    };
    open.map(stuck).collect()
}
