//! Many rows in one statement.
//!
//! A statement costs a hand-over between threads, so a batch of any size is written by one for each table. It is prepared
//! once for each of a few sizes, and the smallest that has room is taken: SQLite takes a place that is not filled for
//! null, and every statement here makes nothing of a row of nulls.

use sqlx::sqlite::{SqliteArguments, SqliteConnection};

/// How many rows a statement has room for, largest first. SQLite allows 32 766 places in a statement.
const SIZES: [usize; 20] = [1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1];

/// One statement in several sizes.
pub(super) struct Rows {
    columns: usize,
    texts: [String; SIZES.len()],
}

impl Rows {
    /// Makes `{head} (values (?, …), …) {tail}` with `columns` places in a row.
    pub(super) fn new(head: &str, columns: usize, tail: &str) -> Rows {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let texts =
            SIZES.map(|size| format!("{head} (values {}) {tail}", vec![row.as_str(); size].join(", ")));
        Rows { columns, texts }
    }

    /// Executes the statement for all items and returns how many rows it touched.
    pub(super) async fn execute<T>(
        &'static self,
        connection: &mut SqliteConnection,
        items: &[T],
        mut bind: impl FnMut(&mut Row, &T),
    ) -> Result<u64, sqlx::Error> {
        let mut touched = 0;
        for piece in items.chunks(SIZES[0]) {
            let mut row = Row(SqliteArguments::default());
            sqlx::Arguments::reserve(&mut row.0, piece.len() * self.columns, 0);
            piece.iter().for_each(|item| bind(&mut row, item));
            let room = SIZES.iter().rposition(|size| *size >= piece.len()).unwrap_or_default();
            let query = sqlx::query_with(self.texts[room].as_str(), row.0);
            touched += query.execute(&mut *connection).await?.rows_affected();
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
