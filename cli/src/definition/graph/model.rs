//! A definition's graph as it is drawn: what each step does, how it is undone, and what waits for what.
//!
//! It is read from the JSON form of a definition, leniently: keys that a drawing has no use for are passed over, so
//! that a definition of a newer coordinator is still drawn. What would make a drawing wrong is an error: a step that
//! does nothing known, a name that stands twice, steps that wait for each other in a circle.

use amends_wire::api::{OpView, SagaView, StepView};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Why there is nothing to draw.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ModelError {
    /// It is no definition.
    #[error("this is no definition: {0}")]
    Malformed(String),
    /// A step waits for one that is not there.
    #[error("step \"{step}\" comes after \"{after}\", which is no step of this definition")]
    UnknownStep {
        /// The step.
        step: String,
        /// What it names.
        after: String,
    },
    /// Steps wait for each other.
    #[error("the steps wait for each other in a circle, step \"{0}\" among them")]
    Circle(String),
}

/// A saga's steps and the order between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Graph {
    /// The definition's name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: u64,
    /// How long a saga may go forward, as it is written.
    pub(crate) deadline: Option<String>,
    /// The steps, in the order they are written.
    pub(crate) steps: Vec<Step>,
    /// What waits for what: each pair once, ordered by the step that waits.
    pub(crate) edges: Vec<Edge>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Its name.
    pub(crate) name: String,
    /// What it does.
    pub(crate) does: Does,
    /// How it is made good.
    pub(crate) undo: Undo,
    /// The condition it runs under, without its braces.
    pub(crate) when: Option<String>,
    /// What it is fanned out over.
    pub(crate) each: Option<Each>,
    /// Whether it is the point of no return.
    pub(crate) pivot: bool,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Does {
    /// Calls an operation.
    Call {
        /// `participant.operation`.
        operation: String,
        /// Whether it changes nothing.
        read_only: bool,
    },
    /// Waits for a signal.
    Await {
        /// The signal's name.
        signal: String,
        /// How long, as it is written.
        timeout: Option<String>,
        /// Whether a default is taken when the time is up, and the step is not refused.
        default: bool,
    },
    /// Runs another saga.
    Child {
        /// Its definition: `name`, or `name@version`.
        definition: String,
    },
    /// Is a branch of an open saga: somebody else does the work.
    Branch {
        /// What makes it final, where something does.
        confirm: Option<String>,
    },
}

/// How a step is made good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Undo {
    /// By calling an operation.
    Call {
        /// `participant.operation`.
        operation: String,
        /// Whether the steps before it do not wait while it is stuck.
        eager: bool,
    },
    /// By undoing the child saga.
    Child {
        /// Whether the steps before it do not wait while it is stuck.
        eager: bool,
    },
    /// There is nothing to undo.
    Nothing {
        /// Why, where the definition has to say so.
        reason: Option<String>,
    },
    /// It lies beyond the point of no return.
    Never,
}

/// What a step is fanned out over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Each {
    /// The list's expression, without its braces.
    pub(crate) over: String,
    /// How many items are under way at a time.
    pub(crate) parallel: u64,
}

/// One step waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The step waited for.
    pub(crate) from: usize,
    /// The step that waits.
    pub(crate) to: usize,
    /// Whether it is written nowhere and follows from the pivot.
    pub(crate) implied: bool,
}

impl Graph {
    /// Reads the JSON form of a definition.
    ///
    /// # Errors
    /// [`ModelError`].
    pub(crate) fn read(content: &Value) -> Result<Graph, ModelError> {
        let bodies = list(content)?;
        let steps: Vec<Step> =
            bodies.iter().map(|(name, body)| Step::read(name, body)).collect::<Result<_, _>>()?;
        let name = text(content, "saga").ok_or_else(|| malformed("it has no name under \"saga\""))?;
        let mut graph = Graph {
            name,
            version: content.get("version").and_then(Value::as_u64).unwrap_or(1),
            deadline: text(content, "deadline"),
            steps,
            edges: edges(&bodies)?,
        };
        graph.order()?;
        graph.bind_pivot();
        Ok(graph)
    }

    /// Reads the branches of an open saga, each after the one registered before it.
    pub(crate) fn of_branches(saga: &SagaView) -> Graph {
        let steps: Vec<Step> = saga.steps.iter().flatten().map(Step::of_branch).collect();
        let edges = (1..steps.len()).map(|to| Edge { from: to - 1, to, implied: false }).collect();
        let name = saga.definition.to_string();
        Graph { name, version: saga.version.into(), deadline: None, steps, edges }
    }

    /// Whether undoing goes from the end of an edge to its beginning: neither lies beyond the point of no return.
    pub(crate) fn is_undone(&self, edge: &Edge) -> bool {
        self.steps[edge.from].undo != Undo::Never && self.steps[edge.to].undo != Undo::Never
    }

    /// The steps in an order in which each comes after those it waits for; the written order where that is one.
    ///
    /// # Errors
    /// [`ModelError::Circle`].
    pub(crate) fn order(&self) -> Result<Vec<usize>, ModelError> {
        let mut waits = vec![0_usize; self.steps.len()];
        let mut next = vec![Vec::new(); self.steps.len()];
        for edge in &self.edges {
            waits[edge.to] += 1;
            next[edge.from].push(edge.to);
        }
        let mut ready: std::collections::BTreeSet<usize> =
            (0..self.steps.len()).filter(|step| waits[*step] == 0).collect();
        let mut order = Vec::with_capacity(self.steps.len());
        while let Some(step) = ready.pop_first() {
            order.push(step);
            for after in &next[step] {
                waits[*after] -= 1;
                if waits[*after] == 0 {
                    ready.insert(*after);
                }
            }
        }
        match waits.iter().position(|waits| *waits > 0) {
            Some(step) => Err(ModelError::Circle(self.steps[step].name.clone())),
            None => Ok(order),
        }
    }

    /// Lets the pivot wait for every step that does not come after it, and gives up the undo of those that do.
    fn bind_pivot(&mut self) {
        let Some(pivot) = self.steps.iter().position(|step| step.pivot) else { return };
        let beyond = self.reached(pivot, |edge| (edge.from, edge.to));
        let before = self.reached(pivot, |edge| (edge.to, edge.from));
        for (step, _) in beyond.iter().enumerate().filter(|(_, beyond)| **beyond) {
            self.steps[step].undo = Undo::Never;
        }
        let free: Vec<bool> =
            (0..self.steps.len()).map(|step| step != pivot && !beyond[step] && !before[step]).collect();
        // Of the steps that nothing orders, those with no other one behind them are enough.
        let last = |step: &usize| !self.edges.iter().any(|edge| edge.from == *step && free[edge.to]);
        let bound: Vec<usize> = (0..self.steps.len()).filter(|step| free[*step]).filter(last).collect();
        self.edges.extend(bound.into_iter().map(|from| Edge { from, to: pivot, implied: true }));
        self.edges.sort_by_key(|edge| (edge.to, edge.from));
    }

    /// The steps that can be reached from one, itself not among them.
    fn reached(&self, start: usize, ends: impl Fn(&Edge) -> (usize, usize)) -> Vec<bool> {
        let mut next = vec![Vec::new(); self.steps.len()];
        for (from, to) in self.edges.iter().map(ends) {
            next[from].push(to);
        }
        let mut seen = vec![false; self.steps.len()];
        let mut todo = next[start].clone();
        while let Some(step) = todo.pop() {
            if !std::mem::replace(&mut seen[step], true) {
                todo.extend(&next[step]);
            }
        }
        seen
    }
}

impl Step {
    fn of_branch(branch: &StepView) -> Step {
        let operation = |call: &OpView| call.operation.clone();
        let undo = branch.compensation.as_ref().map(operation);
        Step {
            name: branch.name.to_string(),
            does: Does::Branch { confirm: branch.confirm.as_ref().map(operation) },
            undo: undo
                .map_or(Undo::Nothing { reason: None }, |operation| Undo::Call { operation, eager: false }),
            when: None,
            each: None,
            pivot: false,
        }
    }

    fn read(name: &str, body: &Map<String, Value>) -> Result<Step, ModelError> {
        let read_only = body.get("read_only").and_then(Value::as_bool).unwrap_or(false);
        let member = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
        let does = if let Some(operation) = member("action") {
            Does::Call { operation, read_only }
        } else if let Some(signal) = member("await") {
            Does::Await { signal, timeout: member("timeout"), default: body.contains_key("default") }
        } else if let Some(definition) = member("saga") {
            Does::Child { definition }
        } else {
            return Err(malformed(&format!("step \"{name}\" neither calls, nor waits, nor runs a saga")));
        };
        let over = body.get("for_each").map(expression);
        let parallel = body.get("parallel").and_then(Value::as_u64).unwrap_or(1);
        Ok(Step {
            name: name.to_owned(),
            undo: undo(&does, body),
            does,
            when: body.get("when").map(expression),
            each: over.map(|over| Each { over, parallel }),
            pivot: body.get("pivot").and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

fn undo(does: &Does, body: &Map<String, Value>) -> Undo {
    let eager = body.get("unwind").and_then(Value::as_str) == Some("eager");
    let reason = body.get("reason").and_then(Value::as_str).map(str::to_owned);
    match body.get("compensation") {
        Some(Value::String(none)) if none == "none" => Undo::Nothing { reason },
        Some(Value::String(operation)) => Undo::Call { operation: operation.clone(), eager },
        Some(Value::Object(terms)) => {
            let operation = terms.get("operation").and_then(Value::as_str).unwrap_or("?").to_owned();
            Undo::Call { operation, eager }
        }
        _ if matches!(does, Does::Child { .. }) => Undo::Child { eager },
        _ => Undo::Nothing { reason: None },
    }
}

/// A step's name, and what stands below it.
type Body<'a> = (&'a str, &'a Map<String, Value>);

/// The steps by name, each with its body.
fn list(content: &Value) -> Result<Vec<Body<'_>>, ModelError> {
    let items = content.get("steps").and_then(Value::as_array);
    let items = items.ok_or_else(|| malformed("it has no list of steps"))?;
    items
        .iter()
        .map(|item| {
            let (name, body) = item.as_object()?.iter().next()?;
            Some((name.as_str(), body.as_object()?))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| malformed("a step is no object of one member, its name"))
}

fn edges(bodies: &[Body<'_>]) -> Result<Vec<Edge>, ModelError> {
    let mut places = HashMap::new();
    for (place, (name, _)) in bodies.iter().enumerate() {
        if places.insert(*name, place).is_some() {
            return Err(malformed(&format!("two steps are named \"{name}\"")));
        }
    }
    let mut edges = Vec::new();
    for (to, (name, body)) in bodies.iter().enumerate() {
        let named: Vec<&str> = match body.get("after") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => to.checked_sub(1).map(|before| bodies[before].0).into_iter().collect(),
        };
        let mut parents = Vec::new();
        for after in named {
            let unknown = || ModelError::UnknownStep { step: (*name).to_owned(), after: after.to_owned() };
            parents.push(*places.get(after).ok_or_else(unknown)?);
        }
        parents.sort_unstable();
        parents.dedup();
        edges.extend(parents.into_iter().map(|from| Edge { from, to, implied: false }));
    }
    Ok(edges)
}

/// A value as it is shown: an expression without its braces, anything else as JSON.
fn expression(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let text = text.trim();
    let inner = text.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"));
    inner.filter(|inner| !inner.contains("${{")).unwrap_or(text).trim().to_owned()
}

fn text(content: &Value, member: &str) -> Option<String> {
    content.get(member).and_then(Value::as_str).map(str::to_owned)
}

fn malformed(what: &str) -> ModelError {
    ModelError::Malformed(what.to_owned())
}
