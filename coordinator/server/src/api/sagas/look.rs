//! Looking at sagas: wherever they are, as they stand now or at their end, with the items of their children.

use super::unavailable;
use crate::{
    api::App,
    handle::End,
    http::{Failure, json, problem},
};
use amends_saga::{Saga, SagaId};
use amends_store::Stored;
use amends_wire::{
    api::{RepairView, SagaView, saga::children_in_repair},
    problem::Slug,
};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Between two looks at a saga that is not held here.
pub(super) const ELSEWHERE: Duration = Duration::from_millis(200);

/// Children looked at for one answer, at most: as many as one step can have items.
const CHILDREN_MAX: usize = 1000;

/// Answers with a saga, waiting for its end when asked to.
pub(super) async fn answer(
    app: &App,
    id: SagaId,
    end: Option<End>,
    wait: Option<Duration>,
    status: StatusCode,
) -> Result<Response, Failure> {
    let (saga, status) = match wait {
        None => (find(app, id).await?, status),
        Some(wait) => {
            let saga = await_end(app, id, end, wait).await?;
            let status = if saga.is_terminal() { status } else { StatusCode::ACCEPTED };
            (saga, status)
        }
    };
    let mut response = json(status, &whole(app, &saga).await?);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/sagas/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A saga with its steps, and with the items of its children.
pub(super) async fn whole(app: &App, saga: &Saga) -> Result<SagaView, Failure> {
    let (mut view, mut left) = (SagaView::of(saga), CHILDREN_MAX);
    view.repairs.extend(of_children(app, saga, &mut left).await?);
    Ok(view)
}

/// A page of sagas, with the items of their children.
pub(super) async fn page(app: &App, found: Vec<Stored>) -> Result<Vec<SagaView>, Failure> {
    learn_definitions(app, &found).await?;
    let mut left = CHILDREN_MAX;
    let mut views = Vec::with_capacity(found.len());
    for stored in found {
        let saga = replay(app, stored)?;
        let mut view = SagaView::brief(&saga);
        view.repairs.extend(of_children(app, &saga, &mut left).await?);
        views.push(view);
    }
    Ok(views)
}

/// The items for which the children of a saga, and theirs, stand in repair; no more than `left` sagas are read.
async fn of_children(app: &App, saga: &Saga, left: &mut usize) -> Result<Vec<RepairView>, Failure> {
    let mut items = Vec::new();
    let mut children = children_in_repair(saga);
    while let Some(id) = children.pop() {
        if *left == 0 {
            break;
        }
        *left -= 1;
        match find(app, id).await {
            Ok(child) => {
                items.extend(RepairView::all(&child));
                children.extend(children_in_repair(&child));
            }
            Err(Failure(problem)) if matches!(problem.slug, Slug::NotFound | Slug::Internal) => {
                tracing::error!(saga.id = %saga.id, child = %id, problem = %problem, "a child saga cannot be read");
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(items)
}

/// Waits for a saga's end wherever it runs, and says how it stands when the time is up.
async fn await_end(
    app: &App,
    id: SagaId,
    mut end: Option<End>,
    wait: Duration,
) -> Result<Arc<Saga>, Failure> {
    let until = Instant::now() + wait;
    loop {
        if end.is_none() {
            end = app.handle.get(id, true).await.ok().and_then(|(_, end)| end);
        }
        if let Some(end) = end.take()
            && let Ok(Ok(saga)) = tokio::time::timeout_at(until, end).await
        {
            return Ok(saga);
        }
        let saga = find(app, id).await?;
        if saga.is_terminal() || app.is_stopping() || Instant::now() >= until {
            return Ok(saga);
        }
        // It is not held here: another coordinator drives it, or its last write is in doubt.
        tokio::time::sleep_until(until.min(Instant::now() + ELSEWHERE)).await;
    }
}

/// A saga's durable state, from memory where it is live and from its journal where it is not.
pub(crate) async fn find(app: &App, id: SagaId) -> Result<Arc<Saga>, Failure> {
    // Without an answer of the run loop, as while stopping, the store has the same truth.
    if let Ok((Some(saga), _)) = app.handle.get(id, false).await {
        return Ok(saga);
    }
    match app.store.load(id).await.map_err(unavailable)? {
        Some(stored) => {
            learn_definitions(app, std::slice::from_ref(&stored)).await?;
            replay(app, stored)
        }
        None => Err(problem(Slug::NotFound, format!("there is no saga {id}"))),
    }
}

/// Makes the definitions of these sagas known, where another coordinator was given them.
async fn learn_definitions(app: &App, found: &[Stored]) -> Result<(), Failure> {
    match found.iter().all(|stored| app.registry.knows(&stored.head.hash)) {
        true => Ok(()),
        false => app.registry.refresh(app.store.as_ref()).await.map_err(unavailable),
    }
}

fn replay(app: &App, stored: Stored) -> Result<Arc<Saga>, Failure> {
    let definition = app.registry.definition_by_hash(&stored.head.hash).ok_or_else(|| {
        problem(Slug::Internal, format!("the definition of saga {} is missing from the store", stored.id))
    })?;
    Ok(Arc::new(Saga::replay(stored.id, definition, &stored.records)))
}

/// A saga's id as it stands in an address.
pub(super) fn parse_id(text: &str) -> Result<SagaId, Failure> {
    SagaId::try_parse(text).map_err(|_| {
        let shown: String = text.chars().take(60).collect();
        problem(Slug::NotFound, format!("\"{}\" is not a saga's id", shown.escape_debug()))
    })
}
