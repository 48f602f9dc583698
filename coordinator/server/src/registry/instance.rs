//! One address of a participant, and which of several the next call goes to.

use super::condition::{Condition, InFlight, Sign};
use crate::clock::now;
use amends_saga::{Name, Timestamp, hash::Mix};
use amends_wire::participant::Secret;
use reqwest::Url;
use std::{borrow::Cow, collections::BTreeMap, ops::Deref, sync::Arc, time::Duration};

/// One address to call.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) secret: Option<Secret>,
    base: Url,
    /// Where each operation it offers is called, parsed once.
    addresses: BTreeMap<Name, Address>,
    expires_at: Option<Timestamp>,
    pub(super) condition: Arc<Condition>,
}

/// Where one operation of an instance is called.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) single: Url,
    pub(crate) batch: Url,
}

/// An instance that a request is on its way to, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Chosen {
    instance: Arc<Instance>,
    /// Whether no other offers the operation.
    is_only: bool,
    _in_flight: InFlight,
}

impl Chosen {
    /// Whether to wait for it, which has just refused a connection: there is no other to ask, and it may be back within
    /// `patience` of the first that it refused.
    pub(crate) fn may_come_back(&self, patience: Duration) -> bool {
        self.is_only && self.condition.may_come_back(patience)
    }
}

impl Deref for Chosen {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}

impl Instance {
    /// An instance at `base` that offers these operations.
    pub(super) fn new<'a>(
        base: Url,
        operations: impl Iterator<Item = &'a Name>,
        secret: Option<Secret>,
        expires_at: Option<Timestamp>,
        condition: Arc<Condition>,
    ) -> Instance {
        let addresses = operations.map(|name| (name.clone(), Address::of(&base, name))).collect();
        let id = id(base.as_str().trim_end_matches('/'));
        Instance { id, secret, base, addresses, expires_at, condition }
    }

    /// Takes note of what a call told of it.
    pub(crate) fn note(&self, sign: Sign) {
        self.condition.note(sign, now());
    }

    /// Whether it was to be heard of by now and was not.
    pub(super) fn has_expired(&self, at: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= at)
    }

    /// Whether nothing speaks against sending it a call.
    pub(super) fn is_well(&self, at: Timestamp) -> bool {
        !self.has_expired(at) && self.condition.is_well(at)
    }

    /// What is known of its health: what its checks said, else what it says itself by being registered again.
    pub(super) fn health(&self, at: Timestamp) -> Option<bool> {
        match (self.is_well(at), self.condition.checked(), self.expires_at) {
            (false, ..) => Some(false),
            (true, None, None) => None,
            (true, checked, _) => Some(checked.unwrap_or(true)),
        }
    }

    /// The address of a path below its base; `path` begins with a slash.
    pub(crate) fn below(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// Where an operation is called.
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

/// The instance that the next call of an operation goes to: of those that offer it and are well, the one with the
/// fewest requests on their way, in turn where several have as few. Where none is well all that have not expired are
/// asked, and where all have, all.
///
/// `turn` grows by one with each choice.
pub(super) fn choose(instances: &[Arc<Instance>], operation: &Name, turn: usize) -> Option<Chosen> {
    let offering = || instances.iter().filter(|one| one.addresses.contains_key(operation));
    let count = offering().count();
    let instance = if count > 1 { of_several(offering().collect(), turn) } else { offering().next()? };
    Some(Chosen { instance: instance.clone(), is_only: count == 1, _in_flight: instance.condition.begin() })
}

fn of_several(mut all: Vec<&Arc<Instance>>, turn: usize) -> &Arc<Instance> {
    let at = now();
    if all.iter().any(|one| one.is_well(at)) {
        all.retain(|one| one.is_well(at));
    } else if all.iter().any(|one| !one.has_expired(at)) {
        all.retain(|one| !one.has_expired(at));
    }
    let first = turn % all.len();
    all.rotate_left(first);
    // Of several that are least the first is taken.
    all.into_iter().min_by_key(|one| one.condition.in_flight()).expect("there are several")
}

/// An instance's id: a hash of its address, so that registering it again is the same instance.
pub(super) fn id(url: &str) -> String {
    format!("{:016x}", Mix::new(0).bytes(url.as_bytes()).finish())
}

#[cfg(test)]
mod tests;
