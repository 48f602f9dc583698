//! Checks the catalogue by its own laws, in SQL, on one snapshot.
//!
//! Every law is a query that finds the rows which break it, so an empty answer means the law is kept. The laws hold at
//! every commit, not only at rest.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use sqlx::{Row, SqliteConnection, query};

use crate::table::Error;

/// The most violations that are shown of one law.
pub const VIOLATIONS_MAX: i64 = 20;

/// What the audit found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    /// Whether every law is kept.
    pub kept: bool,
    /// Each law, in a fixed order.
    pub invariants: Vec<Invariant>,
    /// Sums over the catalogue.
    pub totals: Totals,
}

/// One law.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Invariant {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub law: &'static str,
    /// Whether it is kept.
    pub kept: bool,
    /// Rows that break it, at most [`VIOLATIONS_MAX`].
    pub violations: Vec<Value>,
}

/// Sums over the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// How many SKUs there are.
    pub skus: i64,
    /// How many have each status; those without a SKU are left out.
    pub by_status: BTreeMap<String, i64>,
    /// How many SKUs inventory said something about.
    pub availabilities: i64,
}

/// A law's name, what it says, and the query for what breaks it: one JSON object a row, `?1` rows at most.
struct Law {
    name: &'static str,
    law: &'static str,
    broken: &'static str,
}

const LAWS: [Law; 4] = [
    Law {
        name: "every_sku_has_a_price",
        law: "a price is from 0 to 2^53 - 1, in a currency of three upper-case letters",
        broken: "select json_object('sku', sku_id, 'price_minor', price_minor, 'currency', currency) from product_sku
            where price_minor not between 0 and 9007199254740991 or currency not glob '[A-Z][A-Z][A-Z]' limit ?1",
    },
    Law {
        name: "every_sku_has_a_status",
        law: "a status is on_sale, off_sale or discontinued",
        broken: "select json_object('sku', sku_id, 'status', status) from product_sku
            where status not in ('on_sale', 'off_sale', 'discontinued') limit ?1",
    },
    Law {
        name: "every_sku_belongs_to_a_product",
        law: "the product of a sku is in the catalogue",
        broken: "select json_object('sku', s.sku_id, 'spu', s.spu_id) from product_sku s
            left join product_spu p on p.spu_id = s.spu_id where p.spu_id is null limit ?1",
    },
    Law {
        name: "availability_never_negative",
        law: "what there is of a sku is not below zero",
        broken: "select json_object('sku', sku_id, 'usable', usable, 'state', state) from sku_availability
            where usable < 0 limit ?1",
    },
];

/// Checks every law.
///
/// `connection` should be in a read transaction, so that all laws look at one moment.
///
/// # Errors
/// The database's own.
pub async fn audit(connection: &mut SqliteConnection) -> Result<Audit, Error> {
    let mut invariants = Vec::with_capacity(LAWS.len());
    for law in &LAWS {
        let rows = query(law.broken).bind(VIOLATIONS_MAX).fetch_all(&mut *connection).await?;
        let parse = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
        let violations =
            rows.iter().map(|row| row.try_get(0).map(parse)).collect::<Result<Vec<Value>, sqlx::Error>>()?;
        invariants.push(Invariant { name: law.name, law: law.law, kept: violations.is_empty(), violations });
    }
    let kept = invariants.iter().all(|invariant| invariant.kept);
    Ok(Audit { kept, invariants, totals: totals(connection).await? })
}

async fn totals(connection: &mut SqliteConnection) -> Result<Totals, Error> {
    let mut totals = Totals::default();
    let groups = "select status, count(*) from product_sku group by status";
    for row in query(groups).fetch_all(&mut *connection).await? {
        let count: i64 = row.try_get(1)?;
        totals.skus += count;
        totals.by_status.insert(row.try_get(0)?, count);
    }
    let availabilities = query("select count(*) from sku_availability").fetch_one(connection).await?;
    totals.availabilities = availabilities.try_get(0)?;
    Ok(totals)
}
