//! The trace of a saga (W3C trace context, OpenTelemetry): ids that follow from what they name.
//!
//! A saga is one trace, and the trace's id is the saga's id. The root span is the saga, each attempt is a child
//! of it, and what a participant does in answer is a child of the attempt. The ids of root and attempts are hashes
//! of what they stand for, so coordinators that never met add to the same trace, after days and restarts, and keep
//! nothing for it. Which sagas are traced is a hash of the saga's id as well ([`Sample`]): all of a saga or none.
//!
//! [`export`] sends spans to a collector; it stands behind the feature `trace`.

#[cfg(feature = "trace")]
pub mod export;

use crate::participant::CallOp;
use amends_saga::hash::Mix;
use std::{fmt, num::NonZeroU64, str::FromStr};
use uuid::Uuid;

/// A span's id within its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(NonZeroU64);

/// What an attempt is told apart by within its saga.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The step's name.
    pub step: &'a str,
    /// What is asked.
    pub op: CallOp,
    /// With [`CallOp::Status`], which call is asked about; else as `op`.
    pub status_of: CallOp,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Which question about that attempt; 0 for the call itself.
    pub poll: u32,
}

impl SpanId {
    /// The id of 64 bits; zero, which is no id, becomes one.
    pub const fn new(bits: u64) -> SpanId {
        match NonZeroU64::new(bits) {
            Some(bits) => SpanId(bits),
            None => SpanId(NonZeroU64::MIN),
        }
    }

    /// The span that is the whole saga.
    pub fn of_saga(saga: Uuid) -> SpanId {
        SpanId::new(mix(saga, 0).finish())
    }

    /// The span of one attempt of a call, or of one question about it.
    pub fn of_attempt(saga: Uuid, attempt: Attempt<'_>) -> SpanId {
        let Attempt { step, op, status_of, attempt, poll } = attempt;
        let mix = mix(saga, 1).bytes(step.as_bytes()).bytes(op.as_str().as_bytes());
        SpanId::new(
            mix.bytes(status_of.as_str().as_bytes()).add(u64::from(attempt)).add(u64::from(poll)).finish(),
        )
    }

    /// The span that says that a repair item was opened.
    pub fn of_opened_item(item: Uuid) -> SpanId {
        SpanId::new(mix(item, 2).finish())
    }

    /// The span of a repair item from its opening until it was settled.
    pub fn of_settled_item(item: Uuid) -> SpanId {
        SpanId::new(mix(item, 3).finish())
    }

    /// The 64 bits.
    pub const fn bits(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

fn mix(id: Uuid, kind: u64) -> Mix {
    let (high, low) = id.as_u64_pair();
    Mix::new(kind).add(high).add(low)
}

/// The W3C header `traceparent`: the trace, the span that calls, and whether it is recorded.
///
/// Written as `00-` and the trace's 32 hexadecimal digits, `-`, the span's 16, and `-01` or `-00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; the saga's id where a coordinator calls.
    pub trace: Uuid,
    /// The span that calls.
    pub span: SpanId,
    /// Whether the caller records its span, so that it is worth recording one's own.
    pub sampled: bool,
}

/// Says why a text is no [`TraceParent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent is 00-, 32 digits, -, 16 digits, - and 2 digits, lower-case hexadecimal, no id zero")]
pub struct BadTraceParent;

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace.as_simple(), self.span, u8::from(self.sampled))
    }
}

impl FromStr for TraceParent {
    type Err = BadTraceParent;

    /// Reads version 00, and of later versions what they have in common with it, as the specification asks.
    fn from_str(text: &str) -> Result<TraceParent, BadTraceParent> {
        let mut parts = text.split('-');
        let version = hex(parts.next(), 2)?;
        let trace = parts.next().filter(|digits| is_hex(digits, 32)).ok_or(BadTraceParent)?;
        let span = hex(parts.next(), 16)?;
        let flags = hex(parts.next(), 2)?;
        let ends = parts.next().is_none();
        let trace = Uuid::try_parse(trace).map_err(|_| BadTraceParent)?;
        if version == 0xff || (version == 0 && !ends) || trace.is_nil() || span == 0 {
            return Err(BadTraceParent);
        }
        Ok(TraceParent { trace, span: SpanId::new(span), sampled: flags & 1 == 1 })
    }
}

fn is_hex(digits: &str, length: usize) -> bool {
    digits.len() == length && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(part: Option<&str>, length: usize) -> Result<u64, BadTraceParent> {
    let digits = part.filter(|digits| is_hex(digits, length)).ok_or(BadTraceParent)?;
    u64::from_str_radix(digits, 16).map_err(|_| BadTraceParent)
}

/// Which share of sagas is traced, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample(f64);

/// Says why a text is no [`Sample`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a share from 0 (none) to 1 (all), such as 0.1")]
pub struct BadSample;

impl Sample {
    /// Every saga.
    pub const ALL: Sample = Sample(1.0);
    /// No saga.
    pub const NONE: Sample = Sample(0.0);

    /// Whether a saga is among them. Every coordinator with the same share gives the same answer.
    pub fn takes(self, saga: Uuid) -> bool {
        // 53 bits are what a double holds exactly, so that 1 takes every saga and 0 takes none.
        let place = (mix(saga, 4).finish() >> 11) as f64 / (1_u64 << 53) as f64;
        place < self.0
    }
}

impl Default for Sample {
    fn default() -> Self {
        Sample::ALL
    }
}

impl FromStr for Sample {
    type Err = BadSample;
    fn from_str(text: &str) -> Result<Sample, BadSample> {
        let share: f64 = text.parse().map_err(|_| BadSample)?;
        if (0.0..=1.0).contains(&share) { Ok(Sample(share)) } else { Err(BadSample) }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests;
