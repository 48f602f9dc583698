//! The small numbers that stand for a definition in the rows of its sagas.

use super::{connect::failed, writer::Writer};
use crate::Error;
use amends_saga::coordinator::{Append, Head};
use sqlx::{Row as _, sqlite::SqliteConnection};
use std::collections::HashMap;

/// The numbers known so far, by hash. A number never changes, so what is here stays true.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    by_hash: HashMap<String, Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    name: String,
    version: u32,
    number: i64,
}

/// As many definitions are remembered; then it is begun afresh.
const NUMBERS_MAX: usize = 10_000;

impl Numbers {
    /// The number of a head's definition.
    pub(super) fn get(&self, head: &Head) -> Option<i64> {
        let known = self.by_hash.get(&head.hash)?;
        known.iter().find(|k| k.version == head.version && k.name == head.definition).map(|k| k.number)
    }

    fn put(&mut self, head: &Head, number: i64) {
        if self.get(head).is_some() {
            return;
        }
        if self.by_hash.len() >= NUMBERS_MAX {
            self.by_hash.clear();
        }
        let known = Known { name: head.definition.clone(), version: head.version, number };
        self.by_hash.entry(head.hash.clone()).or_default().push(known);
    }
}

/// Makes sure that the definition of every new saga of the batch has a number.
pub(super) async fn number(writer: &mut Writer, batch: &[Append]) -> Result<(), Error> {
    let unknown = |append: &&Append| append.after_seq == 0 && writer.numbers.get(&append.head).is_none();
    let missing: Vec<&Head> = batch.iter().filter(unknown).map(|append| &append.head).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let connection = writer.begin().await?;
    let given = give(connection, &missing).await;
    let given = writer.finish(given).await?;
    for (head, number) in missing.iter().zip(given) {
        writer.numbers.put(head, number);
    }
    Ok(())
}

async fn give(connection: &mut SqliteConnection, heads: &[&Head]) -> Result<Vec<i64>, Error> {
    let mut numbers = Vec::with_capacity(heads.len());
    for head in heads {
        let row = sqlx::query(
            "insert into saga_definition (name, version, hash) values (?, ?, ?)
             on conflict (name, version, hash) do update set hash = excluded.hash returning n",
        )
        .bind(head.definition.clone())
        .bind(head.version)
        .bind(head.hash.clone())
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
        numbers.push(row.try_get(0).map_err(failed)?);
    }
    Ok(numbers)
}
