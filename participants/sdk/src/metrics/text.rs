//! The text that Prometheus reads: every name with what it says and of which kind it is, then its values.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A text of figures under way.
#[derive(Debug, Default)]
pub struct Text {
    /// The label that every value is given, where all participants have the name.
    participant: Option<String>,
    text: String,
}

/// Counts how often something was at most how much; the number of buckets never changes.
#[derive(Debug)]
pub(crate) struct Histogram<const N: usize> {
    /// How many were within each bound, and within none below it.
    within: [AtomicU64; N],
    beyond: AtomicU64,
    /// In the unit that is observed.
    sum: AtomicU64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        let within = std::array::from_fn(|_| AtomicU64::new(0));
        Histogram { within, beyond: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }
}

impl<const N: usize> Histogram<N> {
    /// Counts `times` observations of one value; `bounds` are the same every time.
    pub(crate) fn observe(&self, bounds: &[u64; N], value: u64, times: u64) {
        let bucket = bounds.iter().position(|bound| value <= *bound);
        bucket.map_or(&self.beyond, |at| &self.within[at]).fetch_add(times, Relaxed);
        self.sum.fetch_add(value.saturating_mul(times), Relaxed);
    }
}

impl Text {
    pub(crate) fn of(participant: &str) -> Text {
        Text { participant: Some(escaped(participant)), text: String::with_capacity(8 * 1024) }
    }

    /// Goes on with figures whose names are one participant's alone.
    pub(crate) fn go_on_without_a_name(&mut self) {
        self.participant = None;
    }

    // Writing to a string does not fail.

    /// Begins a name: what it says, and whether it is a `counter`, a `gauge` or a `histogram`.
    pub fn begin(&mut self, name: &str, kind: &str, says: &str) {
        let _ = writeln!(self.text, "# HELP {name} {says}\n# TYPE {name} {kind}");
    }

    /// One value of the name that was begun; `labels` are pairs of a name and a value.
    pub fn value(&mut self, name: &str, labels: &[(&str, &str)], value: &dyn Display) {
        let _ = write!(self.text, "{name}");
        let mut sign = '{';
        let participant = self.participant.iter().map(|participant| ("participant", participant.clone()));
        for (label, of) in participant.chain(labels.iter().map(|(label, of)| (*label, escaped(of)))) {
            let _ = write!(self.text, "{sign}{label}=\"{of}\"");
            sign = ',';
        }
        let end = if sign == '{' { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    /// A name with one value.
    pub fn one(&mut self, name: &str, kind: &str, says: &str, value: &dyn Display) {
        self.begin(name, kind, says);
        self.value(name, &[], value);
    }

    /// A counter with one value for each value of a label.
    pub fn each(&mut self, name: &str, says: &str, label: &str, values: &[(&str, u64)]) {
        self.begin(name, "counter", says);
        for (of, value) in values {
            self.value(name, &[(label, of)], value);
        }
    }

    /// A histogram of the name that was begun, in `unit`s of what was observed.
    pub(crate) fn histogram<const N: usize>(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        (histogram, bounds, unit): (&Histogram<N>, &[u64; N], f64),
    ) {
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (bound, within) in bounds.iter().zip(&histogram.within) {
            count += within.load(Relaxed);
            let le = (*bound as f64 / unit).to_string();
            self.value(&bucket, &[labels, &[("le", &le)]].concat(), &count);
        }
        count += histogram.beyond.load(Relaxed);
        self.value(&bucket, &[labels, &[("le", "+Inf")]].concat(), &count);
        self.value(&format!("{name}_sum"), labels, &(histogram.sum.load(Relaxed) as f64 / unit));
        self.value(&format!("{name}_count"), labels, &count);
    }
}

impl Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// A label's value, as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
