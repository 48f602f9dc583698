//! The simulated world: many seeds of it, and the proof that it would find a bug.
//!
//! `AMENDS_SIM_SEEDS=1000000` runs more seeds, `AMENDS_SIM_SEED=7` runs one and prints its log,
//! `AMENDS_SIM_SAGAS=4` makes the worlds smaller.

use amends_saga::planted;
use amends_tests::world::{
    Planted, Settings, bugs,
    campaign::{Campaign, attempt},
};
use std::time::Instant;

/// Seeds of the ordinary run.
const SEEDS: u64 = 10_000;

/// Carts in each.
const SAGAS: usize = 20;

/// Seeds within which a planted bug must be found.
const BUG_SEEDS: u64 = 20_000;

/// Below this number of seeds a rare situation may well be missing.
const SEEDS_FOR_ALL_SITUATIONS: u64 = 5_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

fn sagas() -> usize {
    number("AMENDS_SIM_SAGAS").map_or(SAGAS, |n| n as usize)
}

#[test]
fn every_invariant_holds_in_every_seed() {
    if let Some(seed) = number("AMENDS_SIM_SEED") {
        return one_seed(seed);
    }
    let seeds = number("AMENDS_SIM_SEEDS").unwrap_or(SEEDS);
    let begin = Instant::now();
    let outcome = Campaign::new(0..seeds, sagas()).run();
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{} seeds of {} sagas in {seconds:.1} s: {:.0} seeds/s, {:.1} M events/s, {:.0} times real time\n{}",
        outcome.seeds,
        sagas(),
        outcome.seeds as f64 / seconds,
        outcome.events as f64 / seconds / 1e6,
        outcome.virtual_ms as f64 / 1000.0 / seconds,
        outcome.counts
    );
    for (seed, what) in &outcome.failures {
        let settings = Settings { seed: *seed, sagas: sagas(), bug: None, log: true };
        println!("seed {seed}: {what}\n  repeat it with: {settings}");
    }
    assert!(outcome.failures.is_empty(), "{} seeds failed; the commands stand above", outcome.failures.len());
    let missing = outcome.counts.missing();
    assert!(seeds < SEEDS_FOR_ALL_SITUATIONS || missing.is_empty(), "never reached: {missing:?}");
}

fn one_seed(seed: u64) {
    let report = attempt(Settings { seed, sagas: sagas(), bug: None, log: true });
    let report = report.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    report.log.iter().for_each(|line| println!("{line}"));
    println!("{}digest {:016x}", report.counts, report.digest);
    assert!(report.violations.is_empty(), "seed {seed}: {:?}", report.violations);
}

#[test]
fn a_seed_decides_everything() {
    let settings = Settings { seed: 42, sagas: sagas(), bug: None, log: true };
    let (one, two) = (attempt(settings).expect("it runs"), attempt(settings).expect("it runs"));
    assert_eq!((one.digest, one.log), (two.digest, two.log));
}

/// The alarm itself: a seed with a bug in it must fail, or no green run means anything.
#[test]
fn the_canary_dies() {
    let bug = Some(Planted::World(bugs::Bug::NoDedupe));
    let campaign = Campaign { bug, failures_max: 1, ..Campaign::new(0..200, SAGAS) };
    let outcome = campaign.run();
    assert!(!outcome.failures.is_empty(), "a participant without deduplication went unnoticed for 200 seeds");
}

/// Bugs that the simulated world cannot see, each with the test that does.
const FOUND_ELSEWHERE: &[(planted::Bug, &str)] = &[
    (planted::Bug::HeldBlocksAdoption, "the model"),
    (planted::Bug::BreakerIgnored, "the outage"),
    (planted::Bug::PaceIgnored, "the outage"),
    (planted::Bug::PaceStuck, "the outage"),
    (planted::Bug::PaceWornDown, "the outage"),
    (planted::Bug::LeftForgotten, "the coordinator's own tests"),
    (planted::Bug::UnsentUndone, "the outage"),
    (planted::Bug::GateLeaksSlot, "the outage"),
    (planted::Bug::QueueForgotten, "the outage"),
    (planted::Bug::BreakerSpendsAttempts, "the coordinator's own tests"),
    (planted::Bug::ProbeFloods, "the gate's own tests"),
    (planted::Bug::ProbesAlike, "the gate's own tests"),
    (planted::Bug::RetriesUnbudgeted, "the gate's own tests"),
    (planted::Bug::ReturnsUnchecked, "the language's properties"),
];

#[test]
fn every_planted_bug_is_found() {
    let core = planted::ALL.iter().map(|bug| Planted::Core(*bug));
    let world = bugs::ALL.iter().map(|bug| Planted::World(*bug));
    let mut missed = Vec::new();
    for bug in core.chain(world) {
        if let Some((_, test)) = FOUND_ELSEWHERE.iter().find(|(other, _)| Planted::Core(*other) == bug) {
            println!("{bug:?}: {test} finds it");
            continue;
        }
        let campaign = Campaign { bug: Some(bug), failures_max: 1, ..Campaign::new(0..BUG_SEEDS, SAGAS) };
        let outcome = campaign.run();
        match outcome.failures.first() {
            Some((seed, what)) => println!("{bug:?}: seed {seed}, after {} seeds: {what}", outcome.seeds),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found within {BUG_SEEDS} seeds: {missed:?}");
}
