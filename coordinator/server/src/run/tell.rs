//! What the run loop says aloud: repair items that open or are settled, and how the participants' gates stand.

use super::Loop;
use crate::{
    clock::now,
    trace::{reason, word},
};
use amends_saga::{Answer, Input, Json, Op, Parent, RepairRow, RepairStatus, Report, Saga, Status};
use tokio::sync::oneshot;

impl Loop {
    /// Tells the saga that a child was run for how the child has ended, so that it need not ask.
    ///
    /// One that sleeps is woken for it; one that another coordinator drives finds out by asking.
    pub(super) fn tell_parent(&mut self, child: &Saga) {
        let Some(Parent { saga, step, .. }) = child.parent.clone() else { return };
        for op in [Op::Action, Op::Compensation] {
            let Some(answer) = answer_of(child, op) else { continue };
            let input = Input::Callback { step: step.clone(), op, answer };
            if self.coordinator.get(saga).is_some() {
                // A call that is over already, or asks for something else by now, takes no notice.
                let _ = self.coordinator.input(saga, input, now());
            } else if !self.stopping {
                let (unheard, _) = oneshot::channel();
                self.wanted.entry(saga).or_default().push((input, unheard));
            }
        }
    }

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

/// What a child's end answers to its parent's call; `None` where the call wants something else of it still.
pub(crate) fn answer_of(child: &Saga, op: Op) -> Option<Answer> {
    let report = |message: String| Report::new(None, message, 0);
    let said = || child.error.as_ref().map_or("it was undone".to_owned(), |error| error.message.clone());
    Some(match (child.status(), op) {
        (Status::Completed, Op::Action) => Answer::Done(child.output.clone().unwrap_or_default()),
        (Status::Compensated, Op::Action) => Answer::Refused(report(said())),
        (Status::Compensated, Op::Compensation) => Answer::Done(Json::default()),
        (Status::Abandoned, _) => {
            Answer::Refused(report(format!("the child saga {} was abandoned", child.id)))
        }
        _ => return None,
    })
}
