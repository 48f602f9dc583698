//! Checks the books by their own laws, in SQL, on one snapshot.
//!
//! Every law is a query that finds the rows which break it, so an empty answer means the law is kept. The laws hold
//! at every commit, not only at rest. The two that compare with what another service says are about what is at rest:
//! whoever audits brings orders of which nothing is under way, and availabilities with the flow up to which they count.
//!
//! | | law | says |
//! |---|---|---|
//! | I1 | `stock_never_negative` | usable, held and shipped are never below zero |
//! | I2 | `stock_is_balanced` | usable + held + shipped = inbound |
//! | I3 | `flows_add_up` | the flows of a bucket add up to its counters |
//! | I4 | `held_is_what_holds_have_open` | held = what the holds have open |
//! | I5 | `no_more_comes_back_than_was_taken` | released + shipped <= qty |
//! | I6 | `orders_have_what_they_reserved` | a standing order has what its lines say, a cancelled one nothing |
//! | I7 | `routes_are_served` | no record waits on a route that this program does not serve |
//! | I8 | `availability_is_what_is_usable` | what the catalogue shows is what is usable for a line that names only the SKU, less its safety stock |
//! | I9 | `no_hold_outlives_its_time` | no unpaid hold is older than its expiry and a minute |
//! | I10 | `one_outcome_per_call` | every call of a step has one outcome |
//!
//! And beside them: `holds_match_their_flows`, `states_match_what_is_open`, `epochs_are_the_history` and
//! `no_hold_under_a_past_route`. I6 and I8 are about what the order and the product service say, which whoever audits
//! brings along ([`Given`]); without it they find nothing. I7 is what there is of the law of the Redis route while no
//! record can be on it.

use amends_sdk::audit::{Invariant, Law, Laws, check};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::{Row, SqliteConnection, SqlitePool};

/// What the audit found.
pub type Audit = amends_sdk::audit::Audit<Totals>;

/// What the audit of some of the laws found: without sums, which take as long as all the laws.
pub type PartAudit = amends_sdk::audit::Audit<()>;

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

/// What an auditor brings along.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Given {
    /// The time, in unix milliseconds, by which holds are found to have outlived theirs; none are without it.
    pub now: Option<i64>,
    /// Orders as the order service has them.
    pub orders: Vec<GivenOrder>,
    /// What the catalogue shows as available.
    pub availability: Vec<GivenStock>,
    /// Up to when, in unix milliseconds, the catalogue must know what has changed; it need not know anything without it.
    pub known_by: Option<i64>,
    /// Which laws are to be checked, by their names; all, where none is named.
    pub laws: Vec<String>,
}

/// An order as the order service has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenOrder {
    /// Its number.
    pub order: String,
    /// Whether it is cancelled: nothing may be set aside for it.
    #[serde(default)]
    pub cancelled: bool,
    /// How many of which SKU it has, less what was refunded. Of a cancelled order it does not matter.
    #[serde(default)]
    pub lines: Vec<GivenLine>,
}

/// A line of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenLine {
    /// The SKU.
    pub sku: i64,
    /// How many.
    pub qty: i64,
}

/// What the catalogue shows of a SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenStock {
    /// The SKU.
    pub sku: i64,
    /// How many it shows as available.
    pub usable: i64,
    /// Up to which flow that counts; now, where nothing is said.
    #[serde(default)]
    pub seq: Option<i64>,
}

const LAWS: [Law; 14] = [
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
        name: "orders_have_what_they_reserved",
        law: "a standing order has of every SKU what its lines say, less refunds and what is known to be missing; a cancelled one has nothing open",
        broken: "with given as (select value ->> 'order' as order_no, value ->> 'cancelled' as cancelled, value -> 'lines' as lines
                from json_each(?2, '$.orders')),
            wanted as (select order_no, l.value ->> 'sku' as sku, sum(l.value ->> 'qty') as qty
                from given, json_each(given.lines) l where not cancelled group by order_no, sku),
            kept as (select g.order_no, s.sku_id as sku, sum(h.qty - h.released) as qty,
                    sum(h.qty - h.released - h.shipped) as open, max(g.cancelled) as cancelled
                from given g cross join inv_hold h on h.order_no = g.order_no
                join inv_stock s on s.stock_id = h.stock_id group by g.order_no, s.sku_id),
            short as (select g.order_no, s.sku_id as sku, sum(l.missing) as missing
                from given g cross join inv_short t on t.order_no = g.order_no and t.state = 1
                join inv_short_line l on l.short_no = t.short_no
                join inv_stock s on s.stock_id = l.stock_id group by g.order_no, s.sku_id)
            select w.order_no as 'order', w.sku, w.qty as wanted, coalesce(k.qty, 0) as reserved,
                coalesce(m.missing, 0) as missing
                from wanted w left join kept k on k.order_no = w.order_no and k.sku = w.sku
                left join short m on m.order_no = w.order_no and m.sku = w.sku
                where w.qty <> coalesce(k.qty, 0) + coalesce(m.missing, 0)
            union all select k.order_no, k.sku, 0, k.qty, 0 from kept k
                left join wanted w on w.order_no = k.order_no and w.sku = k.sku
                where not k.cancelled and w.sku is null and k.qty <> 0
            union all select order_no, sku, 0, open, 0 from kept where cancelled and open <> 0
            limit ?1",
    },
    Law {
        name: "routes_are_served",
        law: "every record is taken by the merged or the row route, from one bucket",
        broken: "select sku_id as sku, stock_id as record, mode, bucket_count from inv_stock
            where mode not in (1, 2) or bucket_count <> 1 order by stock_id limit ?1",
    },
    Law {
        name: "availability_is_what_is_usable",
        law: "what the catalogue shows of a SKU is what a line of it could take at the flow it knows of, and no change is unknown to it for long",
        // Only of what differs from what is usable now are the flows since read, in one pass from the oldest on that somebody
        // does not know: the others are right whatever they know.
        broken: "with shown as materialized (
                select g.value ->> 'sku' as sku, g.value ->> 'usable' as shown, g.value ->> 'seq' as seq, s.stock_id,
                    coalesce(sum(b.usable), 0) as lies, coalesce(s.safety_stock, 0) as kept
                from json_each(?2, '$.availability') g
                left join inv_stock s on s.sku_id = g.value ->> 'sku' and s.stock_type = 1 and s.dept_no = '*'
                    and s.warehouse_no = '*' and s.stock_status = 1 and s.goods_level = 1 and s.activity_id = 0
                    and s.channel = 0
                left join inv_bucket b on b.stock_id = s.stock_id
                group by g.key
                having g.value ->> 'usable' <> max(0, coalesce(sum(b.usable), 0) - coalesce(s.safety_stock, 0))),
            records as materialized (select distinct sku, seq, stock_id from shown where stock_id is not null),
            since as materialized (
                select r.sku, r.seq, sum(f.d_usable) as moved, min(f.created_at) as unknown_since,
                    sum(case f.op when 14 then f.qty when 15 then -f.qty else 0 end) as kept
                from inv_flow f cross join records r on r.stock_id = f.stock_id
                where f.flow_id > (select min(seq) from records) and f.flow_id > r.seq group by r.sku, r.seq),
            compared as (
                select sh.sku, sh.shown, sh.seq, max(0, sh.lies - coalesce(si.moved, 0) - sh.kept + coalesce(si.kept, 0))
                    as usable_then, max(0, sh.lies - sh.kept) as usable, si.unknown_since
                from shown sh left join since si on si.sku = sh.sku and si.seq = sh.seq)
            select * from compared where shown <> usable_then or unknown_since < ?2 ->> '$.known_by' limit ?1",
    },
    Law {
        name: "no_hold_outlives_its_time",
        law: "no unpaid hold is older than its expiry and a minute",
        broken: "select hold_id as hold, order_no as 'order', qty - released - shipped as open, expires_at from inv_hold
            where expires_at is not null and expires_at + 60000 < ?2 ->> '$.now' order by expires_at limit ?1",
    },
    Law {
        name: "one_outcome_per_call",
        law: "every call of a step has one outcome, and has one once it is committed",
        broken: "select lower(hex(saga_id)) as saga, step, op, count(*) as outcomes from saga_barrier
            group by saga_id, step, op having count(*) > 1 or count(status) = 0 limit ?1",
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
    Law {
        name: "epochs_are_the_history",
        law: "a record's route and epoch are the last ones of its history",
        broken: "select s.sku_id as sku, s.stock_id as record, s.mode, s.epoch, r.mode as last_mode, r.epoch as last_epoch
            from inv_stock s left join inv_route r on r.stock_id = s.stock_id
                and r.epoch = (select max(epoch) from inv_route l where l.stock_id = s.stock_id)
            where s.epoch <> coalesce(r.epoch, 1) or (r.mode is not null and s.mode <> r.mode)
            order by s.stock_id limit ?1",
    },
    Law {
        name: "no_hold_under_a_past_route",
        law: "no hold is made under an epoch after one was made under a later epoch",
        broken: "select hold, record, epoch, before from (
                select h.hold_id as hold, h.stock_id as record, h.epoch,
                    max(h.epoch) over (partition by h.stock_id order by h.hold_id rows unbounded preceding) as before
                from inv_stock s cross join inv_hold h on h.stock_id = s.stock_id where s.epoch > 1)
            where epoch < before order by hold limit ?1",
    },
];

/// Checks every law that needs nothing from elsewhere.
///
/// `connection` should be in a read transaction, so that all laws look at one moment.
///
/// # Errors
/// The database's own.
pub async fn audit(connection: &mut SqliteConnection) -> Result<Audit, sqlx::Error> {
    audit_given(connection, &Given::default()).await
}

/// Checks every law, those about time and about other services by what is given.
///
/// # Errors
/// The database's own.
pub async fn audit_given(connection: &mut SqliteConnection, given: &Given) -> Result<Audit, sqlx::Error> {
    let given = text(given)?;
    let mut invariants = check(connection, &LAWS, &given).await?;
    invariants.extend(check(connection, &crate::activity::LAWS, "").await?);
    Ok(Audit::new(invariants, totals(connection).await?).keeping("stock"))
}

/// Checks the laws that are named, each in its own time; a name that is no law's is passed over.
///
/// # Errors
/// The database's own.
pub(crate) async fn audit_some(
    connection: &mut SqliteConnection,
    given: &Given,
) -> Result<PartAudit, sqlx::Error> {
    let is_wanted = |law: &&Law| given.laws.iter().any(|name| name == law.name);
    let wanted: Vec<Law> = every().filter(is_wanted).copied().collect();
    Ok(PartAudit::new(check(connection, &wanted, &text(given)?).await?, ()).keeping("stock"))
}

/// Every law there is.
pub(crate) fn every() -> impl Iterator<Item = &'static Law> {
    LAWS.iter().chain(&crate::activity::LAWS)
}

fn text(given: &Given) -> Result<String, sqlx::Error> {
    serde_json::to_string(given).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// The laws, for the inventory to check by itself now and then; without what other services say.
#[derive(Debug)]
pub(crate) struct StockLaws(pub(crate) SqlitePool);

#[async_trait]
impl Laws for StockLaws {
    async fn check(&self) -> Result<Vec<Invariant>, sqlx::Error> {
        let given = text(&Given { now: Some(crate::body::now_ms()), ..Given::default() })?;
        let of_others = ["orders_have_what_they_reserved", "availability_is_what_is_usable"];
        let own: Vec<Law> = every().filter(|law| !of_others.contains(&law.name)).copied().collect();
        check(&mut *self.0.acquire().await?, &own, &given).await
    }
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

#[cfg(test)]
mod tests;
