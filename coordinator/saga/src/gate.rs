//! What stands between a call that is due and the participant it is for: limit, breaker, budget and pace.
//!
//! Every participant has a gate of its own, so one that is slow or dead holds up only what needs it. A call that may not
//! go yet waits in the gate's queue: it is deferred, not spent, and nothing of it is journaled. The invariants:
//! no more calls are in flight than the limit; while the breaker is open nothing goes but one probe at a time; what
//! waits is let go in the end, once the participant answers; and nobody who returns from an outage is met with more than
//! a little over the load there was before, unless more is asked for than before.
//!
//! Like the rest of the crate it knows no clock: the time is an argument, and it never goes back.

mod breaker;
mod pace;
mod queue;
mod window;

use crate::{
    Millis, Name, SagaId,
    due::CallKey,
    event::Op,
    planted::{Bug, planted},
    time::Timestamp,
};
use breaker::{Breaker, Permit};
use pace::{Bucket, Raise, Rate, SlowStart};
use queue::{Queue, line};
use std::collections::{BTreeMap, BTreeSet};
use window::Window;

pub use breaker::BreakerState;

/// One call of one saga at a gate.
pub type Ticket = (SagaId, CallKey);

/// How a participant is spared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateLimits {
    /// Calls in flight, at most.
    pub in_flight_max: usize,
    /// Calls waiting, at most, before starts that need the participant are refused.
    pub waiting_max: usize,
    /// Unknown answers in a row that open the breaker.
    pub unknowns_in_a_row: u32,
    /// How long the breaker stays open at first.
    pub open_first: Millis,
    /// How long it stays open at most, after it has doubled.
    pub open_max: Millis,
    /// Retries of a failing participant for each hundred fresh calls.
    pub retry_percent: u64,
    /// Retries of a failing participant a second, however few fresh calls there are.
    pub retry_floor: u64,
    /// Calls a second after an outage for each hundred before it.
    pub pace_percent: u64,
    /// Calls a second after an outage, however few there were before.
    pub pace_floor: u64,
    /// Retries at once towards a participant not called before, as after a restart; twice as many in all each half second after.
    pub slow_start: u64,
    /// How long an action waits that nothing else bounds.
    pub defer_max: Millis,
}

impl Default for GateLimits {
    fn default() -> Self {
        GateLimits {
            in_flight_max: 512,
            waiting_max: 10_000,
            unknowns_in_a_row: 5,
            open_first: Millis::from_secs(5),
            open_max: Millis::from_secs(60),
            retry_percent: 20,
            retry_floor: 10,
            pace_percent: 120,
            pace_floor: 20,
            slow_start: 64,
            defer_max: Millis::from_secs(600),
        }
    }
}

/// What kind of call it is, for the budgets and the order of release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The first attempt of an action.
    Fresh,
    /// A compensation, whichever attempt.
    Undo {
        /// Whether it is its first attempt.
        first: bool,
    },
    /// A further attempt of an action, or a question about one.
    Retry,
}

/// Why a call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// As many calls are in flight as may be.
    Limit,
    /// The breaker is open.
    Breaker,
    /// The participant fails, and the budget for retries is spent.
    Budget,
    /// The participant has just come back.
    Pace,
}

/// A gate as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateView {
    /// The participant.
    pub participant: Name,
    /// How the breaker stands.
    pub breaker: BreakerState,
    /// Until when it stays open, while it is.
    pub until: Option<Timestamp>,
    /// How often it has opened.
    pub opened: u64,
    /// Calls in flight.
    pub in_flight: usize,
    /// Calls waiting.
    pub waiting: usize,
    /// When the participant last became well: its first definite answer, or the breaker's last closing.
    pub recovered_at: Option<Timestamp>,
    /// Calls deferred so far, by reason.
    pub deferred: [(Why, u64); 4],
}

/// How long a backlog may take at the pace of before, in milliseconds, until the pace is raised.
const PATIENCE_MS: u64 = 600_000;

/// One participant's gate.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    limits: GateLimits,
    breaker: Breaker,
    window: Window,
    /// Calls sent in healthy seconds.
    steady: Rate,
    /// Set from the opening of the breaker until the backlog is gone.
    pace: Option<Bucket>,
    raise: Raise,
    /// When the breaker opened, and how much waited then.
    shut: Option<(Timestamp, usize)>,
    retries: Bucket,
    undo_retries: Bucket,
    slow_start: Option<SlowStart>,
    in_flight: usize,
    queue: Queue,
    /// The last definite answer.
    well_at: Option<Timestamp>,
    recovered_at: Option<Timestamp>,
    deferred: [u64; 4],
    turn: u64,
    /// Its place among the wakes.
    wake_at: Option<Timestamp>,
}

impl Gate {
    fn new(limits: GateLimits, now: Timestamp) -> Gate {
        Gate {
            limits,
            breaker: Breaker::new(limits),
            window: Window::new(now),
            steady: Rate::new(now),
            pace: None,
            raise: Raise::default(),
            shut: None,
            retries: Bucket::full(limits.retry_floor, now),
            undo_retries: Bucket::full(limits.retry_floor, now),
            slow_start: Some(SlowStart::default()),
            in_flight: 0,
            queue: Queue::default(),
            well_at: None,
            recovered_at: None,
            deferred: [0; 4],
            turn: 0,
            wake_at: None,
        }
    }

    /// Lets a call go, or keeps it in the queue.
    fn offer(
        &mut self,
        ticket: Ticket,
        class: Class,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Why> {
        if class == Class::Fresh {
            self.retries.earn(self.limits.retry_percent, 100);
            self.undo_retries.earn(self.limits.retry_percent, 100);
        }
        // Where the rate is what is short, whoever waits already is first; otherwise those who wait cannot go anyhow.
        let is_next =
            self.queue.len() == 0 || (self.pace.is_none() && self.queue.first(line(class)).is_none());
        let why = match self.may_go(class, now) {
            Ok(permit) if is_next => {
                self.goes(ticket, class, permit, now);
                return Ok(());
            }
            Ok(Permit::Probe | Permit::Shut) => Why::Breaker,
            Ok(Permit::Go) if self.pace.is_some() => Why::Pace,
            Ok(Permit::Go) => Why::Limit,
            Err(why) => why,
        };
        self.deferred[why as usize] += 1;
        self.queue.push(ticket, class, expires_at);
        Err(why)
    }

    /// Whether a call of this class may go now.
    fn may_go(&mut self, class: Class, now: Timestamp) -> Result<Permit, Why> {
        let permit = self.breaker.permit(now);
        let permit = if planted(Bug::BreakerIgnored) { Permit::Go } else { permit };
        if permit == Permit::Shut {
            return Err(Why::Breaker);
        }
        if self.in_flight >= self.limits.in_flight_max {
            return Err(Why::Limit);
        }
        if permit == Permit::Probe {
            return Ok(Permit::Probe);
        }
        if self.pace.is_some() && !planted(Bug::PaceIgnored) {
            let rate = self.pace_rate(now);
            let rate = self.raise.rate(rate, self.queue.len(), now);
            let bucket = self.pace.as_mut().expect("just seen");
            bucket.refill(rate, rate / 20, now);
            if !bucket.has(now) {
                self.raise.short();
                return Err(Why::Pace);
            }
        }
        if self.is_starved(class, now) {
            return Err(Why::Budget);
        }
        Ok(Permit::Go)
    }

    /// Whether a retry has to wait because retries are too large a share of the calls.
    fn is_starved(&mut self, class: Class, now: Timestamp) -> bool {
        let (floor, failing) = (self.limits.retry_floor, self.window.is_failing(now));
        let bucket = match class {
            Class::Fresh | Class::Undo { first: true } => return false,
            Class::Retry | Class::Undo { first: false } if planted(Bug::RetriesUnbudgeted) => return false,
            Class::Retry => &mut self.retries,
            Class::Undo { first: false } => &mut self.undo_retries,
        };
        if failing {
            bucket.refill(floor, floor, now);
            return !bucket.has(now);
        }
        let at_once = self.limits.slow_start;
        self.slow_start.as_mut().is_some_and(|start| start.left(at_once, now) == 0)
    }

    /// Calls a second after an outage: a little over the load before it.
    ///
    /// What arrives now says little, since the backlog itself brings on the calls that follow from it; only where it makes
    /// the backlog grow the pace is [raised](Raise). Where the load before is not known, or the backlog will not go, the
    /// rate doubles as long as the participant keeps up.
    fn pace_rate(&mut self, now: Timestamp) -> u64 {
        let limits = self.limits;
        let well_for = self.recovered_at.map_or(0, |at| now.since(at).0);
        let (before, doublings) = match self.steady.held() {
            Some(before) => {
                (before * limits.pace_percent / 100, well_for.saturating_sub(PATIENCE_MS) / 60_000)
            }
            None => (0, well_for / 1000),
        };
        before.max(limits.pace_floor).saturating_mul(1 << doublings.min(20))
    }

    fn goes(&mut self, ticket: Ticket, class: Class, permit: Permit, now: Timestamp) {
        self.in_flight += 1;
        if permit == Permit::Probe {
            self.breaker.probes(ticket);
        }
        match &mut self.pace {
            Some(bucket) => bucket.spend(now),
            None => self.steady.note(now),
        }
        match class {
            Class::Retry => self.retries.spend(now),
            Class::Undo { first: false } => self.undo_retries.spend(now),
            Class::Fresh | Class::Undo { first: true } => return,
        }
        self.slow_start = self.slow_start.take().and_then(|start| start.sent(now));
    }

    /// Takes note of an answer to a call in flight.
    fn answered(&mut self, ticket: Ticket, is_unknown: bool, now: Timestamp) {
        if !planted(Bug::GateLeaksSlot) {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        self.window.note(is_unknown, now);
        let is_bad = self.window.is_half_unknown(now);
        let was_open = self.breaker.state(now) != BreakerState::Closed;
        self.breaker.answered(ticket, is_unknown, is_bad, now);
        let is_open = self.breaker.state(now) != BreakerState::Closed;
        if is_open && !was_open {
            self.shut = Some((now, self.queue.waiting(queue::Line::Fresh)));
            self.steady.hold(self.well_at, now);
            self.raise = self.raise.gone(self.recovered_at.map_or(0, |at| now.since(at).0));
            self.window.forget(now);
            self.pace = Some(Bucket::empty(now));
        }
        if was_open && !is_open {
            self.window.forget(now);
            self.recovered_at = Some(now);
            if let Some((since, before)) = self.shut.take() {
                let came = self.queue.waiting(queue::Line::Fresh).saturating_sub(before);
                self.steady.asked(came, now.since(since), now);
            }
        }
        if !is_unknown {
            self.well_at = Some(now);
            self.recovered_at = self.recovered_at.or(Some(now));
        }
    }

    /// Adds the calls that may go now, in the order in which they go; says when to ask again if no answer comes before.
    fn release(&mut self, now: Timestamp, released: &mut Vec<Ticket>) -> Option<Timestamp> {
        while self.queue.len() > 0 {
            let Some((line, permit, newest)) = self.next_class(now) else { break };
            let (ticket, class) = match permit {
                Permit::Probe if !planted(Bug::ProbesAlike) => {
                    self.queue.pop_unlike(self.breaker.failed_last(), self.breaker.in_vain() as usize)
                }
                Permit::Go | Permit::Probe | Permit::Shut => self.queue.pop(line, newest),
            };
            if !planted(Bug::QueueForgotten) {
                self.goes(ticket, class, permit, now);
                released.push(ticket);
            }
        }
        if self.queue.len() == 0 {
            let healthy = self.breaker.state(now) == BreakerState::Closed;
            if healthy && self.pace.take().is_some() {
                self.raise = Raise::default();
                self.steady.resume(now);
            }
            return None;
        }
        (self.in_flight < self.limits.in_flight_max).then(|| self.next_chance(now)).flatten()
    }

    /// Which line is next, and from which end: six times of eight whoever came last of the fresh calls, whose saga has the
    /// most of its time left, before compensations and retries; once a compensation, which gives back what others wait for;
    /// and once whoever has waited longest, of each line in turn.
    fn next_class(&mut self, now: Timestamp) -> Option<(queue::Line, Permit, bool)> {
        use queue::Line;
        self.turn += 1;
        let order = match self.turn % 8 {
            0 => {
                let mut order = [(Line::Undo, false), (Line::Retry, false), (Line::Fresh, false)];
                order.rotate_left((self.turn / 8 % 3) as usize);
                order
            }
            4 => [(Line::Undo, false), (Line::Fresh, true), (Line::Retry, false)],
            _ => [(Line::Fresh, true), (Line::Undo, false), (Line::Retry, false)],
        };
        for (line, newest) in order {
            let Some(class) = self.queue.first(line) else { continue };
            match self.may_go(class, now) {
                Ok(permit) => return Some((line, permit, newest)),
                Err(Why::Budget) => {}
                Err(Why::Limit | Why::Breaker | Why::Pace) => return None,
            }
        }
        None
    }

    /// When something that waits may go although no answer comes before.
    fn next_chance(&mut self, now: Timestamp) -> Option<Timestamp> {
        if let Some(at) = self.breaker.opens_up_at(now) {
            return Some(at);
        }
        // Where the pace would let something go, what waits is short of another budget, and that is a slow one.
        let soon = now.after(Millis(match &self.pace {
            Some(bucket) if !bucket.has(now) => bucket.next_in(self.limits.pace_floor),
            Some(_) | None => 50,
        }));
        (self.breaker.permit(now) != Permit::Shut).then_some(soon)
    }

    fn view(&self, participant: &Name, now: Timestamp) -> GateView {
        let whys = [Why::Limit, Why::Breaker, Why::Budget, Why::Pace];
        GateView {
            participant: participant.clone(),
            breaker: self.breaker.state(now),
            until: self.breaker.opens_up_at(now),
            opened: self.breaker.opened(),
            in_flight: self.in_flight,
            waiting: self.queue.len(),
            recovered_at: self.recovered_at,
            deferred: whys.map(|why| (why, self.deferred[why as usize])),
        }
    }
}

/// Every participant's gate, and which calls went through which.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gates {
    limits: Option<GateLimits>,
    by_name: BTreeMap<Name, Gate>,
    /// Where each call in flight is, and how often it went: one that is taken over may go again before its answer is there.
    sent: BTreeMap<Ticket, (Name, u32)>,
    /// One for each gate at most.
    wakes: BTreeSet<(Timestamp, Name)>,
}

impl Gates {
    /// Gates with these limits; without any everything goes at once.
    pub(crate) fn new(limits: Option<GateLimits>) -> Gates {
        Gates { limits, ..Gates::default() }
    }

    /// Lets a call go, or keeps it; says whether it goes. One that nothing else bounds may be given up.
    pub(crate) fn offer(
        &mut self,
        participant: &Name,
        ticket: Ticket,
        class: Class,
        is_bounded: bool,
        now: Timestamp,
    ) -> bool {
        let Some(limits) = self.limits else { return true };
        if !self.by_name.contains_key(participant) {
            self.by_name.insert(participant.clone(), Gate::new(limits, now));
        }
        let gate = self.by_name.get_mut(participant).expect("just inserted");
        let may_expire = matches!(class, Class::Fresh | Class::Retry) && !is_bounded;
        let goes = gate.offer(ticket, class, may_expire.then(|| now.after(limits.defer_max)), now).is_ok();
        match goes {
            true => self.went(participant, ticket),
            false => self.wake_by(participant, now),
        }
        goes
    }

    /// Takes note of an answer; one to a call that did not go through a gate changes nothing.
    pub(crate) fn answered(&mut self, ticket: Ticket, is_unknown: bool, now: Timestamp) {
        let Some((participant, gate)) = self.came_back(ticket) else { return };
        gate.answered(ticket, is_unknown, now);
        if gate.queue.len() > 0 || gate.pace.is_some() {
            self.wake_by(&participant, now);
        }
    }

    /// Forgets a call that waits, because its saga does not want it any more.
    pub(crate) fn withdraw(&mut self, participant: &Name, ticket: Ticket) {
        if let Some(gate) = self.by_name.get_mut(participant) {
            gate.queue.remove(ticket);
        }
    }

    /// Takes back that a call went, because its saga does not want it any more.
    pub(crate) fn never_sent(&mut self, ticket: Ticket, now: Timestamp) {
        let Some((participant, gate)) = self.came_back(ticket) else { return };
        gate.in_flight = gate.in_flight.saturating_sub(1);
        gate.breaker.forget(ticket);
        self.wake_by(&participant, now);
    }

    /// When [`Gates::release`] may have something to let go, at the earliest.
    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// The calls that may go now, and those given up because they have waited too long.
    pub(crate) fn release(&mut self, now: Timestamp) -> (Vec<Ticket>, Vec<Ticket>) {
        let (mut released, mut expired) = (Vec::new(), Vec::new());
        while self.wakes.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, participant)) = self.wakes.pop_first() else { break };
            let Some(gate) = self.by_name.get_mut(&participant) else { continue };
            gate.wake_at = None;
            let from = released.len();
            let chance = gate.release(now, &mut released);
            gate.queue.expire(now, &mut expired);
            let next = [chance, gate.queue.expires_at()].into_iter().flatten().min();
            for ticket in &released[from..] {
                self.went(&participant, *ticket);
            }
            if let Some(at) = next {
                // Never at once again: what cannot go now cannot go before a moment has passed.
                self.wake_by(&participant, at.max(now.after(Millis(1))));
            }
        }
        (released, expired)
    }

    /// A participant with so much waiting that nothing more should be started for it.
    pub(crate) fn is_busy(&self, participant: &Name) -> bool {
        let full = |gate: &Gate| gate.queue.len() >= gate.limits.waiting_max;
        self.by_name.get(participant).is_some_and(full)
    }

    pub(crate) fn views(&self, now: Timestamp) -> Vec<GateView> {
        self.by_name.iter().map(|(name, gate)| gate.view(name, now)).collect()
    }

    fn went(&mut self, participant: &Name, ticket: Ticket) {
        let (_, times) = self.sent.entry(ticket).or_insert_with(|| (participant.clone(), 0));
        *times += 1;
    }

    fn came_back(&mut self, ticket: Ticket) -> Option<(Name, &mut Gate)> {
        let (participant, times) = self.sent.get_mut(&ticket)?;
        let participant = participant.clone();
        *times -= 1;
        if *times == 0 {
            self.sent.remove(&ticket);
        }
        let gate = self.by_name.get_mut(&participant)?;
        Some((participant, gate))
    }

    /// Asks a gate at a time at the latest.
    fn wake_by(&mut self, participant: &Name, at: Timestamp) {
        let Some(gate) = self.by_name.get_mut(participant) else { return };
        if gate.wake_at.is_some_and(|before| before <= at) {
            return;
        }
        if let Some(before) = gate.wake_at.replace(at) {
            self.wakes.remove(&(before, participant.clone()));
        }
        self.wakes.insert((at, participant.clone()));
    }
}

/// What class a call belongs to.
pub(crate) fn class(key: CallKey) -> Class {
    let first = key.attempt == 1 && key.poll == 0;
    match key.op {
        Op::Action | Op::Confirm if first => Class::Fresh,
        Op::Action | Op::Confirm => Class::Retry,
        Op::Compensation => Class::Undo { first },
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
