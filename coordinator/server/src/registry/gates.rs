//! How the participants' gates stood a moment ago, for whoever shows or watches them.
//!
//! The gates themselves belong to the run loop, which says twice a second how they stand; nobody else asks it.

use amends_saga::{
    Name,
    gate::{BreakerState, GateView},
};
use amends_wire::api::{self, BreakerView};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

/// The gate of every participant called so far.
#[derive(Debug, Default)]
pub(crate) struct GateBoard(RwLock<Arc<BTreeMap<Name, GateView>>>);

impl GateBoard {
    /// Replaces what is known.
    pub(crate) fn publish(&self, views: Vec<GateView>) {
        let views = views.into_iter().map(|view| (view.participant.clone(), view)).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(views);
    }

    /// Every gate, by participant.
    pub(crate) fn all(&self) -> Arc<BTreeMap<Name, GateView>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nothing speaks against calling a participant; true of one that was never called.
    pub(crate) fn is_closed(&self, participant: &Name) -> bool {
        self.all().get(participant).is_none_or(|view| view.breaker == BreakerState::Closed)
    }

    /// A participant's breaker as the API shows it.
    pub(crate) fn breaker(&self, participant: &Name) -> BreakerView {
        let all = self.all();
        let Some(view) = all.get(participant) else {
            return BreakerView { state: api::BreakerState::Closed, until: None };
        };
        let state = match view.breaker {
            BreakerState::Closed => api::BreakerState::Closed,
            BreakerState::HalfOpen => api::BreakerState::HalfOpen,
            BreakerState::Open => api::BreakerState::Open,
        };
        BreakerView { state, until: view.until.map(Into::into) }
    }
}
