//! The durable side of a coordinator: journals, ownership, definitions and registrations behind one trait.
//!
//! A store knows nothing of what an event means. It keeps journals in order, finds sagas by what their
//! [`Head`] says, and guards every write by a condition, so that of several coordinators only the owner
//! can write. The invariant it keeps: **an append changes exactly the row it expects, or nothing**, and
//! what [`Store::commit`] has reported done survives the loss of power.

mod clock;
pub mod conformance;
pub mod memory;
mod random;
pub mod repairs;
pub mod sqlite;

use amends_saga::{
    Record, SagaId, Status, Timestamp,
    coordinator::{Append, Fingerprint, Head, Written},
};
use async_trait::async_trait;
use repairs::Repairs;
use std::collections::BTreeMap;
use uuid::Uuid;

/// One process that drives sagas: made anew at each start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Unique to this run of the process; also the claim token of every saga it claims.
    pub incarnation: Uuid,
    /// For people: host and process, or what the configuration says.
    pub name: String,
}

/// Why a store could not do what it was asked. The variants are the decisions a caller can take.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Try again later; nothing can be said about the last write.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The owner's lease is over: stop driving sagas.
    #[error("this coordinator is no longer a member: its lease has passed")]
    LeaseLost,
    /// The store is in use by another process, is of another version, or cannot be opened.
    #[error("{0}")]
    Refused(String),
    /// What was read cannot be understood; an operator must look.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
}

/// A saga as the store has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its id.
    pub id: SagaId,
    /// What is kept beside the journal.
    pub head: Head,
    /// The epoch of its present owner.
    pub epoch: u64,
    /// Its whole journal, in order, from sequence number 1.
    pub records: Vec<Record>,
}

/// What became of a completed saga that was to be brought back.
#[derive(Debug, Clone, PartialEq)]
pub enum Revived {
    /// It is the owner's now, completed as before, with its epoch raised by one.
    Taken(Box<Stored>),
    /// It has not completed: it is live, or ended otherwise. Nothing was changed.
    NotCompleted(Status),
    /// There is no such saga.
    Unknown,
    /// Another owner that is not gone has brought it back. Nothing was changed.
    Held,
}

/// Which sagas a list is about. Every field narrows; the default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// With one of these statuses.
    pub statuses: Vec<Status>,
    /// Of this definition, in any version.
    pub definition: Option<String>,
    /// Of this version of it.
    pub version: Option<u32>,
    /// With every one of these labels.
    pub labels: BTreeMap<String, String>,
    /// Started under this key.
    pub key: Option<String>,
    /// Standing at this step now; the name of a step that is done for a list means each of its items as well.
    pub step: Option<String>,
    /// Waiting for this participant now.
    pub participant: Option<String>,
    /// Accepted at this time or later.
    pub created_after: Option<Timestamp>,
    /// Accepted before this time.
    pub created_before: Option<Timestamp>,
}

/// How long the membership lasts that an owner gets by its first write when no heartbeat came before, in
/// milliseconds.
pub const JOIN_TTL_MS: u64 = 15_000;

/// How long after its time to wake a sleeping saga is left to its last owner before anybody may claim it, in
/// milliseconds by the store's clock, while that owner is a member.
///
/// The last owner normally wakes it itself and may have it in memory, which a claim costs it; the claim is the
/// fall-back. When the last owner is gone, nothing is waited for.
pub const WAKE_GRACE_MS: u64 = 2_000;

impl Filter {
    /// Whether a saga with this head is meant.
    pub fn matches(&self, head: &Head) -> bool {
        let same = |wanted: &Option<String>, is: Option<&String>| wanted.is_none() || wanted.as_ref() == is;
        let among = |wanted: &Option<String>, are: &[String]| wanted.as_ref().is_none_or(|w| are.contains(w));
        (self.statuses.is_empty() || self.statuses.contains(&head.status))
            && same(&self.definition, Some(&head.definition))
            && self.version.is_none_or(|version| version == head.version)
            && self.labels.iter().all(|(name, value)| head.labels.get(name) == Some(value))
            && same(&self.key, head.key.as_ref())
            && self.step.as_ref().is_none_or(|step| head.at_steps.iter().any(|at| is_of_step(at, step)))
            && among(&self.participant, &head.at_participants)
            && self.created_after.is_none_or(|after| head.created_at >= after)
            && self.created_before.is_none_or(|before| head.created_at < before)
    }
}

/// Whether a step is the one of this name, or one of its items.
pub(crate) fn is_of_step(step: &str, name: &str) -> bool {
    step.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
}

/// Whether a saga of this status still has something to do.
pub(crate) fn is_live(status: Status) -> bool {
    match status {
        Status::Running | Status::Compensating | Status::Repair => true,
        Status::Completed | Status::Compensated | Status::Abandoned => false,
    }
}

/// Whether a live saga of this status is claimed before the others.
pub(crate) fn is_undoing(status: Status) -> bool {
    matches!(status, Status::Compensating | Status::Repair)
}

/// A definition as it was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionRow {
    /// The hash of its content, lower-case hex.
    pub hash: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Whether it can be started by name. A definition that came with one start cannot.
    pub registered: bool,
    /// Its text as JSON.
    pub text: String,
    /// When it came.
    pub created_at: Timestamp,
}

/// What became of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefinitionPut {
    /// It is new.
    New,
    /// The very same content is registered already.
    Same,
    /// Its name and version are taken by other content, with this hash.
    Conflict(String),
}

/// Coordinators, sagas and what they refer to, durable.
///
/// Every method may be called from several tasks at once. Dropping a future leaves the operation either
/// done or not done, never half done.
#[async_trait]
pub trait Store: Repairs + Send + Sync + std::fmt::Debug {
    /// Makes the owner a member for `ttl_ms` milliseconds by the store's clock, or prolongs its membership.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when it was a member, let its lease pass and another took one of its sagas: it
    /// can write no more, and has to start again as a new incarnation.
    async fn heartbeat(&self, owner: &Owner, ttl_ms: u64) -> Result<(), Error>;

    /// Ends the membership and gives every saga of the owner back, to be claimed at once.
    async fn release(&self, owner: &Owner) -> Result<(), Error>;

    /// Writes a batch in one durable transaction and says how each append ended, in order.
    ///
    /// New sagas (`after_seq` 0) are inserted as owned by `owner` with epoch 1; one whose id is taken is
    /// [`Written::Fenced`]. Every other append hits the row of a live or revived saga with its id, epoch, the owner's
    /// claim token and last sequence number, or is [`Written::Fenced`]. What can change of the head is
    /// replaced: status, times, steps and participants; the rest stays as it was inserted. An owner that
    /// never was a member becomes one; for one that was replaced everything is fenced.
    ///
    /// A live saga without a time to wake at is put back as nobody's: no [`Store::claim`] finds it, only
    /// [`Store::reclaim`]. So is one that is [asleep](Head::asleep), until its time has come, and
    /// [`WAKE_GRACE_MS`] more while its last owner is a member. The last owner may still append to either
    /// while nobody has taken it.
    ///
    /// A completed saga is written to by whoever has it from [`Store::revive`], and lives again when the
    /// append says so.
    ///
    /// The repair items of an append are kept with it, each under its id, the last of several; see [`repairs`].
    ///
    /// A batch holds a saga at most once, every append has at least one record, and 1,024 appends are the
    /// most that is measured.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the outcome of the transaction is not known or it failed: then every
    /// saga of the batch must be read again before it is driven on.
    async fn commit(&self, owner: &Owner, batch: &[Append]) -> Result<Vec<Written>, Error>;

    /// Claims up to `limit` live sagas whose owner is gone, and sleeping ones whose time to wake has come and
    /// whose last owner is gone, or did not wake them within [`WAKE_GRACE_MS`], be it `owner` itself. Those
    /// being undone come first; among them, and among the others, those that are awake, the oldest first, then
    /// the sleeping ones, by the time to wake.
    ///
    /// What a claim costs does not depend on how many sagas sleep. A saga that was asleep is not any more.
    /// Each comes with its epoch raised by one and the owner's claim token set, durably. One that cannot be
    /// read is claimed, logged and left out, so that it holds up no other.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] as with [`Store::heartbeat`].
    async fn claim(&self, owner: &Owner, limit: usize) -> Result<Vec<Stored>, Error>;

    /// Claims these sagas where they are live and owned by `owner` or by nobody who is left, in the order of
    /// their ids; also those that wait for an operator only, and those that sleep, at any time, whose last
    /// owner loses nothing else by it. Like [`Store::claim`] otherwise. One that is taken and not written to stays its new owner's, and is claimed
    /// when that is gone.
    async fn reclaim(&self, owner: &Owner, ids: &[SagaId]) -> Result<Vec<Stored>, Error>;

    /// Claims a completed saga that belongs to nobody, to `owner` or to an owner that is gone, so that the
    /// next append may make it live again. Its status stays as it is until then.
    ///
    /// One that is taken and not written to is completed as before: it is listed and counted so, no claim
    /// finds it, and it can be taken again by the same owner, or by any when that is gone.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] as with [`Store::heartbeat`]; [`Error::Corrupt`] when the saga cannot be read, and
    /// then nothing was changed.
    async fn revive(&self, owner: &Owner, id: SagaId) -> Result<Revived, Error>;

    /// Reads one saga.
    async fn load(&self, id: SagaId) -> Result<Option<Stored>, Error>;

    /// Finds the saga started under a key, with the fingerprint of its start.
    async fn find_key(&self, key: &str) -> Result<Option<(SagaId, Fingerprint)>, Error>;

    /// Reads sagas newest first, which is by falling id, after the saga `after` when given, at most `limit`.
    /// One that cannot be read is logged and left out.
    async fn list(&self, filter: &Filter, after: Option<SagaId>, limit: usize) -> Result<Vec<Stored>, Error>;

    /// Reads a saga's records after sequence number `after_seq`, at most `limit`.
    async fn journal(&self, id: SagaId, after_seq: u64, limit: usize) -> Result<Vec<Record>, Error>;

    /// Counts sagas by status, in the order of [`Status`]. Every status that occurs is listed.
    async fn counts(&self) -> Result<Vec<(Status, u64)>, Error>;

    /// Counts live sagas by the name and version of their definition, in this order. A version without a live
    /// saga is not listed; one of which there is different content is listed once.
    ///
    /// It walks an index of what is live: with a million live sagas some 70 ms, without any next to nothing.
    async fn versions(&self) -> Result<Vec<(String, u32, u64)>, Error>;

    /// Keeps a definition. One that came with a start before is registered by this without changing.
    async fn put_definition(&self, row: &DefinitionRow) -> Result<DefinitionPut, Error>;

    /// Reads every definition, registered or not, oldest first.
    async fn definitions(&self) -> Result<Vec<DefinitionRow>, Error>;

    /// Keeps a participant's registration, as JSON, under its name.
    async fn put_participant(&self, name: &str, registration: &str) -> Result<(), Error>;

    /// Removes a participant's registration; says whether there was one.
    async fn delete_participant(&self, name: &str) -> Result<bool, Error>;

    /// Reads every registration, by name.
    async fn participants(&self) -> Result<Vec<(String, String)>, Error>;

    /// The store's own secret: 32 random bytes, made when it is first asked for, durable when this returns,
    /// and the same for every process from then on.
    async fn secret(&self) -> Result<[u8; 32], Error>;

    /// Proves that the store can be written, for readiness.
    async fn ping(&self) -> Result<(), Error>;
}
