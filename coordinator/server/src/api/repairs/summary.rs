//! The queue in numbers.

use super::{App, unavailable};
use crate::{
    api::query::Query,
    clock::now,
    http::{Failure, json},
};
use amends_saga::Timestamp;
use amends_store::repairs::Pile;
use amends_wire::api::{AgeView, PileView, RepairKind, SummaryView};
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use http::StatusCode;

/// The bounds of the ranges of ages, in seconds: when the monitor warns, when it pages, a day.
const AGES_S: [u64; 3] = [15 * 60, 60 * 60, 24 * 60 * 60];

/// `GET /v1/repairs/summary`
pub(crate) async fn summary(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    Query::read(query.as_deref(), &[], &[])?;
    let piles = app.store.piles(now(), &AGES_S.map(|s| s * 1000)).await.map_err(unavailable)?;
    Ok(json(StatusCode::OK, &of(piles)))
}

fn of(piles: Vec<Pile>) -> SummaryView {
    let [open, assigned, retrying] = [0, 1, 2].map(|i| piles.iter().map(|pile| pile.counts[i]).sum());
    let oldest = piles.iter().map(|pile| pile.oldest).min();
    let bounds = AGES_S.iter().map(|s| Some(*s)).chain([None]);
    let ages = bounds.enumerate().map(|(i, under_s)| AgeView {
        under_s,
        items: piles.iter().filter_map(|pile| pile.ages.get(i)).sum(),
    });
    let ages = ages.collect();
    let mut by: Vec<PileView> = piles.into_iter().map(pile).collect();
    by.sort_by_key(|pile| std::cmp::Reverse(pile.items));
    let oldest_opened_at = oldest.map(|at: Timestamp| at.into());
    SummaryView { open, assigned, retrying, oldest_opened_at, by, ages }
}

fn pile(pile: Pile) -> PileView {
    PileView {
        kind: if pile.is_anomaly { RepairKind::Anomaly } else { RepairKind::Step },
        participant: pile.participant,
        definition: pile.definition,
        step: pile.step,
        items: pile.counts.iter().sum(),
        oldest_opened_at: pile.oldest.into(),
    }
}
