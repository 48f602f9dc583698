//! Checks the books by their own laws, in SQL, on one snapshot.
//!
//! Every law is a query that finds the rows which break it, so an empty answer means the law is kept. The laws hold
//! at every commit, not only at rest.

use amends_sdk::audit::{Law, check};
use serde::Serialize;
use sqlx::{Row, SqliteConnection};

/// What the audit found.
pub type Audit = amends_sdk::audit::Audit<Totals>;

/// Sums over all stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Everything that ever came in.
    pub inbound: i64,
    /// Free to be set aside.
    pub usable: i64,
    /// Set aside.
    pub held: i64,
    /// Left the house.
    pub shipped: i64,
    /// Set aside once and given back since.
    pub released: i64,
}

const LAWS: [Law; 7] = [
    Law {
        name: "stock_never_negative",
        law: "usable, held and shipped are never below zero",
        broken: "select s.sku_id as sku, b.bucket_no as bucket, b.usable, b.held, b.shipped
            from inv_bucket b left join inv_stock s on s.stock_id = b.stock_id
            where b.usable < 0 or b.held < 0 or b.shipped < 0 order by b.stock_id, b.bucket_no limit ?1",
    },
    Law {
        name: "stock_is_balanced",
        law: "usable + held + shipped = inbound",
        broken: "select s.sku_id as sku, b.bucket_no as bucket, b.usable, b.held, b.shipped, b.inbound
            from inv_bucket b left join inv_stock s on s.stock_id = b.stock_id
            where b.usable + b.held + b.shipped <> b.inbound order by b.stock_id, b.bucket_no limit ?1",
    },
    Law {
        name: "flows_add_up",
        law: "the flows of a bucket add up to its counters",
        broken: "select s.sku_id as sku, b.bucket_no as bucket, b.usable, b.held, b.shipped,
                coalesce(f.usable, 0) as flow_usable, coalesce(f.held, 0) as flow_held, coalesce(f.shipped, 0) as flow_shipped
            from inv_bucket b left join inv_stock s on s.stock_id = b.stock_id
            left join (select stock_id, bucket_no, sum(d_usable) as usable, sum(d_held) as held, sum(d_shipped) as shipped
                from inv_flow group by stock_id, bucket_no) f on f.stock_id = b.stock_id and f.bucket_no = b.bucket_no
            where b.usable <> coalesce(f.usable, 0) or b.held <> coalesce(f.held, 0) or b.shipped <> coalesce(f.shipped, 0)
            order by b.stock_id, b.bucket_no limit ?1",
    },
    Law {
        name: "held_is_what_holds_have_open",
        law: "held = sum of qty - released - shipped over the bucket's holds",
        broken: "select s.sku_id as sku, b.bucket_no as bucket, b.held, coalesce(h.open, 0) as open
            from inv_bucket b left join inv_stock s on s.stock_id = b.stock_id
            left join (select stock_id, bucket_no, sum(qty - released - shipped) as open
                from inv_hold group by stock_id, bucket_no) h on h.stock_id = b.stock_id and h.bucket_no = b.bucket_no
            where b.held <> coalesce(h.open, 0) order by b.stock_id, b.bucket_no limit ?1",
    },
    Law {
        name: "no_more_comes_back_than_was_taken",
        law: "released + shipped <= qty, and neither is below zero",
        broken: "select hold_id as hold, order_no as 'order', qty, released, shipped from inv_hold
            where released + shipped > qty or released < 0 or shipped < 0 or qty <= 0 order by hold_id limit ?1",
    },
    Law {
        name: "holds_match_their_flows",
        law: "what a hold took and gave back is what its flows say",
        broken: "select h.hold_id as hold, h.order_no as 'order', h.qty, h.released, h.shipped,
                coalesce(f.taken, 0) as flow_taken, coalesce(f.returned, 0) as flow_returned, coalesce(f.sent, 0) as flow_sent
            from inv_hold h
            left join (select hold_id, sum(case when op in (2, 3) then qty else 0 end) as taken,
                    sum(case when op in (5, 6, 9) then qty else 0 end) as returned,
                    sum(case when op = 8 then qty else 0 end) as sent
                from inv_flow where hold_id is not null group by hold_id) f on f.hold_id = h.hold_id
            where h.qty <> coalesce(f.taken, 0) or h.released <> coalesce(f.returned, 0)
                or h.shipped <> coalesce(f.sent, 0) order by h.hold_id limit ?1",
    },
    Law {
        name: "states_match_what_is_open",
        law: "closed exactly when nothing is open; only a held one expires; a confirmed one names who confirmed it",
        broken: "select hold_id as hold, order_no as 'order', qty, released, shipped, state, expires_at, confirmed_saga
            from inv_hold where (state = 3) <> (released + shipped = qty) or (state = 1) <> (expires_at is not null)
                or (state = 2 and confirmed_saga is null) or state not in (1, 2, 3) order by hold_id limit ?1",
    },
];

/// Checks every law.
///
/// `connection` should be in a read transaction, so that all laws look at one moment.
///
/// # Errors
/// The database's own.
pub async fn audit(connection: &mut SqliteConnection) -> Result<Audit, sqlx::Error> {
    let invariants = check(connection, &LAWS, "").await?;
    Ok(Audit::new(invariants, totals(connection).await?))
}

async fn totals(connection: &mut SqliteConnection) -> Result<Totals, sqlx::Error> {
    let row = sqlx::query(
        "select coalesce(sum(inbound), 0) as inbound, coalesce(sum(usable), 0) as usable, coalesce(sum(held), 0) as held,
            coalesce(sum(shipped), 0) as shipped, (select coalesce(sum(released), 0) from inv_hold) as released
         from inv_bucket",
    )
    .fetch_one(&mut *connection)
    .await?;
    Ok(Totals {
        inbound: row.try_get("inbound")?,
        usable: row.try_get("usable")?,
        held: row.try_get("held")?,
        shipped: row.try_get("shipped")?,
        released: row.try_get("released")?,
    })
}
