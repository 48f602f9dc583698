//! Turns: of several coordinators on one store one makes a pass, and the others leave it alone until it is due again.
//!
//! A turn is a row among the jobs, with a version. Whoever raises the version has the turn and keeps in the row how far the
//! pass is; it stays theirs until another one, seeing that the row has not changed for as long as a turn takes, raises the
//! version in its place. So a coordinator that dies keeps no pass from being made, and one that was thought dead notices.

use super::Monitor;
use crate::clock::now;
use amends_saga::hash::Mix;
use amends_store::{Error, repairs::JobRow};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use uuid::Uuid;

/// Somebody's turn to make a pass.
#[derive(Debug)]
pub(super) struct Turn {
    name: &'static str,
    row: JobRow,
}

impl Turn {
    /// Takes the turn of a pass that is made once in `every`; `None` while it is not due, or when another took it.
    pub(super) async fn take(
        monitor: &Monitor,
        name: &'static str,
        every: Duration,
    ) -> Result<Option<Turn>, Error> {
        let id = turn_id(name);
        let mut row = match monitor.app.store.job(id).await? {
            None => JobRow { id, text: "{}".to_owned(), is_running: false, version: 0, updated_at: now() },
            // A little less than the whole: timers are not exact, and a turn missed is a whole turn lost.
            Some(row) if now().since(row.updated_at) < super::millis(every * 3 / 4) => return Ok(None),
            Some(row) => row,
        };
        row.version += 1;
        let is_taken = monitor.app.store.put_job(&monitor.app.bulk.owner, &row).await?;
        Ok(is_taken.then_some(Turn { name, row }))
    }

    /// How far the pass was; the beginning where nothing that can be read was kept.
    pub(super) fn progress<T: DeserializeOwned + Default>(&self) -> T {
        serde_json::from_str(&self.row.text).unwrap_or_else(|error| {
            tracing::warn!(pass = self.name, %error, "how far the monitor was cannot be read; it begins anew");
            T::default()
        })
    }

    /// Keeps how far the pass is; says whether the turn is still held.
    pub(super) async fn keep(&mut self, monitor: &Monitor, progress: &impl Serialize) -> Result<bool, Error> {
        let text = serde_json::to_string(progress)
            .map_err(|error| Error::Corrupt(format!("the monitor's {}: {error}", self.name)))?;
        let row = JobRow { text, version: self.row.version + 1, ..self.row.clone() };
        let is_kept = monitor.app.store.put_job(&monitor.app.bulk.owner, &row).await?;
        if is_kept {
            self.row = row;
        }
        Ok(is_kept)
    }
}

/// The id of a turn's row: derived from its name, before every id that time has made.
fn turn_id(name: &str) -> Uuid {
    let mut bytes = [0; 16];
    let mix = Mix::new(u64::from_le_bytes(*b"turn!!!!")).bytes(name.as_bytes());
    bytes[8..].copy_from_slice(&mix.finish().to_be_bytes());
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
