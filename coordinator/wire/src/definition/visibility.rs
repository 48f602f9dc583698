//! What an expression may see at its place: what has happened on every path to it.

use super::{
    diagnostic::Faults,
    expression::Reference,
    graph::{Graph, Vertex},
    schema::Schema,
    suggest,
    template::{Located, Place},
    tree::{self, Node},
};

/// A step as far as expressions are concerned.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sight {
    /// Whether it may be skipped.
    pub(crate) conditional: bool,
    /// Whether it is done for the items of a list.
    pub(crate) fanned: bool,
}

impl Sight {
    /// Looks at a step's body, which may have faults.
    pub(crate) fn of(body: &Node) -> Sight {
        Sight { conditional: body.member("when").is_some(), fanned: body.member("for_each").is_some() }
    }
}

/// What there is to see.
pub(crate) struct Visibility<'a> {
    pub(crate) vertices: &'a [Vertex<'a>],
    pub(crate) steps: &'a [Sight],
    pub(crate) graph: &'a Graph,
    pub(crate) schema: Option<&'a Schema>,
}

impl Visibility<'_> {
    /// Checks the references made by a step, or by the definition's output.
    pub(crate) fn check(&self, references: &[Located], step: Option<usize>, faults: &mut Faults) {
        if references.is_empty() {
            return;
        }
        let before = step.map(|step| self.graph.ancestors(step));
        for used in references {
            match &used.reference {
                Reference::Output(name) => self.check_output(used, name, step, before.as_deref(), faults),
                Reference::InputMember(name) => self.check_member(used.at, name, faults),
                Reference::Item => self.check_item(used, "item", step, faults),
                Reference::Index => self.check_item(used, "index", step, faults),
                Reference::Input | Reference::SagaId => {}
            }
        }
    }

    fn check_output(
        &self,
        used: &Located,
        name: &str,
        step: Option<usize>,
        before: Option<&[bool]>,
        faults: &mut Faults,
    ) {
        let Some(named) = self.vertices.iter().position(|vertex| vertex.name.as_str() == name) else {
            let names: Vec<&str> = self.vertices.iter().map(|vertex| vertex.name.as_str()).collect();
            let help = suggest::hint(name, names, "steps");
            faults.add(used.at, format!("there is no step \"{}\"", tree::shorten(name)), help);
            return;
        };
        if step == Some(named) {
            if used.place != Place::Undo {
                let help = "use its output in a later step or in its compensation";
                faults.add(used.at, format!("step \"{name}\" has no output before it has run"), help);
            }
            return;
        }
        if let (Some(own), Some(before)) = (step, before)
            && !before[named]
        {
            let own = &self.vertices[own].name;
            let help = format!("add \"{name}\" to the \"after\" of step \"{own}\"");
            let message = format!("step \"{name}\" does not come before step \"{own}\" on every path");
            faults.add(used.at, message, help);
            return;
        }
        if self.steps[named].conditional && !used.guarded {
            let help = format!(
                "write \"steps.{name}.output | default(…)\", or ask \"steps.{name}.output is defined\" first"
            );
            faults.add(used.at, format!("step \"{name}\" has a \"when\" and may not have run"), help);
        }
    }

    fn check_item(&self, used: &Located, name: &str, step: Option<usize>, faults: &mut Faults) {
        let Some(step) = step.filter(|step| self.steps[*step].fanned) else {
            let help = "only a step with \"for_each\" is done for the items of a list";
            faults.add(used.at, format!("there is no \"{name}\" here"), help);
            return;
        };
        if matches!(used.place, Place::When | Place::ForEach) {
            let own = &self.vertices[step].name;
            let message = format!("\"{name}\" is not known before step \"{own}\" has its list");
            let help = "leave out what is not wanted: LIST | selectattr(…), or let a child saga decide for each item";
            faults.add(used.at, message, help);
        }
    }

    fn check_member(&self, at: usize, name: &str, faults: &mut Faults) {
        let Some(members) = self.schema.and_then(Schema::members) else { return };
        if !members.iter().any(|member| member == name) {
            let help = suggest::hint(name, members.iter().map(String::as_str), "members");
            faults.add(at, format!("the input has no member \"{}\"", tree::shorten(name)), help);
        }
    }
}
