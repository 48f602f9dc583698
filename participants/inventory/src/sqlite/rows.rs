//! Many rows in few statements.
//!
//! A statement that writes n rows is prepared once for each of a few fixed n, so that a batch of any size is written
//! in a handful of statements that SQLite has already compiled.

use sqlx::sqlite::{SqliteArguments, SqliteConnection};

/// How many rows a statement writes, largest first.
const SIZES: [usize; 4] = [256, 32, 4, 1];

/// One statement in several sizes.
pub(super) struct Rows {
    texts: [String; SIZES.len()],
}

impl Rows {
    /// Makes `{head} values (?, …), … {tail}` with `columns` places in a row.
    pub(super) fn new(head: &str, columns: usize, tail: &str) -> Rows {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let texts = SIZES.map(|size| format!("{head} values {} {tail}", vec![row.as_str(); size].join(", ")));
        Rows { texts }
    }

    /// Executes the statement for all items and returns how many rows it touched.
    pub(super) async fn execute<T>(
        &'static self,
        connection: &mut SqliteConnection,
        items: &[T],
        mut bind: impl FnMut(&mut Row, &T),
    ) -> Result<u64, sqlx::Error> {
        let (mut rest, mut touched) = (items, 0);
        for (size, text) in SIZES.iter().zip(&self.texts) {
            while rest.len() >= *size {
                let (now, later) = rest.split_at(*size);
                let mut row = Row(SqliteArguments::default());
                now.iter().for_each(|item| bind(&mut row, item));
                let query = sqlx::query_with(text.as_str(), row.0);
                touched += query.execute(&mut *connection).await?.rows_affected();
                rest = later;
            }
        }
        Ok(touched)
    }
}

/// Places of a statement, filled from left to right.
pub(super) struct Row(SqliteArguments);

impl Row {
    /// Fills the next place.
    pub(super) fn push<'t, T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(
        &mut self,
        value: T,
    ) -> &mut Row {
        let added = sqlx::Arguments::add(&mut self.0, value);
        debug_assert!(added.is_ok(), "numbers and texts can be bound");
        self
    }
}
