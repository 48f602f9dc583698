//! What waits at a gate: three lines, each in the order in which it came.

use super::{Class, Ticket, class};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// How many calls of each line are looked at for a probe, from one end to the other.
const LOOKED_AT: u64 = 8;

/// A line of those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    Fresh,
    Undo,
    Retry,
}

/// The line of a class.
pub(super) fn line(class: Class) -> Line {
    match class {
        Class::Fresh => Line::Fresh,
        Class::Undo { .. } => Line::Undo,
        Class::Retry => Line::Retry,
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    lines: [BTreeMap<u64, (Ticket, Class)>; 3],
    places: BTreeMap<Ticket, (Line, u64, Option<Timestamp>)>,
    expiring: BTreeSet<(Timestamp, Ticket)>,
    order: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many wait in a line.
    pub(super) fn waiting(&self, line: Line) -> usize {
        self.lines[line as usize].len()
    }

    pub(super) fn push(&mut self, ticket: Ticket, class: Class, expires_at: Option<Timestamp>) {
        let line = line(class);
        self.remove(ticket);
        self.order += 1;
        self.lines[line as usize].insert(self.order, (ticket, class));
        self.places.insert(ticket, (line, self.order, expires_at));
        self.expiring.extend(expires_at.map(|at| (at, ticket)));
    }

    /// The class of whoever is first in a line.
    pub(super) fn first(&self, line: Line) -> Option<Class> {
        self.lines[line as usize].first_key_value().map(|(_, (_, class))| *class)
    }

    /// Takes the first of a line, or the last.
    ///
    /// # Panics
    /// When the line is empty.
    pub(super) fn pop(&mut self, line: Line, newest: bool) -> (Ticket, Class) {
        let waiting = &self.lines[line as usize];
        let found = if newest { waiting.last_key_value() } else { waiting.first_key_value() };
        let (_, found) = found.expect("somebody waits in this line");
        let found = *found;
        self.remove(found.0);
        found
    }

    /// Takes what is least like a call that failed: of another saga, and of another class; `turn` says which of several.
    ///
    /// What fails for a reason of its own often waits beside its like, and each of them would be a probe in vain.
    ///
    /// # Panics
    /// When nobody waits.
    pub(super) fn pop_unlike(&mut self, failed: Option<Ticket>, turn: usize) -> (Ticket, Class) {
        let likeness = |(ticket, its): &(Ticket, Class)| {
            failed.map(|failed| (failed.0 == ticket.0, class(failed.1) == *its))
        };
        let looked_at = self.spread();
        let least = looked_at.iter().map(likeness).min();
        let best: Vec<_> = looked_at.iter().filter(|call| Some(likeness(call)) == least).collect();
        let found = *best[turn % best.len()];
        self.remove(found.0);
        found
    }

    /// Some of every line, from one end to the other: of the fresh calls the newest first, of others the oldest.
    fn spread(&self) -> Vec<(Ticket, Class)> {
        let mut found: Vec<(Ticket, Class)> = Vec::new();
        for (number, line) in self.lines.iter().enumerate() {
            let (Some((first, _)), Some((last, _))) = (line.first_key_value(), line.last_key_value()) else {
                continue;
            };
            for nth in 0..LOOKED_AT {
                let nth = if number == Line::Fresh as usize { LOOKED_AT - 1 - nth } else { nth };
                let place = first + (last - first) * nth / (LOOKED_AT - 1);
                let call = line.range(place..).next().map(|(_, call)| *call);
                found.extend(call.filter(|call| found.last() != Some(call)));
            }
        }
        found
    }

    pub(super) fn remove(&mut self, ticket: Ticket) {
        let Some((line, order, expires_at)) = self.places.remove(&ticket) else { return };
        self.lines[line as usize].remove(&order);
        if let Some(at) = expires_at {
            self.expiring.remove(&(at, ticket));
        }
    }

    /// Takes out whoever has waited too long.
    pub(super) fn expire(&mut self, now: Timestamp, expired: &mut Vec<Ticket>) {
        while let Some((at, ticket)) = self.expiring.first().copied().filter(|(at, _)| *at <= now) {
            debug_assert!(at <= now);
            self.remove(ticket);
            expired.push(ticket);
        }
    }

    /// When somebody will have waited too long.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        self.expiring.first().map(|(at, _)| *at)
    }
}
