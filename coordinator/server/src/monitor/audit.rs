//! Holding what participants say of their own tables against the sagas, again and again.
//!
//! One coordinator at a time makes the round. Each participant is read from where the round before ended, less an overlap, in
//! windows that are bounded; how far each is stands in the turn's row, so a round that was cut short goes on elsewhere. What is
//! found is opened as an anomaly, each thing once for ever: settling it is a decision that the next round does not undo, and
//! `amends verify` shows it as long as it stands.
//!
//! The invariant is the comparison's: **what is still in motion proves nothing**. A window whose end is not the present
//! therefore says of an effect what it is, but calls none missing whose saga may have left effects beyond it.

mod open;
mod site;
mod window;

use super::{Monitor, turn::Turn};
use crate::clock::now;
use amends_saga::Name;
use amends_store::Error;
use amends_wire::api::ParticipantView;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;
use window::Window;

/// The rest before the first round.
const FIRST_AFTER: Duration = Duration::from_secs(60);

/// How far back a participant is read that has not been before, and how far behind it may be, in milliseconds.
const BEHIND_MAX_MS: i64 = 24 * 3_600_000;

/// How much of what was read is read again, since sagas may have ended meanwhile, in milliseconds.
const OVERLAP_MS: i64 = 3_600_000;

/// From when on each participant is read next, in unix milliseconds by its clock.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Positions {
    #[serde(default)]
    since: BTreeMap<String, i64>,
}

/// What came of a participant's audit.
enum Outcome {
    Done,
    NotOffered,
    Failed(String),
    /// Another coordinator makes the round now.
    Lost,
}

/// Makes rounds, for ever.
pub(super) async fn run(monitor: Monitor) {
    let every = monitor.config.audit_every;
    tokio::time::sleep(every.min(FIRST_AFTER)).await;
    loop {
        if let Err(error) = round(&monitor, every).await {
            tracing::warn!(%error, "the participants' audits could not be made");
            monitor.app.metrics.audited("failed");
        }
        tokio::time::sleep(every).await;
    }
}

async fn round(monitor: &Monitor, every: Duration) -> Result<(), Error> {
    let Some(mut turn) = Turn::take(monitor, "audit", every).await? else { return Ok(()) };
    let mut positions: Positions = turn.progress();
    let participants = monitor.app.registry.participant_views();
    positions.since.retain(|name, _| participants.iter().any(|known| known.name.as_str() == name));
    let until = Instant::now() + every / 2;
    if participants.is_empty() {
        monitor.app.metrics.audited("done");
    }
    for participant in participants {
        let outcome = one(monitor, &participant, &mut turn, &mut positions, until).await?;
        monitor.app.metrics.audited(match &outcome {
            Outcome::Done => "done",
            Outcome::NotOffered => "not_offered",
            Outcome::Failed(_) => "failed",
            Outcome::Lost => return Ok(()),
        });
        if let Outcome::Failed(why) = outcome {
            tracing::warn!(participant = %participant.name, why, "a participant's audit could not be read");
        }
    }
    Ok(())
}

/// Reads one participant, window by window, to the present or until the round has taken long enough.
async fn one(
    monitor: &Monitor,
    participant: &ParticipantView,
    turn: &mut Turn,
    positions: &mut Positions,
    until: Instant,
) -> Result<Outcome, Error> {
    loop {
        let since = begin(&participant.name, positions.since.get(participant.name.as_str()).copied());
        let window = match Window::read(monitor, participant, since).await? {
            Ok(window) => window,
            Err(site::SiteError::NotOffered) => return Ok(Outcome::NotOffered),
            Err(error) => return Ok(Outcome::Failed(error.to_string())),
        };
        let findings = window.judge(monitor).await?;
        open::all(monitor, &findings).await?;
        positions.since.insert(participant.name.to_string(), next(since, window.until(), window.is_last()));
        if !turn.keep(monitor, positions).await? {
            return Ok(Outcome::Lost);
        }
        if window.is_last() || Instant::now() >= until {
            return Ok(Outcome::Done);
        }
    }
}

/// From when on a participant is read.
fn begin(name: &Name, kept: Option<i64>) -> i64 {
    let earliest = now().0 - BEHIND_MAX_MS;
    match kept {
        Some(since) if since < earliest => {
            tracing::warn!(participant = %name, "the audit is more than a day behind and leaves out what is older");
            earliest
        }
        Some(since) => since,
        None => earliest.max(0),
    }
}

/// From when on to read after a window: less an overlap, but never without getting on.
fn next(since: i64, until: i64, is_last: bool) -> i64 {
    match is_last {
        true => since.max(until - OVERLAP_MS),
        false => (since + (until - since) / 2).max(until - OVERLAP_MS).max(since + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_gets_on_and_the_last_hour_is_read_again() {
        let hour = OVERLAP_MS;
        for (since, until, is_last, expected) in [
            (0, hour / 2, true, 0),
            (0, 3 * hour, true, 2 * hour),
            (0, 3 * hour, false, 2 * hour),
            (0, 1000, false, 500),
            (1000, 1000, false, 1001),
        ] {
            assert_eq!(next(since, until, is_last), expected, "{since} {until} {is_last}");
        }
    }
}
