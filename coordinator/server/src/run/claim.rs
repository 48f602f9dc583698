//! Taking sagas over: those whose owner is gone, those whose last write is in doubt, those that sleep or wait
//! for an operator and are wanted, and completed ones that are reverted.
//!
//! The invariant it keeps: a saga that the store says is this coordinator's is driven by it, or given back.

use super::{DOUBT, Loop, Refusal};
use crate::clock::now;
use amends_saga::{Coordinator, Rejected, Saga, SagaId};
use amends_store::{Error, Revived, Stored};
use std::{collections::BTreeSet, ops::Bound};
use uuid::Uuid;

impl Loop {
    /// Takes over what has no owner; says whether there may be more.
    pub(super) async fn claim(&mut self) -> bool {
        if self.claim_in_doubt {
            return self.give_back().await;
        }
        match self.store.claim(&self.owner, self.timing.claim_max).await {
            Ok(claimed) => {
                let more = claimed.len() == self.timing.claim_max;
                if let Err(error) = self.learn_definitions(&claimed).await {
                    tracing::warn!(%error, "what others have registered could not be read");
                    self.claim_in_doubt = true;
                    return false;
                }
                for stored in claimed {
                    self.metrics.taken_over();
                    self.adopt(stored);
                }
                more
            }
            Err(Error::LeaseLost) => {
                self.rejoin();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "sagas without an owner could not be claimed");
                self.claim_in_doubt = true;
                false
            }
        }
    }

    /// Takes again what this coordinator had: sagas whose last write is in doubt, and sleeping ones that wake.
    pub(super) async fn take_again(&mut self) {
        // What somebody has woken meanwhile is this coordinator's own, with something not yet written perhaps.
        let coordinator = &self.coordinator;
        self.doubtful.retain(|id| coordinator.get(*id).is_none() || coordinator.is_asleep(*id));
        let ids: Vec<SagaId> = self.doubtful.iter().copied().take(self.timing.claim_max).collect();
        if ids.is_empty() {
            return;
        }
        let taken = self.store.reclaim(&self.owner, &ids).await;
        let learned = match &taken {
            Ok(stored) => self.learn_definitions(stored).await,
            Err(_) => Ok(()),
        };
        match (taken, learned) {
            (Ok(stored), Ok(())) => {
                for id in &ids {
                    self.doubtful.remove(id);
                }
                stored.into_iter().for_each(|stored| self.adopt(stored));
            }
            (Err(Error::LeaseLost), _) => self.rejoin(),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "sagas could not be read again");
                self.again_at = tokio::time::Instant::now() + DOUBT;
            }
        }
    }

    /// Turns completed sagas round, as was asked.
    pub(super) async fn revert(&mut self) {
        for (id, reason, reply) in std::mem::take(&mut self.reverts) {
            match self.revert_one(id, reason).await {
                Ok(()) if self.coordinator.get(id).is_none() || self.coordinator.is_durable(id) => {
                    let _ = reply.send(Ok(()));
                }
                Ok(()) => self.inputs.entry(id).or_default().push(reply),
                Err(why) => drop(reply.send(Err(why))),
            }
        }
    }

    async fn revert_one(&mut self, id: SagaId, reason: String) -> Result<(), Refusal> {
        if let Some(held) = self.coordinator.get(id) {
            return Err(Refusal::Rejected(Rejected::NotCompleted(held.status())));
        }
        let stored = match self.store.revive(&self.owner, id).await {
            Ok(Revived::Taken(stored)) => stored,
            Ok(Revived::NotCompleted(status)) => {
                return Err(Refusal::Rejected(Rejected::NotCompleted(status)));
            }
            Ok(Revived::Unknown | Revived::Held) => return Err(Refusal::NotHeld),
            Err(Error::LeaseLost) => {
                self.rejoin();
                return Err(Refusal::Unavailable);
            }
            Err(error) => {
                tracing::warn!(saga.id = %id, %error, "a completed saga could not be taken back");
                return Err(Refusal::Unavailable);
            }
        };
        if let Err(error) = self.learn_definitions(std::slice::from_ref(&stored)).await {
            tracing::warn!(%error, "what others have registered could not be read");
            return Err(Refusal::Unavailable);
        }
        let Some(definition) = self.registry.definition_by_hash(&stored.head.hash) else {
            return Err(Refusal::Unavailable);
        };
        let saga = Saga::replay(id, definition, &stored.records);
        let by = (stored.epoch, self.owner.name.as_str());
        self.coordinator.revert(saga, stored.head.fingerprint, by, reason, now()).map_err(Refusal::Rejected)
    }

    /// Takes back sagas that nobody holds, and gives them what was meant for them.
    ///
    /// It stands beside [`claim`](Self::claim) rather than in its place, so that no number of verbs keeps an
    /// orphan waiting. While a claim is in doubt the verbs wait for that to be settled.
    pub(super) async fn take_back(&mut self) {
        let ids = self.next_wanted();
        let taken = self.store.reclaim(&self.owner, &ids).await;
        let learned = match &taken {
            Ok(stored) => self.learn_definitions(stored).await,
            Err(_) => Ok(()),
        };
        match (taken, learned) {
            (Ok(stored), Ok(())) => stored.into_iter().for_each(|stored| self.adopt(stored)),
            (Err(Error::LeaseLost), _) => self.rejoin(),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "sagas that wait for an operator could not be taken back");
                // They may be this coordinator's now without its knowing.
                self.doubtful.extend(&ids);
                for (_, reply) in ids.iter().flat_map(|id| self.wanted.remove(id).unwrap_or_default()) {
                    let _ = reply.send(Err(Refusal::Unavailable));
                }
            }
        }
        for id in ids {
            for (input, reply) in self.wanted.remove(&id).unwrap_or_default() {
                match self.coordinator.get(id) {
                    Some(_) => self.input(id, input, reply, now()),
                    // It has ended, or somebody else holds it.
                    None => drop(reply.send(Err(Refusal::NotHeld))),
                }
            }
        }
    }

    /// The sagas whose turn it is to be taken back: in the order of their ids, round and round, so that none is
    /// passed over for one that is wanted again and again.
    fn next_wanted(&mut self) -> Vec<SagaId> {
        let behind = (Bound::Excluded(self.wanted_last), Bound::Unbounded);
        let next = self.wanted.range(behind).chain(self.wanted.range(..=self.wanted_last));
        let ids: Vec<SagaId> = next.map(|(id, _)| *id).take(self.timing.claim_max).collect();
        self.wanted_last = ids.last().copied().unwrap_or_default();
        ids
    }

    /// Makes the definitions of these sagas known, where another coordinator was given them.
    async fn learn_definitions(&self, claimed: &[Stored]) -> Result<(), Error> {
        match claimed.iter().all(|stored| self.registry.knows(&stored.head.hash)) {
            true => Ok(()),
            false => self.registry.refresh(self.store.as_ref()).await,
        }
    }

    /// Gives every saga back after a claim whose answer was lost: it may have made this coordinator the owner
    /// of sagas it does not know, which nobody would drive. All of them are then claimed by a new member.
    async fn give_back(&mut self) -> bool {
        match self.store.release(&self.owner).await {
            Ok(()) | Err(Error::LeaseLost) => {
                self.claim_in_doubt = false;
                self.rejoin();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the store does not answer");
                false
            }
        }
    }

    /// Begins again as a new member, because this one's sagas are its own no longer.
    ///
    /// Nothing that is held here can be written any more, so it is forgotten, and whoever waits is told.
    pub(super) fn rejoin(&mut self) {
        tracing::warn!(sagas = self.coordinator.len(), "joining again as a new member");
        self.owner.incarnation = Uuid::now_v7();
        self.coordinator = Coordinator::new(self.limits);
        let waiting: BTreeSet<SagaId> = self.starts.keys().chain(self.inputs.keys()).copied().collect();
        for (_, reply) in std::mem::take(&mut self.wanted).into_values().flatten() {
            let _ = reply.send(Err(Refusal::Unavailable));
        }
        for id in waiting {
            self.tell_unavailable(id);
        }
        self.ends.clear();
        self.followers.clear();
        self.doubtful.clear();
        self.heartbeat();
    }

    fn adopt(&mut self, stored: Stored) {
        let Some(definition) = self.registry.definition_by_hash(&stored.head.hash) else {
            let hash = &stored.head.hash;
            tracing::error!(saga.id = %stored.id, hash, "a saga's definition is missing; it is left alone");
            return;
        };
        let saga = Saga::replay(stored.id, definition, &stored.records);
        self.coordinator.adopt(saga, stored.head.fingerprint, stored.epoch, &self.owner.name, now());
    }
}
