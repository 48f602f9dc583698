//! Bringing a completed saga back: its row gets an owner again, and nothing else changes until that writes.

use super::{
    connect::failed,
    member::{self, ALIVE, Taken},
    read,
    row::owner_number,
    writer::Writer,
};
use crate::{Error, Owner, Revived, clock};
use amends_saga::{SagaId, Status};
use sqlx::{AssertSqlSafe, sqlite::SqliteConnection};

/// Claims a completed saga; see [`crate::Store::revive`].
pub(super) async fn revive(writer: &mut Writer, owner: &Owner, id: SagaId) -> Result<Revived, Error> {
    let connection = writer.begin().await?;
    let taken = match revive_in(connection, owner, id).await {
        Ok(Ok(taken)) => taken,
        Ok(Err(refused)) => return writer.finish(Ok(refused)).await,
        Err(error) => return writer.finish(Err(error)).await,
    };
    let mut stored = member::confirm(writer, owner, Ok(taken)).await?;
    let stored = stored.pop().ok_or_else(|| Error::Corrupt(format!("saga {id} was there just now")))?;
    Ok(Revived::Taken(Box::new(stored)))
}

/// Takes the saga, or says why it is not to be had.
async fn revive_in(
    connection: &mut SqliteConnection,
    owner: &Owner,
    id: SagaId,
) -> Result<Result<Taken, Revived>, Error> {
    member::join(connection, owner).await?;
    // Read first: what cannot be read is not taken.
    let Some(stored) = read::load(connection, id).await? else { return Ok(Err(Revived::Unknown)) };
    if stored.head.status != Status::Completed {
        return Ok(Err(Revived::NotCompleted(stored.head.status)));
    }
    if is_held(connection, owner, id).await? {
        return Ok(Err(Revived::Held));
    }
    member::take(connection, owner, &[id]).await.map(Ok)
}

/// Whether a saga belongs to another owner that is a member.
async fn is_held(connection: &mut SqliteConnection, owner: &Owner, id: SagaId) -> Result<bool, Error> {
    let now = clock::now().0;
    let sql = format!(
        "select 1 from saga where id = ? and owner <> ?
         and exists (select 1 from node where node.owner = saga.owner and {ALIVE})"
    );
    let held = sqlx::query(AssertSqlSafe(sql))
        .bind(id.as_bytes().to_vec())
        .bind(owner_number(owner))
        .bind(now)
        .bind(now);
    held.fetch_optional(connection).await.map(|row| row.is_some()).map_err(failed)
}
