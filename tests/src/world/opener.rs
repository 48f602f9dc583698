//! Callers of open sagas: they have branches registered and worked on, and decide in the end.
//!
//! Half of the branches are registered by the caller, half by the participant while it works. The order of things is
//! the one that is asked of everybody: a branch is registered, durably, before its work is done.

use super::{
    Event as WorldEvent, World,
    bugs::Bug,
    count::Situation,
    participant::{Did, Said},
    shop::{BRANCHES_MAX, Unit},
};
use crate::random::Random;
use amends_saga::{Input, Millis, Op, SagaId, coordinator::NotTaken};

/// What happens around an open saga.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// A caller goes on with its saga.
    Go(usize),
    /// A participant takes on the work of a branch, or looks whether it may do it yet.
    Work { client: usize, unit: Unit, tries: u32 },
    /// A participant does the work of a branch that it has seen registered.
    Do { client: usize, unit: Unit },
}

/// What a caller means to do with its open saga, and how far it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Opening {
    pub(super) timeout: Millis,
    /// How many branches it wants.
    branches: Unit,
    /// Whether it means to commit.
    commits: bool,
    /// Whether it asks for more time once.
    renews: bool,
    /// Those whose work it knows to be done.
    worked: Vec<Unit>,
    /// How often it has tried something.
    tries: u32,
}

/// After so many tries a caller gives up and rolls back.
const TRIES_MAX: u32 = 25;

impl Opening {
    pub(super) fn draw(random: &mut Random) -> Opening {
        let timeout =
            if random.chance(500) { random.within(3_000, 15_000) } else { random.within(31_000, 90_000) };
        Opening {
            timeout: Millis(timeout as u64),
            branches: random.below(u64::from(BRANCHES_MAX)) as Unit + 1,
            commits: random.chance(700),
            renews: random.chance(200),
            worked: Vec::new(),
            tries: 0,
        }
    }
}

impl World {
    pub(super) fn opener(&mut self, event: Event) {
        match event {
            Event::Go(client) => self.go_on(client),
            Event::Work { client, unit, tries } => self.work(client, unit, tries),
            Event::Do { client, unit } => self.do_work(client, unit),
        }
    }

    /// A caller takes its next step: another branch, or the decision.
    fn go_on(&mut self, client: usize) {
        let Some(id) = self.clients[client].saga().filter(|_| !self.settled) else { return };
        let facts = &self.checker.sagas[&id];
        // Most callers learn of the decision; some go on for a while.
        if facts.ended.is_some() || ((facts.turned || facts.past) && !self.random.chance(300)) {
            return;
        }
        let opening = &mut self.clients[client].opening;
        opening.tries += 1;
        let (tries, gives_up) = (opening.tries, opening.tries > TRIES_MAX);
        let next = (0..opening.branches).find(|unit| !opening.worked.contains(unit));
        let (commits, renews) = (opening.commits, std::mem::take(&mut opening.renews));
        if renews {
            let deadline_at = self.time().after(Millis(self.random.within(5_000, 60_000) as u64));
            self.tell(id, Input::Renew { deadline_at });
        }
        match next.filter(|_| !gives_up) {
            Some(unit) => self.next_branch(client, id, unit),
            None if commits && !gives_up => self.tell(id, Input::Commit),
            None => self.tell(id, Input::Cancel { reason: "the caller rolls back".to_owned() }),
        }
        if tries < 2 * TRIES_MAX {
            let ms = self.random.within(50, 2_000);
            self.at(ms, WorldEvent::Opener(Event::Go(client)));
        }
    }

    fn next_branch(&mut self, client: usize, id: SagaId, unit: Unit) {
        let by_caller = unit.is_multiple_of(2);
        if by_caller && !self.is_registered(id, unit) {
            return self.register(client, id, unit);
        }
        if !self.random.chance(self.mix.loss) {
            let ms = self.random.within(1, 200);
            self.at(ms, WorldEvent::Opener(Event::Work { client, unit, tries: 10 }));
        }
    }

    fn is_registered(&self, id: SagaId, unit: Unit) -> bool {
        self.checker.sagas.get(&id).is_some_and(|facts| facts.registered.contains(&unit))
    }

    fn register(&mut self, client: usize, id: SagaId, unit: Unit) {
        let (name, terms) = self.clients[client].cart().branch_terms(unit);
        self.tell(id, Input::Branch { name, terms: Box::new(terms) });
    }

    /// Gives an open saga something, through whoever can be reached.
    fn tell(&mut self, id: SagaId, input: Input) {
        if self.random.chance(self.mix.loss) {
            return;
        }
        let Some(node) = self.reach(id) else { return };
        let now = self.time();
        let (is_branch, is_commit) = (matches!(input, Input::Branch { .. }), matches!(input, Input::Commit));
        let told = self.nodes[node].coordinator.input(id, input, now);
        self.pump(node);
        self.stir(&[11, u64::from(told.is_ok())]);
        self.note(|_| {
            format!("node {node} is told of {id} (branch {is_branch}, commit {is_commit}): {told:?}")
        });
        let refused = matches!(told, Err(NotTaken::Rejected(_)));
        if refused && is_branch {
            self.count(Situation::BranchTooLate);
        }
        if refused && is_commit {
            self.count(Situation::CommitTooLate);
        }
    }

    /// A participant has a branch registered, waits until it is, and does the work some time later.
    fn work(&mut self, client: usize, unit: Unit, tries: u32) {
        let Some(id) = self.clients[client].saga() else { return };
        if self.bug == Some(Bug::WorkBeforeBranch) || self.is_registered(id, unit) {
            let ms = if self.random.chance(150) { self.random.within(100, 8_000) } else { 1 };
            return self.at(ms, WorldEvent::Opener(Event::Do { client, unit }));
        }
        self.register(client, id, unit);
        if tries > 0 && !self.settled {
            let ms = self.random.within(20, 500);
            self.at(ms, WorldEvent::Opener(Event::Work { client, unit, tries: tries - 1 }));
        }
    }

    fn do_work(&mut self, client: usize, unit: Unit) {
        let Some(id) = self.clients[client].saga() else { return };
        let (what, cart) = self.clients[client].cart().branch(unit);
        let refuse = (id.as_u64_pair().1 + u64::from(unit)) % 1000 < u64::from(self.mix.refusals / 3);
        let (said, did) = self.participants.act((id, unit), what, &cart, false, refuse);
        self.stir(&[12, u64::from(unit), u64::from(did == Did::Effect)]);
        self.note(|_| format!("the work of branch {unit} of {id}: {said:?}, {did:?}"));
        if did == Did::Late {
            self.count(Situation::BranchLate);
        }
        self.noticed((id, unit), Op::Action, did);
        if self.random.chance(self.mix.loss) {
            return;
        }
        let opening = &mut self.clients[client].opening;
        match said {
            Said::Done if !opening.worked.contains(&unit) => opening.worked.push(unit),
            // What cannot be done in full is not done at all.
            Said::Refused(_) => opening.tries = opening.tries.max(TRIES_MAX),
            Said::Done | Said::Pending | Said::NotSeen => {}
        }
    }
}
