//! A definition as the core knows it: parsed, resolved, and with its graph worked out.
//!
//! The text a person writes, its expressions and its schemas live in the wire crate; what reaches here
//! has no unknown step, no cycle and no missing retry schedule. A definition never changes once made.

mod returns;

pub use returns::{Misfit, Misfits, Returns};

use crate::{
    Json, Name,
    hash::Mix,
    schedule::{Schedule, UndoSchedule},
    state::Saga,
    time::Millis,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// The position of a step in its definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIx(pub u16);

/// The largest number of steps in one definition.
pub const STEPS_MAX: usize = 512;

/// Something that yields JSON from what has happened so far: a parsed `with`, `output` or `default`.
///
/// An implementation must be deterministic and limited in time and size.
pub trait Template: fmt::Debug + Send + Sync {
    /// Renders the value.
    ///
    /// # Errors
    /// A sentence saying which expression met something undefined, or broke a limit.
    fn render(&self, scope: &Scope<'_>) -> Result<Json, String>;
}

/// The largest number of items one step is fanned out over.
pub const FAN_MAX: usize = 1000;

/// The participant's name under which a child saga is called; nobody can register it.
pub const CHILD_PARTICIPANT: &str = "saga";

/// The name of the definition of open sagas, and its hash; nobody can register it.
pub const OPEN_NAME: &str = "open";

/// What a template may see: the saga's input and the outputs of steps that are done, and for an item of a
/// fanned-out step the item.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    saga: &'a Saga,
    own: Option<StepIx>,
    item: Option<(&'a Json, u32)>,
}

/// The immutable description of a saga, `name@version`.
#[derive(Debug)]
pub struct Definition {
    /// Its name.
    pub name: Name,
    /// Its version, from 1.
    pub version: u32,
    /// The hash of its content, as lower-case hex.
    pub hash: String,
    /// How long a saga may go forward.
    pub deadline: Option<Millis>,
    steps: Vec<Step>,
    output: Option<Arc<dyn Template>>,
    by_name: BTreeMap<Name, StepIx>,
    descendants: Vec<Vec<StepIx>>,
    pivot: Option<StepIx>,
    open: bool,
}

/// One node of the graph.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name, unique in the definition.
    pub name: Name,
    /// What it does.
    pub kind: Kind,
    /// The steps that must be done before it starts.
    pub after: Vec<StepIx>,
    /// Whether it runs at all: rendered when its turn has come, and skipped on `false`. Anything else than
    /// `true` or `false` refuses the step.
    pub when: Option<Arc<dyn Template>>,
    /// Whether the saga only goes forward once it is done. At most one step is; [`Definition::new`] makes it
    /// wait for every step that does not come after it.
    pub pivot: bool,
    /// The list it is done for, item by item.
    pub fan: Option<Fan>,
    /// What its output must be like; of a step that is done for a list, the output of each item.
    pub returns: Option<Arc<dyn Returns>>,
}

/// What a step is fanned out over.
#[derive(Debug, Clone)]
pub struct Fan {
    /// Yields the list, of at most [`FAN_MAX`] items; anything else refuses the step.
    pub over: Arc<dyn Template>,
    /// How many items are under way at a time, at least one; undoing too.
    pub parallel: u32,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Calls an operation of a participant.
    Call(CallStep),
    /// Waits for a signal.
    Await(AwaitStep),
    /// Is a branch of an open saga: never part of a definition, registered while the saga runs.
    Branch(BranchStep),
}

/// A branch of an open saga.
#[derive(Debug, Clone)]
pub struct BranchStep {
    /// What makes it final, where something does.
    pub confirm: Option<Operation>,
    /// How that is tried again.
    pub retry: UndoSchedule,
    /// How it is undone.
    pub undo: UndoCall,
    /// The body of both.
    pub input: Json,
}

/// A step that calls an operation.
#[derive(Debug, Clone)]
pub struct CallStep {
    /// The operation called.
    pub action: Operation,
    /// The call's body.
    pub with: Arc<dyn Template>,
    /// How the action is tried again.
    pub retry: Schedule,
    /// The bound on the step with all its retries.
    pub within: Option<Millis>,
    /// How the step is made good again.
    pub undo: Undo,
}

/// How a step is made good again.
#[derive(Debug, Clone)]
pub enum Undo {
    /// The step changes nothing.
    ReadOnly,
    /// The step changes something that need not or cannot be undone.
    None {
        /// Why, in the author's words.
        reason: String,
    },
    /// The step has a compensation.
    Call(UndoCall),
}

/// A compensation.
#[derive(Debug, Clone)]
pub struct UndoCall {
    /// The operation called.
    pub operation: Operation,
    /// The call's body; the action's body where there is none.
    pub with: Option<Arc<dyn Template>>,
    /// How it is tried again.
    pub retry: UndoSchedule,
    /// Whether the steps before this one are undone although this one is parked.
    pub eager: bool,
}

/// An operation of a participant, with what its registration says of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Operation {
    /// The participant's name.
    pub participant: Name,
    /// The operation's name.
    pub name: Name,
    /// The bound on one attempt.
    pub timeout: Millis,
    /// Whether it can be asked for its status.
    pub status: bool,
    /// Whether a late call after its compensation is refused. Where it is not, the compensation waits for
    /// the attempt in flight.
    pub barrier: bool,
    /// Who does it.
    #[serde(default, skip_serializing_if = "Target::is_participant")]
    pub target: Target,
}

/// Who does an [`Operation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A registered participant.
    #[default]
    Participant,
    /// Another saga, run as a child: the operation's name is its definition's, its participant's name is
    /// [`CHILD_PARTICIPANT`]. Compensating it reverts the child.
    Saga {
        /// The definition's version; the newest where none is said.
        version: Option<u32>,
    },
}

impl Operation {
    /// Whether it is another saga, run as a child. Its status can always be asked.
    pub fn is_child(&self) -> bool {
        matches!(self.target, Target::Saga { .. })
    }
}

impl Target {
    fn is_participant(&self) -> bool {
        *self == Target::Participant
    }
}

/// A step that waits for a signal.
#[derive(Debug, Clone)]
pub struct AwaitStep {
    /// The signal's name.
    pub signal: Name,
    /// How long it waits.
    pub timeout: Millis,
    /// Taken as output when the time is up; without one the step is refused.
    pub default: Option<Arc<dyn Template>>,
}

/// What makes a list of steps not a definition. The wire crate reports these with line and column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No step at all.
    Empty,
    /// More than [`STEPS_MAX`] steps.
    TooMany(usize),
    /// Two steps of one name.
    Repeated(Name),
    /// The steps stand after one another in a circle.
    Cycle(Vec<Name>),
    /// More than one pivot.
    Pivots(Vec<Name>),
    /// A step after the pivot has a compensation, which could never be called.
    UndoAfterPivot(Name),
    /// An await after the pivot has no default, and the saga could not turn back when its time is up.
    NoDefaultAfterPivot(Name),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Empty => f.write_str("a definition needs at least one step"),
            Fault::TooMany(n) => write!(f, "{n} steps exceed the limit of {STEPS_MAX}"),
            Fault::Repeated(name) => write!(f, "two steps are named \"{name}\"; rename one"),
            Fault::Cycle(names) => {
                let names: Vec<&str> = names.iter().map(Name::as_str).collect();
                write!(f, "the steps {} wait for each other in a circle", names.join(", "))
            }
            Fault::Pivots(names) => {
                let names: Vec<&str> = names.iter().map(Name::as_str).collect();
                write!(f, "the steps {} are all pivots; at most one can be", names.join(", "))
            }
            Fault::NoDefaultAfterPivot(name) => {
                write!(
                    f,
                    "step \"{name}\" comes after the pivot and awaits a signal, so it needs a \"default\""
                )
            }
            Fault::UndoAfterPivot(name) => {
                write!(f, "step \"{name}\" comes after the pivot, so its compensation could never be called")
            }
        }
    }
}

impl Definition {
    /// Works out the graph of `steps`.
    ///
    /// # Errors
    /// Every [`Fault`] there is.
    pub fn new(
        name: Name,
        version: u32,
        hash: String,
        deadline: Option<Millis>,
        mut steps: Vec<Step>,
        output: Option<Arc<dyn Template>>,
    ) -> Result<Definition, Vec<Fault>> {
        if steps.is_empty() {
            return Err(vec![Fault::Empty]);
        }
        if steps.len() > STEPS_MAX {
            return Err(vec![Fault::TooMany(steps.len())]);
        }
        let mut faults = Vec::new();
        let mut by_name = BTreeMap::new();
        for (ix, step) in indexed(&steps) {
            if by_name.insert(step.name.clone(), ix).is_some() {
                faults.push(Fault::Repeated(step.name.clone()));
            }
        }
        let order = match topological(&steps) {
            Ok(order) => order,
            Err(circle) => {
                faults.push(Fault::Cycle(circle));
                return Err(faults);
            }
        };
        let mut after = descendants(&steps, &order);
        let pivots: Vec<StepIx> = indexed(&steps).filter(|(_, step)| step.pivot).map(|(ix, _)| ix).collect();
        let pivot = pivots.first().copied();
        if pivots.len() > 1 {
            faults
                .push(Fault::Pivots(pivots.iter().map(|ix| steps[usize::from(ix.0)].name.clone()).collect()));
        } else if let Some(pivot) = pivot {
            let past = &after[usize::from(pivot.0)];
            let undone = |ix: &&StepIx| steps[usize::from(ix.0)].undo().is_some();
            let names = past.iter().filter(undone).map(|ix| steps[usize::from(ix.0)].name.clone());
            faults.extend(names.map(Fault::UndoAfterPivot));
            let waits = |ix: &&StepIx| matches!(&steps[usize::from(ix.0)].kind, Kind::Await(wait) if wait.default.is_none());
            let names = past.iter().filter(waits).map(|ix| steps[usize::from(ix.0)].name.clone());
            faults.extend(names.map(Fault::NoDefaultAfterPivot));
            let before = indexed(&steps).map(|(ix, _)| ix).filter(|ix| *ix != pivot && !past.contains(ix));
            steps[usize::from(pivot.0)].after = before.collect();
            // No new circle: only steps that do not come after the pivot were put before it.
            after = descendants(&steps, &topological(&steps).map_err(|circle| vec![Fault::Cycle(circle)])?);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let (descendants, open) = (after, false);
        Ok(Definition { name, version, hash, deadline, steps, output, by_name, descendants, pivot, open })
    }

    /// The definition of every open saga: it has no steps of its own, its branches are registered while it
    /// runs.
    pub fn open() -> Definition {
        Definition {
            name: Name::parse(OPEN_NAME).expect("a constant name is one"),
            version: 1,
            hash: OPEN_NAME.to_owned(),
            deadline: None,
            steps: Vec::new(),
            output: None,
            by_name: BTreeMap::new(),
            descendants: Vec::new(),
            pivot: None,
            open: true,
        }
    }

    /// Whether its sagas are open ones.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The step after which a saga only goes forward.
    pub fn pivot(&self) -> Option<StepIx> {
        self.pivot
    }

    /// The steps, in the order they are written.
    pub fn steps(&self) -> impl Iterator<Item = (StepIx, &Step)> {
        indexed(&self.steps)
    }

    /// The number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether it has no step: only [`Definition::open`] has none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// A step by its position.
    pub fn step(&self, ix: StepIx) -> &Step {
        &self.steps[usize::from(ix.0)]
    }

    /// A step's position by its name.
    pub fn find(&self, name: &str) -> Option<StepIx> {
        self.by_name.get(name).copied()
    }

    /// The steps that come after `ix` on some path.
    pub fn descendants(&self, ix: StepIx) -> &[StepIx] {
        &self.descendants[usize::from(ix.0)]
    }

    /// What the saga yields when it completes.
    pub fn output(&self) -> Option<&Arc<dyn Template>> {
        self.output.as_ref()
    }

    /// Whether some step awaits a signal of this name.
    pub fn awaits(&self, signal: &str) -> bool {
        self.steps.iter().any(|step| matches!(&step.kind, Kind::Await(a) if a.signal.as_str() == signal))
    }
}

/// Two definitions are the same when their content has the same hash.
impl PartialEq for Definition {
    fn eq(&self, other: &Definition) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Definition {}

impl std::hash::Hash for Definition {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl Step {
    /// The call, if the step is one.
    pub fn call(&self) -> Option<&CallStep> {
        match &self.kind {
            Kind::Call(call) => Some(call),
            Kind::Await(_) | Kind::Branch(_) => None,
        }
    }

    /// What is called while the saga goes forward: the action, or the branch's confirm.
    pub fn forward(&self) -> Option<&Operation> {
        match &self.kind {
            Kind::Call(call) => Some(&call.action),
            Kind::Branch(branch) => branch.confirm.as_ref(),
            Kind::Await(_) => None,
        }
    }

    /// How many attempts of that call there are, and how long to wait after attempt `spent`.
    pub(crate) fn forward_retry(&self, spent: u32, seed: Mix) -> (u32, Millis) {
        match &self.kind {
            Kind::Call(call) => (call.retry.attempts, call.retry.delay(spent, seed)),
            Kind::Branch(branch) => (branch.retry.attempts_max(), branch.retry.delay(spent, seed)),
            Kind::Await(_) => unreachable!("a step that waits for a signal calls nobody"),
        }
    }

    /// The bound on the step with all its retries.
    pub(crate) fn within(&self) -> Option<Millis> {
        match &self.kind {
            Kind::Call(call) => call.within,
            Kind::Branch(branch) => Some(branch.retry.within),
            Kind::Await(_) => None,
        }
    }

    /// The compensation, if the step has one.
    pub fn undo(&self) -> Option<&UndoCall> {
        match &self.kind {
            Kind::Branch(branch) => Some(&branch.undo),
            Kind::Await(_) => None,
            Kind::Call(call) => match &call.undo {
                Undo::Call(undo) => Some(undo),
                Undo::ReadOnly | Undo::None { .. } => None,
            },
        }
    }

    /// The operation of one of its calls.
    pub fn operation(&self, op: crate::Op) -> Option<&Operation> {
        match op {
            crate::Op::Action | crate::Op::Confirm => self.forward(),
            crate::Op::Compensation => self.undo().map(|undo| &undo.operation),
        }
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl<'a> Scope<'a> {
    /// What every template sees.
    pub fn new(saga: &'a Saga) -> Scope<'a> {
        Scope { saga, own: None, item: None }
    }

    /// What the action of `step` sees: its item too, if it is one of a fanned-out step.
    pub fn doing(saga: &'a Saga, step: StepIx) -> Scope<'a> {
        Scope { saga, own: None, item: saga.item(step) }
    }

    /// What the compensation of `step` sees: its own output is null where its action gave none.
    pub fn undoing(saga: &'a Saga, step: StepIx) -> Scope<'a> {
        Scope { saga, own: Some(step), item: saga.item(step) }
    }

    /// The saga's id.
    pub fn id(&self) -> crate::SagaId {
        self.saga.id
    }

    /// The item of a fanned-out step and its place from 0, for which the template is rendered.
    pub fn item(&self) -> Option<(&'a Json, u32)> {
        self.item
    }

    /// The saga's input.
    pub fn input(&self) -> &'a Json {
        &self.saga.input
    }

    /// The output of a step that is done, `None` for any other.
    pub fn output(&self, step: &str) -> Option<Json> {
        let ix = self.saga.definition.find(step)?;
        if let Some(own) = self.own.filter(|own| self.saga.base(*own) == ix) {
            // An item's compensation sees the item's own output.
            return Some(self.saga.step(own).output.clone().unwrap_or_default());
        }
        self.saga.step(ix).output.clone()
    }

    /// The steps that are done, with their outputs, in the order they are written.
    pub fn outputs(&self) -> impl Iterator<Item = (&'a Name, Json)> + '_ {
        self.saga.definition.steps().filter_map(|(_, step)| Some((&step.name, self.output(&step.name)?)))
    }
}

fn indexed(steps: &[Step]) -> impl Iterator<Item = (StepIx, &Step)> {
    steps.iter().enumerate().map(|(i, step)| (StepIx(i as u16), step))
}

/// Orders the steps so that each comes after those it waits for, or names those on a circle.
fn topological(steps: &[Step]) -> Result<Vec<StepIx>, Vec<Name>> {
    let mut placed = vec![false; steps.len()];
    let mut order = Vec::with_capacity(steps.len());
    while order.len() < steps.len() {
        let before = order.len();
        for (ix, step) in indexed(steps) {
            let at = usize::from(ix.0);
            if !placed[at] && step.after.iter().all(|a| placed[usize::from(a.0)]) {
                placed[at] = true;
                order.push(ix);
            }
        }
        if order.len() == before {
            let circle = indexed(steps).filter(|(ix, _)| !placed[usize::from(ix.0)]);
            return Err(circle.map(|(_, step)| step.name.clone()).collect());
        }
    }
    Ok(order)
}

fn descendants(steps: &[Step], order: &[StepIx]) -> Vec<Vec<StepIx>> {
    let mut below = vec![vec![false; steps.len()]; steps.len()];
    for ix in order.iter().rev() {
        let at = usize::from(ix.0);
        for parent in &steps[at].after {
            let parent = usize::from(parent.0);
            let mine = below[at].clone();
            for (flag, inherited) in below[parent].iter_mut().zip(mine) {
                *flag |= inherited;
            }
            below[parent][at] = true;
        }
    }
    below
        .into_iter()
        .map(|flags| flags.iter().enumerate().filter(|(_, f)| **f).map(|(i, _)| StepIx(i as u16)).collect())
        .collect()
}

#[cfg(test)]
mod tests;
