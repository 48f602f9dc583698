//! What the run loop says aloud: repair items that open or are settled, and how the participants' gates stand.

use super::Loop;
use crate::{
    clock::now,
    trace::{reason, word},
};
use amends_saga::{RepairRow, RepairStatus};

impl Loop {
    /// Says how the gates stand, to whoever shows or watches them.
    pub(super) fn show_gates(&self) {
        let views = self.coordinator.gates(now());
        self.metrics.gates(&views);
        self.registry.gates().publish(views);
    }

    /// Says once, and aloud, that somebody is needed.
    pub(super) fn repairs(&self, rows: &[RepairRow]) {
        self.dispatcher.tracer().repairs(rows);
        self.outbox.notify_one();
        for row in rows {
            self.count(row);
            let (saga, step, participant) = (row.saga, &row.step, &row.participant);
            match row.settled_how {
                None if row.status == RepairStatus::Retrying => {}
                None if row.updated_at == row.opened_at => tracing::warn!(
                    saga.id = %saga, step.name = %step, participant, item = %row.item, reason = reason(row.reason),
                    "a step cannot be undone; a repair item is open"
                ),
                None => {}
                Some(how) => tracing::info!(
                    saga.id = %saga, step.name = %step, participant, item = %row.item, how = %word(how),
                    by = row.settled_by.as_deref(), "a repair item is settled"
                ),
            }
        }
    }

    fn count(&self, row: &RepairRow) {
        match row.settled_how {
            Some(how) => self.metrics.repair_settled(&row.participant, &word(how)),
            None if row.status != RepairStatus::Retrying && row.updated_at == row.opened_at => {
                self.metrics.repair_opened(row);
            }
            None => {}
        }
    }
}
