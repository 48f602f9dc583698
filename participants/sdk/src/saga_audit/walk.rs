//! Walking along a participant's own SQLite tables by the numbers of their rows, for rows that no call accounts for.

use super::{Failure, Place};
use amends_wire::audit::{Page, Reported};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

/// Rows that are looked at for one page; only those that are wrong are told.
const ROWS_MAX: i64 = 10_000;

/// Rows of one page that are told, at most.
const FOUND_MAX: i64 = 500;

/// Rows may carry a time that is a little older than that of their neighbours, when the clock was set back.
const SLACK_MS: i64 = 60_000;

/// A table whose rows are numbered as time goes on, and how to walk along it.
#[derive(Debug, Clone, Copy)]
pub struct Walk {
    /// Yields the highest number, or null.
    pub last: &'static str,
    /// Yields the time of the first row whose number is at least `?1`, in unix milliseconds, or no row.
    pub time: &'static str,
    /// Yields the number of the last of at most `?2` rows after `?1`, or null.
    pub upto: &'static str,
    /// Yields at most `?3` rows after `?1` and up to `?2` that are wrong, ascending, each with its number as `id`.
    pub found: &'static str,
    /// Says what is wrong with such a row.
    pub tell: fn(&SqliteRow) -> Result<Reported, sqlx::Error>,
}

/// One page of a walk along tables, one after the other: where [`Place::Own`] says, from a time on.
///
/// # Errors
/// [`Failure::Cursor`] for a table that there is not, and the database's own.
pub async fn walk(
    snapshot: &mut SqliteConnection,
    walks: &[Walk],
    since: i64,
    table: usize,
    after: Option<i64>,
) -> Result<Page, Failure> {
    let walk = walks.get(table).ok_or(Failure::Cursor)?;
    let after = match after {
        Some(after) => after,
        None => begin_of(snapshot, since.saturating_sub(SLACK_MS), walk.last, walk.time).await?,
    };
    let upto: Option<i64> =
        sqlx::query_scalar(walk.upto).bind(after).bind(ROWS_MAX).fetch_one(&mut *snapshot).await?;
    let Some(upto) = upto else {
        let next = Place::Own { table: table + 1, after: None };
        let next = (table + 1 < walks.len()).then(|| next.cursor()).flatten();
        return Ok(Page { next, ..Page::default() });
    };
    let rows = sqlx::query(walk.found).bind(after).bind(upto).bind(FOUND_MAX).fetch_all(snapshot).await?;
    let findings = rows.iter().map(walk.tell).collect::<Result<Vec<_>, _>>()?;
    let seen = match rows.last() {
        Some(last) if rows.len() as i64 == FOUND_MAX => last.try_get("id")?,
        _ => upto,
    };
    let next = Place::Own { table, after: Some(seen) }.cursor();
    Ok(Page { effects: Vec::new(), findings, next })
}

/// Finds where the rows of a time begin in a SQLite table whose numbers grow with time: the number after which they
/// come.
///
/// `last` yields the highest number; `time` yields the time of the first row whose number is at least `?1`, or no row.
/// It is run some thirty times, so that no index by time is needed.
///
/// # Errors
/// The database's own.
async fn begin_of(
    connection: &mut SqliteConnection,
    since: i64,
    last: &'static str,
    time: &'static str,
) -> Result<i64, sqlx::Error> {
    let last: Option<i64> = sqlx::query_scalar(last).fetch_one(&mut *connection).await?;
    // Rows up to `low` are older than `since`, rows above `high` are not.
    let (mut low, mut high) = (0, last.unwrap_or(0));
    while low < high {
        let middle = low + (high - low + 1) / 2;
        let at: Option<i64> = sqlx::query_scalar(time).bind(middle).fetch_optional(&mut *connection).await?;
        match at {
            Some(at) if at < since => low = middle,
            _ => high = middle - 1,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Connection;

    #[tokio::test]
    async fn the_begin_of_a_time_is_found_in_a_table_with_gaps() {
        let mut rows = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let table = "create table row (id integer primary key, at integer);
            with recursive n(i) as (select 1 union all select i + 1 from n where i < 200)
            insert into row select i, i / 10 from n where i % 7 <> 0";
        let last = "select max(id) from row";
        let time = "select at from row where id >= ?1 order by id limit 1";
        sqlx::raw_sql("create table empty (id integer)").execute(&mut rows).await.unwrap();
        assert_eq!(begin_of(&mut rows, 5, "select max(id) from empty", time).await.unwrap(), 0);
        sqlx::raw_sql(table).execute(&mut rows).await.unwrap();
        for since in -1..22 {
            let begin = begin_of(&mut rows, since, last, time).await.unwrap();
            let wrong = "select count(*) from row where (id > ?1) <> (at >= ?2)";
            let wrong: i64 =
                sqlx::query_scalar(wrong).bind(begin).bind(since).fetch_one(&mut rows).await.unwrap();
            assert_eq!(wrong, 0, "since {since}");
        }
    }
}
