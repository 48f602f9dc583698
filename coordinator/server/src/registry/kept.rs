//! What the store keeps of a participant, and what becomes of that when it is registered again.

use crate::{
    address,
    clock::now,
    http::{Failure, problem},
};
use amends_saga::{Millis, Name, Timestamp};
use amends_store::Store;
use amends_wire::{
    problem::Slug,
    registration::{INSTANCES_MAX, OperationTerms, Registration},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many times its `ttl` an instance is kept without being heard of.
const TTLS_KEPT: u64 = 10;

/// The `ttl` that counts for that where an instance's own is shorter, in milliseconds.
const TTL_KEPT_MS_MIN: u64 = 30_000;

/// A participant as it is kept, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) instances: Vec<KeptInstance>,
    /// Those of the last registration.
    pub(super) operations: BTreeMap<Name, OperationTerms>,
    pub(super) secret: Option<String>,
    pub(super) health: Option<String>,
    pub(super) updated_at: Timestamp,
}

/// One of its addresses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeptInstance {
    pub(super) url: String,
    /// Of a heartbeating instance; the store's copy is as old as the last change.
    ttl_ms: Option<u64>,
    pub(super) expires_at: Option<Timestamp>,
    /// What it offers, where that differs from the participant's operations: it was registered before these were,
    /// and runs another version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offers: Option<BTreeSet<Name>>,
}

/// Reads every participant.
pub(super) async fn read(store: &dyn Store) -> Result<BTreeMap<Name, Kept>, amends_store::Error> {
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
    pub(super) fn merge(before: Option<&Kept>, new: Registration, at: Timestamp) -> Result<Kept, Failure> {
        let mut instances = before.map(|kept| kept.of_other_version(&new, at)).unwrap_or_default();
        for url in &new.instances {
            let url = address::check_url(url).map_err(|what| problem(Slug::AddressRefused, what))?;
            let expires_at = new.ttl.map(|ttl| at.after(ttl.millis()));
            let ttl_ms = new.ttl.map(|ttl| ttl.millis().0);
            instances.retain(|known| known.url != url);
            instances.push(KeptInstance { url, ttl_ms, expires_at, offers: None });
        }
        instances.sort_by(|a, b| a.url.cmp(&b.url));
        if instances.len() > INSTANCES_MAX {
            let count = instances.len();
            let detail = format!("{count} instances exceed the limit of {INSTANCES_MAX}; remove some");
            return Err(problem(Slug::BadRegistration, detail));
        }
        let secret = new.secret.or_else(|| before.and_then(|kept| kept.secret.clone()));
        Ok(Kept { instances, operations: new.operations, secret, health: new.health, updated_at: at })
    }

    /// The instances known so far, with what they offer once the operations are those of a new registration.
    fn of_other_version(&self, new: &Registration, at: Timestamp) -> Vec<KeptInstance> {
        let operations: BTreeSet<&Name> = new.operations.keys().collect();
        let with_offers = |instance: &KeptInstance| {
            let offers: BTreeSet<Name> = self.offers(instance).cloned().collect();
            let is_same = offers.iter().collect::<BTreeSet<_>>() == operations;
            KeptInstance { offers: (!is_same).then_some(offers), ..instance.clone() }
        };
        // An instance that expired long ago will not come back under its old address.
        let is_kept = |instance: &&KeptInstance| {
            let longest = instance.ttl_ms.unwrap_or(0).max(TTL_KEPT_MS_MIN).saturating_mul(TTLS_KEPT);
            instance.expires_at.is_none_or(|end| at.since(end).0 < longest)
        };
        self.instances.iter().filter(is_kept).map(with_offers).collect()
    }

    /// The operations that one of its instances offers.
    pub(super) fn offers<'a>(&'a self, instance: &'a KeptInstance) -> impl Iterator<Item = &'a Name> {
        let own = instance.offers.iter().flatten();
        let common = self.operations.keys().filter(|_| instance.offers.is_none());
        own.chain(common)
    }

    /// Whether only times differ, so that a heartbeat need not be written.
    pub(super) fn says_the_same(&self, other: &Kept) -> bool {
        let place = |i: &KeptInstance| (i.url.clone(), i.ttl_ms, i.offers.clone());
        let places = |kept: &Kept| kept.instances.iter().map(place).collect::<Vec<_>>();
        places(self) == places(other)
            && self.operations == other.operations
            && self.secret == other.secret
            && self.health == other.health
    }

    /// After a restart every instance has one more `ttl` to be heard of.
    pub(super) fn renewed(mut self) -> Kept {
        let at = now();
        for instance in &mut self.instances {
            instance.expires_at = instance.ttl_ms.map(|ms| at.after(Millis(ms)));
        }
        self
    }
}
