//! Whether a call may go ahead. Nothing here changes anything.

use std::sync::Arc;

use uuid::Uuid;

use super::{Ledger, ORDER_LINES_MAX, Record, Tracked};
use crate::cart::{Cart, Line, OrderNo};
use crate::hold::{Cause, Hold, Standing};
use crate::outcome::{Refusal, Shortage};

impl Ledger {
    /// The record of every line, in their order, if the whole cart can be had.
    pub(super) fn check_take(&self, cart: &Cart, cause: &Cause) -> Result<Vec<Record>, Refusal> {
        self.check_order(cart, cause)?;
        self.check_shares(cart, cause)?;
        let (mut records, mut short) = (Vec::with_capacity(cart.lines().len()), Vec::new());
        for line in cart.lines() {
            match self.check_line(line) {
                Ok(record) => records.push(record),
                Err(shortage) => short.push(shortage),
            }
        }
        if short.is_empty() { Ok(records) } else { Err(Refusal::Short(short)) }
    }

    /// Whether the order may have more set aside, by this saga and in so many lines.
    pub(crate) fn check_order(&self, cart: &Cart, cause: &Cause) -> Result<(), Refusal> {
        let order = cart.order();
        let holds = self.holds(order);
        if let Some(other) =
            holds.iter().find(|held| held.hold.open() > 0 && held.hold.made_by.saga != cause.saga)
        {
            return Err(Refusal::AlreadyHeld { order: order.clone(), by: other.hold.made_by.saga });
        }
        if last_line(holds) + cart.lines().len() as i64 > ORDER_LINES_MAX {
            return Err(Refusal::LinesUsedUp { order: order.clone(), max: ORDER_LINES_MAX });
        }
        Ok(())
    }

    fn check_line(&self, line: &Line) -> Result<Record, Shortage> {
        let available = self.available(&line.record);
        match (self.records.get(&line.record), available) {
            (Some(record), Some(available)) if available >= line.qty => Ok(*record),
            _ => Err(Shortage { record: line.record.clone(), wanted: line.qty, available }),
        }
    }

    /// Whether something is held that can be confirmed.
    pub(super) fn check_confirm(&self, order: &OrderNo) -> Result<(), Refusal> {
        let holds = self.holds(order);
        if holds.iter().any(|tracked| tracked.hold.is_held()) {
            return Ok(());
        }
        let order = order.clone();
        match holds.iter().find_map(confirmer) {
            Some(by) => Err(Refusal::Confirmed { order, by, advice: "it is confirmed once" }),
            None if holds.is_empty() => Err(Refusal::Unknown { order }),
            None if holds.iter().any(|tracked| tracked.hold.shipped > 0) => Err(Refusal::Shipped { order }),
            None => Err(Refusal::GivenBack { order }),
        }
    }

    /// Whether nothing stands in the way of freeing what is held.
    pub(super) fn check_release(&self, order: &OrderNo) -> Result<(), Refusal> {
        match self.holds(order).iter().find_map(confirmer) {
            Some(by) => Err(Refusal::Confirmed { order: order.clone(), by, advice: "restore it instead" }),
            None => Ok(()),
        }
    }

    /// Whether something is, or was, confirmed that can be freed.
    pub(super) fn check_restore(&self, order: &OrderNo) -> Result<(), Refusal> {
        let holds = self.holds(order);
        let any = |what: fn(&Hold) -> bool| holds.iter().any(|tracked| what(&tracked.hold));
        if any(Hold::is_confirmed) {
            return Ok(());
        }
        let order = order.clone();
        match holds {
            [] => Err(Refusal::Unknown { order }),
            _ if any(Hold::is_held) => Err(Refusal::OnlyHeld { order }),
            _ if any(|hold| hold.shipped > 0) => Err(Refusal::Shipped { order }),
            _ => Ok(()),
        }
    }

    /// Whether something is confirmed that can leave the house.
    pub(super) fn check_ship(&self, order: &OrderNo) -> Result<(), Refusal> {
        let holds = self.holds(order);
        let any = |what: fn(&Hold) -> bool| holds.iter().any(|tracked| what(&tracked.hold));
        if any(Hold::is_confirmed) {
            return Ok(());
        }
        let order = order.clone();
        match holds {
            [] => Err(Refusal::Unknown { order }),
            _ if any(Hold::is_held) => Err(Refusal::OnlyHeld { order }),
            _ if any(|hold| hold.shipped > 0) => Err(Refusal::Shipped { order }),
            _ => Err(Refusal::GivenBack { order }),
        }
    }

    /// Whether the step has set something aside for the order, or confirmed it.
    pub(crate) fn has_work_of(&self, order: &OrderNo, cause: &Arc<Cause>) -> bool {
        self.holds(order).iter().any(|tracked| is_work_of(&tracked.hold, cause))
    }

    /// Whether the step did something to the order that can still be undone.
    pub(super) fn check_undo(&self, order: &OrderNo, cause: &Arc<Cause>) -> Result<(), Refusal> {
        let holds = self.holds(order);
        let mut mine = holds.iter().filter(|tracked| is_work_of(&tracked.hold, cause)).peekable();
        if mine.peek().is_none() {
            return Err(Refusal::NotMine { order: order.clone(), step: cause.step.clone() });
        }
        for Tracked { hold, .. } in mine {
            if hold.shipped > 0 {
                return Err(Refusal::Shipped { order: order.clone() });
            }
            let other = hold.confirmed_by().filter(|by| hold.is_confirmed() && by.saga != cause.saga);
            if let Some(by) = other {
                let advice = "undo that saga first";
                return Err(Refusal::Confirmed { order: order.clone(), by: by.saga, advice });
            }
        }
        Ok(())
    }
}

/// The last line that the order's holds have used.
pub(super) fn last_line(holds: &[Tracked]) -> i64 {
    holds.iter().map(|tracked| tracked.hold.line_no).max().unwrap_or(0)
}

/// The saga that has confirmed a hold which is still open.
fn confirmer(tracked: &Tracked) -> Option<Uuid> {
    match &tracked.hold.standing {
        Standing::Confirmed { by } => Some(by.saga),
        Standing::Held { .. } | Standing::Closed { .. } => None,
    }
}

fn is_work_of(hold: &Hold, cause: &Arc<Cause>) -> bool {
    hold.made_by == *cause || hold.confirmed_by() == Some(cause)
}
