//! How each check is made: a few calls as a coordinator could send them, and what must come of it.
//!
//! A check works on a saga of its own, so that no check depends on what another left behind.

mod batch;
mod faults;
mod hostile;

use super::{
    case::{Case, Checked},
    rule::Check,
};

impl Check {
    /// Makes this check of an operation. [`Check::Healthz`], [`Check::UnknownOperation`], [`Check::JsonAnswers`] and
    /// [`Check::SagaAudit`] are about the participant as a whole, and pass here.
    pub(super) async fn of(self, case: &Case<'_>) -> Checked {
        match self {
            Check::Action => faults::action(case).await,
            Check::Repeat => faults::repeat(case).await,
            Check::LaterAttempt => faults::later_attempt(case).await,
            Check::ConcurrentRepeats => faults::concurrent_repeats(case).await,
            Check::AnotherBody => faults::another_body(case).await,
            Check::IndependentSteps => faults::independent_steps(case).await,
            Check::RefusalRepeats => faults::refusal_repeats(case).await,
            Check::NewRound => faults::new_round(case).await,
            Check::StatusUnknown => faults::status_unknown(case).await,
            Check::StatusOfAction => faults::status_of_action(case).await,
            Check::Compensation => faults::compensation(case).await,
            Check::CompensationRepeats => faults::compensation_repeats(case).await,
            Check::ActionAfterBoth => faults::action_after_both(case).await,
            Check::CompensationFirst => faults::compensation_first(case).await,
            Check::LateAction => faults::late_action(case).await,
            Check::Race => faults::race(case).await,
            Check::StatusOfCompensation => faults::status_of_compensation(case).await,
            Check::StatusOfLate => faults::status_of_late(case).await,
            Check::RefusedThenUndone => faults::refused_then_undone(case).await,
            Check::Confirm => faults::confirm(case).await,
            Check::ConfirmDecides => faults::confirm_decides(case).await,
            Check::Misfit => hostile::misfit(case).await,
            Check::Garbage => hostile::garbage(case).await,
            Check::Oversized => hostile::oversized(case).await,
            Check::MissingHeaders => hostile::missing_headers(case).await,
            Check::BadHeaders => hostile::bad_headers(case).await,
            Check::Signature => hostile::signature(case).await,
            Check::BatchOrder => batch::order(case).await,
            Check::BatchRepeat => batch::repeat(case).await,
            Check::BatchNeighbours => batch::neighbours(case).await,
            Check::BatchStatus => batch::status(case).await,
            Check::BatchCompensations => batch::compensations(case).await,
            Check::BatchGarbage => batch::garbage(case).await,
            Check::Healthz | Check::UnknownOperation | Check::JsonAnswers | Check::SagaAudit => Ok(()),
        }
    }

    /// Whether it is about one operation.
    pub(super) fn is_of_an_operation(self) -> bool {
        !matches!(self, Check::Healthz | Check::UnknownOperation | Check::JsonAnswers | Check::SagaAudit)
    }

    /// Whether it makes sense only where an action with the given body is done.
    pub(super) fn needs_the_action(self) -> bool {
        match self {
            Check::Repeat
            | Check::LaterAttempt
            | Check::ConcurrentRepeats
            | Check::AnotherBody
            | Check::IndependentSteps
            | Check::NewRound
            | Check::StatusOfAction
            | Check::Compensation
            | Check::CompensationRepeats
            | Check::ActionAfterBoth
            | Check::LateAction
            | Check::Race
            | Check::StatusOfLate
            | Check::Confirm
            | Check::ConfirmDecides
            | Check::Misfit
            | Check::BatchOrder
            | Check::BatchRepeat
            | Check::BatchNeighbours
            | Check::BatchStatus
            | Check::BatchCompensations => true,
            Check::Healthz
            | Check::UnknownOperation
            | Check::Action
            | Check::RefusalRepeats
            | Check::StatusUnknown
            | Check::CompensationFirst
            | Check::StatusOfCompensation
            | Check::RefusedThenUndone
            | Check::Garbage
            | Check::Oversized
            | Check::MissingHeaders
            | Check::BadHeaders
            | Check::Signature
            | Check::BatchGarbage
            | Check::JsonAnswers
            | Check::SagaAudit => false,
        }
    }
}
