//! Checks the catalogue by its own laws, in SQL, on one snapshot.
//!
//! Every law is a query that finds the rows which break it, so an empty answer means the law is kept. The laws hold at
//! every commit, not only at rest.

use std::collections::BTreeMap;

use amends_sdk::audit::{Invariant, Law, Laws, check};
use async_trait::async_trait;
use serde::Serialize;
use sqlx::{Row, SqliteConnection, SqlitePool, query};

use crate::table::Error;

/// What the audit found.
pub type Audit = amends_sdk::audit::Audit<Totals>;

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

const LAWS: [Law; 5] = [
    Law {
        name: "every_sku_has_a_price",
        law: "a price is from 0 to 2^53 - 1, in a currency of three upper-case letters",
        broken: "select sku_id as sku, price_minor, currency from product_sku
            where price_minor not between 0 and 9007199254740991 or currency not glob '[A-Z][A-Z][A-Z]' limit ?1",
    },
    Law {
        name: "every_sku_has_a_status",
        law: "a status is on_sale, off_sale or discontinued",
        broken: "select sku_id as sku, status from product_sku
            where status not in ('on_sale', 'off_sale', 'discontinued') limit ?1",
    },
    Law {
        name: "every_sku_belongs_to_a_product",
        law: "the product of a sku is in the catalogue",
        broken: "select s.sku_id as sku, s.spu_id as spu from product_sku s
            left join product_spu p on p.spu_id = s.spu_id where p.spu_id is null limit ?1",
    },
    Law {
        name: "every_price_is_kept",
        law: "the price of a sku is the one that is kept under its price version, and no kept price is newer",
        broken: "select s.sku_id as sku, s.price_version, s.price_minor, p.price_minor as kept_minor
            from product_sku s left join product_price p on p.sku_id = s.sku_id and p.version = s.price_version
            where p.version is null or p.price_minor <> s.price_minor or p.currency <> s.currency
               or exists (select 1 from product_price n where n.sku_id = s.sku_id and n.version > s.price_version)
            limit ?1",
    },
    Law {
        name: "availability_never_negative",
        law: "what there is of a sku is not below zero",
        broken: "select sku_id as sku, usable, state from sku_availability
            where usable < 0 limit ?1",
    },
];

/// The laws, for the catalogue to check by itself now and then.
#[derive(Debug)]
pub(crate) struct CatalogueLaws(pub(crate) SqlitePool);

#[async_trait]
impl Laws for CatalogueLaws {
    async fn check(&self) -> Result<Vec<Invariant>, sqlx::Error> {
        check(&mut *self.0.acquire().await?, &LAWS, "").await
    }
}

/// Checks every law.
///
/// `connection` should be in a read transaction, so that all laws look at one moment.
///
/// # Errors
/// The database's own.
pub async fn audit(connection: &mut SqliteConnection) -> Result<Audit, Error> {
    let invariants = check(connection, &LAWS, "").await?;
    Ok(Audit::new(invariants, totals(connection).await?).keeping("catalogue"))
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
