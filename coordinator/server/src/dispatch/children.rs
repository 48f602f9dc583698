//! Child sagas: calls that this coordinator makes to itself.
//!
//! Starting the child is the action, reverting it the compensation, and either is pending until the child is where it
//! should be. Its id is derived from the parent's step, so every attempt means the same child. When a child ends the run
//! loop tells its parent; asking, as for any pending call, finds out where that word was lost.

use super::Order;
use crate::{
    handle::Handle,
    http::Failure,
    registry::Registry,
    run::{Refusal, Started, answer_of},
};
use amends_saga::{
    Answer, Input, Json, Millis, Op, Parent, Question, Rejected, Report, Saga, SagaId, Start, Status,
    child_id, definition::Target,
};
use amends_store::Store;
use amends_wire::{
    api::DefinitionRef,
    problem::{Problem, Slug},
};
use std::sync::Arc;

/// How many sagas may stand above a child.
pub(crate) const DEPTH_MAX: u8 = 8;

/// The child is on its way; its end is told, and asking is the fallback.
const PENDING: Answer = Answer::Pending { retry_after: None, repair: false };

/// The child cannot be got at now. To the next question it is not there, or not undone, and the call is made again.
const LATER: Answer = Answer::Pending { retry_after: Some(Millis::from_secs(5)), repair: false };

/// Performs the calls of parents.
#[derive(Debug, Clone)]
pub(crate) struct Children {
    pub(crate) handle: Handle,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Arc<Registry>,
}

impl Children {
    /// Does what a parent's call asks for, or says how far it is.
    pub(crate) async fn perform(&self, order: &Order) -> Answer {
        let (op, question) = (order.call.key.op, order.call.key.question);
        let id = child_id(order.saga, &order.call.step, order.call.round);
        let child = match self.find(id).await {
            Ok(child) => child,
            Err(problem) => return unknown(&problem),
        };
        match (child, question, op) {
            (None, Question::Status, _) => Answer::NotSeen,
            (None, Question::Call, Op::Compensation) => self.start(order, id, true).await,
            (None, Question::Call, _) => self.start(order, id, false).await,
            (Some(child), Question::Call, Op::Compensation) => self.undo(&child).await,
            (Some(child), _, op) => stands(&child, op),
        }
    }

    /// The durable state of a saga.
    async fn find(&self, id: SagaId) -> Result<Option<Arc<Saga>>, Problem> {
        if let Ok((Some(saga), _)) = self.handle.get(id, false).await {
            return Ok(Some(saga));
        }
        let unavailable =
            |error: amends_store::Error| Problem::new(Slug::StoreUnavailable, error.to_string());
        let Some(stored) = self.store.load(id).await.map_err(unavailable)? else { return Ok(None) };
        if !self.registry.knows(&stored.head.hash) {
            self.registry.refresh(self.store.as_ref()).await.map_err(unavailable)?;
        }
        let missing = || {
            let detail = format!("the definition of saga {} is missing from the store", stored.id);
            Problem::new(Slug::Internal, detail)
        };
        let definition = self.registry.definition_by_hash(&stored.head.hash).ok_or_else(missing)?;
        Ok(Some(Arc::new(Saga::replay(stored.id, definition, &stored.records))))
    }

    /// Starts a child; a barred one only so that no later start can begin it.
    async fn start(&self, order: &Order, id: SagaId, barred: bool) -> Answer {
        let parent = match self.find(order.saga).await {
            Ok(Some(parent)) => parent,
            Ok(None) => return contract(format!("saga {} is not there", order.saga)),
            Err(problem) => return unknown(&problem),
        };
        let depth = parent.parent.as_ref().map_or(1, |above| above.depth.saturating_add(1));
        if depth > DEPTH_MAX {
            return contract(format!("sagas stand in one another {DEPTH_MAX} deep at most"));
        }
        let operation = &order.call.operation;
        let version = match operation.target {
            Target::Saga { version } => version,
            Target::Participant => None,
        };
        let wanted = DefinitionRef::Named { name: operation.name.clone(), version };
        let definition = match self.registry.to_run(&self.store, &wanted, &order.call.body).await {
            Ok(definition) => definition,
            Err(Failure(problem)) if problem.slug == Slug::StoreUnavailable => return unknown(&problem),
            // What cannot be started never was, nor will be by a call that comes late.
            Err(_) if barred => return Answer::Done(Json::default()),
            Err(Failure(problem)) => return contract(problem.detail),
        };
        let parent_of = Parent { saga: order.saga, step: order.call.step.clone(), depth };
        let start = Start {
            labels: parent.labels.clone(),
            parent: Some(parent_of),
            barred,
            ..Start::new(id, definition, order.call.body.clone())
        };
        match self.handle.start(start, [0; 32], false).await {
            Ok((Started::New, _)) if barred => Answer::Done(Json::default()),
            Ok((Started::New | Started::Repeat(_), _)) => PENDING,
            // It is put off, and no attempt is spent on it: the step's `within` and the saga's deadline bound it.
            Ok((Started::Full | Started::Busy(_), _)) => LATER,
            Ok((Started::KeyReused(_) | Started::Unavailable, _)) | Err(_) => {
                unwritten("the child's start could not be written")
            }
        }
    }

    /// Brings a child to where nothing of it stands.
    async fn undo(&self, child: &Saga) -> Answer {
        let reason = "its parent is undone".to_owned();
        let asked = match child.status() {
            Status::Completed => self.handle.revert(child.id, reason).await,
            Status::Running => self.handle.input(child.id, Input::Cancel { reason }).await,
            _ => return stands(child, Op::Compensation),
        };
        match asked {
            Ok(Ok(())) => PENDING,
            Ok(Err(Refusal::Rejected(why @ Rejected::PastPivot))) => {
                Answer::Refused(Report::new(None, format!("child saga {}: {why}", child.id), 0))
            }
            // It has gone on meanwhile, or another coordinator drives it: the next question finds out.
            Ok(Err(Refusal::Rejected(_) | Refusal::NotHeld)) => LATER,
            Ok(Err(Refusal::Unavailable)) | Err(_) => unwritten("the child's undoing could not be written"),
        }
    }
}

/// What a child's state says to its parent's call.
fn stands(child: &Saga, op: Op) -> Answer {
    let pending = Answer::Pending { retry_after: None, repair: child.status() == Status::Repair };
    answer_of(child, op).unwrap_or(match (child.status(), op) {
        // Whoever asks how the undoing goes of one that stands has not asked for it yet.
        (Status::Completed | Status::Running, Op::Compensation) => Answer::NotSeen,
        _ => pending,
    })
}

fn contract(message: String) -> Answer {
    Answer::Contract(Report::new(None, message, 0))
}

fn unknown(problem: &Problem) -> Answer {
    Answer::Unknown {
        report: Report::new(None, problem.detail.clone(), 0),
        retry_after: Some(Millis::from_secs(1)),
    }
}

fn unwritten(message: &str) -> Answer {
    Answer::Unknown { report: Report::new(None, message, 0), retry_after: Some(Millis::from_secs(1)) }
}

#[cfg(test)]
mod tests;
