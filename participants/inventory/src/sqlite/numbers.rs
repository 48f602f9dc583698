//! Business numbers that took effect.

use std::collections::BTreeSet;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::Error;
use crate::cart::OrderNo;
use crate::ledger::{Ledger, Noted, Paper};

const LOAD: &str = "
    select n.kind, n.biz_no, n.order_no, n.fingerprint, n.answer
    from json_each(?1) wanted
    cross join inv_number n on n.kind = wanted.value ->> 0 and n.biz_no = wanted.value ->> 1";

/// Loads those of the wanted numbers that took effect.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    wanted: &BTreeSet<(Paper, OrderNo)>,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    for noted in read(connection, wanted).await? {
        ledger.load_number(noted);
    }
    Ok(())
}

/// What took effect under the wanted numbers.
///
/// # Errors
/// The database's own.
pub(crate) async fn read(
    connection: &mut SqliteConnection,
    wanted: &BTreeSet<(Paper, OrderNo)>,
) -> Result<Vec<Noted>, Error> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let list = super::list(wanted.iter().map(|(paper, number)| (*paper as i64, number)));
    let rows = sqlx::query(LOAD).bind(list).fetch_all(&mut *connection).await?;
    let noted = |row: &sqlx::sqlite::SqliteRow| {
        let paper = match row.try_get::<i64, _>("kind")? {
            1 => Paper::Refund,
            2 => Paper::Shipment,
            _ => Paper::Adjustment,
        };
        Ok(Noted {
            paper,
            number: OrderNo::stored(row.try_get("biz_no")?),
            order: row.try_get::<&str, _>("order_no")?.into(),
            fingerprint: row.try_get("fingerprint")?,
            answer: row.try_get::<&str, _>("answer")?.into(),
        })
    };
    rows.iter().map(noted).collect()
}

/// Notes what took effect for the first time.
///
/// # Errors
/// The database's own, above all when a number is taken.
pub(crate) async fn write(
    connection: &mut SqliteConnection,
    numbers: &[Noted],
    now: i64,
) -> Result<(), Error> {
    for noted in numbers {
        sqlx::query(
            "insert into inv_number (kind, biz_no, order_no, fingerprint, answer, created_at) values (?, ?, ?, ?, ?, ?)",
        )
        .bind(noted.paper as i64)
        .bind(noted.number.shared())
        .bind(noted.order.clone())
        .bind(noted.fingerprint.as_str())
        .bind(noted.answer.clone())
        .bind(now)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
