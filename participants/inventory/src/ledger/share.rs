//! What a saga may take of an activity: the share that it took for its customer, less what it has taken already.
//!
//! A share that was not loaded is none, so that whoever forgets to load it sells nothing of an activity.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Ledger;
use crate::cart::{Cart, Line};
use crate::hold::Cause;
use crate::outcome::Refusal;

/// What a saga may take of an activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// How many it may still take.
    pub left: i64,
    /// Why nobody may take anything now, if so.
    pub closed: Option<String>,
}

/// The shares of the sagas of a batch, by saga and activity.
pub(super) type Shares = BTreeMap<(Uuid, i64), Share>;

/// How many a cart wants of which activity.
pub(crate) fn wanted(cart: &Cart) -> BTreeMap<i64, i64> {
    let mut wanted = BTreeMap::new();
    for (activity, qty) in cart.lines().iter().filter_map(|line| Some((activity(line)?, line.qty))) {
        *wanted.entry(activity).or_default() += qty;
    }
    wanted
}

fn activity(line: &Line) -> Option<i64> {
    line.record.place().map(|place| place.activity).filter(|activity| *activity > 0)
}

impl Ledger {
    /// Loads what a saga may take of an activity.
    pub fn load_share(&mut self, saga: Uuid, activity: i64, share: Share) {
        self.shares.insert((saga, activity), share);
    }

    /// Whether the saga may take what the cart wants of activities.
    pub(crate) fn check_shares(&self, cart: &Cart, cause: &Cause) -> Result<(), Refusal> {
        for (activity, wanted) in wanted(cart) {
            let share = self.shares.get(&(cause.saga, activity));
            if let Some(why) = share.and_then(|share| share.closed.clone()) {
                return Err(Refusal::NotOnSale { activity, why });
            }
            let left = share.map_or(0, |share| share.left.max(0));
            if left < wanted {
                return Err(Refusal::NoShare { activity, wanted, left });
            }
        }
        Ok(())
    }

    /// Takes a line off the saga's share.
    pub(super) fn use_share(&mut self, line: &Line, cause: &Cause) {
        let Some(activity) = activity(line) else { return };
        if let Some(share) = self.shares.get_mut(&(cause.saga, activity)) {
            share.left -= line.qty;
        }
    }
}
