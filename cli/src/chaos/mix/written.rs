//! A mix as text: `delay=0.1:200ms,drop_before=0.05`, read with an error that says what to write, and written back.

use super::{BadMix, Down, Mix, PRESETS, Repeated, Share, Timed, WHOLE};
use amends_wire::{Name, span::Span};
use std::{fmt, str::FromStr, time::Duration};

/// The words of the written form, each with an example.
pub(super) const WORDS: [(&str, &str); 13] = [
    ("delay", "delay=0.1:200ms"),
    ("drop_before", "drop_before=0.05"),
    ("drop_after", "drop_after=0.05"),
    ("duplicate", "duplicate=0.1:300ms"),
    ("refuse", "refuse=0.05"),
    ("garbage", "garbage=0.01"),
    ("overload", "overload=0.05:100ms"),
    ("undo_fails", "undo_fails=0.2:3"),
    ("undo_fails_forever", "undo_fails_forever=0.01"),
    ("undo_refused", "undo_refused=0.01"),
    ("down", "down=inventory@10s+5s"),
    ("restart", "restart=0.5"),
    ("crash", "crash=0.3+0.6"),
];

/// How late a copy is at most where nothing is said.
const COPY_LATE: Duration = Duration::from_millis(300);
/// How much later a delayed call arrives where nothing is said.
const DELAY: Duration = Duration::from_millis(100);
/// What an overloaded participant asks for where nothing is said.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// The longest time in a mix: beyond it a run is not a rehearsal any more.
const TIME_MAX: Duration = Duration::from_secs(3600);
/// How often a reversal fails at most before it works.
const TIMES_MAX: u32 = 100;

impl Mix {
    fn set(&mut self, word: &str, value: &str) -> Result<(), BadMix> {
        match word {
            "delay" => self.delay = timed(word, value, DELAY)?,
            "drop_before" => self.drop_before = share(word, value)?,
            "drop_after" => self.drop_after = share(word, value)?,
            "duplicate" => self.duplicate = timed(word, value, COPY_LATE)?,
            "refuse" => self.refuse = share(word, value)?,
            "garbage" => self.garbage = share(word, value)?,
            "overload" => self.overload = timed(word, value, RETRY_AFTER)?,
            "undo_fails" => self.undo_fails = repeated(word, value)?,
            "undo_fails_forever" => self.undo_fails_forever = share(word, value)?,
            "undo_refused" => self.undo_refused = share(word, value)?,
            "down" => self.down.push(down(value)?),
            "restart" => self.restart = shares(word, value)?,
            "crash" => self.crash = shares(word, value)?,
            other => return Err(unknown(other)),
        }
        Ok(())
    }

    fn check(self) -> Result<Mix, BadMix> {
        let all: u32 = self.exclusive().iter().map(|share| share.0).sum();
        if all > WHOLE {
            let said = "drop_before, overload, refuse, drop_after and garbage together exceed 1: one call meets one \
                        of them; write smaller shares";
            return Err(BadMix(said.to_owned()));
        }
        Ok(self)
    }
}

impl FromStr for Mix {
    type Err = BadMix;

    /// Reads a preset's name, faults separated by commas, or a name followed by faults that add to it.
    fn from_str(text: &str) -> Result<Mix, BadMix> {
        let mut mix = Mix::default();
        for (i, part) in text.split(',').map(str::trim).filter(|part| !part.is_empty()).enumerate() {
            match part.split_once('=') {
                Some((word, value)) => mix.set(word.trim(), value.trim())?,
                None if i == 0 => mix = named(part)?,
                None if WORDS.iter().any(|(word, _)| *word == part) => return Err(expected(part, part)),
                None => return Err(unknown(part)),
            }
        }
        mix.check()
    }
}

fn named(name: &str) -> Result<Mix, BadMix> {
    if let Some((_, faults)) = PRESETS.iter().find(|(preset, _)| *preset == name) {
        return faults.parse();
    }
    if WORDS.iter().any(|(word, _)| *word == name) {
        return Err(expected(name, name));
    }
    Err(unknown(name))
}

fn unknown(word: &str) -> BadMix {
    let shown: String = word.chars().take(40).collect();
    let presets: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
    let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
    BadMix(format!(
        "\"{}\" is no fault; write a preset ({}), or faults such as drop_after=0.05,undo_fails=0.2:3 from {}",
        shown.escape_debug(),
        presets.join(", "),
        words.join(", ")
    ))
}

/// What is told when a word's value cannot be read.
fn expected(word: &str, value: &str) -> BadMix {
    let shown: String = value.chars().take(40).collect();
    let example = WORDS.iter().find(|(known, _)| *known == word).map_or("", |(_, example)| example);
    let form = match word {
        "delay" | "duplicate" | "overload" => "a share from 0 to 1 and a time of at most 1h",
        "undo_fails" => "a share from 0 to 1 and a number of times from 1 to 100",
        "down" => "a participant or *, when it goes and for how long, at most 1h each",
        "restart" | "crash" => "shares from 0 to 1 of the sagas started, separated by +",
        _ => "a share from 0 to 1",
    };
    BadMix(format!(
        "\"{}\" cannot be read as \"{word}\"; write {form}, such as {example}",
        shown.escape_debug()
    ))
}

fn share(word: &str, value: &str) -> Result<Share, BadMix> {
    value.parse().map_err(|()| expected(word, value))
}

fn shares(word: &str, value: &str) -> Result<Vec<Share>, BadMix> {
    value.split('+').map(|one| one.parse().map_err(|()| expected(word, value))).collect()
}

fn timed(word: &str, value: &str, default: Duration) -> Result<Timed, BadMix> {
    let (share_text, time) = value.split_once(':').map_or((value, None), |(share, time)| (share, Some(time)));
    let time = time.map_or(Some(default), span).ok_or_else(|| expected(word, value))?;
    Ok(Timed { share: share_text.parse().map_err(|()| expected(word, value))?, time })
}

fn repeated(word: &str, value: &str) -> Result<Repeated, BadMix> {
    let (share, times) = value.split_once(':').unwrap_or((value, "1"));
    let times = times.parse().ok().filter(|times| (1..=TIMES_MAX).contains(times));
    match (share.parse(), times) {
        (Ok(share), Some(times)) => Ok(Repeated { share, times }),
        _ => Err(expected(word, value)),
    }
}

fn down(value: &str) -> Result<Down, BadMix> {
    let read = || {
        let (participant, times) = value.split_once('@')?;
        let (from, lasting) = times.split_once('+')?;
        let participant = match participant {
            "*" => None,
            name => Some(Name::parse(name).ok()?),
        };
        Some(Down { participant, from: span(from)?, lasting: span(lasting)? })
    };
    read().ok_or_else(|| expected("down", value))
}

fn span(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let time = Duration::from_millis(span.millis().0);
    (time <= TIME_MAX).then_some(time)
}

impl FromStr for Share {
    type Err = ();
    fn from_str(text: &str) -> Result<Share, ()> {
        let share: f64 = text.trim().parse().map_err(|_| ())?;
        // Written so that what is no number is refused as well.
        if (0.0..=1.0).contains(&share) {
            Ok(Share((share * f64::from(WHOLE)).round() as u32))
        } else {
            Err(())
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / f64::from(WHOLE))
    }
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.share, written(self.time))
    }
}

impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.share, self.times)
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let participant = self.participant.as_ref().map_or("*", Name::as_str);
        write!(f, "{participant}@{}+{}", written(self.from), written(self.lasting))
    }
}

fn written(time: Duration) -> Span {
    Span::from(amends_wire::Millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

/// The written form, with the faults that are there.
impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        let mut put = |word: &str, is: bool, value: String| {
            if is {
                parts.push(format!("{word}={value}"));
            }
        };
        let plus = |shares: &[Share]| {
            let shares: Vec<String> = shares.iter().map(Share::to_string).collect();
            shares.join("+")
        };
        let some = |share: Share| share != Share::NONE;
        put("delay", some(self.delay.share), self.delay.to_string());
        put("drop_before", some(self.drop_before), self.drop_before.to_string());
        put("drop_after", some(self.drop_after), self.drop_after.to_string());
        put("duplicate", some(self.duplicate.share), self.duplicate.to_string());
        put("refuse", some(self.refuse), self.refuse.to_string());
        put("garbage", some(self.garbage), self.garbage.to_string());
        put("overload", some(self.overload.share), self.overload.to_string());
        put("undo_fails", some(self.undo_fails.share), self.undo_fails.to_string());
        put("undo_fails_forever", some(self.undo_fails_forever), self.undo_fails_forever.to_string());
        put("undo_refused", some(self.undo_refused), self.undo_refused.to_string());
        for down in &self.down {
            put("down", true, down.to_string());
        }
        put("restart", !self.restart.is_empty(), plus(&self.restart));
        put("crash", !self.crash.is_empty(), plus(&self.crash));
        if parts.is_empty() { f.write_str("none") } else { f.write_str(&parts.join(",")) }
    }
}
