//! One verb about one item: given to its saga, or to the row of an anomaly.
//!
//! The run loop decides by what it holds, which may not be written yet; a refusal is told only when what is
//! durable refuses too. The invariant: **whoever is told "settled" is told by whom and how**.

use super::{App, anomaly, find, unavailable, view};
use crate::{
    api::sagas,
    clock::now,
    handle::NoAnswer,
    http::{Failure, problem},
    run::Refusal,
};
use amends_saga::{
    Input, Rejected, Saga, SagaId,
    repair::{Audit, How, Verb},
};
use amends_store::repairs::Item;
use amends_wire::{
    api::{SettledView, Time},
    problem::{Problem, Slug},
};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// How long a verb is offered to a saga that another write keeps busy, or that is being put back.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(20);

/// Gives a verb; durable once it returns. Asking again for what was done is done already.
///
/// # Errors
/// `repair_settled`, `repair_retrying`, `not_retryable`, `input_required`, or what says to try again.
pub(crate) async fn give(app: &App, row: &Item, verb: Verb, audit: Audit) -> Result<(), Failure> {
    match row.saga {
        Some(saga) if row.anomaly.is_none() => to_saga(app, row, saga, verb, audit).await,
        Some(_) | None => anomaly::give(app, row, verb, audit).await,
    }
}

async fn to_saga(app: &App, row: &Item, id: SagaId, verb: Verb, audit: Audit) -> Result<(), Failure> {
    let input = Input::Repair { item: row.item, verb, audit };
    let until = Instant::now() + PATIENCE;
    loop {
        let saga = sagas::find(app, id).await?;
        match amends_saga::decide(&saga, input.clone(), now()) {
            Ok(records) if records.is_empty() => return Ok(()),
            Ok(_) => {}
            Err(why) => return Err(refused(app, row, &saga, why).await),
        }
        match app.handle.input(id, input.clone()).await.map_err(|NoAnswer| sagas::no_answer(app))? {
            Ok(()) => return Ok(()),
            Err(Refusal::Unavailable) => {
                let detail = "what was asked for could not be written";
                return Err(unavailable(amends_store::Error::Unavailable(detail.to_owned())));
            }
            // What refuses it is not durable yet, or the saga is on its way into the store or out of it.
            Err(Refusal::Rejected(_) | Refusal::NotHeld) if app.is_stopping() => {
                return Err(sagas::no_answer(app));
            }
            Err(Refusal::Rejected(_) | Refusal::NotHeld) if Instant::now() < until => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(Refusal::Rejected(_) | Refusal::NotHeld) => return Err(elsewhere(id)),
        }
    }
}

fn elsewhere(id: SagaId) -> Failure {
    let detail = format!(
        "another coordinator drives saga {id} now and takes the verbs about it; send it there, or try again"
    );
    Problem::new(Slug::StoreUnavailable, detail).retry_after(2).into()
}

/// Says why a verb is refused, by a saga's durable state.
async fn refused(app: &App, row: &Item, saga: &Saga, why: Rejected) -> Failure {
    match why {
        Rejected::RepairSettled | Rejected::NoSuchItem | Rejected::Ended => {
            let newer = newer(saga, row);
            match find(app, row.item).await {
                Ok(row) => settled(row.item, view::settled(&row), newer),
                Err(failure) => failure,
            }
        }
        Rejected::RepairRetrying { by } => {
            let detail = format!("item {} is being tried again for {by}; wait for that to end", row.item);
            Problem::new(Slug::RepairRetrying, detail).with("by", &by).into()
        }
        why => sagas::rejected(why, saga),
    }
}

/// The item that stands for a row's step now, where it is another one.
fn newer(saga: &Saga, row: &Item) -> Option<Uuid> {
    let of_step = saga.items().find(|(ix, op, _)| {
        *op == row.op && row.step.as_deref().is_some_and(|step| saga.step_name(*ix).as_str() == step)
    });
    of_step.map(|(_, _, repair)| repair.item).filter(|item| *item != row.item)
}

/// The answer about an item that is settled: by whom, how and when, and what has followed it.
pub(super) fn settled(item: Uuid, settled: Option<SettledView>, newer: Option<Uuid>) -> Failure {
    let Some(settled) = settled else {
        return problem(Slug::RepairSettled, format!("item {item} takes no verb any more"));
    };
    let SettledView { at, by, how } = &settled;
    let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let mut detail = format!("item {item} was settled{by} at {}: {}", Time(at.0), in_words(*how));
    if let Some(newer) = newer {
        detail.push_str(&format!("; item {newer} stands for the step now"));
    }
    Problem::new(Slug::RepairSettled, detail).with("settled", &settled).with("newer", newer).into()
}

fn in_words(how: How) -> &'static str {
    match how {
        How::Retried => "a retry took effect",
        How::ParkedAgain => "it was tried again and failed again",
        How::Resolved => "it was made good by hand",
        How::Proven => "the participant says that it is undone",
        How::Skipped => "it stays undone",
        How::Abandoned => "the saga was given up",
    }
}
