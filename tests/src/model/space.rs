//! The world of the model: its states, what can happen in them, and the laws they keep.

use super::{Bug, search::Space};
use amends_saga::{
    Answer, CallKey, Coordinator, Definition, Direction, Input, Json, Name, Op, OpPhase, OpState, ParkReason, Question,
    Report, Saga, SagaId, Start, StepIx, StepPhase, Timestamp,
    coordinator::{Append, Effect, Limits, Written},
    due,
    hash::Mix,
    planted,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Coordinators.
const NODES: usize = 2;

const ID: SagaId = SagaId::from_u128(1);

/// What bounds the search.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Claims after the start; the last owner stays.
    pub claims: u64,
    /// Crashes that lose a coordinator's memory.
    pub crashes: u8,
    /// Actions refused by the participant.
    pub refusals: u8,
    /// Requests stopped with a contract error before the participant.
    pub gates: u8,
    /// Compensations refused.
    pub undo_refusals: u8,
    /// Cancels.
    pub cancels: u8,
    /// Signals.
    pub signals: u8,
    /// Whether a write of a crashed coordinator may still arrive.
    pub zombies: bool,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            claims: 2,
            crashes: 1,
            refusals: 1,
            gates: 0,
            undo_refusals: 0,
            cancels: 0,
            signals: 0,
            zombies: true,
        }
    }
}

/// A definition with its bounds.
#[derive(Debug)]
pub struct Model {
    definition: Arc<Definition>,
    later: Vec<BTreeSet<u16>>,
    bounds: Bounds,
    bug: Option<Bug>,
    signal: Name,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The store applies a coordinator's write.
    Apply(usize),
    /// A coordinator learns how its write ended.
    Report(usize),
    /// A coordinator learns nothing of its write, which took effect or arrives late or never.
    Lose(usize),
    /// A coordinator loses its memory; its write may still arrive.
    Crash(usize),
    /// The late write of a crashed coordinator arrives.
    Zombie,
    /// A coordinator claims the saga.
    Claim(usize),
    /// A request arrives and is answered as usual.
    Deliver(usize, CallKey),
    /// A request arrives and is refused.
    Refuse(usize, CallKey),
    /// A request is stopped on its way with a contract error.
    Gate(usize, CallKey),
    /// An answer arrives.
    Answer(usize, CallKey),
    /// No answer arrives in time.
    Timeout(usize, CallKey),
    /// A request that nobody waits for arrives.
    Loose(u16, Op),
    /// Somebody cancels.
    Cancel(usize),
    /// The signal arrives.
    Signal(usize),
    /// Time passes until a coordinator's next timer.
    Wake(usize),
}

/// A coordinator process.
#[derive(Debug, Clone)]
struct Node {
    coordinator: Coordinator,
    /// The write on its way to the store.
    write: Option<Append>,
    /// How the store ended it.
    result: Option<Written>,
    print: u64,
}

/// What the participant's barrier knows of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Barrier {
    action: Mark,
    undo: Mark,
    effects: u8,
    undo_effects: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Mark {
    #[default]
    None,
    Done,
    Refused,
    Tombstone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Said {
    Done,
    Refused,
    Contract,
    NotSeen,
}

/// Everything there is.
#[derive(Debug, Clone)]
pub struct State {
    /// The durable saga, once it is.
    row: Option<Arc<Saga>>,
    row_print: u64,
    owner: usize,
    epoch: u64,
    nodes: [Arc<Node>; NODES],
    zombie: Option<Arc<Append>>,
    barriers: Vec<Barrier>,
    /// Requests still on their way that nobody waits for.
    loose: BTreeSet<(u16, Op)>,
    answers: BTreeSet<(usize, CallKey, Said)>,
    /// Requests that were stopped; no copy of them arrives either.
    gated: BTreeSet<(usize, CallKey)>,
    left: Left,
    now: Timestamp,
    broken: Option<&'static str>,
}

/// How often what is bounded can still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Left {
    crashes: u8,
    refusals: u8,
    gates: u8,
    undo_refusals: u8,
    cancels: u8,
    signals: u8,
}

impl Model {
    /// Works out a model.
    pub fn new(definition: Arc<Definition>, bounds: Bounds, bug: Option<Bug>) -> Model {
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
        let signal = Name::parse("pay").expect("a name");
        Model { definition, later, bounds, bug, signal }
    }

    fn has_undo(&self, step: u16) -> bool {
        self.definition.step(StepIx(step)).undo().is_some()
    }

    fn is_eager(&self, step: u16) -> bool {
        self.definition.step(StepIx(step)).undo().is_some_and(|undo| undo.eager)
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Whether a request could still change something at the participant.
    fn is_live(&self, barrier: Barrier, op: Op) -> bool {
        match op {
            Op::Action => match barrier.action {
                Mark::None => true,
                Mark::Done => self.has(Bug::NoDedupe),
                Mark::Refused => self.has(Bug::RefusalForgotten),
                Mark::Tombstone => false,
            },
            Op::Compensation => match barrier.undo {
                Mark::None => true,
                Mark::Done => self.has(Bug::UndoRepeated),
                Mark::Refused | Mark::Tombstone => false,
            },
        }
    }

    /// The participant takes a call.
    fn handle(&self, state: &mut State, step: u16, op: Op, refuse: bool) -> Said {
        let at = usize::from(step);
        let barrier = state.barriers[at];
        if !self.is_live(barrier, op) {
            let mark = if op == Op::Action { barrier.action } else { barrier.undo };
            return if mark == Mark::Done { Said::Done } else { Said::Refused };
        }
        let intended = state.row.as_ref().is_some_and(|row| {
            let calls = row.step(StepIx(step));
            let call = if op == Op::Action { &calls.action } else { &calls.compensation };
            call.input.is_some()
        });
        if !intended {
            state.broken = Some("I11: a call arrived whose intent is not durable");
        }
        let it = &mut state.barriers[at];
        match (op, refuse) {
            (Op::Action, true) => it.action = Mark::Refused,
            (Op::Compensation, true) => it.undo = Mark::Refused,
            (Op::Action, false) => {
                it.action = Mark::Done;
                it.effects += 1;
                self.check_action_order(state, step);
            }
            (Op::Compensation, false) => {
                let forget = self.has(Bug::NoTombstone) && barrier.action == Mark::None;
                if barrier.action == Mark::Done {
                    it.undo_effects += 1;
                    it.undo = Mark::Done;
                } else if !forget {
                    it.action = Mark::Tombstone;
                    it.undo = Mark::Done;
                }
                self.check_undo_order(state, step);
            }
        }
        if refuse { Said::Refused } else { Said::Done }
    }

    fn check_undo_order(&self, state: &mut State, step: u16) {
        let Some(row) = &state.row else { return };
        let early = self.later[usize::from(step)].iter().any(|later| {
            let barrier = state.barriers[usize::from(*later)];
            let stands = barrier.effects > barrier.undo_effects && self.has_undo(*later);
            let parked = row.step(StepIx(*later)).phase == StepPhase::Parked && self.is_eager(*later);
            stands && !parked
        });
        if early {
            state.broken = Some("I10: a step was undone while one after it stood");
        }
    }

    fn check_action_order(&self, state: &mut State, step: u16) {
        let undone = |before: usize| {
            self.later[before].contains(&step) && state.barriers[before].undo_effects > 0
        };
        if (0..self.later.len()).any(undone) && self.has_undo(step) {
            state.broken = Some("I10: a step took effect after one before it was undone");
        }
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
        let expected = append.after_seq == row.seq && append.epoch == state.epoch && !row.is_terminal();
        if !expected && !blind {
            return Written::Fenced;
        }
        if append.epoch < state.epoch {
            state.broken = Some("I13: a write below the highest epoch claimed succeeded");
        }
        let before = row.clone();
        let mut saga = Saga::clone(row);
        append.records.iter().for_each(|record| saga.apply(record.at, &record.event));
        if before.direction == Direction::Backward && saga.direction == Direction::Forward {
            state.broken = Some("I5: a saga turned back");
        }
        state.set_row(saga);
        Written::Done
    }

    fn input(&self, state: &mut State, node: usize, input: Input) {
        let now = state.now;
        let it = state.node(node);
        let before = it.coordinator.get(ID).map(|saga| (saga.seq, saga.is_terminal()));
        let _ = it.coordinator.input(ID, input, now);
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
            && let Some(batch) = it.coordinator.take_batch()
        {
            it.write = batch.into_iter().next();
        }
        it.print = it.fingerprint();
        let flying: BTreeSet<CallKey> = it.coordinator.in_flight(ID).collect();
        state.answers.retain(|(n, key, _)| *n != node || flying.contains(key));
        state.gated.retain(|(n, key)| *n != node || flying.contains(key));
        let barriers = &state.barriers;
        state.loose.retain(|(step, op)| self.is_live(barriers[usize::from(*step)], *op));
    }

    /// Lets go of the requests of a coordinator that it no longer waits for: they may arrive at any time.
    fn loosen(&self, state: &mut State, node: usize, before: &[CallKey]) {
        let flying: BTreeSet<CallKey> = state.nodes[node].coordinator.in_flight(ID).collect();
        for key in before.iter().filter(|key| !flying.contains(key)) {
            if key.question == Question::Call && !state.gated.contains(&(node, *key)) {
                state.loose.insert((key.step.0, key.op));
            }
        }
    }
}

impl State {
    fn node(&mut self, node: usize) -> &mut Node {
        Arc::make_mut(&mut self.nodes[node])
    }

    fn set_row(&mut self, saga: Saga) {
        self.row_print = view(&saga, self.now);
        self.row = Some(Arc::new(saga));
    }

    fn holds(&self, node: usize) -> Option<&Saga> {
        self.nodes[node].coordinator.get(ID)
    }

    /// Whether the saga would be driven on if this coordinator lost it: somebody may claim it still.
    fn can_be_lost(&self, node: usize, claims: u64) -> bool {
        self.owner != node || self.epoch <= claims
    }
}

impl Node {
    fn new() -> Node {
        let coordinator = Coordinator::new(Limits { sagas_max: 1, batch_max: 1 });
        let mut node = Node { coordinator, write: None, result: None, print: 0 };
        node.print = node.fingerprint();
        node
    }

    fn fingerprint(&self) -> u64 {
        let mut mix = Mix::new(1);
        if let Some(saga) = self.coordinator.get(ID) {
            mix = mix.add(view(saga, Timestamp(0)));
            mix = mix.add(u64::from(self.coordinator.is_durable(ID)));
        }
        for key in self.coordinator.in_flight(ID) {
            mix = add_key(mix, key);
        }
        mix = mix.add(self.coordinator.next_wake().map_or(1, |at| at.0 as u64 + 2));
        mix = add_append(mix, self.write.as_ref());
        mix = match &self.result {
            None => mix.add(0),
            Some(Written::Done) => mix.add(1),
            Some(Written::Fenced) => mix.add(2),
            Some(Written::KeyTaken { .. }) => mix.add(3),
        };
        mix.add(u64::from(self.coordinator.is_writing())).finish()
    }
}

fn add_append(mix: Mix, append: Option<&Append>) -> Mix {
    // Together with the saga that the coordinator believes in, the numbers identify the events.
    match append {
        None => mix.add(0),
        Some(append) => mix.add(append.epoch).add(append.after_seq).add(append.records.len() as u64 + 1),
    }
}

fn add_key(mix: Mix, key: CallKey) -> Mix {
    let word = u64::from(key.step.0) << 48 | u64::from(key.attempt) << 16 | u64::from(key.poll) << 8;
    mix.add(word | (key.op as u64) << 4 | key.question as u64)
}

/// A saga as far as it matters for what can follow: without times and texts.
fn view(saga: &Saga, _now: Timestamp) -> u64 {
    let mut mix = Mix::new(2).add(saga.seq).add(saga.epoch).add(saga.direction as u64);
    mix = mix.add(saga.outcome.map_or(0, |outcome| outcome as u64 + 1)).add(saga.signals.len() as u64);
    for (_, state) in saga.steps() {
        let phase = match state.phase {
            StepPhase::Pending => 0,
            StepPhase::Running => 1,
            StepPhase::Waiting { .. } => 2,
            StepPhase::Done => 3,
            StepPhase::Refused => 4,
            StepPhase::Unknown => 5,
            StepPhase::Skipped => 6,
            StepPhase::Compensating => 7,
            StepPhase::Compensated => 8,
            StepPhase::Parked => 9,
        };
        mix = mix.add(phase).add(view_call(&state.action)).add(view_call(&state.compensation));
    }
    mix.finish()
}

fn view_call(call: &OpState) -> u64 {
    let phase = match call.phase {
        OpPhase::Idle => 0,
        OpPhase::Due { ask: false, .. } => 1,
        OpPhase::Due { ask: true, .. } => 2,
        OpPhase::Pending { .. } => 3,
        OpPhase::Done => 4,
        OpPhase::Refused => 5,
        OpPhase::Open => 6,
    };
    let parked = call.parked.map_or(0, |reason| reason as u64 + 1);
    u64::from(call.attempts) << 32
        | u64::from(call.spent) << 24
        | u64::from(call.polls) << 16
        | parked << 8
        | u64::from(call.doubt) << 4
        | phase
}

impl Space for Model {
    type State = State;
    type Action = Action;

    fn initial(&self) -> State {
        let mut first = Node::new();
        let start =
            Start { id: ID, definition: self.definition.clone(), input: Json::default(), key: None, labels: BTreeMap::new() };
        first.coordinator.start(start, [0; 32], Timestamp(0));
        let bounds = self.bounds;
        let mut state = State {
            row: None,
            row_print: 0,
            owner: 0,
            epoch: 1,
            nodes: [Arc::new(first), Arc::new(Node::new())],
            zombie: None,
            barriers: vec![Barrier::default(); self.definition.len()],
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
            },
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
        actions.extend(state.loose.iter().map(|(step, op)| Action::Loose(*step, *op)));
        actions.extend(state.answers.iter().map(|(node, key, _)| Action::Answer(*node, *key)));
    }

    fn after(&self, state: &State, action: Action) -> State {
        let mut next = state.clone();
        let touched = match action {
            Action::Apply(n)
            | Action::Report(n)
            | Action::Lose(n)
            | Action::Crash(n)
            | Action::Claim(n)
            | Action::Deliver(n, _)
            | Action::Refuse(n, _)
            | Action::Gate(n, _)
            | Action::Answer(n, _)
            | Action::Timeout(n, _)
            | Action::Cancel(n)
            | Action::Signal(n)
            | Action::Wake(n) => n,
            Action::Zombie | Action::Loose(..) => 0,
        };
        let flying: Vec<CallKey> = state.nodes[touched].coordinator.in_flight(ID).collect();
        self.happen(&mut next, action);
        self.loosen(&mut next, touched, &flying);
        self.settle(&mut next, touched);
        next
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let mut mix = Mix::new(3).add(state.row_print).add(state.epoch).add(state.owner as u64);
        mix = mix.add(state.nodes[0].print).add(state.nodes[1].print).add(state.now.0 as u64);
        mix = add_append(mix, state.zombie.as_deref());
        for b in &state.barriers {
            let word = (b.action as u64) << 24 | (b.undo as u64) << 16 | u64::from(b.effects) << 8;
            mix = mix.add(word | u64::from(b.undo_effects));
        }
        mix = mix.add(state.loose.len() as u64);
        for (step, op) in &state.loose {
            mix = mix.add(u64::from(*step) << 1 | *op as u64);
        }
        for (node, key, said) in &state.answers {
            mix = add_key(mix.add((*node as u64) << 8 | *said as u64), *key);
        }
        mix = mix.add(state.gated.len() as u64);
        for (node, key) in &state.gated {
            mix = add_key(mix.add(*node as u64), *key);
        }
        let left = state.left;
        let words = [left.crashes, left.refusals, left.gates, left.undo_refusals, left.cancels, left.signals];
        words.iter().fold(mix, |mix, word| mix.add(u64::from(*word))).finish()
    }

    fn broken(&self, state: &State) -> Option<String> {
        if let Some(law) = state.broken {
            return Some(law.to_owned());
        }
        for barrier in &state.barriers {
            if barrier.effects > 1 || barrier.undo_effects > 1 {
                return Some("I8: a call took effect twice".to_owned());
            }
            if barrier.undo_effects > barrier.effects {
                return Some("I9: a step was undone that was never done".to_owned());
            }
        }
        let row = state.row.as_ref()?;
        row.steps().find_map(|(ix, _)| self.step_broken(state, row, ix)).map(str::to_owned)
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
        let live = state.row.as_ref().is_some_and(|row| !row.is_terminal());
        if live && !owns && state.epoch <= claims {
            actions.push(Action::Claim(node));
        }
        for key in it.coordinator.in_flight(ID) {
            self.call_actions(state, node, key, actions);
        }
        let Some(saga) = held else { return };
        if state.left.cancels > 0 && saga.direction == Direction::Forward && !saga.is_terminal() {
            actions.push(Action::Cancel(node));
        }
        if state.left.signals > 0 && !saga.is_terminal() {
            actions.push(Action::Signal(node));
        }
        if it.coordinator.next_wake().is_some() {
            actions.push(Action::Wake(node));
        }
    }

    fn call_actions(&self, state: &State, node: usize, key: CallKey, actions: &mut Vec<Action>) {
        actions.push(Action::Timeout(node, key));
        if state.gated.contains(&(node, key)) {
            return;
        }
        actions.push(Action::Deliver(node, key));
        let barrier = state.barriers[usize::from(key.step.0)];
        let fresh = key.question == Question::Call && self.is_live(barrier, key.op);
        let refusals = match key.op {
            Op::Action => state.left.refusals,
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
                let effects = state.node(node).coordinator.written(&[result], now);
                self.sent(state, node, &effects);
            }
            Action::Lose(node) => self.lose(state, node),
            Action::Crash(node) => {
                state.left.crashes -= 1;
                let write = state.node(node).write.take();
                if self.bounds.zombies && state.zombie.is_none() {
                    state.zombie = write.map(Arc::new);
                }
                *state.node(node) = Node::new();
            }
            Action::Zombie => {
                let append = state.zombie.take().expect("a late write");
                self.write(state, &append);
            }
            Action::Claim(node) => {
                state.epoch += 1;
                state.owner = node;
                let (row, epoch) = (state.row.clone().expect("a row to claim"), state.epoch);
                state.node(node).coordinator.adopt(Saga::clone(&row), [0; 32], epoch, "another", now);
            }
            Action::Deliver(node, key) => {
                let said = match key.question {
                    Question::Call => self.handle(state, key.step.0, key.op, false),
                    Question::Status => self.status(state, key),
                };
                state.answers.insert((node, key, said));
            }
            Action::Refuse(node, key) => {
                match key.op {
                    Op::Action => state.left.refusals -= 1,
                    Op::Compensation => state.left.undo_refusals -= 1,
                }
                let said = self.handle(state, key.step.0, key.op, true);
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
            Action::Loose(step, op) => {
                self.handle(state, step, op, false);
            }
            Action::Cancel(node) => {
                state.left.cancels -= 1;
                self.input(state, node, Input::Cancel { reason: String::new() });
            }
            Action::Signal(node) => {
                state.left.signals -= 1;
                let (name, payload) = (self.signal.clone(), Json::default());
                self.input(state, node, Input::Signal { name, id: None, payload });
            }
            Action::Wake(node) => {
                let at = state.nodes[node].coordinator.next_wake().expect("a timer");
                state.now = at.max(now);
                let now = state.now;
                let effects = state.node(node).coordinator.tick(now);
                self.sent(state, node, &effects);
            }
        }
    }

    /// The coordinator cannot know whether its write took effect, and forgets the saga.
    fn lose(&self, state: &mut State, node: usize) {
        let now = state.now;
        let it = state.node(node);
        it.result = None;
        let write = it.write.take();
        if self.has(Bug::UnknownCommitTrusted) {
            let effects = it.coordinator.written(&[Written::Done], now);
            return self.sent(state, node, &effects);
        }
        it.coordinator.write_failed();
        if self.bounds.zombies && state.zombie.is_none() {
            state.zombie = write.map(Arc::new);
        }
    }

    fn status(&self, state: &State, key: CallKey) -> Said {
        let barrier = state.barriers[usize::from(key.step.0)];
        match if key.op == Op::Action { barrier.action } else { barrier.undo } {
            Mark::None => Said::NotSeen,
            Mark::Done => Said::Done,
            Mark::Refused | Mark::Tombstone => Said::Refused,
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

    /// What the durable journal says of a step, against what the participant holds.
    fn step_broken(&self, state: &State, row: &Saga, ix: StepIx) -> Option<&'static str> {
        let (step, barrier) = (row.step(ix), state.barriers[usize::from(ix.0)]);
        let is_call = self.definition.step(ix).call().is_some();
        let ended = row.outcome.is_some();
        if ended && row.direction == Direction::Forward && is_call && (barrier.effects, barrier.undo_effects) != (1, 0) {
            return Some("I6: a saga completed with a step not done exactly once");
        }
        if ended && row.direction == Direction::Backward && barrier.effects != barrier.undo_effects {
            return Some("I7: a saga is called compensated with a step standing");
        }
        if step.phase == StepPhase::Done && is_call && barrier.effects != 1 {
            return Some("I12: a step is called done that is not");
        }
        if step.phase == StepPhase::Compensated && barrier.effects != barrier.undo_effects {
            return Some("I12: a step is called undone that is not");
        }
        if step.phase == StepPhase::Refused && !step.action.doubt && barrier.effects != 0 {
            return Some("I12: a step is called refused that was done");
        }
        let undo = self.definition.step(ix).undo()?;
        let spent = step.compensation.spent >= undo.retry.attempts_max();
        let refused = step.compensation.phase == OpPhase::Refused;
        let parked = step.phase == StepPhase::Parked;
        if parked != (spent || refused) {
            return Some("I22: a step is parked if and only if its undo is spent or refused");
        }
        (parked && step.compensation.parked == Some(ParkReason::Refused) && !refused)
            .then_some("I22: a step is parked for the wrong reason")
    }
}

fn nothing() -> Report {
    Report { status: None, message: String::new(), latency_ms: 0 }
}
