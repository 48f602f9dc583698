//! What a value can be: the kinds of JSON value it may have, and the part of a schema that describes it.
//!
//! A shape errs on the side of more: where a schema is silent, or says it in a way that is not looked at
//! here, a value may be anything. So a fault found with shapes is a fault in every run.

use serde_json::Value;
use std::fmt;

/// A set of kinds of JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const NULL: Kinds = Kinds(1);
    pub(crate) const BOOL: Kinds = Kinds(2);
    pub(crate) const NUMBER: Kinds = Kinds(4);
    pub(crate) const TEXT: Kinds = Kinds(8);
    pub(crate) const LIST: Kinds = Kinds(16);
    pub(crate) const OBJECT: Kinds = Kinds(32);
    pub(crate) const ANY: Kinds = Kinds(63);

    pub(crate) const fn or(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    pub(crate) fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 & other.0)
    }

    /// Whether some value is of a kind in both.
    pub(crate) fn meets(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }

    fn of(value: &Value) -> Kinds {
        match value {
            Value::Null => Kinds::NULL,
            Value::Bool(_) => Kinds::BOOL,
            Value::Number(_) => Kinds::NUMBER,
            Value::String(_) => Kinds::TEXT,
            Value::Array(_) => Kinds::LIST,
            Value::Object(_) => Kinds::OBJECT,
        }
    }

    fn named(name: &str) -> Kinds {
        match name {
            "null" => Kinds::NULL,
            "boolean" => Kinds::BOOL,
            "integer" | "number" => Kinds::NUMBER,
            "string" => Kinds::TEXT,
            "array" => Kinds::LIST,
            "object" => Kinds::OBJECT,
            _ => Kinds::ANY,
        }
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = ["null", "true or false", "a number", "a text", "a list", "an object"];
        let named: Vec<&str> = (0..6).filter(|bit| self.0 & (1 << bit) != 0).map(|bit| words[bit]).collect();
        f.write_str(&named.join(" or "))
    }
}

/// What a value can be.
#[derive(Debug, Clone)]
pub(crate) struct Shape<'s> {
    pub(crate) kinds: Kinds,
    schema: Option<Described<'s>>,
    /// What its items are, where no schema says so.
    items: Option<Box<Shape<'s>>>,
    /// Whether it is a list or an object that is written out and empty.
    empty: bool,
    /// Whether it is one of two values, of which the schema describes only one.
    joined: bool,
}

/// A part of a schema, and the whole in which its references lead.
#[derive(Debug, Clone, Copy)]
struct Described<'s> {
    root: &'s Value,
    here: &'s Value,
}

/// Why a value has no such part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lacks<'s> {
    /// It is of a kind that has no parts like this.
    Kind(Kinds),
    /// It has other members.
    Member(Vec<&'s str>),
    /// It has at most so many items.
    Item(u64),
}

/// The references that are followed from one place; the reader of schemas has refused those that recur.
const REFERENCES_MAX: usize = 32;

impl<'s> Shape<'s> {
    /// A value nothing is known of.
    pub(crate) const fn any() -> Shape<'s> {
        Shape::of_kinds(Kinds::ANY)
    }

    pub(crate) const fn of_kinds(kinds: Kinds) -> Shape<'s> {
        Shape { kinds, schema: None, items: None, empty: false, joined: false }
    }

    pub(crate) fn list_of(item: Shape<'s>) -> Shape<'s> {
        Shape { kinds: Kinds::LIST, schema: None, items: Some(Box::new(item)), empty: false, joined: false }
    }

    /// An empty list or object.
    pub(crate) const fn empty(kinds: Kinds) -> Shape<'s> {
        Shape { kinds, schema: None, items: None, empty: true, joined: false }
    }

    /// What a schema describes.
    pub(crate) fn described_by(schema: &'s Value) -> Shape<'s> {
        Shape::at(schema, schema)
    }

    fn at(root: &'s Value, here: &'s Value) -> Shape<'s> {
        let mut described = Described { root, here };
        for _ in 0..REFERENCES_MAX {
            match described.named() {
                Some(named) => described.here = named,
                None => {
                    let kinds = described.kinds();
                    return Shape {
                        kinds,
                        schema: Some(described),
                        items: None,
                        empty: false,
                        joined: false,
                    };
                }
            }
        }
        Shape::any()
    }

    /// The same value, known to be of one of some kinds.
    pub(crate) fn only(mut self, kinds: Kinds) -> Shape<'s> {
        self.kinds = self.kinds.and(kinds);
        self
    }

    /// One of two values.
    pub(crate) fn or(self, other: Shape<'s>) -> Shape<'s> {
        let kinds = self.kinds.or(other.kinds);
        // A value without parts takes nothing away from what is known of the other's.
        let Shape { schema, items, empty, .. } = match (self.has_parts(), other.has_parts()) {
            (true, false) => self,
            (false, _) => other,
            (true, true) if self.same_parts(&other) => self,
            (true, true) => Shape::any(),
        };
        Shape { kinds, schema, items, empty, joined: true }
    }

    fn has_parts(&self) -> bool {
        self.kinds.meets(Kinds::LIST.or(Kinds::OBJECT)) && !self.empty
    }

    fn same_parts(&self, other: &Shape<'s>) -> bool {
        match (&self.schema, &other.schema) {
            (Some(one), Some(two)) => std::ptr::eq(one.here, two.here),
            _ => false,
        }
    }

    /// The shape of a member.
    ///
    /// # Errors
    /// Why it can have none of this name.
    pub(crate) fn member(&self, key: &str) -> Result<Shape<'s>, Lacks<'s>> {
        if !self.kinds.meets(Kinds::OBJECT) {
            return Err(Lacks::Kind(self.kinds));
        }
        let Some(Described { root, here }) = self.schema else { return Ok(Shape::any()) };
        let members = here.get("properties").and_then(Value::as_object);
        if let Some(schema) = members.and_then(|members| members.get(key)) {
            return Ok(Shape::at(root, schema));
        }
        if here.get("patternProperties").is_some() {
            return Ok(Shape::any());
        }
        match here.get("additionalProperties") {
            Some(Value::Bool(false)) => {
                let known = members.map(|members| members.keys().map(String::as_str).collect());
                Err(Lacks::Member(known.unwrap_or_default()))
            }
            Some(schema @ Value::Object(_)) => Ok(Shape::at(root, schema)),
            _ => Ok(Shape::any()),
        }
    }

    /// Whether its schema describes a member and does not require it.
    pub(crate) fn may_lack(&self, key: &str) -> bool {
        let Some(Described { here, .. }) = self.schema else { return false };
        let described = here.get("properties").is_some_and(|members| members.get(key).is_some());
        let required = here.get("required").and_then(Value::as_array);
        let required = required.is_some_and(|names| names.iter().any(|name| name == key));
        // Other words of a schema may require it too.
        let plain = ["allOf", "anyOf", "oneOf", "if", "dependentRequired", "minProperties", "$ref"];
        described && !required && plain.iter().all(|word| here.get(word).is_none())
    }

    /// The texts it can be, where its schema lists them.
    pub(crate) fn texts(&self) -> Option<Vec<&'s str>> {
        let here = self.schema?.here;
        let listed = match (here.get("const"), here.get("enum").and_then(Value::as_array)) {
            (Some(value), _) => std::slice::from_ref(value),
            (None, Some(values)) => values,
            (None, None) => return None,
        };
        (!self.joined).then(|| listed.iter().filter_map(Value::as_str).collect())
    }

    /// The shape of an item: of one by its place, or of any.
    ///
    /// # Errors
    /// Why it can have none there.
    pub(crate) fn item(&self, place: Option<u32>) -> Result<Shape<'s>, Lacks<'s>> {
        if !self.kinds.meets(Kinds::LIST) {
            // One character of a text is a text.
            return if self.kinds.meets(Kinds::TEXT) {
                Ok(Shape::of_kinds(Kinds::TEXT))
            } else {
                Err(Lacks::Kind(self.kinds))
            };
        }
        let Some(Described { root, here }) = self.schema else {
            return Ok(self.items.as_deref().cloned().unwrap_or(Shape::any()));
        };
        let most = here.get("maxItems").and_then(Value::as_u64);
        if let (Some(place), Some(most)) = (place, most)
            && u64::from(place) >= most
        {
            return Err(Lacks::Item(most));
        }
        let shape = match (here.get("prefixItems").and_then(Value::as_array), place, here.get("items")) {
            (None, _, Some(schema @ Value::Object(_))) => Shape::at(root, schema),
            (Some(first), Some(place), items) => match (first.get(place as usize), items) {
                (Some(schema), _) | (None, Some(schema @ Value::Object(_))) => Shape::at(root, schema),
                (None, Some(Value::Bool(false))) => return Err(Lacks::Item(first.len() as u64)),
                (None, _) => Shape::any(),
            },
            _ => Shape::any(),
        };
        Ok(if self.kinds.meets(Kinds::TEXT) { shape.or(Shape::of_kinds(Kinds::TEXT)) } else { shape })
    }
}

impl<'s> Described<'s> {
    /// What a reference names, where it stands alone.
    fn named(self) -> Option<&'s Value> {
        let pointer = self.here.get("$ref")?.as_str()?.strip_prefix('#')?;
        let alone =
            ["type", "properties", "items", "enum", "const"].iter().all(|key| self.here.get(key).is_none());
        if alone { self.root.pointer(pointer) } else { None }
    }

    fn kinds(self) -> Kinds {
        let mut kinds = match self.here.get("type") {
            Some(Value::String(name)) => Kinds::named(name),
            Some(Value::Array(names)) => {
                let named = names.iter().filter_map(Value::as_str).map(Kinds::named);
                named.reduce(Kinds::or).unwrap_or(Kinds::ANY)
            }
            _ => Kinds::ANY,
        };
        if let Some(value) = self.here.get("const") {
            kinds = kinds.and(Kinds::of(value));
        }
        if let Some(values) = self.here.get("enum").and_then(Value::as_array) {
            kinds = kinds.and(values.iter().map(Kinds::of).reduce(Kinds::or).unwrap_or(Kinds::ANY));
        }
        // A schema that nothing fits says nothing of what is there.
        if kinds.meets(Kinds::ANY) { kinds } else { Kinds::ANY }
    }
}
