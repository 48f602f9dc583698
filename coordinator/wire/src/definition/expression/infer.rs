//! What an expression yields, and what in it cannot be: unknown members, steps that may not have run,
//! operators between values they do not take.

use super::{
    guard::{Run, asks, implied, output_step, shown_path},
    shape::{Kinds, Lacks, Shape},
    syntax::{Arguments, Expr, Kind},
};
use crate::definition::suggest;

/// What there is to see where an expression stands. A complaint is what is wrong and what to do about it.
pub(crate) trait World<'s> {
    fn input(&self) -> Shape<'s>;
    /// A step's output; `known` says that the step has run wherever this part of the expression is evaluated,
    /// `path` is the path that leads through it.
    fn output(&self, step: &str, path: &str, known: bool) -> Result<Shape<'s>, Complaint>;
    fn item(&self) -> Result<Shape<'s>, Complaint>;
    fn index(&self) -> Result<Shape<'s>, Complaint>;
}

/// What is wrong, and what to do about it.
pub(crate) type Complaint = (String, String);

/// A complaint and the byte after the opening mark at which it stands.
pub(crate) type Placed = (usize, Complaint);

/// What is known of an expression.
#[derive(Debug)]
pub(crate) struct Inferred<'s> {
    /// What it yields.
    pub(crate) shape: Shape<'s>,
    /// What in it can never be.
    pub(crate) faults: Vec<Placed>,
    /// What in it fails for some of the values that the schemas allow.
    pub(crate) advice: Vec<Placed>,
}

/// Works out what an expression yields where `known` is there.
pub(crate) fn infer<'s>(expr: &Expr, world: &dyn World<'s>, known: &Run) -> Inferred<'s> {
    let mut inference = Inference { world, found: Vec::new(), advice: Vec::new(), path: None };
    let shape = inference.shape(expr, known);
    Inferred { shape, faults: inference.found, advice: inference.advice }
}

struct Inference<'w, 's> {
    world: &'w dyn World<'s>,
    found: Vec<Placed>,
    advice: Vec<Placed>,
    /// The path that is being followed, where it is plain.
    path: Option<String>,
}

impl<'s> Inference<'_, 's> {
    fn complain(&mut self, at: usize, message: impl Into<String>, help: impl Into<String>) -> Shape<'s> {
        self.found.push((at, (message.into(), help.into())));
        Shape::any()
    }

    fn told(&mut self, at: usize, found: Result<Shape<'s>, Complaint>) -> Shape<'s> {
        found.unwrap_or_else(|(message, help)| self.complain(at, message, help))
    }

    fn shape(&mut self, expr: &Expr, known: &Run) -> Shape<'s> {
        match &expr.kind {
            Kind::Text(_) => Shape::of_kinds(Kinds::TEXT),
            Kind::Number(_) => Shape::of_kinds(Kinds::NUMBER),
            Kind::Bool => Shape::of_kinds(Kinds::BOOL),
            Kind::Null => Shape::of_kinds(Kinds::NULL),
            Kind::Root(_) | Kind::Member(..) | Kind::Item(..) => self.path(expr, known, false),
            Kind::Slice(inner, bounds, stepped) => {
                if *stepped {
                    // The engine cannot be trusted with it: of an empty list it takes the first item.
                    let help = "leave the second colon out; \"| reverse\" turns a list or a text round";
                    self.complain(expr.at, "a slice has no step here", help);
                }
                bounds.iter().for_each(|bound| drop(self.shape(bound, known)));
                self.shape(inner, known).only(Kinds::LIST.or(Kinds::TEXT))
            }
            Kind::Call(name, arguments) => {
                self.arguments(arguments, known);
                Shape::of_kinds(if name == "range" { Kinds::LIST } else { Kinds::OBJECT })
            }
            Kind::Filter(inner, name, arguments) => self.filter(inner, name, arguments, known),
            Kind::Test(inner, name, arguments) => {
                self.path_or_shape(inner, known, asks(name));
                arguments.iter().for_each(|argument| drop(self.shape(argument, known)));
                Shape::of_kinds(Kinds::BOOL)
            }
            Kind::Not(inner) => {
                self.shape(inner, known);
                Shape::of_kinds(Kinds::BOOL)
            }
            Kind::Negate(inner) => {
                let kinds = self.shape(inner, known).kinds;
                self.numbers("-", &[(inner.at, kinds)]);
                Shape::of_kinds(Kinds::NUMBER)
            }
            Kind::And(one, other) => {
                let more = known | &implied(one, true);
                self.shape(one, known).or(self.shape(other, &more))
            }
            Kind::Or(one, other) => {
                let more = known | &implied(one, false);
                self.shape(one, known).or(self.shape(other, &more))
            }
            Kind::Compare(operator, one, other) => self.compare(operator, one, other, known),
            Kind::Compute(operator, one, other) => self.compute(operator, one, other, known),
            Kind::If { yes, condition, no } => {
                self.shape(condition, known);
                let yes = self.shape(yes, &(known | &implied(condition, true)));
                match no {
                    Some(no) => yes.or(self.shape(no, &(known | &implied(condition, false)))),
                    None => yes,
                }
            }
            Kind::List(items) if items.is_empty() => Shape::empty(Kinds::LIST),
            Kind::Map(members) if members.is_empty() => Shape::empty(Kinds::OBJECT),
            Kind::List(items) => {
                let shapes = items.iter().map(|item| self.shape(item, known)).reduce(Shape::or);
                Shape::list_of(shapes.unwrap_or(Shape::any()))
            }
            Kind::Map(members) => {
                for (key, value) in members {
                    self.shape(key, known);
                    self.shape(value, known);
                }
                Shape::of_kinds(Kinds::OBJECT)
            }
        }
    }

    fn path_or_shape(&mut self, expr: &Expr, known: &Run, guarded: bool) -> Shape<'s> {
        match expr.kind {
            Kind::Root(_) | Kind::Member(..) | Kind::Item(..) => self.path(expr, known, guarded),
            _ => self.shape(expr, known),
        }
    }

    /// Follows a path to its end; `guarded` says that what lies there may be missing.
    fn path(&mut self, expr: &Expr, known: &Run, guarded: bool) -> Shape<'s> {
        self.path = shown_path(expr).filter(|path| !path.contains('…'));
        self.follow(expr, known, guarded)
    }

    fn follow(&mut self, expr: &Expr, known: &Run, guarded: bool) -> Shape<'s> {
        if let Some(step) = output_step(expr) {
            let run = guarded || known.contains(step);
            let path = self.path.clone().unwrap_or_else(|| format!("steps.{step}.output"));
            let output = self.world.output(step, &path, run);
            return self.told(expr.at, output);
        }
        match &expr.kind {
            Kind::Root(name) => {
                let shape = match name.as_str() {
                    "input" => Ok(self.world.input()),
                    "item" => self.world.item(),
                    "index" => self.world.index(),
                    // Only its id can be named, which the reader of names has seen to.
                    "saga" => return Shape::any(),
                    _ => return Shape::any(),
                };
                self.told(expr.at, shape)
            }
            Kind::Member(inner, name) => {
                if name == "id" && inner.kind == Kind::Root("saga".to_owned()) {
                    return Shape::of_kinds(Kinds::TEXT);
                }
                let shape = self.follow(inner, known, guarded);
                self.advise(expr, &shape, name, known, guarded);
                self.part(expr.at, inner, shape.member(name), name)
            }
            Kind::Item(inner, place) => {
                // Only a plain path is looked up as a whole, so only there may all of it be missing.
                let plain = matches!(place.kind, Kind::Text(Some(_)) | Kind::Number(Some(_)));
                let shape = self.follow(inner, known, guarded && plain);
                match &place.kind {
                    Kind::Text(Some(name)) => {
                        self.advise(expr, &shape, name, known, guarded);
                        self.part(expr.at, inner, shape.member(name), name)
                    }
                    Kind::Number(number) => {
                        let name = number.map_or_else(|| "…".to_owned(), |n| n.to_string());
                        self.part(expr.at, inner, shape.item(*number), &name)
                    }
                    Kind::Negate(_) => self.part(expr.at, inner, shape.item(None), "-1"),
                    _ => {
                        self.shape(place, known);
                        Shape::any()
                    }
                }
            }
            _ => self.shape(expr, known),
        }
    }

    /// Advises a default for a member that may be absent.
    fn advise(&mut self, expr: &Expr, whole: &Shape<'s>, name: &str, known: &Run, guarded: bool) {
        let Some(path) = shown_path(expr) else { return };
        if guarded || !whole.may_lack(name) || known.contains(&path) {
            return;
        }
        let message = format!("\"{path}\" may be absent, and the step is refused then");
        let help = match self.path.as_deref() {
            Some(all) => {
                format!("write {all} | default(none), or list \"{name}\" under \"required\" in its schema")
            }
            None => format!(
                "ask whether {path} \"is defined\", or list \"{name}\" under \"required\" in its schema"
            ),
        };
        self.advice.push((expr.at, (message, help)));
    }

    /// Tells what keeps a value from having a part.
    fn part(
        &mut self,
        at: usize,
        whole: &Expr,
        found: Result<Shape<'s>, Lacks<'s>>,
        name: &str,
    ) -> Shape<'s> {
        let lacks = match found {
            Ok(shape) => return shape,
            Err(lacks) => lacks,
        };
        let shown = crate::definition::tree::shorten(name);
        let path = shown_path(whole);
        let what = match &path {
            Some(path) if path == "input" => "the input".to_owned(),
            Some(path) if path == AN_ITEM => AN_ITEM.to_owned(),
            Some(path) => format!("\"{path}\""),
            None => "the value".to_owned(),
        };
        match lacks {
            Lacks::Member(members) => {
                let help = suggest::hint(name, members, "members");
                self.complain(at, format!("{what} has no member \"{shown}\""), help)
            }
            Lacks::Item(most) => {
                let help = "its schema says so; take an earlier item";
                self.complain(at, format!("{what} has at most {most} items and no item {shown}"), help)
            }
            Lacks::Kind(kinds) => {
                let path = path.unwrap_or_else(|| "VALUE".to_owned());
                let number = name.starts_with(|c: char| c.is_ascii_digit() || c == '-');
                let part = if number { format!("item {shown}") } else { format!("member \"{shown}\"") };
                let help = if kinds == Kinds::LIST {
                    format!(
                        "take one item, {path}[0].{shown}, or all: {path} | map(attribute='{shown}') | list"
                    )
                } else {
                    format!("use {path} as it is, or correct its schema")
                };
                self.complain(at, format!("{what} is {kinds} and has no {part}"), help)
            }
        }
    }

    fn arguments(&mut self, arguments: &Arguments, known: &Run) -> Option<Shape<'s>> {
        let mut first = None;
        for (i, argument) in arguments.plain.iter().enumerate() {
            let shape = self.shape(argument, known);
            if i == 0 {
                first = Some(shape);
            }
        }
        for (_, argument) in &arguments.named {
            self.shape(argument, known);
        }
        first
    }

    fn filter(&mut self, inner: &Expr, name: &str, arguments: &Arguments, known: &Run) -> Shape<'s> {
        let shape = self.path_or_shape(inner, known, name == "default");
        let first = self.arguments(arguments, known);
        if NEEDS_PARTS.contains(&name) && !shape.kinds.meets(PARTS) {
            let help = "it takes a list, an object or a text";
            return self.complain(inner.at, format!("the filter {name} meets {}", shape.kinds), help);
        }
        let item = if shape.kinds.meets(Kinds::LIST) { shape.item(None).ok() } else { None };
        let by = attribute(name, arguments);
        let attribute = match (by, item.clone()) {
            (Some((at, by)), Some(item)) if !by.contains('.') => {
                let found = item.member(by);
                Some(self.part(at, &Expr { at, kind: Kind::Root(AN_ITEM.to_owned()) }, found, by))
            }
            _ => None,
        };
        let kinds = match name {
            "default" => return shape.or(first.unwrap_or(Shape::of_kinds(Kinds::TEXT))),
            "abs" | "count" | "float" | "int" | "length" | "round" | "sum" => Kinds::NUMBER,
            "join" | "lower" | "replace" | "string" | "title" | "tojson" | "trim" | "upper" => Kinds::TEXT,
            "bool" => Kinds::BOOL,
            "first" | "last" => return item.unwrap_or(Shape::any()),
            "map" => return Shape::list_of(attribute.unwrap_or(Shape::any())),
            "list" | "sort" | "unique" | "select" | "selectattr" | "reject" | "rejectattr" => {
                return Shape::list_of(item.unwrap_or(Shape::any()));
            }
            "chain" | "dictsort" | "groupby" | "items" | "lines" | "split" | "zip" => Kinds::LIST,
            "reverse" => return shape.only(Kinds::LIST.or(Kinds::TEXT)),
            _ => Kinds::ANY,
        };
        Shape::of_kinds(kinds)
    }

    fn compare(&mut self, operator: &str, one: &Expr, other: &Expr, known: &Run) -> Shape<'s> {
        let (left, right) = (self.shape(one, known), self.shape(other, known));
        if matches!(operator, "==" | "!=") {
            self.listed(&left, other);
            self.listed(&right, one);
        }
        let (left, right) = (left.kinds, right.kinds);
        let truth = Shape::of_kinds(Kinds::BOOL);
        match operator {
            "==" | "!=" if !left.meets(right) && left != Kinds::NULL && right != Kinds::NULL => {
                let help = "compare values of one kind; a text is written in quotes, a number without";
                let never = if operator == "==" { "never equal" } else { "always different" };
                self.complain(other.at, format!("{left} and {right} are compared, which are {never}"), help);
            }
            "in" | "not in" if !right.meets(PARTS) => {
                let help = "write a list, such as [1, 2]";
                self.complain(other.at, format!("\"{operator}\" looks into {right}"), help);
            }
            _ => {}
        }
        truth
    }

    /// Tells a text that is compared with a value which can only be one of others.
    fn listed(&mut self, value: &Shape<'s>, text: &Expr) {
        if let (Some(texts), Kind::Text(Some(text_written))) = (value.texts(), &text.kind)
            && value.kinds.meets(Kinds::TEXT)
            && !texts.contains(&text_written.as_str())
        {
            let shown = crate::definition::tree::shorten(text_written);
            let help = suggest::hint(text_written, texts, "values");
            self.complain(text.at, format!("\"{shown}\" is none of the texts it is compared with"), help);
        }
    }

    fn compute(&mut self, operator: &str, one: &Expr, other: &Expr, known: &Run) -> Shape<'s> {
        let (left, right) = (self.shape(one, known).kinds, self.shape(other, known).kinds);
        match operator {
            "~" => Shape::of_kinds(Kinds::TEXT),
            "+" => {
                let numbers = Kinds::NUMBER.or(Kinds::BOOL);
                let both = left.and(right).and(Kinds::TEXT.or(Kinds::LIST));
                let sum = left.meets(numbers) && right.meets(numbers);
                if !sum && !both.meets(Kinds::ANY) {
                    let help =
                        "it adds numbers, and puts texts or lists together; ~ makes a text of anything";
                    return self.complain(other.at, format!("\"+\" meets {left} and {right}"), help);
                }
                Shape::of_kinds(if sum { both.or(Kinds::NUMBER) } else { both })
            }
            operator => {
                self.numbers(operator, &[(one.at, left), (other.at, right)]);
                Shape::of_kinds(Kinds::NUMBER)
            }
        }
    }

    fn numbers(&mut self, operator: &str, operands: &[(usize, Kinds)]) {
        let numbers = Kinds::NUMBER.or(Kinds::BOOL);
        if let Some((at, kinds)) = operands.iter().find(|(_, kinds)| !kinds.meets(numbers)) {
            let help = "it takes numbers; a text that holds one is read with \"| int\"";
            self.complain(*at, format!("\"{operator}\" meets {kinds}"), help);
        }
    }
}

/// What stands for the path of an item that a filter looks at.
const AN_ITEM: &str = "an item of the list";

/// The kinds that have parts to go through.
const PARTS: Kinds = Kinds::LIST.or(Kinds::OBJECT).or(Kinds::TEXT);

/// Filters that go through the parts of a value.
const NEEDS_PARTS: [&str; 20] = [
    "count",
    "first",
    "groupby",
    "join",
    "last",
    "length",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "reverse",
    "select",
    "selectattr",
    "sort",
    "sum",
    "unique",
    "zip",
    "dictsort",
    "items",
];

/// The member of each item that a filter goes by, where it is written out.
fn attribute<'e>(filter: &str, arguments: &'e Arguments) -> Option<(usize, &'e str)> {
    let named = arguments.named.iter().find(|(name, _)| name == "attribute").map(|(_, value)| value);
    let expr = match filter {
        "map" | "sort" | "sum" | "min" | "max" | "unique" => named,
        "groupby" => named.or(arguments.plain.first()),
        "selectattr" | "rejectattr" => arguments.plain.first(),
        _ => None,
    }?;
    match &expr.kind {
        Kind::Text(Some(name)) => Some((expr.at, name)),
        _ => None,
    }
}
