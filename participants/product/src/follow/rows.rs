//! The row that says how far inventory's feed is known.

use sqlx::{Row, SqliteConnection, SqlitePool, query};

use super::cursor::Cursor;

/// Whose feed it is.
const SOURCE: &str = "inventory";

/// How far it is known; `None` before its whole state was read.
pub(super) async fn cursor(readers: &SqlitePool) -> Result<Option<Cursor>, sqlx::Error> {
    let sql = "select feed, known_to from product_feed where source = ?1";
    let row = query(sql).bind(SOURCE).fetch_optional(readers).await?;
    row.map(|row| Ok(Cursor { feed: row.try_get(0)?, known_to: row.try_get(1)? })).transpose()
}

/// Keeps how far it is known.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    cursor: &Cursor,
    now: i64,
) -> Result<(), sqlx::Error> {
    const SQL: &str = "
        insert into product_feed (source, feed, known_to, updated_at) values (?1, ?2, ?3, ?4)
        on conflict (source) do update
        set feed = excluded.feed, known_to = excluded.known_to, updated_at = excluded.updated_at";
    query(SQL).bind(SOURCE).bind(&cursor.feed).bind(cursor.known_to).bind(now).execute(connection).await?;
    Ok(())
}

/// Forgets what was known, of every SKU and of the feed.
pub(super) async fn forget(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    query("delete from sku_availability").execute(&mut *connection).await?;
    query("delete from product_feed where source = ?1").bind(SOURCE).execute(connection).await?;
    Ok(())
}
