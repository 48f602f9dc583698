//! minijinja, narrowed to what is deterministic and bounded, and the way to its values and back.
//!
//! Kept out: everything that formats for people, that pads or repeats without a bound, and that reads a
//! clock. `join` and `replace` are our own with a bound, and `*` multiplies numbers only.

use super::{names::Reference, path::Path};
use amends_saga::definition::Scope;
use minijinja::{
    Environment, Error, ErrorKind, UndefinedBehavior, Value as Jinja,
    value::{Serde, ValueKind},
};
use serde_json::{Map, Number, Value, json};
use std::{
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
    sync::LazyLock,
};

/// The largest value that one template may yield, in bytes of JSON.
pub(crate) const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// Instructions an expression may take.
const FUEL: u64 = 50_000;
/// The deepest value an expression may yield.
const DEPTH_MAX: usize = 64;

/// The filters of the language.
pub(crate) const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "bool",
    "chain",
    "count",
    "default",
    "dictsort",
    "first",
    "float",
    "groupby",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
];
/// The tests of the language.
pub(crate) const TESTS: &[&str] = &[
    "boolean",
    "containing",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
    "upper",
];
/// The functions of the language.
pub(crate) const FUNCTIONS: &[&str] = &["dict", "range"];

/// Builtins that are kept out: unbounded, for people, or without meaning here.
const KEPT_OUT: [&str; 11] =
    ["safe", "escape", "e", "batch", "slice", "indent", "format", "pprint", "urlencode", "d", "filter"];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    for name in KEPT_OUT {
        environment.remove_filter(name);
    }
    for name in ["debug", "namespace"] {
        environment.remove_global(name);
    }
    environment.add_filter("join", join);
    environment.add_filter("replace", replace);
    environment.add_filter(FACTOR, factor);
    environment
});

/// The filter that the left side of every `*` is passed through.
pub(crate) const FACTOR: &str = "_factor";

/// A compiled expression.
pub(crate) struct Program {
    expression: minijinja::Expression<'static, 'static>,
    /// The paths it sees by the names of [`guarded_name`].
    guarded: Vec<Path>,
    /// What else it sees; nothing more is converted for it.
    seen: Vec<Reference>,
}

/// The name by which an expression sees a guarded path; no definition can write it.
pub(crate) fn guarded_name(number: usize) -> String {
    format!("_guarded_{number}")
}

impl Program {
    /// Compiles an expression that has been bounded before.
    ///
    /// # Errors
    /// What is wrong with its syntax.
    pub(crate) fn compile(
        source: String,
        guarded: Vec<Path>,
        seen: Vec<Reference>,
    ) -> Result<Program, String> {
        let expression = ENVIRONMENT
            .compile_expression_owned(source)
            .map_err(|error| error.detail().map_or_else(|| error.kind().to_string(), str::to_owned))?;
        Ok(Program { expression, guarded, seen })
    }

    /// Evaluates it; it sees only what it references.
    ///
    /// # Errors
    /// A sentence saying what it met.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, String> {
        // An expression that meets a fault of the engine refuses its step, and takes nobody else down.
        let evaluated = panic::catch_unwind(AssertUnwindSafe(|| {
            let value = self.expression.eval(self.context(scope)).map_err(|error| sentence(&error))?;
            Back { left: OUTPUT_BYTES_MAX }.value(&value, 0)
        }));
        evaluated.unwrap_or_else(|_| Err("the expression language cannot work it out".to_owned()))
    }

    /// The names the expression sees; converting a value costs, so only what is referenced is.
    fn context(&self, scope: &Scope<'_>) -> Jinja {
        let mut names: BTreeMap<String, Jinja> = BTreeMap::new();
        let mut steps: BTreeMap<&str, Jinja> = BTreeMap::new();
        let mut members: BTreeMap<&str, Jinja> = BTreeMap::new();
        let mut whole = None;
        for reference in &self.seen {
            match reference {
                Reference::Input => whole = Some(Jinja::from(Serde(&**scope.input()))),
                Reference::InputMember(name) => {
                    if let Some(value) = scope.input().get(name) {
                        members.entry(name).or_insert_with(|| Jinja::from(Serde(value)));
                    }
                }
                Reference::Output(step) => {
                    if let Some(output) = scope.output(step) {
                        let output = BTreeMap::from([("output", Jinja::from(Serde(&*output)))]);
                        steps.entry(step).or_insert_with(|| Jinja::from(output));
                    }
                }
                Reference::SagaId => {}
                Reference::Item => {
                    names.extend(
                        scope.item().map(|(item, _)| ("item".to_owned(), Jinja::from(Serde(&**item)))),
                    );
                }
                Reference::Index => {
                    names.extend(scope.item().map(|(_, index)| ("index".to_owned(), Jinja::from(index))));
                }
            }
        }
        // An input that is not an object has no members, and says so itself.
        let input = match whole {
            Some(whole) => whole,
            None if scope.input().is_object() => Jinja::from(members),
            None => Jinja::from(Serde(&**scope.input())),
        };
        for (number, path) in self.guarded.iter().enumerate() {
            let found = path.find(scope).ok();
            names.extend(found.map(|found| (guarded_name(number), Jinja::from(Serde(found.value())))));
        }
        names.insert("input".to_owned(), input);
        names.insert("steps".to_owned(), Jinja::from(steps));
        names.insert("saga".to_owned(), Jinja::from(Serde(json!({"id": scope.id().to_string()}))));
        Jinja::from(names)
    }
}

fn sentence(error: &Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("it takes more than {FUEL} instructions"),
        (ErrorKind::UndefinedError, None) => "it met something undefined".to_owned(),
        (ErrorKind::InvalidOperation, None) => "an operator meets a value it does not take".to_owned(),
        (kind, None) => kind.to_string(),
        (_, Some(detail)) => detail.to_owned(),
    }
}

/// The way from minijinja's values back to JSON, bounded, and strict where JSON has no word.
struct Back {
    left: usize,
}

impl Back {
    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        self.left = self.left.checked_sub(bytes).ok_or_else(too_large)?;
        Ok(())
    }

    fn value(&mut self, value: &Jinja, depth: usize) -> Result<Value, String> {
        self.spend(1)?;
        if depth > DEPTH_MAX {
            return Err(format!("its value is nested deeper than {DEPTH_MAX} levels"));
        }
        match value.kind() {
            ValueKind::Undefined => Err("its value is undefined".to_owned()),
            ValueKind::None => Ok(Value::Null),
            ValueKind::Bool => Ok(Value::Bool(value.is_true())),
            ValueKind::Number => number(value).map(Value::Number),
            ValueKind::String => {
                let text = value.as_str().unwrap_or_default();
                self.spend(text.len())?;
                Ok(Value::String(text.to_owned()))
            }
            ValueKind::Seq | ValueKind::Iterable => self.list(value, depth),
            ValueKind::Map => self.map(value, depth),
            ValueKind::Bytes | ValueKind::Plain | ValueKind::Invalid => {
                Err("its value has no JSON form".to_owned())
            }
            _ => Err("its value has no JSON form".to_owned()),
        }
    }

    fn list(&mut self, value: &Jinja, depth: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        for item in value.try_iter().map_err(|error| sentence(&error))? {
            items.push(self.value(&item, depth + 1)?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, value: &Jinja, depth: usize) -> Result<Value, String> {
        let mut members = Map::new();
        for key in value.try_iter().map_err(|error| sentence(&error))? {
            let Some(name) = key.as_str() else {
                return Err(format!("its value has the key {key}, and only texts are keys in JSON"));
            };
            self.spend(name.len())?;
            let member = value.get_item(&key).map_err(|error| sentence(&error))?;
            members.insert(name.to_owned(), self.value(&member, depth + 1)?);
        }
        Ok(Value::Object(members))
    }
}

fn too_large() -> String {
    format!("its value is larger than {OUTPUT_BYTES_MAX} bytes")
}

/// A number as JSON keeps it: 64 bits, finite.
fn number(value: &Jinja) -> Result<Number, String> {
    match serde_json::to_value(value) {
        Ok(Value::Number(number)) => Ok(number),
        _ => Err(format!("its value {value} is no number that JSON keeps: integers have 64 bits")),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// Joins items with a separator, up to the bound on values.
fn join(items: Jinja, separator: Option<String>) -> Result<String, Error> {
    let separator = separator.unwrap_or_default();
    let mut text = String::new();
    for (i, item) in items.try_iter()?.enumerate() {
        if i > 0 {
            text.push_str(&separator);
        }
        match item.kind() {
            ValueKind::String => text.push_str(item.as_str().unwrap_or_default()),
            ValueKind::Number | ValueKind::Bool => text.push_str(&item.to_string()),
            kind => return Err(invalid(format!("join meets {kind}; it joins texts and numbers"))),
        }
        if text.len() > OUTPUT_BYTES_MAX {
            return Err(invalid(too_large()));
        }
    }
    Ok(text)
}

/// Replaces every occurrence, up to the bound on values.
fn replace(text: String, from: String, to: String) -> Result<String, Error> {
    let growth = text.matches(&from).count().saturating_mul(to.len());
    if text.len().saturating_add(growth) > OUTPUT_BYTES_MAX {
        return Err(invalid(too_large()));
    }
    Ok(text.replace(&from, &to))
}

/// Lets numbers through: `*` would otherwise repeat texts and lists a hundred million times.
fn factor(value: Jinja) -> Result<Jinja, Error> {
    match value.kind() {
        ValueKind::Number => Ok(value),
        kind => Err(invalid(format!("* multiplies numbers and meets {kind}"))),
    }
}
