//! A bulk retry of everything that is parked: followed, stopped, seen to stand, resumed, followed to its end.

use super::{
    fleet::{Fleet, PARKED, STUCK},
    open::OpenLoad,
    phase::{self, Phase},
};
use amends_wire::api::{JobStatus, JobView, List};
use anyhow::bail;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Between two looks at the job.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a stopped job is watched.
const WATCHED: Duration = Duration::from_secs(3);

/// How long a job, or what it has set going, may stand still before it has failed.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

/// The least time a job is to take, so that it can be stopped on its way.
const SECONDS_MIN: u64 = 12;

/// What came of it.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Retried {
    pub(super) items: u64,
    pub(super) per_second_allowed: u32,
    /// Items done when it was told to stop.
    pub(super) stopped_at: u64,
    /// Time it worked, the pause left out.
    pub(super) seconds: f64,
    pub(super) items_per_second: f64,
    pub(super) compensated: u64,
    /// The unrelated load meanwhile, all of it one round.
    pub(super) load: Phase,
}

/// Retries every item of `p8`, with unrelated load of `rate` sagas a second beside.
pub(super) async fn retry(
    fleet: &Fleet,
    parked: u64,
    per_second: u32,
    rate: u32,
    bar: &ProgressBar,
) -> anyhow::Result<Retried> {
    fleet.accept().await?;
    let gentle = u32::try_from(parked / SECONDS_MIN).unwrap_or(u32::MAX).max(1);
    let per_second_allowed = per_second.min(gentle);
    let load = OpenLoad::start(fleet.address(), rate);
    let mut begun = Instant::now();
    let mut job = start(fleet, per_second_allowed).await?;
    if job.total != parked {
        bail!("{parked} sagas are parked, and a bulk retry of {STUCK} meant {} items", job.total);
    }
    job = follow(fleet, job, parked.div_ceil(3), bar).await?;
    job = set(fleet, &job, "stop").await?;
    let mut worked = begun.elapsed();
    let stopped_at = watch(fleet, &job).await?;
    begun = Instant::now();
    job = set(fleet, &job, "resume").await?;
    job = follow(fleet, job, u64::MAX, bar).await?;
    worked += begun.elapsed();
    if (job.done, job.failed, job.skipped) != (parked, 0, 0) {
        bail!(
            "of {parked} items the job has done {}, failed {} and skipped {}: {:?}",
            job.done,
            job.failed,
            job.skipped,
            job.errors
        );
    }
    until_left(fleet, 0).await?;
    let (lasted, samples) = (load.elapsed(), load.finish().await?);
    let load = phase::of(vec![samples.iter().map(|sample| sample.took).collect()], lasted, BTreeMap::new())?;
    let compensated = all_are_compensated(fleet, parked).await?;
    let seconds = worked.as_secs_f64();
    let items_per_second = parked as f64 / seconds;
    Ok(Retried {
        items: parked,
        per_second_allowed,
        stopped_at,
        seconds,
        items_per_second,
        compensated,
        load,
    })
}

async fn start(fleet: &Fleet, per_second: u32) -> anyhow::Result<JobView> {
    let filter = json!({ "participant": STUCK });
    let body = json!({ "action": "retry", "filter": filter, "by": "bench", "per_second": per_second });
    Ok(fleet.client.post("/v1/repairs/bulk", &body).await?.1)
}

async fn show(fleet: &Fleet, job: &JobView) -> anyhow::Result<JobView> {
    Ok(fleet.client.get(&format!("/v1/repairs/bulk/{}", job.id), &[]).await?)
}

async fn set(fleet: &Fleet, job: &JobView, what: &str) -> anyhow::Result<JobView> {
    Ok(fleet.client.post(&format!("/v1/repairs/bulk/{}/{what}", job.id), &json!({})).await?.1)
}

fn turns(job: &JobView) -> u64 {
    job.done + job.failed + job.skipped
}

/// Follows a running job until `turns_enough` items have had their turn, or to its end.
async fn follow(
    fleet: &Fleet,
    mut job: JobView,
    turns_enough: u64,
    bar: &ProgressBar,
) -> anyhow::Result<JobView> {
    let (mut seen, mut moved) = (turns(&job), Instant::now());
    while job.status == JobStatus::Running && turns(&job) < turns_enough {
        if moved.elapsed() > STANDSTILL_MAX {
            bail!("job {} stands at {seen} of {} for {STANDSTILL_MAX:?}", job.id, job.total);
        }
        tokio::time::sleep(LOOK_EVERY).await;
        job = show(fleet, &job).await?;
        if turns(&job) > seen {
            (seen, moved) = (turns(&job), Instant::now());
            bar.set_position(seen);
        }
    }
    Ok(job)
}

/// Sees that a stopped job stands, and that exactly those items are left that have not had their turn.
async fn watch(fleet: &Fleet, job: &JobView) -> anyhow::Result<u64> {
    let before = show(fleet, job).await?;
    if before.status != JobStatus::Stopped || turns(&before) >= before.total {
        bail!("job {} was told to stop and is {:?} at {}", job.id, before.status, turns(&before));
    }
    until_left(fleet, before.total - turns(&before)).await?;
    tokio::time::sleep(WATCHED).await;
    let (after, left) = (show(fleet, job).await?, fleet.stuck().await?);
    if turns(&after) != turns(&before) || left != before.total - turns(&before) {
        bail!(
            "job {} was stopped at {} and went on to {}; {left} items are left",
            job.id,
            turns(&before),
            turns(&after)
        );
    }
    Ok(turns(&after))
}

/// Waits until so many items of `p8` are left.
async fn until_left(fleet: &Fleet, items: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let left = fleet.stuck().await?;
        if left == items {
            return Ok(());
        }
        if begun.elapsed() > STANDSTILL_MAX {
            bail!("{items} items were to be left, and after {STANDSTILL_MAX:?} there are {left}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Counts the sagas that were parked: every one is compensated.
async fn all_are_compensated(fleet: &Fleet, parked: u64) -> anyhow::Result<u64> {
    let mut query = vec![
        ("definition", PARKED.to_owned()),
        ("status", "compensated".to_owned()),
        ("limit", "500".to_owned()),
    ];
    let mut compensated = 0;
    loop {
        let page: List<Value> = fleet.client.get("/v1/sagas", &query).await?;
        compensated += page.items.len() as u64;
        let Some(next) = page.next else { break };
        query.truncate(3);
        query.push(("cursor", next));
    }
    if compensated != parked {
        bail!("{parked} sagas were parked and retried, and {compensated} of them are compensated");
    }
    Ok(compensated)
}
