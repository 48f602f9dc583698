//! Steps that come while a saga runs: the items of fanned-out steps, and the branches of open sagas.
//!
//! They stand behind the definition's steps and are steps like those in every respect; only what describes
//! them lies elsewhere. The invariant: a step keeps its place, and its name, for the saga's whole life.

use super::{Saga, StepPhase, StepState};
use crate::{
    Json, Name, StepName,
    definition::{BranchStep, Kind, Step, StepIx, Template, UndoCall},
    event::{BranchTerms, Op},
};
use std::{hash, sync::Arc};

/// What a step is that came while the saga ran.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dynamic {
    /// One item of a fanned-out step.
    Item {
        /// That step.
        of: StepIx,
        /// Its place in the list, from 0.
        index: u32,
        /// The item.
        value: Json,
        /// Its name.
        name: StepName,
    },
    /// A branch of an open saga.
    Branch(Box<Branch>),
}

/// A branch of an open saga.
#[derive(Debug, Clone)]
pub struct Branch {
    /// Its name.
    pub name: StepName,
    /// What was registered.
    pub terms: BranchTerms,
    step: Arc<Step>,
}

/// Two branches are the same when the same was registered under the same name.
impl PartialEq for Branch {
    fn eq(&self, other: &Branch) -> bool {
        (&self.name, &self.terms) == (&other.name, &other.terms)
    }
}

impl Eq for Branch {}

impl hash::Hash for Branch {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        (&self.name, &self.terms).hash(state);
    }
}

/// The items of a fanned-out step: they stand one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FanState {
    /// The place of the first item, if there is one.
    pub first: u16,
    /// How many there are.
    pub count: u16,
}

impl FanState {
    /// The places of the items.
    pub fn items(self) -> impl DoubleEndedIterator<Item = StepIx> + Clone {
        (self.first..self.first + self.count).map(StepIx)
    }
}

/// The most steps that come while one saga runs.
pub const DYNAMIC_MAX: usize = 10_000;

impl Branch {
    pub(crate) fn new(name: StepName, terms: BranchTerms) -> Branch {
        let undo = UndoCall {
            operation: terms.compensation.clone(),
            with: None::<Arc<dyn Template>>,
            retry: terms.undo_retry,
            eager: false,
        };
        let (confirm, retry, input) = (terms.confirm.clone(), terms.retry, terms.input.clone());
        let step = Step {
            name: Name::parse(name.base()).expect("the base of a step's name is a name"),
            kind: Kind::Branch(BranchStep { confirm, retry, undo, input }),
            after: Vec::new(),
            when: None,
            pivot: false,
            fan: None,
            returns: None,
        };
        Branch { name, terms, step: Arc::new(step) }
    }
}

impl Saga {
    /// What a step is, if it came while the saga ran.
    pub fn dynamic(&self, ix: StepIx) -> Option<&Dynamic> {
        self.dynamic.get(usize::from(ix.0).checked_sub(self.definition.len())?)
    }

    /// What describes a step; for an item that is the step it is an item of.
    pub fn spec(&self, ix: StepIx) -> &Step {
        match self.dynamic(ix) {
            None => self.definition.step(ix),
            Some(Dynamic::Item { of, .. }) => self.definition.step(*of),
            Some(Dynamic::Branch(branch)) => &branch.step,
        }
    }

    /// A step's name.
    pub fn step_name(&self, ix: StepIx) -> StepName {
        match self.dynamic(ix) {
            None => StepName::from(&self.definition.step(ix).name),
            Some(Dynamic::Item { name, .. }) => name.clone(),
            Some(Dynamic::Branch(branch)) => branch.name.clone(),
        }
    }

    /// The step of the definition that a step is, or is an item of; a branch is its own.
    pub fn base(&self, ix: StepIx) -> StepIx {
        match self.dynamic(ix) {
            Some(Dynamic::Item { of, .. }) => *of,
            None | Some(Dynamic::Branch(_)) => ix,
        }
    }

    /// The item that a step of a fanned-out one is for, with its place in the list.
    pub fn item(&self, ix: StepIx) -> Option<(&Json, u32)> {
        match self.dynamic(ix)? {
            Dynamic::Item { index, value, .. } => Some((value, *index)),
            Dynamic::Branch(_) => None,
        }
    }

    /// The items of a step, once it is fanned out.
    pub fn fan(&self, ix: StepIx) -> Option<FanState> {
        self.fans.get(&ix).copied()
    }

    /// Whether a step is done by its items rather than by itself.
    pub fn is_fanned(&self, ix: StepIx) -> bool {
        self.dynamic(ix).is_none() && self.definition.step(ix).fan.is_some()
    }

    /// A step's place by its name.
    pub fn find_step(&self, name: &str) -> Option<StepIx> {
        self.definition.find(name).or_else(|| self.by_name.get(name).copied())
    }

    /// What a step's forward call is called.
    pub fn forward_op(&self, ix: StepIx) -> Op {
        match self.dynamic(ix) {
            Some(Dynamic::Branch(_)) => Op::Confirm,
            None | Some(Dynamic::Item { .. }) => Op::Action,
        }
    }

    /// The steps that must be undone before `ix` is: those that came after it.
    pub fn undone_before(&self, ix: StepIx) -> Vec<StepIx> {
        if self.definition.is_open() {
            return (ix.0 + 1..self.steps.len() as u16).map(StepIx).collect();
        }
        let later = self.definition.descendants(self.base(ix)).iter();
        later.flat_map(|later| self.members(*later)).collect()
    }

    /// A step, or its items in its place.
    pub fn members(&self, ix: StepIx) -> Vec<StepIx> {
        match self.fan(ix) {
            Some(fan) => fan.items().collect(),
            None => vec![ix],
        }
    }

    pub(super) fn add_items(&mut self, of: StepIx, items: &Json) {
        let list = items.as_array().expect("what a step is fanned out over is a list");
        let first = self.steps.len() as u16;
        let base = self.definition.step(of).name.clone();
        for (index, value) in list.iter().enumerate() {
            let (index, value) = (index as u32, Arc::new(value.clone()));
            let name = StepName::item(&base, index);
            self.add(name.clone(), Dynamic::Item { of, index, value, name }, StepPhase::Pending);
        }
        let before = self.fans.insert(of, FanState { first, count: list.len() as u16 });
        assert!(before.is_none(), "a step is fanned out once");
    }

    pub(super) fn add(&mut self, name: StepName, dynamic: Dynamic, phase: StepPhase) {
        assert!(self.dynamic.len() < DYNAMIC_MAX, "a saga's steps are bounded");
        let ix = StepIx(self.steps.len() as u16);
        let before = self.by_name.insert(name.clone(), ix);
        assert!(before.is_none() && self.definition.find(&name).is_none(), "step \"{name}\" is new");
        self.steps.push(StepState::new(phase));
        self.dynamic.push(dynamic);
    }
}
