//! Whether the sagas that a definition runs can be run: known, without a circle, not nested too deeply.
//!
//! It is looked at when a saga starts, with the versions that would be run now; a child that names no version runs
//! the newest there is when its turn has come.

use super::Registry;
use crate::{api::unavailable, http::Failure};
use amends_saga::{
    Definition, Name,
    definition::{Operation, Target},
};
use amends_store::Store;
use amends_wire::problem::{Problem, Slug};
use std::{collections::BTreeSet, sync::Arc};

/// How many sagas may stand above one another's head, the topmost not counted.
pub(crate) const DEPTH_MAX: usize = 8;

/// The way down to a definition, as `name@version`, the topmost first.
type Path = Vec<String>;

impl Registry {
    /// Checks every saga that a definition runs, and those that these run.
    ///
    /// # Errors
    /// `unknown_child`, `child_circle`, `children_too_deep`, each with the `path`; `unknown_operation` for what a
    /// child calls.
    pub(crate) async fn check_children(
        &self,
        store: &dyn Store,
        definition: &Definition,
    ) -> Result<(), Failure> {
        if children(definition).next().is_none() {
            return Ok(());
        }
        match self.children_of(definition) {
            Err(Failure(problem)) if matches!(problem.slug, Slug::UnknownChild | Slug::UnknownOperation) => {
                self.refresh(store).await.map_err(unavailable)?;
                self.children_of(definition)
            }
            checked => checked,
        }
    }

    fn children_of(&self, definition: &Definition) -> Result<(), Failure> {
        let path = vec![shown(&definition.name, Some(definition.version))];
        self.descend(definition, path, &mut BTreeSet::new())
    }

    /// Follows every way down from the last of `path`. What `seen` holds was reached at this depth or deeper.
    fn descend(
        &self,
        definition: &Definition,
        path: Path,
        seen: &mut BTreeSet<(usize, String)>,
    ) -> Result<(), Failure> {
        for (name, version) in children(definition) {
            let mut below = path.clone();
            let Some(child) = self.child(name, version)? else {
                below.push(shown(name, version));
                let known = "is not registered; register it, then start again";
                return Err(refusal(Slug::UnknownChild, below, known));
            };
            let reached = shown(&child.name, Some(child.version));
            let is_above = path.contains(&reached);
            below.push(reached.clone());
            if is_above {
                return Err(refusal(Slug::ChildCircle, below, "stands above itself, and would never end"));
            }
            if below.len() > DEPTH_MAX + 1 {
                let most = format!("stands more than {DEPTH_MAX} sagas deep");
                return Err(refusal(Slug::ChildrenTooDeep, below, &most));
            }
            if seen.insert((below.len(), reached)) {
                self.descend(&child, below, seen)?;
            }
        }
        Ok(())
    }

    /// The definition that a child would run now.
    fn child(&self, name: &Name, version: Option<u32>) -> Result<Option<Arc<Definition>>, Failure> {
        let Ok(hash) = self.find(name, version) else { return Ok(None) };
        let Some((text, resolved)) =
            self.read().by_hash.get(&hash).map(|entry| (entry.text.clone(), entry.resolved.clone()))
        else {
            return Ok(None);
        };
        let generation = self.participants.generation();
        match resolved {
            Some((then, resolved)) if then == generation => Ok(Some(resolved)),
            _ => self.resolve(&hash, &text, generation).map(Some),
        }
    }
}

/// The sagas that a definition runs, in the order of its steps.
fn children(definition: &Definition) -> impl Iterator<Item = (&Name, Option<u32>)> {
    definition.steps().filter_map(|(_, step)| match &step.call()?.action {
        Operation { name, target: Target::Saga { version }, .. } => Some((name, *version)),
        Operation { target: Target::Participant, .. } => None,
    })
}

fn shown(name: &Name, version: Option<u32>) -> String {
    version.map_or_else(|| name.to_string(), |version| format!("{name}@{version}"))
}

fn refusal(slug: Slug, path: Path, what: &str) -> Failure {
    let last = path.last().map(String::as_str).unwrap_or_default();
    let detail = format!("definition \"{last}\" {what}: {}", path.join(" runs "));
    Problem::new(slug, detail).with("path", path).into()
}
