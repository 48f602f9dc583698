//! The repair queue as a store keeps it: what is found and counted, and what is told to the outside.
//!
//! An item of a stuck step is written by [`crate::Store::commit`] with the event that opens or changes it; its truth is
//! the saga's journal, and the row here is for finding. An anomaly has no saga that could keep it, so its
//! row is its truth. The invariants: **an item and its cause are one transaction**; **an event of the
//! outbox is one transaction with the change it tells of**; nothing settled is removed.

use crate::{Error, Owner, is_of_step};
use amends_saga::{
    Op, ParkReason, RepairRow, SagaId, Timestamp,
    repair::{How, RepairStatus},
};
use async_trait::async_trait;
use uuid::Uuid;

/// An item as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id.
    pub item: Uuid,
    /// The saga; `None` for an anomaly that belongs to none.
    pub saga: Option<SagaId>,
    /// The definition's name, where a saga is known.
    pub definition: Option<String>,
    /// The step.
    pub step: Option<String>,
    /// Which of its calls.
    pub op: Op,
    /// The participant.
    pub participant: String,
    /// The operation's own name; `None` for an anomaly.
    pub operation: Option<String>,
    /// How far the repair is.
    pub status: RepairStatus,
    /// Why it is here; `None` for an anomaly.
    pub reason: Option<ParkReason>,
    /// How often the step has been parked, this time included; 1 for an anomaly.
    pub number: u32,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When the step was parked for the first time.
    pub first_opened_at: Timestamp,
    /// When something last happened to it.
    pub updated_at: Timestamp,
    /// Who looks after it.
    pub assignee: Option<String>,
    /// By whom it was settled.
    pub settled_by: Option<String>,
    /// How it was settled; `None` until it is.
    pub settled_how: Option<How>,
    /// The last event of the journal that belongs to it; 0 for an anomaly.
    pub seq: u64,
    /// How loudly its age has been told: 0 not yet, 1 warned, 2 paged. Kept by the store; a commit does not
    /// change it. A step that is parked again is as old as before, so its new item begins with the level of
    /// the ones before it: an age that was told is not told again.
    pub level: u8,
    /// The anomaly as JSON, `{"name", "message", "detail", "notes": […]}`; `None` for a stuck step.
    pub anomaly: Option<String>,
}

impl Item {
    /// The anomaly's name, as its JSON says; `None` for a stuck step.
    pub fn finding(&self) -> Option<String> {
        let anomaly: serde_json::Value = serde_json::from_str(self.anomaly.as_deref()?).unwrap_or_default();
        Some(anomaly.get("name").and_then(|name| name.as_str()).unwrap_or_default().to_owned())
    }

    /// Where it stands in the list of items.
    pub fn place(&self) -> Place {
        Place { opened_at: self.opened_at, item: self.item }
    }
}

impl From<RepairRow> for Item {
    fn from(row: RepairRow) -> Item {
        Item {
            item: row.item,
            saga: Some(row.saga),
            definition: Some(row.definition),
            step: Some(row.step),
            op: row.op,
            participant: row.participant,
            operation: Some(row.operation),
            status: row.status,
            reason: Some(row.reason),
            number: row.number,
            opened_at: row.opened_at,
            first_opened_at: row.first_opened_at,
            updated_at: row.updated_at,
            assignee: row.assignee,
            settled_by: row.settled_by,
            settled_how: row.settled_how,
            seq: row.seq,
            level: 0,
            anomaly: None,
        }
    }
}

/// Which items a list is about. Every field narrows; the default is all that are not settled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemFilter {
    /// With one of these statuses; those that are not settled where none is given.
    pub statuses: Vec<RepairStatus>,
    /// Of stuck steps only (`Some(false)`) or anomalies only (`Some(true)`).
    pub anomalies: Option<bool>,
    /// Of this saga.
    pub saga: Option<SagaId>,
    /// Of sagas of this definition.
    pub definition: Option<String>,
    /// At this step.
    pub step: Option<String>,
    /// At this participant.
    pub participant: Option<String>,
    /// Parked for this reason.
    pub reason: Option<ParkReason>,
    /// Looked after by this person.
    pub assignee: Option<String>,
    /// Opened at this time or later.
    pub opened_after: Option<Timestamp>,
    /// Opened before this time.
    pub opened_before: Option<Timestamp>,
}

impl ItemFilter {
    /// Whether an item is meant.
    pub fn matches(&self, item: &Item) -> bool {
        let same = |wanted: &Option<String>, is: Option<&String>| wanted.is_none() || wanted.as_ref() == is;
        let status = match self.statuses.is_empty() {
            true => item.status != RepairStatus::Settled,
            false => self.statuses.contains(&item.status),
        };
        status
            && self.anomalies.is_none_or(|wanted| wanted == item.anomaly.is_some())
            && (self.saga.is_none() || self.saga == item.saga)
            && same(&self.definition, item.definition.as_ref())
            && self.step.as_ref().is_none_or(|name| item.step.as_ref().is_some_and(|it| is_of_step(it, name)))
            && same(&self.participant, Some(&item.participant))
            && (self.reason.is_none() || self.reason == item.reason)
            && same(&self.assignee, item.assignee.as_ref())
            && self.opened_after.is_none_or(|after| item.opened_at >= after)
            && self.opened_before.is_none_or(|before| item.opened_at < before)
    }
}

/// A place in the list of items, which stands oldest first, by time of opening and then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When the last item of the page was opened.
    pub opened_at: Timestamp,
    /// Its id.
    pub item: Uuid,
}

/// How many unsettled items there are at one step of one participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pile {
    /// The participant.
    pub participant: String,
    /// The definition, where a saga is known.
    pub definition: Option<String>,
    /// The step; the finding's name for an anomaly.
    pub step: String,
    /// Whether these are anomalies.
    pub is_anomaly: bool,
    /// How many are open, assigned and being retried.
    pub counts: [u64; 3],
    /// How many have been there for less than each of the ages asked for and not for less than the one before,
    /// in their order, and how many for longer: one more than there are ages.
    pub ages: Vec<u64>,
    /// Since when the oldest has been there.
    pub oldest: Timestamp,
}

/// What the outside is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Told {
    /// An item was opened.
    Opened,
    /// An item has grown old: the level is in the item.
    Escalated,
    /// An item was settled.
    Settled,
}

/// One event on its way to one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its number in the outbox.
    pub n: i64,
    /// The event's id: the same for every attempt, another for every hook.
    pub event: Uuid,
    /// The hook it is for.
    pub hook: String,
    /// What happened.
    pub told: Told,
    /// To which item.
    pub item: Uuid,
    /// The item's level then.
    pub level: u8,
    /// When it happened: by the saga's times, an escalation by the store's clock.
    pub at: Timestamp,
    /// Attempts made before this one.
    pub attempts: u32,
}

/// Work that goes on in the background until it is done, such as a bulk retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its id, a UUID v7.
    pub id: Uuid,
    /// What it is and how far, as JSON.
    pub text: String,
    /// Whether somebody should be working on it.
    pub is_running: bool,
    /// Raised by one with every change; a change that expects another version is refused.
    pub version: u64,
    /// When it was last changed, by the store's clock.
    pub updated_at: Timestamp,
}

/// The repair queue's side of a store.
///
/// Reading costs what it gives back, whatever was settled before and whatever a filter passes over.
#[async_trait]
pub trait Repairs: Send + Sync {
    /// Reads items oldest first, after `after` when given, at most `limit`. One that cannot be read is logged
    /// and left out.
    async fn items(
        &self,
        filter: &ItemFilter,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Item>, Error>;

    /// Reads one item.
    async fn item(&self, item: Uuid) -> Result<Option<Item>, Error>;

    /// Counts the unsettled items, by participant, definition, step, and whether they are anomalies, in that
    /// order. `ages_ms` are ages since the first opening, rising, at most 8. Costs the same whatever was
    /// settled before.
    async fn piles(&self, now: Timestamp, ages_ms: &[u64]) -> Result<Vec<Pile>, Error>;

    /// Opens anomalies, each once: one whose id is known, settled or not, is left as it is. Says how many
    /// are new.
    async fn open_anomalies(&self, items: &[Item]) -> Result<usize, Error>;

    /// Replaces what can change of an anomaly (status, times, assignee, how it was settled, its JSON) where it
    /// still has `was_updated_at`; says whether it had. The rest of `item` is not looked at, and a stuck
    /// step's item is never changed by this. One that was settled and is so no longer is told as opened.
    async fn change_anomaly(&self, item: &Item, was_updated_at: Timestamp) -> Result<bool, Error>;

    /// Raises unsettled items that were first opened at `opened_before` or earlier to `level`, those with a
    /// lower one, the longest stuck first, at most `limit`; gives them back as they are now, and tells of them
    /// in this order. Nothing else of them changes, so an operator who acts on one at the same time is not disturbed.
    async fn escalate(&self, level: u8, opened_before: Timestamp, limit: usize) -> Result<Vec<Item>, Error>;

    /// Says which hooks there are and what each is told; events are put into the outbox for these from now on, and what
    /// waits for others is dropped. What waits for these stays, also of a kind that is not wanted any more.
    async fn set_hooks(&self, hooks: &[(String, Vec<Told>)]) -> Result<(), Error>;

    /// Takes events that are due, at most `limit`; nobody else is given them for `hold_ms` milliseconds by
    /// the store's clock.
    ///
    /// The hooks take turns, each with what has been due for the longest, so that a backlog for one of them
    /// keeps no other waiting. To be given an event counts as an attempt: who takes it may end without a
    /// word, and then it is given to another when the hold is over.
    async fn take_deliveries(&self, limit: usize, hold_ms: u64) -> Result<Vec<Delivery>, Error>;

    /// Ends a delivery: `None` when it is done with, or the wait until its next attempt in milliseconds.
    /// Does nothing when it has ended already.
    async fn end_delivery(&self, n: i64, retry_in_ms: Option<u64>) -> Result<(), Error>;

    /// How many events wait in the outbox.
    async fn deliveries_pending(&self) -> Result<u64, Error>;

    /// Keeps a job: inserts it where `version` is 1, else replaces the one with the version before; says
    /// whether it did. `updated_at` is set by the store. The owner is noted as who changed it last; a job is
    /// guarded by its version alone.
    async fn put_job(&self, owner: &Owner, job: &JobRow) -> Result<bool, Error>;

    /// Reads one job.
    async fn job(&self, id: Uuid) -> Result<Option<JobRow>, Error>;

    /// Reads jobs, newest first, at most `limit`; with `stale_ms` only those that are running and were not
    /// changed for that long by the store's clock.
    async fn jobs(&self, stale_ms: Option<u64>, limit: usize) -> Result<Vec<JobRow>, Error>;
}
