//! Checking a participant's tables by its own laws, in SQL, on one snapshot.
//!
//! Every law is a query that finds the rows which break it, so an empty answer means the law is kept. The laws
//! themselves are the participant's; here is how they are asked and how the answer looks. They are asked of SQLite.
//!
//! A participant that is given its [`Laws`] checks them every few minutes as well ([`crate::Participant::audits`]).
//!
//! The shape of an [`Audit`], as JSON: `{"kept": bool, "keeps"?: text, "invariants": [{"name", "law", "kept", "violations": [{…}]}],
//! "totals": {…}}`.

mod periodic;

pub use periodic::EVERY;
pub(crate) use periodic::{Auditing, SoFar};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;
use sqlx::{Column, Row, SqliteConnection, TypeInfo, ValueRef};

/// The most violations that are shown of one law.
pub const VIOLATIONS_MAX: i64 = 20;

/// A law, and the query for what breaks it.
#[derive(Debug, Clone, Copy)]
pub struct Law {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub law: &'static str,
    /// Finds the rows that break it: `?1` rows at most, `?2` is what [`check`] was `given`. A row is shown as an object
    /// of its columns, which are integers, texts or null.
    pub broken: &'static str,
}

/// The laws of a participant, ready to be checked on its own database.
#[async_trait]
pub trait Laws: Send + Sync + 'static {
    /// Checks every law, through a connection for reading. Each law may look at a moment of its own, so that no snapshot is
    /// kept open for as long as all of them take.
    ///
    /// # Errors
    /// The database's own.
    async fn check(&self) -> Result<Vec<Invariant>, sqlx::Error>;
}

/// What became of one law.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Invariant {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub law: &'static str,
    /// Whether it is kept.
    pub kept: bool,
    /// Rows that break it, at most [`VIOLATIONS_MAX`].
    pub violations: Vec<Value>,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit<Totals> {
    /// Whether every law is kept.
    pub kept: bool,
    /// What its tables keep, by which auditors know what to hold against what: `stock`, `orders`, `catalogue` or `payments`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keeps: Option<&'static str>,
    /// Each law, in a fixed order.
    pub invariants: Vec<Invariant>,
    /// Sums over everything that was checked.
    pub totals: Totals,
}

impl<Totals> Audit<Totals> {
    /// Puts together what was found.
    pub fn new(invariants: Vec<Invariant>, totals: Totals) -> Audit<Totals> {
        Audit { kept: invariants.iter().all(|invariant| invariant.kept), keeps: None, invariants, totals }
    }

    /// Says what the tables keep.
    #[must_use]
    pub fn keeping(self, what: &'static str) -> Audit<Totals> {
        Audit { keeps: Some(what), ..self }
    }
}

/// Checks every law; the answers stand in the order of the laws.
///
/// `connection` should be in a read transaction, so that all laws look at one moment. `given` is a text that laws may
/// refer to, such as a list in JSON of what is allowed.
///
/// # Errors
/// The database's own, and a column that is neither an integer nor a text.
pub async fn check(
    connection: &mut SqliteConnection,
    laws: &[Law],
    given: &str,
) -> Result<Vec<Invariant>, sqlx::Error> {
    let mut invariants = Vec::with_capacity(laws.len());
    for &Law { name, law, broken } in laws {
        let query = sqlx::query(broken).bind(VIOLATIONS_MAX).bind(given.to_owned());
        let rows = query.fetch_all(&mut *connection).await?;
        let violations = rows.iter().map(object).collect::<Result<Vec<_>, _>>()?;
        invariants.push(Invariant { name, law, kept: violations.is_empty(), violations });
    }
    Ok(invariants)
}

/// A row as a JSON object of its columns.
fn object(row: &SqliteRow) -> Result<Value, sqlx::Error> {
    let mut object = Map::new();
    for (index, column) in row.columns().iter().enumerate() {
        let raw = row.try_get_raw(index)?;
        let value = match raw.type_info().name() {
            _ if raw.is_null() => Value::Null,
            "TEXT" => Value::from(row.try_get::<String, _>(index)?),
            _ => Value::from(row.try_get::<i64, _>(index)?),
        };
        object.insert(column.name().to_owned(), value);
    }
    Ok(Value::Object(object))
}

#[cfg(test)]
mod tests;
