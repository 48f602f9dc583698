//! One operation under check: what is sent to it, and how patiently.
//!
//! What was done is remembered with its state, so that it can be undone at the end of a check and held against the
//! participant's own audit at the end of all.

use super::{
    peer::{Body, Came, Peer},
    plan::{Subject, rendered},
    request::{Ask, Payload, Request},
};
use amends_wire::{
    audit::EffectState,
    participant::{BatchResult, BatchResults, CallOp},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use uuid::Uuid;

/// The step that calls are made for.
pub(super) const STEP: &str = "check";

/// How often an answer that says nothing definite is asked for again.
const UNKNOWNS_MAX: u32 = 3;

/// The first pause before the same is asked again, and the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Why a check ends before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The contract is not kept; what is wrong.
    Wrong(String),
    /// There is nothing to check, and why.
    Skipped(String),
    /// It could not be checked, and why.
    Unable(String),
}

/// How a check ended, where it did not pass.
pub(super) type Checked = Result<(), Stop>;

/// What this run has done at the participant, and what must have become of it.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<BTreeMap<(Uuid, String), Done>>);

/// What became of a step.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) state: EffectState,
    /// The call that did it.
    action: Ask,
}

/// One operation under check.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) peer: &'a Peer,
    pub(super) subject: &'a Subject,
    pub(super) ledger: &'a Ledger,
    /// How long a pending answer is waited for.
    pub(super) patience: Duration,
    /// What shows the effects, below the participant's address or elsewhere.
    pub(super) watch: Option<&'a str>,
}

impl Done {
    /// Whether an audit must tell it: of what was refused at once there need be no row.
    pub(super) fn is_told(&self) -> bool {
        self.state != EffectState::Barred || self.action.op != CallOp::Action
    }
}

impl Ledger {
    /// What is known, ascending by saga.
    pub(super) fn known(&self) -> BTreeMap<(Uuid, String), Done> {
        self.lock().clone()
    }

    /// Takes in a definite answer. Answers to calls that were sent at the same moment may be noted in either order.
    fn note(&self, ask: &Ask, came: &Came) {
        let key = (ask.saga, ask.step.clone());
        let mut all = self.lock();
        let before = all.get(&key).map(|done| done.state);
        // What was refused may be done in a later round; what was compensated may not.
        let was_refused = all.get(&key).is_some_and(|done| done.action.op == CallOp::Action);
        let after = match (ask.op, before) {
            (CallOp::Action, None) if came.is_done() => EffectState::Applied,
            (CallOp::Action, Some(EffectState::Barred)) if came.is_done() && was_refused => {
                EffectState::Applied
            }
            (CallOp::Action, Some(EffectState::Barred)) if came.is_done() => EffectState::Undone,
            (CallOp::Action, None) if came.status == 409 => EffectState::Barred,
            (CallOp::Compensation, None) if came.is_undone() => EffectState::Barred,
            (CallOp::Compensation, Some(EffectState::Applied)) if came.is_undone() => EffectState::Undone,
            _ => return,
        };
        let action = match (ask.op, all.remove(&key)) {
            (CallOp::Compensation, Some(done)) => done.action,
            _ => ask.clone(),
        };
        all.insert(key, Done { state: after, action });
    }

    /// Forgets a step of which nothing definite is known.
    pub(super) fn forget(&self, ask: &Ask) {
        self.lock().remove(&(ask.saga, ask.step.clone()));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Uuid, String), Done>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Case<'_> {
    /// The action with its body, for a saga of its own.
    pub(super) fn action(&self) -> Result<Ask, Stop> {
        let Some(body) = &self.subject.body else {
            let why = format!("no body is given for it: --body {}=JSON", self.subject.name);
            return Err(Stop::Skipped(why));
        };
        Ok(self.ask(&self.subject.name, CallOp::Action, body))
    }

    /// The action of an operation that a barrier guards.
    pub(super) fn guarded(&self) -> Result<Ask, Stop> {
        match self.subject.barrier {
            true => self.action(),
            false => Err(Stop::Skipped("it is registered with \"barrier\": false".to_owned())),
        }
    }

    /// Any call of the operation, whether or not its body is known.
    pub(super) fn any(&self) -> Ask {
        let body = self.subject.body.clone().unwrap_or_else(|| json!({}));
        self.ask(&self.subject.name, CallOp::Action, &body)
    }

    /// The compensation of an action.
    pub(super) fn undo(&self, action: &Ask) -> Result<Ask, Stop> {
        let Some(compensation) = &self.subject.compensation else {
            return Err(Stop::Skipped("it has no compensation".to_owned()));
        };
        let body = match &self.subject.compensation_body {
            Some(body) => rendered(body, action.saga),
            None => action.body.clone(),
        };
        let operation = compensation.clone();
        Ok(Ask { operation, op: CallOp::Compensation, of: CallOp::Compensation, body, ..action.clone() })
    }

    /// The confirmation of an action.
    pub(super) fn confirm(&self, action: &Ask) -> Result<Ask, Stop> {
        let Some(confirm) = &self.subject.confirm else {
            return Err(Stop::Skipped("it has no confirmation".to_owned()));
        };
        let operation = confirm.clone();
        Ok(Ask { operation, op: CallOp::Confirm, of: CallOp::Confirm, ..action.clone() })
    }

    fn ask(&self, operation: &str, op: CallOp, body: &Value) -> Ask {
        let saga = Uuid::now_v7();
        let body = rendered(body, saga);
        let (operation, step) = (operation.to_owned(), STEP.to_owned());
        Ask { operation, saga, step, op, of: op, attempt: 1, round: 0, epoch: 1, body }
    }

    pub(super) fn url(&self, operation: &str) -> String {
        self.peer.base().join(&format!("/{operation}"))
    }

    /// A call as a request.
    pub(super) fn request(&self, ask: &Ask) -> Request {
        Request::post(self.url(&ask.operation), ask.headers(), Payload::Text(ask.body.to_string()))
    }

    /// Sends a call until it is answered definitely, as the coordinator would.
    pub(super) async fn settled(&self, ask: &Ask) -> Result<Came, Stop> {
        let (begun, mut pause, mut unknowns, mut attempt) = (Instant::now(), PAUSE, 0, ask.attempt);
        loop {
            let came = self.peer.send(self.request(&Ask { attempt, ..ask.clone() })).await;
            let wait = match came {
                Ok(came) if !came.is_passing() => {
                    if self.subject.barrier {
                        self.ledger.note(ask, &came);
                    }
                    return Ok(came);
                }
                Ok(came) => {
                    unknowns += u32::from(!came.is_pending());
                    if unknowns > UNKNOWNS_MAX {
                        let what = "which leaves open whether it was done, time and again";
                        return Err(Stop::Wrong(format!("{} is answered {}, {what}", ask.op, came.said())));
                    }
                    if begun.elapsed() > self.patience {
                        let patience = self.patience;
                        return Err(Stop::Wrong(format!("{} is still pending after {patience:?}", ask.op)));
                    }
                    came.retry_after.unwrap_or(pause)
                }
                Err(why) => {
                    unknowns += 1;
                    if unknowns > 1 {
                        return Err(Stop::Wrong(format!("{} is not answered: {why}", ask.op)));
                    }
                    pause
                }
            };
            tokio::time::sleep(wait.min(PAUSE_MAX)).await;
            (pause, attempt) = ((pause * 2).min(PAUSE_MAX), attempt + 1);
        }
    }

    /// Sends an action that must be done.
    pub(super) async fn done(&self, ask: &Ask) -> Result<Came, Stop> {
        let came = self.settled(ask).await?;
        if came.is_done() {
            return Ok(came);
        }
        Err(Stop::Wrong(format!("the {} is not done but answered {}", ask.op, came.said())))
    }

    /// Sends a compensation that must be answered 2xx or 410.
    pub(super) async fn undone(&self, ask: &Ask) -> Result<Came, Stop> {
        let came = self.settled(ask).await?;
        if came.is_undone() {
            return Ok(came);
        }
        Err(Stop::Wrong(format!("the compensation is answered {} instead of 2xx or 410", came.said())))
    }

    /// Sends a call that must be refused with 409.
    pub(super) async fn refused(&self, ask: &Ask, what: &str) -> Result<Came, Stop> {
        let came = self.settled(ask).await?;
        match came.status {
            409 => Ok(came),
            _ => Err(Stop::Wrong(format!("{what} is answered {} instead of 409", came.said()))),
        }
    }

    /// Expects an answer that is like another of the same call.
    pub(super) fn alike(first: &Came, again: &Came, what: &str) -> Checked {
        match first.is_like(again) {
            true => Ok(()),
            false => {
                Err(Stop::Wrong(format!("{what} is answered {}, and before {}", again.said(), first.said())))
            }
        }
    }

    /// Sends calls of one operation as a batch, and reads one result for each.
    pub(super) async fn batch(&self, operation: &str, asks: &[Ask]) -> Result<Vec<BatchResult>, Stop> {
        let calls: Vec<Value> = asks.iter().map(Ask::entry).collect();
        let body = Payload::Text(json!({ "calls": calls }).to_string());
        let url = self.url(&format!("{operation}/batch"));
        let came = self.peer.send(Request::post(url, Vec::new(), body)).await.map_err(Stop::Wrong)?;
        if came.status != 200 {
            return Err(Stop::Wrong(format!("the batch is answered {} instead of 200", came.said())));
        }
        let Body::Json(body) = &came.body else {
            return Err(Stop::Wrong("the batch's answer is not JSON".to_owned()));
        };
        let results: BatchResults = serde_json::from_value(body.clone())
            .map_err(|error| Stop::Wrong(format!("the batch's answer cannot be read: {error}")))?;
        match results.results.len() == asks.len() {
            true => Ok(results.results),
            false => {
                let (sent, got) = (asks.len(), results.results.len());
                Err(Stop::Wrong(format!("a batch of {sent} calls has {got} results")))
            }
        }
    }

    /// What the participant holds, where there is something to look at.
    pub(super) async fn look(&self) -> Result<Option<Value>, Stop> {
        let Some(watch) = self.watch else { return Ok(None) };
        let came = self.peer.send(Request::get(watch.to_owned())).await;
        let unable = |why: String| Stop::Unable(format!("{watch} does not show the effects: {why}"));
        let came = came.map_err(unable)?;
        match came.body {
            Body::Json(value) if came.status == 200 => Ok(Some(value)),
            _ => Err(unable(format!("it answers {}", came.said()))),
        }
    }

    /// Expects that nothing has changed since an earlier look.
    pub(super) async fn unchanged(&self, since: &Option<Value>, what: &str) -> Checked {
        let now = self.look().await?;
        match now == *since {
            true => Ok(()),
            false => {
                let text =
                    |value: &Option<Value>| value.as_ref().map(ToString::to_string).unwrap_or_default();
                let (was, is) = (text(since), text(&now));
                Err(Stop::Wrong(format!("{what} changed what is held: from {was} to {is}")))
            }
        }
    }

    /// What is held, where that is watched and an action and its compensation leave it as it was.
    pub(super) async fn settles_at(&self) -> Result<Option<Value>, Stop> {
        let before = self.look().await?;
        let (Some(_), Ok(action)) = (&before, self.guarded()) else { return Ok(None) };
        let Ok(undo) = self.undo(&action) else { return Ok(None) };
        self.done(&action).await?;
        self.undone(&undo).await?;
        Ok(self.look().await?.filter(|after| Some(after) == before.as_ref()))
    }

    /// Undoes what a check has left behind, as far as that goes.
    pub(super) async fn clean(&self) {
        let applied = |done: &&Done| {
            let is_ours = done.action.op == CallOp::Action && done.action.operation == self.subject.name;
            is_ours && done.state == EffectState::Applied
        };
        let left: Vec<Ask> =
            self.ledger.lock().values().filter(applied).map(|done| done.action.clone()).collect();
        for action in left {
            let Ok(undo) = self.undo(&action) else { continue };
            // Once only: whether it can be undone is a check of its own.
            match self.peer.send(self.request(&undo)).await {
                Ok(came) if came.is_undone() => self.ledger.note(&undo, &came),
                Ok(_) | Err(_) => self.ledger.forget(&action),
            }
        }
        let _ = self.peer.take_exchanges();
    }
}
