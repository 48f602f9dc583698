//! Fingerprints: a state without what cannot matter for what follows, such as times and texts.

use super::state::{ID, Node, State};
use amends_saga::{
    CallKey, OpPhase, OpState, Saga, StepPhase,
    coordinator::{Append, Written},
    hash::Mix,
};

/// The fingerprint of a whole state.
pub(super) fn of_state(state: &State) -> u64 {
    let mut mix = Mix::new(3).add(state.row_print).add(state.epoch).add(state.owner as u64);
    mix = mix.add(state.nodes[0].print).add(state.nodes[1].print).add(state.now.0 as u64);
    mix = add_append(mix, state.zombie.as_deref());
    for b in &state.barriers {
        let word = (b.action as u64) << 24 | (b.undo as u64) << 16 | u64::from(b.effects) << 8;
        let word =
            word | (b.confirm as u64) << 48 | u64::from(b.confirm_effects) << 40 | u64::from(b.round) << 32;
        mix = mix.add(word | u64::from(b.undo_effects));
    }
    mix = mix.add(state.loose.len() as u64);
    for (step, op, round) in &state.loose {
        mix = mix.add(u64::from(*round) << 32 | u64::from(*step) << 2 | *op as u64);
    }
    for (node, key, said) in &state.answers {
        mix = add_key(mix.add((*node as u64) << 8 | *said as u64), *key);
    }
    mix = mix.add(state.gated.len() as u64);
    for (node, key) in &state.gated {
        mix = add_key(mix.add(*node as u64), *key);
    }
    let left = state.left;
    let words = [
        left.crashes,
        left.refusals,
        left.gates,
        left.undo_refusals,
        left.cancels,
        left.signals,
        left.verbs,
        left.branches,
        left.commits,
        left.reverts,
    ];
    words.iter().fold(mix, |mix, word| mix.add(u64::from(*word))).finish()
}

/// The fingerprint of a coordinator process.
pub(super) fn of_node(node: &Node) -> u64 {
    let mut mix = Mix::new(1);
    if let Some(saga) = node.coordinator.get(ID) {
        mix = mix.add(of_saga(saga));
        mix = mix.add(u64::from(node.coordinator.is_durable(ID)));
    }
    for key in node.coordinator.in_flight(ID) {
        mix = add_key(mix, key);
    }
    mix = mix.add(node.coordinator.next_wake().map_or(1, |at| at.0 as u64 + 2));
    mix = add_append(mix, node.write.as_deref());
    mix = match &node.result {
        None => mix.add(0),
        Some(Written::Done) => mix.add(1),
        Some(Written::Fenced) => mix.add(2),
        Some(Written::KeyTaken { .. }) => mix.add(3),
    };
    mix.add(u64::from(node.coordinator.is_writing())).finish()
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
pub(super) fn of_saga(saga: &Saga) -> u64 {
    let mut mix = Mix::new(2).add(saga.seq).add(saga.epoch).add(saga.direction as u64);
    mix = mix.add(saga.outcome.map_or(0, |outcome| outcome as u64 + 1)).add(saga.signals.len() as u64);
    mix = mix.add(u64::from(saga.committed_at.is_some()));
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
            StepPhase::Registered => 10,
        };
        mix = mix.add(phase).add(of_call(&state.action)).add(of_call(&state.compensation));
        for repair in state.action.repair.iter().chain(&state.compensation.repair) {
            let how = repair.settled.as_ref().map_or(0, |settled| settled.how as u64 + 1);
            mix = mix.add(u64::from(repair.number) << 16 | (repair.status as u64) << 8 | how);
        }
    }
    mix.finish()
}

fn of_call(call: &OpState) -> u64 {
    let phase = match call.phase {
        OpPhase::Idle => 0,
        OpPhase::Due { ask: false, .. } => 1,
        OpPhase::Due { ask: true, .. } => 2,
        OpPhase::Pending { .. } => 3,
        OpPhase::Done => 4,
        OpPhase::Refused => 5,
        OpPhase::Open => 6,
    };
    let parked = call.parked().map_or(0, |reason| reason as u64 + 1);
    u64::from(call.attempts) << 32
        | u64::from(call.spent) << 24
        | u64::from(call.polls) << 16
        | u64::from(call.round) << 56
        | parked << 8
        | u64::from(call.doubt) << 4
        | phase
}
