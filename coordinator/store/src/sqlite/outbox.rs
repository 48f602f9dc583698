//! The outbox: events on their way to hooks. They are put in by triggers on the items, in the transaction of
//! the change they tell of.

use super::{append::integer, connect::failed, item};
use crate::{
    Error, clock,
    repairs::{Delivery, Told},
};
use amends_saga::Timestamp;
use sqlx::{
    Row as _,
    sqlite::{SqliteConnection, SqliteRow},
};

const TOLDS: [Told; 3] = [Told::Opened, Told::Escalated, Told::Settled];

fn bit(told: Told) -> i64 {
    match told {
        Told::Opened => 1,
        Told::Escalated => 2,
        Told::Settled => 4,
    }
}

/// Replaces the hooks, in the open transaction; see [`crate::repairs::Repairs::set_hooks`].
pub(super) async fn set_hooks(
    connection: &mut SqliteConnection,
    hooks: &[(String, Vec<Told>)],
) -> Result<(), Error> {
    sqlx::raw_sql("delete from hook").execute(&mut *connection).await.map_err(failed)?;
    for (name, told) in hooks {
        let wants = told.iter().fold(0, |wants, told| wants | bit(*told));
        sqlx::query(
            "insert into hook (name, wants) values (?, ?)
             on conflict (name) do update set wants = wants | excluded.wants",
        )
        .bind(name.clone())
        .bind(wants)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    let dropped = sqlx::raw_sql("delete from outbox where hook not in (select name from hook)");
    dropped.execute(connection).await.map(drop).map_err(failed)
}

/// Takes due events, in the open transaction; see [`crate::repairs::Repairs::take_deliveries`].
///
/// The hooks take turns, so that one with a long backlog does not keep the others waiting.
pub(super) async fn take(
    connection: &mut SqliteConnection,
    limit: usize,
    hold_ms: u64,
) -> Result<Vec<Delivery>, Error> {
    let now = clock::now().0;
    let rows = sqlx::query(
        "select o.n, o.event, o.hook, o.told, o.item, o.level, o.at, o.attempts
         from hook cross join outbox o on o.n in (
           select due.n from outbox due where due.hook = hook.name and due.due_at <= ?1
           order by due.due_at, due.n limit ?2)
         order by row_number() over (partition by o.hook order by o.due_at, o.n), o.n limit ?2",
    )
    .bind(now)
    .bind(integer(limit as u64))
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let taken: Vec<Delivery> = rows.iter().map(delivery).collect::<Result<_, _>>()?;
    let numbers: Vec<String> = taken.iter().map(|delivery| delivery.n.to_string()).collect();
    sqlx::query(
        "update outbox set due_at = ?, attempts = attempts + 1 where n in (select value from json_each(?))",
    )
    .bind(now.saturating_add(integer(hold_ms)))
    .bind(format!("[{}]", numbers.join(",")))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(taken)
}

fn delivery(row: &SqliteRow) -> Result<Delivery, Error> {
    let random: &[u8] = row.try_get(1).map_err(failed)?;
    let len = random.len();
    let random: [u8; 16] =
        random.try_into().map_err(|_| Error::Corrupt(format!("an event's id of {len} bytes, not 16")))?;
    Ok(Delivery {
        n: row.try_get(0).map_err(failed)?,
        event: uuid::Builder::from_random_bytes(random).into_uuid(),
        hook: row.try_get(2).map_err(failed)?,
        told: item::known(row, 3, &TOLDS, "event")?,
        item: item::uuid(row, 4)?,
        level: item::level(row, 5)?,
        at: Timestamp(row.try_get(6).map_err(failed)?),
        attempts: row.try_get(7).map_err(failed)?,
    })
}

/// Ends a delivery; see [`crate::repairs::Repairs::end_delivery`].
pub(super) async fn end(
    connection: &mut SqliteConnection,
    n: i64,
    retry_in_ms: Option<u64>,
) -> Result<(), Error> {
    let ended = match retry_in_ms {
        None => sqlx::query("delete from outbox where n = ?").bind(n),
        Some(wait) => sqlx::query("update outbox set due_at = ? where n = ?")
            .bind(clock::now().0.saturating_add(integer(wait)))
            .bind(n),
    };
    ended.execute(connection).await.map(drop).map_err(failed)
}

/// How many events wait.
pub(super) async fn pending(connection: &mut SqliteConnection) -> Result<u64, Error> {
    let row = sqlx::query("select count(*) from outbox").fetch_one(connection).await.map_err(failed)?;
    item::unsigned(&row, 0)
}
