//! Lists, and the journal as one of them.

use super::Time;
use amends_saga::{Record, StepName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct List<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to send as `cursor` for the next page; null after the last.
    pub next: Option<String>,
}

impl<T> List<T> {
    /// A list that fits on one page.
    pub fn whole(items: Vec<T>) -> List<T> {
        List { items, next: None }
    }
}

/// One event of a saga's journal: `{"seq": 1, "at": "…", "type": "started", …}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalItem {
    /// Its place, from 1 without a gap.
    pub seq: u64,
    /// When it was decided.
    pub at: Time,
    /// What kind of event it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The step it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// What else belongs to an event of its kind; times in it are RFC 3339 too.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The members of events that are times; inside an event they are milliseconds.
const TIMES: [&str; 4] = ["deadline_at", "next_attempt_at", "next_poll_at", "timeout_at"];

impl JournalItem {
    /// Shows a record that stands at `seq`.
    pub fn of(seq: u64, record: &Record) -> JournalItem {
        let Ok(Value::Object(mut rest)) = serde_json::to_value(&record.event) else {
            unreachable!("an event is written as an object");
        };
        rest.remove("step");
        let kind = match rest.remove("type") {
            Some(Value::String(kind)) => kind,
            _ => unreachable!("an event's type is a text"),
        };
        for member in TIMES {
            if let Some(ms) = rest.get(member).and_then(Value::as_i64) {
                rest.insert(member.to_owned(), Value::String(Time(Timestamp(ms)).to_string()));
            }
        }
        JournalItem { seq, at: record.at.into(), kind, step: record.event.step().cloned(), rest }
    }

    /// Shows a whole journal.
    pub fn all(records: &[Record]) -> Vec<JournalItem> {
        (1..).zip(records).map(|(seq, record)| JournalItem::of(seq, record)).collect()
    }
}
