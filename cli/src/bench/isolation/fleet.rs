//! The processes under test, the definitions they run, and what the bench asks of their coordinator.

use super::{
    super::{
        cell::{PATIENCE, expect_success},
        proc::Usage,
        processes::{self, Process},
    },
    ten::WELL,
};
use crate::client::Client;
use amends_wire::api::{List, SummaryView};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Where the dead participant is said to be: a port below those that are handed out, at which nothing listens.
const DEAD: &str = "http://127.0.0.1:1";

/// Where `p8` stands in the queue.
pub(super) const STUCK: &str = "p8";

/// The definition of the sagas that are parked.
pub(super) const PARKED: &str = "parked";

/// The definition of the sagas that need the dead participant.
pub(super) const DOOMED: &str = "doomed";

/// A coordinator and its participants, on a fresh database.
#[derive(Debug)]
pub(super) struct Fleet {
    coordinator: Process,
    participants: Process,
    pub(super) client: Client,
    _folder: tempfile::TempDir,
}

impl Fleet {
    /// Starts the processes and sets them up.
    pub(super) async fn start(data: Option<&Path>, threads: usize) -> anyhow::Result<Fleet> {
        let folder = processes::folder(data)?;
        let store = format!("sqlite:{}", folder.path().join("coordinator.db").display());
        let threads = threads.to_string();
        let serve = ["serve", "--listen", "127.0.0.1:0", "--threads", &threads, "--store", &store];
        let coordinator = Process::start("coordinator", folder.path(), &serve)?;
        let ten = ["bench", "--serve-ten", &coordinator.url];
        let participants = Process::start("participants", folder.path(), &ten)?;
        let base =
            coordinator.url.parse().map_err(|error| anyhow::anyhow!("{}: {error}", coordinator.url))?;
        let client = Client::new(base, None)?;
        let fleet = Fleet { coordinator, participants, client, _folder: folder };
        fleet.set_up().await?;
        Ok(fleet)
    }

    /// `host:port` of the coordinator.
    pub(super) fn address(&self) -> String {
        self.coordinator.url.trim_start_matches("http://").to_owned()
    }

    async fn set_up(&self) -> anyhow::Result<()> {
        self.register_the_dead().await?;
        let begun = Instant::now();
        while self.client.get::<List<Value>>("/v1/participants", &[]).await?.items.len() < WELL + 2 {
            if begun.elapsed() > PATIENCE {
                bail!("the participants have not registered within {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (name, text) in definitions() {
            self.client.register::<Value>(&name, 1, text).await?;
        }
        Ok(())
    }

    async fn register_the_dead(&self) -> anyhow::Result<()> {
        let operations = json!({ "a": { "compensation": "undo" }, "undo": {} });
        let registration = json!({ "instances": [DEAD], "operations": operations });
        let url = format!("{}/v1/participants/p9", self.coordinator.url);
        let request = http()?.put(url).json(&registration);
        expect_success(request).await.context("registering the dead participant")
    }

    /// Tells `p8` to undo what it is asked to from now on.
    pub(super) async fn accept(&self) -> anyhow::Result<()> {
        let request = http()?.post(format!("{}/accept", self.participants.url)).json(&json!({}));
        let request = request
            .header("saga-id", uuid::Uuid::now_v7().to_string())
            .header("saga-step", "accept")
            .header("saga-op", "action")
            .header("saga-attempt", "1")
            .header("saga-epoch", "1")
            .header("idempotency-key", "accept");
        expect_success(request).await.context("telling p8 to accept")
    }

    /// The repair queue in numbers.
    pub(super) async fn summary(&self) -> anyhow::Result<SummaryView> {
        Ok(self.client.get("/v1/repairs/summary", &[]).await?)
    }

    /// The items of `p8` that are not settled.
    pub(super) async fn stuck(&self) -> anyhow::Result<u64> {
        let summary = self.summary().await?;
        Ok(summary.by.iter().filter(|pile| pile.participant == STUCK).map(|pile| pile.items).sum())
    }

    /// How the breaker of the dead participant stands, in the coordinator's word.
    pub(super) async fn breaker(&self) -> anyhow::Result<String> {
        let view: Value = self.client.get("/v1/participants/p9", &[]).await?;
        Ok(view["breaker"]["state"].as_str().unwrap_or("unknown").to_owned())
    }

    /// The usage of coordinator, participants and this process, in that order.
    pub(super) fn usage(&self) -> anyhow::Result<Vec<(&'static str, Usage)>> {
        let pids = [self.coordinator.pid(), self.participants.pid(), std::process::id()];
        let names = ["coordinator", "participants", "bench"];
        names.into_iter().zip(pids).map(|(name, pid)| Ok((name, Usage::of(pid)?))).collect()
    }
}

fn http() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?)
}

/// The name of the definition of load saga number `n`; they go round the participants that are well.
pub(super) fn unrelated(n: u64) -> String {
    format!("load{}", n % WELL as u64)
}

/// All definitions, by name.
fn definitions() -> Vec<(String, String)> {
    let load = (0..WELL).map(|i| {
        let at = |k: usize| format!("p{}.a", (i + k) % WELL);
        let name = unrelated(i as u64);
        (name.clone(), definition(&name, "60s", &[("x", &at(0)), ("y", &at(1)), ("z", &at(2))]))
    });
    let parked = definition(PARKED, "30m", &[("first", "p8.a"), ("second", "p7.no")]);
    let doomed = definition(DOOMED, "24h", &[("first", "p0.a"), ("second", "p9.a")]);
    load.chain([(PARKED.to_owned(), parked), (DOOMED.to_owned(), doomed)]).collect()
}

fn definition(name: &str, deadline: &str, steps: &[(&str, &str)]) -> String {
    let mut text = format!("saga: {name}\nversion: 1\ndeadline: {deadline}\nsteps:\n");
    for (step, action) in steps {
        let participant = action.split('.').next().unwrap_or_default();
        text.push_str(&format!(
            "  - {step}:\n      action: {action}\n      compensation: {participant}.undo\n      \
             with: \"${{{{ input }}}}\"\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_sound_and_the_load_keeps_away_from_the_stuck_and_the_dead() {
        let all = definitions();
        assert_eq!(all.len(), WELL + 2);
        for (name, text) in &all {
            assert!(amends_wire::definition::Text::read(text).is_ok(), "{name}: {text}");
            let is_load = name.starts_with("load");
            assert_eq!(!text.contains("p8.") && !text.contains("p9."), is_load, "{name}: {text}");
        }
    }
}
