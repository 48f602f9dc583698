//! The one statement that writes a batch: rows for the view `append`, whose triggers do the rest.
//!
//! Through sqlx every statement crosses to the connection's thread and back, which costs more than the
//! statement itself when it is small (measured: 36 µs of CPU an append with six statements a commit, 14
//! with this one, 16 in a batch). A single statement is a transaction by itself, so a whole group commit
//! is one crossing. It comes in fixed sizes, prepared once; rows left over are null and do nothing.

use super::{connect::failed, item, number::Numbers, row};
use crate::Error;
use amends_saga::coordinator::Append;
use futures::StreamExt as _;
use sqlx::{
    Executor as _,
    sqlite::{SqliteArguments, SqliteConnection},
};
use std::sync::LazyLock;

/// The most rows in one statement.
pub(super) const ROWS_MAX: usize = 1024;

/// The sizes a statement comes in. Close enough that little is padding, few enough to keep all prepared.
const SIZES: [usize; 20] =
    [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, ROWS_MAX];

const COLUMNS: usize = 19;

static STATEMENTS: LazyLock<Vec<(usize, &'static str)>> =
    LazyLock::new(|| SIZES.iter().map(|rows| (*rows, statement(*rows))).collect());

fn statement(rows: usize) -> &'static str {
    let row = format!("({})", vec!["?"; COLUMNS].join(","));
    String::leak(format!("insert into append values {}", vec![row; rows].join(",")))
}

/// Writes the appends, all of them or none; at most [`ROWS_MAX`].
///
/// Outside a transaction it is one by itself, durable when this returns.
///
/// # Errors
/// A constraint when one of them does not hit its row; nothing is written then.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    arguments: SqliteArguments,
) -> Result<(), sqlx::Error> {
    let rows = sqlx::Arguments::len(&arguments).div_ceil(COLUMNS);
    let sized = STATEMENTS.iter().find(|(size, _)| *size >= rows);
    let (_, sql) = sized.expect("a statement has at most ROWS_MAX rows");
    // The first message is the last one that matters; to wait for the end of the stream is one more
    // change of threads.
    match connection.fetch_many(sqlx::query_with(*sql, arguments)).next().await {
        Some(outcome) => outcome.map(drop),
        None => Err(sqlx::Error::WorkerCrashed),
    }
}

/// Encodes appends as rows, in the order of the view's columns.
pub(super) fn encode<'a>(
    owner: i64,
    numbers: &Numbers,
    appends: impl ExactSizeIterator<Item = &'a Append>,
) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    sqlx::Arguments::reserve(&mut arguments, appends.len() * COLUMNS, 0);
    let mut row = Row { arguments, broken: None };
    for append in appends {
        assert!(!append.records.is_empty(), "an append has at least one record");
        row.both(owner, append)?;
        row.first_only(numbers, append)?;
    }
    match row.broken {
        None => Ok(row.arguments),
        Some(error) => Err(failed(sqlx::Error::Encode(error))),
    }
}

struct Row {
    arguments: SqliteArguments,
    broken: Option<sqlx::error::BoxDynError>,
}

impl Row {
    /// What every append sets.
    fn both(&mut self, owner: i64, append: &Append) -> Result<(), Error> {
        let head = &append.head;
        let mut events = Vec::with_capacity(192 * append.records.len());
        serde_json::to_writer(&mut events, &append.records).map_err(unwritable)?;
        self.add(append.id.as_bytes().to_vec());
        self.add(owner);
        self.add(integer(append.epoch));
        self.add(integer(append.after_seq));
        self.add(integer(append.after_seq + append.records.len() as u64));
        self.add(String::from_utf8(events).map_err(unwritable)?);
        self.add(row::status_number(head.status));
        self.add(head.updated_at.0);
        self.add(head.ended_at.map(|at| at.0));
        self.add(head.wake_at.map(|at| at.0));
        self.add(i64::from(head.asleep));
        self.add(row::names_text(&head.at_steps));
        self.add(row::names_text(&head.at_participants));
        self.add(item::rows_json(&append.repairs));
        Ok(())
    }

    /// What only the first append of a saga sets.
    fn first_only(&mut self, numbers: &Numbers, append: &Append) -> Result<(), Error> {
        let head = &append.head;
        if append.after_seq > 0 {
            for _ in 0..5 {
                self.add(None::<i64>);
            }
            return Ok(());
        }
        let labels = match head.labels.is_empty() {
            true => None,
            false => Some(serde_json::to_string(&head.labels).map_err(unwritable)?),
        };
        self.add(numbers.get(head).expect("a new saga's definition has its number"));
        self.add(head.created_at.0);
        self.add(head.key.clone());
        self.add(head.fingerprint.to_vec());
        self.add(labels);
        Ok(())
    }

    fn add<'t>(&mut self, value: impl sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>) {
        if let Err(error) = sqlx::Arguments::add(&mut self.arguments, value) {
            self.broken.get_or_insert(error);
        }
    }
}

/// A number too large for the database is one that no row has.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unwritable(error: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("a record cannot be written as JSON: {error}"))
}
