//! Items as callers see them.
//!
//! An unsettled item is shown from its saga as it is now, a settled one as its saga was when the item was
//! settled, which the journal keeps for ever. Where a saga cannot be read, its item is shown by its row
//! alone: nothing stuck is invisible.

use super::{App, anomaly::AnomalyText, find, unavailable};
use crate::{
    api::sagas,
    http::{Failure, problem},
};
use amends_saga::{Name, ParkReason, Saga, SagaId, StepName, repair::RepairStatus};
use amends_store::repairs::Item;
use amends_wire::{
    api::{
        RepairKind, RepairReason, RepairView, SettledView,
        repair::{itself, proposed},
    },
    problem::Slug,
};
use futures::{StreamExt, stream};
use std::{collections::BTreeMap, sync::Arc};

/// Sagas read at a time for one page.
const AT_ONCE: usize = 16;

/// Shows one item.
pub(crate) async fn one(app: &App, row: Item) -> Result<RepairView, Failure> {
    let saga = match row.saga {
        Some(id) if row.anomaly.is_none() => look(app, id).await?,
        Some(_) | None => None,
    };
    show(app, row, saga.as_deref()).await
}

/// Shows a page of items, each saga read once.
pub(crate) async fn all(app: &App, rows: Vec<Item>) -> Result<Vec<RepairView>, Failure> {
    let mut ids: Vec<SagaId> =
        rows.iter().filter(|row| row.anomaly.is_none()).filter_map(|row| row.saga).collect();
    ids.sort_unstable();
    ids.dedup();
    let found = stream::iter(ids).map(|id| async move { (id, look(app, id).await) });
    let found: Vec<_> = found.buffer_unordered(AT_ONCE).collect().await;
    let mut sagas = BTreeMap::new();
    for (id, saga) in found {
        sagas.insert(id, saga?);
    }
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let saga = row.saga.and_then(|id| sagas.get(&id)?.clone());
        items.push(show(app, row, saga.as_deref()).await?);
    }
    Ok(items)
}

/// A saga's durable state; `None` where it cannot be read, which is logged where it is met.
async fn look(app: &App, id: SagaId) -> Result<Option<Arc<Saga>>, Failure> {
    match sagas::find(app, id).await {
        Ok(saga) => Ok(Some(saga)),
        Err(Failure(problem)) if matches!(problem.slug, Slug::NotFound | Slug::Internal) => {
            tracing::error!(saga.id = %id, problem = %problem, "an item's saga cannot be read");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

async fn show(app: &App, row: Item, saga: Option<&Saga>) -> Result<RepairView, Failure> {
    let Some(saga) = saga else { return by_row(&row) };
    if let Some((ix, op, _)) = saga.find_item(row.item)
        && let Some(view) = RepairView::of(saga, ix, op)
    {
        return Ok(view);
    }
    // Another item has followed it; the row that was read may be older than that.
    let row = match row.status {
        RepairStatus::Settled => row,
        RepairStatus::Open | RepairStatus::Assigned | RepairStatus::Retrying => find(app, row.item).await?,
    };
    as_it_was(app, &row, saga).await
}

/// Shows an item that another one has followed, from the journal up to its last event.
async fn as_it_was(app: &App, row: &Item, saga: &Saga) -> Result<RepairView, Failure> {
    let events = usize::try_from(row.seq).unwrap_or(usize::MAX);
    let records = app.store.journal(saga.id, 0, events).await.map_err(unavailable)?;
    if records.len() != events || records.is_empty() {
        return by_row(row);
    }
    let then = Saga::replay(saga.id, saga.definition.clone(), &records);
    let view = then.find_item(row.item).and_then(|(ix, op, _)| RepairView::of(&then, ix, op));
    match view {
        Some(view) => Ok(RepairView {
            status: row.status,
            settled: settled(row),
            holds: Vec::new(),
            proposed: None,
            ..view
        }),
        None => by_row(row),
    }
}

/// Shows what an item's row knows of it: all there is of an anomaly, less of a stuck step.
fn by_row(row: &Item) -> Result<RepairView, Failure> {
    let anomaly = row.anomaly.as_deref().map(AnomalyText::read).transpose()?;
    let (finding, notes) = anomaly.map_or((None, Vec::new()), |text| {
        let notes = text.note_views();
        (Some(text.finding()), notes)
    });
    let reason = row.reason.map_or(RepairReason::Anomaly, RepairReason::from);
    let operation = row.operation.as_ref().filter(|operation| !operation.is_empty());
    Ok(RepairView {
        id: row.item,
        kind: if row.anomaly.is_some() { RepairKind::Anomaly } else { RepairKind::Step },
        saga: row.saga,
        definition: row.definition.as_deref().map(name).transpose()?,
        step: row.step.as_deref().map(step_name).transpose()?,
        op: row.op,
        participant: if row.participant.is_empty() { itself() } else { name(&row.participant)? },
        operation: operation.map(|operation| format!("{}.{operation}", row.participant)),
        status: row.status,
        reason,
        opened_at: row.opened_at.into(),
        first_opened_at: row.first_opened_at.into(),
        attempts: 0,
        errors: Vec::new(),
        payload: None,
        holds: Vec::new(),
        assignee: row.assignee.clone(),
        notes,
        previous: None,
        settled: settled(row),
        proposed: proposed(row.item, row.status, reason, row.number),
        finding,
    })
}

/// How a row says that its item was settled.
pub(super) fn settled(row: &Item) -> Option<SettledView> {
    let how = row.settled_how?;
    Some(SettledView { at: row.updated_at.into(), by: row.settled_by.clone(), how })
}

fn name(text: &str) -> Result<Name, Failure> {
    Name::parse(text).map_err(|error| problem(Slug::Internal, format!("an item's row holds {error}")))
}

fn step_name(text: &str) -> Result<StepName, Failure> {
    StepName::parse(text).map_err(|error| problem(Slug::Internal, format!("an item's row holds {error}")))
}

/// A reason as a stuck step has it.
pub(super) fn park_reason(reason: RepairReason) -> Option<ParkReason> {
    match reason {
        RepairReason::Exhausted => Some(ParkReason::Exhausted),
        RepairReason::Refused => Some(ParkReason::Refused),
        RepairReason::Contract => Some(ParkReason::Contract),
        RepairReason::Anomaly => None,
    }
}
