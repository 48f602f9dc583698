//! What was measured, as tables while it goes on, or as one JSON object at the end.

use super::{
    bulk::Retried,
    park::{Parked, Trickled},
    phase::Phase,
    queue::Look,
};
use crate::{
    exit::Exit,
    globals::Globals,
    output::say,
    table::{Table, Tone, painted, print_json},
};

/// Everything, as it becomes known.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Report {
    pub(super) rate: u32,
    pub(super) seconds: u64,
    pub(super) rounds: u32,
    pub(super) cores: usize,
    pub(super) alone: Phase,
    pub(super) parked: Parked,
    pub(super) beside: Phase,
    /// The p99 beside by the p99 alone.
    pub(super) ratio: f64,
    pub(super) ratio_max: f64,
    /// The breaker of the dead participant after the second phase.
    pub(super) breaker: String,
    pub(super) queue: Vec<Look>,
    pub(super) queue_ms_max: f64,
    pub(super) bulk: Retried,
    pub(super) trickle: Trickled,
}

impl Report {
    /// How the bench ends: the answer is no when the load suffered, or the queue is slow.
    pub(super) fn exit(&self) -> Exit {
        let is_slow = self.queue.iter().any(|look| look.slowest_ms > self.queue_ms_max);
        if self.ratio > self.ratio_max || is_slow { Exit::No } else { Exit::Done }
    }

    /// Prints it where a program reads.
    pub(super) fn print(&self, globals: &Globals) -> anyhow::Result<()> {
        if globals.json { print_json(self) } else { Ok(()) }
    }
}

/// The two phases side by side.
pub(super) fn phases(
    alone: &Phase,
    beside: &Phase,
    parked: Parked,
    ratio: f64,
    ratio_max: f64,
    breaker: &str,
) {
    say!(
        "{} sagas were parked in {:.1} s, {:.0} a second; the breaker of the dead participant is {breaker}\n",
        parked.items,
        parked.seconds,
        parked.items as f64 / parked.seconds
    );
    let mut table = Table::new(&[
        "unrelated load",
        "sagas",
        "sagas/s",
        "p50 ms",
        "p99 ms",
        "p99 by round",
        "slowest ms",
        "CPU % of a core",
    ]);
    for (name, phase) in [("alone", alone), ("beside them", beside)] {
        table.row(cells(name, phase));
    }
    table.print();
    let verdict = format!("p99 beside / alone: {ratio:.2}, at most {ratio_max:.2}");
    say!("\n{}\n", painted(&verdict, if ratio > ratio_max { Tone::Bad } else { Tone::Good }));
}

fn cells(name: &str, phase: &Phase) -> [String; 8] {
    let cpu: Vec<String> =
        phase.cpu_percent.iter().map(|(name, share)| format!("{name} {share:.0}")).collect();
    let rounds: Vec<String> = phase.p99_by_round_ms.iter().map(|ms| format!("{ms:.2}")).collect();
    [
        name.to_owned(),
        phase.sagas.to_string(),
        format!("{:.0}", phase.sagas_per_second),
        format!("{:.2}", phase.p50_ms),
        format!("{:.2}", phase.p99_ms),
        rounds.join(" "),
        format!("{:.1}", phase.slowest_ms),
        cpu.join(", "),
    ]
}

/// How long the queue took to answer.
pub(super) fn queue(looks: &[Look], ms_max: f64) {
    let mut table = Table::new(&["the queue", "asked", "items", "median ms", "slowest ms"]);
    for look in looks {
        let tone = if look.slowest_ms > ms_max { Tone::Bad } else { Tone::Plain };
        let items = look.items.map_or_else(|| "-".to_owned(), |items| items.to_string());
        let ms = [format!("{:.1}", look.median_ms), format!("{:.1}", look.slowest_ms)];
        let [median, slowest] = ms;
        let cells = [look.what.clone(), look.times.to_string(), items, median, slowest];
        table.toned(cells.into_iter().map(|cell| (cell, tone)));
    }
    table.print();
    let slow = looks.iter().filter(|look| look.slowest_ms > ms_max).count();
    if slow > 0 {
        let verdict = format!("{slow} of {} took longer than {ms_max:.0} ms", looks.len());
        say!("\n{}", painted(&verdict, Tone::Bad));
    }
}

/// What came of the bulk retry and of the trickle.
pub(super) fn bulk(retried: &Retried, trickle: Trickled) {
    say!(
        "\nbulk retry: {} items in {:.1} s, {:.0} a second (at most {}); stopped at {}, stood, and was resumed;\n\
         {} sagas are compensated and no item is left; unrelated load meanwhile: p50 {:.2} ms, p99 {:.2} ms",
        retried.items,
        retried.seconds,
        retried.items_per_second,
        retried.per_second_allowed,
        retried.stopped_at,
        retried.compensated,
        retried.load.p50_ms,
        retried.load.p99_ms
    );
    say!("sagas started for the dead participant: {}, refused for now: {}", trickle.started, trickle.refused);
}
