//! Gathering calls of one operation into batches, without ever waiting for more.
//!
//! A line is one operation of one participant. When it is idle a call leaves at once; while
//! [`WORKERS_EACH`] requests of it are on their way to each instance, what comes gathers, and the first to return takes
//! everything that waits, up to the batch's limit. So load sets the size of a batch.

use super::Order;
use amends_saga::Name;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Requests of one line on their way at a time, for each instance of the participant.
const WORKERS_EACH: usize = 2;

/// How the calls of a line are gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// Calls in one batch, at most.
    pub(crate) max: usize,
    /// The instances that batches can be sent to.
    pub(crate) instances: usize,
}

/// The participant and its operation.
pub(crate) type Line = (Name, Name);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Order>,
    workers: usize,
}

/// Every line with calls waiting or on their way. What waits is bounded by the sagas admitted.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<BTreeMap<Line, Queue>>);

impl Lines {
    /// Queues these calls and returns the lines that need one more worker.
    pub(crate) fn queue(&self, orders: Vec<(Form, Order)>) -> Vec<(Line, usize)> {
        let mut start = Vec::new();
        if orders.is_empty() {
            return start;
        }
        let mut lines = self.lock();
        for (Form { max, instances }, order) in orders {
            let operation = &order.call.operation;
            let line = (operation.participant.clone(), operation.name.clone());
            let queue = lines.entry(line.clone()).or_default();
            queue.waiting.push_back(order);
            // One worker takes `max` calls; another starts only for what that leaves behind.
            if queue.workers < WORKERS_EACH * instances.max(1) && queue.waiting.len() > queue.workers * max {
                queue.workers += 1;
                start.push((line, max));
            }
        }
        start
    }

    /// Takes what waits in a line, or ends the worker that asks.
    pub(crate) fn take(&self, line: &Line, max: usize) -> Option<Vec<Order>> {
        let mut lines = self.lock();
        let queue = lines.get_mut(line)?;
        if queue.waiting.is_empty() {
            queue.workers -= 1;
            if queue.workers == 0 {
                lines.remove(line);
            }
            return None;
        }
        let count = queue.waiting.len().min(max);
        Some(queue.waiting.drain(..count).collect())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Line, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
