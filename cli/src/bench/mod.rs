//! `amends bench`: how many durable sagas a second this machine completes, and what each costs.
//!
//! Coordinator and participants run as processes of their own on SQLite with fsync, as in production; this
//! process only asks and measures. Every cell is a closed loop: so many callers, each starting a saga,
//! waiting for its end and starting the next. A saga that does not end as it should fails the whole run.
//!
//! `amends bench --isolation` asks something else: what sagas notice of a dead participant and of a full repair
//! queue that are none of their business. `amends bench --sleepers` asks what a million sagas cost that wait.

mod cell;
mod connection;
mod isolation;
mod load;
mod noop;
mod proc;
pub(crate) mod processes;
mod report;
mod sleepers;
mod workload;

use crate::{exit::Exit, globals::Globals, progress};
use cell::{Cell, Fleet};
use std::{path::PathBuf, time::Duration};
use workload::Workload;

/// Measures completed, durable sagas per second.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amends bench                                   every cell: no-op participants and the real shop
  amends bench --workload noop --in-flight 64    one line of it
  amends bench --seconds 20 --json > bench.json  longer, for a program
  amends bench --isolation                       100,000 parked items and a dead participant beside
  amends bench --isolation --parked 500 --rate 50 --seconds 3 --rounds 1   a short one

  amends bench --sleepers                        a million holds asleep, 500 a second expire
  amends bench --sleepers --holds 2000 --expiring 50 --seconds 5          a short one

With --isolation it ends with 1 when the p99 beside them is more than --ratio-max times the p99
alone, or when the repair queue takes longer than --queue-ms-max to answer; with --sleepers
when the p99 of the holds' lateness or the coordinator's memory is more than it may be.")]
pub struct Args {
    /// Sagas in flight, one cell for each number
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256", conflicts_with = "isolation")]
    in_flight: Vec<usize>,
    /// Seconds measured in each cell or round, after a warm-up of one second [default: 5, with --isolation 10, with --sleepers 60]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,
    /// What is run; may repeat or be a list with commas [default: all of them]
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with = "isolation")]
    workload: Vec<Workload>,
    /// Worker threads of the coordinator
    #[arg(long, default_value_t = 1)]
    coordinator_threads: usize,
    /// Where the databases are put; a fresh directory on the system's temporary disk where nothing is said
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Measures unrelated sagas alone, and beside a dead participant and a full repair queue
    #[arg(long)]
    isolation: bool,
    #[command(flatten)]
    isolated: isolation::Flags,
    /// Measures a million sleeping holds, and how late those are whose time is up
    #[arg(long, conflicts_with_all = ["isolation", "in_flight", "workload"])]
    sleepers: bool,
    #[command(flatten)]
    asleep: sleepers::Flags,
    /// Serves the no-op participant that the bench itself starts
    #[arg(long, hide = true, value_name = "COORDINATOR")]
    serve_noop: Option<String>,
    /// Serves the no-op participants of --isolation
    #[arg(long, hide = true, value_name = "COORDINATOR")]
    serve_ten: Option<String>,
}

/// Runs the measurement.
///
/// # Errors
/// When a process cannot be started, a saga does not end as it should, or something takes longer than it ever may.
pub async fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    if let Some(coordinator) = &args.serve_noop {
        return noop::serve(coordinator).await;
    }
    if let Some(coordinator) = &args.serve_ten {
        return isolation::serve(coordinator).await;
    }
    if args.isolation {
        return isolation::run(&args, globals).await;
    }
    if args.sleepers {
        return sleepers::run(&args, globals).await;
    }
    let seconds = args.seconds.unwrap_or(5);
    let workloads = if args.workload.is_empty() { Workload::ALL.to_vec() } else { args.workload.clone() };
    let bar = progress::steps(globals, (workloads.len() * args.in_flight.len()) as u64);
    let mut cells: Vec<Cell> = Vec::new();
    for workload in workloads {
        for in_flight in &args.in_flight {
            bar.set_message(format!("{} at {in_flight} in flight", workload.label()));
            let fleet = Fleet::start(workload, args.data.as_deref(), args.coordinator_threads).await?;
            cells.push(fleet.measure(workload, *in_flight, Duration::from_secs(seconds)).await?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    report::print(&cells, seconds, globals)?;
    Ok(Exit::Done)
}
