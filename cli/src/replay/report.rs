//! What a replay says at its end, for people and for programs.

use super::{
    read::{Event, Orders, Reject},
    run::{End, Ended},
};
use crate::{
    books::{Books, Verdict},
    output::say,
    table::{Table, Tone, clean, painted},
};
use anyhow::Context;
use serde::Serialize;
use std::{collections::BTreeMap, path::Path, time::Duration};

/// Failures that are told one by one.
const FAILURES_SHOWN: usize = 10;

/// The summary; serialised, it is what `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// What was replayed.
    file: String,
    /// What it was called.
    run: String,
    /// Lines below the heading.
    rows: u64,
    /// Carts that were ordered; completed, compensated and failed ones together.
    invoices: usize,
    completed: usize,
    compensated: usize,
    compensated_by_reason: BTreeMap<String, usize>,
    /// Invoices that brought goods back.
    cancellations: usize,
    /// Lines left out, by reason.
    rejected: BTreeMap<&'static str, usize>,
    /// Invoices of either kind that have no end.
    failed: usize,
    /// The first of them, and why.
    failures: Vec<String>,
    books: Verdict,
    /// What two runs are compared by.
    ledger: String,
    carts_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    elapsed_ms: u64,
}

/// What the summary is made from.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    pub(super) file: String,
    pub(super) run: &'a str,
    pub(super) orders: &'a Orders,
    pub(super) ended: &'a [Ended],
    pub(super) books: &'a Books,
    pub(super) ledger: String,
    /// How long the invoices took, from the first start to the last end.
    pub(super) elapsed: Duration,
}

impl Report {
    pub(super) fn new(outcome: Outcome<'_>) -> Report {
        let Outcome { file, run, orders, ended, books, ledger, elapsed } = outcome;
        let mut report = Report {
            file,
            run: run.to_owned(),
            rows: orders.rows,
            invoices: 0,
            completed: 0,
            compensated: 0,
            compensated_by_reason: BTreeMap::new(),
            cancellations: 0,
            rejected: BTreeMap::new(),
            failed: 0,
            failures: Vec::new(),
            books: books.verdict,
            ledger,
            carts_per_second: 0.0,
            p50_ms: 0.0,
            p99_ms: 0.0,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        };
        orders
            .rejects
            .iter()
            .for_each(|reject| *report.rejected.entry(reject.reason.as_str()).or_default() += 1);
        let mut latencies = Vec::new();
        for one in ended {
            match &orders.events[one.index] {
                Event::Cart(cart) => {
                    report.invoices += 1;
                    latencies.push(one.took);
                    report.count(&cart.invoice, &one.end);
                }
                Event::Return(back) => {
                    report.cancellations += 1;
                    report.count(&back.invoice, &one.end);
                }
            }
        }
        latencies.sort_unstable();
        report.carts_per_second = latencies.len() as f64 / elapsed.as_secs_f64().max(1e-9);
        (report.p50_ms, report.p99_ms) = (percentile_ms(&latencies, 0.5), percentile_ms(&latencies, 0.99));
        report
    }

    fn count(&mut self, invoice: &str, end: &End) {
        match end {
            End::Completed => self.completed += 1,
            End::Compensated(reason) => {
                self.compensated += 1;
                *self.compensated_by_reason.entry(reason.clone()).or_default() += 1;
            }
            End::Returned => {}
            End::Failed(why) => {
                self.failed += 1;
                if self.failures.len() < FAILURES_SHOWN {
                    self.failures.push(format!("invoice {invoice}: {why}"));
                }
            }
        }
    }

    /// Whether every invoice came to its end and the books balance.
    pub(super) fn is_good(&self) -> bool {
        self.failed == 0 && self.books == Verdict::Balanced
    }

    /// Prints it for people.
    pub(super) fn print(&self, books: &Books) {
        say!("replayed {} as {}", clean(&self.file), self.run);
        let mut table = Table::new(&["", "count"]);
        let mut row = |what: String, count: usize, tone: Tone| {
            table.toned([
                (what, Tone::Plain),
                (count.to_string(), if count == 0 { Tone::Faint } else { tone }),
            ]);
        };
        row("carts".to_owned(), self.invoices, Tone::Plain);
        row("  completed".to_owned(), self.completed, Tone::Good);
        row("  compensated".to_owned(), self.compensated, Tone::Warn);
        for (reason, count) in &self.compensated_by_reason {
            row(format!("    {reason}"), *count, Tone::Plain);
        }
        row("cancellations".to_owned(), self.cancellations, Tone::Plain);
        row("without an end".to_owned(), self.failed, Tone::Bad);
        row("rows".to_owned(), usize::try_from(self.rows).unwrap_or(usize::MAX), Tone::Plain);
        row("  left out".to_owned(), self.rejected.values().sum(), Tone::Plain);
        for (reason, count) in &self.rejected {
            row(format!("    {reason}"), *count, Tone::Faint);
        }
        table.print();
        say!(
            "\n{:.1} carts/s, p50 {:.1} ms, p99 {:.1} ms, {:.1} s in all\n",
            self.carts_per_second,
            self.p50_ms,
            self.p99_ms,
            self.elapsed_ms as f64 / 1000.0
        );
        for failure in &self.failures {
            say!("{} {}", painted("failed", Tone::Bad), clean(failure));
        }
        books.print();
        say!("ledger: {}", self.ledger);
    }
}

/// Writes every rejected line as CSV.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write_rejects(path: &Path, rejects: &[Reject]) -> anyhow::Result<()> {
    let context = || format!("the rejects cannot be written to {}", path.display());
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_path(path).with_context(context)?;
    writer.write_record(["line", "invoice", "stock_code", "reason", "detail"]).with_context(context)?;
    for reject in rejects {
        writer.serialize(reject).with_context(context)?;
    }
    writer.flush().with_context(context)
}

/// The value below which this share of the sorted values lies, in milliseconds; 0 when there is none.
fn percentile_ms(sorted: &[Duration], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = (last as f64 * share).round() as usize;
    sorted[at.min(last)].as_secs_f64() * 1000.0
}
