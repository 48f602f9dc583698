//! What was measured, as a table or as one JSON object.

use crate::{
    exit::Exit,
    globals::Globals,
    output::say,
    table::{Table, print_json},
};

/// Everything that was measured.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Report {
    pub(super) holds: u64,
    /// How long it took to put them to sleep.
    pub(super) filled_seconds: f64,
    pub(super) expiring_per_second: u32,
    pub(super) seconds: u64,
    /// Holds whose time was up, every one undone.
    pub(super) expired: u64,
    /// Sagas that completed beside them.
    pub(super) completed: u64,
    pub(super) lateness: Lateness,
    pub(super) lateness_ms_max: f64,
    pub(super) memory_mib: Mebibytes,
    pub(super) memory_mib_max: f64,
}

/// The coordinator's resident memory.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Mebibytes {
    /// Before anything.
    pub(super) empty: f64,
    /// With every hold asleep.
    pub(super) asleep: f64,
    /// At the end of the measured time.
    pub(super) during: f64,
    /// The most it ever took.
    pub(super) peak: f64,
}

/// How long after their time the holds were undone, in milliseconds; what reserving and undoing took included.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub(super) struct Lateness {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Lateness {
    pub(super) fn of(mut late: Vec<i64>) -> Lateness {
        late.sort_unstable();
        let at = |share: f64| {
            let place = (share * late.len() as f64).ceil() as usize;
            late.get(place.saturating_sub(1)).copied().unwrap_or_default() as f64
        };
        Lateness { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }
}

impl Report {
    /// How the bench ends: the answer is no when the holds are late, or cost too much.
    pub(super) fn exit(&self) -> Exit {
        let is_late = self.lateness.p99_ms > self.lateness_ms_max;
        if is_late || self.memory_mib.peak > self.memory_mib_max { Exit::No } else { Exit::Done }
    }

    pub(super) fn print(&self, globals: &Globals) -> anyhow::Result<()> {
        if globals.json {
            return print_json(self);
        }
        say!(
            "{} holds were put to sleep in {:.0} s, {:.0} a second; then {} a second expired and as many sagas \
             completed, for {} s\n",
            self.holds,
            self.filled_seconds,
            self.holds as f64 / self.filled_seconds.max(0.001),
            self.expiring_per_second,
            self.seconds,
        );
        let mut table = Table::new(&["what", "measured", "at most"]);
        let (late, memory) = (&self.lateness, &self.memory_mib);
        let ms = |value: f64| format!("{value:.0} ms");
        let mib = |value: f64| format!("{value:.0} MiB");
        table.row([format!("{} holds expired, late p50", self.expired), ms(late.p50_ms), String::new()]);
        table.row(["late p99".to_owned(), ms(late.p99_ms), ms(self.lateness_ms_max)]);
        table.row(["late max".to_owned(), ms(late.max_ms), String::new()]);
        table.row(["sagas completed beside".to_owned(), self.completed.to_string(), String::new()]);
        table.row(["memory, empty".to_owned(), mib(memory.empty), String::new()]);
        table.row(["memory, all asleep".to_owned(), mib(memory.asleep), String::new()]);
        table.row(["memory, while they expire".to_owned(), mib(memory.during), String::new()]);
        table.row(["memory, peak".to_owned(), mib(memory.peak), mib(self.memory_mib_max)]);
        table.print();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_late_is_late_at_least_so_much() {
        let late = Lateness::of((1..=200).rev().collect());
        assert_eq!(late, Lateness { p50_ms: 100.0, p99_ms: 198.0, max_ms: 200.0 });
        assert_eq!(Lateness::of(vec![7]), Lateness { p50_ms: 7.0, p99_ms: 7.0, max_ms: 7.0 });
        assert_eq!(Lateness::of(Vec::new()), Lateness::default());
    }
}
