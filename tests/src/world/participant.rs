//! Three participants as they should be: inventory, order and product, behind one barrier each.
//!
//! Whatever a call changes, and the barrier's row for it, change together. Every answer is kept with the
//! row, so each attempt is answered alike. What goes wrong around them is the network's doing.

use super::{
    bugs::Bug,
    shop::{Cart, Line},
};
use amends_saga::{Op, SagaId};
use std::collections::BTreeMap;

/// The unit a participant's barrier guards: one step of one saga.
pub type Branch = (SagaId, u16);

/// What the barrier knows of a step.
#[derive(Debug, Clone, Default)]
pub struct Barrier {
    /// Its action.
    pub action: Mark,
    /// Its compensation.
    pub undo: Mark,
    /// What makes it final, of a branch of an open saga.
    pub confirm: Mark,
    /// The round in which its action, or its confirm, was asked for last.
    pub round: u32,
    /// How often the action took effect.
    pub effects: u32,
    /// How often it was made final.
    pub confirm_effects: u32,
    /// How often the compensation took effect.
    pub undo_effects: u32,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mark {
    /// Never seen.
    #[default]
    None,
    /// Accepted, not done yet.
    Working,
    /// Done.
    Done,
    /// A definite no.
    Refused,
    /// Its compensation came first: it must never take effect.
    Tombstone,
}

/// What a participant says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// 200.
    Done,
    /// 202.
    Pending,
    /// 409, with the reason.
    Refused(&'static str),
    /// 404.
    NotSeen,
}

/// What a call did, for the checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// Nothing new.
    Nothing,
    /// The effect took place.
    Effect,
    /// A compensation found nothing to undo.
    Null,
    /// A late action was refused.
    Late,
    /// The stock did not suffice.
    OutOfStock,
}

/// One SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stock {
    /// Can be sold.
    pub available: i64,
    /// Set aside for orders.
    pub held: i64,
    /// Gone.
    pub sold: i64,
}

/// Where a cart's pieces are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Set aside.
    Held,
    /// Sold.
    Sold,
    /// Given back.
    Released,
}

/// An order's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Waiting for its payment.
    Created,
    /// Paid.
    Paid,
    /// Called off.
    Cancelled,
}

/// The three databases.
#[derive(Debug, Clone, Default)]
pub struct Participants {
    /// The barriers, of all three.
    pub barriers: BTreeMap<Branch, Barrier>,
    /// Inventory's stock by SKU.
    pub stock: Vec<Stock>,
    /// Inventory's holds by order.
    pub holds: BTreeMap<u64, (Hold, Vec<Line>)>,
    /// Order's orders by number.
    pub orders: BTreeMap<u64, Order>,
    /// Product's pieces counted by order.
    pub counted: BTreeMap<u64, i64>,
    /// The planted bug.
    pub bug: Option<Bug>,
}

impl Participants {
    /// Opens the shop.
    pub fn new(skus: usize, pieces: i64, bug: Option<Bug>) -> Participants {
        let stock = vec![Stock { available: pieces, ..Stock::default() }; skus];
        Participants { stock, bug, ..Participants::default() }
    }

    /// Says what became of a call, and changes nothing.
    pub fn status(&self, branch: Branch, op: Op) -> Said {
        let Some(barrier) = self.barriers.get(&branch) else { return Said::NotSeen };
        match op {
            Op::Action => say(barrier.action),
            Op::Confirm => say(barrier.confirm),
            Op::Compensation => say(barrier.undo),
        }
    }

    /// Forgets a no that was said in an earlier round: it is asked anew.
    pub fn asked_in(&mut self, branch: Branch, op: Op, round: u32) {
        let barrier = self.barriers.entry(branch).or_default();
        let is_new = round > barrier.round;
        barrier.round = barrier.round.max(round);
        let mark = if op == Op::Confirm { &mut barrier.confirm } else { &mut barrier.action };
        if is_new && *mark == Mark::Refused {
            *mark = Mark::None;
        }
    }

    /// Takes the confirm of a branch; `refuse` refuses it.
    pub fn confirm(&mut self, branch: Branch, what: &str, cart: &Cart, refuse: bool) -> (Said, Did) {
        let barrier = self.barriers.entry(branch).or_default();
        if barrier.confirm != Mark::None {
            return (say(barrier.confirm), Did::Nothing);
        }
        let stands = barrier.action == Mark::Done && barrier.undo == Mark::None;
        if refuse || !stands {
            barrier.confirm = Mark::Refused;
            return (Said::Refused("there is nothing to confirm"), Did::Nothing);
        }
        assert_eq!(what, "confirm", "no branch has another confirm");
        let done = self.move_hold(cart, Hold::Held, Hold::Sold);
        let barrier = self.barriers.entry(branch).or_default();
        barrier.confirm = if done { Mark::Done } else { Mark::Refused };
        barrier.confirm_effects += u32::from(done);
        (say(barrier.confirm), if done { Did::Effect } else { Did::Nothing })
    }

    /// Takes an action: `defer` accepts it and leaves the work for [`Participants::finish`], `refuse`
    /// refuses it for reasons of business.
    pub fn act(&mut self, branch: Branch, what: &str, cart: &Cart, defer: bool, refuse: bool) -> (Said, Did) {
        let bug = self.bug;
        let barrier = self.barriers.entry(branch).or_default();
        let again = match barrier.action {
            Mark::Done => self.bug == Some(Bug::NoDedupe),
            Mark::Refused => self.bug == Some(Bug::RefusalForgotten),
            Mark::None => true,
            Mark::Tombstone => bug == Some(Bug::LateWorkDone),
            Mark::Working => false,
        };
        if !again {
            let did = if barrier.action == Mark::Tombstone { Did::Late } else { Did::Nothing };
            return (say(barrier.action), did);
        }
        if refuse {
            barrier.action = Mark::Refused;
            return (Said::Refused("not today"), Did::Nothing);
        }
        if defer {
            barrier.action = Mark::Working;
            return (Said::Pending, Did::Nothing);
        }
        self.perform(branch, what, cart)
    }

    /// Takes a compensation; `defer` leaves the work for [`Participants::finish`].
    pub fn undo(&mut self, branch: Branch, what: &str, cart: &Cart, defer: bool) -> (Said, Did) {
        let bug = self.bug;
        let barrier = self.barriers.entry(branch).or_default();
        match barrier.undo {
            Mark::Done if bug == Some(Bug::UndoRepeated) && barrier.effects > 0 => {}
            Mark::None => {}
            Mark::Done | Mark::Working | Mark::Refused | Mark::Tombstone => {
                return (say(barrier.undo), Did::Nothing);
            }
        }
        if barrier.action != Mark::Done && bug != Some(Bug::NullUndoTakesEffect) {
            // Nothing was done and nothing ever will be: the row stays behind as a tombstone.
            if bug == Some(Bug::NoTombstone) && barrier.action == Mark::None {
                return (Said::Done, Did::Null);
            }
            barrier.action = Mark::Tombstone;
            barrier.undo = Mark::Done;
            return (Said::Done, Did::Null);
        }
        if bug == Some(Bug::UndoOnlyPromised) {
            barrier.undo = Mark::Done;
            return (Said::Done, Did::Nothing);
        }
        if defer {
            barrier.undo = Mark::Working;
            return (Said::Pending, Did::Nothing);
        }
        self.reverse(branch, what, cart)
    }

    /// Does the work that was left for later, unless a compensation has come in between.
    pub fn finish(&mut self, branch: Branch, op: Op, what: &str, cart: &Cart) -> Did {
        let barrier = self.barriers.entry(branch).or_default();
        match op {
            Op::Action | Op::Confirm if barrier.action == Mark::Working => self.perform(branch, what, cart).1,
            Op::Compensation if barrier.undo == Mark::Working => self.reverse(branch, what, cart).1,
            _ => Did::Nothing,
        }
    }

    fn perform(&mut self, branch: Branch, what: &str, cart: &Cart) -> (Said, Did) {
        let done = match what {
            "hold" => self.hold(cart),
            "confirm" => self.move_hold(cart, Hold::Held, Hold::Sold),
            "create" => {
                self.orders.insert(cart.order, Order::Created);
                true
            }
            "pay" => self.move_order(cart, Order::Created, Order::Paid),
            "record" => {
                *self.counted.entry(cart.order).or_default() += pieces(cart);
                true
            }
            "mail" => true,
            other => panic!("no participant offers the action \"{other}\""),
        };
        let barrier = self.barriers.entry(branch).or_default();
        if !done {
            barrier.action = Mark::Refused;
            return (Said::Refused("it cannot be done"), Did::OutOfStock);
        }
        barrier.action = Mark::Done;
        barrier.effects += 1;
        (Said::Done, Did::Effect)
    }

    fn reverse(&mut self, branch: Branch, what: &str, cart: &Cart) -> (Said, Did) {
        let done = match what {
            "release" => self.release(cart),
            "restore" => self.move_hold(cart, Hold::Sold, Hold::Held),
            "cancel" => self.move_order(cart, Order::Created, Order::Cancelled),
            "refund" => self.move_order(cart, Order::Paid, Order::Created),
            "unrecord" => {
                *self.counted.entry(cart.order).or_default() -= pieces(cart);
                true
            }
            other => panic!("no participant offers the compensation \"{other}\""),
        };
        let done = done || self.is_sloppy();
        let barrier = self.barriers.entry(branch).or_default();
        if !done {
            barrier.undo = Mark::Refused;
            return (Said::Refused("it cannot be undone now"), Did::Nothing);
        }
        barrier.undo = Mark::Done;
        barrier.undo_effects += 1;
        (Said::Done, Did::Effect)
    }

    fn hold(&mut self, cart: &Cart) -> bool {
        let mut wanted: BTreeMap<usize, i64> = BTreeMap::new();
        for line in &cart.lines {
            *wanted.entry(line.sku).or_default() += line.pieces;
        }
        let checked = if self.bug == Some(Bug::FirstLineDecides) { 1 } else { wanted.len() };
        if wanted.iter().take(checked).any(|(sku, pieces)| self.stock[*sku].available < *pieces) {
            return false;
        }
        for (sku, pieces) in &wanted {
            self.stock[*sku].available -= pieces;
            self.stock[*sku].held += pieces;
        }
        self.holds.insert(cart.order, (Hold::Held, cart.lines.clone()));
        true
    }

    fn release(&mut self, cart: &Cart) -> bool {
        let Some((state @ Hold::Held, lines)) = self.holds.get_mut(&cart.order) else {
            return self.is_sloppy() && self.give_back(&cart.lines);
        };
        *state = Hold::Released;
        let mut lines = lines.clone();
        if self.bug == Some(Bug::PartialRelease) {
            lines.truncate(1);
        }
        self.give_back(&lines)
    }

    /// Whether a planted bug makes undoing blind to what there is to undo.
    fn is_sloppy(&self) -> bool {
        matches!(self.bug, Some(Bug::NullUndoTakesEffect | Bug::UndoRepeated))
    }

    fn give_back(&mut self, lines: &[Line]) -> bool {
        for line in lines {
            self.stock[line.sku].held -= line.pieces;
            self.stock[line.sku].available += line.pieces;
        }
        true
    }

    fn move_hold(&mut self, cart: &Cart, from: Hold, to: Hold) -> bool {
        let Some((state, lines)) = self.holds.get_mut(&cart.order).filter(|(state, _)| *state == from) else {
            return false;
        };
        *state = to;
        for line in lines {
            let stock = &mut self.stock[line.sku];
            let pieces = if to == Hold::Sold { line.pieces } else { -line.pieces };
            stock.held -= pieces;
            stock.sold += pieces;
        }
        true
    }

    fn move_order(&mut self, cart: &Cart, from: Order, to: Order) -> bool {
        let Some(state) = self.orders.get_mut(&cart.order).filter(|state| **state == from) else {
            return false;
        };
        *state = to;
        true
    }
}

fn pieces(cart: &Cart) -> i64 {
    cart.lines.iter().map(|line| line.pieces).sum()
}

fn say(mark: Mark) -> Said {
    match mark {
        Mark::None => Said::NotSeen,
        Mark::Working => Said::Pending,
        Mark::Done => Said::Done,
        Mark::Refused => Said::Refused("refused before"),
        Mark::Tombstone => Said::Refused("its compensation came first"),
    }
}
