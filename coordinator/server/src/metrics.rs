//! The coordinator's metrics. Labels come only from registered names, so their number is bounded.

use amends_saga::{Name, Saga, Status};
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
}

struct Handles {
    started: Counter,
    completed: Counter,
    compensated: Counter,
    taken_over: Counter,
    fenced: Counter,
    live: Gauge,
    in_flight: Gauge,
    commits: Counter,
    commits_failed: Counter,
    commit_seconds: Histogram,
    batch_sagas: Histogram,
    saga_seconds: Histogram,
}

/// What is counted for one operation of a participant.
pub(crate) struct CallMetrics {
    pub(crate) done: Counter,
    pub(crate) pending: Counter,
    pub(crate) refused: Counter,
    pub(crate) contract: Counter,
    pub(crate) unknown: Counter,
    pub(crate) seconds: Histogram,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

const LATENCY_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
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
            .expect("the buckets are not empty")
            .build_recorder();
        metrics::with_local_recorder(&recorder, describe);
        let of = metrics::with_local_recorder(&recorder, Handles::new);
        Metrics { recorder, of, calls: Mutex::new(BTreeMap::new()) }
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

    pub(crate) fn live(&self, sagas: usize, calls: usize) {
        self.of.live.set(sagas as f64);
        self.of.in_flight.set(calls as f64);
    }

    pub(crate) fn ended(&self, saga: &Saga) {
        match saga.status() {
            Status::Completed => self.of.completed.increment(1),
            Status::Compensated => self.of.compensated.increment(1),
            Status::Running | Status::Compensating | Status::Repair | Status::Abandoned => {}
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
        let made = metrics::with_local_recorder(&self.recorder, || {
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
            })
        });
        calls.insert((participant.clone(), operation.clone()), made.clone());
        made
    }
}

impl Handles {
    fn new() -> Handles {
        Handles {
            started: counter!("amends_sagas_started_total"),
            completed: counter!("amends_sagas_ended_total", "status" => "completed"),
            compensated: counter!("amends_sagas_ended_total", "status" => "compensated"),
            taken_over: counter!("amends_sagas_taken_over_total"),
            fenced: counter!("amends_sagas_fenced_total"),
            live: gauge!("amends_sagas_live"),
            in_flight: gauge!("amends_calls_in_flight"),
            commits: counter!("amends_store_commits_total", "outcome" => "done"),
            commits_failed: counter!("amends_store_commits_total", "outcome" => "failed"),
            commit_seconds: histogram!("amends_store_commit_seconds"),
            batch_sagas: histogram!("amends_batch_sagas"),
            saga_seconds: histogram!("amends_saga_seconds"),
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
    describe_gauge!("amends_calls_in_flight", "Calls sent and not yet answered.");
    describe_counter!("amends_store_commits_total", "Batches written, by outcome.");
    describe_histogram!("amends_store_commit_seconds", "How long writing a batch took.");
    describe_histogram!("amends_batch_sagas", "Sagas in one batch.");
    describe_histogram!("amends_saga_seconds", "From acceptance to the end of a saga.");
    describe_counter!("amends_calls_total", "Calls answered, by participant, operation and answer.");
    describe_histogram!("amends_call_seconds", "How long a call took, by participant.");
}
