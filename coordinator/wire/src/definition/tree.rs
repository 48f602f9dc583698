//! A definition's text as a tree that knows where everything stands.
//!
//! YAML, and JSON as the part of it, is read into nodes with byte offsets before anything is checked, so
//! that every fault can be told at once and with its place. Nothing is guessed: words that other YAML
//! readers take for booleans, octal numbers and the like are faults that say how to write what is meant.

use super::{diagnostic::Faults, scalar::plain};
use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Number, Value};
use std::{borrow::Cow, collections::HashMap, ops::Range};

/// The longest definition in bytes.
pub(crate) const SOURCE_BYTES_MAX: usize = 256 * 1024;
/// The deepest nesting of lists and objects.
const DEPTH_MAX: usize = 64;
/// The largest number of values, repeated aliases counted each time.
const NODES_MAX: usize = 20_000;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The byte it starts at.
    pub(crate) at: usize,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    /// A text, and the bytes of the source it was written as.
    Text(String, Range<usize>),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something a fault has been noted for.
    Bad,
}

/// A member of an object.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: usize,
    pub(crate) value: Node,
}

impl Node {
    /// What it is, in words.
    pub(crate) fn described(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(..) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "an object",
            Kind::Bad => "something unreadable",
        }
    }

    /// What it is, with a text or a number as it is written.
    pub(crate) fn told(&self) -> String {
        match &self.kind {
            Kind::Text(text, _) => format!("\"{}\"", shorten(text)),
            Kind::Number(number) => number.to_string(),
            _ => self.described().to_owned(),
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text, _) => Some(text),
            _ => None,
        }
    }

    /// A member by its key, if it is an object that has it.
    pub(crate) fn member(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// Whether a fault has been noted for it already.
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self.kind, Kind::Bad)
    }

    /// The value without its places.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null | Kind::Bad => Value::Null,
            Kind::Bool(yes) => Value::Bool(*yes),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text, _) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Kind::Map(entries) => {
                let members = entries.iter().map(|e| (e.key.clone(), e.value.to_json()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    fn depth(&self) -> usize {
        let below = match &self.kind {
            Kind::List(items) => items.iter().map(Node::depth).max(),
            Kind::Map(entries) => entries.iter().map(|e| e.value.depth()).max(),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(..) | Kind::Bad => return 0,
        };
        1 + below.unwrap_or(0)
    }

    fn count(&self) -> usize {
        match &self.kind {
            Kind::List(items) => 1 + items.iter().map(Node::count).sum::<usize>(),
            Kind::Map(entries) => 1 + entries.iter().map(|e| e.value.count()).sum::<usize>(),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(..) | Kind::Bad => 1,
        }
    }
}

/// Reads one document; `None` when a fault keeps it from being read to its end.
pub(crate) fn read(source: &str, faults: &mut Faults) -> Option<Node> {
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!("the definition is {} bytes long, more than {SOURCE_BYTES_MAX}", source.len());
        faults.add(0, message, "split it into several definitions");
        return None;
    }
    let options = granit_parser::options! {
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
        disallow_directives: true,
        emit_comments: false,
        // JSON keys may be longer than a YAML key on one line.
        simple_key_max_lookahead: SOURCE_BYTES_MAX,
    };
    let parser = Parser::new_from_str_with_options(source, options);
    let mut builder = Builder { source, parser, faults, anchors: HashMap::new(), nodes: 0 };
    builder.document().ok()
}

/// The text cannot be read any further; a fault says why.
struct Stop;

struct Builder<'s, 'f> {
    source: &'s str,
    parser: Parser<'s, StrInput<'s>>,
    faults: &'f mut Faults,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'s> Builder<'s, '_> {
    fn document(&mut self) -> Result<Node, Stop> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd | Event::DocumentEnd => {
                    return self.stop(0, "the definition is empty", "begin it with \"saga: NAME\"");
                }
                event => {
                    let node = self.node(event, span, 0)?;
                    self.end_of_document()?;
                    return Ok(node);
                }
            }
        }
    }

    /// One text is one definition.
    fn end_of_document(&mut self) -> Result<(), Stop> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(()),
                _ => {
                    let help = "put each definition into a file of its own";
                    return self.stop(start(span), "a second document follows", help);
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'s>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let (at, what) = (error.marker().byte_offset().unwrap_or(0), error.info());
                let help = syntax_help(self.source, at, &what);
                self.stop(at, format!("this is not YAML: {what}"), help)
            }
            None => self.stop(self.source.len(), "the definition ends too early", "complete it"),
        }
    }

    fn stop<T>(&mut self, at: usize, message: impl Into<String>, help: &str) -> Result<T, Stop> {
        self.faults.add(at, message, help);
        Err(Stop)
    }

    fn node(&mut self, event: Event<'s>, span: Span, depth: usize) -> Result<Node, Stop> {
        let at = start(span);
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return self.stop(at, format!("there are more than {NODES_MAX} values"), "make it smaller");
        }
        let scalar = matches!(event, Event::Scalar(..) | Event::Alias(_));
        if depth >= DEPTH_MAX && !scalar {
            let message = format!("lists and objects are nested deeper than {DEPTH_MAX} levels");
            return self.stop(at, message, "flatten them");
        }
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (self.scalar(text, style, tag, span), anchor),
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag, span);
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag, span);
                (self.map(depth)?, anchor)
            }
            Event::Alias(id) => return self.alias(id, at, depth),
            _ => return self.stop(at, "this cannot be read", "remove it"),
        };
        let node = Node { at, kind };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Puts a copy of what the anchor stands for in the alias's place.
    fn alias(&mut self, id: usize, at: usize, depth: usize) -> Result<Node, Stop> {
        let Some(node) = self.anchors.get(&id) else {
            return self.stop(at, "an alias stands inside its own anchor", "write the value out");
        };
        if depth + node.depth() > DEPTH_MAX {
            let message = format!("aliases unfold deeper than {DEPTH_MAX} levels");
            return self.stop(at, message, "write fewer aliases");
        }
        let node = Node { at, kind: node.kind.clone() };
        self.nodes += node.count();
        if self.nodes > NODES_MAX {
            let message = format!("aliases unfold to more than {NODES_MAX} values");
            return self.stop(at, message, "write fewer aliases");
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Kind::List(items));
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Kind, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key_at = start(span);
            let key = match event {
                Event::MappingEnd => return Ok(Kind::Map(entries)),
                Event::Scalar(key, ..) => key.into_owned(),
                _ => return self.stop(key_at, "a key is not a text", "write the key as a plain word"),
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            if key == "<<" {
                let help = "write the keys out, or use an alias for a whole value";
                self.faults.add(key_at, "merge keys are not supported", help);
            } else if entries.iter().any(|entry| entry.key == key) {
                let message = format!("key \"{}\" appears twice", shorten(&key));
                self.faults.add(key_at, message, "remove one of the two");
            } else {
                entries.push(Entry { key, key_at, value });
            }
        }
    }

    fn refuse_tag(&mut self, tag: Option<Cow<'_, Tag>>, span: Span) {
        if let Some(tag) = tag {
            let at = span.tag_start().and_then(|mark| mark.byte_offset()).unwrap_or(start(span));
            let message = format!("the tag \"{}\" has no meaning here", shorten(&tag.original()));
            self.faults.add(at, message, "remove it; put a text into quotes instead");
        }
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        tag: Option<Cow<'_, Tag>>,
        span: Span,
    ) -> Kind {
        let as_text = tag.as_ref().is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
        if !as_text {
            self.refuse_tag(tag, span);
        }
        if style == ScalarStyle::Plain && !as_text {
            return plain(&text, raw(span), self.faults);
        }
        Kind::Text(text.into_owned(), raw(span))
    }
}

/// The bytes a node was written as; a parser of a text always knows them.
fn raw(span: Span) -> Range<usize> {
    span.byte_range().unwrap_or(0..0)
}

fn start(span: Span) -> usize {
    raw(span).start
}

/// What to do about text that is not YAML: most often an expression or an indent.
fn syntax_help(source: &str, at: usize, what: &str) -> &'static str {
    let at = (0..=at.min(source.len())).rev().find(|i| source.is_char_boundary(*i)).unwrap_or(0);
    let line_start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = source[line_start..].lines().next().unwrap_or("");
    let before = source[..line_start].lines().next_back().unwrap_or("");
    let unquoted = |line: &str| line.contains("${{") && !line.contains("\"${{") && !line.contains("'${{");
    if unquoted(line) || unquoted(before) {
        "put expressions into quotes: \"${{ … }}\""
    } else if line.contains('\t') || what.contains("tab") {
        "indent with spaces, not with tabs"
    } else if what.contains("anchor") {
        "name the value with &NAME where it is written out, before it is used"
    } else {
        "check quotes, brackets and indentation on this line and the one before"
    }
}

/// A text for a message: at most 60 characters, on one line.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect::<String>().escape_debug().to_string();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short.replace("\\\"", "\"")
}
