//! What is rehearsed: a definition, and those of the sagas that it runs as children, each at its place.
//!
//! A place is written as a path: empty for the rehearsed saga, `place/` for the one that its step `place` runs, and so
//! on; the path of a step is its saga's and its name. Items of lists have theirs in it, as `ship[2]/pay[0]`, and what
//! describes them is found by the path without it: [`base`].

use super::RehearsalError;
use amends_saga::{
    Definition, Name, StepName,
    definition::{CHILD_PARTICIPANT, Target},
};
use amends_wire::{
    definition::{Defaults, Text},
    registration::OperationTerms,
};
use std::{collections::BTreeMap, sync::Arc};

/// Sagas run within each other, the rehearsed one included: what a coordinator allows.
const DEPTH_MAX: usize = 9;

/// Places of one rehearsal, at most.
const PARTS_MAX: usize = 1_000;

/// A definition at its place.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) text: Arc<Text>,
    pub(super) definition: Arc<Definition>,
}

/// Every definition at its place, the rehearsed one first.
#[derive(Debug, Clone)]
pub(super) struct Parts(BTreeMap<String, Part>);

/// A path without the places of items.
pub(super) fn base(path: &str) -> String {
    let mut found = String::with_capacity(path.len());
    let mut is_within = false;
    for letter in path.chars() {
        is_within |= letter == '[';
        if !is_within {
            found.push(letter);
        }
        is_within &= letter != ']';
    }
    found
}

/// The path of what a step runs, or of a step within it.
pub(super) fn path(saga: &str, step: &str) -> String {
    format!("{saga}{step}")
}

/// The path of the saga that a step runs.
pub(super) fn within(saga: &str, step: &StepName) -> String {
    format!("{saga}{step}/")
}

impl Parts {
    /// Finds the definition of every child among `children`.
    ///
    /// # Errors
    /// When one is not there, or sagas run each other without end.
    pub(super) fn of(root: &Arc<Text>, children: &[Arc<Text>]) -> Result<Parts, RehearsalError> {
        let mut parts = Parts(BTreeMap::new());
        parts.add(String::new(), root, children, 1)?;
        Ok(parts)
    }

    fn add(
        &mut self,
        at: String,
        text: &Arc<Text>,
        children: &[Arc<Text>],
        depth: usize,
    ) -> Result<(), RehearsalError> {
        if depth > DEPTH_MAX || self.0.len() >= PARTS_MAX {
            let what = format!("\"{}\" runs too many sagas within each other", text.name);
            return Err(RehearsalError::Child(what));
        }
        // Operations are taken as they come.
        let lenient = |_: &Name, _: &Name| Some(OperationTerms::default());
        let resolved = text.resolve(&lenient, &Defaults::default());
        let definition = resolved.map_err(|unknown| RehearsalError::Participant(unknown.to_string()))?;
        let definition = Arc::new(definition);
        self.0.insert(at.clone(), Part { text: text.clone(), definition: definition.clone() });
        for (_, step) in definition.steps() {
            let Some(call) = step.call() else { continue };
            let Target::Saga { version } = call.action.target else { continue };
            let child = find(children, &call.action.name, version).ok_or_else(|| {
                let wanted = version.map_or(String::new(), |version| format!("@{version}"));
                let what = format!(
                    "step \"{}\" of \"{}\" runs the saga \"{}{wanted}\", whose definition is not there; put its file \
                     beside this one",
                    step.name, text.name, call.action.name
                );
                RehearsalError::Child(what)
            })?;
            self.add(within(&at, &StepName::from(&step.name)), child, children, depth + 1)?;
        }
        Ok(())
    }

    /// What a saga at a place runs.
    pub(super) fn at(&self, saga: &str) -> Option<&Part> {
        self.0.get(&base(saga))
    }

    /// Every definition with the path of its saga.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Part)> {
        self.0.iter().map(|(at, part)| (at.as_str(), part))
    }

    /// The definitions, each once.
    pub(super) fn texts(&self) -> Vec<&Arc<Text>> {
        let mut found: Vec<&Arc<Text>> = Vec::new();
        for part in self.0.values() {
            if !found.iter().any(|known| known.hash == part.text.hash) {
                found.push(&part.text);
            }
        }
        found
    }
}

/// The child of this name: the version that is asked for, or the newest.
fn find<'a>(children: &'a [Arc<Text>], name: &Name, version: Option<u32>) -> Option<&'a Arc<Text>> {
    let named = children.iter().filter(|text| text.name == *name);
    named.filter(|text| version.is_none_or(|version| text.version == version)).max_by_key(|text| text.version)
}

/// The names of the sagas that a definition runs.
pub(super) fn children_of(text: &Text) -> Vec<Name> {
    let lenient = |_: &Name, _: &Name| Some(OperationTerms::default());
    let Ok(definition) = text.resolve(&lenient, &Defaults::default()) else { return Vec::new() };
    let calls = definition.steps().filter_map(|(_, step)| step.call());
    let children = calls.filter(|call| call.action.participant.as_str() == CHILD_PARTICIPANT);
    children.map(|call| call.action.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str) -> Arc<Text> {
        Arc::new(Text::read(source).expect("a definition"))
    }

    #[test]
    fn a_path_is_described_where_items_have_no_place() {
        for (path, expected) in [
            ("", ""),
            ("hold", "hold"),
            ("hold[17]", "hold"),
            ("ship[2]/pay[0]", "ship/pay"),
            ("ship[2]/", "ship/"),
        ] {
            assert_eq!(base(path), expected);
        }
    }

    #[test]
    fn children_are_found_at_every_depth_and_in_their_version() {
        let leaf = |version: u32| {
            text(&format!(
                "saga: leaf\nversion: {version}\nsteps:\n  - a: {{ action: p.a, compensation: p.b, with: {{}} }}\n"
            ))
        };
        let middle = text("saga: middle\nsteps:\n  - leaf: { saga: leaf@1, with: {} }\n");
        let root = text(
            "saga: root\nsteps:\n  - one: { saga: middle, with: {} }\n  - two: { saga: leaf, with: {} }\n",
        );
        let parts = Parts::of(&root, &[leaf(1), leaf(2), middle.clone()]).expect("everything is there");
        let found: Vec<String> =
            parts.iter().map(|(at, part)| format!("{at}={}@{}", part.text.name, part.text.version)).collect();
        assert_eq!(found, ["=root@1", "one/=middle@1", "one/leaf/=leaf@1", "two/=leaf@2"]);
        assert_eq!(parts.at("one/leaf/").map(|part| part.text.version), Some(1));
        assert_eq!(parts.texts().len(), 4);
        let missing =
            Parts::of(&root, &[middle.clone(), leaf(2)]).expect_err("leaf@1 is missing").to_string();
        assert!(missing.contains("step \"leaf\" of \"middle\" runs the saga \"leaf@1\""), "{missing}");
        let ring = text("saga: leaf\nsteps:\n  - back: { saga: middle, with: {} }\n");
        let endless = Parts::of(&root, &[middle, ring]).expect_err("there is no end").to_string();
        assert!(endless.contains("too many sagas within each other"), "{endless}");
    }
}
