//! The exhaustive model: every interleaving of a small world, and the proof that it would find a bug.
//!
//! `AMENDS_MODEL_STATES=5000000` searches wider models, each up to that many states.

use amends_saga::planted;
use amends_tests::model::{
    Bug, models,
    search::{Found, search},
};

/// The search clones and drops small values all day long.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The states that the ordinary run visits, at least.
const STATES: usize = 1_000_000;

/// The states within which a planted bug must be found, in one model after the other.
const BUG_STATES: usize = 250_000;

fn report(name: &str, found: &Found) {
    println!(
        "{name}: {} states, {} edges, {} ends, {} deep, {} in {:.1} s ({:.0} states/s)",
        found.states,
        found.edges,
        found.goals,
        found.depth,
        if found.complete { "complete" } else { "cut off" },
        found.took.as_secs_f64(),
        found.states as f64 / found.took.as_secs_f64()
    );
    if let Some((law, way)) = &found.broken {
        panic!("{name}: {law}, after\n  {}", way.join("\n  "));
    }
}

#[test]
fn every_law_holds_in_every_state() {
    let max = std::env::var("AMENDS_MODEL_STATES").ok();
    let max = max.map(|text| text.parse::<usize>().unwrap_or_else(|_| panic!("AMENDS_MODEL_STATES={text}")));
    let mut states = 0;
    for (name, model) in models(None, max.is_some()) {
        let found = search(&model, max.unwrap_or(usize::MAX));
        report(name, &found);
        assert!(found.complete || max.is_some(), "the ordinary models are searched to the end");
        states += found.states;
    }
    println!("{states} states in all");
    assert!(states >= STATES, "{states} states are fewer than {STATES}");
}

/// Bugs that the model cannot see, each with the test that does.
const FOUND_ELSEWHERE: &[(Bug, &str)] = &[
    (Bug::Core(planted::Bug::SleeperForgotten), "the simulated world"),
    (Bug::Core(planted::Bug::WaitingTrusted), "the simulated world"),
    (Bug::Core(planted::Bug::LeftForgotten), "the coordinator's own tests"),
    (Bug::Core(planted::Bug::UnsentUndone), "the outage"),
    (Bug::Core(planted::Bug::BreakerIgnored), "the outage"),
    (Bug::Core(planted::Bug::PaceIgnored), "the outage"),
    (Bug::Core(planted::Bug::PaceStuck), "the outage"),
    (Bug::Core(planted::Bug::PaceWornDown), "the outage"),
    (Bug::Core(planted::Bug::GateLeaksSlot), "the outage"),
    (Bug::Core(planted::Bug::QueueForgotten), "the outage"),
    (Bug::Core(planted::Bug::BreakerSpendsAttempts), "the coordinator's own tests"),
    (Bug::Core(planted::Bug::ProbeFloods), "the gate's own tests"),
    (Bug::Core(planted::Bug::ProbesAlike), "the gate's own tests"),
    (Bug::Core(planted::Bug::RetriesUnbudgeted), "the gate's own tests"),
    (Bug::Core(planted::Bug::ReturnsUnchecked), "the language's properties"),
];

#[test]
fn every_planted_bug_is_found() {
    let world = [
        Bug::NoDedupe,
        Bug::NoTombstone,
        Bug::RefusalForgotten,
        Bug::UndoRepeated,
        Bug::LateWorkDone,
        Bug::NoCondition,
        Bug::UnknownCommitTrusted,
    ];
    let mut missed = Vec::new();
    for bug in planted::ALL.iter().map(|bug| Bug::Core(*bug)).chain(world) {
        if let Some((_, test)) = FOUND_ELSEWHERE.iter().find(|(other, _)| *other == bug) {
            println!("{bug:?}: {test} finds it");
            continue;
        }
        let mut states = 0;
        let caught = models(Some(bug), false).into_iter().find_map(|(name, model)| {
            let found = search(&model, BUG_STATES);
            states += found.states;
            found.broken.map(|(law, way)| (name, law, way.len()))
        });
        match caught {
            Some((name, law, steps)) => {
                println!("{bug:?}: {law}; {steps} steps in \"{name}\", after {states} states");
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
