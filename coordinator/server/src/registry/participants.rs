//! Participants: where they are and what they offer.
//!
//! What they offer may change while sagas run. A call goes to an instance that offers its operation, by what that
//! instance itself was registered with, so two versions of a participant can stand beside each other. Where none
//! offers it the call is not sent, and not lost either: it is tried again as any call without an answer.

use super::{
    condition::Condition,
    instance::{self, Chosen, Instance},
    kept::{Kept, read},
};
use crate::{
    api::unavailable,
    clock::now,
    dispatch::Form,
    http::{Failure, problem},
};
use amends_saga::{Name, Timestamp, definition::CHILD_PARTICIPANT};
use amends_store::Store;
use amends_wire::{
    api::{BreakerState, BreakerView, InstanceView, ParticipantView},
    participant::Secret,
    problem::Slug,
    registration::{HEALTH_PATH, OperationTerms, Registration},
};
use reqwest::Url;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;

/// Participants at a time.
const PARTICIPANTS_MAX: usize = 10_000;

/// Why there is nowhere to send a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nowhere {
    /// The participant has no instance.
    NotRegistered,
    /// It has, and none of them offers the operation.
    NotOffered,
}

/// A health check to be made.
#[derive(Debug)]
pub(crate) struct Check {
    pub(super) participant: Name,
    pub(crate) instance: Arc<Instance>,
    pub(crate) url: Url,
    /// Whether the participant has said that it has a health check; a path that nobody spoke of may be missing.
    pub(super) is_declared: bool,
}

#[derive(Debug)]
struct Participant {
    kept: Kept,
    /// In the order of `kept.instances`.
    instances: Vec<Arc<Instance>>,
    turn: AtomicUsize,
}

/// Every participant.
#[derive(Debug, Default)]
pub(super) struct Participants {
    by_name: RwLock<BTreeMap<Name, Arc<Participant>>>,
    generation: AtomicU64,
    /// One registration at a time: the store's order is the memory's order.
    writing: tokio::sync::Mutex<()>,
    /// Told of each registration that changes something.
    changed: Notify,
}

impl Participants {
    pub(super) async fn load(store: &dyn Store) -> Result<Participants, amends_store::Error> {
        let kept = read(store).await?.into_iter();
        let by_name = kept.map(|(name, kept)| (name, Arc::new(Participant::new(kept.renewed(), None))));
        Ok(Participants { by_name: RwLock::new(by_name.collect()), ..Participants::default() })
    }

    /// Takes over what other coordinators have registered or removed in the same store.
    pub(super) async fn refresh(&self, store: &dyn Store) -> Result<(), amends_store::Error> {
        let _one = self.writing.lock().await;
        let theirs = read(store).await?;
        let ours: Vec<Name> = self.read().keys().cloned().collect();
        for name in ours.into_iter().filter(|name| !theirs.contains_key(name)) {
            self.write(name, None, true);
        }
        for (name, kept) in theirs {
            // Where only times differ, ours are newer: a heartbeat is not written.
            let ours = self.get(&name);
            if ours.as_ref().is_none_or(|ours| !ours.kept.says_the_same(&kept)) {
                let participant = Participant::new(kept.renewed(), ours.as_deref());
                self.write(name, Some(Arc::new(participant)), true);
            }
        }
        Ok(())
    }

    /// Grows whenever an operation may mean something else than before.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns when something has been registered or removed since the future was made.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.changed.notified()
    }

    pub(super) fn terms(&self, participant: &Name, operation: &Name) -> Option<OperationTerms> {
        self.get(participant)?.kept.operations.get(operation).cloned()
    }

    pub(super) fn batching(&self, participant: &Name, operation: &Name) -> Option<Form> {
        let found = self.get(participant)?;
        let max = found.kept.operations.get(operation)?.batch?.max as usize;
        Some(Form { max, instances: found.instances.len() })
    }

    /// The instance that the next call of an operation goes to.
    pub(super) fn choose(&self, participant: &Name, operation: &Name) -> Result<Chosen, Nowhere> {
        let found = self.get(participant).ok_or(Nowhere::NotRegistered)?;
        if found.instances.is_empty() {
            return Err(Nowhere::NotRegistered);
        }
        let turn = found.turn.fetch_add(1, Ordering::Relaxed);
        instance::choose(&found.instances, operation, turn).ok_or(Nowhere::NotOffered)
    }

    /// Every instance, those first that are well.
    pub(super) fn instances(&self, participant: &Name) -> Vec<Arc<Instance>> {
        let mut all = self.get(participant).map(|found| found.instances.clone()).unwrap_or_default();
        let at = now();
        all.sort_by_cached_key(|one| !one.is_well(at));
        all
    }

    /// The health checks that are due, the longest overdue first, `max` at most; each counts as being made.
    pub(super) fn checks(&self, max: usize, at: Timestamp) -> Vec<Check> {
        let all: Vec<(Name, Arc<Participant>)> =
            self.read().iter().map(|(name, found)| (name.clone(), found.clone())).collect();
        let due = |found: &Participant, one: &Instance| {
            one.condition.check_at(found.instances.len() > 1, at).filter(|next| *next <= at)
        };
        let mut checks = Vec::new();
        for (name, found) in &all {
            let of_it = found.instances.iter().filter_map(|one| Some((due(found, one)?, name, found, one)));
            checks.extend(of_it);
        }
        checks.sort_by_key(|(due, ..)| *due);
        checks.truncate(max);
        let begin = |(_, name, found, one): (Timestamp, &Name, &Arc<Participant>, &Arc<Instance>)| {
            one.condition.checking(&one.id, at);
            let path = found.kept.health.as_deref();
            let url = one.below(path.unwrap_or(HEALTH_PATH));
            let (participant, instance, is_declared) = (name.clone(), one.clone(), path.is_some());
            Check { participant, instance, url, is_declared }
        };
        checks.into_iter().map(begin).collect()
    }

    pub(super) async fn register(
        &self,
        store: &dyn Store,
        name: Name,
        registration: Registration,
    ) -> Result<(bool, ParticipantView), Failure> {
        let _one = self.writing.lock().await;
        if name.as_str() == CHILD_PARTICIPANT {
            let detail = format!("\"{name}\" stands for child sagas; give the participant another name");
            return Err(problem(Slug::BadRegistration, detail));
        }
        registration.check().map_err(|what| problem(Slug::BadRegistration, what))?;
        let secret = registration.secret.as_deref().map(Secret::parse).transpose();
        secret.map_err(|what| problem(Slug::BadRegistration, what))?;
        let before = self.get(&name);
        let is_new = before.is_none();
        if is_new && self.read().len() >= PARTICIPANTS_MAX {
            let detail = format!("{PARTICIPANTS_MAX} participants are registered; remove one first");
            return Err(problem(Slug::BadRegistration, detail));
        }
        let kept = Kept::merge(before.as_deref().map(|p| &p.kept), registration, now())?;
        let changed = before.as_ref().is_none_or(|before| !before.kept.says_the_same(&kept));
        if changed {
            put(store, &name, &kept).await?;
        }
        let participant = Participant::new(kept, before.as_deref());
        participant.check_soon();
        let view = participant.view(&name);
        self.write(name, Some(Arc::new(participant)), changed);
        Ok((is_new, view))
    }

    pub(super) async fn remove(&self, store: &dyn Store, name: &Name) -> Result<bool, Failure> {
        let _one = self.writing.lock().await;
        let was = store.delete_participant(name).await.map_err(unavailable)?;
        self.write(name.clone(), None, true);
        Ok(was)
    }

    /// Removes one address. What is on its way to it is still answered; its idle connections close within seconds.
    pub(super) async fn remove_instance(
        &self,
        store: &dyn Store,
        name: &Name,
        id: &str,
    ) -> Result<bool, Failure> {
        let _one = self.writing.lock().await;
        let Some(found) = self.get(name) else { return Ok(false) };
        let mut kept = found.kept.clone();
        kept.instances.retain(|instance| instance::id(&instance.url) != id);
        if kept.instances.len() == found.kept.instances.len() {
            return Ok(false);
        }
        put(store, name, &kept).await?;
        self.write(name.clone(), Some(Arc::new(Participant::new(kept, Some(&found)))), true);
        Ok(true)
    }

    pub(super) fn views(&self) -> Vec<ParticipantView> {
        self.read().iter().map(|(name, participant)| participant.view(name)).collect()
    }

    pub(super) fn view(&self, name: &Name) -> Option<ParticipantView> {
        self.get(name).map(|participant| participant.view(name))
    }

    fn get(&self, name: &Name) -> Option<Arc<Participant>> {
        self.read().get(name).cloned()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Name, Arc<Participant>>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, name: Name, participant: Option<Arc<Participant>>, changed: bool) {
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        match participant {
            Some(participant) => by_name.insert(name, participant),
            None => by_name.remove(&name),
        };
        if changed {
            self.generation.fetch_add(1, Ordering::Release);
            self.changed.notify_waiters();
        }
    }
}

async fn put(store: &dyn Store, name: &Name, kept: &Kept) -> Result<(), Failure> {
    let json = serde_json::to_string(kept)
        .map_err(|error| problem(Slug::Internal, format!("the registration: {error}")))?;
    store.put_participant(name, &json).await.map_err(unavailable)
}

impl Participant {
    /// A participant as it is kept; of the instances that there were `before`, what is known of them stays known.
    fn new(kept: Kept, before: Option<&Participant>) -> Participant {
        let secret = kept.secret.as_deref().and_then(|text| Secret::parse(text).ok());
        let known: BTreeMap<&str, &Arc<Condition>> = before
            .iter()
            .flat_map(|found| &found.instances)
            .map(|one| (one.id.as_str(), &one.condition))
            .collect();
        let instances = kept.instances.iter().filter_map(|known_as| {
            let base = Url::parse(&known_as.url).ok()?;
            let condition = known
                .get(instance::id(&known_as.url).as_str())
                .map(|known| Arc::clone(known))
                .unwrap_or_default();
            let offers = kept.offers(known_as);
            Some(Arc::new(Instance::new(base, offers, secret.clone(), known_as.expires_at, condition)))
        });
        let turn = before.map_or(0, |before| before.turn.load(Ordering::Relaxed));
        Participant { instances: instances.collect(), turn: AtomicUsize::new(turn), kept }
    }

    /// Has those checked at once that are not well: one of them has just said that it is there.
    fn check_soon(&self) {
        let at = now();
        self.instances.iter().filter(|one| !one.is_well(at)).for_each(|one| one.condition.check_soon());
    }

    fn view(&self, name: &Name) -> ParticipantView {
        let at = now();
        let instances =
            self.instances.iter().zip(&self.kept.instances).map(|(instance, kept)| InstanceView {
                id: instance.id.clone(),
                url: kept.url.clone(),
                healthy: instance.health(at),
                expires_at: kept.expires_at.map(Into::into),
            });
        let operations = self
            .kept
            .operations
            .iter()
            .map(|(name, terms)| (name.clone(), serde_json::to_value(terms).unwrap_or_default()));
        ParticipantView {
            name: name.clone(),
            instances: instances.collect(),
            operations: operations.collect(),
            breaker: BreakerView { state: BreakerState::Closed, until: None },
            updated_at: self.kept.updated_at.into(),
        }
    }
}
