//! A graph as a Mermaid flowchart: the same boxes and lines as the drawing, laid out by whoever renders it.
//!
//! Boxes are named by their place, `s0` and `u0`, since a step may be called `end` or another word that Mermaid
//! keeps for itself. What stands in a box is quoted, and every character that Mermaid or the HTML it makes could
//! take for its own is written as an entity.

use super::{
    face::{self, Faces},
    model::{Does, Graph, Step, Undo},
    run::{Run, Tone},
};
use std::fmt::Write;

/// The longest text on a line of a box, in characters.
const CHARS_MAX: usize = 48;

/// Draws a graph.
pub(crate) fn draw(graph: &Graph, run: Option<&Run>) -> String {
    let faces = Faces::all(graph, run);
    let mut text = String::new();
    let title = format!("{}@{}", graph.name, graph.version);
    let title = match run {
        Some(run) => format!("{title}, saga {}: {}", run.id, run.status),
        None => title,
    };
    let _ = writeln!(text, "---\ntitle: \"{}\"\n---\nflowchart TB", quoted(&title));
    for (place, (step, faces)) in graph.steps.iter().zip(&faces).enumerate() {
        boxes(&mut text, place, step, faces);
    }
    lines(&mut text, graph);
    text.push_str(CLASSES);
    if run.is_some() {
        text.push_str(TONES);
    }
    text
}

fn boxes(text: &mut String, place: usize, step: &Step, faces: &Faces) {
    let (open, close) = match step.does {
        Does::Call { read_only: true, .. } => ("(", ")"),
        Does::Call { .. } | Does::Branch { .. } => ("[", "]"),
        Does::Await { .. } => ("([", "])"),
        Does::Child { .. } => ("[[", "]]"),
    };
    let label = label(&faces.step, step.each.is_some());
    let class = match (step.pivot, &step.does) {
        (true, _) => ":::pivot",
        (false, Does::Call { read_only: true, .. }) => ":::reads",
        (false, _) => "",
    };
    let _ = writeln!(text, "  s{place}{open}\"{label}\"{close}{class}");
    toned(text, &format!("s{place}"), faces.step.tone);
    if let Some(face) = &faces.undo {
        let class = if matches!(step.undo, Undo::Nothing { .. }) { "nothing" } else { "undo" };
        let (open, close) = if matches!(step.undo, Undo::Child { .. }) { ("[[", "]]") } else { ("[", "]") };
        let _ = writeln!(text, "  u{place}{open}\"{}\"{close}:::{class}", label_of_undo(face));
        toned(text, &format!("u{place}"), face.tone);
    }
}

fn toned(text: &mut String, place: &str, tone: Option<Tone>) {
    if let Some(tone) = tone {
        let _ = writeln!(text, "  class {place} {}", tone.class());
    }
}

fn lines(text: &mut String, graph: &Graph) {
    for edge in &graph.edges {
        let line = if edge.implied { "--o" } else { "-->" };
        let _ = writeln!(text, "  s{} {line} s{}", edge.from, edge.to);
    }
    for (place, step) in graph.steps.iter().enumerate() {
        if matches!(step.undo, Undo::Call { .. } | Undo::Child { .. }) {
            let _ = writeln!(text, "  s{place} -. undone by .-> u{place}");
        }
    }
    for edge in graph.edges.iter().filter(|edge| graph.is_undone(edge)) {
        let _ = writeln!(text, "  u{} -.-> u{}", edge.to, edge.from);
    }
}

fn label(face: &face::Face, each: bool) -> String {
    let mut lines = face.texts.iter().map(|text| short(text));
    let name = lines.next().unwrap_or_default();
    let name = if each { format!("{name} × n") } else { name };
    std::iter::once(format!("<b>{name}</b>")).chain(lines).collect::<Vec<_>>().join("<br/>")
}

fn label_of_undo(face: &face::Face) -> String {
    face.texts.iter().map(|text| short(text)).collect::<Vec<_>>().join("<br/>")
}

fn short(text: &str) -> String {
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => quoted(&format!("{}…", &text[..end])),
        None => quoted(text),
    }
}

/// A text as it stands between quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for glyph in text.chars() {
        match glyph {
            glyph if glyph.is_ascii_alphanumeric() || " .,:@_-…×/".contains(glyph) => quoted.push(glyph),
            glyph if glyph.is_ascii() => {
                let _ = write!(quoted, "#{};", u32::from(glyph));
            }
            glyph => quoted.push(glyph),
        }
    }
    quoted
}

const CLASSES: &str = "  classDef pivot stroke-width:4px
  classDef reads stroke-dasharray:2 3
  classDef undo stroke:#8a5a00,stroke-dasharray:5 3
  classDef nothing stroke:#8a94a3,stroke-dasharray:2 4
";

const TONES: &str = "  classDef idle fill:#f4f6f9,stroke:#8a94a3,color:#1c2430
  classDef active fill:#dcebff,stroke:#1d5fb0,color:#1c2430
  classDef good fill:#def3e3,stroke:#1f7a3d,color:#1c2430
  classDef undone fill:#fdeecb,stroke:#8a5a00,color:#1c2430
  classDef bad fill:#fde0e0,stroke:#b3261e,color:#1c2430
";
