//! The world of the model: what can happen in a state, and what becomes of it then.

use super::{
    Bug, laws,
    open::{OPEN_FOR, revert},
    participant::{Barrier, Said},
    print,
    search::Space,
    state::{Action, Bounds, ID, Left, NODES, Node, State, WORDS, Word},
};
use amends_saga::{
    Answer, Audit, CallKey, Definition, Direction, Event, Input, Json, Name, Op, Question, Record, Report,
    Saga, Start, Status, Step, StepIx, StepPhase, Timestamp, Verb,
    coordinator::{Append, Effect, Written},
    due, planted,
};
use std::{collections::BTreeSet, sync::Arc};

/// Nobody waits for a timer this far ahead.
const LIFETIME: Timestamp = Timestamp(1_000_000_000_000);

/// The items of the one step of a definition that is fanned out.
const ITEMS: usize = 2;

/// A definition with its bounds.
#[derive(Debug)]
pub struct Model {
    pub(super) definition: Arc<Definition>,
    pub(super) later: Vec<BTreeSet<u16>>,
    pub(super) bounds: Bounds,
    bug: Option<Bug>,
    signal: Name,
}

impl Model {
    /// Works out a model.
    pub fn new(definition: Arc<Definition>, bounds: Bounds, bug: Option<Bug>) -> Model {
        let fans = definition.steps().filter(|(_, step)| step.fan.is_some()).map(|(ix, _)| ix.0);
        let mut later = vec![BTreeSet::new(); definition.len()];
        for _ in 0..definition.len() {
            for (ix, step) in definition.steps() {
                for parent in &step.after {
                    let mut below: BTreeSet<u16> = later[usize::from(ix.0)].clone();
                    below.insert(ix.0);
                    later[usize::from(parent.0)].extend(below);
                }
            }
        }
        let count = definition.len();
        for fan in fans {
            assert_eq!(later.len(), count, "one step at most is fanned out");
            let below = later[usize::from(fan)].clone();
            let items: Vec<u16> = (0..ITEMS).map(|item| (count + item) as u16).collect();
            for before in later.iter_mut().filter(|after| after.contains(&fan)) {
                before.extend(items.iter().copied());
            }
            // One at a time, so each stands before those that follow it.
            later.extend((1..=ITEMS).map(|next| below.iter().chain(&items[next..]).copied().collect()));
        }
        if definition.is_open() {
            let branches = u16::from(bounds.branches);
            later = (0..branches).map(|branch| (branch + 1..branches).collect()).collect();
        }
        let signal = Name::parse("pay").expect("a name");
        Model { definition, later, bounds, bug, signal }
    }

    /// What describes a step or an item; nothing does of a branch.
    fn spec(&self, step: u16) -> Option<&Step> {
        if self.definition.is_open() {
            return None;
        }
        let fanned = || self.definition.steps().find(|(_, step)| step.fan.is_some()).map(|(_, step)| step);
        match usize::from(step) < self.definition.len() {
            true => Some(self.definition.step(StepIx(step))),
            false => fanned(),
        }
    }

    pub(super) fn has_undo(&self, step: u16) -> bool {
        self.spec(step).is_none_or(|step| step.undo().is_some())
    }

    pub(super) fn is_eager(&self, step: u16) -> bool {
        self.spec(step).and_then(Step::undo).is_some_and(|undo| undo.eager)
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// A conditional write, as the store makes it.
    fn write(&self, state: &mut State, append: &Append) -> Written {
        let blind = self.has(Bug::NoCondition);
        let Some(row) = &state.row else {
            let first = &append.records[0];
            let mut saga = Saga::begin(ID, self.definition.clone(), first);
            append.records[1..].iter().for_each(|record| saga.apply(record.at, &record.event));
            state.set_row(saga);
            return Written::Done;
        };
        let is_live = !row.is_terminal() || state.left.reverts < self.bounds.reverts;
        let expected = append.after_seq == row.seq && append.epoch == state.epoch && is_live;
        if !expected && !blind {
            return Written::Fenced;
        }
        if append.epoch < state.epoch {
            state.broken = Some("I13: a write below the highest epoch claimed succeeded");
        }
        let before = row.clone();
        let mut saga = Saga::clone(row);
        append.records.iter().for_each(|record| saga.apply(record.at, &record.event));
        for (ix, op, repair) in saga.items() {
            let as_before = before.step(ix).call(op).repair.as_deref() == Some(repair);
            let rows = append.repairs.iter().rfind(|row| row.item == repair.item);
            if !as_before && rows.is_none_or(|row| row.status != repair.status) {
                state.broken = Some("I22: an item changed and its row was not written with it");
            }
        }
        if before.direction == Direction::Backward && saga.direction == Direction::Forward {
            state.broken = Some("I5: a saga turned back");
        }
        let pivot = self.definition.pivot().map(|pivot| before.step(pivot).phase);
        let past = pivot == Some(StepPhase::Done) || before.committed_at.is_some();
        if past && saga.direction == Direction::Backward {
            state.broken = Some("I37: a saga turned back past its point of no return");
        }
        let is_late = |record: &Record| {
            let late = before.deadline_at.is_some_and(|deadline| record.at >= deadline);
            matches!(record.event, Event::BranchRegistered { .. } | Event::Committed) && late
        };
        if append.records.iter().any(is_late) {
            state.broken = Some("I35: a branch was registered, or its saga committed, after the time was up");
        }
        let winner = self.winner(&saga);
        if state.winner.is_some() && state.winner != winner && self.bounds.reverts == 0 {
            state.broken = Some("I40: of payment, expiry and cancel two have won");
        }
        state.winner = winner;
        state.set_row(saga);
        Written::Done
    }

    pub(super) fn input(&self, state: &mut State, node: usize, input: Input) {
        let now = state.now;
        let it = state.node(node);
        let before = it.coordinator.get(ID).map(|saga| (saga.seq, saga.is_terminal()));
        let _ = it.coordinator().input(ID, input, now);
        let after = it.coordinator.get(ID).map(|saga| saga.seq);
        if before.is_some_and(|(seq, ended)| ended && after != Some(seq)) {
            state.broken = Some("I4: a saga that had ended went on");
        }
    }

    /// Checks what a coordinator sends.
    fn sent(&self, state: &mut State, node: usize, effects: &[Effect]) {
        for effect in effects {
            let Effect::Send { call, .. } = effect else { continue };
            let believes = state.nodes[node].coordinator.get(ID).map(|saga| saga.direction);
            if call.key.op == Op::Action && believes == Some(Direction::Backward) {
                state.broken = Some("I5: an action was sent after the turn");
            }
        }
    }

    /// Brings a state into its one form: writes are taken, what cannot matter any more is dropped.
    fn settle(&self, state: &mut State, node: usize) {
        let it = state.node(node);
        if it.write.is_none()
            && it.result.is_none()
            && let Some(batch) = it.coordinator().take_batch()
        {
            it.write = batch.into_iter().next().map(Arc::new);
        }
        it.print = print::of_node(it);
        let flying: BTreeSet<CallKey> = it.coordinator.in_flight(ID).collect();
        state.answers.retain(|(n, key, _)| *n != node || flying.contains(key));
        state.gated.retain(|(n, key)| *n != node || flying.contains(key));
    }

    /// Lets go of the requests of a coordinator that it no longer waits for: they may arrive at any time.
    fn loosen(&self, state: &mut State, node: usize, before: &[(CallKey, u8)]) {
        let flying: BTreeSet<CallKey> = state.nodes[node].coordinator.in_flight(ID).collect();
        for (key, round) in before.iter().filter(|(key, _)| !flying.contains(key)) {
            if key.question == Question::Call && !state.gated.contains(&(node, *key)) {
                state.loose.insert((key.step.0, key.op, *round));
            }
        }
    }

    /// Forgets late requests that can change nothing any more.
    fn tidy(&self, state: &mut State) {
        let barriers = &state.barriers;
        state.loose.retain(|(step, op, round)| self.is_live(barriers[usize::from(*step)], *op, *round));
    }
}

impl Space for Model {
    type State = State;
    type Action = Action;

    fn initial(&self) -> State {
        let mut first = Node::new();
        let list: Vec<usize> = (0..ITEMS).collect();
        let input = Arc::new(serde_json::json!({ "list": list, "yes": true, "no": false }));
        let timeout = self.definition.is_open().then_some(OPEN_FOR);
        let start = Start { timeout, ..Start::new(ID, self.definition.clone(), input) };
        first.coordinator().start(start, [0; 32], Timestamp(0));
        let bounds = self.bounds;
        let mut state = State {
            row: None,
            row_print: 0,
            owner: 0,
            epoch: 1,
            nodes: [Arc::new(first), Arc::new(Node::new())],
            zombie: None,
            barriers: vec![Barrier::default(); self.later.len()],
            loose: BTreeSet::new(),
            answers: BTreeSet::new(),
            gated: BTreeSet::new(),
            left: Left {
                crashes: bounds.crashes,
                refusals: bounds.refusals,
                gates: bounds.gates,
                undo_refusals: bounds.undo_refusals,
                cancels: bounds.cancels,
                signals: bounds.signals,
                verbs: bounds.verbs,
                branches: bounds.branches,
                commits: bounds.commits,
                reverts: bounds.reverts,
            },
            winner: None,
            now: Timestamp(0),
            broken: None,
        };
        self.settle(&mut state, 0);
        state
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for node in 0..NODES {
            self.node_actions(state, node, actions);
        }
        actions.extend(state.zombie.as_ref().map(|_| Action::Zombie));
        actions.extend(state.loose.iter().map(|(step, op, round)| Action::Loose(*step, *op, *round)));
        let registered = state.row.as_ref().filter(|row| row.definition.is_open());
        for branch in registered.into_iter().flat_map(|row| 0..row.len() as u16) {
            if self.is_live(state.barriers[usize::from(branch)], Op::Action, 0) {
                actions.push(Action::Work(branch));
            }
        }
        actions.extend(state.answers.iter().map(|(node, key, _)| Action::Answer(*node, *key)));
    }

    fn after(&self, state: &State, action: Action) -> State {
        let mut next = state.clone();
        let touched = match action {
            Action::Report(n)
            | Action::Lose(n)
            | Action::Crash(n)
            | Action::Claim(n)
            | Action::Answer(n, _)
            | Action::Timeout(n, _)
            | Action::Cancel(n)
            | Action::Signal(n)
            | Action::Register(n)
            | Action::Commit(n)
            | Action::Revert(n)
            | Action::Repair(n, ..)
            | Action::Wake(n) => n,
            Action::Apply(n) => {
                self.happen(&mut next, action);
                let it = next.node(n);
                it.print = print::of_node(it);
                return next;
            }
            Action::Deliver(..)
            | Action::Refuse(..)
            | Action::Gate(..)
            | Action::Zombie
            | Action::Work(_)
            | Action::Loose(..) => {
                self.happen(&mut next, action);
                self.tidy(&mut next);
                return next;
            }
        };
        let flying = state.nodes[touched].coordinator.in_flight(ID);
        let flying: Vec<(CallKey, u8)> = flying.map(|key| (key, state.round(touched, key))).collect();
        self.happen(&mut next, action);
        self.loosen(&mut next, touched, &flying);
        self.settle(&mut next, touched);
        self.tidy(&mut next);
        next
    }

    fn fingerprint(&self, state: &State) -> u64 {
        print::of_state(state)
    }

    fn broken(&self, state: &State) -> Option<String> {
        laws::broken(self, state).map(str::to_owned)
    }

    fn is_goal(&self, state: &State) -> bool {
        match &state.row {
            None => (0..NODES).all(|node| state.holds(node).is_none()) && state.zombie.is_none(),
            Some(row) => row.is_terminal() || (!due(row).parked.is_empty() && due(row).calls.is_empty()),
        }
    }

    fn bug(&self) -> Option<planted::Bug> {
        match self.bug {
            Some(Bug::Core(bug)) => Some(bug),
            _ => None,
        }
    }
}

impl Model {
    fn node_actions(&self, state: &State, node: usize, actions: &mut Vec<Action>) {
        let it = &state.nodes[node];
        let claims = self.bounds.claims;
        if it.write.is_some() {
            actions.push(Action::Apply(node));
        }
        if it.result.is_some() {
            actions.push(Action::Report(node));
        }
        let busy = it.write.is_some() || it.result.is_some();
        if busy && (state.row.is_none() || state.can_be_lost(node, claims)) {
            actions.push(Action::Lose(node));
        }
        let held = it.coordinator.get(ID);
        if state.left.crashes > 0 && held.is_some() && state.can_be_lost(node, claims) {
            actions.push(Action::Crash(node));
        }
        let owns = state.owner == node && held.is_some_and(|saga| saga.epoch == state.epoch);
        let live = state.row.as_ref().is_some_and(|row| !row.is_terminal() && !row.is_shelved());
        if live && !owns && state.epoch <= claims {
            actions.push(Action::Claim(node));
        }
        for key in it.coordinator.in_flight(ID) {
            self.call_actions(state, node, key, actions);
        }
        if state.left.verbs > 0 {
            self.repair_actions(state, node, actions);
        }
        let completed = state.row.as_ref().is_some_and(|row| row.status() == Status::Completed);
        if state.left.reverts > 0 && completed && held.is_none() {
            actions.push(Action::Revert(node));
        }
        let Some(saga) = held else { return };
        if state.left.cancels > 0 && saga.direction == Direction::Forward && !saga.is_terminal() {
            actions.push(Action::Cancel(node));
        }
        if state.left.signals > 0 && !saga.is_terminal() {
            actions.push(Action::Signal(node));
        }
        if self.definition.is_open() && !saga.is_terminal() {
            let worked = |branch: usize| state.barriers[branch].has_done(Op::Action);
            let all = state.row.as_ref().is_some_and(|row| !row.is_empty() && (0..row.len()).all(worked));
            actions.extend((state.left.branches > 0).then_some(Action::Register(node)));
            actions.extend((state.left.commits > 0 && all).then_some(Action::Commit(node)));
        }
        if it.coordinator.next_wake().is_some_and(|at| at < LIFETIME) {
            actions.push(Action::Wake(node));
        }
    }

    /// What operators may ask of a coordinator: about a saga that it holds, or that nobody does.
    fn repair_actions(&self, state: &State, node: usize, actions: &mut Vec<Action>) {
        let held = state.holds(node);
        let shelved = state.row.as_deref().filter(|row| row.is_shelved());
        let Some(saga) = held.or(shelved) else { return };
        for (ix, op, _) in saga.items().filter(|(_, _, repair)| repair.is_unsettled()) {
            let barrier = state.barriers[usize::from(ix.0)];
            let is_undone = match op {
                Op::Action | Op::Confirm => barrier.has_done(op),
                Op::Compensation => {
                    barrier.effects == barrier.undo_effects && !self.is_live(barrier, Op::Action, 0)
                }
            };
            let words = WORDS.iter().filter(|word| **word != Word::Prove || is_undone);
            actions.extend(words.map(|word| Action::Repair(node, ix.0, *word)));
        }
    }

    fn repair(&self, state: &mut State, node: usize, step: u16, word: Word) {
        state.left.verbs -= 1;
        if state.holds(node).is_none() {
            claim(state, node);
        }
        let saga = state.holds(node).expect("a saga with an item");
        let item = saga.items().find(|(ix, _, repair)| ix.0 == step && repair.is_unsettled());
        let item = item.map(|(_, _, repair)| repair.item).expect("an item");
        let verb = match word {
            Word::Retry => Verb::Retry { input: None },
            Word::Resolve => Verb::Resolve { output: None },
            Word::Skip => Verb::Skip,
            Word::Abandon => Verb::Abandon,
            Word::Prove => Verb::Prove { output: Json::default() },
        };
        let audit = Audit { by: "ada".to_owned(), note: None, from: None };
        self.input(state, node, Input::Repair { item, verb, audit });
    }

    fn call_actions(&self, state: &State, node: usize, key: CallKey, actions: &mut Vec<Action>) {
        actions.push(Action::Timeout(node, key));
        if state.gated.contains(&(node, key)) {
            return;
        }
        actions.push(Action::Deliver(node, key));
        let barrier = state.barriers[usize::from(key.step.0)];
        let fresh = key.question == Question::Call && self.is_live(barrier, key.op, state.round(node, key));
        let refusals = match key.op {
            Op::Action | Op::Confirm => state.left.refusals,
            Op::Compensation => state.left.undo_refusals,
        };
        if fresh && refusals > 0 {
            actions.push(Action::Refuse(node, key));
        }
        let answered = state.answers.iter().any(|(n, k, _)| (*n, *k) == (node, key));
        if state.left.gates > 0 && !answered && key.op == Op::Action {
            actions.push(Action::Gate(node, key));
        }
    }

    fn happen(&self, state: &mut State, action: Action) {
        let now = state.now;
        match action {
            Action::Apply(node) => {
                let append = state.node(node).write.take().expect("a write on its way");
                let result = self.write(state, &append);
                state.node(node).result = Some(result);
            }
            Action::Report(node) => {
                let result = state.node(node).result.take().expect("a result");
                let effects = state.node(node).coordinator().written(&[result], now);
                self.sent(state, node, &effects);
            }
            Action::Lose(node) => self.lose(state, node),
            Action::Crash(node) => {
                state.left.crashes -= 1;
                let write = state.node(node).write.take();
                if self.bounds.zombies && state.zombie.is_none() {
                    state.zombie = write;
                }
                *state.node(node) = Node::new();
            }
            Action::Zombie => {
                let append = state.zombie.take().expect("a late write");
                self.write(state, &append);
            }
            Action::Claim(node) => claim(state, node),
            Action::Deliver(node, key) => {
                let said = match key.question {
                    Question::Call => {
                        let round = state.round(node, key);
                        self.handle(state, (key.step.0, key.op, round), false)
                    }
                    Question::Status => self.status(state, key),
                };
                state.answers.insert((node, key, said));
            }
            Action::Refuse(node, key) => {
                match key.op {
                    Op::Action | Op::Confirm => state.left.refusals -= 1,
                    Op::Compensation => state.left.undo_refusals -= 1,
                }
                let round = state.round(node, key);
                let said = self.handle(state, (key.step.0, key.op, round), true);
                state.answers.insert((node, key, said));
            }
            Action::Gate(node, key) => {
                state.left.gates -= 1;
                state.gated.insert((node, key));
                state.answers.insert((node, key, Said::Contract));
            }
            Action::Answer(node, key) => self.answer(state, node, key),
            Action::Timeout(node, key) => {
                let answer = Answer::Unknown { report: nothing(), retry_after: None };
                self.input(state, node, Input::Answer { key, answer });
            }
            Action::Loose(step, op, round) => {
                self.handle(state, (step, op, round), false);
            }
            Action::Register(node) => self.register(state, node),
            Action::Work(branch) => self.work(state, branch),
            Action::Commit(node) => {
                state.left.commits -= 1;
                self.input(state, node, Input::Commit);
            }
            Action::Revert(node) => revert(state, node),
            Action::Cancel(node) => {
                state.left.cancels -= 1;
                self.input(state, node, Input::Cancel { reason: String::new() });
            }
            Action::Signal(node) => {
                state.left.signals -= 1;
                let (name, payload) = (self.signal.clone(), Json::default());
                self.input(state, node, Input::Signal { name, id: None, payload });
            }
            Action::Repair(node, step, word) => self.repair(state, node, step, word),
            Action::Wake(node) => self.wake(state, node),
        }
    }

    fn wake(&self, state: &mut State, node: usize) {
        let at = state.nodes[node].coordinator.next_wake().expect("a timer");
        state.now = at.max(state.now);
        let now = state.now;
        let effects = state.node(node).coordinator().tick(now);
        self.sent(state, node, &effects);
    }

    /// The coordinator cannot know whether its write took effect, and forgets the saga.
    fn lose(&self, state: &mut State, node: usize) {
        let now = state.now;
        let it = state.node(node);
        it.result = None;
        let write = it.write.take();
        if self.has(Bug::UnknownCommitTrusted) {
            let effects = it.coordinator().written(&[Written::Done], now);
            return self.sent(state, node, &effects);
        }
        it.coordinator().write_failed();
        if self.bounds.zombies && state.zombie.is_none() {
            state.zombie = write;
        }
    }

    fn answer(&self, state: &mut State, node: usize, key: CallKey) {
        let found = state.answers.iter().find(|(n, k, _)| (*n, *k) == (node, key)).copied();
        let (_, _, said) = found.expect("an answer on its way");
        state.answers.remove(&(node, key, said));
        let answer = match said {
            Said::Done => Answer::Done(Json::default()),
            Said::Refused => Answer::Refused(nothing()),
            Said::Contract => Answer::Contract(nothing()),
            Said::NotSeen => Answer::NotSeen,
        };
        self.input(state, node, Input::Answer { key, answer });
    }
}

/// Makes a coordinator the saga's owner, with all that is durable.
fn claim(state: &mut State, node: usize) {
    state.epoch += 1;
    state.owner = node;
    let (row, epoch, now) = (state.row.clone().expect("a row to claim"), state.epoch, state.now);
    state.node(node).coordinator().adopt(Saga::clone(&row), [0; 32], epoch, "another", now);
}

fn nothing() -> Report {
    Report { status: None, message: String::new(), latency_ms: 0 }
}
