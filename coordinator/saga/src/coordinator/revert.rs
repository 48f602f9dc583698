//! Taking completed sagas on again, to undo them.

use super::{Coordinator, Entry, Fingerprint};
use crate::{Rejected, Saga, Timestamp, decide};

impl Coordinator {
    /// Turns a saga round that has completed, and that `owner` has just taken from the store with `epoch`.
    ///
    /// # Errors
    /// [`Rejected`] when it cannot be reverted; nothing was changed. One that is held has not completed, or is
    /// being reverted already.
    pub fn revert(
        &mut self,
        saga: Saga,
        fingerprint: Fingerprint,
        (epoch, owner): (u64, &str),
        reason: String,
        now: Timestamp,
    ) -> Result<(), Rejected> {
        if let Some(held) = self.sagas.get(&saga.id) {
            return Err(Rejected::NotCompleted(held.saga.status()));
        }
        let records = decide::revert(&saga, reason, epoch, owner, now)?;
        let (id, durable_seq) = (saga.id, saga.seq);
        if let Some(key) = &saga.key {
            self.keys.insert(key.clone(), id);
        }
        let mut entry = Entry::new(saga, fingerprint, durable_seq);
        entry.fold(records);
        self.sagas.insert(id, entry);
        self.mark(id);
        Ok(())
    }
}
