//! Participants: where they are and what they offer.

use crate::{
    address,
    api::unavailable,
    clock::now,
    http::{Failure, problem},
};
use amends_saga::{Millis, Name, Timestamp, hash::Mix};
use amends_store::Store;
use amends_wire::{
    api::{BreakerState, BreakerView, InstanceView, ParticipantView},
    participant::Secret,
    problem::Slug,
    registration::{OperationTerms, Registration},
};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};

/// Participants at a time.
const PARTICIPANTS_MAX: usize = 10_000;

/// How long an instance that could not be reached is passed over while there are others.
const REST: Millis = Millis::from_secs(2);

/// One address to call.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) secret: Option<Secret>,
    /// Until when others are asked first, in milliseconds since 1970.
    resting_until: AtomicI64,
    base: Url,
    /// Where each operation is called, parsed once.
    addresses: BTreeMap<Name, Address>,
}

/// Where one operation of an instance is called.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) single: Url,
    pub(crate) batch: Url,
}

/// What the store keeps of a participant.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    instances: Vec<KeptInstance>,
    operations: BTreeMap<Name, OperationTerms>,
    secret: Option<String>,
    health: Option<String>,
    updated_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct KeptInstance {
    url: String,
    /// Of a heartbeating instance; the store's copy is as old as the last change.
    ttl_ms: Option<u64>,
    expires_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Participant {
    kept: Kept,
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
}

impl Participants {
    pub(super) async fn load(store: &dyn Store) -> Result<Participants, amends_store::Error> {
        let kept = read(store).await?.into_iter();
        let by_name = kept.map(|(name, kept)| (name, Arc::new(Participant::new(kept.renewed()))));
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
            if self.get(&name).is_none_or(|ours| !ours.kept.says_the_same(&kept)) {
                self.write(name, Some(Arc::new(Participant::new(kept.renewed()))), true);
            }
        }
        Ok(())
    }

    /// Grows whenever an operation may mean something else than before.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn terms(&self, participant: &Name, operation: &Name) -> Option<OperationTerms> {
        self.get(participant)?.kept.operations.get(operation).cloned()
    }

    pub(super) fn batch_max(&self, participant: &Name, operation: &Name) -> Option<usize> {
        let found = self.get(participant)?;
        Some(found.kept.operations.get(operation)?.batch?.max as usize)
    }

    /// The next instance in turn that has neither expired nor lately been out of reach, where there is one.
    pub(super) fn instance(&self, participant: &Name) -> Option<Arc<Instance>> {
        let found = self.get(participant)?;
        let count = found.instances.len();
        if count <= 1 {
            return found.instances.first().cloned();
        }
        let turn = found.turn.fetch_add(1, Ordering::Relaxed);
        let at = now();
        let order = (0..count).map(|i| (turn + i) % count);
        let is_live = |i: usize| {
            let expires_at = found.kept.instances[i].expires_at;
            expires_at.is_none_or(|end| end > at) && !found.instances[i].is_resting(at)
        };
        let live = order.clone().find(|i| is_live(*i));
        found.instances.get(live.unwrap_or(turn % count)).cloned()
    }

    /// Every instance, those first that have neither expired nor lately been out of reach.
    pub(super) fn instances(&self, participant: &Name) -> Vec<Arc<Instance>> {
        let Some(found) = self.get(participant) else { return Vec::new() };
        let at = now();
        let mut all: Vec<(bool, Arc<Instance>)> = found
            .instances
            .iter()
            .zip(&found.kept.instances)
            .map(|(instance, kept)| {
                let has_expired = kept.expires_at.is_some_and(|end| end <= at);
                (has_expired || instance.is_resting(at), instance.clone())
            })
            .collect();
        all.sort_by_key(|(is_ill, _)| *is_ill);
        all.into_iter().map(|(_, instance)| instance).collect()
    }

    pub(super) async fn register(
        &self,
        store: &dyn Store,
        name: Name,
        registration: Registration,
    ) -> Result<(bool, ParticipantView), Failure> {
        let _one = self.writing.lock().await;
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
            let json = serde_json::to_string(&kept)
                .map_err(|error| problem(Slug::Internal, format!("the registration: {error}")))?;
            store.put_participant(&name, &json).await.map_err(unavailable)?;
        }
        let participant = Arc::new(Participant::new(kept));
        let view = participant.view(&name);
        self.write(name, Some(participant), changed);
        Ok((is_new, view))
    }

    pub(super) async fn remove(&self, store: &dyn Store, name: &Name) -> Result<bool, Failure> {
        let _one = self.writing.lock().await;
        let was = store.delete_participant(name).await.map_err(unavailable)?;
        self.write(name.clone(), None, true);
        Ok(was)
    }

    pub(super) async fn remove_instance(
        &self,
        store: &dyn Store,
        name: &Name,
        id: &str,
    ) -> Result<bool, Failure> {
        let _one = self.writing.lock().await;
        let Some(found) = self.get(name) else { return Ok(false) };
        let mut kept = found.kept.clone();
        kept.instances.retain(|instance| instance_id(&instance.url) != id);
        if kept.instances.len() == found.kept.instances.len() {
            return Ok(false);
        }
        let json = serde_json::to_string(&kept)
            .map_err(|error| problem(Slug::Internal, format!("the registration: {error}")))?;
        store.put_participant(name, &json).await.map_err(unavailable)?;
        self.write(name.clone(), Some(Arc::new(Participant::new(kept))), true);
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
        }
    }
}

impl Instance {
    /// Notes that no connection could be made, so that the next calls go to other instances first.
    pub(crate) fn rest(&self) {
        self.resting_until.store(now().after(REST).0, Ordering::Relaxed);
    }

    fn is_resting(&self, at: Timestamp) -> bool {
        self.resting_until.load(Ordering::Relaxed) > at.0
    }

    /// The address of a path below its base; `path` begins with a slash.
    pub(crate) fn below(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// Where an operation is called; one that is no longer offered is still called where it was.
    pub(crate) fn address(&self, operation: &Name) -> Cow<'_, Address> {
        match self.addresses.get(operation) {
            Some(address) => Cow::Borrowed(address),
            None => Cow::Owned(Address::of(&self.base, operation)),
        }
    }
}

impl Address {
    fn of(base: &Url, operation: &Name) -> Address {
        let mut single = base.clone();
        single.set_path(&format!("{}/{operation}", base.path().trim_end_matches('/')));
        let mut batch = single.clone();
        batch.set_path(&format!("{}/batch", single.path()));
        Address { single, batch }
    }
}

async fn read(store: &dyn Store) -> Result<BTreeMap<Name, Kept>, amends_store::Error> {
    let corrupt = |name: &str, error: &dyn std::fmt::Display| {
        amends_store::Error::Corrupt(format!("the registration of participant \"{name}\": {error}"))
    };
    let mut found = BTreeMap::new();
    for (name, json) in store.participants().await? {
        let kept: Kept = serde_json::from_str(&json).map_err(|error| corrupt(&name, &error))?;
        found.insert(Name::parse(&name).map_err(|error| corrupt(&name, &error))?, kept);
    }
    Ok(found)
}

impl Kept {
    /// What is kept after a registration: its instances beside those known before, its operations alone.
    fn merge(before: Option<&Kept>, new: Registration, at: Timestamp) -> Result<Kept, Failure> {
        let mut instances: Vec<KeptInstance> = before.map(|kept| kept.instances.clone()).unwrap_or_default();
        // An instance that expired long ago will not come back under its old address.
        instances.retain(|i| {
            i.expires_at.is_none_or(|end| at.since(end).0 < 10 * i.ttl_ms.unwrap_or(0).max(30_000))
        });
        for url in &new.instances {
            let url = address::check_url(url).map_err(|what| problem(Slug::AddressRefused, what))?;
            let expires_at = new.ttl.map(|ttl| at.after(ttl.millis()));
            let ttl_ms = new.ttl.map(|ttl| ttl.millis().0);
            instances.retain(|known| known.url != url);
            instances.push(KeptInstance { url, ttl_ms, expires_at });
        }
        instances.sort_by(|a, b| a.url.cmp(&b.url));
        let limit = amends_wire::registration::INSTANCES_MAX;
        if instances.len() > limit {
            let detail = format!("{} instances exceed the limit of {limit}; remove some", instances.len());
            return Err(problem(Slug::BadRegistration, detail));
        }
        let secret = new.secret.or_else(|| before.and_then(|kept| kept.secret.clone()));
        Ok(Kept { instances, operations: new.operations, secret, health: new.health, updated_at: at })
    }

    /// Whether only times differ, so that a heartbeat need not be written.
    fn says_the_same(&self, other: &Kept) -> bool {
        let places = |kept: &Kept| -> Vec<(String, Option<u64>)> {
            kept.instances.iter().map(|i| (i.url.clone(), i.ttl_ms)).collect()
        };
        places(self) == places(other)
            && self.operations == other.operations
            && self.secret == other.secret
            && self.health == other.health
    }

    /// After a restart every instance has one more `ttl` to be heard of.
    fn renewed(mut self) -> Kept {
        let at = now();
        for instance in &mut self.instances {
            instance.expires_at = instance.ttl_ms.map(|ms| at.after(amends_saga::Millis(ms)));
        }
        self
    }
}

impl Participant {
    fn new(kept: Kept) -> Participant {
        let secret = kept.secret.as_deref().and_then(|text| Secret::parse(text).ok());
        let instances = kept.instances.iter().filter_map(|known| {
            let base = Url::parse(&known.url).ok()?;
            let addresses = kept.operations.keys();
            let addresses = addresses.map(|name| (name.clone(), Address::of(&base, name))).collect();
            let (id, secret) = (instance_id(&known.url), secret.clone());
            Some(Arc::new(Instance { id, secret, resting_until: AtomicI64::new(0), base, addresses }))
        });
        Participant { instances: instances.collect(), kept, turn: AtomicUsize::new(0) }
    }

    fn view(&self, name: &Name) -> ParticipantView {
        let at = now();
        let instances =
            self.instances.iter().zip(&self.kept.instances).map(|(instance, kept)| InstanceView {
                id: instance.id.clone(),
                url: kept.url.clone(),
                healthy: kept.expires_at.map(|end| end > at),
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

/// An instance's id: a hash of its address, so that registering it again is the same instance.
fn instance_id(url: &str) -> String {
    format!("{:016x}", Mix::new(0).bytes(url.as_bytes()).finish())
}
