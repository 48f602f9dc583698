//! What an expression has made sure of before it goes on: `… is defined`, and what follows from it.

use super::syntax::{Expr, Kind};
use std::collections::BTreeSet;

/// What is known to be there: steps that have run, by name, and paths, as they are written. No path is a
/// name, since every path has a dot.
pub(crate) type Run = BTreeSet<String>;

/// What there is wherever the expression is `truth`.
pub(crate) fn implied(expr: &Expr, truth: bool) -> Run {
    match &expr.kind {
        Kind::Not(inner) => implied(inner, !truth),
        Kind::Test(inner, name, _) if (name == "defined") == truth && asks(name) => found_with(inner),
        Kind::And(one, other) | Kind::Or(one, other) => {
            let (one, other) = (implied(one, truth), implied(other, truth));
            if matches!(expr.kind, Kind::And(..)) == truth { &one | &other } else { &one & &other }
        }
        _ => Run::new(),
    }
}

pub(super) fn asks(test: &str) -> bool {
    matches!(test, "defined" | "undefined")
}

/// What there is where a path leads to something: the step it leads through, and every part of the path.
fn found_with(expr: &Expr) -> Run {
    let mut found = Run::new();
    let mut next = Some(expr);
    while let Some(expr) = next {
        found.extend(output_step(expr).map(str::to_owned));
        found.extend(shown_path(expr).filter(|path| path.contains('.')));
        next = match &expr.kind {
            Kind::Member(inner, _) | Kind::Item(inner, _) => Some(&**inner),
            _ => None,
        };
    }
    found
}

/// The step, where the expression is exactly its output.
pub(super) fn output_step(expr: &Expr) -> Option<&str> {
    let (inner, name) = part(expr)?;
    let (root, step) = part(inner)?;
    (name == "output" && root.kind == Kind::Root("steps".to_owned())).then_some(step)
}

/// A member by its name, however it is written.
fn part(expr: &Expr) -> Option<(&Expr, &str)> {
    match &expr.kind {
        Kind::Member(inner, name) => Some((inner, name)),
        Kind::Item(inner, place) => match &place.kind {
            Kind::Text(Some(name)) => Some((inner, name)),
            _ => None,
        },
        _ => None,
    }
}

/// A path as it may be written.
pub(super) fn shown_path(expr: &Expr) -> Option<String> {
    match &expr.kind {
        Kind::Root(name) => Some(name.clone()),
        Kind::Member(inner, name) => Some(format!("{}.{name}", shown_path(inner)?)),
        Kind::Item(inner, place) => match &place.kind {
            Kind::Number(Some(number)) => Some(format!("{}[{number}]", shown_path(inner)?)),
            Kind::Text(Some(name)) => Some(format!("{}.{name}", shown_path(inner)?)),
            _ => Some(format!("{}[…]", shown_path(inner)?)),
        },
        _ => None,
    }
}
