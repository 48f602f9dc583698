//! Decides carts against balances in memory, each of them all or nothing.
//!
//! A [`Ledger`] is loaded with every record, bucket and hold that a batch of calls can touch. [`Ledger::decide`]
//! takes the calls in the order of their arrival: it either changes what is in memory, and notes the change, or
//! refuses and changes nothing. [`Ledger::into_changes`] then hands over what has to be written, in one transaction.
//! A batch decided this way leaves exactly what the same calls leave one by one.
//!
//! Pure: no clock, no database, no randomness. The times and the next hold number are arguments.
//!
//! What each call does to the holds of its order:
//!
//! | call | as an action | as a compensation |
//! |---|---|---|
//! | hold, deduct | every line or none; refused while another saga holds the order | the same |
//! | confirm | what is held is confirmed; refused if nothing is | the same |
//! | release | frees what is held; refused if the order is confirmed, unless that is to be left | undoes the step's own work |
//! | restore | frees what is confirmed | undoes the step's own work |
//! | refund | frees some of what is confirmed, every line or none, once under its number | the same |
//! | ship | all or some of what is confirmed leaves the house and never comes back, once under its number | the same |
//!
//! *Undoing the step's own work*: what the step made (a hold or a deduction) is freed; what it only confirmed is held
//! again, so that the step that made the hold can free it in its turn. In whatever order the two arrive, and however
//! often, every unit is given back exactly once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::balance::{Balance, Delta};
use crate::cart::{Cart, OrderNo, Part, Sku};
use crate::hold::{BucketKey, Cause, Hold, Standing};
use crate::outcome::{Done, Moved, Refusal};
use crate::record::RecordKey;
use crate::route::Mode;

mod change;
mod check;
mod goods;
mod part;
mod share;

pub use change::{Changes, Counters, Flow, FlowOp};
pub use goods::{Entry, Unfit};
pub use part::{Noted, Paper};
pub use share::Share;
pub(crate) use share::wanted;

#[cfg(test)]
pub(crate) mod tests;

/// The most lines an order may use over all its holds, so that what is loaded for one order stays bounded.
pub const ORDER_LINES_MAX: i64 = 10_000;

/// What a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Set a cart aside until it is paid.
    Hold(Cart),
    /// Take a cart that is paid for.
    Deduct(Cart),
    /// What is held is paid for.
    Confirm(OrderNo),
    /// Free what is held; refused where something is confirmed.
    Release(OrderNo),
    /// Free what is held, and leave what is confirmed to the step that confirmed it.
    ReleaseHeld(OrderNo),
    /// Free what is confirmed.
    Restore(OrderNo),
    /// Free some of what is confirmed.
    Refund(Part),
    /// Send out all or some of what is confirmed.
    Ship(Part),
    /// Undo what the same step did; the flow is named after the operation that was called.
    Undo(OrderNo, Back),
}

/// The operation under which stock comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// `release`.
    Release,
    /// `restore`.
    Restore,
}

/// A record as it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub stock_id: i64,
    /// The epoch of its route.
    pub epoch: i64,
    /// Its route.
    pub mode: Mode,
}

/// The books contradict themselves: a bucket cannot give what its holds say it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the books of sku {sku} contradict themselves: {delta:?} does not fit {balance:?} of {bucket:?}; run the audit"
)]
pub struct Broken {
    sku: Sku,
    bucket: BucketKey,
    balance: Balance,
    delta: Delta,
}

/// Why a call was not performed.
enum Stop {
    Refused(Refusal),
    Broken(Broken),
}

/// The balances and holds of one batch.
#[derive(Debug, Default)]
pub struct Ledger {
    now: i64,
    hold_for: i64,
    next_hold: i64,
    records: BTreeMap<RecordKey, Record>,
    /// Whether there are records of which something is kept back.
    keeps_back: bool,
    /// How many of a record nobody may take, where there is something kept back.
    kept_back: BTreeMap<i64, i64>,
    buckets: BTreeMap<BucketKey, Bucket>,
    orders: BTreeMap<OrderNo, Vec<Tracked>>,
    flows: Vec<Flow>,
    numbers: part::Numbers,
    shares: share::Shares,
}

#[derive(Debug)]
struct Bucket {
    sku: Sku,
    balance: Balance,
    version: i64,
    moved: Delta,
}

#[derive(Debug)]
struct Tracked {
    hold: Hold,
    mark: Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Loaded,
    Changed,
    Made,
}

impl Ledger {
    /// Opens an empty ledger at a time, in unix milliseconds; holds last `hold_for` milliseconds, and the first one
    /// made gets the number `next_hold`.
    pub fn new(now: i64, hold_for: i64, next_hold: i64) -> Ledger {
        Ledger { now, hold_for, next_hold, ..Ledger::default() }
    }

    /// Loads a record.
    pub fn load_record(&mut self, key: RecordKey, record: Record) {
        self.records.insert(key, record);
    }

    /// The records that were loaded and are taken by another route than the merged one.
    pub fn elsewhere(&self) -> impl Iterator<Item = (&RecordKey, Record)> {
        self.records
            .iter()
            .filter(|(_, record)| record.mode != Mode::Merged)
            .map(|(key, record)| (key, *record))
    }

    /// The numbers of the records that were loaded.
    pub fn loaded(&self) -> impl Iterator<Item = i64> {
        self.records.values().map(|record| record.stock_id)
    }

    /// Notes that there are records of which something is kept back, these or others.
    pub(crate) fn expect_kept_back(&mut self) {
        self.keeps_back = true;
    }

    /// Whether something may be kept back of what was loaded.
    pub(crate) fn keeps_back(&self) -> bool {
        self.keeps_back
    }

    /// Keeps so many of a record back: they are usable, and are not taken.
    pub fn keep_back(&mut self, stock_id: i64, qty: i64) {
        self.kept_back.insert(stock_id, qty);
    }

    /// Loads a bucket, which was written so many times.
    pub fn load_bucket(&mut self, key: BucketKey, sku: Sku, balance: Balance, version: i64) {
        self.buckets.insert(key, Bucket { sku, balance, version, moved: Delta::NONE });
    }

    /// Loads a hold; its bucket must be loaded as well.
    pub fn load_hold(&mut self, hold: Hold) {
        self.orders.entry(hold.order.clone()).or_default().push(Tracked { hold, mark: Mark::Loaded });
    }

    /// Decides one call.
    ///
    /// # Errors
    /// [`Broken`] when the loaded books contradict themselves; the ledger must then be thrown away.
    pub fn decide(&mut self, deed: &Deed, cause: &Arc<Cause>) -> Result<Result<Done, Refusal>, Broken> {
        match self.perform(deed, cause) {
            Ok(done) => Ok(Ok(done)),
            Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
            Err(Stop::Broken(broken)) => Err(broken),
        }
    }

    fn perform(&mut self, deed: &Deed, cause: &Arc<Cause>) -> Result<Done, Stop> {
        match deed {
            Deed::Hold(cart) => {
                let records = self.check_take(cart, cause)?;
                let until = self.hold_until();
                let standing = Standing::Held { expires_at: until };
                let lines = self.take(cart, &records, FlowOp::Hold, &standing, cause)?;
                Ok(Done::Held { order: cart.order().clone(), until, lines })
            }
            Deed::Deduct(cart) => {
                let records = self.check_take(cart, cause)?;
                let standing = Standing::Confirmed { by: Arc::clone(cause) };
                let lines = self.take(cart, &records, FlowOp::Deduct, &standing, cause)?;
                Ok(Done::Deducted { order: cart.order().clone(), lines })
            }
            Deed::Confirm(order) => {
                self.check_confirm(order)?;
                Ok(self.confirm(order, cause))
            }
            Deed::Release(order) => {
                self.check_release(order)?;
                self.release(order, cause)
            }
            Deed::ReleaseHeld(order) => self.release(order, cause),
            Deed::Restore(order) => {
                self.check_restore(order)?;
                let freed = self.free(order, Back::Restore, cause, Hold::is_confirmed)?;
                Ok(Done::Undone { order: order.clone(), freed, held: Vec::new() })
            }
            Deed::Refund(part) => self.refund(part, cause),
            Deed::Ship(part) => self.ship(part, cause),
            Deed::Undo(order, back) => {
                self.check_undo(order, cause)?;
                // What the step made is freed; what it only confirmed is held again.
                let freed =
                    self.free(order, *back, cause, |hold| hold.open() > 0 && hold.made_by == *cause)?;
                let held = self.reinstate(order, cause);
                Ok(Done::Undone { order: order.clone(), freed, held })
            }
        }
    }

    /// Hands over what has to be written.
    pub fn into_changes(self) -> Changes {
        let moved = self.buckets.into_iter().filter(|(_, bucket)| bucket.moved != Delta::NONE);
        let mut changes = Changes {
            buckets: moved
                .map(|(key, Bucket { balance, version, .. })| Counters { key, balance, version })
                .collect(),
            flows: self.flows,
            numbers: self.numbers.into_values().filter_map(|(noted, new)| new.then_some(noted)).collect(),
            ..Changes::default()
        };
        for Tracked { hold, mark } in self.orders.into_values().flatten() {
            match mark {
                Mark::Loaded => {}
                Mark::Changed => changes.changed.push(hold),
                Mark::Made => changes.made.push(hold),
            }
        }
        changes.made.sort_by_key(|hold| hold.id);
        changes
    }

    /// Whether an order has anything set aside that has neither come back nor left.
    pub(crate) fn has_open(&self, order: &OrderNo) -> bool {
        self.holds(order).iter().any(|tracked| tracked.hold.open() > 0)
    }

    /// When what is held now should be paid, in unix milliseconds.
    pub(crate) fn hold_until(&self) -> i64 {
        self.now + self.hold_for
    }

    /// Takes every line of a checked cart from its record.
    pub(crate) fn take(
        &mut self,
        cart: &Cart,
        records: &[Record],
        op: FlowOp,
        standing: &Standing,
        cause: &Arc<Cause>,
    ) -> Result<Vec<Moved>, Broken> {
        let first_line = check::last_line(self.holds(cart.order())) + 1;
        let mut lines = Vec::with_capacity(cart.lines().len());
        for (line_no, (line, record)) in (first_line..).zip(cart.lines().iter().zip(records)) {
            let delta = Delta::take(line.qty);
            self.shift(first(*record), line.sku(), delta)?;
            self.use_share(line, cause);
            let hold = Hold {
                id: self.next_hold,
                order: cart.order().clone(),
                line_no,
                sku: line.sku(),
                bucket: first(*record),
                epoch: record.epoch,
                qty: line.qty,
                released: 0,
                shipped: 0,
                standing: standing.clone(),
                made_by: Arc::clone(cause),
                created_at: self.now,
            };
            self.next_hold += 1;
            self.flows.push(Flow::of(&hold, op, line.qty, delta, cause));
            lines.push(moved(&hold, line.qty));
            self.orders.entry(hold.order.clone()).or_default().push(Tracked { hold, mark: Mark::Made });
        }
        Ok(lines)
    }

    fn release(&mut self, order: &OrderNo, cause: &Arc<Cause>) -> Result<Done, Stop> {
        let freed = self.free(order, Back::Release, cause, Hold::is_held)?;
        Ok(Done::Undone { order: order.clone(), freed, held: Vec::new() })
    }

    fn confirm(&mut self, order: &OrderNo, cause: &Arc<Cause>) -> Done {
        let mut lines = Vec::new();
        for tracked in
            self.orders.get_mut(order).into_iter().flatten().filter(|tracked| tracked.hold.is_held())
        {
            tracked.touch();
            tracked.hold.standing = Standing::Confirmed { by: Arc::clone(cause) };
            let open = tracked.hold.open();
            self.flows.push(Flow::of(&tracked.hold, FlowOp::Confirm, open, Delta::NONE, cause));
            lines.push(moved(&tracked.hold, open));
        }
        Done::Confirmed { order: order.clone(), lines }
    }

    /// Frees every hold of the order that `which` picks.
    fn free(
        &mut self,
        order: &OrderNo,
        back: Back,
        cause: &Arc<Cause>,
        which: impl Fn(&Hold) -> bool,
    ) -> Result<Vec<Moved>, Broken> {
        let mut freed = Vec::new();
        let Some(mut holds) = self.orders.remove(order) else { return Ok(freed) };
        for tracked in holds.iter_mut().filter(|tracked| which(&tracked.hold)) {
            tracked.touch();
            let open = tracked.hold.give_back(i64::MAX);
            let delta = Delta::free(open);
            self.shift(tracked.hold.bucket, tracked.hold.sku, delta)?;
            self.flows.push(Flow::of(&tracked.hold, back.flow(), open, delta, cause));
            freed.push(moved(&tracked.hold, open));
        }
        self.orders.insert(order.clone(), holds);
        Ok(freed)
    }

    /// Holds again what the step confirmed.
    fn reinstate(&mut self, order: &OrderNo, cause: &Arc<Cause>) -> Vec<Moved> {
        let mut held = Vec::new();
        for tracked in self.orders.get_mut(order).into_iter().flatten() {
            if tracked.hold.is_confirmed() && tracked.hold.confirmed_by() == Some(cause) {
                tracked.touch();
                tracked.hold.standing = Standing::Held { expires_at: self.now + self.hold_for };
                let open = tracked.hold.open();
                self.flows.push(Flow::of(&tracked.hold, FlowOp::Reinstate, open, Delta::NONE, cause));
                held.push(moved(&tracked.hold, open));
            }
        }
        held
    }

    fn shift(&mut self, key: BucketKey, sku: Sku, delta: Delta) -> Result<(), Broken> {
        let broken = |balance| Broken { sku, bucket: key, balance, delta };
        let Some(bucket) = self.buckets.get_mut(&key) else { return Err(broken(Balance::default())) };
        debug_assert_eq!(bucket.sku, sku, "a bucket belongs to one sku");
        bucket.balance = bucket.balance.moved(delta).ok_or_else(|| broken(bucket.balance))?;
        bucket.moved += delta;
        Ok(())
    }

    fn holds(&self, order: &OrderNo) -> &[Tracked] {
        self.orders.get(order).map_or(&[], Vec::as_slice)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Stop {
        Stop::Broken(broken)
    }
}

impl Back {
    fn flow(self) -> FlowOp {
        match self {
            Back::Release => FlowOp::Release,
            Back::Restore => FlowOp::Restore,
        }
    }
}

impl Tracked {
    /// Notes that the hold stands differently now.
    fn touch(&mut self) {
        if self.mark == Mark::Loaded {
            self.mark = Mark::Changed;
        }
    }
}

/// The first bucket of a record, which always exists.
fn first(record: Record) -> BucketKey {
    BucketKey { stock_id: record.stock_id, bucket_no: 0 }
}

fn moved(hold: &Hold, qty: i64) -> Moved {
    Moved { sku: hold.sku, qty, hold: hold.id }
}
