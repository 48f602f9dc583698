//! Who is a member, and who gets the sagas of those that are not.
//!
//! Leases go by the host's clock, so several processes on one file must be on one host. A lease that ends
//! too far ahead was written before the clock was set back and counts as over. The invariant it keeps: a
//! saga changes hands only together with its epoch, and whoever loses one can write no more.

use super::{
    append::integer,
    connect::failed,
    row::{self, STORED_COLUMNS, owner_number},
    writer::Writer,
};
use crate::{Error, JOIN_TTL_MS, Owner, Stored, WAKE_GRACE_MS, clock};
use amends_saga::SagaId;
use sqlx::{AssertSqlSafe, Row as _, sqlite::SqliteConnection};
use std::sync::LazyLock;

/// Whether the row `node` is of a member; takes the present twice.
pub(super) const ALIVE: &str =
    "node.replaced = 0 and node.lease_until > ? and node.lease_until <= ? + 2 * node.ttl_ms";

/// Rows of members long gone are kept so long, in milliseconds, that their processes are gone as well.
const NODE_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;

/// Makes the owner a member or prolongs its lease; see [`crate::Store::heartbeat`].
pub(super) async fn heartbeat(
    connection: &mut SqliteConnection,
    owner: &Owner,
    ttl_ms: u64,
) -> Result<(), Error> {
    let now = clock::now().0;
    let ttl = integer(ttl_ms).min(NODE_KEPT_MS);
    let done = sqlx::query(
        "insert into node (owner, incarnation, name, ttl_ms, lease_until, replaced)
         values (?, ?, ?, ?, ?, 0)
         on conflict (owner) do update set ttl_ms = excluded.ttl_ms, lease_until = excluded.lease_until
         where replaced = 0",
    )
    .bind(owner_number(owner))
    .bind(owner.incarnation.as_bytes().to_vec())
    .bind(owner.name.clone())
    .bind(ttl)
    .bind(now.saturating_add(ttl))
    .execute(connection)
    .await
    .map_err(failed)?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Ends the membership, and with it the ownership of every saga.
pub(super) async fn release(connection: &mut SqliteConnection, owner: &Owner) -> Result<(), Error> {
    sqlx::query("delete from node where owner = ? or lease_until < ?")
        .bind(owner_number(owner))
        .bind(clock::now().0 - NODE_KEPT_MS)
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed)
}

/// Makes the owner a member if it never was one.
///
/// # Errors
/// [`Error::LeaseLost`] when it was replaced.
pub(super) async fn join(connection: &mut SqliteConnection, owner: &Owner) -> Result<(), Error> {
    let found = sqlx::query("select replaced from node where owner = ?").bind(owner_number(owner));
    match found.fetch_optional(&mut *connection).await.map_err(failed)? {
        None => heartbeat(connection, owner, JOIN_TTL_MS).await,
        Some(row) => match row.try_get::<i64, _>(0).map_err(failed)? {
            0 => Ok(()),
            _ => Err(Error::LeaseLost),
        },
    }
}

/// The statuses of live sagas, those claimed first in front.
const CLAIM_ORDER: [&[i64]; 2] = [&[1, 2], &[0]];

/// Claims live sagas that nobody owns; see [`crate::Store::claim`].
pub(super) async fn claim(writer: &mut Writer, owner: &Owner, limit: usize) -> Result<Vec<Stored>, Error> {
    let connection = writer.begin().await?;
    let taken = claim_in(connection, owner, limit).await;
    confirm(writer, owner, taken).await
}

async fn claim_in(connection: &mut SqliteConnection, owner: &Owner, limit: usize) -> Result<Taken, Error> {
    join(connection, owner).await?;
    let free = free_owners(connection, owner).await?;
    let mut ids = Vec::new();
    for statuses in CLAIM_ORDER {
        let held: Vec<_> = free.iter().copied().filter(|(status, _)| statuses.contains(status)).collect();
        ids.extend(oldest(connection, &held, limit - ids.len()).await?);
        ids.extend(first_to_wake(connection, statuses, limit - ids.len()).await?);
    }
    take(connection, owner, &ids).await
}

/// Claims certain sagas; see [`crate::Store::reclaim`].
pub(super) async fn reclaim(
    writer: &mut Writer,
    owner: &Owner,
    ids: &[SagaId],
) -> Result<Vec<Stored>, Error> {
    let connection = writer.begin().await?;
    let taken = reclaim_in(connection, owner, ids).await;
    confirm(writer, owner, taken).await
}

async fn reclaim_in(
    connection: &mut SqliteConnection,
    owner: &Owner,
    ids: &[SagaId],
) -> Result<Taken, Error> {
    join(connection, owner).await?;
    let now = clock::now().0;
    let sql = format!(
        "select id from saga where id in (select unhex(value) from json_each(?)) and status < 3
         and (saga.owner = ? or not exists (select 1 from node where node.owner = saga.owner and {ALIVE}))
         order by id"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(row::ids_json(ids.iter().copied()))
        .bind(owner_number(owner))
        .bind(now)
        .bind(now)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let ids: Vec<SagaId> = rows.iter().map(|row| row::id(row, 0)).collect::<Result<_, _>>()?;
    take(connection, owner, &ids).await
}

/// Which owners of live sagas are gone, with the statuses of those sagas.
///
/// It hops from one owner to the next in the index, so it does not matter how many sagas they have.
async fn free_owners(connection: &mut SqliteConnection, owner: &Owner) -> Result<Vec<(i64, i64)>, Error> {
    let now = clock::now().0;
    let sql = format!(
        "with recursive held (status, owner) as (
           select column1, (select min(saga.owner) from saga where saga.status = column1)
           from (values (0), (1), (2))
           union all
           select held.status,
             (select min(saga.owner) from saga where saga.status = held.status and saga.owner > held.owner)
           from held where held.owner is not null)
         select status, owner from held
         where owner is not null and owner <> ?
           and not exists (select 1 from node where node.owner = held.owner and {ALIVE})"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(owner_number(owner)).bind(now).bind(now);
    let rows = rows.fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, _>>().map_err(failed)
}

/// The oldest sagas with one of these statuses and owners.
async fn oldest(
    connection: &mut SqliteConnection,
    held: &[(i64, i64)],
    limit: usize,
) -> Result<Vec<SagaId>, Error> {
    let mut ids: Vec<SagaId> = Vec::new();
    for (status, owner) in held {
        let rows = sqlx::query("select id from saga where status = ? and owner = ? order by id limit ?")
            .bind(status)
            .bind(owner)
            .bind(integer(limit as u64))
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
        for row in &rows {
            ids.push(row::id(row, 0)?);
        }
    }
    ids.sort_unstable();
    ids.truncate(limit);
    Ok(ids)
}

/// The sleeping sagas with one of these statuses that nobody wakes in time, the first to wake in front: those
/// whose last owner is gone when their time has come, the others when the grace has passed as well.
///
/// Like [`free_owners`] it hops from one last owner to the next.
async fn first_to_wake(
    connection: &mut SqliteConnection,
    statuses: &[i64],
    limit: usize,
) -> Result<Vec<SagaId>, Error> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        let alive = ALIVE.replace('?', "?2");
        format!(
            "with recursive held (status, sleeper) as (
               select s.value, (select min(x.sleeper) from saga x indexed by saga_asleep
                 where x.status = s.value and x.sleeper is not null)
               from json_each(?1) s
               union all
               select held.status, (select min(x.sleeper) from saga x indexed by saga_asleep
                 where x.status = held.status and x.sleeper > held.sleeper)
               from held where held.sleeper is not null),
             due (status, sleeper, at) as (
               select status, sleeper,
                 case when exists (select 1 from node where node.owner = sleeper and {alive}) then ?3 else ?2 end
               from held where sleeper is not null)
             select y.id from due cross join saga y on y.rowid in (
               select x.rowid from saga x indexed by saga_asleep
               where x.status = due.status and x.sleeper = due.sleeper and x.wake_at <= due.at
               order by x.wake_at, x.id limit ?4)
             order by y.wake_at, y.id limit ?4"
        )
    });
    let now = clock::now().0;
    let rows = sqlx::query(SQL.as_str())
        .bind(serde_json::to_string(statuses).map_err(|error| Error::Corrupt(error.to_string()))?)
        .bind(now)
        .bind(now.saturating_sub(integer(WAKE_GRACE_MS)))
        .bind(integer(limit as u64))
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| row::id(row, 0)).collect()
}

/// What a claim has taken: ids in order, and the sagas that could be read.
pub(super) struct Taken {
    first: Option<(SagaId, i64)>,
    pub(super) stored: Vec<Stored>,
}

/// Gives sagas to an owner and fences those that had them.
pub(super) async fn take(
    connection: &mut SqliteConnection,
    owner: &Owner,
    ids: &[SagaId],
) -> Result<Taken, Error> {
    let me = owner_number(owner);
    let ids = row::ids_json(ids.iter().copied());
    sqlx::query(
        "update node set replaced = 1 where owner <> ? and owner in (
           select saga.owner from saga where id in (select unhex(value) from json_each(?)))",
    )
    .bind(me)
    .bind(ids.clone())
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    sqlx::query(
        "update saga set owner = ?, sleeper = null, epoch = epoch + 1
         where id in (select unhex(value) from json_each(?))",
    )
    .bind(me)
    .bind(ids.clone())
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    let sql = format!(
        "select {STORED_COLUMNS} from json_each(?) wanted join saga s on s.id = unhex(wanted.value)
         join saga_definition d on d.n = s.definition order by wanted.key"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(ids).fetch_all(connection).await.map_err(failed)?;
    let first = rows.first().map(|row| Ok((row::id(row, 0)?, row.try_get(2).map_err(failed)?)));
    Ok(Taken { first: first.transpose()?, stored: row::readable(&rows) })
}

/// Ends the transaction of a claim. When its outcome is not known the database is asked, since sagas that
/// are taken and not driven would stand still.
pub(super) async fn confirm(
    writer: &mut Writer,
    owner: &Owner,
    taken: Result<Taken, Error>,
) -> Result<Vec<Stored>, Error> {
    let taken = match taken {
        Ok(taken) => taken,
        Err(error) => return writer.finish(Err(error)).await,
    };
    let Err(error) = writer.finish(Ok(())).await else { return Ok(taken.stored) };
    let Some((id, epoch)) = taken.first else { return Ok(Vec::new()) };
    let found = sqlx::query("select 1 from saga where id = ? and owner = ? and epoch = ?")
        .bind(id.as_bytes().to_vec())
        .bind(owner_number(owner))
        .bind(epoch)
        .fetch_optional(writer.ready().await?)
        .await
        .map_err(failed)?;
    found.map(|_| taken.stored).ok_or(error)
}
