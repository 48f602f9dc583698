//! `amends bench --isolation`: what sagas notice of a participant that is dead and of a repair queue that is full,
//! when neither is any business of theirs.
//!
//! Ten participants: the load goes to eight of them, the ninth refuses every compensation, so that each saga which
//! needs one is parked, and the tenth is dead. The same load is measured alone and beside all of that, in one run and
//! on one machine, because only the ratio says something. Then the queue is read in every way, and emptied by a bulk
//! retry that is stopped and resumed on its way. Whatever does not end as it should fails the whole run.

mod bulk;
mod fleet;
pub(super) mod open;
mod park;
mod phase;
mod queue;
mod report;
mod ten;

use super::Args;
use crate::{exit::Exit, globals::Globals, process, progress};
use anyhow::bail;
use fleet::Fleet;
use park::Trickle;
use phase::Shape;
use report::Report;
use std::time::Duration;

pub(super) use ten::{WELL as LOADS, serve};

/// Sagas a second that need the dead participant.
const TRICKLE_PER_SECOND: u32 = 20;

/// Between the parking and the measuring: the breaker opens, and the disk is done with what it was given.
const SETTLING: Duration = Duration::from_secs(3);

/// What is measured with `--isolation`.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Sagas parked, each with an item in the repair queue
    #[arg(long, requires = "isolation", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(50..=10_000_000))]
    parked: u64,
    /// Unrelated sagas started a second, whether or not those before have ended
    #[arg(long, requires = "isolation", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rate: u32,
    /// Rounds measured alone and beside; the median of their p99s counts
    #[arg(long, requires = "isolation", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How many times the p99 alone the p99 beside may be
    #[arg(long, requires = "isolation", value_name = "RATIO", default_value_t = 1.2, value_parser = bound)]
    ratio_max: f64,
    /// How many milliseconds the repair queue may take to answer
    #[arg(long, requires = "isolation", value_name = "MS", default_value_t = 100.0, value_parser = bound)]
    queue_ms_max: f64,
    /// Items retried a second by the bulk job, at most
    #[arg(long, requires = "isolation", value_name = "ITEMS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=5000))]
    bulk_per_second: u32,
}

/// Runs the measurement and prints it as it goes on. Told to stop, it ends its processes and removes their files.
pub(super) async fn run(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let stop = process::stop_on_signal()?;
    tokio::select! {
        ended = measure(args, globals) => ended,
        () = stop.cancelled() => bail!("it was told to stop before its end"),
    }
}

async fn measure(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let flags = &args.isolated;
    let seconds = args.seconds.unwrap_or(10);
    let shape = Shape { rate: flags.rate, round: Duration::from_secs(seconds), rounds: flags.rounds };
    let fleet = Fleet::start(args.data.as_deref(), args.coordinator_threads).await?;

    let busy = progress::busy(globals, "unrelated load, alone");
    let alone = phase::run(&fleet, shape).await?;
    busy.finish_and_clear();

    let bar = progress::steps(globals, flags.parked);
    bar.set_message("parking");
    let parked = park::fill(&fleet, flags.parked, &bar).await?;
    bar.finish_and_clear();

    let busy = progress::busy(globals, "unrelated load, beside a dead participant and a full queue");
    let trickle = Trickle::start(fleet.address(), TRICKLE_PER_SECOND);
    tokio::time::sleep(SETTLING).await;
    let beside = phase::run(&fleet, shape).await?;
    let (ratio, breaker) = (beside.p99_ms / alone.p99_ms, fleet.breaker().await?);
    busy.finish_and_clear();
    if !globals.json {
        report::phases(&alone, &beside, parked, ratio, flags.ratio_max, &breaker);
    }

    let busy = progress::busy(globals, "reading the queue");
    let queue = queue::look(&fleet).await?;
    busy.finish_and_clear();
    if !globals.json {
        report::queue(&queue, flags.queue_ms_max);
    }

    let bar = progress::steps(globals, flags.parked);
    bar.set_message("bulk retry");
    let bulk = bulk::retry(&fleet, flags.parked, flags.bulk_per_second, flags.rate, &bar).await?;
    bar.finish_and_clear();
    let trickle = trickle.finish().await?;
    if !globals.json {
        report::bulk(&bulk, trickle);
    }
    let report = Report {
        rate: flags.rate,
        seconds,
        rounds: flags.rounds,
        cores: std::thread::available_parallelism()?.get(),
        alone,
        parked,
        beside,
        ratio,
        ratio_max: flags.ratio_max,
        breaker,
        queue,
        queue_ms_max: flags.queue_ms_max,
        bulk,
        trickle,
    };
    report.print(globals)?;
    Ok(report.exit())
}

/// Reads a bound: a number above nothing.
fn bound(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number above 0, such as 1.2".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_number_above_nothing() {
        for (text, expected) in [
            ("1.2", Some(1.2)),
            ("100", Some(100.0)),
            ("0", None),
            ("-1", None),
            ("nan", None),
            ("inf", None),
            ("", None),
        ] {
            assert_eq!(bound(text).ok(), expected, "{text}");
        }
    }
}
