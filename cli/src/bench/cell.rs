//! One cell of the table: a fleet of processes, a warm-up, a measured window.

use super::{
    load::{self, Shared},
    proc::Usage,
    processes::{self, Process},
    workload::{SKUS, Workload},
};
use anyhow::{Context, bail};
use serde_json::json;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long participants may take to register.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Units of every SKU in the shop: more than any cell can sell.
const STOCK: u64 = 1_000_000_000;

/// What one cell measured.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Cell {
    pub(super) workload: &'static str,
    pub(super) in_flight: usize,
    pub(super) sagas: usize,
    pub(super) sagas_per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Processor time a saga, in microseconds, by process; the last is the bench itself.
    pub(super) cpu_us: Vec<(&'static str, f64)>,
    /// Group commits of the coordinator a saga; each is one fsync of its journal.
    pub(super) fsyncs_per_saga: f64,
    /// Bytes a saga written to disk by the coordinator.
    pub(super) written_per_saga: f64,
}

/// The processes of a cell and the folder of their databases.
#[derive(Debug)]
pub(super) struct Fleet {
    /// The coordinator first.
    processes: Vec<Process>,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Fleet {
    /// Starts a coordinator and what the workload calls, on fresh databases, and sets them up.
    pub(super) async fn start(
        workload: Workload,
        data: Option<&Path>,
        coordinator_threads: usize,
    ) -> anyhow::Result<Fleet> {
        let folder = processes::folder(data)?;
        let store = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
        let threads = coordinator_threads.to_string();
        let serve =
            ["serve", "--listen", "127.0.0.1:0", "--threads", &threads, "--store", &store("coordinator.db")];
        let coordinator = Process::start("coordinator", folder.path(), &serve)?;
        let url = coordinator.url.clone();
        let mut processes = vec![coordinator];
        if workload == Workload::Shop {
            for name in ["inventory", "order", "product"] {
                let store = store(&format!("{name}.db"));
                let args = [
                    "participant",
                    name,
                    "--listen",
                    "127.0.0.1:0",
                    "--store",
                    &store,
                    "--coordinator",
                    &url,
                ];
                processes.push(Process::start(name, folder.path(), &args)?);
            }
        } else {
            processes.push(Process::start("participant", folder.path(), &["bench", "--serve-noop", &url])?);
        }
        let fleet = Fleet { processes, client: reqwest::Client::new(), _folder: folder };
        fleet.set_up(workload).await?;
        Ok(fleet)
    }

    fn coordinator(&self) -> &Process {
        &self.processes[0]
    }

    async fn set_up(&self, workload: Workload) -> anyhow::Result<()> {
        let url = &self.coordinator().url;
        let begun = Instant::now();
        for process in &self.processes[1..] {
            let name = if process.name == "participant" { "noop" } else { process.name };
            let address = format!("{url}/v1/participants/{name}");
            while !self.client.get(&address).send().await?.status().is_success() {
                if begun.elapsed() > PATIENCE {
                    bail!("participant {name} has not registered within {PATIENCE:?}");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let definition = workload.definition();
        let address = format!("{url}/v1/definitions/{}/1", workload.saga());
        let put = self.client.put(address).header("content-type", "application/yaml").body(definition);
        expect_success(put).await?;
        if workload == Workload::Shop { self.fill_the_shop().await } else { Ok(()) }
    }

    async fn fill_the_shop(&self) -> anyhow::Result<()> {
        let url = |name: &str| self.processes.iter().find(|p| p.name == name).map(|p| p.url.clone());
        let (inventory, product) =
            (url("inventory").context("inventory")?, url("product").context("product")?);
        let products: Vec<_> = (1..=SKUS)
            .map(|sku| json!({ "sku": sku, "name": format!("item {sku}"), "price_minor": 100 + sku, "currency": "EUR" }))
            .collect();
        let catalogue = json!({ "items": products });
        expect_success(self.client.put(format!("{product}/catalogue")).json(&catalogue)).await?;
        let lines: Vec<_> = (1..=SKUS).map(|sku| json!({ "sku": sku, "qty": STOCK })).collect();
        let delivery = json!({ "biz_no": "bench", "lines": lines });
        expect_success(self.client.post(format!("{inventory}/replenish")).json(&delivery)).await
    }

    /// Warms up for a second, measures for `window`, and ends the fleet.
    pub(super) async fn measure(
        self,
        workload: Workload,
        in_flight: usize,
        window: Duration,
    ) -> anyhow::Result<Cell> {
        let shared = Arc::new(Shared {
            workload,
            address: self.coordinator().url.trim_start_matches("http://").to_owned(),
            run: format!("b{in_flight}"),
            next: AtomicU64::new(0),
            counting: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let callers = load::run(shared.clone(), in_flight);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (before, commits_before) = (self.usage()?, self.commits().await?);
        let begun = Instant::now();
        shared.counting.store(true, Ordering::Relaxed);
        while begun.elapsed() < window && !callers.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        shared.counting.store(false, Ordering::Relaxed);
        let elapsed = begun.elapsed();
        let (after, commits_after) = (self.usage()?, self.commits().await?);
        shared.stop.store(true, Ordering::Relaxed);
        let ended = tokio::task::spawn_blocking(move || callers.join()).await?;
        let mut latencies = ended.map_err(|_| anyhow::anyhow!("the callers panicked"))??;
        latencies.sort_unstable();
        if latencies.is_empty() {
            bail!("no saga ended within {window:?}");
        }
        let per_saga = |total: u64| total as f64 / latencies.len() as f64;
        let ms = |share: f64| {
            let at = ((latencies.len() - 1) as f64 * share).round() as usize;
            latencies[at].as_secs_f64() * 1000.0
        };
        let names = self.processes.iter().map(|p| p.name).chain(["bench"]);
        let used: Vec<Usage> =
            after.iter().zip(&before).map(|(after, before)| after.since(*before)).collect();
        Ok(Cell {
            workload: workload.label(),
            in_flight,
            sagas: latencies.len(),
            sagas_per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            cpu_us: names.zip(&used).map(|(name, used)| (name, per_saga(used.cpu_us))).collect(),
            fsyncs_per_saga: per_saga(commits_after.saturating_sub(commits_before)),
            written_per_saga: per_saga(used[0].written),
        })
    }

    /// The usage of every process, and of this one.
    fn usage(&self) -> anyhow::Result<Vec<Usage>> {
        let pids = self.processes.iter().map(Process::pid).chain([std::process::id()]);
        pids.map(Usage::of).collect()
    }

    /// The coordinator's group commits so far.
    async fn commits(&self) -> anyhow::Result<u64> {
        let text =
            self.client.get(format!("{}/metrics", self.coordinator().url)).send().await?.text().await?;
        let line = "amends_store_commits_total{outcome=\"done\"} ";
        let count = text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse::<f64>().ok());
        Ok(count.unwrap_or(0.0) as u64)
    }
}

/// Sends what sets the bench up; any answer but success is an error.
pub(super) async fn expect_success(request: reqwest::RequestBuilder) -> anyhow::Result<()> {
    let response = request.send().await?;
    let status = response.status();
    if !status.is_success() {
        bail!("setting the bench up was answered {status}: {}", response.text().await.unwrap_or_default());
    }
    Ok(())
}
