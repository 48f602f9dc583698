//! Reading what is compared: sagas from the coordinator, audits from the participants.

use super::{
    Key,
    shop::{self, Compared},
    site::{Site, SiteError, http},
};
use crate::client::{Client, ClientError};
use amends_saga::{SagaId, Status, Timestamp};
use amends_wire::{
    api::{JournalItem, List, ParticipantView, SagaView, Time},
    audit::{Audited, EffectState, Query, ReadError, SagaRecord, Sagas, read_all},
};
use anyhow::bail;
use futures::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

/// Sagas that are read at a time.
const SAGAS_AT_A_TIME: usize = 16;

/// Participants that are read at a time.
const PARTICIPANTS_AT_A_TIME: usize = 4;

/// What is to be read.
#[derive(Debug)]
pub(super) struct Wanted {
    /// How far back, in milliseconds.
    pub(super) since_ms: i64,
    /// How long what is judged must have been at rest, in milliseconds.
    pub(super) settle_ms: i64,
    /// From whom; from everybody where nobody is named.
    pub(super) participants: Vec<String>,
    /// What requests are signed with.
    pub(super) keys: Vec<Key>,
    /// The most sagas, and the most effects of one participant.
    pub(super) max: usize,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Gathered {
    /// When reading began, in unix milliseconds.
    pub(super) now: i64,
    /// From when on, in unix milliseconds.
    pub(super) since: i64,
    /// The sagas that were accepted since, and older ones that have left effects since.
    pub(super) sagas: Sagas,
    /// The participants, ascending by name.
    pub(super) participants: Vec<Asked>,
    /// What came of holding them against each other.
    pub(super) compared: Vec<Compared>,
}

/// What one participant says.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) name: String,
    /// Its operations that leave no trace.
    pub(super) traceless: BTreeSet<String>,
    pub(super) audit: Audit,
    /// Its own laws, where it checks some, or why they could not be read.
    pub(super) laws: Result<Vec<OwnLaw>, String>,
    /// What its tables keep, where it says so.
    pub(super) keeps: Option<String>,
    /// What it has counted over them.
    pub(super) totals: Value,
    /// Where it is asked.
    pub(super) site: Site,
}

/// What came of asking for an audit.
#[derive(Debug)]
pub(super) enum Audit {
    Read(Audited),
    NotOffered,
    Failed(String),
}

/// A participant's own books, as its `GET /audit` shows them.
#[derive(Debug, Deserialize)]
struct OwnBooks {
    invariants: Vec<OwnLaw>,
    #[serde(default)]
    keeps: Option<String>,
    #[serde(default)]
    totals: Value,
}

/// One law of a participant's own.
#[derive(Debug, Deserialize)]
pub(super) struct OwnLaw {
    pub(super) name: String,
    #[serde(default)]
    pub(super) law: String,
    pub(super) kept: bool,
    #[serde(default)]
    pub(super) violations: Vec<Value>,
}

/// Reads everything.
///
/// # Errors
/// When the coordinator does not answer, a participant that is named is not registered, or there is more than wanted.
pub(super) async fn gather(client: &Client, wanted: &Wanted, bar: &ProgressBar) -> anyhow::Result<Gathered> {
    let now = now_ms();
    let since = now.saturating_sub(wanted.since_ms).max(0);
    let views = views(client, wanted).await?;
    let http = http()?;
    let asking = views.iter().map(|view| ask(&http, view, wanted, since));
    let participants: Vec<Asked> =
        futures::stream::iter(asking).buffered(PARTICIPANTS_AT_A_TIME).collect().await;
    let mut reading = Reading { client, wanted, bar, sagas: Sagas::default() };
    reading.since(since, &participants).await?;
    reading.older(&participants).await?;
    let sagas = reading.sagas;
    let compared = shop::compare(client, wanted, &participants, bar).await;
    Ok(Gathered { now, since, sagas, participants, compared })
}

/// The time in unix milliseconds.
pub(super) fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

/// The participants that are wanted.
async fn views(client: &Client, wanted: &Wanted) -> anyhow::Result<Vec<ParticipantView>> {
    let list: List<ParticipantView> = client.get("/v1/participants", &[]).await?;
    let mut views = list.items;
    for name in &wanted.participants {
        if !views.iter().any(|view| view.name.as_str() == name) {
            let known: Vec<String> = views.iter().map(|view| view.name.to_string()).collect();
            bail!("no participant \"{name}\" is registered; there are {}", known.join(", "));
        }
    }
    views.retain(|view| {
        wanted.participants.is_empty() || wanted.participants.iter().any(|name| view.name.as_str() == name)
    });
    Ok(views)
}

/// Asks one participant for its audit and its own laws.
async fn ask(http: &reqwest::Client, view: &ParticipantView, wanted: &Wanted, since: i64) -> Asked {
    let name = view.name.to_string();
    let key = wanted.keys.iter().find(|key| key.name.as_ref() == Some(&name));
    let key = key.or_else(|| wanted.keys.iter().find(|key| key.name.is_none()));
    let site = Site::new(http.clone(), view, key.map(|key| key.secret.clone()));
    let asked = &site;
    let pages = read_all(Query::since(since), wanted.max, |query| async move { asked.page(&query).await });
    let audit = match pages.await {
        Ok(audited) => Audit::Read(audited),
        Err(ReadError::Fetch(SiteError::NotOffered(_))) => Audit::NotOffered,
        Err(error) => Audit::Failed(error.to_string()),
    };
    // Another program may have something else at this address: what is no such page is no law.
    let (laws, keeps, totals) = match site.get::<OwnBooks>("/audit", &()).await {
        Ok(OwnBooks { invariants, keeps, totals }) => (Ok(invariants), keeps, totals),
        Err(error) if error.is_transient() => (Err(format!("its own laws: {error}")), None, Value::Null),
        Err(_) => (Ok(Vec::new()), None, Value::Null),
    };
    let is_traceless = |terms: &Value| terms.get("barrier").and_then(Value::as_bool) == Some(false);
    let traceless = view.operations.iter().filter(|(_, terms)| is_traceless(terms));
    let traceless = traceless.map(|(name, _)| name.to_string()).collect();
    Asked { name, traceless, audit, laws, keeps, totals, site }
}

struct Reading<'a> {
    client: &'a Client,
    wanted: &'a Wanted,
    bar: &'a ProgressBar,
    sagas: Sagas,
}

impl Reading<'_> {
    /// Reads the sagas that were accepted since a moment. Steps and bodies are read of those that have completed, or
    /// have left an effect, since nothing else is asked about them.
    async fn since(&mut self, since: i64, participants: &[Asked]) -> anyhow::Result<()> {
        let applied: BTreeSet<SagaId> = applied(participants);
        let mut views: BTreeMap<SagaId, SagaView> = BTreeMap::new();
        let mut query =
            vec![("created_after", Time(Timestamp(since)).to_string()), ("limit", "500".to_owned())];
        loop {
            let page: List<SagaView> = self.client.get("/v1/sagas", &query).await?;
            views.extend(page.items.into_iter().map(|saga| (saga.id, saga)));
            self.bar.set_message(format!("{} sagas found", views.len()));
            self.check_count(views.len())?;
            let Some(next) = page.next else { break };
            query.retain(|(name, _)| *name != "cursor");
            query.push(("cursor", next));
        }
        let is_asked_about = |saga: &SagaView| match saga.status {
            Status::Completed => true,
            Status::Compensated | Status::Abandoned => applied.contains(&saga.id),
            Status::Running | Status::Compensating | Status::Repair => false,
        };
        let (whole, brief): (Vec<_>, Vec<_>) = views.into_values().partition(is_asked_about);
        brief.iter().for_each(|saga| self.sagas.add(SagaRecord::read(saga, &[])));
        self.read(whole.iter().map(|saga| saga.id).collect()).await
    }

    /// Reads the older sagas that have left effects since.
    async fn older(&mut self, participants: &[Asked]) -> anyhow::Result<()> {
        let ids = applied(participants).into_iter().filter(|id| !self.sagas.has(*id)).collect();
        self.read(ids).await
    }

    /// Reads sagas one by one, with their journals.
    async fn read(&mut self, ids: Vec<SagaId>) -> anyhow::Result<()> {
        self.check_count(self.sagas.len() + ids.len())?;
        let count = ids.len();
        let client = self.client;
        let reading = ids.into_iter().map(|id| async move { Ok((id, saga(client, id).await?)) });
        let mut reading = futures::stream::iter(reading).buffer_unordered(SAGAS_AT_A_TIME);
        let mut done = 0;
        while let Some((id, saga)) = reading.try_next().await.map_err(|error: ClientError| error)? {
            match saga {
                Some(saga) => self.sagas.add(saga),
                None => self.sagas.add_unknown(id),
            }
            done += 1;
            if done % 100 == 0 {
                self.bar.set_message(format!("{done} of {count} sagas read"));
            }
        }
        Ok(())
    }

    fn check_count(&self, count: usize) -> anyhow::Result<()> {
        if count > self.wanted.max {
            let max = self.wanted.max;
            bail!("there are more than {max} sagas; look at less with --since, or allow more with --max");
        }
        Ok(())
    }
}

/// The sagas that have an effect somewhere.
fn applied(participants: &[Asked]) -> BTreeSet<SagaId> {
    let effects = participants.iter().filter_map(|one| match &one.audit {
        Audit::Read(audited) => Some(&audited.effects),
        Audit::NotOffered | Audit::Failed(_) => None,
    });
    let applied = effects.flatten().filter(|effect| effect.op_state == EffectState::Applied);
    applied.map(|effect| effect.saga).collect()
}

/// One saga with its journal, `None` when the coordinator knows none of this id.
async fn saga(client: &Client, id: SagaId) -> Result<Option<SagaRecord>, ClientError> {
    let view: SagaView = match client.saga(id, None).await {
        Ok(view) => view,
        Err(ClientError::Refused { status, .. }) if status.as_u16() == 404 => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut journal = Vec::new();
    let mut query = vec![("limit", "500".to_owned())];
    loop {
        let page: List<JournalItem> = client.get(&format!("/v1/sagas/{id}/journal"), &query).await?;
        journal.extend(page.items);
        let Some(next) = page.next else { break };
        query = vec![("limit", "500".to_owned()), ("cursor", next)];
    }
    Ok(Some(SagaRecord::read(&view, &journal)))
}
