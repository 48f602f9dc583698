//! Somebody counted: a record's stock is put right, once under the count's number.
//!
//! `{"adjust_no": text, "why": text or nothing, "lines": [{"sku", …, "delta": integer, "if_version": integer or
//! nothing}]}`. What is set aside or shipped is
//! not touched: a line that would take more than is usable takes what there is, and its answer says how many are short.
//! The opposite adjustment, under a number of its own, is the way back.

use std::collections::{BTreeMap, BTreeSet};

use amends_sdk::body::Reader;
use amends_sdk::{Task, Tx, Writer};
use amends_wire::canonical::{self, hex};
use amends_wire::problem::Misfit;
use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use tokio::sync::oneshot;

use crate::body::now_ms;
use crate::cart::{OrderNo, REPLENISH_LINES_MAX, REPLENISH_QTY_MAX, read_number};
use crate::ledger::{Entry, FlowOp, Ledger, Noted, Paper};
use crate::record::RecordKey;
use crate::sqlite::{self, Error, Scope};
use crate::version::{Passed, Versions};

/// The longest reason, in characters.
pub const WHY_CHARS_MAX: usize = 256;

/// Records whose stock is put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// The number it comes under; it takes effect once.
    pub number: OrderNo,
    /// The kind of flow that tells of it: [`FlowOp::Adjust`] or [`FlowOp::Sync`].
    pub op: FlowOp,
    /// By how much each record is to change; no line is 0.
    pub lines: BTreeMap<RecordKey, i64>,
    /// The versions under which it was made, where it names any.
    pub versions: Versions,
}

/// What became of an adjustment.
#[derive(Debug, Clone, PartialEq)]
pub enum Adjusted {
    /// It took effect: the answer's lines.
    New(Value),
    /// It took effect before, under the same number: the lines of then.
    Again(Value),
    /// Something else took effect under this number.
    NumberTaken,
    /// Some records have changed since the version that was named; nothing was changed.
    Passed(Vec<Passed>),
    /// A stock would exceed what it can hold; nothing was changed.
    TooMuch,
}

impl Adjustment {
    /// Reads the body above; lines of the same record are added up, and those that come to nothing are left out.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(body: &Value) -> Result<Adjustment, Vec<Misfit>> {
        let mut reader = Reader::default();
        let number = read_number(&mut reader, body, "adjust_no");
        reader.text_if_any(body, "", "why", 1..=WHY_CHARS_MAX);
        let read = |reader: &mut Reader, line: &Value, at: &str| {
            let record = RecordKey::read(reader, line, at);
            let delta = reader.integer(line, at, "delta", -REPLENISH_QTY_MAX..=REPLENISH_QTY_MAX);
            Some((record?, delta?))
        };
        let mut lines: BTreeMap<RecordKey, i64> = BTreeMap::new();
        for (record, delta) in reader.each(body, "lines", 1..=REPLENISH_LINES_MAX, read) {
            *lines.entry(record).or_default() += delta;
        }
        lines.retain(|_, delta| *delta != 0);
        let versions = Versions::read(&mut reader, body);
        reader.finish(number.map(|number| Adjustment { number, op: FlowOp::Adjust, lines, versions }))
    }

    fn fingerprint(&self) -> String {
        let lines: String = self.lines.iter().map(|(record, delta)| format!("{record}:{delta},")).collect();
        hex(&canonical::fingerprint([lines.as_bytes()]))
    }
}

/// Adjusts through the writer; durable when it returns.
///
/// # Errors
/// The database's own, or a writer with too much waiting.
pub async fn adjust(writer: &Writer, adjustment: Adjustment) -> Result<Adjusted, amends_sdk::Error> {
    let (answer, answered) = oneshot::channel();
    writer.run(Box::new(Count { adjustment, answer })).await?;
    answered.await.map_err(|_| amends_sdk::Error::Stopping)
}

struct Count {
    adjustment: Adjustment,
    answer: oneshot::Sender<Adjusted>,
}

#[async_trait]
impl Task for Count {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let Count { adjustment, answer } = *self;
        let adjusted = perform(tx.sqlite(), &adjustment, now_ms()).await.map_err(Error::into_database)?;
        // The writer commits after this; its own answer comes first, and this one is read only then.
        let _ = answer.send(adjusted);
        Ok(())
    }
}

/// Adjusts within a transaction that somebody else commits. A record that is not kept here yet is made.
///
/// # Errors
/// The database's own.
pub async fn perform(
    connection: &mut SqliteConnection,
    adjustment: &Adjustment,
    now: i64,
) -> Result<Adjusted, Error> {
    let fingerprint = adjustment.fingerprint();
    let wanted = BTreeSet::from([(Paper::Adjustment, adjustment.number.clone())]);
    match sqlite::numbers(connection, &wanted).await?.pop() {
        Some(noted) if noted.fingerprint == fingerprint => {
            return Ok(Adjusted::Again(serde_json::from_str(&noted.answer).unwrap_or_default()));
        }
        Some(_) => return Ok(Adjusted::NumberTaken),
        None => {}
    }
    let passed = adjustment.versions.passed(connection).await?;
    if !passed.is_empty() {
        return Ok(Adjusted::Passed(passed));
    }
    sqlite::make_records(connection, adjustment.lines.keys(), now).await?;
    let scope = Scope { records: adjustment.lines.keys().cloned().collect(), ..Scope::default() };
    let mut ledger = sqlite::load(connection, &scope, now, 0).await?;
    let Some(lines) = enter(&mut ledger, adjustment) else {
        // What is committed is at most the empty record of a SKU.
        return Ok(Adjusted::TooMuch);
    };
    let lines = Value::from(lines);
    let mut changes = ledger.into_changes();
    changes.numbers.push(Noted {
        paper: Paper::Adjustment,
        number: adjustment.number.clone(),
        order: "".into(),
        fingerprint,
        answer: lines.to_string().into(),
    });
    sqlite::write(connection, &changes, now).await?;
    Ok(Adjusted::New(lines))
}

/// Changes every record, by less where less is usable; `None` if one would hold more than it may.
fn enter(ledger: &mut Ledger, adjustment: &Adjustment) -> Option<Vec<Value>> {
    let mut lines = Vec::with_capacity(adjustment.lines.len());
    for (line_no, (record, wanted)) in (1..).zip(&adjustment.lines) {
        let usable = ledger.usable(record)?;
        let delta = (*wanted).max(-usable);
        let entry = Entry { op: adjustment.op, biz_no: &adjustment.number, line_no, delta, cause: None };
        ledger.enter(record, &entry).ok()?;
        let mut line = record.members();
        line.insert("delta".into(), json!(delta));
        line.insert("usable".into(), json!(usable + delta));
        if delta != *wanted {
            line.insert("short".into(), json!(delta - wanted));
        }
        lines.push(Value::Object(line));
    }
    Some(lines)
}
