//! The barrier's statements, each for many rows at once: a statement costs more than a row.

use super::{Kept, Row};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The numbers of rows a statement is prepared for; what is left over goes into smaller ones.
const SIZES: [usize; 8] = [128, 64, 32, 16, 8, 4, 2, 1];

/// A row to be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct New<'a> {
    pub(super) saga: Uuid,
    pub(super) step: &'a str,
    pub(super) op: i64,
    pub(super) hash: [u8; 16],
    pub(super) status: Option<i64>,
}

/// An answer to be kept.
#[derive(Debug, Clone)]
pub(super) struct Answer<'a> {
    pub(super) saga: Uuid,
    pub(super) step: &'a str,
    pub(super) op: i64,
    pub(super) status: i64,
    pub(super) response: String,
}

impl New<'_> {
    pub(super) fn key(&self) -> Row {
        (self.saga, self.step.to_owned(), self.op)
    }
}

/// Inserts the rows that are not there and says which those were.
pub(super) async fn insert(
    tx: &mut SqliteConnection,
    rows: &[New<'_>],
    now_ms: i64,
) -> Result<BTreeSet<Row>, sqlx::Error> {
    let mut inserted = BTreeSet::new();
    for chunk in chunks(rows) {
        let sql = format!(
            "insert into saga_barrier (saga_id, step, op, request_hash, status, created_at) values {} \
             on conflict do nothing returning saga_id, step, op",
            values("(?, ?, ?, ?, ?, ?)", chunk.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(true);
        for row in chunk {
            query = query
                .bind(row.saga.as_bytes().to_vec())
                .bind(row.step.to_owned())
                .bind(row.op)
                .bind(row.hash.to_vec())
                .bind(row.status)
                .bind(now_ms);
        }
        for row in query.fetch_all(&mut *tx).await? {
            inserted.insert(key(&row)?);
        }
    }
    Ok(inserted)
}

/// Reads the rows that are there.
pub(super) async fn select(
    tx: &mut SqliteConnection,
    rows: &[&New<'_>],
) -> Result<BTreeMap<Row, Kept>, sqlx::Error> {
    let mut found = BTreeMap::new();
    for chunk in chunks(rows) {
        let sql = format!(
            "select saga_id, step, op, request_hash, status, response from saga_barrier \
             where (saga_id, step, op) in (values {})",
            values("(?, ?, ?)", chunk.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(true);
        for row in chunk {
            query = query.bind(row.saga.as_bytes().to_vec()).bind(row.step.to_owned()).bind(row.op);
        }
        for row in query.fetch_all(&mut *tx).await? {
            let kept = Kept {
                request_hash: row.try_get("request_hash")?,
                status: row.try_get("status")?,
                response: row.try_get("response")?,
            };
            found.insert(key(&row)?, kept);
        }
    }
    Ok(found)
}

/// Keeps answers in rows that are there.
pub(super) async fn answer(tx: &mut SqliteConnection, rows: &[Answer<'_>]) -> Result<(), sqlx::Error> {
    for chunk in chunks(rows) {
        let sql = format!(
            "update saga_barrier set status = v.column4, response = v.column5 from (values {}) as v \
             where saga_barrier.saga_id = v.column1 and saga_barrier.step = v.column2 and saga_barrier.op = v.column3",
            values("(?, ?, ?, ?, ?)", chunk.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(true);
        for row in chunk {
            query = query
                .bind(row.saga.as_bytes().to_vec())
                .bind(row.step.to_owned())
                .bind(row.op)
                .bind(row.status)
                .bind(row.response.clone());
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

fn key(row: &sqlx::sqlite::SqliteRow) -> Result<Row, sqlx::Error> {
    let saga: Vec<u8> = row.try_get("saga_id")?;
    let saga = Uuid::from_slice(&saga).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok((saga, row.try_get("step")?, row.try_get("op")?))
}

fn values(row: &str, count: usize) -> String {
    vec![row; count].join(", ")
}

/// Cuts rows into pieces of the prepared sizes, largest first.
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rows.len())?;
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}
