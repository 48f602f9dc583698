//! How much of an activity a customer has: counted in one row, changed only where it still fits.

use std::sync::Arc;

use amends_sdk::body::Reader;
use amends_wire::problem::Misfit;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection};

use super::{LIMIT_MAX, Refusal, Stop, USER_CHARS_MAX, Way, activity_of, is_given, open_at, table};
use crate::cart::{LINES_MAX, QTY_MAX};
use crate::hold::Cause;

/// What a customer takes or returns.
pub(super) struct Wanted {
    activity: i64,
    user: String,
    qty: i64,
}

impl Wanted {
    /// Reads `{"activity": integer, "user": text, "qty": integer}`, or a cart's `lines` in place of `qty`.
    pub(super) fn read(body: &Value) -> Result<Wanted, Vec<Misfit>> {
        let mut reader = Reader::default();
        let activity = activity_of(&mut reader, body);
        let user = reader.text(body, "", "user", 1..=USER_CHARS_MAX);
        let qty = match is_given(body, "lines") && !is_given(body, "qty") {
            true => of_lines(&mut reader, body, activity),
            false => reader.integer(body, "", "qty", 1..=LINES_MAX as i64 * QTY_MAX),
        };
        let wanted = activity.zip(user).zip(qty);
        reader.finish(wanted.map(|((activity, user), qty)| Wanted { activity, user, qty }))
    }
}

/// The quantities of the lines that name the activity.
fn of_lines(reader: &mut Reader, body: &Value, activity: Option<i64>) -> Option<i64> {
    let read = |reader: &mut Reader, line: &Value, at: &str| {
        let (_, qty) = reader.sku_and_qty(line, at, QTY_MAX)?;
        (line["activity"].as_i64() == activity).then_some(qty)
    };
    let qty: i64 = reader.each(body, "lines", 1..=LINES_MAX, read).into_iter().sum();
    if qty == 0 {
        reader.misfit("/lines", "must have a line that names the activity");
    }
    Some(qty)
}

/// Takes or returns as an action.
pub(super) async fn perform(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    way: Way,
    cause: &Arc<Cause>,
    now: i64,
) -> Result<Value, Stop> {
    let Wanted { activity, user, qty } = wanted;
    let found = table::find(connection, *activity).await?;
    let delta = match way {
        Way::Out => {
            let found = open_at(found, *activity, now, true)?;
            take(connection, wanted, found.per_user_limit.unwrap_or(LIMIT_MAX)).await?;
            *qty
        }
        Way::Back => {
            found.ok_or(Refusal::Unknown(*activity))?;
            give_back(connection, wanted).await?;
            -qty
        }
    };
    note(connection, (wanted, delta), false, cause, now).await?;
    answer(connection, *activity, user, *qty).await
}

/// Moves back what the same step moved; `way` is that of the operation that is called.
///
/// What is given back is taken back whatever the time and the limit are meanwhile, since the customer had it.
pub(super) async fn undo(
    connection: &mut SqliteConnection,
    way: Way,
    cause: &Arc<Cause>,
    now: i64,
) -> Result<Value, Stop> {
    let row = sqlx::query(
        "select activity_id, user_id, delta from inv_quota_move where saga = ?1 and step = ?2 and undo = 0",
    )
    .bind(cause.saga.to_string())
    .bind(cause.step.clone())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Err(Refusal::NotMine { step: cause.step.clone() }.into()) };
    let delta: i64 = row.try_get(2)?;
    let wanted = Wanted { activity: row.try_get(0)?, user: row.try_get(1)?, qty: delta.saturating_abs() };
    match way {
        Way::Out => take(connection, &wanted, LIMIT_MAX).await?,
        Way::Back => give_back(connection, &wanted).await?,
    }
    note(connection, (&wanted, -delta), true, cause, now).await?;
    answer(connection, wanted.activity, &wanted.user, wanted.qty).await
}

/// One statement decides: a row is written only where the sum stays within the limit.
async fn take(connection: &mut SqliteConnection, wanted: &Wanted, limit: i64) -> Result<(), Stop> {
    let Wanted { activity, user, qty } = wanted;
    let written = sqlx::query(
        "insert into inv_quota (activity_id, user_id, bought) select ?1, ?2, ?3 where ?3 <= ?4
         on conflict (activity_id, user_id) do update set bought = bought + excluded.bought
            where bought + excluded.bought <= ?4",
    )
    .bind(activity)
    .bind(user)
    .bind(qty)
    .bind(limit)
    .execute(&mut *connection)
    .await?;
    if written.rows_affected() == 1 {
        return Ok(());
    }
    let bought = bought(connection, *activity, user).await?;
    let (activity, user, wanted) = (*activity, user.clone(), *qty);
    Err(Refusal::Limit { activity, user, bought, limit, wanted }.into())
}

async fn give_back(connection: &mut SqliteConnection, wanted: &Wanted) -> Result<(), Stop> {
    let Wanted { activity, user, qty } = wanted;
    let written = sqlx::query(
        "update inv_quota set bought = bought - ?3 where activity_id = ?1 and user_id = ?2 and bought >= ?3",
    )
    .bind(activity)
    .bind(user)
    .bind(qty)
    .execute(&mut *connection)
    .await?;
    if written.rows_affected() == 1 {
        return Ok(());
    }
    let bought = bought(connection, *activity, user).await?;
    let (activity, user, wanted) = (*activity, user.clone(), *qty);
    Err(Refusal::Exceeds { activity, user, bought, wanted }.into())
}

async fn note(
    connection: &mut SqliteConnection,
    (wanted, delta): (&Wanted, i64),
    undo: bool,
    cause: &Arc<Cause>,
    now: i64,
) -> Result<(), Stop> {
    sqlx::query(
        "insert into inv_quota_move (saga, step, undo, activity_id, user_id, delta, created_at)
         values (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(cause.saga.to_string())
    .bind(cause.step.clone())
    .bind(i64::from(undo))
    .bind(wanted.activity)
    .bind(&wanted.user)
    .bind(delta)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

async fn answer(
    connection: &mut SqliteConnection,
    activity: i64,
    user: &str,
    qty: i64,
) -> Result<Value, Stop> {
    let bought = bought(connection, activity, user).await?;
    Ok(json!({ "activity": activity, "user": user, "qty": qty, "bought": bought }))
}

/// How many a customer has.
pub(super) async fn bought(
    connection: &mut SqliteConnection,
    activity: i64,
    user: &str,
) -> Result<i64, sqlx::Error> {
    let query = sqlx::query_scalar("select bought from inv_quota where activity_id = ?1 and user_id = ?2");
    let bought: Option<i64> = query.bind(activity).bind(user).fetch_optional(connection).await?;
    Ok(bought.unwrap_or(0))
}
