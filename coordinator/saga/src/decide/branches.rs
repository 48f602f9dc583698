//! Open sagas: branches are registered while the saga runs, until it is decided.
//!
//! The invariant: a branch that was registered is either made final or undone, and none is registered after
//! the decision. Nor is a repeat acknowledged then: whoever is told that a branch is registered goes on to do
//! its work, which nothing would undo or make final any more.

use super::{Draft, Rejected};
use crate::{
    Name, StepIx, StepName,
    definition::{Kind, STEPS_MAX},
    event::{BranchTerms, Event, Op},
    planted::{Bug, planted},
    state::{Direction, Dynamic, Saga, StepPhase},
    time::Timestamp,
};

/// Why an open saga takes nothing more.
pub(super) fn decided(saga: &Saga) -> Rejected {
    if saga.definition.is_open() { Rejected::Decided } else { Rejected::NotOpen }
}

/// What a registration under a name that is taken is told; `None` where it is free.
fn registered(saga: &Saga, name: &Name, terms: &BranchTerms) -> Option<Result<(), Rejected>> {
    let ix = saga.find_step(name)?;
    let Some(Dynamic::Branch(branch)) = saga.dynamic(ix) else { return Some(Err(Rejected::NotOpen)) };
    let named = |terms: &BranchTerms| {
        let name = |operation: &crate::definition::Operation| {
            (operation.participant.clone(), operation.name.clone())
        };
        (name(&terms.compensation), terms.confirm.as_ref().map(name), terms.input.clone())
    };
    // How patiently an operation is called may have changed since; what is called may not.
    let same = named(&branch.terms) == named(terms);
    Some(if same { Ok(()) } else { Err(Rejected::BranchConflict) })
}

/// Whether an open saga has this very branch, under this name and with these terms.
pub fn has_branch(saga: &Saga, name: &Name, terms: &BranchTerms) -> bool {
    registered(saga, name, terms) == Some(Ok(()))
}

impl Draft<'_> {
    pub(super) fn branch(&mut self, name: Name, terms: BranchTerms) -> Result<(), Rejected> {
        if !self.saga.definition.is_open() {
            return Err(Rejected::NotOpen);
        }
        self.undecided()?;
        if let Some(told) = registered(&self.saga, &name, &terms) {
            return told;
        }
        if self.saga.len() >= STEPS_MAX {
            return Err(Rejected::TooManyBranches);
        }
        self.push(Event::BranchRegistered { step: StepName::from(name), terms });
        Ok(())
    }

    pub(super) fn renew(&mut self, deadline_at: Timestamp) -> Result<(), Rejected> {
        self.undecided()?;
        if self.saga.deadline_at != Some(deadline_at) {
            self.push(Event::Renewed { deadline_at });
        }
        Ok(())
    }

    pub(super) fn commit(&mut self) -> Result<(), Rejected> {
        if self.saga.committed_at.is_some() {
            return Ok(());
        }
        self.undecided()?;
        self.push(Event::Committed);
        Ok(())
    }

    /// That an open saga can still take something: it is not decided, and its time is not up.
    fn undecided(&self) -> Result<(), Rejected> {
        let in_time = self.saga.deadline_at.is_none_or(|deadline| deadline > self.now);
        let undecided = self.saga.direction == Direction::Forward && self.saga.committed_at.is_none();
        let takes = undecided && (in_time || planted(Bug::BranchAfterTimeout));
        if takes && self.saga.definition.is_open() { Ok(()) } else { Err(decided(&self.saga)) }
    }

    /// Makes every branch final, once the saga is committed.
    pub(super) fn confirm_branches(&mut self) {
        if self.saga.committed_at.is_none() {
            return;
        }
        for i in 0..self.saga.len() {
            let ix = StepIx(i as u16);
            let Kind::Branch(branch) = &self.saga.spec(ix).kind else { continue };
            if self.saga.step(ix).phase == StepPhase::Registered {
                let input = branch.input.clone();
                self.push(Event::CallStarted { step: self.name(ix), op: Op::Confirm, input });
            }
        }
    }
}
