//! The circuit breaker: when a participant is not called at all, and when it is tried again.
//!
//! ```text
//! closed ──(unknowns in a row, or half of many)──► open ──(its time is up)──► half-open
//!    ▲                                              ▲                             │
//!    └───────────────(a definite answer)────────────┼─────────────────────────────┤
//!                                                   └──(the probe is unknown too)─┘
//! ```

use super::{GateLimits, Ticket};
use crate::{
    planted::{Bug, planted},
    time::{Millis, Timestamp},
};
use serde::{Deserialize, Serialize};

/// How a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls go.
    Closed,
    /// One probe goes.
    HalfOpen,
    /// None goes.
    Open,
}

/// What the breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    Go,
    /// One call, whose answer decides.
    Probe,
    Shut,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { unknowns: u32 },
    Open { until: Timestamp, probe: Option<Ticket> },
}

#[derive(Debug, Clone)]
pub(super) struct Breaker {
    limits: GateLimits,
    state: State,
    /// How often in a row it has opened.
    times: u32,
    opened: u64,
    failed_last: Option<Ticket>,
}

impl Breaker {
    pub(super) fn new(limits: GateLimits) -> Breaker {
        Breaker { limits, state: State::Closed { unknowns: 0 }, times: 0, opened: 0, failed_last: None }
    }

    pub(super) fn state(&self, now: Timestamp) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until, .. } if until > now => BreakerState::Open,
            State::Open { .. } => BreakerState::HalfOpen,
        }
    }

    pub(super) fn permit(&self, now: Timestamp) -> Permit {
        match self.state {
            State::Closed { .. } => Permit::Go,
            State::Open { until, probe: None } if until <= now => Permit::Probe,
            State::Open { until, .. } if until <= now && planted(Bug::ProbeFloods) => Permit::Probe,
            State::Open { .. } => Permit::Shut,
        }
    }

    /// When the next probe may go, while none may.
    pub(super) fn opens_up_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self.state {
            State::Open { until, .. } if until > now => Some(until),
            State::Open { .. } | State::Closed { .. } => None,
        }
    }

    /// The call that was the last to fail; one that is unlike it is the better probe.
    pub(super) fn failed_last(&self) -> Option<Ticket> {
        self.failed_last
    }

    /// How many probes in a row were in vain.
    pub(super) fn in_vain(&self) -> u32 {
        self.times.saturating_sub(1)
    }

    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    pub(super) fn probes(&mut self, ticket: Ticket) {
        if let State::Open { probe, .. } = &mut self.state {
            *probe = Some(ticket);
        }
    }

    /// Lets another probe go in place of one that was not sent after all.
    pub(super) fn forget(&mut self, ticket: Ticket) {
        if let State::Open { probe, .. } = &mut self.state
            && *probe == Some(ticket)
        {
            *probe = None;
        }
    }

    /// Takes note of an answer; `is_bad` says that half of the many answers of late are unknown.
    pub(super) fn answered(&mut self, ticket: Ticket, is_unknown: bool, is_bad: bool, now: Timestamp) {
        if is_unknown {
            self.failed_last = Some(ticket);
        }
        match self.state {
            State::Closed { .. } if !is_unknown => self.state = State::Closed { unknowns: 0 },
            State::Closed { unknowns } => {
                self.state = State::Closed { unknowns: unknowns + 1 };
                if unknowns + 1 >= self.limits.unknowns_in_a_row || is_bad {
                    self.open(now);
                }
            }
            State::Open { until, probe } if until <= now || probe == Some(ticket) => match is_unknown {
                // Whoever answers proves that somebody is there, be it the probe or a call sent before.
                false => {
                    self.state = State::Closed { unknowns: 0 };
                    self.times = 0;
                }
                true if probe == Some(ticket) => self.open(now),
                true => {}
            },
            State::Open { .. } => {}
        }
    }

    fn open(&mut self, now: Timestamp) {
        let span = self.limits.open_first.0 << self.times.min(16);
        let until = now.after(Millis(span.min(self.limits.open_max.0)));
        self.state = State::Open { until, probe: None };
        self.times += 1;
        self.opened += 1;
    }
}
