//! The legend of a drawing: what its lines, boxes and colours mean, as far as they occur in it.

use super::{
    face::{self, Faces},
    layout::Rect,
    model::{Does, Graph, Undo},
    run::Tone,
    svg::Svg,
};

/// How wide a sample is.
const SAMPLE: f64 = 28.0;
/// How high.
const SAMPLE_HEIGHT: f64 = 14.0;
/// From one row to the next.
const LEADING: f64 = 24.0;
/// Between two entries of a row.
const GAP: f64 = 22.0;
/// The size of its text.
const TEXT: f64 = 12.0;

/// What an entry shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sample {
    Ahead,
    Implied,
    Back,
    Step(&'static str),
    Stack,
    Undo(&'static str),
    Toned(Tone),
}

/// The entries and where they stand.
#[derive(Debug)]
pub(super) struct Legend {
    entries: Vec<(Sample, &'static str, (f64, f64))>,
    /// How high it is.
    pub(super) height: f64,
}

impl Legend {
    /// What there is to explain in a drawing, in rows of at most this width.
    pub(super) fn of(graph: &Graph, faces: &[Faces], width: f64) -> Legend {
        let mut entries = Vec::new();
        let (mut x, mut y) = (0.0, 0.0);
        for (sample, meaning) in samples(graph, faces) {
            let wide = SAMPLE + 8.0 + face::width(meaning, TEXT);
            if x > 0.0 && x + wide > width {
                (x, y) = (0.0, y + LEADING);
            }
            entries.push((sample, meaning, (x, y)));
            x += wide + GAP;
        }
        Legend { entries, height: y + SAMPLE_HEIGHT }
    }

    /// Draws it.
    pub(super) fn draw(&self, svg: &mut Svg, left: f64, top: f64) {
        svg.line("<g class=\"legend\">");
        for (sample, meaning, (x, y)) in &self.entries {
            let (x, y) = (left + x, top + y);
            sample.draw(svg, x, y);
            svg.words("meaning", x + SAMPLE + 8.0, y + SAMPLE_HEIGHT - 3.0, meaning);
        }
        svg.line("</g>");
    }
}

impl Sample {
    fn draw(self, svg: &mut Svg, x: f64, y: f64) {
        let rect = Rect { x, y, width: SAMPLE, height: SAMPLE_HEIGHT };
        let middle = y + SAMPLE_HEIGHT / 2.0;
        let (start, end) = ((x, middle), (x + SAMPLE, middle));
        let mut grouped = |class: &str, radius: f64| {
            svg.line(&format!("<g class=\"{class}\">"));
            svg.rect("box", &rect, radius);
            svg.line("</g>");
        };
        match self {
            Sample::Ahead => svg.arrow("ahead", "", &[start, end]),
            Sample::Implied => svg.arrow("ahead implied", "", &[start, end]),
            Sample::Back => svg.arrow("back", "", &[start, end]),
            Sample::Step("await") => grouped("step await", SAMPLE_HEIGHT / 2.0),
            Sample::Step("child") => {
                grouped("step child", 3.0);
                let inner = Rect { x: x + 3.0, y: y + 3.0, width: SAMPLE - 6.0, height: SAMPLE_HEIGHT - 6.0 };
                svg.rect("inner", &inner, 1.0);
            }
            Sample::Step(kind) => grouped(&format!("step {kind}"), 3.0),
            Sample::Stack => {
                svg.rect("stack", &Rect { x: x + 3.0, y: y + 3.0, ..rect }, 3.0);
                svg.rect("box", &rect, 3.0);
            }
            Sample::Undo(class) => grouped(class, 3.0),
            Sample::Toned(tone) => grouped(&format!("step {}", tone.class()), 3.0),
        }
    }
}

fn samples(graph: &Graph, faces: &[Faces]) -> Vec<(Sample, &'static str)> {
    let any = |fits: &dyn Fn(&super::model::Step) -> bool| graph.steps.iter().any(fits);
    let undone = any(&|step| matches!(step.undo, Undo::Call { .. } | Undo::Child { .. }));
    let nothing = any(&|step| matches!(step.undo, Undo::Nothing { .. }));
    let read_only = any(&|step| matches!(step.does, Does::Call { read_only: true, .. }));
    let waits = any(&|step| matches!(step.does, Does::Await { .. }));
    let child = any(&|step| matches!(step.does, Does::Child { .. }));
    let each = any(&|step| step.each.is_some());
    let implied = graph.edges.iter().any(|edge| edge.implied);
    let tones: Vec<Tone> = faces
        .iter()
        .flat_map(|faces| [faces.step.tone, faces.undo.as_ref().and_then(|undo| undo.tone)])
        .flatten()
        .collect();
    let all = [
        (!graph.edges.is_empty(), Sample::Ahead, "forward"),
        (implied, Sample::Implied, "the pivot waits for every step before it"),
        (undone || graph.edges.iter().any(|edge| graph.is_undone(edge)), Sample::Back, "undo, in reverse"),
        (undone, Sample::Undo("undo"), "undoes the step to its left"),
        (nothing, Sample::Undo("undo nothing"), "nothing is undone"),
        (read_only, Sample::Step("reads"), "only reads"),
        (waits, Sample::Step("await"), "waits for a signal"),
        (child, Sample::Step("child"), "runs a saga of its own"),
        (each, Sample::Stack, "once for each item"),
        (any(&|step| step.pivot), Sample::Step("pivot"), "the pivot: no way back from here"),
    ];
    let mut samples: Vec<(Sample, &'static str)> = all
        .into_iter()
        .filter(|(occurs, ..)| *occurs)
        .map(|(_, sample, meaning)| (sample, meaning))
        .collect();
    let occurring = Tone::ALL.into_iter().filter(|tone| tones.contains(tone));
    samples.extend(occurring.map(|tone| (Sample::Toned(tone), tone.meaning())));
    samples
}
