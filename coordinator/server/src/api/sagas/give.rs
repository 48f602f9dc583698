//! Giving sagas what is asked of them: the input is offered until what is durable takes it or refuses it.
//!
//! The run loop decides by what it holds, which may not be written yet, and a saga may be on its way into the store
//! or out of it: one that sleeps, or waits for an operator, is held by nobody until somebody wants something of it.
//! The invariant: **whoever is told no is told so by what is durable**.

use super::look::find;
use crate::{
    api::App,
    clock::now,
    handle::NoAnswer,
    http::{Failure, problem},
    run::Refusal,
};
use amends_saga::{CauseKind, Input, Rejected, Saga, SagaId, decide, definition};
use amends_wire::{
    api::Time,
    problem::{Misfit, Problem, Slug},
};
use std::{future::Future, time::Duration};
use tokio::time::Instant;

/// How long something is offered to a saga that another write keeps busy, or that is being put back.
const PATIENCE: Duration = Duration::from_secs(2);

/// Before the second offer; doubled before each further one, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(10);

/// The longest wait between two offers.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Gives a saga an input; what follows is durable once this returns. An input that changes nothing is taken.
///
/// # Errors
/// What the saga's durable state says against it; `store_unavailable` when it could not be given.
pub(super) async fn give(app: &App, id: SagaId, input: Input) -> Result<(), Failure> {
    offer(
        app,
        id,
        || app.handle.input(id, input.clone()),
        |saga, _| decide(saga, input.clone(), now()).map(|records| records.is_empty()),
    )
    .await
}

/// Turns a completed saga round, once; durable once this returns.
///
/// # Errors
/// `not_completed`, also of one that is reverted already; `past_pivot`, `not_revertible`; `store_unavailable`
/// when it could not be done.
pub(super) async fn revert(app: &App, id: SagaId, reason: String) -> Result<(), Failure> {
    let would = |saga: &Saga| amends_saga::revert(saga, reason.clone(), saga.epoch + 1, "", now());
    // A saga that cannot be turned round is not taken from the store for it.
    let saga = find(app, id).await?;
    would(&saga).map_err(|why| rejected(why, &saga))?;
    let is_done = |saga: &Saga, in_doubt: bool| match would(saga) {
        // The write that nobody knew the outcome of was this one, or as good.
        Err(Rejected::NotCompleted(_)) if in_doubt && is_reverted(saga) => Ok(true),
        would => would.map(|_| false),
    };
    offer(app, id, || app.handle.revert(id, reason.clone()), is_done).await
}

fn is_reverted(saga: &Saga) -> bool {
    saga.error.as_ref().is_some_and(|error| error.kind == CauseKind::Reverted)
}

/// Makes an offer until it is taken, or until the saga says that nothing is left to do, or why it never will be.
/// It is told whether an earlier offer may have been taken without anybody's knowing.
async fn offer<F>(
    app: &App,
    id: SagaId,
    make: impl Fn() -> F,
    is_done: impl Fn(&Saga, bool) -> Result<bool, Rejected>,
) -> Result<(), Failure>
where
    F: Future<Output = Result<Result<(), Refusal>, NoAnswer>>,
{
    let until = Instant::now() + PATIENCE;
    let (mut pause, mut in_doubt) = (PAUSE, false);
    loop {
        let Err(refusal) = make().await.map_err(|NoAnswer| no_answer(app))? else { return Ok(()) };
        in_doubt |= refusal == Refusal::Unavailable;
        let saga = find(app, id).await?;
        match is_done(&saga, in_doubt) {
            Ok(true) => return Ok(()),
            Err(why) => return Err(rejected(why, &saga)),
            Ok(false) if app.is_stopping() => return Err(no_answer(app)),
            Ok(false) if Instant::now() >= until => return Err(not_given(id, &refusal)),
            Ok(false) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn not_given(id: SagaId, refusal: &Refusal) -> Failure {
    let detail = match refusal {
        Refusal::Unavailable => "what was asked for could not be written; repeat it".to_owned(),
        Refusal::NotHeld | Refusal::Rejected(_) => {
            format!("another coordinator drives saga {id} now; send the request there, or repeat it")
        }
    };
    Problem::new(Slug::StoreUnavailable, detail).retry_after(1).into()
}

/// Says why a saga rejects something.
pub(crate) fn rejected(why: Rejected, saga: &Saga) -> Failure {
    let is_open = saga.definition.is_open();
    let slug = match &why {
        Rejected::Ended => Slug::SagaEnded,
        Rejected::NoSuchSignal => Slug::NoSuchSignal,
        Rejected::SignalConflict(_) => Slug::SignalConflict,
        Rejected::PastPivot if is_open && saga.is_terminal() => {
            let detail = format!("saga {} is an open one, and what it did was made final", saga.id);
            return problem(Slug::NotRevertible, detail);
        }
        Rejected::PastPivot if is_open => return decided(saga),
        Rejected::PastPivot => return past_pivot(saga),
        Rejected::NotCompleted(_) => return not_completed(saga, &why),
        Rejected::NoSuchStep => Slug::UnknownStep,
        Rejected::AnswerConflict(_) => Slug::AnswerConflict,
        Rejected::NotOpen => Slug::NotOpen,
        Rejected::Decided => return decided(saga),
        Rejected::BranchConflict => Slug::BranchConflict,
        Rejected::TooManyBranches => Slug::TooManyBranches,
        Rejected::NoSuchItem | Rejected::RepairSettled => Slug::RepairSettled,
        Rejected::RepairRetrying { .. } => Slug::RepairRetrying,
        Rejected::NoBody(_) => Slug::InputRequired,
        Rejected::OutputDoesNotFit(misfits) => {
            let known =
                |it: &definition::Misfit| Misfit { path: it.path.clone(), message: it.message.clone() };
            let errors: Vec<Misfit> = misfits.0.iter().map(known).collect();
            return Problem::new(Slug::OutputDoesNotFit, why.to_string()).with("errors", errors).into();
        }
    };
    problem(slug, why.to_string())
}

/// Says how a saga stands that cannot be reverted, and whether that is because it has been.
fn not_completed(saga: &Saga, why: &Rejected) -> Failure {
    let mut detail = why.to_string();
    if let Some(at) = saga.turned_at.filter(|_| is_reverted(saga)) {
        detail.push_str(&format!(": it was reverted at {}", Time(at)));
    }
    Problem::new(Slug::NotCompleted, detail).with("reverted", is_reverted(saga)).into()
}

fn past_pivot(saga: &Saga) -> Failure {
    let pivot = saga.definition.pivot().map(|pivot| saga.step_name(pivot));
    let step = pivot.as_ref().map(|pivot| format!(", step \"{pivot}\"")).unwrap_or_default();
    let detail = format!("the saga has passed its point of no return{step}, and can only go forward");
    Problem::new(Slug::PastPivot, detail).with("step", pivot).into()
}

/// Says how an open saga was decided.
pub(super) fn decided(saga: &Saga) -> Failure {
    let detail = match (saga.committed_at, saga.turned_at.zip(saga.error.as_ref())) {
        (Some(at), _) => format!("the saga was committed at {}", Time(at)),
        (None, Some((at, cause))) => {
            format!("the saga was rolled back at {}: {}", Time(at), cause.message.trim_end_matches('.'))
        }
        (None, None) => "the saga's time is up, and it is about to be rolled back".to_owned(),
    };
    problem(Slug::SagaDecided, detail)
}

pub(crate) fn unavailable(error: amends_store::Error) -> Failure {
    tracing::warn!(%error, "the store did not answer");
    Problem::new(Slug::StoreUnavailable, error.to_string()).retry_after(1).into()
}

pub(crate) fn no_answer(app: &App) -> Failure {
    let (slug, detail) = match app.is_stopping() {
        true => (Slug::ShuttingDown, "this coordinator is stopping; repeat the request with the same key"),
        false => (Slug::StoreUnavailable, "the coordinator could not take the request in time; repeat it"),
    };
    Problem::new(slug, detail).retry_after(1).into()
}
