//! The catalogue in SQLite: one statement reads the SKUs of any number of carts, a few write a thousand of them.

use std::collections::{BTreeSet, HashMap};

use amends_saga::Timestamp;
use amends_wire::api::Time;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, query};

use crate::load::{Availability, Item};
use crate::quote::{Sku, Status};

#[cfg(test)]
mod tests;

/// Why the catalogue could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("the product database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A row holds what no SKU can hold.
    #[error("sku {sku} has the status {status:?} in the database, which no sku can have")]
    Corrupt {
        /// Which SKU.
        sku: i64,
        /// What stands there.
        status: String,
    },
}

impl From<Error> for sqlx::Error {
    /// As the sdk's writer takes it: whatever it is, the transaction is rolled back.
    fn from(error: Error) -> sqlx::Error {
        match error {
            Error::Database(error) => error,
            Error::Corrupt { .. } => sqlx::Error::Protocol(error.to_string()),
        }
    }
}

/// A SKU with all that is known of it.
#[derive(Debug, Serialize)]
pub struct Product {
    /// The SKU.
    pub sku: i64,
    /// The product it belongs to.
    pub spu: i64,
    /// Its name.
    pub name: String,
    /// The price of one, in minor units.
    pub price_minor: i64,
    /// What the price is in.
    pub currency: String,
    /// Whether it can be bought.
    pub status: String,
    /// Whatever else describes it; nothing if nothing does.
    pub attrs: Option<Box<RawValue>>,
    /// The version of the last write that counted.
    pub version: i64,
    /// The version of the write that brought the price.
    pub price_version: i64,
    /// When the last write that counted was.
    pub updated_at: Time,
    /// What inventory last said there was, for showing only.
    pub availability: Option<Value>,
}

/// One page.
#[derive(Debug, Serialize)]
pub struct Page {
    /// The items, ascending by SKU.
    pub items: Vec<Product>,
    /// What to ask for next (`after`), or nothing when this was the last page.
    pub next: Option<String>,
}

/// Reads the given SKUs; those that are not in the catalogue are left out.
///
/// # Errors
/// The database's own, and [`Error::Corrupt`].
pub async fn skus(
    connection: &mut SqliteConnection,
    wanted: BTreeSet<i64>,
) -> Result<HashMap<i64, Sku>, Error> {
    const SQL: &str = "
        select sku_id, name, price_minor, currency, status, version, price_version
        from product_sku where sku_id in (select value from json_each(?1))";
    let rows = query(SQL).bind(json!(wanted).to_string()).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, sku(row)?))).collect()
}

fn sku(row: &SqliteRow) -> Result<Sku, Error> {
    let status: String = row.try_get(4)?;
    let Some(known) = Status::named(&status) else {
        return Err(Error::Corrupt { sku: row.try_get(0)?, status });
    };
    Ok(Sku {
        name: row.try_get(1)?,
        price_minor: row.try_get(2)?,
        currency: row.try_get(3)?,
        status: known,
        version: row.try_get(5)?,
        price_version: row.try_get(6)?,
    })
}

const PRODUCT: &str = "
    select s.sku_id, s.spu_id, s.name, s.price_minor, s.currency, s.status, s.attrs, s.version, s.updated_at,
           a.usable, a.state, a.seq, s.price_version
    from product_sku s left join sku_availability a on a.sku_id = s.sku_id";

/// Reads one SKU, or nothing.
///
/// # Errors
/// The database's own.
pub async fn product(connection: &mut SqliteConnection, sku: i64) -> Result<Option<Product>, Error> {
    let sql = sqlx::AssertSqlSafe(format!("{PRODUCT} where s.sku_id = ?1"));
    let row = query(sql).bind(sku).fetch_optional(connection).await?;
    Ok(row.as_ref().map(product_of).transpose()?)
}

/// Reads the SKUs above `after`, at most `limit` of them.
///
/// # Errors
/// The database's own.
pub async fn products_after(
    connection: &mut SqliteConnection,
    after: i64,
    limit: i64,
) -> Result<Page, Error> {
    let sql = sqlx::AssertSqlSafe(format!("{PRODUCT} where s.sku_id > ?1 order by s.sku_id limit ?2"));
    let rows = query(sql).bind(after).bind(limit).fetch_all(connection).await?;
    let items = rows.iter().map(product_of).collect::<Result<Vec<Product>, sqlx::Error>>()?;
    let next = items.last().filter(|_| items.len() as i64 == limit).map(|product| product.sku.to_string());
    Ok(Page { items, next })
}

fn product_of(row: &SqliteRow) -> Result<Product, sqlx::Error> {
    let attrs: Option<String> = row.try_get(6)?;
    let usable: Option<i64> = row.try_get(9)?;
    let availability = match usable {
        None => None,
        Some(usable) => {
            let (state, seq): (String, i64) = (row.try_get(10)?, row.try_get(11)?);
            Some(json!({ "usable": usable, "state": state, "seq": seq }))
        }
    };
    Ok(Product {
        sku: row.try_get(0)?,
        spu: row.try_get(1)?,
        name: row.try_get(2)?,
        price_minor: row.try_get(3)?,
        currency: row.try_get(4)?,
        status: row.try_get(5)?,
        attrs: attrs
            .map(RawValue::from_string)
            .transpose()
            .map_err(|error| sqlx::Error::Decode(error.into()))?,
        version: row.try_get(7)?,
        price_version: row.try_get(12)?,
        updated_at: Time(Timestamp(row.try_get(8)?)),
        availability,
    })
}

/// A price that a SKU has or had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Price {
    /// The version of the write that brought it.
    pub price_version: i64,
    /// The price of one, in minor units.
    pub price_minor: i64,
    /// What it is in.
    pub currency: String,
    /// From when on; until the next one.
    pub since: Time,
}

/// The last `limit` prices of a SKU, the newest first; none if there is no such SKU.
///
/// # Errors
/// The database's own.
pub async fn prices(
    connection: &mut SqliteConnection,
    sku: i64,
    limit: i64,
) -> Result<Vec<Price>, sqlx::Error> {
    const SQL: &str = "
        select version, price_minor, currency, since from product_price
        where sku_id = ?1 order by version desc limit ?2";
    let rows = query(SQL).bind(sku).bind(limit).fetch_all(connection).await?;
    let price = |row: &SqliteRow| {
        Ok(Price {
            price_version: row.try_get(0)?,
            price_minor: row.try_get(1)?,
            currency: row.try_get(2)?,
            since: Time(Timestamp(row.try_get(3)?)),
        })
    };
    rows.iter().map(price).collect()
}

/// Writes SKUs whose version is newer than what is stored, at `now` (unix milliseconds); answers how many that were.
///
/// Products that are not there yet are made, named after the first of their SKUs.
///
/// # Errors
/// The database's own; the transaction must be rolled back then.
pub async fn upsert(connection: &mut SqliteConnection, items: &[Item], now: i64) -> Result<u64, Error> {
    const PRODUCTS: &str = "
        insert into product_spu (spu_id, name, version, updated_at)
        select value ->> 'spu', value ->> 'name', 1, ?2 from json_each(?1) where true
        on conflict (spu_id) do nothing";
    const SKUS: &str = "
        insert into product_sku
            (sku_id, spu_id, name, price_minor, currency, status, attrs, version, updated_at, price_version)
        select value ->> 'sku', value ->> 'spu', value ->> 'name', value ->> 'price_minor', value ->> 'currency',
               value ->> 'status', value -> 'attrs', value ->> 'version', ?2, value ->> 'version'
        from json_each(?1) where true
        on conflict (sku_id) do update
        set spu_id = excluded.spu_id, name = excluded.name, price_minor = excluded.price_minor,
            currency = excluded.currency, status = excluded.status, attrs = excluded.attrs,
            version = excluded.version, updated_at = excluded.updated_at,
            price_version = case when excluded.price_minor = product_sku.price_minor
                and excluded.currency = product_sku.currency then product_sku.price_version else excluded.version end
        where excluded.version > product_sku.version";
    const PRICES: &str = "
        insert into product_price (sku_id, version, price_minor, currency, since)
        select sku_id, price_version, price_minor, currency, ?2 from product_sku
        where sku_id in (select value ->> 'sku' from json_each(?1))
        on conflict (sku_id, version) do nothing";
    let rows = text(items)?;
    query(PRODUCTS).bind(&rows).bind(now).execute(&mut *connection).await?;
    let written = query(SKUS).bind(&rows).bind(now).execute(&mut *connection).await?.rows_affected();
    query(PRICES).bind(&rows).bind(now).execute(connection).await?;
    Ok(written)
}

/// Writes what inventory says there is, where its `seq` is newer than what is stored; answers how many that were.
///
/// # Errors
/// The database's own; the transaction must be rolled back then.
pub async fn upsert_availability(
    connection: &mut SqliteConnection,
    items: &[Availability],
    now: i64,
) -> Result<u64, Error> {
    const SQL: &str = "
        insert into sku_availability (sku_id, usable, state, seq, updated_at)
        select value ->> 'sku', value ->> 'usable', value ->> 'state', value ->> 'seq', ?2 from json_each(?1) where true
        on conflict (sku_id) do update
        set usable = excluded.usable, state = excluded.state, seq = excluded.seq, updated_at = excluded.updated_at
        where excluded.seq > sku_availability.seq";
    Ok(query(SQL).bind(text(items)?).bind(now).execute(connection).await?.rows_affected())
}

fn text(rows: &[impl Serialize]) -> Result<String, sqlx::Error> {
    serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(error.into()))
}
