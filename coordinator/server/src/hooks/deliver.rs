//! Taking events out of the outbox and delivering them, each hook at its own pace.

use super::{Hook, HookEvent, Nudge};
use crate::{
    api::{App, repairs::view},
    clock::now,
    dispatch::{chain, client, retry_after},
    metrics::Sent,
};
use amends_saga::{Millis, Timestamp, hash::Mix, schedule::Schedule};
use amends_store::{Error, repairs::Delivery};
use amends_wire::{
    api::{RepairView, Time},
    participant::{WEBHOOK_ID, WEBHOOK_TIMESTAMP, sign},
};
use http::{HeaderValue, header};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Between two looks into the outbox when nobody says that there is something.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Events taken at a time.
const TAKE: usize = 64;

/// Takes in a row, before anything else has its turn.
const TAKES_MAX: usize = 16;

/// How long an event that was taken is kept from others. One that is not ended by then is taken anew.
const HOLD: Duration = Duration::from_secs(30);

/// Messages to one hook on their way at a time.
const AT_ONCE: usize = 8;

/// Messages to one hook on their way or waiting for that here; what is more stays in the outbox.
const TAKEN_MAX: usize = 32;

/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The time after which an event is given up.
const GIVEN_UP_AFTER: Millis = Millis::from_secs(3 * 24 * 3600);

/// Errors of the item that a message shows, the newest.
const ERRORS_SHOWN: usize = 3;

/// When a message is sent again: from 5 s doubling to an hour.
const SCHEDULE: Schedule =
    Schedule { attempts: u32::MAX, first: Millis::from_secs(5), factor: 2.0, max: Millis::from_secs(3600) };

/// A hook and its hands.
struct Line {
    hook: Hook,
    hands: Semaphore,
    taken: Arc<Semaphore>,
}

/// Delivers until `stop` is cancelled, and lets what is on its way come to an end.
pub(crate) async fn run(app: App, hooks: Vec<Hook>, nudge: Nudge, stop: CancellationToken) {
    if hooks.is_empty() {
        return;
    }
    let client = match client() {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "webhooks cannot be sent"),
    };
    let lines = hooks.into_iter().map(|hook| {
        let (hands, taken) = (Semaphore::new(AT_ONCE), Arc::new(Semaphore::new(TAKEN_MAX)));
        (hook.key(), Arc::new(Line { hook, hands, taken }))
    });
    let lines: BTreeMap<String, Arc<Line>> = lines.collect();
    let mut sending = JoinSet::new();
    while !stop.is_cancelled() {
        if let Err(error) = take(&app, &client, &lines, &mut sending).await {
            tracing::warn!(%error, "the outbox could not be read; webhooks wait");
        }
        while sending.try_join_next().is_some() {}
        tokio::select! {
            () = stop.cancelled() => {}
            () = nudge.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    let ends = async { while sending.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(TIMEOUT, ends).await;
}

/// Takes what is due and hands it to the hooks.
async fn take(
    app: &App,
    client: &reqwest::Client,
    lines: &BTreeMap<String, Arc<Line>>,
    sending: &mut JoinSet<()>,
) -> Result<(), Error> {
    for _ in 0..TAKES_MAX {
        let begun = Instant::now();
        let hold_ms = u64::try_from(HOLD.as_millis()).unwrap_or(u64::MAX);
        let deliveries = app.store.take_deliveries(TAKE, hold_ms).await?;
        let is_all = deliveries.len() < TAKE;
        for delivery in deliveries {
            // Another coordinator's hook, or one whose hands are full: after the hold it is taken anew.
            let Some(line) = lines.get(&delivery.hook) else { continue };
            let Ok(place) = line.taken.clone().try_acquire_owned() else { continue };
            let (app, client, line) = (app.clone(), client.clone(), line.clone());
            sending.spawn(async move {
                let _place = place;
                let Ok(_hand) = line.hands.acquire().await else { return };
                // So late somebody else may be given it before the attempt ends.
                if begun.elapsed() + TIMEOUT + Duration::from_secs(1) < HOLD {
                    deliver(&app, &client, &line.hook, &delivery).await;
                }
            });
        }
        if is_all {
            break;
        }
    }
    Ok(())
}

/// Makes one attempt and writes what came of it. Where the store does not answer, the hold passes and it is made again.
async fn deliver(app: &App, client: &reqwest::Client, hook: &Hook, delivery: &Delivery) {
    let body = match body(app, delivery).await {
        Ok(Some(body)) => body,
        Ok(None) => return end(app, delivery, None).await,
        Err(error) => return tracing::warn!(item = %delivery.item, error, "a webhook's item cannot be shown"),
    };
    let Err((why, wish)) = send(client, hook, delivery, body).await else {
        app.metrics.hook(Sent::Delivered);
        return end(app, delivery, None).await;
    };
    let (hook, item, attempt) = (hook.place(), delivery.item, delivery.attempts.saturating_add(1));
    if is_over(delivery.at, now()) {
        app.metrics.hook(Sent::Dropped);
        tracing::error!(hook, %item, attempt, why, "a webhook was not taken for three days and is given up");
        return end(app, delivery, None).await;
    }
    app.metrics.hook(Sent::Failed);
    let wait = wait(delivery, wish);
    match delivery.attempts {
        0 => {
            tracing::warn!(hook, %item, why, retry_in_ms = wait.0, "a webhook was not taken; it is sent again")
        }
        _ => {
            tracing::debug!(hook, %item, attempt, why, retry_in_ms = wait.0, "a webhook was not taken again")
        }
    }
    end(app, delivery, Some(wait)).await;
}

async fn end(app: &App, delivery: &Delivery, retry_in: Option<Millis>) {
    if let Err(error) = app.store.end_delivery(delivery.n, retry_in.map(|wait| wait.0)).await {
        tracing::warn!(%error, item = %delivery.item, "a webhook's end could not be written; it comes again");
    }
}

/// Whether an event has been tried for so long that it is given up.
fn is_over(at: Timestamp, now: Timestamp) -> bool {
    now.since(at) >= GIVEN_UP_AFTER
}

/// How long to wait after an attempt: what the schedule says, or the receiver where it wants more time.
fn wait(delivery: &Delivery, wish: Option<Millis>) -> Millis {
    let (high, low) = delivery.event.as_u64_pair();
    let wait = SCHEDULE.delay(delivery.attempts.saturating_add(1), Mix::new(high).add(low));
    wait.max(wish.unwrap_or_default().min(SCHEDULE.max))
}

/// The message; `None` when its item is not there.
async fn body(app: &App, delivery: &Delivery) -> Result<Option<Vec<u8>>, String> {
    let Some(row) = app.store.item(delivery.item).await.map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let view = view::one(app, row).await.map_err(|failure| failure.0.to_string())?;
    let message = message(delivery, view);
    serde_json::to_vec(&message).map(Some).map_err(|error| error.to_string())
}

fn message(delivery: &Delivery, mut view: RepairView) -> Value {
    let older = view.errors.len().saturating_sub(ERRORS_SHOWN);
    view.errors.drain(..older);
    let mut data = serde_json::to_value(view).unwrap_or_default();
    let event = HookEvent::from(delivery.told);
    if event == HookEvent::Escalated {
        data["level"] = json!(if delivery.level >= 2 { "page" } else { "warn" });
    }
    json!({ "type": event.as_str(), "timestamp": Time(delivery.at), "data": data })
}

/// Sends a message; what went wrong, and the receiver's wish for the next attempt, where it was not taken.
async fn send(
    client: &reqwest::Client,
    hook: &Hook,
    delivery: &Delivery,
    body: Vec<u8>,
) -> Result<(), (String, Option<Millis>)> {
    let (id, secs) = (delivery.event.as_hyphenated().to_string(), now().0 / 1000);
    let mut request = client.post(hook.url.clone()).timeout(TIMEOUT);
    request = request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match &hook.secret {
        Some(secret) => {
            for (name, value) in sign(secret, &id, secs, &body) {
                request = request.header(name, value);
            }
        }
        None => request = request.header(WEBHOOK_ID, id).header(WEBHOOK_TIMESTAMP, secs.to_string()),
    }
    match request.body(body).send().await {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => {
            let why = format!("it was answered with status {}", response.status().as_u16());
            Err((why, retry_after(response.headers())))
        }
        // The address may hold a secret.
        Err(error) => Err((chain(&error.without_url()), None)),
    }
}

#[cfg(test)]
mod tests;
