//! Which stock record a line means.
//!
//! A line `{sku, qty}` means the sellable record of the sales layer. The optional members `dept`, `warehouse`, `level`,
//! `channel` and `activity` mean another record of the same SKU; a line with an `activity` means that activity's stock,
//! which ordinary lines never touch.
//!
//! Two parts of a record's index no line names. The type follows from the activity: 2 with one, 1 without. The status is 1, of
//! sound goods, of every record: damaged ones are kept by the warehouse's [count](crate::physical) and are no record.

use std::fmt;
use std::sync::Arc;

use amends_sdk::body::Reader;
use serde_json::{Map, Value, json};

use crate::cart::Sku;

/// The longest department or warehouse, in characters.
pub const PLACE_CHARS_MAX: usize = 32;

/// The highest level and the highest channel.
pub const CODE_MAX: i64 = i16::MAX as i64;

/// The highest number of an activity: 2^53 - 1, which every JSON reader can hold exactly.
pub const ACTIVITY_MAX: i64 = crate::balance::INBOUND_MAX;

/// A stock record by its index. Cheap to clone; ordered by SKU first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// The SKU.
    pub sku: Sku,
    /// Where and for what, unless it is the sellable record of the sales layer.
    place: Option<Arc<Place>>,
}

/// Where a record lies and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The department; `*` is every one.
    pub dept: String,
    /// The warehouse; `*` is the sales layer.
    pub warehouse: String,
    /// The goods' level, from 1, which is the best.
    pub level: i64,
    /// The sales channel; 0 is every one.
    pub channel: i64,
    /// The activity, or 0 for ordinary sales.
    pub activity: i64,
}

impl Default for Place {
    fn default() -> Place {
        Place { dept: "*".into(), warehouse: "*".into(), level: 1, channel: 0, activity: 0 }
    }
}

impl Place {
    /// The record's type as the column has it: 1 sellable, 2 activity.
    pub fn stock_type(&self) -> i64 {
        if self.activity > 0 { 2 } else { 1 }
    }
}

impl From<Sku> for RecordKey {
    /// The sellable record of the sales layer.
    fn from(sku: Sku) -> RecordKey {
        RecordKey { sku, place: None }
    }
}

impl RecordKey {
    /// The record of a SKU at a place.
    pub fn at(sku: Sku, place: Place) -> RecordKey {
        // One record has one key: the sellable one is always written without its place.
        let place = (place != Place::default()).then(|| Arc::new(place));
        RecordKey { sku, place }
    }

    /// The stock of an activity.
    pub fn of_activity(sku: Sku, activity: i64) -> RecordKey {
        RecordKey::at(sku, Place { activity, ..Place::default() })
    }

    /// Where it lies, unless it is the sellable record of the sales layer.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_deref()
    }

    /// Reads the SKU and the optional members of a line or another object; `at` is its path.
    pub fn read(reader: &mut Reader, of: &Value, at: &str) -> Option<RecordKey> {
        let sku = reader.integer(of, at, "sku", 1..=i64::MAX);
        let members = ["dept", "warehouse", "level", "channel", "activity"];
        if !members.iter().any(|member| of.get(member).is_some()) {
            return Some(RecordKey::from(Sku::new(sku?)?));
        }
        let default = Place::default();
        let place = Place {
            dept: name(reader, of, at, "dept").unwrap_or(default.dept),
            warehouse: name(reader, of, at, "warehouse").unwrap_or(default.warehouse),
            level: reader.integer_if_any(of, at, "level", 1..=CODE_MAX).unwrap_or(1),
            channel: reader.integer_if_any(of, at, "channel", 0..=CODE_MAX).unwrap_or(0),
            activity: reader.integer_if_any(of, at, "activity", 0..=ACTIVITY_MAX).unwrap_or(0),
        };
        Some(RecordKey::at(Sku::new(sku?)?, place))
    }

    /// The members that a line has for this record, those of the sellable one left out.
    pub fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("sku".into(), json!(self.sku));
        let Some(place) = self.place() else { return members };
        let default = Place::default();
        let mut put = |name: &str, value: Value, usual: Value| {
            if value != usual {
                members.insert(name.into(), value);
            }
        };
        put("dept", json!(place.dept), json!(default.dept));
        put("warehouse", json!(place.warehouse), json!(default.warehouse));
        put("level", json!(place.level), json!(default.level));
        put("channel", json!(place.channel), json!(default.channel));
        put("activity", json!(place.activity), json!(default.activity));
        members
    }
}

/// A department or warehouse: plain characters only, as every database compares them alike.
fn name(reader: &mut Reader, of: &Value, at: &str, member: &str) -> Option<String> {
    let text = reader.text_if_any(of, at, member, 1..=PLACE_CHARS_MAX)?;
    if text.is_ascii() {
        return Some(text);
    }
    reader.misfit(format!("{at}/{member}"), "must be of ASCII characters");
    None
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sku.fmt(f)?;
        let Some(Place { dept, warehouse, level, channel, activity }) = self.place() else { return Ok(()) };
        write!(f, "@{dept}/{warehouse}/{level}/{channel}/{activity}")
    }
}

#[cfg(test)]
mod tests {
    //! Lines that name a record by more than its SKU.

    use super::*;
    use crate::cart::Cart;

    #[test]
    fn j1_a_line_names_its_record_by_all_that_can_differ() {
        let line =
            json!({"sku": 7, "dept": "books", "warehouse": "w1", "level": 2, "channel": 3, "activity": 9});
        let record = RecordKey::read(&mut Reader::default(), &line, "").unwrap();
        assert_eq!(record.to_string(), "7@books/w1/2/3/9");
        assert_eq!(Value::Object(record.members()), line);
        assert_eq!(record.place().unwrap().stock_type(), 2);
    }

    #[test]
    fn the_sellable_record_has_one_key_however_it_is_written() {
        let long = json!({"sku": 7, "dept": "*", "warehouse": "*", "level": 1, "channel": 0, "activity": 0});
        let record = RecordKey::read(&mut Reader::default(), &long, "").unwrap();
        assert_eq!(record, RecordKey::from(Sku::new(7).unwrap()));
        assert_eq!(Value::Object(record.members()), json!({"sku": 7}));
    }

    #[test]
    fn lines_of_one_record_are_merged_and_those_of_others_are_not() {
        let lines = json!([{"sku": 7, "qty": 1, "warehouse": "w2"}, {"sku": 7, "qty": 2}, {"sku": 7, "qty": 3, "warehouse": "w2"}]);
        let cart = Cart::read(&json!({"order": "1", "lines": lines})).unwrap();
        let read: Vec<_> = cart.lines().iter().map(|line| (line.record.to_string(), line.qty)).collect();
        assert_eq!(read, [("7".to_owned(), 2), ("7@*/w2/1/0/0".to_owned(), 4)]);
    }

    #[test]
    fn a_place_that_makes_no_sense_is_found_by_its_path() {
        for (member, value) in [
            ("dept", json!("")),
            ("warehouse", json!("Lager Süd")),
            ("level", json!(0)),
            ("channel", json!(-1)),
            ("activity", json!("x")),
        ] {
            let mut line = json!({"sku": 7, "qty": 1});
            line[member] = value;
            let misfits = Cart::read(&json!({"order": "1", "lines": [line]})).unwrap_err();
            assert_eq!(misfits[0].path, format!("/lines/0/{member}"));
        }
    }
}
