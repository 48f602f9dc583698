//! Many seeds: in parallel, each failure with the command that repeats it.

use super::{Planted, Report, Settings, count::Counts, run};
use std::{
    any::Any,
    cell::Cell,
    ops::Range,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex, Once,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Failures after which a campaign gives up.
const FAILURES_MAX: usize = 5;

/// Every so many seeds one is run twice, to show that a seed decides everything.
const TWICE_EVERY: u64 = 500;

/// Seeds to run.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// Which.
    pub seeds: Range<u64>,
    /// Carts in each.
    pub sagas: usize,
    /// The bug planted in all of them.
    pub bug: Option<Planted>,
    /// Threads to use.
    pub threads: usize,
    /// Failures to look for.
    pub failures_max: usize,
}

/// What came of a campaign.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The seeds run.
    pub seeds: u64,
    /// The events handled in them.
    pub events: u64,
    /// The virtual time passed in them.
    pub virtual_ms: u64,
    /// The situations reached.
    pub counts: Counts,
    /// The seeds that failed, and how.
    pub failures: Vec<(u64, String)>,
}

impl Campaign {
    /// All seeds of a range without a planted bug.
    pub fn new(seeds: Range<u64>, sagas: usize) -> Campaign {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Campaign { seeds, sagas, bug: None, threads, failures_max: FAILURES_MAX }
    }

    /// Runs it.
    pub fn run(&self) -> Outcome {
        let next = AtomicU64::new(self.seeds.start);
        let outcome = Mutex::new(Outcome::default());
        thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| self.work(&next, &outcome));
            }
        });
        let mut outcome = outcome.into_inner().expect("no worker panics");
        outcome.failures.sort();
        outcome
    }

    fn work(&self, next: &AtomicU64, outcome: &Mutex<Outcome>) {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let done = outcome.lock().expect("no worker panics").failures.len() >= self.failures_max;
            if seed >= self.seeds.end || done {
                return;
            }
            let settings = Settings { seed, sagas: self.sagas, bug: self.bug, log: false };
            let result = attempt(settings).and_then(|report| same_again(settings, report));
            let mut outcome = outcome.lock().expect("no worker panics");
            outcome.seeds += 1;
            match result {
                Ok(report) => outcome.take(&report),
                Err(what) => outcome.failures.push((seed, what)),
            }
        }
    }
}

impl Outcome {
    fn take(&mut self, report: &Report) {
        self.events += report.events;
        self.virtual_ms += report.virtual_ms as u64;
        self.counts.add(&report.counts);
        if let Some(first) = report.violations.first() {
            self.failures.push((report.seed, first.clone()));
        }
    }
}

fn same_again(settings: Settings, report: Report) -> Result<Report, String> {
    if settings.seed.is_multiple_of(TWICE_EVERY) && report.violations.is_empty() {
        let again = attempt(settings)?;
        if again.digest != report.digest || again.counts != report.counts {
            return Err("the same seed went another way the second time".to_owned());
        }
    }
    Ok(report)
}

/// Runs a seed; an assertion of the core that fails is a failure like any other.
pub fn attempt(settings: Settings) -> Result<Report, String> {
    quietly(|| run(settings)).map_err(|message| format!("assertion: {message}"))
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs something that may panic without a word on the terminal, and returns the panic's message.
///
/// # Errors
/// The message of the panic.
pub fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    amends_saga::planted::plant(None);
    result.map_err(|payload| text_of(&*payload))
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
