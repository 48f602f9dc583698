//! One phase of the load: a warm-up, rounds, and what each of them says.

use super::{
    fleet::Fleet,
    open::{OpenLoad, Sample},
};
use anyhow::bail;
use std::{collections::BTreeMap, time::Duration};

/// Load before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// What is asked of a phase.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Sagas a second.
    pub(super) rate: u32,
    /// The length of a round.
    pub(super) round: Duration,
    /// How many.
    pub(super) rounds: u32,
}

/// What a phase measured.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Phase {
    pub(super) sagas: usize,
    pub(super) sagas_per_second: f64,
    /// The median over the rounds.
    pub(super) p50_ms: f64,
    /// The median over the rounds.
    pub(super) p99_ms: f64,
    /// Of each round.
    pub(super) p99_by_round_ms: Vec<f64>,
    /// The longest of all.
    pub(super) slowest_ms: f64,
    /// Processor time in per cent of one core, by process.
    pub(super) cpu_percent: BTreeMap<&'static str, f64>,
}

/// Runs the load for as many rounds as the shape says.
pub(super) async fn run(fleet: &Fleet, shape: Shape) -> anyhow::Result<Phase> {
    let load = OpenLoad::start(fleet.address(), shape.rate);
    tokio::time::sleep(WARM_UP).await;
    let (before, from) = (fleet.usage()?, load.elapsed());
    let until = from + shape.round * shape.rounds;
    while load.elapsed() < until && !load.has_failed() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (after, took) = (fleet.usage()?, load.elapsed() - from);
    let samples = load.finish().await?;
    let rounds = (0..shape.rounds).map(|k| {
        let begins = from + shape.round * k;
        let within = |sample: &&Sample| (begins..begins + shape.round).contains(&sample.at);
        samples.iter().filter(within).map(|sample| sample.took).collect::<Vec<_>>()
    });
    let share = |used: u64| used as f64 / took.as_secs_f64() / 10_000.0;
    let cpu = after
        .iter()
        .zip(&before)
        .map(|((name, after), (_, before))| (*name, share(after.since(*before).cpu_us)));
    of(rounds.collect(), shape.round, cpu.collect())
}

/// Sums up rounds, each of them the latencies of its sagas.
pub(super) fn of(
    mut rounds: Vec<Vec<Duration>>,
    round: Duration,
    cpu_percent: BTreeMap<&'static str, f64>,
) -> anyhow::Result<Phase> {
    if rounds.is_empty() || rounds.iter().any(Vec::is_empty) {
        bail!("a round of the load is too short for a single saga to end");
    }
    rounds.iter_mut().for_each(|round| round.sort_unstable());
    let at = |share: f64| rounds.iter().map(|round| quantile_ms(round, share)).collect::<Vec<f64>>();
    let (p99s, slowest) = (at(0.99), at(1.0));
    let sagas = rounds.iter().map(Vec::len).sum();
    Ok(Phase {
        sagas,
        sagas_per_second: sagas as f64 / (round.as_secs_f64() * rounds.len() as f64),
        p50_ms: median(at(0.5)),
        p99_ms: median(p99s.clone()),
        p99_by_round_ms: p99s,
        slowest_ms: slowest.into_iter().fold(0.0, f64::max),
        cpu_percent,
    })
}

/// A quantile of what is sorted and not empty, in milliseconds.
fn quantile_ms(sorted: &[Duration], share: f64) -> f64 {
    let at = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[at].as_secs_f64() * 1000.0
}

/// The one in the middle; between two of them, half-way. Nothing has the median 0.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_the_median_of_its_rounds() {
        let round = |ms: u64| (1..=100).map(|k| Duration::from_millis(k * ms)).rev().collect::<Vec<_>>();
        let phase =
            of(vec![round(1), round(9), round(2)], Duration::from_secs(1), BTreeMap::new()).expect("a phase");
        assert_eq!((phase.sagas, phase.sagas_per_second), (300, 100.0));
        assert_eq!(phase.p99_by_round_ms, [99.0, 891.0, 198.0]);
        assert_eq!((phase.p99_ms, phase.slowest_ms), (198.0, 900.0));
        assert!(of(vec![round(1), Vec::new()], Duration::from_secs(1), BTreeMap::new()).is_err());
    }

    #[test]
    fn the_median_of_an_even_number_is_half_way() {
        for (values, expected) in
            [(vec![], 0.0), (vec![3.0], 3.0), (vec![4.0, 1.0], 2.5), (vec![9.0, 1.0, 2.0], 2.0)]
        {
            assert_eq!(median(values.clone()), expected, "{values:?}");
        }
    }
}
