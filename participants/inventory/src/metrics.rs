//! What the inventory tells of its stock in `GET /metrics`, below the figures of every participant.
//!
//! | name | kind | says |
//! |---|---|---|
//! | `amends_inventory_alerts_open` | gauge | alerts of low stock that are open |
//! | `amends_inventory_holds_overdue` | gauge | holds whose time is up and that nobody has given back |
//! | `amends_inventory_holds_overdue_seconds` | gauge | how long the longest of them has been; 0 without any |
//! | `amends_inventory_feed_head` | gauge | the last flow: what somebody who follows the feed does not know is this less the flow known there |
//! | `amends_inventory_feed_age_seconds` | gauge | how old that flow is |
//! | `amends_inventory_activity_leftovers` | gauge | pieces that lie in activities that are over, for nobody to buy |
//! | `amends_inventory_records_not_merged` | gauge | records that are not taken by the merged route |
//!
//! Each is the answer of an index, whatever the size of the stock.

use std::sync::Mutex;
use std::sync::PoisonError;

use amends_sdk::metrics::{Figures, Text};
use async_trait::async_trait;
use sqlx::{Row, SqlitePool};

use crate::body::now_ms;

#[cfg(test)]
mod tests;

/// The figures, as they were read last.
#[derive(Debug)]
pub(crate) struct StockFigures {
    readers: SqlitePool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    alerts: i64,
    overdue: i64,
    /// When the time of the longest was up, in unix milliseconds.
    overdue_since: Option<i64>,
    head: i64,
    /// When the last flow was written.
    head_at: Option<i64>,
    not_merged: i64,
    leftovers: i64,
}

impl StockFigures {
    pub(crate) fn new(readers: &SqlitePool) -> StockFigures {
        StockFigures { readers: readers.clone(), seen: Mutex::default() }
    }
}

#[async_trait]
impl Figures for StockFigures {
    async fn look(&self) -> Result<(), sqlx::Error> {
        const SQL: &str = "
            select (select count(*) from inv_alert where open_stock_id is not null) as alerts,
                (select count(*) from inv_hold where expires_at is not null and expires_at < ?1) as overdue,
                (select min(expires_at) from inv_hold where expires_at is not null and expires_at < ?1) as overdue_since,
                (select max(flow_id) from inv_flow) as head,
                (select created_at from inv_flow order by flow_id desc limit 1) as head_at,
                (select count(*) from inv_stock where mode <> 1) as not_merged,
                (select coalesce(sum(b.usable), 0) from inv_activity a
                    cross join inv_stock s on s.activity_id = a.activity_id and s.activity_id <> 0
                    cross join inv_bucket b on b.stock_id = s.stock_id
                    where a.state = 2 or a.ends_at <= ?1) as leftovers";
        let row = sqlx::query(SQL).bind(now_ms()).fetch_one(&self.readers).await?;
        let seen = Seen {
            alerts: row.try_get("alerts")?,
            overdue: row.try_get("overdue")?,
            overdue_since: row.try_get("overdue_since")?,
            head: row.try_get::<Option<i64>, _>("head")?.unwrap_or(0),
            head_at: row.try_get("head_at")?,
            not_merged: row.try_get("not_merged")?,
            leftovers: row.try_get("leftovers")?,
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(())
    }

    fn write(&self, text: &mut Text) {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |at: Option<i64>| at.map_or(0.0, |at| (now_ms() - at).max(0) as f64 / 1000.0);
        let mut gauge = |name, says, value: &dyn std::fmt::Display| text.one(name, "gauge", says, value);
        gauge("amends_inventory_alerts_open", "alerts of low stock that are open", &seen.alerts);
        let says = "holds whose time is up and that nobody has given back";
        gauge("amends_inventory_holds_overdue", says, &seen.overdue);
        let says = "how long the longest of them has been";
        gauge("amends_inventory_holds_overdue_seconds", says, &since(seen.overdue_since));
        gauge("amends_inventory_feed_head", "the last flow", &seen.head);
        gauge("amends_inventory_feed_age_seconds", "how old the last flow is", &since(seen.head_at));
        let says = "pieces that lie in activities that are over, for nobody to buy";
        gauge("amends_inventory_activity_leftovers", says, &seen.leftovers);
        let says = "records that are not taken by the merged route";
        gauge("amends_inventory_records_not_merged", says, &seen.not_merged);
    }
}
