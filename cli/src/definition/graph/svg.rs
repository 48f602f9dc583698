//! A graph as an SVG drawing that stands alone: no script, no font, no image, nothing fetched.
//!
//! It is readable on light and on dark ground, says in `<title>` and `<desc>` what it shows, and gives each box a
//! tooltip with its whole text. Its classes all stand below `.amends`, so that several drawings, and a page around
//! them, do not disturb each other.

use super::{
    face::{self, Face, Faces, Ink, PAD_X, PAD_Y},
    layout::{Layout, Link, Point, Rect},
    legend,
    model::{Does, Graph, Undo},
    run::Run,
    style::STYLE,
};
use std::fmt::{self, Write};

/// Between the drawing's edge and what is drawn.
pub(super) const MARGIN: f64 = 24.0;
/// The room for the heading.
const HEADING: f64 = 70.0;
/// The narrowest drawing: the heading has to fit.
const WIDTH_MIN: f64 = 460.0;
/// How far the boxes behind a fanned-out step peep out.
const STACK: f64 = 4.0;
/// A distance nobody sees.
const HAIR: f64 = 0.05;
/// The most steps told in the description.
const TOLD_MAX: usize = 100;

/// Draws a graph.
pub(crate) fn draw(graph: &Graph, run: Option<&Run>) -> String {
    let faces = Faces::all(graph, run);
    let layout = lay_out(graph, &faces);
    let width = (layout.width + 2.0 * MARGIN + STACK).max(WIDTH_MIN).max(heading_width(graph, run));
    let legend = legend::Legend::of(graph, &faces, width - 2.0 * MARGIN);
    let height = HEADING + layout.height + MARGIN + legend.height + MARGIN;
    let mut svg = Svg { text: String::new(), prefix: format!("{}-{}", graph.name, graph.version) };
    svg.open(graph, run, width, height);
    let left = ((width - layout.width) / 2.0).round();
    svg.line(&format!("<g transform=\"translate({left} {HEADING})\">"));
    svg.pivot_line(&layout, width - left - MARGIN);
    svg.edges(graph, &layout);
    for (step, faces) in faces.iter().enumerate() {
        svg.step(graph, step, faces, &layout);
    }
    svg.line("</g>");
    legend.draw(&mut svg, MARGIN, HEADING + layout.height + MARGIN);
    svg.line("</svg>");
    svg.text
}

/// Lays the boxes of a graph out.
pub(super) fn lay_out(graph: &Graph, faces: &[Faces]) -> Layout {
    let links: Vec<Link> = graph
        .edges
        .iter()
        .map(|edge| Link { from: edge.from, to: edge.to, undone: graph.is_undone(edge) })
        .collect();
    let order = graph.order().expect("a graph that was read has no circle");
    // Where nothing comes after the pivot there is no line to draw.
    let beyond = graph.steps.iter().any(|step| step.undo == Undo::Never);
    let pivot = graph.steps.iter().position(|step| step.pivot && beyond);
    Layout::of(&Faces::sizes(faces), &links, &order, pivot)
}

/// What stands below the title: `deadline 20m · 6 steps`, and for a run its id and status.
fn heading(graph: &Graph, run: Option<&Run>) -> (String, String) {
    let count = graph.steps.len();
    let mut facts = vec![format!("{count} step{}", if count == 1 { "" } else { "s" })];
    facts.extend(graph.deadline.as_ref().map(|deadline| format!("deadline {deadline}")));
    facts.extend(run.map(|run| format!("saga {}: {}", run.id, run.status)));
    (format!("{}@{}", graph.name, graph.version), face::plain(&facts.join(" · ")))
}

fn heading_width(graph: &Graph, run: Option<&Run>) -> f64 {
    let (title, facts) = heading(graph, run);
    (face::width(&title, 18.0).max(face::width(&facts, 12.0)) + 2.0 * MARGIN).ceil()
}

/// The drawing in words.
fn description(graph: &Graph, run: Option<&Run>) -> String {
    let told = graph.steps.iter().enumerate().take(TOLD_MAX).map(|(place, step)| {
        let before: Vec<&str> = graph
            .edges
            .iter()
            .filter(|edge| edge.to == place)
            .map(|edge| graph.steps[edge.from].name.as_str())
            .collect();
        let after =
            if before.is_empty() { String::new() } else { format!(" after {}", before.join(" and ")) };
        let mut facts = vec![face::deed(&step.does)];
        facts.extend(face::remarks(step));
        facts.extend(face::undoing(&step.undo).map(|(undo, _)| match step.undo {
            Undo::Call { .. } => format!("undone by {undo}"),
            Undo::Child { .. } | Undo::Nothing { .. } | Undo::Never => undo,
        }));
        facts.extend(run.and_then(|run| run.steps.get(&step.name)).map(|stands| stands.word.clone()));
        format!("{}{after}: {}.", step.name, facts.join(", "))
    });
    let mut said: Vec<String> = vec![
        "Steps run from top to bottom; when the saga turns round they are undone along the dashed lines, from \
         bottom to top."
            .to_owned(),
    ];
    said.extend(told);
    if graph.steps.len() > TOLD_MAX {
        said.push(format!("And {} more.", graph.steps.len() - TOLD_MAX));
    }
    face::plain(&said.join(" "))
}

/// A drawing in the making.
pub(super) struct Svg {
    text: String,
    prefix: String,
}

impl Svg {
    /// Adds a line of markup.
    pub(super) fn line(&mut self, markup: &str) {
        self.text.push_str(markup);
        self.text.push('\n');
    }

    /// Adds a line of text; `y` is its baseline.
    pub(super) fn words(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let _ = writeln!(
            self.text,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>",
            number(x),
            number(y),
            escaped(text)
        );
    }

    /// Adds a box with round corners.
    pub(super) fn rect(&mut self, class: &str, rect: &Rect, radius: f64) {
        let _ = writeln!(
            self.text,
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{}\"/>",
            number(rect.x),
            number(rect.y),
            number(rect.width),
            number(rect.height),
            number(radius)
        );
    }

    /// Adds an arrow along points.
    pub(super) fn arrow(&mut self, class: &str, data: &str, points: &[Point]) {
        let head = if class.contains("back") { "back" } else { "ahead" };
        let (prefix, way) = (&self.prefix, path(points));
        let _ = writeln!(
            self.text,
            "<path class=\"{class}\"{data} d=\"{way}\" marker-end=\"url(#{prefix}-{head})\"/>"
        );
    }

    fn open(&mut self, graph: &Graph, run: Option<&Run>, width: f64, height: f64) {
        let (title, facts) = heading(graph, run);
        let (width, height, prefix) = (number(width), number(height), self.prefix.clone());
        self.line(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"amends\" role=\"img\" width=\"{width}\" \
             height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             aria-labelledby=\"{prefix}-title {prefix}-desc\">"
        ));
        self.line(&format!("<title id=\"{prefix}-title\">Saga {}</title>", escaped(&title)));
        let description = escaped(&description(graph, run));
        self.line(&format!("<desc id=\"{prefix}-desc\">{description}</desc>"));
        self.line(&format!("<style>{STYLE}</style>"));
        self.line("<defs>");
        for head in ["ahead", "back"] {
            self.line(&format!(
                "<marker id=\"{prefix}-{head}\" class=\"head-{head}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" \
                 markerWidth=\"8\" markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" orient=\"auto\">\
                 <path d=\"M0 0.5L8 4L0 7.5Z\"/></marker>"
            ));
        }
        self.line("</defs>");
        self.line(&format!("<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>"));
        self.words("heading", MARGIN, 30.0, &title);
        self.words("facts", MARGIN, 48.0, &facts);
    }

    fn pivot_line(&mut self, layout: &Layout, right: f64) {
        let Some(y) = layout.pivot_line else { return };
        let label = "point of no return: below, the saga only goes forward";
        let at = number(y);
        self.line(&format!("<path class=\"pivot-line\" d=\"M0 {at}H{}\"/>", number(right)));
        self.words("pivot-word", right, y - 5.0, label);
    }

    fn edges(&mut self, graph: &Graph, layout: &Layout) {
        for (edge, route) in graph.edges.iter().zip(&layout.routes) {
            let (from, to) = (escaped(&graph.steps[edge.from].name), escaped(&graph.steps[edge.to].name));
            let class = if edge.implied { "ahead implied" } else { "ahead" };
            self.arrow(class, &format!(" data-from=\"{from}\" data-to=\"{to}\""), &route.forward);
            if let Some(undo) = &route.undo {
                self.arrow("back", &format!(" data-from=\"{to}\" data-to=\"{from}\""), undo);
            }
        }
    }

    fn step(&mut self, graph: &Graph, place: usize, faces: &Faces, layout: &Layout) {
        let (step, placed) = (&graph.steps[place], &layout.boxes[place]);
        let name = escaped(&step.name);
        let kind = match &step.does {
            Does::Call { read_only: true, .. } => "reads",
            Does::Call { .. } => "call",
            Does::Await { .. } => "await",
            Does::Child { .. } => "child",
            Does::Branch { .. } => "branch",
        };
        let pivot = if step.pivot { " pivot" } else { "" };
        let conditional = if step.when.is_some() { " maybe" } else { "" };
        let tone = faces.step.tone.map(|tone| format!(" {}", tone.class())).unwrap_or_default();
        self.line(&format!("<g class=\"step {kind}{pivot}{conditional}{tone}\" data-step=\"{name}\">"));
        self.tip(&faces.step);
        let round = if matches!(step.does, Does::Await { .. }) { 18.0 } else { 5.0 };
        if step.each.is_some() {
            self.rect("stack", &shifted(&placed.step, STACK), round);
        }
        self.rect("box", &placed.step, round);
        if matches!(step.does, Does::Child { .. }) {
            self.rect("inner", &inset(&placed.step, 3.0), 3.0);
        }
        self.face(&faces.step, &placed.step);
        self.line("</g>");
        if let (Some(face), Some(rect)) = (&faces.undo, &placed.undo) {
            self.undo(&step.undo, &name, face, rect, &placed.step);
        }
    }

    fn undo(&mut self, undo: &Undo, name: &str, face: &Face, rect: &Rect, step: &Rect) {
        let real = matches!(undo, Undo::Call { .. } | Undo::Child { .. });
        let tone = face.tone.map(|tone| format!(" {}", tone.class())).unwrap_or_default();
        let class = if real { "undo" } else { "undo nothing" };
        self.line(&format!("<g class=\"{class}{tone}\" data-undo=\"{name}\">"));
        self.tip(face);
        if real {
            let y = rect.y + PAD_Y + 8.0;
            self.arrow("back turn", "", &[(step.right(), y), (rect.x, y)]);
        }
        self.rect("box", rect, 5.0);
        if matches!(undo, Undo::Child { .. }) {
            self.rect("inner", &inset(rect, 3.0), 3.0);
        }
        self.face(face, rect);
        self.line("</g>");
    }

    fn tip(&mut self, face: &Face) {
        let tip = escaped(&face.tip());
        self.line(&format!("<title>{tip}</title>"));
    }

    fn face(&mut self, face: &Face, rect: &Rect) {
        let mut y = rect.y + PAD_Y;
        for line in &face.lines {
            y += line.ink.leading();
            let lift = if line.ink == Ink::Name { 5.0 } else { 4.5 };
            self.words(line.ink.class(), rect.x + PAD_X, y - lift, &line.text);
        }
    }
}

fn shifted(rect: &Rect, by: f64) -> Rect {
    Rect { x: rect.x + by, y: rect.y + by, ..*rect }
}

fn inset(rect: &Rect, by: f64) -> Rect {
    Rect { x: rect.x + by, y: rect.y + by, width: rect.width - 2.0 * by, height: rect.height - 2.0 * by }
}

/// A way through points as path data.
fn path(points: &[Point]) -> String {
    let bends = bends(points);
    let mut way = String::new();
    if let Some((x, y)) = bends.first() {
        let _ = write!(way, "M{} {}", number(*x), number(*y));
    }
    for pair in bends.windows(2) {
        let ((from_x, from_y), (x, y)) = (pair[0], pair[1]);
        let _ = match (upright(pair[0], pair[1]), (from_y - y).abs() < HAIR) {
            (true, true) => Ok(()),
            (true, false) => write!(way, "V{}", number(y)),
            (false, true) => write!(way, "H{}", number(x)),
            (false, false) => {
                let middle = number((from_y + y) / 2.0);
                let (from_x, x, y) = (number(from_x), number(x), number(y));
                write!(way, "C{from_x} {middle} {x} {middle} {x} {y}")
            }
        };
    }
    way
}

/// The points without those on a straight way between their neighbours.
fn bends(points: &[Point]) -> Vec<Point> {
    let mut bends: Vec<Point> = Vec::new();
    for point in points {
        if let [.., before, last] = bends[..]
            && upright(before, last)
            && upright(last, *point)
        {
            bends.pop();
        }
        bends.push(*point);
    }
    bends
}

fn upright(one: Point, other: Point) -> bool {
    (one.0 - other.0).abs() < HAIR
}

/// A length with at most one decimal.
pub(super) fn number(length: f64) -> Tenths {
    Tenths((length * 10.0).round() as i64)
}

/// A length in tenths of a pixel. Written as whole numbers: a large drawing has a million of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tenths(i64);

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, tenth) = (self.0.unsigned_abs() / 10, self.0.unsigned_abs() % 10);
        match tenth {
            0 => write!(f, "{sign}{whole}"),
            tenth => write!(f, "{sign}{whole}.{tenth}"),
        }
    }
}

/// A text as it stands in XML, in an element or an attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for glyph in text.chars() {
        match glyph {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push_str("&#10;"),
            glyph => escaped.push(glyph),
        }
    }
    escaped
}
