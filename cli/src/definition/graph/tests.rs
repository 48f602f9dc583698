//! What a drawing must be, whatever is drawn; and a few drawings to the letter.
//!
//! With `AMENDS_WRITE_DRAWINGS=1` the drawings beside this file are written anew; look at them before they are kept.

use super::{
    face::{self, Faces, Ink},
    layout::{Layout, Point, Rect},
    mermaid,
    model::{Does, Edge, Graph, ModelError, Step, Undo},
    run::Run,
    svg,
};
use amends_wire::{api::SagaView, definition::Text};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

mod laws;
mod properties;
mod words;

/// The graph of one of the shop's definitions.
fn shop(name: &str) -> Graph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../sagas/{name}.yaml"));
    written(&std::fs::read_to_string(path).expect("a definition"))
}

/// The graph of a definition as it is written.
fn written(text: &str) -> Graph {
    let text = Text::read(text).unwrap_or_else(|faults| panic!("{}", faults.render("a definition", text)));
    Graph::read(text.to_json()).expect("a graph")
}

/// A graph with each kind of step, and what may stand at one.
fn everything() -> Graph {
    written(include_str!("tests/everything.yaml"))
}

/// How a saga of it stands: its items are half done, one of them was refused, and it turns round.
fn half_way() -> Run {
    let saga: SagaView = serde_json::from_str(include_str!("tests/everything.run.json")).expect("a saga");
    Run::of(&saga)
}

/// A graph of steps with these bodies, called `a`, `b`, ….
fn graph(steps: &[Value]) -> Result<Graph, ModelError> {
    let name = |place: usize| char::from(b'a' + u8::try_from(place).expect("few steps")).to_string();
    let steps: Vec<Value> =
        steps.iter().enumerate().map(|(place, body)| json!({ name(place): body })).collect();
    Graph::read(&json!({ "saga": "test", "version": 1, "steps": steps }))
}

/// Holds a drawing against the one that is kept.
fn check(name: &str, drawing: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/definition/graph/tests").join(name);
    if std::env::var_os("AMENDS_WRITE_DRAWINGS").is_some() {
        std::fs::write(&path, drawing).expect("the drawing is written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differ = kept.lines().zip(drawing.lines()).position(|(kept, drawn)| kept != drawn);
    assert!(kept == drawing, "{name} is drawn differently from line {:?} on", differ.map(|line| line + 1));
}

#[test]
fn the_shops_definitions_are_drawn_as_they_are_kept() {
    for name in ["checkout", "parallel"] {
        check(&format!("{name}.svg"), &svg::draw(&shop(name), None));
        check(&format!("{name}.mmd"), &mermaid::draw(&shop(name), None));
    }
}

#[test]
fn everything_that_may_stand_at_a_step_is_drawn() {
    check("everything.svg", &svg::draw(&everything(), None));
    check("everything.mmd", &mermaid::draw(&everything(), None));
}

#[test]
fn a_saga_colours_its_definition() {
    check("everything.run.svg", &svg::draw(&everything(), Some(&half_way())));
    check("everything.run.mmd", &mermaid::draw(&everything(), Some(&half_way())));
}

#[test]
fn every_drawing_that_is_kept_keeps_the_laws() {
    for (graph, run) in [
        (shop("checkout"), None),
        (shop("parallel"), None),
        (everything(), None),
        (everything(), Some(half_way())),
    ] {
        laws::hold(&graph, run.as_ref());
    }
}
