//! Asking the instances of participants how they are.
//!
//! An instance is asked every two to four seconds while there are others to call in its place, and after failures.
//! A check is `GET {instance}/healthz`, or the path that was registered; a good one is answered with 2xx in time. Where
//! no path was registered any answer below 500 is good: nobody has said that there is a check, and somebody is there.

use super::{Registry, participants::Check};
use crate::{
    clock::now,
    dispatch::{Dispatcher, TransportError},
};
use futures::stream::{FuturesUnordered, StreamExt};
use http::StatusCode;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Between two looks for checks that are due.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a check may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Checks on their way at a time; what is due beyond that is made later.
const AT_ONCE: usize = 64;

/// Makes checks until `stop` is cancelled.
pub(crate) async fn run(registry: Arc<Registry>, dispatcher: Dispatcher, stop: CancellationToken) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {
                let room = AT_ONCE - under_way.len();
                for check in registry.participants.checks(room, now()) {
                    under_way.push(make(&dispatcher, check));
                }
            }
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
        }
    }
}

async fn make(dispatcher: &Dispatcher, check: Check) {
    let answer = dispatcher.probe(&check.instance, &check.url, TIMEOUT).await;
    let is_good = is_good(&answer, check.is_declared);
    let Some(is_in) = check.instance.condition.check(is_good) else { return };
    let (participant, instance) = (&check.participant, &check.instance.id);
    if is_in {
        tracing::info!(%participant, instance, url = %check.url, "an instance is well again and is called again");
        return;
    }
    let reason = match answer {
        Ok(status) => format!("it answered with status {}", status.as_u16()),
        Err(error) => error.to_string(),
    };
    tracing::warn!(
        %participant, instance, url = %check.url, reason,
        "an instance fails its health check and is passed over while there are others"
    );
}

fn is_good(answer: &Result<StatusCode, TransportError>, is_declared: bool) -> bool {
    match answer {
        Ok(status) if is_declared => status.is_success(),
        Ok(status) => !status.is_server_error(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests;
