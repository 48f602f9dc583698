//! How a call is answered, and which of the ways a payment meets.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How a charge or a refund is answered. All but the first and the last are answered 202 at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Done when the call is answered.
    AtOnce,
    /// Pending, then done, told by a callback.
    Callback,
    /// Pending, then done, told twice.
    DoubleCallback,
    /// Pending, then done; whoever wants to know asks.
    Poll,
    /// Pending for longer than anybody waits; once on its way it cannot be stopped, and the money comes in after all.
    Late,
    /// Pending for ever.
    Never,
    /// Pending, then declined, told by a callback.
    DeclinedLater,
    /// Declined when the call is answered.
    Declined,
}

/// Which modes payments meet where a call names none, and how long things take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// Modes with their weights; at least one weight is not 0.
    modes: Vec<(Mode, u32)>,
    /// How long a pending call takes.
    pub delay: Duration,
    /// How long a late one takes.
    pub late: Duration,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 8] = [
        Mode::AtOnce,
        Mode::Callback,
        Mode::DoubleCallback,
        Mode::Poll,
        Mode::Late,
        Mode::Never,
        Mode::DeclinedLater,
        Mode::Declined,
    ];

    /// The name, as bodies, rows and settings carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::AtOnce => "at_once",
            Mode::Callback => "callback",
            Mode::DoubleCallback => "double_callback",
            Mode::Poll => "poll",
            Mode::Late => "late",
            Mode::Never => "never",
            Mode::DeclinedLater => "declined_later",
            Mode::Declined => "declined",
        }
    }

    /// Reads a name.
    pub fn named(name: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.as_str() == name)
    }

    /// Every name, for messages.
    pub(crate) fn names() -> String {
        Mode::ALL.map(Mode::as_str).join(", ")
    }

    /// Whether it tells by a callback.
    pub(crate) fn calls_back(self) -> bool {
        matches!(self, Mode::Callback | Mode::DoubleCallback | Mode::DeclinedLater | Mode::Late)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Default for Behaviour {
    /// Everything at once.
    fn default() -> Behaviour {
        Behaviour {
            modes: vec![(Mode::AtOnce, 1)],
            delay: Duration::from_millis(500),
            late: Duration::from_secs(30),
        }
    }
}

impl Behaviour {
    /// Always the same mode.
    pub fn always(mode: Mode) -> Behaviour {
        Behaviour { modes: vec![(mode, 1)], ..Behaviour::default() }
    }

    /// How long pending calls and late ones take.
    #[must_use]
    pub fn taking(mut self, delay: Duration, late: Duration) -> Behaviour {
        (self.delay, self.late) = (delay, late);
        self
    }

    /// The mode that a payment meets: the same for the same number, and over many numbers as often as its weight says.
    pub fn of(&self, number: &str) -> Mode {
        let all: u64 = self.modes.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut at = mixed(number) % all.max(1);
        for (mode, weight) in &self.modes {
            match at.checked_sub(u64::from(*weight)) {
                None => return *mode,
                Some(rest) => at = rest,
            }
        }
        Mode::AtOnce
    }

    /// How long a call of this mode takes in milliseconds, unless it never ends.
    pub(crate) fn delay_ms(&self, mode: Mode) -> Option<i64> {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2);
        match mode {
            Mode::Never => None,
            Mode::Late => Some(ms(self.late)),
            Mode::AtOnce | Mode::Declined => Some(0),
            Mode::Callback | Mode::DoubleCallback | Mode::Poll | Mode::DeclinedLater => Some(ms(self.delay)),
        }
    }
}

impl FromStr for Behaviour {
    type Err = String;

    /// Reads a mode, or several with weights: `at_once=90,callback=8,declined=2`.
    fn from_str(text: &str) -> Result<Behaviour, String> {
        let mode = |part: &str| {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let mode = Mode::named(name.trim())
                .ok_or_else(|| format!("{name:?} is no way to behave: use {}", Mode::names()))?;
            let weight = weight
                .trim()
                .parse::<u32>()
                .map_err(|_| format!("the weight of {mode} must be a whole number from 0, not {weight:?}"))?;
            Ok((mode, weight))
        };
        let modes = text.split(',').map(mode).collect::<Result<Vec<_>, String>>()?;
        if modes.iter().all(|(_, weight)| *weight == 0) {
            return Err("at least one weight must not be 0".to_owned());
        }
        Ok(Behaviour { modes, ..Behaviour::default() })
    }
}

/// A text as a number in which every bit depends on every byte (FNV-1a, then a finisher).
fn mixed(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_meets_the_same_every_time_and_each_mode_as_often_as_it_weighs() {
        let behaviour: Behaviour = "at_once=70, callback=20,declined=10,never=0".parse().expect("it is read");
        let mut met = [0; 8];
        for number in 0..10_000 {
            let mode = behaviour.of(&format!("A-{number}"));
            assert_eq!(mode, behaviour.of(&format!("A-{number}")));
            met[Mode::ALL.iter().position(|one| *one == mode).expect("a mode")] += 1;
        }
        assert!((6_700..7_300).contains(&met[0]), "{met:?}");
        assert!((1_800..2_200).contains(&met[1]), "{met:?}");
        assert!((850..1_150).contains(&met[7]), "{met:?}");
        assert_eq!(met[2] + met[3] + met[4] + met[5] + met[6], 0);
        assert_eq!(Behaviour::always(Mode::Late).of("x"), Mode::Late);
    }

    #[test]
    fn a_behaviour_that_is_none_is_refused_with_what_to_write() {
        for (text, said) in [
            ("sometimes", "use at_once, callback"),
            ("at_once=x", "a whole number from 0"),
            ("late=0,never=0", "not be 0"),
            ("", "is no way to behave"),
        ] {
            let why = text.parse::<Behaviour>().expect_err(text);
            assert!(why.contains(said), "{text}: {why}");
        }
        for mode in Mode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(Behaviour::always(mode)));
        }
    }
}
