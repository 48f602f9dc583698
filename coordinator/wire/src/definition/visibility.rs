//! What an expression may see at its place, and whether it can mean anything: what has happened on every
//! path to it, and what the schemas say of that.

use super::{
    diagnostic::Faults,
    expression::{Complaint, Kinds, Run, Shape, World, implied, infer},
    graph::{Graph, Vertex},
    suggest,
    template::{Place, Written},
    tree::{self, Node},
};
use serde_json::Value;

/// A step as far as expressions are concerned.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    /// The text of its condition, if it may be skipped.
    condition: Option<String>,
    /// Whether it is done for the items of a list.
    fanned: bool,
    /// The schema of what it returns.
    returns: Option<Value>,
}

impl Sight {
    /// Looks at a step's body, which may have faults.
    pub(crate) fn of(body: &Node) -> Sight {
        let condition = body.member("when").map(|entry| entry.value.text().unwrap_or("").trim().to_owned());
        let returns = body.member("returns").map(|entry| entry.value.to_json());
        Sight { condition, fanned: body.member("for_each").is_some(), returns }
    }
}

/// What there is to see.
pub(crate) struct Visibility<'a> {
    pub(crate) source: &'a str,
    pub(crate) vertices: &'a [Vertex<'a>],
    pub(crate) steps: &'a [Sight],
    pub(crate) graph: &'a Graph,
    /// The schema of the input.
    pub(crate) input: Option<&'a Value>,
}

impl<'a> Visibility<'a> {
    /// Checks the expressions of a step, or of the definition's output; advice is what fails only for some inputs.
    pub(crate) fn check(
        &self,
        written: &[Written],
        step: Option<usize>,
        faults: &mut Faults,
        advice: &mut Faults,
    ) {
        if written.is_empty() {
            return;
        }
        let before = step.map(|step| self.graph.ancestors(step));
        let mut view =
            View { all: self, step, before, place: Place::When, run: Run::new(), items: Shape::any() };
        let condition = written.iter().find(|one| one.place == Place::When);
        let alike = self.run_alike(step);
        let list = written.iter().find(|one| one.place == Place::ForEach);
        if let Some(list) = list {
            view.place = Place::ForEach;
            let shape = infer(&list.syntax, &view, &Run::new()).shape;
            view.items = shape.item(None).unwrap_or(Shape::any());
        }
        for one in written {
            view.place = one.place;
            // Where the condition holds, what it has asked for is there.
            let held = condition.filter(|_| !matches!(one.place, Place::When | Place::Output));
            view.run = held.map_or_else(Run::new, |condition| implied(&condition.syntax, true));
            if held.is_some() {
                view.run.extend(alike.iter().cloned());
            }
            let inferred = infer(&one.syntax, &view, &view.run);
            for (offset, (message, help)) in inferred.faults {
                faults.add(one.place_of(offset, self.source), message, help);
            }
            for (offset, (message, help)) in inferred.advice {
                advice.add(one.place_of(offset, self.source), message, help);
            }
            if let Some((message, help)) = misplaced(one, inferred.shape.kinds) {
                faults.add(one.at, message, help);
            }
        }
    }

    /// The steps with the very condition of a step: they have run wherever it does.
    fn run_alike(&self, step: Option<usize>) -> Run {
        let Some(condition) = step.and_then(|step| self.steps[step].condition.as_deref()) else {
            return Run::new();
        };
        let alike = |step: &&Sight| step.condition.as_deref() == Some(condition);
        let named = self.steps.iter().zip(self.vertices).filter(|(step, _)| alike(step));
        named.map(|(_, vertex)| vertex.name.to_string()).collect()
    }

    fn name(&self, step: usize) -> &str {
        &self.vertices[step].name
    }

    /// What a step's output is like to the steps after it.
    fn shape_of(&self, step: usize) -> Shape<'a> {
        let shape = self.returned(step);
        if self.steps[step].fanned { Shape::list_of(shape) } else { shape }
    }

    fn returned(&self, step: usize) -> Shape<'a> {
        self.steps[step].returns.as_ref().map_or(Shape::any(), Shape::described_by)
    }
}

/// Says why a value of these kinds cannot stand in a place.
fn misplaced(written: &Written, kinds: Kinds) -> Option<Complaint> {
    let (wanted, message, help) = match written.place {
        Place::When => (
            Kinds::BOOL,
            format!("the condition is {kinds}, never true or false"),
            "compare it with something, or ask whether it \"is defined\"",
        ),
        Place::ForEach => (
            Kinds::LIST,
            format!("\"for_each\" is given {kinds}, never a list"),
            "name a list; \"| items\" makes one of an object",
        ),
        _ if !written.alone => (
            Kinds::TEXT.or(Kinds::NUMBER).or(Kinds::BOOL),
            format!("the expression yields {kinds}, which cannot stand inside a text"),
            "let the expression stand alone, or make a text of it: \"| join(', ')\" or \"| tojson\"",
        ),
        Place::Listed | Place::With | Place::Undo | Place::Default | Place::Output => return None,
    };
    if kinds.meets(wanted) { None } else { Some((message, help.to_owned())) }
}

/// What one expression sees.
struct View<'v, 'a> {
    all: &'v Visibility<'a>,
    /// The step it stands in.
    step: Option<usize>,
    /// The steps before that.
    before: Option<Vec<bool>>,
    place: Place,
    run: Run,
    /// What the items of the step's list are like.
    items: Shape<'a>,
}

impl<'a> View<'_, 'a> {
    fn of_list(&self, name: &str, shape: Shape<'a>) -> Result<Shape<'a>, Complaint> {
        let Some(step) = self.step.filter(|step| self.all.steps[*step].fanned) else {
            let help = "only a step with \"for_each\" is done for the items of a list";
            return Err((format!("there is no \"{name}\" here"), help.to_owned()));
        };
        if matches!(self.place, Place::When | Place::ForEach | Place::Listed) {
            let own = self.all.name(step);
            let message = format!("\"{name}\" is not known before step \"{own}\" has its list");
            let help = "leave out what is not wanted, LIST | selectattr(…) | list, or let a child saga decide for each item";
            return Err((message, help.to_owned()));
        }
        Ok(shape)
    }
}

impl<'a> World<'a> for View<'_, 'a> {
    fn input(&self) -> Shape<'a> {
        self.all.input.map_or(Shape::any(), Shape::described_by)
    }

    fn output(&self, step: &str, path: &str, known: bool) -> Result<Shape<'a>, Complaint> {
        let Some(named) = self.all.vertices.iter().position(|vertex| vertex.name.as_str() == step) else {
            let names: Vec<&str> = self.all.vertices.iter().map(|vertex| vertex.name.as_str()).collect();
            let help = suggest::hint(step, names, "steps");
            return Err((format!("there is no step \"{}\"", tree::shorten(step)), help));
        };
        if self.step == Some(named) {
            if self.place == Place::Undo {
                // Null where the action gave none, whatever it returns otherwise.
                return Ok(self.all.returned(named).or(Shape::of_kinds(Kinds::NULL)));
            }
            let help = "use its output in a later step or in its compensation";
            return Err((format!("step \"{step}\" has no output before it has run"), help.to_owned()));
        }
        if let (Some(place), Some(before)) = (self.step, &self.before)
            && !before[named]
        {
            let (own, later) = (self.all.name(place), self.all.graph.ancestors(named)[place]);
            let help = match later {
                true => format!("step \"{step}\" comes after it; use the output in a step after both"),
                false => format!("add \"{step}\" to the \"after\" of step \"{own}\""),
            };
            return Err((format!("step \"{step}\" does not come before step \"{own}\" on every path"), help));
        }
        if self.all.steps[named].condition.is_some() && !known {
            let help = format!(
                "write {path} | default(none), or ask first: {path} if steps.{step}.output is defined else none"
            );
            return Err((format!("step \"{step}\" has a \"when\" and may not have run"), help));
        }
        Ok(self.all.shape_of(named))
    }

    fn item(&self) -> Result<Shape<'a>, Complaint> {
        self.of_list("item", self.items.clone())
    }

    fn index(&self) -> Result<Shape<'a>, Complaint> {
        self.of_list("index", Shape::of_kinds(Kinds::NUMBER))
    }
}
