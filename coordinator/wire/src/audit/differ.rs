//! Whether what was done is what was asked for.
//!
//! Only members that both have are compared, so that a participant may say more than it was asked and less than it
//! was told. Lists are compared without order. In a list of objects, those that agree in everything but their `qty` (or
//! `quantity`) are taken together, because a cart may name a SKU twice where the books have one line.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The members that say how many.
const QUANTITIES: [&str; 2] = ["qty", "quantity"];

/// A place where the two are not the same.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    /// Where, as a JSON Pointer.
    pub(super) path: String,
    /// Whether only numbers differ.
    pub(super) is_quantity: bool,
    /// What was done there.
    pub(super) done: Value,
    /// What was asked for there.
    pub(super) asked: Value,
}

impl Difference {
    /// `{"path", "done", "asked"}`.
    pub(super) fn detail(&self) -> Value {
        json!({ "path": self.path, "done": self.done, "asked": self.asked })
    }
}

/// The first place where an effect is not what the action's body asked for.
pub(super) fn difference(effect: &Value, body: &Value) -> Option<Difference> {
    match (effect, body) {
        (Value::Object(done), Value::Object(asked)) => members(done, asked, ""),
        _ => None,
    }
}

fn members(done: &Map<String, Value>, asked: &Map<String, Value>, at: &str) -> Option<Difference> {
    done.iter().find_map(|(name, done)| {
        let asked = asked.get(name).filter(|asked| !asked.is_null() && !done.is_null())?;
        values(done, asked, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")))
    })
}

fn values(done: &Value, asked: &Value, at: &str) -> Option<Difference> {
    let differs = |is_quantity| {
        Some(Difference { path: at.to_owned(), is_quantity, done: done.clone(), asked: asked.clone() })
    };
    match (done, asked) {
        (Value::Object(done), Value::Object(asked)) => members(done, asked, at),
        (Value::Array(ours), Value::Array(theirs)) => match lists(ours, theirs) {
            Likeness::Same => None,
            Likeness::OtherNumbers => differs(true),
            Likeness::Other => differs(false),
        },
        (Value::Number(_), Value::Number(_)) if plain(done) == plain(asked) => None,
        (Value::Number(_), Value::Number(_)) => differs(true),
        _ if done == asked => None,
        _ => differs(false),
    }
}

enum Likeness {
    Same,
    OtherNumbers,
    Other,
}

fn lists(done: &[Value], asked: &[Value]) -> Likeness {
    let objects =
        |list: &[Value]| list.iter().map(|item| item.as_object().cloned()).collect::<Option<Vec<_>>>();
    match (objects(done), objects(asked)) {
        (Some(done), Some(asked)) => objects_alike(&done, &asked),
        _ => {
            let counted = |list: &[Value]| {
                let mut texts: Vec<String> = list.iter().map(|item| plain(item).to_string()).collect();
                texts.sort_unstable();
                texts
            };
            if counted(done) == counted(asked) { Likeness::Same } else { Likeness::Other }
        }
    }
}

fn objects_alike(done: &[Map<String, Value>], asked: &[Map<String, Value>]) -> Likeness {
    let names: BTreeSet<&String> = done.iter().flat_map(Map::keys).collect();
    let has = |item: &Map<String, Value>, name: &str| item.get(name).is_some_and(|value| !value.is_null());
    let common = |name: &&&String| done.iter().chain(asked).all(|item| has(item, name));
    let names: Vec<&String> = names.iter().filter(common).copied().collect();
    let (done, asked) = (sums(done, &names), sums(asked, &names));
    if done == asked {
        Likeness::Same
    } else if done.keys().eq(asked.keys()) {
        Likeness::OtherNumbers
    } else {
        Likeness::Other
    }
}

/// How many there are of each kind of object; one without a quantity counts as one.
fn sums(list: &[Map<String, Value>], names: &[&String]) -> BTreeMap<String, i128> {
    let mut sums = BTreeMap::new();
    for item in list {
        let (mut kind, mut qty) = (Map::new(), 1);
        for name in names {
            let value = item.get(*name).map(plain).unwrap_or_default();
            match value.as_i64() {
                Some(number) if QUANTITIES.contains(&name.as_str()) => qty = i128::from(number),
                _ => drop(kind.insert((*name).clone(), value)),
            }
        }
        *sums.entry(Value::Object(kind).to_string()).or_default() += qty;
    }
    sums
}

/// A value in which whole numbers are written as such: `2.0` as `2`.
fn plain(value: &Value) -> Value {
    /// Beyond this a float does not hold every whole number.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT_MAX =>
            {
                #[allow(clippy::cast_possible_truncation)]
                Value::from(float as i64)
            }
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
        }
        other => other.clone(),
    }
}
