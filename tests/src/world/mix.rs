//! Which faults one seed has, and how bad they are.
//!
//! A swarm: every fault is off in many seeds, so that a rare situation is not always drowned by the
//! others, and each seed looks different.

use crate::random::Random;

/// Virtual milliseconds from the start during which faults happen.
pub const FAULTS_MS: i64 = 60_000;

/// Everything that differs between seeds. Chances are per thousand.
#[derive(Debug, Clone)]
pub struct Mix {
    /// Coordinators.
    pub nodes: usize,
    /// Which definitions are started, as indices.
    pub definitions: Vec<usize>,
    /// Distinct SKUs; few make them hot.
    pub skus: usize,
    /// Pieces of each SKU.
    pub stock: i64,
    /// Sagas a coordinator takes on.
    pub sagas_max: usize,
    /// Sleeping sagas that a coordinator keeps at hand.
    pub sleeping_max: usize,
    /// Requests and replies lost.
    pub loss: u32,
    /// Requests delivered twice.
    pub duplicates: u32,
    /// The longest usual latency of a message.
    pub latency_ms: i64,
    /// Answers that say nothing definite, before the work.
    pub errors: u32,
    /// Answers that say nothing definite, after the work.
    pub garbage: u32,
    /// Requests stopped before the participant with a contract error.
    pub gate: u32,
    /// Calls answered "pending" first.
    pub pending: u32,
    /// Actions refused for reasons of business.
    pub refusals: u32,
    /// Compensations refused while the faults last.
    pub undo_refusals: u32,
    /// Compensations that never succeed.
    pub undo_dead: u32,
    /// Store writes that fail and change nothing.
    pub store_before: u32,
    /// Store writes that succeed and are reported as failed.
    pub store_after: u32,
    /// Crashes.
    pub crashes: u32,
    /// Pauses, many longer than a lease.
    pub pauses: u32,
    /// Whether a coordinator that crashes may stay away for ever.
    pub never_returns: bool,
    /// Whether coordinators stop by themselves when their lease has run out.
    pub self_fence: bool,
    /// Times a participant is down.
    pub outages: u32,
    /// Sagas somebody cancels.
    pub cancels: u32,
    /// Completed sagas somebody sends back.
    pub reverts: u32,
    /// Calls put off that are answered by the participant itself.
    pub callbacks: u32,
    /// Keys used by two different callers.
    pub rivals: u32,
    /// Payments that come late or not at all.
    pub late_payments: u32,
    /// Items somebody does something about at each look at the repair queue; nobody looks where it is 0.
    pub operators: u32,
    /// Whether participants are spared by gates.
    pub gates: bool,
    /// Calls in flight to one participant.
    pub in_flight_max: usize,
    /// Retries a second of one participant that fails.
    pub retries: u64,
    /// Calls waiting for one participant before starts that need it are refused.
    pub waiting_max: usize,
}

impl Mix {
    /// Draws the faults of a seed.
    pub fn draw(random: &mut Random, definitions: usize) -> Mix {
        let calm = random.chance(30);
        let mut some = |max: u32| {
            let on = random.chance(550) && !calm;
            let much = random.below(u64::from(max)) as u32 + 1;
            if on { much } else { 0 }
        };
        Mix {
            loss: some(300),
            duplicates: some(300),
            errors: some(200),
            garbage: some(150),
            gate: some(60),
            pending: some(200),
            refusals: some(250),
            undo_refusals: some(150),
            undo_dead: some(80),
            store_before: some(60),
            store_after: some(60),
            crashes: some(4),
            pauses: some(3),
            outages: some(4),
            cancels: some(300),
            reverts: some(300),
            callbacks: some(1000),
            rivals: some(150),
            late_payments: some(400),
            operators: some(600),
            never_returns: some(1) == 1,
            self_fence: some(1) == 1,
            gates: some(1) == 1,
            in_flight_max: if random.chance(300) { random.within(1, 5) as usize } else { 512 },
            waiting_max: if random.chance(300) { random.within(1, 10) as usize } else { 10_000 },
            retries: if random.chance(300) { 1 } else { 10 },
            nodes: 1 + random.below(3) as usize,
            definitions: (0..1 + random.below(2))
                .map(|_| random.below(definitions as u64) as usize)
                .collect(),
            skus: 1 + random.below(5) as usize,
            stock: random.within(3, 60),
            sagas_max: if random.chance(100) { 3 } else { 1000 },
            sleeping_max: random.below(4) as usize,
            latency_ms: *random.pick(&[2, 20, 20, 200, 1000, 5000]),
        }
    }

    /// The same shop without faults.
    pub fn heal(&mut self) {
        *self = Mix {
            loss: 0,
            duplicates: 0,
            errors: 0,
            garbage: 0,
            pending: 0,
            undo_refusals: 0,
            store_before: 0,
            store_after: 0,
            latency_ms: 20,
            sagas_max: self.sagas_max,
            ..self.clone()
        };
    }
}
