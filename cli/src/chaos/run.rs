//! Running it: sagas are started, signalled and brought to their end, coordinators come and go, and what is left is
//! read and judged.

use super::{
    RehearsalError, Report,
    book::Book,
    invent,
    laws::{self, Ending, Evidence, Expected, is_at_rest},
    network::{KEY, Network},
    plan::Plan,
    registered,
    rehearsal::Pace,
    report::Facts,
    world::{Ended, World},
};
use crate::client::{ClientError, Start};
use amends_saga::{Definition, Name, SagaId};
use amends_wire::{
    api::{List, RepairView, SagaView, StepStatus},
    registration::Registration,
};
use futures::StreamExt;
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long one question after a saga's end waits for it.
const WAIT: Duration = Duration::from_millis(250);

/// Before the same thing is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// Sagas under way at a time where only the rate was said.
const IN_FLIGHT_MAX: usize = 10_000;

/// Everything that a run needs to know.
pub(super) struct Run<'a> {
    pub(super) world: &'a World,
    pub(super) plan: &'a Plan,
    pub(super) definition: &'a Definition,
    /// `name@version`.
    pub(super) name: String,
    pub(super) input: &'a Value,
    pub(super) signals: Vec<(Name, Value)>,
    pub(super) seed: u64,
    pub(super) sagas: u64,
    pub(super) pace: Pace,
    pub(super) patience: Duration,
    pub(super) progress: Option<&'a (dyn Fn(u64) + Send + Sync)>,
    pub(super) expected: Option<&'a Expected>,
    pub(super) exact: &'a BTreeSet<String>,
    /// Those that are there.
    pub(super) participants: &'a BTreeMap<Name, Registration>,
    /// When it began, in unix milliseconds.
    pub(super) began_ms: i64,
}

/// Runs every saga to its end, and reports.
pub(super) async fn perform(run: &Run<'_>, network: &Network, book: &Book) -> Result<Report, RehearsalError> {
    let begun = Instant::now();
    let (started, watched) = watch::channel(0);
    let (ids, ()) = tokio::try_join!(drive(run, started), direct(run, watched))?;
    // Copies that are still under way may do harm yet.
    network.settle().await;
    let endings = read_all(run, &ids).await?;
    let queue: Vec<RepairView> = pages(run, "/v1/repairs", Instant::now() + run.patience).await?;
    let seen = book.content();
    let evidence = Evidence {
        definition: run.definition,
        endings: &endings,
        queue: &queue,
        seen: &seen,
        exact: run.exact,
        expected: run.expected,
    };
    let mut verdict = laws::judge(&evidence);
    registered::check(run.participants, &endings, run.began_ms, &mut verdict).await?;
    let faults = run.plan.to_string();
    let facts = Facts {
        definition: run.name.clone(),
        seed: run.seed,
        faults,
        sagas: run.sagas,
        took: begun.elapsed(),
    };
    Ok(Report::new(facts, &endings, seen, verdict))
}

/// Starts every saga at its time and waits for each end; gives the ids by number.
async fn drive(run: &Run<'_>, started: watch::Sender<u64>) -> Result<BTreeMap<u64, SagaId>, RehearsalError> {
    let token = format!("{:08x}", run.began_ms & 0xffff_ffff);
    let (in_flight, gap) = match run.pace {
        Pace::InFlight(count) => (count.clamp(1, IN_FLIGHT_MAX), Duration::ZERO),
        Pace::PerSecond(rate) => (IN_FLIGHT_MAX, Duration::from_secs_f64(1.0 / rate.clamp(0.001, 100_000.0))),
    };
    let begun = tokio::time::Instant::now();
    let ended = AtomicU64::new(0);
    let (token, ended, started) = (&token, &ended, &started);
    let sagas = futures::stream::iter(0..run.sagas)
        .then(|number| async move {
            let periods = u32::try_from(number).unwrap_or(u32::MAX);
            tokio::time::sleep_until(begun + gap.saturating_mul(periods)).await;
            number
        })
        .map(|number| async move {
            let id = bring(run, number, token, started).await?;
            let ended = ended.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(told) = run.progress {
                told(ended);
            }
            Ok::<_, RehearsalError>((number, id))
        })
        .buffer_unordered(in_flight);
    let (mut sagas, mut ids) = (pin!(sagas), BTreeMap::new());
    while let Some(brought) = sagas.next().await {
        let (number, id) = brought?;
        ids.insert(number, id);
    }
    Ok(ids)
}

/// Restarts the coordinator when as many sagas have been started as the plan says; what is begun is brought to its end.
async fn direct(run: &Run<'_>, mut started: watch::Receiver<u64>) -> Result<(), RehearsalError> {
    let mix = run.plan.mix().cloned().unwrap_or_default();
    let of = |shares: &[super::Share], how: Ended| -> Vec<(u64, Ended)> {
        shares.iter().map(|share| (share.of(run.sagas), how)).collect()
    };
    let mut scenes = [of(&mix.restart, Ended::Stopped), of(&mix.crash, Ended::Killed)].concat();
    scenes.sort_unstable();
    for (at, how) in scenes {
        if started.wait_for(|count| *count >= at).await.is_err() {
            break;
        }
        run.world.restart(how).await?;
    }
    Ok(())
}

/// Brings one saga from its start to its end, or as far as it comes while patience lasts.
async fn bring(
    run: &Run<'_>,
    number: u64,
    token: &str,
    started: &watch::Sender<u64>,
) -> Result<SagaId, RehearsalError> {
    let until = Instant::now() + run.patience;
    let id = start(run, number, token, until).await?;
    started.send_modify(|count| *count += 1);
    let cancelled = run.plan.cancels_at();
    let withheld = cancelled.and_then(|step| run.definition.find(step)).map(|ix| run.definition.step(ix));
    for (signal, payload) in &run.signals {
        let is_withheld = withheld.is_some_and(
            |step| matches!(&step.kind, amends_saga::definition::Kind::Await(awaits) if awaits.signal == *signal),
        );
        if !is_withheld {
            send(run, id, signal, payload, until).await?;
        }
    }
    if let Some(step) = cancelled {
        cancel(run, id, step, until).await?;
    }
    while Instant::now() < until {
        match run.world.client().saga::<SagaView>(id, Some(WAIT)).await {
            Ok(saga) if saga.ended_at.is_some() || is_at_rest(&saga) => break,
            Ok(_) => {}
            Err(error) if error.slug() == Some("not_found") => break,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    Ok(id)
}

async fn start(run: &Run<'_>, number: u64, token: &str, until: Instant) -> Result<SagaId, RehearsalError> {
    let input = invent::filled(run.input, number, token);
    let input =
        RawValue::from_string(input.to_string()).map_err(|error| RehearsalError::Input(error.to_string()))?;
    let key = format!("{KEY}{number}");
    let start = Start { definition: &run.name, input: &input, key: Some(&key), labels: BTreeMap::new() };
    let saga: SagaView =
        keep_at(until, || async { run.world.client().start(&start, None).await.map(|(_, saga)| saga) })
            .await?;
    Ok(saga.id)
}

async fn send(
    run: &Run<'_>,
    id: SagaId,
    signal: &Name,
    payload: &Value,
    until: Instant,
) -> Result<(), RehearsalError> {
    let raw = RawValue::from_string(payload.to_string())
        .map_err(|error| RehearsalError::Input(error.to_string()))?;
    let sent = keep_at(until, || async {
        let client = run.world.client();
        match client.signal::<Value>(id, signal, Some("rehearsal"), &raw).await {
            // Turned round, or ended, before it came.
            Err(ClientError::Refused { status: StatusCode::CONFLICT, .. }) => Ok(()),
            sent => sent.map(|_| ()),
        }
    });
    sent.await
}

/// Cancels a saga once it waits at a step.
async fn cancel(run: &Run<'_>, id: SagaId, step: &Name, until: Instant) -> Result<(), RehearsalError> {
    while Instant::now() < until {
        let saga: SagaView = keep_at(until, || async { run.world.client().saga(id, None).await }).await?;
        let waits = |one: &amends_wire::api::StepView| one.name == *step && one.status == StepStatus::Waiting;
        if saga.ended_at.is_some() {
            return Ok(());
        }
        if saga.steps.iter().flatten().any(waits) {
            let reason = Some("the rehearsal asks for it");
            return keep_at(until, || async {
                run.world.client().cancel::<Value>(id, reason).await.map(|_| ())
            })
            .await;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Tries until it succeeds or fails for good; a coordinator that is gone comes back.
async fn keep_at<T, F>(until: Instant, attempt: impl Fn() -> F) -> Result<T, RehearsalError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() < until && may_pass(&error) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(RehearsalError::Coordinator(crate::client::chain(&error))),
        }
    }
}

fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { status, .. } => status.is_server_error() || error.is_transient(),
        // Its last answer was cut off.
        ClientError::Foreign { .. } => true,
        other => other.is_transient(),
    }
}

/// Reads what became of every saga, and its journal.
async fn read_all(run: &Run<'_>, ids: &BTreeMap<u64, SagaId>) -> Result<Vec<Ending>, RehearsalError> {
    let until = Instant::now() + run.patience.max(Duration::from_secs(10));
    let mut endings: Vec<Ending> = futures::stream::iter(ids)
        .map(|(number, id)| async move {
            let view = keep_at(until, || async {
                match run.world.client().saga::<SagaView>(*id, None).await {
                    Err(ClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
                    saga => saga.map(Some),
                }
            });
            let view = view.await?;
            let journal = format!("/v1/sagas/{id}/journal");
            let journal = if view.is_some() { pages(run, &journal, until).await? } else { Vec::new() };
            Ok::<_, RehearsalError>(Ending { number: *number, id: *id, view, journal })
        })
        .buffer_unordered(8)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<Result<_, _>>()?;
    endings.sort_by_key(|ending| ending.number);
    Ok(endings)
}

/// Reads a list to its end.
async fn pages<T: DeserializeOwned>(
    run: &Run<'_>,
    path: &str,
    until: Instant,
) -> Result<Vec<T>, RehearsalError> {
    let mut items = Vec::new();
    let mut query = vec![("limit", "500".to_owned())];
    loop {
        let page: List<T> = keep_at(until, || async { run.world.client().get(path, &query).await }).await?;
        items.extend(page.items);
        let Some(next) = page.next else { return Ok(items) };
        query.truncate(1);
        query.push(("cursor", next));
    }
}
