//! Refunds and shipments: all or some of what an order has taken and paid for, in as many parts as it likes.
//!
//! A part is allotted to the order's holds, oldest first, before anything changes; what cannot be allotted whole is
//! refused whole. So all refunds and shipments together never exceed what was taken, and what has shipped is out of reach
//! of every later refund.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Flow, FlowOp, Ledger, Stop, Tracked, moved};
use crate::balance::Delta;
use crate::cart::{Line, OrderNo, Part};
use crate::hold::{Cause, Hold};
use crate::outcome::{Done, Moved, Refusal, Shortage, bodies};

/// What a business number is for. The numbers are those of the column `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i64)]
pub enum Paper {
    /// A refund.
    Refund = 1,
    /// A shipment.
    Shipment = 2,
    /// An adjustment.
    Adjustment = 3,
}

/// What took effect under a business number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// What the number is for.
    pub paper: Paper,
    /// The number.
    pub number: OrderNo,
    /// The order it is about, or an empty text.
    pub order: Arc<str>,
    /// The same for the same request.
    pub fingerprint: String,
    /// What was moved, as JSON.
    pub answer: Arc<str>,
}

/// The numbers that took effect, those of this batch among them.
pub(super) type Numbers = BTreeMap<(Paper, OrderNo), (Noted, bool)>;

/// How many of each hold, by its place among the order's.
type Allotted = Vec<(usize, i64)>;

impl Ledger {
    /// Loads what took effect under a number.
    pub fn load_number(&mut self, noted: Noted) {
        self.numbers.insert((noted.paper, noted.number.clone()), (noted, false));
    }

    /// Gives back part of what is confirmed.
    pub(super) fn refund(&mut self, part: &Part, cause: &Arc<Cause>) -> Result<Done, Stop> {
        if let Some(done) = self.numbered(Paper::Refund, part)? {
            return Ok(done);
        }
        let allotted = self.allot(part)?;
        let freed = self.move_part(part, &allotted, FlowOp::Refund, cause)?;
        self.note(Paper::Refund, part, &freed);
        Ok(Done::Undone { order: part.order.clone(), freed, held: Vec::new() })
    }

    /// Sends out all or part of what is confirmed.
    pub(super) fn ship(&mut self, part: &Part, cause: &Arc<Cause>) -> Result<Done, Stop> {
        if let Some(done) = self.numbered(Paper::Shipment, part)? {
            return Ok(done);
        }
        self.check_ship(&part.order)?;
        let allotted = if part.lines.is_empty() {
            let holds = self.holds(&part.order).iter().enumerate();
            let confirmed = holds.filter(|(_, tracked)| tracked.hold.is_confirmed());
            confirmed.map(|(place, tracked)| (place, tracked.hold.open())).collect()
        } else {
            self.allot(part)?
        };
        let lines = self.move_part(part, &allotted, FlowOp::Ship, cause)?;
        self.note(Paper::Shipment, part, &lines);
        Ok(Done::Shipped { order: part.order.clone(), lines })
    }

    /// The answer, if the part took effect under its number before.
    fn numbered(&self, paper: Paper, part: &Part) -> Result<Option<Done>, Refusal> {
        let Some(number) = part.number.clone() else { return Ok(None) };
        let order = part.order.clone();
        match self.numbers.get(&(paper, number.clone())) {
            None => Ok(None),
            Some((noted, _)) if noted.fingerprint == part.fingerprint() => {
                Ok(Some(Done::Again { order, number, earlier: Arc::clone(&noted.answer) }))
            }
            Some(_) => Err(Refusal::NumberTaken { order, number }),
        }
    }

    fn note(&mut self, paper: Paper, part: &Part, lines: &[Moved]) {
        let Some(number) = part.number.clone() else { return };
        let noted = Noted {
            paper,
            number: number.clone(),
            order: part.order.shared(),
            fingerprint: part.fingerprint(),
            answer: bodies(lines).to_string().into(),
        };
        self.numbers.insert((paper, number), (noted, true));
    }

    /// Which holds give how many; nothing is changed.
    fn allot(&self, part: &Part) -> Result<Allotted, Refusal> {
        let holds = self.holds(&part.order);
        if holds.is_empty() {
            return Err(Refusal::Unknown { order: part.order.clone() });
        }
        let mut open: Vec<i64> = holds.iter().map(|tracked| refundable(&tracked.hold)).collect();
        let (mut allotted, mut short) = (Allotted::new(), Vec::new());
        // From the back: lines that name a place come before one that takes from wherever the order's SKU lies.
        for line in part.lines.iter().rev() {
            let mut left = line.qty;
            for (place, tracked) in holds.iter().enumerate().filter(|(_, held)| self.fits(held, line)) {
                let given = open[place].min(left);
                if given > 0 {
                    (open[place], left) = (open[place] - given, left - given);
                    allotted.push((place, given));
                }
                debug_assert!(tracked.hold.open() >= open[place]);
            }
            if left > 0 {
                let available = Some(line.qty - left);
                short.push(Shortage { record: line.record.clone(), wanted: line.qty, available });
            }
        }
        if short.is_empty() {
            return Ok(allotted_once(allotted));
        }
        short.reverse();
        Err(Refusal::Exceeds { order: part.order.clone(), lines: short })
    }

    /// Whether a line can be met from a hold: one that names a place only from that record.
    fn fits(&self, held: &Tracked, line: &Line) -> bool {
        let at_place = || {
            let record = self.records.get(&line.record);
            record.is_some_and(|record| record.stock_id == held.hold.bucket.stock_id)
        };
        held.hold.sku == line.sku() && (line.record.place().is_none() || at_place())
    }

    fn move_part(
        &mut self,
        part: &Part,
        allotted: &[(usize, i64)],
        op: FlowOp,
        cause: &Arc<Cause>,
    ) -> Result<Vec<Moved>, Stop> {
        let Some(mut holds) = self.orders.remove(&part.order) else { return Ok(Vec::new()) };
        let mut lines = Vec::with_capacity(allotted.len());
        for (place, qty) in allotted {
            let tracked = &mut holds[*place];
            tracked.touch();
            let (gone, delta) = match op {
                FlowOp::Ship => (tracked.hold.send_out(*qty), Delta::ship(*qty)),
                _ => (tracked.hold.give_back(*qty), Delta::free(*qty)),
            };
            assert!(gone == *qty, "a part is allotted before it is moved");
            self.shift(tracked.hold.bucket, tracked.hold.sku, delta)?;
            self.flows.push(Flow::of(&tracked.hold, op, *qty, delta, cause));
            lines.push(moved(&tracked.hold, *qty));
        }
        self.orders.insert(part.order.clone(), holds);
        Ok(lines)
    }
}

/// How many of a hold can be given back or sent out.
fn refundable(hold: &Hold) -> i64 {
    if hold.is_confirmed() { hold.open() } else { 0 }
}

/// Each hold once, oldest first, since one step changes a line once in one way.
fn allotted_once(allotted: Allotted) -> Allotted {
    let mut once: BTreeMap<usize, i64> = BTreeMap::new();
    for (place, qty) in allotted {
        *once.entry(place).or_default() += qty;
    }
    once.into_iter().collect()
}
