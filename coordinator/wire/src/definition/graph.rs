//! Which step comes before which: what `after` says, its circles, and what lies before a step on every path.

use super::{
    diagnostic::Faults,
    fields::name,
    suggest,
    tree::{Entry, Kind, Node, shorten},
};
use amends_saga::Name;

/// A step as far as the graph is concerned.
pub(crate) struct Vertex<'n> {
    pub(crate) name: Name,
    pub(crate) name_at: usize,
    pub(crate) after: Option<&'n Entry>,
    /// Where it says that it is the pivot.
    pub(crate) pivot: Option<&'n Entry>,
}

/// The graph: for each step, the positions of the steps it directly comes after.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) parents: Vec<Vec<usize>>,
    /// The pivot, which waits for every step that does not come after it.
    pub(crate) pivot: Option<usize>,
    /// Whether a step comes after the pivot.
    past: Vec<bool>,
}

impl Graph {
    /// Works the graph out; a step without `after` follows the one listed before it.
    pub(crate) fn read(vertices: &[Vertex<'_>], faults: &mut Faults) -> Graph {
        let parents = vertices.iter().enumerate().map(|(i, vertex)| match vertex.after {
            Some(entry) => after(vertices, i, entry, faults),
            None => i.checked_sub(1).into_iter().collect(),
        });
        let mut graph = Graph { parents: parents.collect(), pivot: None, past: vec![false; vertices.len()] };
        let sound = !graph.report_circles(vertices, faults);
        graph.pivot = pivot(vertices, faults);
        if let Some(pivot) = graph.pivot {
            let past = |step| step != pivot && graph.ancestors(step)[pivot];
            graph.past = (0..graph.parents.len()).map(past).collect();
            if sound {
                graph.put_all_before(pivot);
            }
        }
        graph
    }

    /// Whether a step comes after the pivot.
    pub(crate) fn is_past_pivot(&self, step: usize) -> bool {
        self.past[step]
    }

    /// Lets the pivot wait for every step that does not come after it. That closes no circle.
    fn put_all_before(&mut self, pivot: usize) {
        self.parents[pivot] =
            (0..self.past.len()).filter(|step| *step != pivot && !self.past[*step]).collect();
    }

    /// The steps before a step, on whatever path.
    pub(crate) fn ancestors(&self, step: usize) -> Vec<bool> {
        let mut seen = vec![false; self.parents.len()];
        let mut todo: Vec<usize> = self.parents[step].clone();
        while let Some(next) = todo.pop() {
            if !std::mem::replace(&mut seen[next], true) {
                todo.extend(&self.parents[next]);
            }
        }
        seen
    }

    /// Tells each circle once, at the step of it that is listed first; returns whether there is one.
    fn report_circles(&self, vertices: &[Vertex<'_>], faults: &mut Faults) -> bool {
        let before: Vec<Vec<bool>> = (0..vertices.len()).map(|i| self.ancestors(i)).collect();
        let mut told = vec![false; vertices.len()];
        for i in 0..vertices.len() {
            if told[i] || !before[i][i] {
                continue;
            }
            let circle: Vec<usize> = (0..vertices.len()).filter(|j| before[i][*j] && before[*j][i]).collect();
            for j in &circle {
                told[*j] = true;
            }
            let names: Vec<&str> = circle.iter().take(8).map(|j| vertices[*j].name.as_str()).collect();
            let (at, first) = (vertices[i].after.map_or(vertices[i].name_at, |after| after.key_at), names[0]);
            let message = match names.len() {
                1 => format!("step \"{first}\" waits for itself"),
                _ => format!("the steps {} wait for each other in a circle", names.join(", ")),
            };
            faults.add(at, message, "remove one of the names from an \"after\"");
        }
        told.contains(&true)
    }
}

/// Finds the pivot; every further one is a fault.
fn pivot(vertices: &[Vertex<'_>], faults: &mut Faults) -> Option<usize> {
    let mut pivots = vertices.iter().enumerate().filter_map(|(i, vertex)| Some((i, vertex.pivot?)));
    let (first, _) = pivots.next()?;
    for (i, entry) in pivots {
        let (this, other) = (&vertices[i].name, &vertices[first].name);
        let message = format!("step \"{this}\" is a second pivot; step \"{other}\" is one already");
        faults.add(
            entry.key_at,
            message,
            "keep the one after which the saga must not turn back, and remove the other",
        );
    }
    Some(first)
}

/// Reads `after`: a name or a list of names.
fn after(vertices: &[Vertex<'_>], step: usize, entry: &Entry, faults: &mut Faults) -> Vec<usize> {
    let items: &[Node] = match &entry.value.kind {
        Kind::List(items) => items,
        Kind::Bad => return Vec::new(),
        Kind::Text(..) => std::slice::from_ref(&entry.value),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Map(_) => {
            let message = format!(
                "\"after\" of step \"{}\" is {} and must be a step's name or a list of them",
                vertices[step].name,
                entry.value.described()
            );
            faults.add(entry.value.at, message, "write [] to start at once, or leave \"after\" out");
            return Vec::new();
        }
    };
    let mut parents = Vec::new();
    for item in items {
        let Some(parent) = parent(vertices, item, faults) else { continue };
        if parents.contains(&parent) {
            let message = format!("\"after\" names \"{}\" twice", vertices[parent].name);
            faults.add(item.at, message, "remove one of the two");
        } else {
            parents.push(parent);
        }
    }
    parents
}

fn parent(vertices: &[Vertex<'_>], item: &Node, faults: &mut Faults) -> Option<usize> {
    let Some(text) = item.text() else {
        if !item.is_bad() {
            let message = format!("\"after\" lists {}, no step's name", item.described());
            faults.add(item.at, message, "list names of steps");
        }
        return None;
    };
    let name = name(text, item.at, faults)?;
    let found = vertices.iter().position(|vertex| vertex.name == name);
    if found.is_none() {
        let names = vertices.iter().map(|vertex| vertex.name.as_str());
        let help = suggest::hint(text, names.collect::<Vec<_>>(), "steps");
        faults.add(item.at, format!("there is no step \"{}\"", shorten(text)), help);
    }
    found
}
