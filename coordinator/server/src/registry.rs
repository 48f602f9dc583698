//! What is registered: definitions and participants, held in memory and kept in the store.
//!
//! The store is written first, the memory follows; a registration that is answered is durable. Definitions
//! are immutable. A definition as the core runs it depends on what the participants said of their
//! operations, so it is resolved again when a registration has changed; sagas that run keep theirs.

mod branches;
mod children;
mod condition;
mod gates;
pub(crate) mod health;
mod instance;
mod kept;
mod participants;

pub(crate) use condition::Sign;
pub(crate) use gates::GateBoard;
pub(crate) use instance::{Chosen, Instance};
pub(crate) use participants::Nowhere;

use crate::{
    api::unavailable,
    dispatch::Form,
    http::{Failure, problem},
};
use amends_saga::{
    Definition, Json, Name,
    definition::{OPEN_NAME, Operation},
};
use amends_store::{DefinitionPut, DefinitionRow, Store};
use amends_wire::{
    api::{DefinitionRef, ParticipantView},
    definition::{Defaults, Text},
    problem::{Problem, Slug},
    registration::Registration,
};
use participants::Participants;
use serde_json::value::RawValue;
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};
use tokio::time::Instant;

/// Definitions kept in memory that came with one start only, at most.
const ONE_OFF_MAX: usize = 4096;

/// Between two readings of what other coordinators have registered.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);

/// Everything registered.
#[derive(Debug)]
pub(crate) struct Registry {
    defaults: Defaults,
    definitions: RwLock<Definitions>,
    /// What every open saga runs.
    open: Arc<Definition>,
    participants: Participants,
    gates: GateBoard,
    /// When the last reading of what others have registered began.
    refreshed: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Definitions {
    by_hash: BTreeMap<String, Entry>,
    by_name: BTreeMap<(Name, u32), String>,
}

#[derive(Debug)]
struct Entry {
    text: Arc<Text>,
    row: DefinitionRow,
    /// Resolved against the registrations of this generation.
    resolved: Option<(u64, Arc<Definition>)>,
}

impl Registry {
    /// Reads everything from the store.
    pub(crate) async fn load(store: &dyn Store, defaults: Defaults) -> Result<Registry, amends_store::Error> {
        let mut definitions = Definitions::default();
        store.definitions().await?.into_iter().for_each(|row| definitions.learn(row));
        let definitions = RwLock::new(definitions);
        let participants = Participants::load(store).await?;
        let (gates, refreshed) = (GateBoard::default(), tokio::sync::Mutex::new(None));
        let open = Arc::new(Definition::open());
        Ok(Registry { defaults, definitions, open, participants, gates, refreshed })
    }

    /// Reads what other coordinators have registered in the same store: when something is not known here, and
    /// now and then. What was registered before the call is known after it; [`REFRESH_PAUSE`] lies between two
    /// readings, however many ask.
    pub(crate) async fn refresh(&self, store: &dyn Store) -> Result<(), amends_store::Error> {
        let asked = Instant::now();
        let mut refreshed = self.refreshed.lock().await;
        if let Some(before) = *refreshed {
            if before >= asked {
                return Ok(());
            }
            tokio::time::sleep_until(before + REFRESH_PAUSE).await;
        }
        let begun = Instant::now();
        for row in store.definitions().await? {
            let is_known = self.read().by_hash.get(&row.hash).map(|entry| entry.row.registered);
            if is_known != Some(row.registered) {
                self.write().learn(row);
            }
        }
        self.participants.refresh(store).await?;
        *refreshed = Some(begun);
        Ok(())
    }

    /// Whether the definition of a saga is known here.
    pub(crate) fn knows(&self, hash: &str) -> bool {
        hash == OPEN_NAME || self.read().by_hash.contains_key(hash)
    }

    /// Every registered definition, by name and version.
    pub(crate) fn definition_rows(&self) -> Vec<DefinitionRow> {
        let definitions = self.read();
        let hashes = definitions.by_name.values();
        hashes.filter_map(|hash| definitions.by_hash.get(hash)).map(|entry| entry.row.clone()).collect()
    }

    /// The definition a running saga is pinned to.
    pub(crate) fn definition_by_hash(&self, hash: &str) -> Option<Arc<Definition>> {
        if hash == OPEN_NAME {
            return Some(self.open.clone());
        }
        let text = {
            let definitions = self.read();
            let entry = definitions.by_hash.get(hash)?;
            if let Some((_, resolved)) = &entry.resolved {
                return Some(resolved.clone());
            }
            entry.text.clone()
        };
        // Its operations may be gone by now; a saga that has begun goes on by the deployment's defaults.
        let lenient = |participant: &Name, name: &Name| {
            Some(self.participants.terms(participant, name).unwrap_or_default())
        };
        text.resolve(&lenient, &self.defaults).ok().map(Arc::new)
    }

    /// The definition a start asks for, resolved, with the input checked against it.
    pub(crate) async fn to_run(
        &self,
        store: &Arc<dyn Store>,
        wanted: &DefinitionRef,
        input: &Json,
    ) -> Result<Arc<Definition>, Failure> {
        match self.known_to_run(store, wanted, input).await {
            Err(Failure(problem))
                if matches!(problem.slug, Slug::UnknownDefinition | Slug::UnknownOperation) =>
            {
                self.refresh(store.as_ref()).await.map_err(unavailable)?;
                self.known_to_run(store, wanted, input).await
            }
            known => known,
        }
    }

    async fn known_to_run(
        &self,
        store: &Arc<dyn Store>,
        wanted: &DefinitionRef,
        input: &Json,
    ) -> Result<Arc<Definition>, Failure> {
        let hash = match wanted {
            DefinitionRef::Named { name, version } => self.find(name, *version)?,
            DefinitionRef::Whole(raw) => self.one_off(store, raw).await?,
        };
        let (text, resolved) = {
            let definitions = self.read();
            let entry = definitions.by_hash.get(&hash).ok_or_else(|| unknown(&hash))?;
            (entry.text.clone(), entry.resolved.clone())
        };
        text.check_input(input).map_err(|misfits| {
            let first = misfits.first().map(|m| format!("{}: {}", m.path, m.message)).unwrap_or_default();
            Failure::from(Problem::new(Slug::InputDoesNotFit, first).with("errors", &misfits))
        })?;
        let generation = self.participants.generation();
        match resolved {
            Some((then, resolved)) if then == generation => Ok(resolved),
            _ => self.resolve(&hash, &text, generation),
        }
    }

    fn resolve(&self, hash: &str, text: &Text, generation: u64) -> Result<Arc<Definition>, Failure> {
        let terms = |participant: &Name, name: &Name| self.participants.terms(participant, name);
        let resolved = text.resolve(&terms, &self.defaults).map_err(Problem::from)?;
        let resolved = Arc::new(resolved);
        if let Some(entry) = self.write().by_hash.get_mut(hash) {
            entry.resolved = Some((generation, resolved.clone()));
        }
        Ok(resolved)
    }

    fn find(&self, name: &Name, version: Option<u32>) -> Result<String, Failure> {
        let definitions = self.read();
        let found = match version {
            Some(version) => definitions.by_name.get(&(name.clone(), version)),
            None => {
                let all = (name.clone(), 0)..=(name.clone(), u32::MAX);
                definitions.by_name.range(all).next_back().map(|(_, hash)| hash)
            }
        };
        found.cloned().ok_or_else(|| {
            let version = version.map(|v| format!("@{v}")).unwrap_or_default();
            unknown(&format!("{name}{version}"))
        })
    }

    /// Keeps a definition that came with a start, so that its saga can be driven on after a restart.
    async fn one_off(&self, store: &Arc<dyn Store>, json: &RawValue) -> Result<String, Failure> {
        let text = Text::read_json(json).map_err(Problem::from)?;
        let hash = text.hash.clone();
        if !self.read().by_hash.contains_key(&hash) {
            if self.read().by_hash.len() >= ONE_OFF_MAX {
                let detail = "too many different definitions came with starts; register them instead";
                return Err(Problem::new(Slug::TooManyRequests, detail).retry_after(60).into());
            }
            self.put_definition(store, text, false).await?;
        }
        Ok(hash)
    }

    /// Keeps a definition, durably.
    pub(crate) async fn put_definition(
        &self,
        store: &Arc<dyn Store>,
        text: Text,
        registered: bool,
    ) -> Result<(DefinitionPut, DefinitionRow), Failure> {
        let row = DefinitionRow {
            hash: text.hash.clone(),
            name: text.name.to_string(),
            version: text.version,
            registered,
            text: text.to_json().to_string(),
            created_at: crate::clock::now(),
        };
        let put = store.put_definition(&row).await.map_err(unavailable)?;
        if matches!(put, DefinitionPut::Conflict(_)) {
            return Ok((put, row));
        }
        let kept = self.write().insert(Arc::new(text), row);
        Ok((put, kept))
    }

    /// Registers a participant or refreshes it; says whether it is new.
    pub(crate) async fn register(
        &self,
        store: &Arc<dyn Store>,
        name: Name,
        registration: Registration,
    ) -> Result<(bool, ParticipantView), Failure> {
        self.participants.register(store.as_ref(), name, registration).await
    }

    /// Removes a participant; says whether there was one.
    pub(crate) async fn remove(&self, store: &Arc<dyn Store>, name: &Name) -> Result<bool, Failure> {
        self.participants.remove(store.as_ref(), name).await
    }

    /// Removes one address of a participant; says whether there was one.
    pub(crate) async fn remove_instance(
        &self,
        store: &Arc<dyn Store>,
        name: &Name,
        id: &str,
    ) -> Result<bool, Failure> {
        self.participants.remove_instance(store.as_ref(), name, id).await
    }

    pub(crate) fn participant_views(&self) -> Vec<ParticipantView> {
        self.participants.views().into_iter().map(|view| self.with_breaker(view)).collect()
    }

    pub(crate) fn participant_view(&self, name: &Name) -> Option<ParticipantView> {
        self.participants.view(name).map(|view| self.with_breaker(view))
    }

    fn with_breaker(&self, view: ParticipantView) -> ParticipantView {
        ParticipantView { breaker: self.gates.breaker(&view.name), ..view }
    }

    /// Whether an operation answers questions about its status.
    pub(crate) fn offers_status(&self, participant: &Name, operation: &Name) -> bool {
        self.participants.terms(participant, operation).is_some_and(|terms| terms.status)
    }

    /// How the participants' gates stand.
    pub(crate) fn gates(&self) -> &GateBoard {
        &self.gates
    }

    /// Every address of a participant, those that are well first, to be asked one after the other.
    pub(crate) fn instances(&self, participant: &Name) -> Vec<Arc<Instance>> {
        self.participants.instances(participant)
    }

    /// Where to send the next call of an operation; counted as on its way until it is dropped.
    ///
    /// A participant without any instance has `patience` to register one: it is being started again, as a rule.
    ///
    /// # Errors
    /// [`Nowhere`].
    pub(crate) async fn instance(
        &self,
        operation: &Operation,
        patience: Duration,
    ) -> Result<Chosen, Nowhere> {
        let until = Instant::now() + patience;
        loop {
            let changed = self.participants.changed();
            let chosen = self.participants.choose(&operation.participant, &operation.name);
            if !matches!(chosen, Err(Nowhere::NotRegistered)) {
                return chosen;
            }
            if tokio::time::timeout_at(until, changed).await.is_err() {
                return chosen;
            }
        }
    }

    /// How calls of an operation may go as one, `None` when it has no batch form.
    pub(crate) fn batching(&self, operation: &Operation) -> Option<Form> {
        self.participants.batching(&operation.participant, &operation.name)
    }

    fn read(&self) -> RwLockReadGuard<'_, Definitions> {
        self.definitions.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Definitions> {
        self.definitions.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Definitions {
    /// Keeps a definition that stands in the store.
    fn learn(&mut self, row: DefinitionRow) {
        match Text::read(&row.text) {
            Ok(text) => drop(self.insert(Arc::new(text), row)),
            Err(_) => {
                let (name, version) = (row.name, row.version);
                tracing::error!(name, version, "a stored definition cannot be read");
            }
        }
    }

    /// Keeps a definition and returns what is known of it, which may be older.
    fn insert(&mut self, text: Arc<Text>, row: DefinitionRow) -> DefinitionRow {
        if row.registered {
            self.by_name.insert((text.name.clone(), row.version), row.hash.clone());
        }
        let entry = self.by_hash.entry(row.hash.clone());
        let entry = entry.or_insert_with(|| Entry { text, row: row.clone(), resolved: None });
        entry.row.registered |= row.registered;
        entry.row.clone()
    }
}

fn unknown(name: &str) -> Failure {
    problem(Slug::UnknownDefinition, format!("no definition \"{name}\" is registered; register it first"))
}

#[cfg(test)]
mod tests;
