//! Running it: sagas are started, signalled and brought to their end, coordinators come and go, and what is left is
//! read and judged.

use super::{
    RehearsalError, Report,
    book::Book,
    invent,
    laws::{self, Ending, Evidence, Expected, moving},
    network::{KEY, Network},
    parts::{Parts, path, within},
    plan::Plan,
    registered,
    rehearsal::Pace,
    report::Facts,
    world::{Ended, World},
};
use crate::client::{ClientError, Start};
use amends_saga::{Name, SagaId, definition::Kind};
use amends_wire::{
    api::{List, RepairView, SagaView, StepStatus, StepView},
    registration::Registration,
};
use futures::{StreamExt, future::BoxFuture};
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

/// What each awaited signal carries, by the path of the saga that awaits it.
pub(super) type Signals = BTreeMap<String, Vec<(Name, Value)>>;

/// What came of a run.
pub(super) struct Performed {
    pub(super) report: Report,
    /// The rehearsed sagas, each followed by those that it has run.
    pub(super) endings: Vec<Ending>,
    pub(super) parts: Parts,
}

/// Everything that a run needs to know.
pub(super) struct Run<'a> {
    pub(super) world: &'a World,
    pub(super) plan: &'a Plan,
    pub(super) parts: &'a Parts,
    /// `name@version`.
    pub(super) name: String,
    pub(super) input: &'a Value,
    pub(super) signals: Signals,
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
pub(super) async fn perform(
    run: &Run<'_>,
    network: &Network,
    book: &Book,
) -> Result<(Report, Vec<Ending>), RehearsalError> {
    let begun = Instant::now();
    let (started, watched) = watch::channel(0);
    let (ids, ()) = tokio::try_join!(drive(run, started), direct(run, watched))?;
    // Copies that are still under way may do harm yet.
    network.settle().await;
    let endings = read_all(run, &ids).await?;
    let queue: Vec<RepairView> = pages(run, "/v1/repairs", Instant::now() + run.patience).await?;
    let seen = book.content();
    let evidence = Evidence {
        parts: run.parts,
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
    Ok((Report::new(facts, &endings, seen, verdict), endings))
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
    let mut tended = BTreeSet::new();
    // What a child waits for is sent once it has begun.
    let has_children_to_tell = run.signals.iter().any(|(at, signals)| !at.is_empty() && !signals.is_empty());
    let wait = if has_children_to_tell { PAUSE } else { WAIT };
    while Instant::now() < until {
        if !tended.contains(&id) && signal_all(run, id, "", until).await? {
            tended.insert(id);
        }
        match run.world.client().saga::<SagaView>(id, Some(wait)).await {
            Ok(saga) if saga.ended_at.is_some() => break,
            Ok(saga) if tend(run, &saga, "", &mut tended, until).await? => break,
            Ok(_) => {}
            Err(error) if error.slug() == Some("not_found") => break,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    Ok(id)
}

/// Does for a saga, and for those that it runs, what somebody outside would: sends them their signals, and cancels at
/// the step that the plan names. Says whether nothing but an operator can make it go on.
fn tend<'a>(
    run: &'a Run<'_>,
    saga: &'a SagaView,
    at: &'a str,
    tended: &'a mut BTreeSet<SagaId>,
    until: Instant,
) -> BoxFuture<'a, Result<bool, RehearsalError>> {
    Box::pin(async move {
        let moving: Option<Vec<SagaId>> =
            moving(saga).and_then(|steps| steps.into_iter().map(|step| step.child).collect());
        let mut resting = BTreeSet::new();
        for step in saga.steps.iter().flatten() {
            if run.plan.cancels_at() == Some(&path(at, &step.name)) && step.status == StepStatus::Waiting {
                cancel(run, saga, until).await?;
            }
            let Some(child) = step.child else { continue };
            let at = within(at, &step.name);
            if !tended.contains(&child) && signal_all(run, child, &at, until).await? {
                tended.insert(child);
            }
            let shown = run.world.client().saga::<SagaView>(child, None).await;
            let Ok(shown) = shown else { continue };
            if shown.ended_at.is_none() && tend(run, &shown, &at, tended, until).await? {
                resting.insert(child);
            }
        }
        Ok(moving.is_some_and(|children| children.iter().all(|child| resting.contains(child))))
    })
}

/// Sends a saga every signal that it awaits, but the one that is withheld; says whether it was there to take them.
async fn signal_all(run: &Run<'_>, id: SagaId, at: &str, until: Instant) -> Result<bool, RehearsalError> {
    let Some(signals) = run.signals.get(&super::parts::base(at)) else { return Ok(true) };
    for (signal, payload) in signals {
        if !is_withheld(run, at, signal) && !send(run, id, signal, payload, until).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the plan cancels a saga while it waits for this.
fn is_withheld(run: &Run<'_>, at: &str, signal: &Name) -> bool {
    let step = run.plan.cancels_at().and_then(|path| path.strip_prefix(at));
    let definition = run.parts.at(at).map(|part| &part.definition);
    let step =
        step.zip(definition).and_then(|(step, definition)| Some(definition.step(definition.find(step)?)));
    step.is_some_and(|step| matches!(&step.kind, Kind::Await(awaits) if awaits.signal == *signal))
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
) -> Result<bool, RehearsalError> {
    let raw = RawValue::from_string(payload.to_string())
        .map_err(|error| RehearsalError::Input(error.to_string()))?;
    let sent = keep_at(until, || async {
        let client = run.world.client();
        match client.signal::<Value>(id, signal, Some("rehearsal"), &raw).await {
            // Turned round, or ended, before it came.
            Err(ClientError::Refused { status: StatusCode::CONFLICT, .. }) => Ok(true),
            // A child that has not begun.
            Err(ClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(false),
            sent => sent.map(|_| true),
        }
    });
    sent.await
}

/// Cancels the rehearsed saga that a saga is, or is run for.
async fn cancel(run: &Run<'_>, saga: &SagaView, until: Instant) -> Result<(), RehearsalError> {
    let mut above = saga.id;
    let mut parent = saga.parent.clone();
    while let Some(found) = parent {
        above = found.saga;
        let shown = keep_at(until, || async { run.world.client().saga::<SagaView>(above, None).await });
        parent = shown.await?.parent;
    }
    let reason = Some("the rehearsal asks for it");
    keep_at(until, || async { run.world.client().cancel::<Value>(above, reason).await.map(|_| ()) }).await
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

/// Reads what became of every saga, and its journal; and of those that it has run.
async fn read_all(run: &Run<'_>, ids: &BTreeMap<u64, SagaId>) -> Result<Vec<Ending>, RehearsalError> {
    let until = Instant::now() + run.patience.max(Duration::from_secs(10));
    let mut endings: Vec<Vec<Ending>> = futures::stream::iter(ids)
        .map(|(number, id)| async move {
            let mut found = vec![read_one(run, *number, *id, String::new(), until).await?];
            let mut next = 0;
            while let Some(ending) = found.get(next) {
                let steps = ending.view.iter().flat_map(|view| view.steps.iter().flatten());
                let of = |step: &StepView| Some((step.child?, within(&ending.path, &step.name)));
                for (child, path) in steps.filter_map(of).collect::<Vec<_>>() {
                    let child = read_one(run, *number, child, path, until).await?;
                    // One that was never begun has done nothing, and is no saga.
                    found.extend(child.view.is_some().then_some(child));
                }
                next += 1;
            }
            Ok::<_, RehearsalError>(found)
        })
        .buffer_unordered(8)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<Result<_, _>>()?;
    endings.sort_by_key(|endings| endings[0].number);
    Ok(endings.into_iter().flatten().collect())
}

async fn read_one(
    run: &Run<'_>,
    number: u64,
    id: SagaId,
    path: String,
    until: Instant,
) -> Result<Ending, RehearsalError> {
    let view = keep_at(until, || async {
        match run.world.client().saga::<SagaView>(id, None).await {
            Err(ClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            saga => saga.map(Some),
        }
    });
    let view = view.await?;
    let journal = format!("/v1/sagas/{id}/journal");
    let journal = if view.is_some() { pages(run, &journal, until).await? } else { Vec::new() };
    Ok(Ending { number, id, path, view, journal })
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
