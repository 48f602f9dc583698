//! What the dialects that mark a value with `?` have in common: in which order values stand in a statement, and how
//! statements for many rows go out. The statements themselves are each dialect's own.
//!
//! It is written as a macro, because sqlx has no trait for the number of rows that a statement touched.

/// Makes `insert`, `forget`, `overtake`, `settle`, `renew`, `bar` and `unbar` for a connection, of the statements that the
/// module around it calls `INSERT`, `FORGET`, `OVERTAKE` and `SETTLE`, and of those here.
///
/// A key is bound as `saga_id, step, op`.
macro_rules! marked_statements {
    ($connection:ty) => {
        /// Returns how many rows the database says it inserted.
        pub(super) async fn insert(
            connection: &mut $connection,
            rows: &[New<'_>],
            now_ms: i64,
        ) -> Result<u64, sqlx::Error> {
            let mut inserted = 0;
            for piece in INSERT.pieces(rows) {
                let mut query = sqlx::query(piece.statement);
                for New { key, hash, status, round } in piece.items {
                    query = bind_key!(query, key).bind(hash.to_vec()).bind(*status).bind(*round).bind(now_ms);
                }
                inserted += query.execute(&mut *connection).await?.rows_affected();
            }
            Ok(inserted)
        }

        pub(super) async fn forget(
            connection: &mut $connection,
            keys: &[Key<'_>],
        ) -> Result<(), sqlx::Error> {
            for piece in FORGET.pieces(keys) {
                let mut query = sqlx::query(piece.statement);
                for key in piece.items {
                    query = bind_key!(query, key);
                }
                query.execute(&mut *connection).await?;
            }
            Ok(())
        }

        pub(super) async fn overtake(
            connection: &mut $connection,
            key: Key<'_>,
        ) -> Result<bool, sqlx::Error> {
            let query = bind_key!(sqlx::query(OVERTAKE).bind(OVERTAKEN_PENDING), key);
            Ok(query.execute(connection).await?.rows_affected() == 1)
        }

        pub(super) async fn settle(
            connection: &mut $connection,
            key: Key<'_>,
            status: i16,
            response: String,
        ) -> Result<bool, sqlx::Error> {
            let query = sqlx::query(SETTLE).bind(status).bind(response);
            let settled = bind_key!(query, key).execute(connection).await?;
            Ok(settled.rows_affected() == 1)
        }

        pub(super) async fn renew(
            connection: &mut $connection,
            refused: Refused<'_>,
            hash: Hash,
            round: i32,
            now_ms: i64,
        ) -> Result<bool, sqlx::Error> {
            let query = sqlx::query(
                "update saga_barrier set request_hash = ?, status = null, response = null, round = ?, created_at = ? \
                 where saga_id = ? and step = ? and op = ? and status = ? and round = ?",
            );
            let query = bind_key!(query.bind(hash.to_vec()).bind(round).bind(now_ms), refused.key);
            let query = query.bind(refused.status).bind(refused.round);
            Ok(query.execute(connection).await?.rows_affected() == 1)
        }

        pub(super) async fn bar(
            connection: &mut $connection,
            refused: Refused<'_>,
        ) -> Result<bool, sqlx::Error> {
            let query = sqlx::query(
                "update saga_barrier set round = ? \
                 where saga_id = ? and step = ? and op = ? and status = ? and round = ?",
            );
            let query = bind_key!(query.bind(ROUND_BARRED), refused.key);
            let query = query.bind(refused.status).bind(refused.round);
            Ok(query.execute(connection).await?.rows_affected() == 1)
        }

        pub(super) async fn unbar(connection: &mut $connection, key: Key<'_>) -> Result<(), sqlx::Error> {
            let query = sqlx::query(
                "delete from saga_barrier where saga_id = ? and step = ? and op in (0, 1) and status = ?",
            );
            let query = query.bind(key.saga.as_bytes().to_vec()).bind(key.step.to_owned()).bind(CONFIRMED);
            query.execute(connection).await.map(drop)
        }
    };
}

/// Binds a key's three columns.
macro_rules! bind_key {
    ($query:expr, $key:expr) => {
        $query.bind($key.saga.as_bytes().to_vec()).bind($key.step.to_owned()).bind($key.op)
    };
}

/// Reads a row's hash, status, response and round, which stand in this order from `$at` on.
macro_rules! kept {
    ($row:expr, $at:expr) => {
        Kept {
            hash: $row.try_get($at)?,
            status: $row.try_get($at + 1)?,
            response: $row.try_get($at + 2)?,
            round: $row.try_get($at + 3)?,
        }
    };
}

pub(super) use {bind_key, kept, marked_statements};
