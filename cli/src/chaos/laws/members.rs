//! A step of a definition as it was in one saga: itself, or its items; and what the saga did that each of them runs.

use super::{Ending, Evidence, Judge, Law, What};
use amends_saga::{SagaId, Status, Step, StepIx, definition::Undo};
use amends_wire::api::{OpStatus, StepView};
use std::collections::BTreeMap;

/// One call to a participant, with whether it can be undone.
pub(super) struct Leaf {
    pub(super) saga: SagaId,
    pub(super) step: String,
    pub(super) is_undoable: bool,
}

/// Every ending by its id.
pub(in crate::chaos) type Endings<'a> = BTreeMap<SagaId, &'a Ending>;

impl<'a> Judge<'a> {
    /// A step, or its items in its place, as the saga shows them.
    pub(super) fn members(&self, step: &Step) -> Vec<&'a StepView> {
        let shown = self.ending.view.iter().flat_map(|view| view.steps.iter().flatten());
        let is_meant = |shown: &&StepView| match step.fan {
            Some(_) => shown.name.base() == step.name.as_str() && shown.name.as_str() != step.name.as_str(),
            None => shown.name.as_str() == step.name.as_str(),
        };
        shown.filter(is_meant).collect()
    }

    /// The saga that a step has run.
    pub(super) fn child(&self, member: &StepView) -> Option<&'a Ending> {
        self.endings.get(&member.child?).copied()
    }

    /// The calls of a step, its items' or those of the saga it runs included.
    fn leaves(&self, ix: StepIx) -> Vec<Leaf> {
        let Some(definition) = self.definition() else { return Vec::new() };
        let step = definition.step(ix);
        self.members(step).into_iter().flat_map(|member| self.leaves_of(member, step)).collect()
    }

    fn leaves_of(&self, member: &StepView, step: &Step) -> Vec<Leaf> {
        match step.call() {
            None => Vec::new(),
            Some(call) if call.action.is_child() => {
                self.child(member).map_or(Vec::new(), |child| all(self.evidence, self.endings, child))
            }
            Some(_) => vec![Leaf {
                saga: self.ending.id,
                step: member.name.to_string(),
                is_undoable: step.undo().is_some(),
            }],
        }
    }

    /// When a call was first done: when it arrived, and when it was done.
    fn first_of(&self, leaf: &Leaf, what: What) -> Option<(u64, u64)> {
        let own = self.by_saga.get(&leaf.saga).into_iter().flatten();
        let mut found = own.filter(|effect| effect.step == leaf.step && effect.what == what);
        found.next().map(|effect| (effect.began, effect.ended))
    }

    /// When the first of these was undone.
    fn first_undone(&self, leaves: &[Leaf]) -> Option<u64> {
        leaves.iter().filter_map(|leaf| self.first_of(leaf, What::Undone)).map(|(_, ended)| ended).min()
    }

    /// Whether something of these still stood at a time.
    fn stands_at(&self, leaves: &[Leaf], time: u64) -> bool {
        leaves.iter().any(|leaf| {
            let is_done = self.first_of(leaf, What::Applied).is_some();
            let undone = self.first_of(leaf, What::Undone).map(|(_, ended)| ended);
            leaf.is_undoable && is_done && undone.is_none_or(|undone| undone > time)
        })
    }

    /// Checks that every step was undone after those that came after it, and items the last ones first.
    pub(super) fn order(&mut self) {
        let Some(definition) = self.definition() else { return };
        for (ix, step) in definition.steps() {
            self.items_order(step);
            let Some(undone) = self.first_undone(&self.leaves(ix)) else { continue };
            for after in definition.descendants(ix) {
                let later = definition.step(*after);
                if later.undo().is_none_or(|undo| undo.eager) {
                    continue;
                }
                let leaves = self.leaves(*after);
                if !leaves.iter().any(|leaf| self.first_of(leaf, What::Applied).is_some()) {
                    continue;
                }
                self.check(Law::ReverseOrder, 1);
                if self.stands_at(&leaves, undone) {
                    let what = format!("was undone before {}, which came after it", later.name);
                    self.breach(Law::ReverseOrder, Some(step.name.as_str()), what);
                }
            }
        }
    }

    /// When an item is undone, fewer of those behind it stand than may be under way together.
    fn items_order(&mut self, step: &Step) {
        let (Some(fan), Some(undo)) = (&step.fan, step.undo()) else { return };
        let parallel = fan.parallel.max(1) as usize;
        if undo.eager {
            return;
        }
        let members = self.members(step);
        // One that is no call may have been undone by itself, while others were still done.
        let is_done = |member: &&StepView| {
            let action = member.action.as_ref();
            member.child.is_none() || action.is_some_and(|action| action.status == OpStatus::Done)
        };
        let items: Vec<(String, bool, Vec<Leaf>)> = members
            .into_iter()
            .map(|member| (member.name.to_string(), is_done(&member), self.leaves_of(member, step)))
            .collect();
        for (at, (name, is_done, leaves)) in items.iter().enumerate() {
            let Some(undone) = self.first_undone(leaves).filter(|_| *is_done) else { continue };
            self.check(Law::ReverseOrder, 1);
            let standing =
                items[at + 1..].iter().filter(|(_, _, later)| self.stands_at(later, undone)).count();
            if standing >= parallel {
                let what = format!("was undone before {standing} items that come after it");
                self.breach(Law::ReverseOrder, Some(name), what);
            }
        }
    }

    /// Checks that the saga which a step runs has ended as the step has.
    pub(super) fn child_outcome(&mut self, status: Status, member: &StepView, undo: &Undo) {
        let step = member.name.to_string();
        let is = self.child(member).and_then(|child| child.view.as_ref()).map(|view| view.status);
        match status {
            Status::Completed => {
                self.check(Law::CompletedIsDone, 1);
                if is != Some(Status::Completed) {
                    self.breach(Law::CompletedIsDone, Some(&step), "runs a saga that has not completed");
                }
            }
            Status::Compensated => {
                let owes = matches!(undo, Undo::Call(_));
                self.check(Law::CompensatedIsUndone, usize::from(owes));
                if owes && is == Some(Status::Completed) {
                    self.breach(Law::CompensatedIsUndone, Some(&step), "runs a saga that is not undone");
                }
            }
            Status::Running | Status::Compensating | Status::Repair | Status::Abandoned => {}
        }
    }
}

/// Every call of a saga and of those that it runs.
fn all(evidence: &Evidence<'_>, endings: &Endings<'_>, saga: &Ending) -> Vec<Leaf> {
    let Some(part) = evidence.parts.at(&saga.path) else { return Vec::new() };
    let mut leaves = Vec::new();
    for shown in saga.view.iter().flat_map(|view| view.steps.iter().flatten()) {
        let Some(step) = part.definition.find(shown.name.base()).map(|ix| part.definition.step(ix)) else {
            continue;
        };
        let is_fanned = shown.items.is_some();
        match step.call() {
            None => {}
            Some(call) if call.action.is_child() => {
                let child = shown.child.and_then(|child| endings.get(&child));
                leaves.extend(child.into_iter().flat_map(|child| all(evidence, endings, child)));
            }
            Some(_) if is_fanned => {}
            Some(_) => leaves.push(Leaf {
                saga: saga.id,
                step: shown.name.to_string(),
                is_undoable: step.undo().is_some(),
            }),
        }
    }
    leaves
}
