//! The coordinator's metrics. Labels come only from registered names, so their number is bounded.

mod watch;

pub(crate) use watch::{AGES_MS, Sent};

use amends_saga::{Coordinator, Name, Op, Saga, Status};
use amends_wire::api::RepairAction;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Handles of everything that is counted. Kept, because looking a metric up costs eight times as much.
pub struct Metrics {
    recorder: PrometheusRecorder,
    of: Handles,
    calls: Mutex<BTreeMap<(Name, Name), Arc<CallMetrics>>>,
    shown: Mutex<watch::Shown>,
}

struct Handles {
    started: Counter,
    completed: Counter,
    compensated: Counter,
    abandoned: Counter,
    taken_over: Counter,
    fenced: Counter,
    live: Gauge,
    asleep: Gauge,
    in_flight: Gauge,
    commits: Counter,
    commits_failed: Counter,
    commit_seconds: Histogram,
    batch_sagas: Histogram,
    saga_seconds: Histogram,
    compensate_seconds: Histogram,
}

/// What is counted for one operation of a participant.
pub(crate) struct CallMetrics {
    pub(crate) done: Counter,
    pub(crate) pending: Counter,
    pub(crate) refused: Counter,
    pub(crate) contract: Counter,
    pub(crate) unknown: Counter,
    pub(crate) seconds: Histogram,
    /// First attempts and further ones, of actions and of compensations.
    attempts: [[Counter; 2]; 2],
}

impl CallMetrics {
    /// Counts an attempt; `attempt` is numbered from 1.
    pub(crate) fn attempt(&self, op: Op, attempt: u32) {
        let of_op = match op {
            Op::Action | Op::Confirm => &self.attempts[0],
            Op::Compensation => &self.attempts[1],
        };
        of_op[usize::from(attempt > 1)].increment(1);
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

const LATENCY_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// From a moment to a day: what a reversal takes has the range of its schedule.
const COMPENSATE_BUCKETS: [f64; 15] =
    [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 86400.0];
const SIZE_BUCKETS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// Makes an own recorder, so that several coordinators in one process do not mix.
    pub fn new() -> Metrics {
        use metrics_exporter_prometheus::Matcher::Full;
        let recorder = PrometheusBuilder::new()
            .set_buckets(&LATENCY_BUCKETS)
            .and_then(|b| b.set_buckets_for_metric(Full("amends_batch_sagas".to_owned()), &SIZE_BUCKETS))
            .and_then(|b| {
                b.set_buckets_for_metric(Full("amends_compensate_seconds".to_owned()), &COMPENSATE_BUCKETS)
            })
            .expect("the buckets are not empty")
            .build_recorder();
        metrics::with_local_recorder(&recorder, describe);
        let of = metrics::with_local_recorder(&recorder, Handles::new);
        Metrics { recorder, of, calls: Mutex::default(), shown: Mutex::default() }
    }

    /// The handle that renders all of it as Prometheus text.
    pub fn handle(&self) -> PrometheusHandle {
        self.recorder.handle()
    }

    pub(crate) fn started(&self) {
        self.of.started.increment(1);
    }

    /// The counter of spans that were not delivered.
    pub(crate) fn spans_dropped(&self) -> Counter {
        metrics::with_local_recorder(&self.recorder, || counter!("amends_spans_dropped_total"))
    }

    pub(crate) fn taken_over(&self) {
        self.of.taken_over.increment(1);
    }

    pub(crate) fn fenced(&self) {
        self.of.fenced.increment(1);
    }

    pub(crate) fn batch(&self, sagas: usize) {
        self.of.batch_sagas.record(sagas as f64);
    }

    pub(crate) fn commit(&self, took: Duration, done: bool) {
        let count = if done { &self.of.commits } else { &self.of.commits_failed };
        count.increment(1);
        self.of.commit_seconds.record(took);
    }

    /// Shows how many sagas there are here, those included that sleep and are not held, and calls in flight.
    pub(crate) fn live(&self, sagas: &Coordinator, calls: usize) {
        let (asleep, elsewhere) = sagas.asleep();
        self.of.live.set((sagas.len() + elsewhere) as f64);
        self.of.asleep.set(asleep as f64);
        self.of.in_flight.set(calls as f64);
    }

    pub(crate) fn ended(&self, saga: &Saga) {
        match saga.status() {
            Status::Completed => self.of.completed.increment(1),
            Status::Compensated => self.of.compensated.increment(1),
            Status::Abandoned => self.of.abandoned.increment(1),
            Status::Running | Status::Compensating | Status::Repair => {}
        }
        if let (Status::Compensated, Some(turned_at)) = (saga.status(), saga.turned_at) {
            self.of.compensate_seconds.record(Duration::from(saga.updated_at.since(turned_at)));
        }
        let span = saga.updated_at.since(saga.created_at);
        self.of.saga_seconds.record(Duration::from(span));
    }

    /// Counts an item's turn in a bulk job.
    pub(crate) fn bulk(&self, action: RepairAction, outcome: &'static str) {
        metrics::with_local_recorder(&self.recorder, || {
            counter!("amends_bulk_items_total", "action" => action.as_str(), "outcome" => outcome)
                .increment(1);
        });
    }

    /// The counters of one operation, made at its first call.
    pub(crate) fn call(&self, participant: &Name, operation: &Name) -> Arc<CallMetrics> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = calls.get(&(participant.clone(), operation.clone())) {
            return found.clone();
        }
        let key = match calls.len() < watch::SETS_MAX / 4 {
            true => (participant.clone(), operation.clone()),
            false => (other(), other()),
        };
        if let Some(found) = calls.get(&key) {
            return found.clone();
        }
        let (participant, operation) = &key;
        let made = metrics::with_local_recorder(&self.recorder, || {
            let attempts = |op: &'static str| {
                ["first", "retry"].map(|which| {
                    counter!("amends_attempts_total", "participant" => participant.to_string(),
                        "operation" => operation.to_string(), "op" => op, "try" => which)
                })
            };
            let count = |answer: &'static str| {
                counter!("amends_calls_total", "participant" => participant.to_string(),
                    "operation" => operation.to_string(), "answer" => answer)
            };
            Arc::new(CallMetrics {
                done: count("done"),
                pending: count("pending"),
                refused: count("refused"),
                contract: count("contract"),
                unknown: count("unknown"),
                seconds: histogram!("amends_call_seconds", "participant" => participant.to_string()),
                attempts: [attempts("action"), attempts("compensation")],
            })
        });
        calls.insert(key, made.clone());
        made
    }
}

/// What stands for names beyond the bound on labels.
fn other() -> Name {
    Name::parse(watch::OTHER).expect("the word is a name")
}

impl Handles {
    fn new() -> Handles {
        Handles {
            started: counter!("amends_sagas_started_total"),
            completed: counter!("amends_sagas_ended_total", "status" => "completed"),
            compensated: counter!("amends_sagas_ended_total", "status" => "compensated"),
            abandoned: counter!("amends_sagas_ended_total", "status" => "abandoned"),
            taken_over: counter!("amends_sagas_taken_over_total"),
            fenced: counter!("amends_sagas_fenced_total"),
            live: gauge!("amends_sagas_live"),
            asleep: gauge!("amends_sagas_asleep"),
            in_flight: gauge!("amends_calls_in_flight"),
            commits: counter!("amends_store_commits_total", "outcome" => "done"),
            commits_failed: counter!("amends_store_commits_total", "outcome" => "failed"),
            commit_seconds: histogram!("amends_store_commit_seconds"),
            batch_sagas: histogram!("amends_batch_sagas"),
            saga_seconds: histogram!("amends_saga_seconds"),
            compensate_seconds: histogram!("amends_compensate_seconds"),
        }
    }
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!("amends_sagas_started_total", "Sagas admitted.");
    describe_counter!("amends_sagas_ended_total", "Sagas that have ended, by how.");
    describe_counter!("amends_sagas_taken_over_total", "Sagas taken over from an owner that is gone.");
    describe_counter!("amends_sagas_fenced_total", "Writes refused because another owner has the saga.");
    describe_counter!("amends_spans_dropped_total", "Spans that did not reach the collector of traces.");
    describe_counter!(
        "amends_bulk_items_total",
        "Items that had their turn in a bulk job, by action and outcome."
    );
    describe_gauge!("amends_sagas_live", "Sagas that have not ended.");
    describe_gauge!("amends_sagas_asleep", "Sagas among them that wait for a time or for somebody.");
    describe_gauge!("amends_calls_in_flight", "Calls sent and not yet answered.");
    describe_counter!("amends_store_commits_total", "Batches written, by outcome.");
    describe_histogram!("amends_store_commit_seconds", "How long writing a batch took.");
    describe_histogram!("amends_batch_sagas", "Sagas in one batch.");
    describe_histogram!("amends_saga_seconds", "From acceptance to the end of a saga.");
    describe_histogram!("amends_compensate_seconds", "From turning round to compensated.");
    describe_counter!("amends_attempts_total", "Attempts answered, by call and whether it was the first.");
    describe_counter!("amends_calls_total", "Calls answered, by participant, operation and answer.");
    describe_histogram!("amends_call_seconds", "How long a call took, by participant.");
    watch::describe();
}
