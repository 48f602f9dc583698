//! The barrier's rows in the order of time: what became of every step, for the audit.
//!
//! A step is told of at its newest row, so that one that changes while pages are read comes again, later. Only
//! committed rows are seen, and nothing is changed.

use super::{CONFIRMED, OVERTAKEN, OVERTAKEN_PENDING};
use crate::Readers;
use amends_wire::audit::EffectState;
use serde_json::Value;
use sqlx::{MySqlConnection, PgConnection, Row, SqliteConnection};
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// Which rows are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Only rows of this moment or later, in unix milliseconds.
    pub since: i64,
    /// Only rows after this one.
    pub after: Option<After>,
    /// The most rows that are looked at; there are up to three for a step.
    pub limit: u32,
}

/// A place in the order of time: `{at}.{op}.{saga}.{step}` as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    at: i64,
    op: i16,
    saga: Uuid,
    step: String,
}

/// What the barrier has of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The saga.
    pub saga: Uuid,
    /// The step's name.
    pub step: String,
    /// What became of it.
    pub state: EffectState,
    /// When the newest of its calls was first here, in unix milliseconds.
    pub at: i64,
    /// What its action was answered; null when it was not done.
    pub answer: Value,
}

/// Steps, ascending by time.
#[derive(Debug, Clone, PartialEq)]
pub struct Trail {
    /// The steps whose newest row is among those looked at.
    pub steps: Vec<Step>,
    /// Where to go on, `None` when there is nothing more now.
    pub next: Option<After>,
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.at, self.op, self.saga, self.step)
    }
}

impl FromStr for After {
    type Err = ();

    fn from_str(text: &str) -> Result<After, ()> {
        let mut parts = text.splitn(4, '.');
        let mut part = || parts.next().ok_or(());
        Ok(After {
            at: part()?.parse().map_err(drop)?,
            op: part()?.parse().map_err(drop)?,
            saga: part()?.parse().map_err(drop)?,
            step: part()?.to_owned(),
        })
    }
}

/// A row found in the order of time, beside one of the rows of its step.
struct Found {
    place: After,
    op: i16,
    status: Option<i16>,
    response: Option<String>,
    created_at: i64,
}

/// The text of the query, once for the dialects that mark a value with `?`. The comparison is written out, because
/// MySQL does not look for `(a, b) > (c, d)` in an index.
const MARKED: &str = "with found as (select created_at, saga_id, step, op from saga_barrier \
    where created_at >= ? and (created_at > ? or saga_id > ? or (saga_id = ? and (step > ? or (step = ? and op > ?)))) \
    order by created_at, saga_id, step, op limit ?) \
    select f.created_at, f.op, f.saga_id, f.step, b.op, b.status, b.response, b.created_at \
    from found f join saga_barrier b on b.saga_id = f.saga_id and b.step = f.step \
    order by f.created_at, f.saga_id, f.step, f.op, b.op";

const NUMBERED: &str = "with found as (select created_at, saga_id, step, op from saga_barrier \
    where (created_at, saga_id, step, op) > ($1, $2::text::uuid, $3, $4) \
    order by created_at, saga_id, step, op limit $5) \
    select f.created_at, f.op, f.saga_id::text, f.step, b.op, b.status, b.response, b.created_at \
    from found f join saga_barrier b on b.saga_id = f.saga_id and b.step = f.step \
    order by f.created_at, f.saga_id, f.step, f.op, b.op";

/// Reads the values of a row in the order of the columns; the saga is told by what the dialect has for it.
macro_rules! found {
    ($row:expr, $saga:expr) => {{
        let row = $row;
        let saga = $saga(row.try_get(2)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let place = After { at: row.try_get(0)?, op: row.try_get(1)?, saga, step: row.try_get(3)? };
        Ok(Found {
            place,
            op: row.try_get(4)?,
            status: row.try_get(5)?,
            response: row.try_get(6)?,
            created_at: row.try_get(7)?,
        })
    }};
}

/// Makes a reader of found rows for a connection whose dialect marks values with `?`.
macro_rules! marked_found {
    ($name:ident, $connection:ty) => {
        async fn $name(connection: &mut $connection, window: &Window) -> Result<Vec<Found>, sqlx::Error> {
            let After { at, op, saga, step } = window.from();
            let saga = saga.as_bytes().to_vec();
            let query = sqlx::query(MARKED).bind(at).bind(at).bind(saga.clone()).bind(saga);
            let query = query.bind(step.clone()).bind(step).bind(op).bind(i64::from(window.limit));
            let rows = query.fetch_all(connection).await?;
            rows.iter().map(|row| found!(row, Uuid::from_slice)).collect()
        }
    };
}

marked_found!(sqlite_found, SqliteConnection);
marked_found!(mysql_found, MySqlConnection);

async fn postgres_found(connection: &mut PgConnection, window: &Window) -> Result<Vec<Found>, sqlx::Error> {
    let After { at, op, saga, step } = window.from();
    let query = sqlx::query(NUMBERED).bind(at).bind(saga.to_string()).bind(step).bind(op);
    let rows = query.bind(i64::from(window.limit)).fetch_all(connection).await?;
    rows.iter().map(|row| found!(row, Uuid::parse_str)).collect()
}

impl Window {
    /// The place after which rows are wanted: the one given, or the one just before the first of `since`.
    fn from(&self) -> After {
        let begin = After { at: self.since, op: -1, saga: Uuid::nil(), step: String::new() };
        self.after.clone().filter(|after| after.at >= self.since).unwrap_or(begin)
    }
}

/// Reads steps from a SQLite database, within whatever snapshot the connection has open.
///
/// # Errors
/// The database's own.
pub async fn trail_sqlite(connection: &mut SqliteConnection, window: &Window) -> Result<Trail, sqlx::Error> {
    Ok(gather(sqlite_found(connection, window).await?, window.limit))
}

/// Reads steps, whatever the dialect.
///
/// # Errors
/// The database's own.
pub async fn trail(readers: &Readers, window: &Window) -> Result<Trail, sqlx::Error> {
    let found = match readers {
        Readers::Sqlite(pool) => sqlite_found(&mut *pool.acquire().await?, window).await?,
        Readers::Postgres(pool) => postgres_found(&mut *pool.acquire().await?, window).await?,
        Readers::MySql(pool) => mysql_found(&mut *pool.acquire().await?, window).await?,
    };
    Ok(gather(found, window.limit))
}

/// Brings together the rows of each place, and keeps the places that are the newest of their step.
fn gather(found: Vec<Found>, limit: u32) -> Trail {
    let (mut steps, mut places) = (Vec::new(), 0);
    let mut last = None;
    for rows in found.chunk_by(|one, other| one.place == other.place) {
        places += 1;
        let place = &rows[0].place;
        if rows.iter().all(|row| (row.created_at, row.op) <= (place.at, place.op)) {
            steps.push(step(place, rows));
        }
        last = Some(place.clone());
    }
    Trail { steps, next: last.filter(|_| places >= limit) }
}

fn step(place: &After, rows: &[Found]) -> Step {
    let row = |op: i16| rows.iter().find(|row| row.op == op);
    let state =
        state(row(0).map(|row| row.status), row(1).map(|row| row.status), row(2).map(|row| row.status));
    let answer = row(0).filter(|row| row.status.is_some_and(|status| (200..300).contains(&status)));
    let answer = answer.and_then(|row| serde_json::from_str(row.response.as_deref()?).ok());
    let After { at, saga, step, .. } = place.clone();
    Step { saga, step, state, at, answer: answer.unwrap_or_default() }
}

/// What became of a step, from the statuses of its action, its compensation and its confirmation, where they have been
/// here.
fn state(
    action: Option<Option<i16>>,
    undo: Option<Option<i16>>,
    confirm: Option<Option<i16>>,
) -> EffectState {
    let is_done = |status: Option<Option<i16>>| {
        matches!(status, Some(Some(200..=299 | 410))) && !matches!(status, Some(Some(202)))
    };
    // What a confirm inserted is no compensation.
    let undo = undo.filter(|status| *status != Some(CONFIRMED));
    match action {
        Some(Some(CONFIRMED)) if is_done(confirm) => EffectState::Applied,
        Some(Some(CONFIRMED)) => EffectState::Pending,
        None if is_done(confirm) && undo.is_none() => EffectState::Applied,
        None | Some(Some(OVERTAKEN)) => EffectState::Barred,
        Some(None | Some(202 | 425)) => EffectState::Pending,
        Some(Some(OVERTAKEN_PENDING | 200..=299)) if is_done(undo) => EffectState::Undone,
        Some(Some(OVERTAKEN_PENDING)) => EffectState::Pending,
        Some(Some(200..=299)) if undo.is_some() => EffectState::Pending,
        Some(Some(200..=299)) => EffectState::Applied,
        Some(Some(_)) => EffectState::Barred,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_step_follows_from_its_rows() {
        use EffectState::{Applied, Barred, Pending, Undone};
        let some = |status| Some(Some(status));
        for (action, undo, confirm, expected) in [
            (some(200), None, None, Applied),
            (some(204), None, some(200), Applied),
            (some(200), some(200), None, Undone),
            (some(200), some(410), None, Undone),
            (some(200), some(202), None, Pending),
            (some(200), some(202), some(200), Pending),
            (some(202), None, None, Pending),
            (some(425), None, None, Pending),
            (Some(None), None, None, Pending),
            (some(1), some(200), None, Undone),
            (some(1), some(202), None, Pending),
            (some(0), some(200), None, Barred),
            (some(409), None, None, Barred),
            (some(409), some(200), None, Barred),
            (some(422), None, None, Barred),
            (None, some(200), None, Barred),
            (None, None, some(200), Applied),
            (some(200), some(2), some(200), Applied),
            (some(200), some(2), some(202), Applied),
            (some(2), some(2), some(200), Applied),
            (some(2), some(2), some(202), Pending),
            (some(409), some(2), some(200), Barred),
        ] {
            assert_eq!(state(action, undo, confirm), expected, "{action:?} {undo:?} {confirm:?}");
        }
    }

    #[test]
    fn a_place_is_written_and_read_back() {
        let place =
            After { at: 1_795_197_600_000, op: 1, saga: Uuid::from_u128(7), step: "reserve[0]".into() };
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "1", "1.0", "1.0.x.s", "x.0.00000000-0000-0000-0000-000000000007.s"] {
            assert_eq!(text.parse::<After>(), Err(()), "{text}");
        }
    }
}
