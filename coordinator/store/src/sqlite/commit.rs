//! The commit of a batch: all at once when every append hits, which is nearly always, and else by asking
//! first which ones do.
//!
//! The invariant it keeps: of an append that does not hit its row, nothing is written; and what is
//! reported done has been seen durable, although a write may have to be made twice to know.

use super::{
    append::{self, ROWS_MAX, integer},
    connect::{failed, is_constraint},
    member, number,
    row::{self, owner_number},
    writer::Writer,
};
use crate::{Error, Owner};
use amends_saga::{
    SagaId,
    coordinator::{Append, Fingerprint, Written},
};
use sqlx::{Row as _, sqlite::SqliteConnection};
use std::collections::HashMap;

/// Writes a batch; see [`crate::Store::commit`].
pub(super) async fn commit(
    writer: &mut Writer,
    owner: &Owner,
    batch: &[Append],
) -> Result<Vec<Written>, Error> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    number::number(writer, batch).await?;
    let first = match batch.len() <= ROWS_MAX {
        true => at_once(writer, owner, batch).await,
        false => Attempt::Missed,
    };
    let error = match first {
        Attempt::Done => return Ok(vec![Written::Done; batch.len()]),
        Attempt::Missed => match one_by_one(writer, owner, batch, false).await {
            Err(error @ Error::Unavailable(_)) => error,
            outcome => return outcome,
        },
        Attempt::Unknown(error) => error,
    };
    tracing::warn!(%error, appends = batch.len(), "a commit's outcome is unknown; it is made again");
    writer.discard();
    one_by_one(writer, owner, batch, true).await
}

/// Writes a batch that may have been written before, as after an unknown outcome.
#[cfg(test)]
pub(super) async fn again(
    writer: &mut Writer,
    owner: &Owner,
    batch: &[Append],
) -> Result<Vec<Written>, Error> {
    number::number(writer, batch).await?;
    one_by_one(writer, owner, batch, true).await
}

/// How writing everything at once ended.
enum Attempt {
    Done,
    /// Some append does not hit; nothing is written.
    Missed,
    Unknown(Error),
}

async fn at_once(writer: &mut Writer, owner: &Owner, batch: &[Append]) -> Attempt {
    let encoded = append::encode(owner_number(owner), &writer.numbers, batch.iter());
    let (connection, arguments) = match (writer.ready().await, encoded) {
        (Ok(connection), Ok(arguments)) => (connection, arguments),
        (Err(error), _) | (_, Err(error)) => return Attempt::Unknown(error),
    };
    match append::write(connection, arguments).await {
        Ok(()) => Attempt::Done,
        Err(error) if is_constraint(&error) => Attempt::Missed,
        Err(error) => Attempt::Unknown(failed(error)),
    }
}

/// Asks which appends hit and writes those, in one transaction. With `again` the same batch may have been
/// written before; what is there already is done.
async fn one_by_one(
    writer: &mut Writer,
    owner: &Owner,
    batch: &[Append],
    again: bool,
) -> Result<Vec<Written>, Error> {
    writer.begin().await?;
    let outcome = write_hits(writer, owner, batch, again).await;
    match writer.finish(outcome).await {
        Err(Error::LeaseLost) => Ok(vec![Written::Fenced; batch.len()]),
        outcome => outcome,
    }
}

async fn write_hits(
    writer: &mut Writer,
    owner: &Owner,
    batch: &[Append],
    again: bool,
) -> Result<Vec<Written>, Error> {
    let (connection, numbers) = writer.open();
    member::join(connection, owner).await?;
    let mut known = Known::read(connection, owner, batch).await?;
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut hits = Vec::with_capacity(batch.len());
    for append in batch {
        if again && known.is_written(connection, append).await? {
            outcomes.push(Written::Done);
            continue;
        }
        let outcome = known.judge(append);
        if outcome == Written::Done {
            hits.push(append);
        }
        outcomes.push(outcome);
    }
    for rows in hits.chunks(ROWS_MAX) {
        let arguments = append::encode(owner_number(owner), numbers, rows.iter().copied())?;
        append::write(connection, arguments).await.map_err(failed)?;
    }
    Ok(outcomes)
}

/// What the database has of the sagas and keys of a batch.
struct Known {
    owner: i64,
    sagas: HashMap<SagaId, State>,
    keys: HashMap<String, (SagaId, Fingerprint)>,
}

struct State {
    epoch: i64,
    seq: i64,
    /// `None` when the saga waits for an operator only, or sleeps, or has ended and was not revived.
    owner: Option<i64>,
    live: bool,
}

impl Known {
    async fn read(
        connection: &mut SqliteConnection,
        owner: &Owner,
        batch: &[Append],
    ) -> Result<Known, Error> {
        let mut known = Known { owner: owner_number(owner), sagas: HashMap::new(), keys: HashMap::new() };
        let ids = row::ids_json(batch.iter().map(|append| append.id));
        let rows = sqlx::query(
            "select id, epoch, seq, owner, status < 3 from saga where id in (select unhex(value) from json_each(?))",
        );
        for found in rows.bind(ids).fetch_all(&mut *connection).await.map_err(failed)? {
            let state = State {
                epoch: found.try_get(1).map_err(failed)?,
                seq: found.try_get(2).map_err(failed)?,
                owner: found.try_get(3).map_err(failed)?,
                live: found.try_get::<i64, _>(4).map_err(failed)? == 1,
            };
            known.sagas.insert(row::id(&found, 0)?, state);
        }
        let keys: Vec<&str> = batch.iter().filter_map(|append| append.head.key.as_deref()).collect();
        let keys = serde_json::to_string(&keys).map_err(|error| Error::Corrupt(error.to_string()))?;
        let rows = sqlx::query(
            "select key, id, fingerprint from saga where key in (select value from json_each(?))",
        );
        for found in rows.bind(keys).fetch_all(&mut *connection).await.map_err(failed)? {
            let taken = (row::id(&found, 1)?, row::fingerprint(&found, 2)?);
            known.keys.insert(found.try_get(0).map_err(failed)?, taken);
        }
        Ok(known)
    }

    /// Says how an append ends, and takes note of it for those that follow in the batch.
    fn judge(&mut self, append: &Append) -> Written {
        let state = self.sagas.get(&append.id);
        if append.after_seq > 0 {
            let hit = state.is_some_and(|state| {
                state.epoch == integer(append.epoch)
                    && state.seq == integer(append.after_seq)
                    && state.owner.map_or(state.live, |owner| owner == self.owner)
            });
            return if hit { Written::Done } else { Written::Fenced };
        }
        if state.is_some() {
            return Written::Fenced;
        }
        let Some(key) = &append.head.key else { return Written::Done };
        if let Some((by, fingerprint)) = self.keys.get(key) {
            return Written::KeyTaken { by: *by, fingerprint: *fingerprint };
        }
        self.keys.insert(key.clone(), (append.id, append.head.fingerprint));
        Written::Done
    }

    /// Whether the very same append is durable already and nothing has followed it.
    async fn is_written(&self, connection: &mut SqliteConnection, append: &Append) -> Result<bool, Error> {
        let seq = integer(append.after_seq + append.records.len() as u64);
        let epoch = if append.after_seq == 0 { 1 } else { integer(append.epoch) };
        let fits = self.sagas.get(&append.id).is_some_and(|state| {
            state.seq == seq && state.epoch == epoch && state.owner.is_none_or(|owner| owner == self.owner)
        });
        if !fits {
            return Ok(false);
        }
        let found = sqlx::query("select events from journal where saga_id = ? and seq_first = ?")
            .bind(append.id.as_bytes().to_vec())
            .bind(integer(append.after_seq + 1))
            .fetch_optional(connection)
            .await
            .map_err(failed)?;
        let events: Option<String> = found.map(|row| row.try_get(0)).transpose().map_err(failed)?;
        let same =
            serde_json::to_string(&append.records).map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(events == Some(same))
    }
}
