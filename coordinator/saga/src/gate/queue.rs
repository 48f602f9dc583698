//! What waits at a gate: three lines, each in the order in which it came.

use super::{Class, Ticket};
use crate::{SagaId, time::Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// How many calls are looked at for a probe of another saga than the one that failed.
const PROBES_LOOKED_AT: usize = 4;

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

    /// Takes the first of a line or the last, or one close to it where that belongs to a saga to be shunned.
    ///
    /// # Panics
    /// When the line is empty.
    pub(super) fn pop(&mut self, line: Line, shunned: Option<SagaId>, newest: bool) -> (Ticket, Class) {
        let waiting = &self.lines[line as usize];
        let other = |(ticket, _): &&(Ticket, Class)| Some(ticket.0) != shunned;
        let found = match newest {
            true => waiting
                .values()
                .rev()
                .take(PROBES_LOOKED_AT)
                .find(other)
                .or_else(|| waiting.values().next_back()),
            false => waiting.values().take(PROBES_LOOKED_AT).find(other).or_else(|| waiting.values().next()),
        };
        let found = *found.expect("somebody waits in this line");
        self.remove(found.0);
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
