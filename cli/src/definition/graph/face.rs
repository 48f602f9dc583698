//! What is written in a step's boxes, and how much room that takes.
//!
//! Everything is set in a monospaced face, whose glyphs are 0.6 em wide in every font there is; a little is added,
//! so that no text leaves its box whatever font a reader has. Text that is too long is never made smaller: a name is
//! cut in its middle, so that names with a common beginning stay apart; a remark goes on for a line or two and is
//! then cut at its end. The whole text stands in the box's tooltip.

use super::{
    layout::Size,
    model::{Does, Graph, Step, Undo},
    run::{Run, StepRun, Tone},
};

/// The width of a glyph, in em.
const GLYPH_EM: f64 = 0.62;
/// The width of a glyph that is not ASCII, such as an ideograph in a fallback font.
const WIDE_GLYPH_EM: f64 = 1.15;
/// Between a box's edge and its text, on the left and on the right.
pub(crate) const PAD_X: f64 = 13.0;
/// Between a box's edge and its text, above and below.
pub(crate) const PAD_Y: f64 = 9.0;
/// The widest text, in pixels.
const TEXT_WIDTH_MAX: f64 = 280.0;
/// The most lines a remark takes.
const REMARK_LINES_MAX: usize = 3;
/// The narrowest box.
const BOX_WIDTH_MIN: f64 = 130.0;

/// How a line is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// A step's name.
    Name,
    /// An operation.
    Code,
    /// A remark.
    Note,
    /// A status.
    Status,
}

impl Ink {
    /// Its size in pixels.
    pub(crate) fn size(self) -> f64 {
        match self {
            Ink::Name => 14.0,
            Ink::Code => 12.0,
            Ink::Note | Ink::Status => 11.0,
        }
    }

    /// From one line to the next.
    pub(crate) fn leading(self) -> f64 {
        self.size() + 6.0
    }

    /// The class it has in the drawing.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Ink::Name => "name",
            Ink::Code => "code",
            Ink::Note => "note",
            Ink::Status => "word",
        }
    }
}

/// A line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// What it says.
    pub(crate) text: String,
    /// How it is set.
    pub(crate) ink: Ink,
}

impl Line {
    /// The lines a text is set on.
    fn set(ink: Ink, text: &str) -> Vec<Line> {
        let texts = match ink {
            Ink::Name | Ink::Code => vec![cut_middle(text, ink)],
            Ink::Note | Ink::Status => wrapped(text, ink),
        };
        texts.into_iter().map(|text| Line { text, ink }).collect()
    }

    /// How wide it is at most, in pixels.
    pub(crate) fn width(&self) -> f64 {
        width(&self.text, self.ink.size())
    }
}

/// What is written in a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Face {
    /// Its lines, from above.
    pub(crate) lines: Vec<Line>,
    /// The same in full, remark by remark.
    pub(crate) texts: Vec<String>,
    /// What else there is to know.
    more: Vec<String>,
    /// How the box is coloured.
    pub(crate) tone: Option<Tone>,
}

impl Face {
    fn of(lines: Vec<(Ink, String)>, more: &[String], tone: Option<Tone>) -> Face {
        let texts: Vec<String> = lines.iter().map(|(_, text)| plain(text)).collect();
        let set = lines.iter().zip(&texts).flat_map(|((ink, _), text)| Line::set(*ink, text)).collect();
        let more = more.iter().map(|text| plain(text)).collect();
        Face { lines: set, texts, more, tone }
    }

    /// Everything in full, for a tooltip and for who listens.
    pub(crate) fn tip(&self) -> String {
        let all: Vec<&str> = self.texts.iter().chain(&self.more).map(String::as_str).collect();
        all.join("\n")
    }

    fn width(&self) -> f64 {
        self.lines.iter().map(Line::width).fold(0.0, f64::max) + 2.0 * PAD_X
    }

    fn height(&self) -> f64 {
        self.lines.iter().map(|line| line.ink.leading()).sum::<f64>() + 2.0 * PAD_Y
    }
}

/// A step's two boxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Faces {
    /// The step's own.
    pub(crate) step: Face,
    /// Its undo's; none beyond the point of no return.
    pub(crate) undo: Option<Face>,
}

impl Faces {
    /// What is written for each step of a graph, coloured by a run of it where there is one.
    pub(crate) fn all(graph: &Graph, run: Option<&Run>) -> Vec<Faces> {
        let of = |step: &Step| {
            let stands = run.and_then(|run| run.steps.get(&step.name));
            Faces { step: step_face(step, stands), undo: undo_face(step, stands) }
        };
        graph.steps.iter().map(of).collect()
    }

    /// How large to draw them: all steps equally wide, and all undos.
    pub(crate) fn sizes(faces: &[Faces]) -> Vec<Size> {
        let widest = |widths: &mut dyn Iterator<Item = f64>| widths.fold(BOX_WIDTH_MIN, f64::max).ceil();
        let step_width = widest(&mut faces.iter().map(|faces| faces.step.width()));
        let undo_width = widest(&mut faces.iter().filter_map(|faces| Some(faces.undo.as_ref()?.width())));
        let size = |faces: &Faces| Size {
            step: (step_width, faces.step.height()),
            undo: faces.undo.as_ref().map(|undo| (undo_width, undo.height())),
        };
        faces.iter().map(size).collect()
    }
}

/// What a step does, in a few words: an operation, a signal, a saga.
pub(crate) fn deed(does: &Does) -> String {
    match does {
        Does::Call { operation, .. } => operation.clone(),
        Does::Await { signal, .. } => format!("awaits {signal}"),
        Does::Child { definition } => format!("saga {definition}"),
        Does::Branch { confirm: Some(confirm) } => format!("confirmed by {confirm}"),
        Does::Branch { confirm: None } => "a branch".to_owned(),
    }
}

/// What else there is to say of a step: its condition, its list, how long it waits.
pub(crate) fn remarks(step: &Step) -> Vec<String> {
    let mut remarks = Vec::new();
    match &step.does {
        Does::Call { read_only: true, .. } => remarks.push("only reads".to_owned()),
        Does::Await { timeout, default, .. } => {
            let then = if *default { "then its default" } else { "then refused" };
            remarks.extend(timeout.as_ref().map(|timeout| format!("at most {timeout}, {then}")));
        }
        Does::Call { .. } | Does::Child { .. } | Does::Branch { .. } => {}
    }
    remarks.extend(step.when.as_ref().map(|when| format!("if {when}")));
    remarks.extend(step.each.as_ref().map(|each| match each.parallel {
        1 => format!("for each of {}", each.over),
        parallel => format!("for each of {}, {parallel} at a time", each.over),
    }));
    if step.pivot {
        remarks.push("point of no return".to_owned());
    }
    remarks
}

/// How a step is undone, and what is to be said of that.
pub(crate) fn undoing(undo: &Undo) -> Option<(String, Vec<String>)> {
    match undo {
        Undo::Call { operation, eager } => Some((operation.clone(), haste(*eager))),
        Undo::Child { eager } => Some(("undoes that saga".to_owned(), haste(*eager))),
        Undo::Nothing { reason: Some(reason) } => Some(("not undone".to_owned(), vec![reason.clone()])),
        Undo::Nothing { reason: None } => Some(("nothing to undo".to_owned(), Vec::new())),
        Undo::Never => None,
    }
}

fn haste(eager: bool) -> Vec<String> {
    eager.then(|| "holds nobody up".to_owned()).into_iter().collect()
}

fn step_face(step: &Step, stands: Option<&StepRun>) -> Face {
    let mut lines = vec![(Ink::Name, step.name.clone()), (Ink::Code, deed(&step.does))];
    lines.extend(remarks(step).into_iter().map(|remark| (Ink::Note, remark)));
    lines.extend(stands.map(|stands| (Ink::Status, stands.word.clone())));
    let more = stands.map(|stands| stands.more.as_slice()).unwrap_or_default();
    Face::of(lines, more, stands.map(|stands| stands.tone))
}

fn undo_face(step: &Step, stands: Option<&StepRun>) -> Option<Face> {
    let (deed, remarks) = undoing(&step.undo)?;
    let ink = if matches!(step.undo, Undo::Call { .. }) { Ink::Code } else { Ink::Note };
    let mut lines = vec![(ink, deed)];
    lines.extend(remarks.into_iter().map(|remark| (Ink::Note, remark)));
    let undo = stands.and_then(|stands| stands.undo.as_ref());
    lines.extend(undo.map(|undo| (Ink::Status, undo.word.clone())));
    let more = undo.map(|undo| undo.more.as_slice()).unwrap_or_default();
    Some(Face::of(lines, more, undo.map(|undo| undo.tone)))
}

/// How wide a text is at most, in pixels.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(|glyph| if glyph.is_ascii() { GLYPH_EM } else { WIDE_GLYPH_EM }).sum::<f64>() * size
}

/// A text on one line, without anything that is not to be seen or that would turn its direction.
pub(crate) fn plain(text: &str) -> String {
    let shown = |glyph: char| match glyph {
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            '\u{fffd}'
        }
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        glyph if glyph.is_whitespace() => ' ',
        glyph if glyph.is_control() => '\u{fffd}',
        glyph => glyph,
    };
    let text: String = text.chars().map(shown).collect();
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A text on as few lines as it takes; what does not fit on the last is cut off.
fn wrapped(text: &str, ink: Ink) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        // On the last line everything is put that is left, to be cut.
        if lines.len() + 1 == REMARK_LINES_MAX || line.is_empty() || fits(&longer, ink) {
            line = longer;
        } else {
            lines.push(std::mem::replace(&mut line, word.to_owned()));
        }
    }
    lines.push(line);
    lines.iter().map(|line| cut_end(line, ink)).collect()
}

fn fits(text: &str, ink: Ink) -> bool {
    width(text, ink.size()) <= TEXT_WIDTH_MAX
}

fn cut_end(text: &str, ink: Ink) -> String {
    if fits(text, ink) {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut left = TEXT_WIDTH_MAX - width("…", ink.size());
    for glyph in text.chars() {
        left -= width(glyph.encode_utf8(&mut [0; 4]), ink.size());
        if left < 0.0 {
            break;
        }
        cut.push(glyph);
    }
    format!("{}…", cut.trim_end())
}

fn cut_middle(text: &str, ink: Ink) -> String {
    if fits(text, ink) || !text.is_ascii() {
        return cut_end(text, ink);
    }
    let room = TEXT_WIDTH_MAX - width("…", ink.size());
    let glyphs = (room / (GLYPH_EM * ink.size())) as usize;
    let head = glyphs.div_ceil(2);
    format!("{}…{}", &text[..head], &text[text.len() - (glyphs - head)..])
}
