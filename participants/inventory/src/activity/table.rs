//! The activities themselves: when they are sold, and how much of one a customer may have.

use amends_saga::Timestamp;
use amends_sdk::body::Reader;
use amends_sdk::{Task, Tx, Writer};
use amends_wire::api::Time;
use amends_wire::problem::Misfit;
use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use sqlx::{Row, SqliteConnection};

use super::{LIMIT_MAX, NAME_CHARS_MAX};
use crate::body::now_ms;
use crate::record::ACTIVITY_MAX;

/// Whether somebody has closed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivityState {
    /// It is sold while its time is.
    Open,
    /// It is not sold, whatever the time.
    Closed,
}

/// An activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// Its number, from 1.
    pub number: i64,
    /// Its name.
    pub name: String,
    /// The first moment at which it is sold, in unix milliseconds.
    pub starts_at: i64,
    /// The first moment at which it is sold no more.
    pub ends_at: i64,
    /// Whether somebody has closed it.
    pub state: ActivityState,
    /// How many of it a customer may have, over all its SKUs; `None` is any number.
    pub per_user_limit: Option<i64>,
}

impl Activity {
    /// Reads `{"activity": integer, "name": text, "starts_at": time, "ends_at": time, "per_user_limit": integer or
    /// nothing, "state": "open" or "closed" or nothing}`; times are RFC 3339.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(body: &Value) -> Result<Activity, Vec<Misfit>> {
        let mut reader = Reader::default();
        let number = reader.integer(body, "", "activity", 1..=ACTIVITY_MAX);
        let name = reader.text(body, "", "name", 1..=NAME_CHARS_MAX);
        let starts_at = time(&mut reader, body, "starts_at");
        let ends_at = time(&mut reader, body, "ends_at");
        let per_user_limit = reader.integer_if_any(body, "", "per_user_limit", 1..=LIMIT_MAX);
        let state = match reader.text_if_any(body, "", "state", 1..=16).as_deref() {
            None | Some("open") => ActivityState::Open,
            Some("closed") => ActivityState::Closed,
            Some(_) => {
                reader.misfit("/state", "must be \"open\" or \"closed\"");
                ActivityState::Closed
            }
        };
        if starts_at.zip(ends_at).is_some_and(|(starts_at, ends_at)| ends_at <= starts_at) {
            reader.misfit("/ends_at", "must be later than starts_at");
        }
        let all = number.zip(name).zip(starts_at.zip(ends_at));
        reader.finish(all.map(|((number, name), (starts_at, ends_at))| Activity {
            number,
            name,
            starts_at,
            ends_at,
            state,
            per_user_limit,
        }))
    }

    /// As the API shows it.
    pub fn body(&self) -> Value {
        serde_json::json!({
            "activity": self.number, "name": self.name, "starts_at": Time(Timestamp(self.starts_at)),
            "ends_at": Time(Timestamp(self.ends_at)), "state": self.state, "per_user_limit": self.per_user_limit,
        })
    }

    pub(super) fn of(row: &sqlx::sqlite::SqliteRow) -> Result<Activity, sqlx::Error> {
        let state: i64 = row.try_get("state")?;
        Ok(Activity {
            number: row.try_get("activity_id")?,
            name: row.try_get("name")?,
            starts_at: row.try_get("starts_at")?,
            ends_at: row.try_get("ends_at")?,
            // The constraint of the table knows no other.
            state: if state == 1 { ActivityState::Open } else { ActivityState::Closed },
            per_user_limit: row.try_get("per_user_limit")?,
        })
    }
}

fn time(reader: &mut Reader, body: &Value, member: &str) -> Option<i64> {
    let text = reader.text(body, "", member, 1..=40)?;
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Some(time.as_millisecond()),
        Err(_) => {
            reader.misfit(format!("/{member}"), "must be a time as in 2026-11-11T00:00:00Z");
            None
        }
    }
}

/// One activity, if there is one of that number.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    number: i64,
) -> Result<Option<Activity>, sqlx::Error> {
    let query = sqlx::query("select * from inv_activity where activity_id = ?1").bind(number);
    query.fetch_optional(connection).await?.as_ref().map(Activity::of).transpose()
}

/// Notes since when all that is left of an activity is returned; `None`: it is not.
pub(super) async fn note_returned(
    connection: &mut SqliteConnection,
    number: i64,
    at: Option<i64>,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query("update inv_activity set returned_at = ?2 where activity_id = ?1");
    query.bind(number).bind(at).execute(connection).await?;
    Ok(())
}

/// Makes an activity, or changes it; durable when it returns. Saving the same twice is the same as once.
pub(super) async fn save(writer: &Writer, activity: Activity) -> Result<(), amends_sdk::Error> {
    writer.run(Box::new(Save(activity))).await
}

struct Save(Activity);

#[async_trait]
impl Task for Save {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let Activity { number, name, starts_at, ends_at, state, per_user_limit } = self.0;
        sqlx::query(
            "insert into inv_activity (activity_id, name, starts_at, ends_at, state, per_user_limit, created_at, changed_at)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
             on conflict (activity_id) do update set name = excluded.name, starts_at = excluded.starts_at,
                ends_at = excluded.ends_at, state = excluded.state, per_user_limit = excluded.per_user_limit,
                changed_at = excluded.changed_at",
        )
        .bind(number)
        .bind(name)
        .bind(starts_at)
        .bind(ends_at)
        .bind(if state == ActivityState::Open { 1 } else { 2 })
        .bind(per_user_limit)
        .bind(now_ms())
        .execute(tx.sqlite())
        .await?;
        Ok(())
    }
}
