//! The rows of the repair queue, held against the journals that they come from (I22).

use super::{Checker, Facts, Violation};
use amends_saga::{How, Record, RepairStatus, Saga, SagaId};
use amends_store::repairs::Item;
use std::collections::BTreeMap;

impl Checker {
    /// Holds the rows of the repair queue against the journals that they come from.
    pub fn queue_at_rest(&mut self, items: &[Item], journal: impl Fn(SagaId) -> Option<Vec<Record>>) {
        let mut broken = Vec::new();
        let mut by_saga: BTreeMap<SagaId, Vec<&Item>> = BTreeMap::new();
        for item in items {
            by_saga.entry(item.saga.expect("a stuck step has a saga")).or_default().push(item);
        }
        for (id, facts) in &self.sagas {
            let rows = by_saga.remove(id).unwrap_or_default();
            let open = rows.iter().filter(|row| row.status != RepairStatus::Settled).count();
            let opened: usize = facts.times_parked.values().sum();
            if open != facts.parked.len() && facts.ended.is_none() {
                broken.push(format!("I22: {id} has {open} open items and {:?} parked", facts.parked));
            }
            if open > 0 && facts.ended.is_some() {
                broken.push(format!("I22: {id} has ended and {open} items of it are open"));
            }
            if rows.len() != opened {
                broken.push(format!("I22: {id} was parked {opened} times and has {} items", rows.len()));
            }
            let Some(records) = journal(*id) else { continue };
            for row in rows {
                broken.extend(shows(facts, *id, row, &records));
            }
        }
        broken.extend(by_saga.keys().map(|id| format!("I22: an item of {id}, which nobody knows")));
        self.violations.append(&mut broken);
    }
}

/// Whether folding the journal up to the end of an item shows it as its row says.
fn shows(facts: &Facts, id: SagaId, row: &Item, records: &[Record]) -> Option<Violation> {
    let upto = records.iter().take(row.seq as usize);
    let saga = Saga::replay(id, facts.plan.definition.clone(), upto);
    let Some((_, _, repair)) = saga.find_item(row.item) else {
        return Some(format!("I22: item {} of {id} is not in the journal up to {}", row.item, row.seq));
    };
    let followed = row.settled_how == Some(How::ParkedAgain);
    let same =
        repair.status == row.status && repair.settled.as_ref().map(|settled| settled.how) == row.settled_how;
    (!same && !followed)
        .then(|| format!("I22: item {} of {id} is {repair:?} and its row says {row:?}", row.item))
}
