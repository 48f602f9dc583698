//! `amends bench --sleepers`: what a million holds cost that wait for their payment, and how late those are whose
//! time is up.
//!
//! First so many sagas are put to sleep: each has reserved something and awaits a payment for hours. Then, for the
//! measured time, others are started at a steady rate whose payment never comes, so each wakes by itself and is
//! undone; beside them the same rate of ordinary sagas completes. A saga that does not end as it should fails the
//! whole run.

mod fill;
mod report;

use super::{
    Args,
    cell::PATIENCE,
    isolation::open::OpenLoad,
    proc::Memory,
    processes::{self, Process},
};
use crate::{client::Client, exit::Exit, globals::Globals, process, progress};
use amends_wire::api::{List, SagaView};
use anyhow::bail;
use report::{Lateness, Report};
use serde_json::Value;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// How long an expiring hold awaits its payment. Longer than the shortest sleep of a saga.
const HOLD: Duration = Duration::from_secs(35);

/// How long after its time an expiring hold may ever be undone.
const LATE_MAX: Duration = Duration::from_secs(60);

/// What is measured with `--sleepers`.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Sagas that sleep, each with a hold that waits for its payment
    #[arg(long, requires = "sleepers", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    holds: u64,
    /// Sagas a second that wake because their time is up, and as many that complete beside them
    #[arg(long, requires = "sleepers", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    expiring: u32,
    /// How late, in milliseconds, 99 of 100 may be undone after their time
    #[arg(long, requires = "sleepers", value_name = "MS", default_value_t = 1000.0)]
    lateness_ms_max: f64,
    /// How much memory the coordinator may take, in MiB
    #[arg(long, requires = "sleepers", value_name = "MIB", default_value_t = 1024.0)]
    memory_mib_max: f64,
}

/// Runs the measurement. Told to stop, it ends its processes and removes their files.
pub(super) async fn run(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let stop = process::stop_on_signal()?;
    tokio::select! {
        ended = measure(args, globals) => ended,
        () = stop.cancelled() => bail!("it was told to stop before its end"),
    }
}

async fn measure(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let flags = &args.asleep;
    let seconds = args.seconds.unwrap_or(60);
    let fleet = Fleet::start(args.data.as_deref(), args.coordinator_threads).await?;
    let before = fleet.memory()?;

    let bar = progress::steps(globals, flags.holds);
    bar.set_message("putting holds to sleep");
    let filled = fill::fill(fleet.address(), "hold", flags.holds, &bar).await?;
    bar.finish_and_clear();
    let asleep = fleet.memory()?;

    let busy = progress::busy(globals, "holds expire, others complete");
    let load = OpenLoad::start(fleet.address(), flags.expiring);
    let started =
        fill::pace(fleet.address(), "expiring", flags.expiring, Duration::from_secs(seconds)).await?;
    tokio::time::sleep(HOLD + Duration::from_secs(5)).await;
    if load.has_failed() {
        bail!("the sagas beside them do not complete; the coordinator's log says why");
    }
    let completed = load.finish().await?.len() as u64;
    let lateness = fleet.lateness(started).await?;
    let during = fleet.memory()?;
    busy.finish_and_clear();

    let report = Report {
        holds: flags.holds,
        filled_seconds: filled.as_secs_f64(),
        expiring_per_second: flags.expiring,
        seconds,
        expired: started,
        completed,
        lateness,
        lateness_ms_max: flags.lateness_ms_max,
        memory_mib: report::Mebibytes {
            empty: before.resident_mib(),
            asleep: asleep.resident_mib(),
            during: during.resident_mib(),
            peak: during.peak_mib(),
        },
        memory_mib_max: flags.memory_mib_max,
    };
    report.print(globals)?;
    Ok(report.exit())
}

/// A coordinator and the participant that does nothing, on a fresh database.
#[derive(Debug)]
struct Fleet {
    coordinator: Process,
    _participant: Process,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Fleet {
    async fn start(data: Option<&Path>, threads: usize) -> anyhow::Result<Fleet> {
        let folder = processes::folder(data)?;
        let store = format!("sqlite:{}", folder.path().join("coordinator.db").display());
        let threads = threads.to_string();
        let serve = ["serve", "--listen", "127.0.0.1:0", "--threads", &threads, "--store", &store];
        let coordinator = Process::start("coordinator", folder.path(), &serve)?;
        let noop = ["bench", "--serve-noop", &coordinator.url];
        let participant = Process::start("participant", folder.path(), &noop)?;
        let base =
            coordinator.url.parse().map_err(|error| anyhow::anyhow!("{}: {error}", coordinator.url))?;
        let client = Client::new(base, None)?;
        let fleet = Fleet { coordinator, _participant: participant, client, _folder: folder };
        let begun = Instant::now();
        while fleet.client.get::<List<Value>>("/v1/participants", &[]).await?.items.is_empty() {
            if begun.elapsed() > PATIENCE {
                bail!("the participant has not registered within {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (name, text) in definitions() {
            fleet.client.register::<Value>(&name, 1, text).await?;
        }
        Ok(fleet)
    }

    /// `host:port` of the coordinator.
    fn address(&self) -> String {
        self.coordinator.url.trim_start_matches("http://").to_owned()
    }

    fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.coordinator.pid())
    }

    /// How late each of the expiring holds was undone, once all of them are.
    async fn lateness(&self, started: u64) -> anyhow::Result<Lateness> {
        let begun = Instant::now();
        loop {
            let late = self.undone().await?;
            if late.len() as u64 == started {
                return Ok(Lateness::of(late));
            }
            if begun.elapsed() > LATE_MAX {
                bail!("{} of {started} expiring holds are undone {LATE_MAX:?} after their time", late.len());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Milliseconds from the end of each hold's time until it was undone.
    async fn undone(&self) -> anyhow::Result<Vec<i64>> {
        let (mut late, mut cursor) = (Vec::new(), None);
        loop {
            let mut query = vec![("definition", "expiring".to_owned()), ("limit", "500".to_owned())];
            query.push(("status", "compensated".to_owned()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let page: List<SagaView> = self.client.get("/v1/sagas", &query).await?;
            for saga in &page.items {
                let Some(ended) = saga.ended_at else { continue };
                late.push(ended.0.0 - saga.created_at.0.0 - HOLD.as_millis() as i64);
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(late);
            }
        }
    }
}

/// The holds, and the load beside them by the names that [`OpenLoad`] starts.
fn definitions() -> Vec<(String, String)> {
    let hold = |name: &str, timeout: &str| {
        format!(
            "saga: {name}\nversion: 1\nsteps:\n  - reserve:\n      action: noop.a\n      compensation: noop.undo\n      \
             with: \"${{{{ input }}}}\"\n  - payment:\n      await: payment\n      timeout: {timeout}\n"
        )
    };
    let step = |name: &str| {
        format!(
            "  - {name}:\n      action: noop.{name}\n      compensation: noop.undo\n      with: \"${{{{ input }}}}\"\n"
        )
    };
    let steps = format!("{}{}{}", step("a"), step("b"), step("c"));
    let load = (0..super::isolation::LOADS)
        .map(|i| (format!("load{i}"), format!("saga: load{i}\nversion: 1\nsteps:\n{steps}")));
    let holds = [("hold", "12h".to_owned()), ("expiring", format!("{}s", HOLD.as_secs()))];
    holds.into_iter().map(|(name, timeout)| (name.to_owned(), hold(name, &timeout))).chain(load).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_sound() {
        for (name, text) in definitions() {
            let read = amends_wire::definition::Text::read(&text);
            assert!(read.is_ok(), "{name}: {read:?}");
        }
    }
}
