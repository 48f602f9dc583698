//! The laws every drawing keeps.

use super::*;

/// Checks them all.
pub(super) fn hold(graph: &Graph, run: Option<&Run>) {
    let faces = Faces::all(graph, run);
    let layout = svg::lay_out(graph, &faces);
    nothing_points_backwards(graph, &layout);
    no_two_boxes_overlap(&layout);
    no_line_crosses_a_box(&layout);
    everything_is_inside(&layout);
    let drawing = Drawing::read(&svg::draw(graph, run));
    everything_is_drawn_once(graph, &drawing);
    drawing.no_text_leaves_its_box();
    flowchart_has_everything_once(graph, &mermaid::draw(graph, run));
}

fn nothing_points_backwards(graph: &Graph, layout: &Layout) {
    for (edge, route) in graph.edges.iter().zip(&layout.routes) {
        let (from, to) = (layout.boxes[edge.from], layout.boxes[edge.to]);
        assert!(from.row < to.row, "{edge:?} goes from row {} to row {}", from.row, to.row);
        assert!(route.forward.is_sorted_by(|a, b| a.1 <= b.1), "{edge:?} goes up: {:?}", route.forward);
        assert_eq!(route.forward.first(), Some(&(from.step.middle(), from.step.bottom())));
        assert_eq!(route.forward.last(), Some(&(to.step.middle(), to.step.y)));
        assert_eq!(route.undo.is_some(), graph.is_undone(edge), "{edge:?}");
        let Some(undo) = &route.undo else { continue };
        assert!(undo.is_sorted_by(|a, b| a.1 >= b.1), "the undo of {edge:?} goes down: {undo:?}");
        let (first, last) = (to.undo.expect("an undo"), from.undo.expect("an undo"));
        assert_eq!(undo.first(), Some(&(first.middle(), first.y)));
        assert_eq!(undo.last(), Some(&(last.middle(), last.bottom())));
    }
}

fn boxes(layout: &Layout) -> Vec<Rect> {
    layout.boxes.iter().flat_map(|placed| std::iter::once(placed.step).chain(placed.undo)).collect()
}

/// Whether the insides of two boxes meet; a hair's breadth is nothing.
fn meet(one: &Rect, other: &Rect) -> bool {
    const HAIR: f64 = 0.01;
    one.x + HAIR < other.right()
        && other.x + HAIR < one.right()
        && one.y + HAIR < other.bottom()
        && other.y + HAIR < one.bottom()
}

fn no_two_boxes_overlap(layout: &Layout) {
    let boxes = boxes(layout);
    for (place, one) in boxes.iter().enumerate() {
        for other in &boxes[place + 1..] {
            assert!(!meet(one, other), "{one:?} and {other:?} overlap");
        }
    }
}

/// A curve between two points stays within the rectangle they span.
fn no_line_crosses_a_box(layout: &Layout) {
    let spanned = |pair: &[Point]| {
        let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
        Rect { x: x1.min(x2) - 0.5, y: y1.min(y2), width: (x1 - x2).abs() + 1.0, height: (y1 - y2).abs() }
    };
    let boxes = boxes(layout);
    for route in &layout.routes {
        for way in std::iter::once(&route.forward).chain(&route.undo) {
            for piece in way.windows(2).map(spanned) {
                let hit = boxes.iter().find(|rect| meet(&piece, rect));
                assert!(hit.is_none(), "{way:?} crosses {hit:?}");
            }
        }
    }
}

fn everything_is_inside(layout: &Layout) {
    for rect in boxes(layout) {
        assert!(rect.x > -0.01 && rect.y > -0.01, "{rect:?}");
        assert!(rect.right() < layout.width + 0.01 && rect.bottom() < layout.height + 0.01, "{rect:?}");
    }
    for (x, y) in
        layout.routes.iter().flat_map(|route| route.forward.iter().chain(route.undo.iter().flatten()))
    {
        assert!(*x > -0.01 && *x < layout.width + 0.01 && *y > -0.01 && *y < layout.height + 0.01, "{x} {y}");
    }
}

fn everything_is_drawn_once(graph: &Graph, drawing: &Drawing) {
    let names = |fits: &dyn Fn(&&Step) -> bool| -> BTreeMap<String, usize> {
        graph.steps.iter().filter(fits).map(|step| (step.name.clone(), 1)).collect()
    };
    assert_eq!(drawing.steps, names(&|_| true));
    assert_eq!(drawing.undos, names(&|step| step.undo != Undo::Never));
    let pair = |edge: &Edge| (graph.steps[edge.from].name.clone(), graph.steps[edge.to].name.clone());
    let forward: BTreeMap<_, usize> = graph.edges.iter().map(|edge| (pair(edge), 1)).collect();
    assert_eq!(drawing.forward, forward);
    let undone = graph.edges.iter().filter(|edge| graph.is_undone(edge)).map(pair);
    let undone: BTreeMap<_, usize> = undone.map(|(from, to)| ((to, from), 1)).collect();
    assert_eq!(drawing.back, undone);
}

/// A flowchart has a line for each box, each edge, each turn and each edge's undo, and nothing else.
fn flowchart_has_everything_once(graph: &Graph, chart: &str) {
    let mut lines: Vec<&str> = chart.lines().map(str::trim).collect();
    lines.sort_unstable();
    let count = |wanted: String| lines.iter().filter(|line| **line == wanted).count();
    for edge in &graph.edges {
        let line = if edge.implied { "--o" } else { "-->" };
        assert_eq!(count(format!("s{} {line} s{}", edge.from, edge.to)), 1, "{edge:?}");
        let undone = usize::from(graph.is_undone(edge));
        assert_eq!(count(format!("u{} -.-> u{}", edge.to, edge.from)), undone, "{edge:?}");
    }
    for (place, step) in graph.steps.iter().enumerate() {
        let begins = |with: String| lines.iter().filter(|line| line.starts_with(&with)).count();
        let shapes = |letter: &str| begins(format!("{letter}{place}(")) + begins(format!("{letter}{place}["));
        assert_eq!(shapes("s"), 1, "{}", step.name);
        assert_eq!(shapes("u"), usize::from(step.undo != Undo::Never), "{}", step.name);
    }
}

/// Where a text begins, and how wide it is: x, y, width.
type Written = (f64, f64, f64);

/// What is found in a drawing, read from its text: each element stands on a line of its own.
#[derive(Debug, Default)]
pub(super) struct Drawing {
    steps: BTreeMap<String, usize>,
    undos: BTreeMap<String, usize>,
    forward: BTreeMap<(String, String), usize>,
    back: BTreeMap<(String, String), usize>,
    /// Each box with the texts that follow it.
    boxes: Vec<(Rect, Vec<Written>)>,
}

impl Drawing {
    pub(super) fn read(svg: &str) -> Drawing {
        let mut drawing = Drawing::default();
        let body = svg.split_once("<g transform").expect("a body").1;
        let (body, _) = body.split_once("<g class=\"legend\">").expect("a legend");
        for line in body.lines() {
            drawing.take(line);
        }
        drawing
    }

    fn take(&mut self, line: &str) {
        if let Some(name) = attribute(line, "data-step") {
            *self.steps.entry(name).or_default() += 1;
        } else if let Some(name) = attribute(line, "data-undo") {
            *self.undos.entry(name).or_default() += 1;
        } else if let (Some(from), Some(to)) = (attribute(line, "data-from"), attribute(line, "data-to")) {
            let class = attribute(line, "class").expect("a class");
            let ways = if class.starts_with("ahead") { &mut self.forward } else { &mut self.back };
            *ways.entry((from, to)).or_default() += 1;
        } else if line.starts_with("<rect class=\"box\"") {
            let of = |name| number(line, name);
            let rect = Rect { x: of("x"), y: of("y"), width: of("width"), height: of("height") };
            self.boxes.push((rect, Vec::new()));
        } else if line.starts_with("<text") && !line.contains("pivot-word") {
            let (_, texts) = self.boxes.last_mut().expect("a box before its text");
            texts.push((number(line, "x"), number(line, "y"), text_width(line)));
        }
    }

    pub(super) fn no_text_leaves_its_box(&self) {
        for (rect, texts) in &self.boxes {
            assert!(!texts.is_empty(), "{rect:?} is empty");
            for (x, y, width) in texts {
                assert!(*x >= rect.x + 4.0 && x + width <= rect.right() - 4.0, "{rect:?}: {x} + {width}");
                assert!(*y >= rect.y + 10.0 && *y <= rect.bottom() - 4.0, "{rect:?}: {y}");
            }
        }
    }
}

fn text_width(line: &str) -> f64 {
    let size = match attribute(line, "class").expect("a class").as_str() {
        "name" => Ink::Name,
        "code" => Ink::Code,
        _ => Ink::Note,
    };
    let text = line.split_once('>').and_then(|(_, rest)| rest.strip_suffix("</text>")).expect("a text");
    face::width(&unescaped(text), size.size())
}

fn attribute(line: &str, name: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!(" {name}=\""))?;
    Some(unescaped(rest.split_once('"')?.0))
}

fn number(line: &str, name: &str) -> f64 {
    attribute(line, name).and_then(|text| text.parse().ok()).expect("a number")
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&amp;", "&")
}
