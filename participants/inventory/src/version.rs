//! Optimistic locks: a change of stock that holds only while nobody else has changed it.
//!
//! Every record has a version that counts the changes of its counters; `GET /stock?sku=7&by=record` tells it. A line of a
//! delivery or a count may say `"if_version"`: under which version it was made. Where one of the records has another by
//! then nothing of the whole delivery or count is done, and the answer (409) says of each which it has now. A record that is
//! not kept here yet has version 0. What took effect under its number before is answered as it was, whatever the version
//! is now: a retry is no conflict.
//!
//! This is the form for whoever has looked first and thought in between. Sales need none: what a cart takes is decided by
//! the value itself, in the condition of the update ([`crate::route`]) or in the transaction that reads and writes.
//! The route of a record has a lock of the same kind, its epoch.

use std::collections::BTreeMap;

use amends_sdk::body::{Reader, given};
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection};

use crate::balance::INBOUND_MAX;
use crate::record::RecordKey;
use crate::sqlite::index;

#[cfg(test)]
mod tests;

/// The versions that a change was made under; of records that are not named any will do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Versions(BTreeMap<RecordKey, i64>);

/// A record that has changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The record.
    pub record: RecordKey,
    /// The version it was named with.
    pub named: i64,
    /// The version it has.
    pub now: i64,
}

impl Versions {
    /// Reads `if_version` of those lines that have it; a record must not be named with two of them.
    pub(crate) fn read(reader: &mut Reader, body: &Value) -> Versions {
        let mut versions = BTreeMap::new();
        let lines = body.get("lines").and_then(Value::as_array).into_iter().flatten();
        for (at, line) in lines.enumerate().filter(|(_, line)| given(line, "if_version").is_some()) {
            let at = format!("/lines/{at}");
            let version = reader.integer(line, &at, "if_version", 0..=INBOUND_MAX);
            // What does not fit in the record itself is told by whoever reads the lines.
            let record = RecordKey::read(&mut Reader::default(), line, &at);
            let Some((record, version)) = record.zip(version) else { continue };
            if *versions.entry(record).or_insert(version) != version {
                reader.misfit(
                    format!("{at}/if_version"),
                    "is another than a line before has for the same record",
                );
            }
        }
        Versions(versions)
    }

    /// The records that have another version now.
    ///
    /// # Errors
    /// The database's own.
    pub(crate) async fn passed(&self, connection: &mut SqliteConnection) -> Result<Vec<Passed>, sqlx::Error> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<(&RecordKey, i64)> =
            self.0.iter().map(|(record, version)| (record, *version)).collect();
        let list = Value::from_iter(wanted.iter().map(|(record, _)| index(record))).to_string();
        let mut present = vec![0; wanted.len()];
        for row in sqlx::query(VERSIONS).bind(list).fetch_all(connection).await? {
            let place: i64 = row.try_get(0)?;
            if let Some(version) = usize::try_from(place).ok().and_then(|place| present.get_mut(place)) {
                *version = row.try_get(1)?;
            }
        }
        let passed = wanted.into_iter().zip(present).filter(|((_, named), now)| named != now);
        Ok(passed.map(|((record, named), now)| Passed { record: record.clone(), named, now }).collect())
    }
}

const VERSIONS: &str = "
    select wanted.key, b.version from json_each(?1) wanted
    cross join inv_stock s on s.sku_id = wanted.value ->> 0 and s.stock_type = wanted.value ->> 1
        and s.dept_no = wanted.value ->> 2 and s.warehouse_no = wanted.value ->> 3 and s.stock_status = 1
        and s.goods_level = wanted.value ->> 4 and s.activity_id = wanted.value ->> 5 and s.channel = wanted.value ->> 6
    cross join inv_bucket b on b.stock_id = s.stock_id and b.bucket_no = 0";

impl Passed {
    /// The line as an answer has it.
    pub(crate) fn body(&self) -> Value {
        let mut body = self.record.members();
        body.insert("if_version".into(), json!(self.named));
        body.insert("version".into(), json!(self.now));
        Value::Object(body)
    }
}

/// What happened and what to do, in words.
pub(crate) fn message(passed: &[Passed]) -> String {
    let Some(Passed { record, named, now }) = passed.first() else { return String::new() };
    let others = match passed.len() - 1 {
        0 => String::new(),
        others => format!(", and {others} more have changed as well"),
    };
    format!(
        "the stock of sku {record} is at version {now} and no longer at {named}{others}; nothing was changed: read it again \
         and decide anew"
    )
}
