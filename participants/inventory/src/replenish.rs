//! Goods come in: once under their number, by the same writer as everything else.

use amends_sdk::{Task, Tx, Writer};
use amends_wire::canonical::{self, hex};
use async_trait::async_trait;
use sqlx::SqliteConnection;
use tokio::sync::oneshot;

use crate::body::now_ms;
use crate::cart::Delivery;
use crate::sqlite::{self, Error, Scope};
use crate::version::Passed;

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replenished {
    /// The goods are in.
    New,
    /// They came in before, under the same number.
    Again,
    /// Other goods came in under this number.
    NumberTaken,
    /// Some records have changed since the version that was named; nothing came in.
    Passed(Vec<Passed>),
    /// A stock would exceed what it can hold; nothing came in.
    TooMuch,
}

/// Brings a delivery in through the writer; durable when it returns.
///
/// # Errors
/// The database's own, or a writer with too much waiting.
pub async fn replenish(writer: &Writer, delivery: Delivery) -> Result<Replenished, amends_sdk::Error> {
    let (answer, answered) = oneshot::channel();
    let task = Bring { delivery, answer };
    writer.run(Box::new(task)).await?;
    answered.await.map_err(|_| amends_sdk::Error::Stopping)
}

struct Bring {
    delivery: Delivery,
    answer: oneshot::Sender<Replenished>,
}

#[async_trait]
impl Task for Bring {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let Bring { delivery, answer } = *self;
        let replenished = perform(tx.sqlite(), &delivery, now_ms()).await.map_err(Error::into_database)?;
        // The writer commits after this; its own answer comes first, and this one is read only then.
        let _ = answer.send(replenished);
        Ok(())
    }
}

/// Brings a delivery in, within a transaction that somebody else commits.
///
/// A SKU that is not kept here yet gets its record.
///
/// # Errors
/// The database's own.
pub async fn perform(
    connection: &mut SqliteConnection,
    delivery: &Delivery,
    now: i64,
) -> Result<Replenished, Error> {
    let fingerprint = fingerprint(delivery);
    match sqlite::replenished(connection, delivery.biz_no()).await? {
        Some(same) if same == fingerprint => return Ok(Replenished::Again),
        Some(_) => return Ok(Replenished::NumberTaken),
        None => {}
    }
    let passed = delivery.versions().passed(connection).await?;
    if !passed.is_empty() {
        return Ok(Replenished::Passed(passed));
    }
    sqlite::make_records(connection, delivery.lines().iter().map(|line| &line.record), now).await?;
    let records = delivery.lines().iter().map(|line| line.record.clone()).collect();
    let mut ledger = sqlite::load(connection, &Scope { records, ..Scope::default() }, now, 0).await?;
    if !ledger.replenish(delivery) {
        // What is committed is at most the empty record of a SKU.
        return Ok(Replenished::TooMuch);
    }
    sqlite::write(connection, &ledger.into_changes(), now).await?;
    sqlite::note_replenished(connection, delivery, &fingerprint, now).await?;
    Ok(Replenished::New)
}

/// The same for the same goods, whatever order their lines were sent in.
fn fingerprint(delivery: &Delivery) -> String {
    hex(&canonical::fingerprint([delivery.canonical().as_bytes()]))
}
