//! What happens to one call: a pure function of the plan, the seed and the call.
//!
//! Nothing here counts or remembers, so the order in which calls arrive does not matter and a run can be repeated:
//! the same seed gives the same call the same fate. Only [`super::Down`] goes by the time.

use super::mix::{Mix, Timed};
use amends_saga::hash::Mix as Draw;
use amends_wire::participant::CallOp;
use serde::Serialize;
use std::{fmt, time::Duration};

/// What a rehearsal lets go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// By chance.
    Mixed(Mix),
    /// Every call arrives twice, and the second answer counts.
    EveryCallRepeated,
    /// The action of one step is refused. Steps are told by their path; see [`super::parts`].
    Refused(String),
    /// The action of one step takes effect, and no answer to it ever arrives.
    Unknown(String),
    /// The saga is cancelled while it waits at this step.
    Cancelled(String),
    /// The action of one step is refused, and every undo arrives twice.
    EveryUndoRepeated(String),
}

/// What a fate depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) saga: u64,
    pub(super) participant: &'a str,
    /// The step's path.
    pub(super) step: &'a str,
    pub(super) op: CallOp,
    pub(super) attempt: u32,
    /// How often the status of this attempt was asked before.
    pub(super) asked: u32,
    /// Since the first start.
    pub(super) at: Duration,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fate {
    /// It sets out this much later.
    pub(super) delay: Duration,
    /// What becomes of it.
    pub(super) end: End,
    /// A copy of it arrives this much after it.
    pub(super) copy: Option<Duration>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum End {
    /// It arrives, and its answer does.
    #[default]
    Answered,
    /// It arrives twice, one after the other, and the second answer counts.
    Twice,
    /// It arrives, and its answer does not, or not as it was.
    Spoilt(Fault),
    /// It does not arrive; this is said in its place.
    Intercepted(Fault),
}

/// The faults, as the report counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It arrived late.
    Delay,
    /// The request was lost.
    DropBefore,
    /// The answer was lost.
    DropAfter,
    /// It arrived twice.
    Duplicate,
    /// It was refused with 409.
    Refuse,
    /// The answer was not JSON.
    Garbage,
    /// It was turned away with 503 and `Retry-After`.
    Overload503,
    /// It was turned away with 429 and `Retry-After`.
    Overload429,
    /// A reversal that works later did not work.
    UndoFails,
    /// A reversal that never works did not work.
    UndoFailsForever,
    /// A reversal was refused with 409.
    UndoRefused,
    /// The participant was out of reach.
    Down,
}

impl Fault {
    /// The word of the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Delay => "delay",
            Fault::DropBefore => "drop_before",
            Fault::DropAfter => "drop_after",
            Fault::Duplicate => "duplicate",
            Fault::Refuse => "refuse",
            Fault::Garbage => "garbage",
            Fault::Overload503 => "overload_503",
            Fault::Overload429 => "overload_429",
            Fault::UndoFails => "undo_fails",
            Fault::UndoFailsForever => "undo_fails_forever",
            Fault::UndoRefused => "undo_refused",
            Fault::Down => "down",
        }
    }
}

impl Plan {
    /// The fate of a call.
    pub(super) fn fate(&self, seed: u64, site: &Site<'_>) -> Fate {
        let is_action = site.op == CallOp::Action;
        let end = match self {
            Plan::Mixed(mix) => return mixed(mix, seed, site),
            Plan::EveryCallRepeated => End::Twice,
            Plan::Refused(step) if is_action && step == site.step => End::Intercepted(Fault::Refuse),
            Plan::Unknown(step) if is_action && step == site.step => End::Spoilt(Fault::DropAfter),
            Plan::EveryUndoRepeated(step) if is_action && step == site.step => {
                End::Intercepted(Fault::Refuse)
            }
            Plan::EveryUndoRepeated(_) if site.op == CallOp::Compensation => End::Twice,
            Plan::Refused(_) | Plan::Unknown(_) | Plan::Cancelled(_) | Plan::EveryUndoRepeated(_) => {
                End::Answered
            }
        };
        Fate { end, ..Fate::default() }
    }

    /// The waiting step at which the saga is cancelled.
    pub(super) fn cancels_at(&self) -> Option<&str> {
        match self {
            Plan::Cancelled(step) => Some(step),
            _ => None,
        }
    }

    /// The mix, where there is one.
    pub(super) fn mix(&self) -> Option<&Mix> {
        match self {
            Plan::Mixed(mix) => Some(mix),
            _ => None,
        }
    }
}

/// The mix, or the fault in words.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Plan::Mixed(mix) => mix.fmt(f),
            Plan::EveryCallRepeated => f.write_str("every call repeated"),
            Plan::Refused(step) => write!(f, "step {step} refused"),
            Plan::Unknown(step) => write!(f, "step {step} without an answer"),
            Plan::Cancelled(step) => write!(f, "cancelled at step {step}"),
            Plan::EveryUndoRepeated(step) => write!(f, "step {step} refused, every undo repeated"),
        }
    }
}

fn mixed(mix: &Mix, seed: u64, site: &Site<'_>) -> Fate {
    let delay =
        if mix.delay.share.takes(draw(seed, "delay", site)) { mix.delay.time } else { Duration::ZERO };
    let end = end(mix, seed, site);
    let arrives = matches!(end, End::Answered | End::Twice | End::Spoilt(_));
    let copy = (arrives && site.op != CallOp::Status).then(|| copy(mix.duplicate, seed, site)).flatten();
    Fate { delay, end, copy }
}

fn end(mix: &Mix, seed: u64, site: &Site<'_>) -> End {
    if mix.down.iter().any(|down| {
        let is_meant = down.participant.as_ref().is_none_or(|name| name.as_str() == site.participant);
        is_meant && (down.from..down.from + down.lasting).contains(&site.at)
    }) {
        return End::Intercepted(Fault::Down);
    }
    if site.op == CallOp::Compensation
        && let Some(fault) = undo_fault(mix, seed, site)
    {
        return End::Intercepted(fault);
    }
    let mut drawn = draw(seed, "end", site) % u64::from(u32::MAX);
    // One draw decides between them, so that their shares add up.
    drawn = drawn * 1_000_000 / u64::from(u32::MAX);
    let [drop_before, overload, refuse, drop_after, garbage] = mix.exclusive();
    let overloaded = match draw(seed, "overload", site) % 2 {
        0 => Fault::Overload503,
        _ => Fault::Overload429,
    };
    let refused = if site.op == CallOp::Action { End::Intercepted(Fault::Refuse) } else { End::Answered };
    for (share, end) in [
        (drop_before, End::Intercepted(Fault::DropBefore)),
        (overload, End::Intercepted(overloaded)),
        (refuse, refused),
        (drop_after, End::Spoilt(Fault::DropAfter)),
        (garbage, End::Spoilt(Fault::Garbage)),
    ] {
        match drawn.checked_sub(share.millionths()) {
            None => return end,
            Some(rest) => drawn = rest,
        }
    }
    End::Answered
}

/// What befalls a reversal whatever its attempt: it is drawn once for the step.
fn undo_fault(mix: &Mix, seed: u64, site: &Site<'_>) -> Option<Fault> {
    let step = Site { attempt: 0, asked: 0, ..*site };
    if mix.undo_fails_forever.takes(draw(seed, "undo_fails_forever", &step)) {
        return Some(Fault::UndoFailsForever);
    }
    if mix.undo_refused.takes(draw(seed, "undo_refused", &step)) {
        return Some(Fault::UndoRefused);
    }
    let fails = mix.undo_fails.share.takes(draw(seed, "undo_fails", &step));
    (fails && site.attempt <= mix.undo_fails.times).then_some(Fault::UndoFails)
}

fn copy(duplicate: Timed, seed: u64, site: &Site<'_>) -> Option<Duration> {
    let late_ms = u64::try_from(duplicate.time.as_millis()).unwrap_or(u64::MAX).max(1);
    let drawn = duplicate.share.takes(draw(seed, "duplicate", site));
    drawn.then(|| Duration::from_millis(draw(seed, "late", site) % late_ms))
}

fn draw(seed: u64, what: &str, site: &Site<'_>) -> u64 {
    let draw = Draw::new(seed).bytes(what.as_bytes()).add(site.saga).bytes(site.step.as_bytes());
    draw.add(site.op as u64).add(u64::from(site.attempt)).add(u64::from(site.asked)).finish()
}

#[cfg(test)]
mod tests;
