//! What goes wrong, and how often: a mix of faults as a value, as text, and by name.
//!
//! A share is kept in millionths, so that what a seed decides is exact and the same on every machine.

mod written;

use amends_wire::Name;
use std::time::Duration;

/// How many of a thousand thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Share(u32);

/// The whole, in millionths.
const WHOLE: u32 = 1_000_000;

/// A mix of faults. [`Mix::default`] is none at all; fields are set by hand, read from text, or taken from a preset.
///
/// ```
/// use amends::chaos::{Mix, Share};
/// let mix = Mix { refuse: Share::per_thousand(50), ..Mix::default() };
/// assert_eq!(mix, "refuse=0.05".parse().unwrap());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mix {
    /// Calls that arrive this much later.
    pub delay: Timed,
    /// Calls whose request is lost: nothing was done, and the coordinator cannot know.
    pub drop_before: Share,
    /// Calls whose answer is lost: they took effect, and the coordinator cannot know.
    pub drop_after: Share,
    /// Calls of which a copy arrives as well, up to this much later; perhaps after the step was undone.
    pub duplicate: Timed,
    /// Actions that are refused with 409 before they arrive.
    pub refuse: Share,
    /// Calls that take effect and are answered 200 with something that is not JSON.
    pub garbage: Share,
    /// Calls that are turned away with 503 or 429, with `Retry-After` of this time.
    pub overload: Timed,
    /// Steps whose reversal fails so many times before it works.
    pub undo_fails: Repeated,
    /// Steps whose reversal never works.
    pub undo_fails_forever: Share,
    /// Steps whose reversal is refused with 409.
    pub undo_refused: Share,
    /// Participants out of reach for a while.
    pub down: Vec<Down>,
    /// Restarts of the coordinator, each once this share of the sagas was started: stopped in good order.
    pub restart: Vec<Share>,
    /// The same, with the coordinator killed in the middle of whatever it does.
    pub crash: Vec<Share>,
}

/// A share and a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timed {
    /// How many.
    pub share: Share,
    /// How long.
    pub time: Duration,
}

/// A share and a number of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repeated {
    /// How many.
    pub share: Share,
    /// How often each.
    pub times: u32,
}

/// A participant out of reach for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// Which one; every one where none is named.
    pub participant: Option<Name>,
    /// From when on, counted from the first start.
    pub from: Duration,
    /// For how long.
    pub lasting: Duration,
}

/// Says why a text is no mix, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadMix(String);

/// What a mix can be called, and what stands behind the name.
pub const PRESETS: [(&str, &str); 5] = [
    ("none", ""),
    (
        "mild",
        "delay=0.05:50ms,drop_before=0.02,drop_after=0.02,duplicate=0.05:100ms,refuse=0.02,overload=0.01:100ms",
    ),
    (
        "rough",
        "delay=0.2:100ms,drop_before=0.1,drop_after=0.1,duplicate=0.2:200ms,refuse=0.05,garbage=0.02,\
         overload=0.05:100ms,undo_fails=0.2:3,undo_fails_forever=0.01,restart=0.3,crash=0.6",
    ),
    (
        "reversals",
        "duplicate=0.1:100ms,refuse=0.2,undo_fails=0.5:4,undo_fails_forever=0.05,undo_refused=0.02",
    ),
    ("outage", "drop_after=0.02,refuse=0.02,down=*@50ms+500ms"),
];

impl Share {
    /// All of them.
    pub const ALL: Share = Share(WHOLE);
    /// None of them.
    pub const NONE: Share = Share(0);

    /// So many of a thousand.
    ///
    /// # Panics
    /// When that is more than a thousand; in a constant, when it is compiled.
    pub const fn per_thousand(count: u32) -> Share {
        assert!(count <= 1000, "a share is at most the whole");
        Share(count * 1000)
    }

    /// Whether a draw falls within it.
    pub(super) fn takes(self, draw: u64) -> bool {
        draw % u64::from(WHOLE) < u64::from(self.0)
    }

    /// How many of a million.
    pub(super) fn millionths(self) -> u64 {
        u64::from(self.0)
    }

    /// The smallest of `whole` things at which this share of them is reached; at least 1.
    pub(super) fn of(self, whole: u64) -> u64 {
        (u64::from(self.0) * whole).div_ceil(u64::from(WHOLE)).max(1)
    }
}

impl Timed {
    /// A share and a span of time.
    pub const fn new(share: Share, time: Duration) -> Timed {
        Timed { share, time }
    }
}

impl Mix {
    /// A network as it is on a bad day.
    ///
    /// # Panics
    /// Never: the tests read every preset.
    pub fn mild() -> Mix {
        Mix::preset("mild")
    }

    /// Everything at once, with two restarts of the coordinator, one of them a crash.
    ///
    /// # Panics
    /// Never: the tests read every preset.
    pub fn rough() -> Mix {
        Mix::preset("rough")
    }

    /// Many refusals, and reversals that do not work.
    ///
    /// # Panics
    /// Never: the tests read every preset.
    pub fn reversals() -> Mix {
        Mix::preset("reversals")
    }

    /// Every participant out of reach for two seconds.
    ///
    /// # Panics
    /// Never: the tests read every preset.
    pub fn outage() -> Mix {
        Mix::preset("outage")
    }

    fn preset(name: &str) -> Mix {
        name.parse().expect("a preset can be read")
    }

    /// The shares of what can befall a call, of which at most one does.
    pub(super) fn exclusive(&self) -> [Share; 5] {
        [self.drop_before, self.overload.share, self.refuse, self.drop_after, self.garbage]
    }
}

#[cfg(test)]
mod tests;
