//! Items one by one: reading one, anomalies, escalation. Those of stuck steps are written by the append that
//! opens or changes them.

use super::{
    append::integer,
    connect::failed,
    item::{self, ITEM_COLUMNS},
};
use crate::{Error, repairs::Item};
use amends_saga::Timestamp;
use sqlx::{AssertSqlSafe, Row as _, sqlite::SqliteConnection};
use uuid::Uuid;

/// Reads one item.
pub(super) async fn item(connection: &mut SqliteConnection, id: Uuid) -> Result<Option<Item>, Error> {
    let sql = format!("select {ITEM_COLUMNS} from repair r join pile p on p.n = r.pile where r.item = ?");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id.as_bytes().to_vec()).fetch_optional(connection);
    found.await.map_err(failed)?.map(|row| item::item(&row)).transpose()
}

/// Opens anomalies, in the open transaction; see [`crate::repairs::Repairs::open_anomalies`].
pub(super) async fn open_anomalies(
    connection: &mut SqliteConnection,
    items: &[Item],
) -> Result<usize, Error> {
    let mut opened = 0;
    for item in items {
        let pile = pile(connection, item).await?;
        let done = sqlx::query(
            "insert into repair (item, saga_id, pile, status, number, opened_at, first_opened_at, updated_at,
               assignee, settled_by, settled_how, seq, level, anomaly)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             on conflict (item) do nothing",
        )
        .bind(item.item.as_bytes().to_vec())
        .bind(item.saga.map(|saga| saga.as_bytes().to_vec()))
        .bind(pile)
        .bind(item::status_number(item.status))
        .bind(item.number)
        .bind(item.opened_at.0)
        .bind(item.first_opened_at.0)
        .bind(item.updated_at.0)
        .bind(item.assignee.clone())
        .bind(item.settled_by.clone())
        .bind(item.settled_how.map(item::how_number))
        .bind(integer(item.seq))
        .bind(item.level)
        .bind(item.anomaly.clone())
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
        opened += usize::from(done.rows_affected() == 1);
    }
    Ok(opened)
}

/// Changes an anomaly, in the open transaction; see [`crate::repairs::Repairs::change_anomaly`].
pub(super) async fn change_anomaly(
    connection: &mut SqliteConnection,
    item: &Item,
    was_updated_at: Timestamp,
) -> Result<bool, Error> {
    let pile = pile(connection, item).await?;
    let done = sqlx::query(
        "update repair set pile = ?, status = ?, opened_at = ?, first_opened_at = ?, updated_at = ?,
           assignee = ?, settled_by = ?, settled_how = ?, anomaly = ?
         where item = ? and updated_at = ? and anomaly is not null",
    )
    .bind(pile)
    .bind(item::status_number(item.status))
    .bind(item.opened_at.0)
    .bind(item.first_opened_at.0)
    .bind(item.updated_at.0)
    .bind(item.assignee.clone())
    .bind(item.settled_by.clone())
    .bind(item.settled_how.map(item::how_number))
    .bind(item.anomaly.clone())
    .bind(item.item.as_bytes().to_vec())
    .bind(was_updated_at.0)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

/// The number of what an item has in common with others.
async fn pile(connection: &mut SqliteConnection, item: &Item) -> Result<i64, Error> {
    let row = sqlx::query(
        "insert into pile (participant, definition, step, op, operation, reason, is_anomaly, finding)
         values (?, ?, ?, ?, ?, ?, ?, ?)
         on conflict (participant, definition, step, op, operation, reason, is_anomaly, finding)
         do update set finding = excluded.finding returning n",
    )
    .bind(item.participant.clone())
    .bind(item.definition.clone().unwrap_or_default())
    .bind(item.step.clone().unwrap_or_default())
    .bind(item::op_number(item.op))
    .bind(item.operation.clone().unwrap_or_default())
    .bind(item::reason_number(item.reason))
    .bind(i64::from(item.anomaly.is_some()))
    .bind(item.finding().unwrap_or_default())
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    row.try_get(0).map_err(failed)
}

/// Raises items to a level, in the open transaction; see [`crate::repairs::Repairs::escalate`].
///
/// Each lower level is a walk along the index of its own, so what is as loud already costs nothing.
pub(super) async fn escalate(
    connection: &mut SqliteConnection,
    level: u8,
    opened_before: Timestamp,
    limit: usize,
) -> Result<Vec<Item>, Error> {
    let mut found: Vec<(i64, Uuid)> = Vec::new();
    for lower in 0..level {
        let rows = sqlx::query(
            "select first_opened_at, item from repair
             where status < 3 and level = ? and first_opened_at <= ? order by first_opened_at, item limit ?",
        )
        .bind(lower)
        .bind(opened_before.0)
        .bind(integer(limit as u64))
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
        for row in &rows {
            found.push((row.try_get(0).map_err(failed)?, item::uuid(row, 1)?));
        }
    }
    found.sort_unstable();
    found.truncate(limit);
    raise(connection, level, &found).await
}

async fn raise(
    connection: &mut SqliteConnection,
    level: u8,
    found: &[(i64, Uuid)],
) -> Result<Vec<Item>, Error> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    // One after another, since the order in which one statement would tell of them is not known.
    for (_, item) in found {
        sqlx::query("update repair set level = ? where item = ?")
            .bind(level)
            .bind(item.as_bytes().to_vec())
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
    }
    let ids = super::row::ids_json(found.iter().map(|(_, item)| *item));
    let sql = format!(
        "select {ITEM_COLUMNS} from json_each(?) wanted join repair r on r.item = unhex(wanted.value)
         join pile p on p.n = r.pile order by wanted.key"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(ids).fetch_all(connection).await.map_err(failed)?;
    Ok(item::readable(&rows))
}
