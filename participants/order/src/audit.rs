//! Checks the orders by their own laws, in SQL, on one snapshot.
//!
//! Every law is a query that finds the rows which break it, so an empty answer means the law is kept. The laws hold at
//! every commit, not only at rest.
//!
//! `payments_have_an_order` is about what the payment service says, which whoever audits brings along ([`Given`]). Without
//! it, it finds nothing.

use std::collections::BTreeMap;

use amends_sdk::audit::{Invariant, Law, Laws, check};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::{Row, SqliteConnection, SqlitePool, query};

use crate::state::{Change, State};
use crate::table::Error;

/// What the audit found.
pub type Audit = amends_sdk::audit::Audit<Totals>;

/// Sums over all orders.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// How many there are.
    pub orders: i64,
    /// How many stand in each state; states without an order are left out.
    pub by_state: BTreeMap<String, i64>,
    /// How many events they have.
    pub events: i64,
    /// How many refunds were made, those under way and those called off among them.
    pub refunds: i64,
    /// How many shipments left.
    pub shipments: i64,
    /// Orders that were called off because nobody paid, and whose goods no saga gives back yet.
    pub called_off_waiting: i64,
    /// Pieces on the lines of orders whose goods are still promised or gone: neither cancelled nor refunded.
    pub pieces: i64,
    /// What the orders of each currency come to, cancelled ones left out.
    pub amount_minor: BTreeMap<String, i64>,
    /// What was given back in each currency.
    pub refunded_minor: BTreeMap<String, i64>,
}

/// What the audit of some of the laws found: without sums, which take as long as all the laws.
pub type PartAudit = amends_sdk::audit::Audit<()>;

/// What an auditor brings along.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Given {
    /// Payments as the payment service has them.
    pub payments: Vec<GivenPayment>,
    /// Which laws are to be checked, by their names; all, where none is named.
    pub laws: Vec<String>,
}

/// A payment as the payment service has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenPayment {
    /// Its number.
    pub payment: String,
    /// The order it is for.
    pub order: String,
    /// What was paid and not given back.
    pub kept_minor: i64,
}

/// What another service says; in it, `?2` is what is [`Given`], as JSON.
const OF_OTHERS: [Law; 1] = [Law {
    name: "payments_have_an_order",
    law: "money that is kept was paid for an order that there is",
    broken: "select value ->> 'payment' as payment, value ->> 'order' as 'order', value ->> 'kept_minor' as kept_minor
        from json_each(?2, '$.payments')
        where value ->> 'kept_minor' > 0 and not exists (select 1 from orders where order_no = value ->> 'order') limit ?1",
}];

/// In each, `?2` holds the legal moves as `[[from, to], …]`.
const LAWS: [Law; 11] = [
    Law {
        name: "one_order_per_number",
        law: "an order's events begin with exactly one creation",
        broken: "select order_no as 'order', sum(from_state is null) as creations
            from order_event group by order_no having sum(from_state is null) <> 1 limit ?1",
    },
    Law {
        name: "events_are_complete",
        law: "an order has as many events as its version says, numbered without a gap",
        broken: "select o.order_no as 'order', o.version, count(e.version) as events, max(e.version) as last
            from orders o left join order_event e on e.order_no = o.order_no
            group by o.order_no having count(e.version) <> o.version or max(e.version) <> o.version limit ?1",
    },
    Law {
        name: "events_form_a_chain",
        law: "each event starts where the one before it led",
        broken: "select e.order_no as 'order', e.version, e.from_state as 'from', p.to_state as 'before'
            from order_event e left join order_event p on p.order_no = e.order_no and p.version = e.version - 1
            where e.version > 1 and (p.to_state is null or p.to_state <> e.from_state) limit ?1",
    },
    Law {
        name: "events_are_legal_moves",
        law: "each event is a move of the state machine",
        broken: "select order_no as 'order', version, from_state as 'from', to_state as 'to'
            from order_event where (coalesce(from_state, ''), to_state) not in
                (select value ->> 0, value ->> 1 from json_each(?2)) limit ?1",
    },
    Law {
        name: "state_is_where_events_lead",
        law: "an order stands where its last event led",
        broken: "select o.order_no as 'order', o.state, e.to_state as event
            from orders o left join order_event e on e.order_no = o.order_no and e.version = o.version
            where e.to_state is null or e.to_state <> o.state limit ?1",
    },
    Law {
        name: "total_is_what_lines_come_to",
        law: "an order has lines, and its amount is the sum of qty * price",
        broken: "select o.order_no as 'order', o.amount_minor as total_minor, sum(l.qty * l.price_minor) as lines_minor
            from orders o left join order_line l on l.order_no = o.order_no
            group by o.order_no having o.amount_minor <> coalesce(sum(l.qty * l.price_minor), -1) limit ?1",
    },
    Law {
        name: "no_more_is_refunded_than_was_ordered",
        law: "of every line, refunded + refunding + shipped <= qty, and none of them is below zero",
        broken: "select order_no as 'order', sku_id as sku, qty, refunded, refunding, shipped
            from order_line where refunded + refunding + shipped > qty
                or refunded < 0 or refunding < 0 or shipped < 0 or qty <= 0 limit ?1",
    },
    Law {
        name: "refunds_add_up",
        law: "an order's refunded money is the sum of its refunds and what its refunded pieces cost",
        broken: "select order_no as 'order', refunded_minor, refunds as refunds_minor, pieces as pieces_minor
            from (select o.order_no, o.refunded_minor,
                    (select coalesce(sum(amount_minor), 0) from refund r
                        where r.order_no = o.order_no and r.state = 'done') as refunds,
                    (select coalesce(sum(refunded * price_minor), 0) from order_line l where l.order_no = o.order_no) as pieces
                from orders o)
            where refunded_minor <> refunds or refunded_minor <> pieces limit ?1",
    },
    Law {
        name: "refunds_and_lines_agree",
        law: "of every line, refunded and refunding are what its refunds say that are done and begun",
        broken: "select order_no as 'order', sku_id as sku, refunded, refunding, done, begun
            from (select l.order_no, l.sku_id, l.refunded, l.refunding,
                    coalesce(sum(iif(r.state = 'done', p.qty, 0)), 0) as done,
                    coalesce(sum(iif(r.state = 'begun', p.qty, 0)), 0) as begun
                from order_line l
                left join refund r on r.order_no = l.order_no
                left join refund_line p on p.refund_no = r.refund_no and p.sku_id = l.sku_id
                group by l.order_no, l.sku_id)
            where refunded <> done or refunding <> begun limit ?1",
    },
    Law {
        name: "shipments_and_lines_agree",
        law: "of every line, as many have left as its shipments say",
        broken: "select order_no as 'order', sku_id as sku, shipped, said
            from (select l.order_no, l.sku_id, l.shipped, coalesce(sum(p.qty), 0) as said
                from order_line l
                left join shipment s on s.order_no = l.order_no
                left join shipment_line p on p.ship_no = s.ship_no and p.sku_id = l.sku_id
                group by l.order_no, l.sku_id)
            where shipped <> said limit ?1",
    },
    Law {
        name: "states_match_the_lines",
        law: "refunded: nothing is open or shipped; part shipped: some is open; shipped or done: nothing is open; unpaid: nothing moved; refunding: a refund is begun, and only then",
        broken: "select o.order_no as 'order', o.state, sum(l.qty) as qty, sum(l.refunded) as refunded,
                sum(l.refunding) as refunding, sum(l.shipped) as shipped
            from orders o join order_line l on l.order_no = o.order_no group by o.order_no
            having ((o.state = 'refunding') <> (sum(l.refunding) > 0))
                or (o.state in ('created', 'reserved', 'paid') and sum(l.refunded) + sum(l.shipped) <> 0)
                or (o.state = 'refunded' and sum(l.refunded) <> sum(l.qty))
                or (o.state = 'part_refunded' and (sum(l.refunded) not between 1 and sum(l.qty) - 1 or sum(l.shipped) <> 0))
                or (o.state = 'part_shipped' and (sum(l.shipped) = 0 or sum(l.refunded) + sum(l.shipped) >= sum(l.qty)))
                or (o.state in ('shipped', 'done') and (sum(l.shipped) = 0 or sum(l.refunded) + sum(l.shipped) <> sum(l.qty)))
                or (o.state = 'cancelled' and (sum(l.shipped) <> 0 or sum(l.refunded) not in (0, sum(l.qty))))
            limit ?1",
    },
];

/// The laws, for the orders to check by themselves now and then.
#[derive(Debug)]
pub(crate) struct OrderLaws(pub(crate) SqlitePool);

#[async_trait]
impl Laws for OrderLaws {
    async fn check(&self) -> Result<Vec<Invariant>, sqlx::Error> {
        check(&mut *self.0.acquire().await?, &LAWS, &moves()).await
    }
}

/// Checks every law.
///
/// `connection` should be in a read transaction, so that all laws look at one moment.
///
/// # Errors
/// The database's own.
pub async fn audit(connection: &mut SqliteConnection) -> Result<Audit, Error> {
    audit_given(connection, &Given::default()).await
}

/// Checks every law, those about another service by what is given.
///
/// # Errors
/// The database's own.
pub async fn audit_given(connection: &mut SqliteConnection, given: &Given) -> Result<Audit, Error> {
    let invariants = check_some(connection, given, |_| true).await?;
    Ok(Audit::new(invariants, totals(connection).await?).keeping("orders"))
}

/// Checks the laws that are named; a name that is no law's is passed over.
///
/// # Errors
/// The database's own.
pub(crate) async fn audit_some(connection: &mut SqliteConnection, given: &Given) -> Result<PartAudit, Error> {
    let is_wanted = |law: &Law| given.laws.iter().any(|name| name == law.name);
    Ok(PartAudit::new(check_some(connection, given, is_wanted).await?, ()).keeping("orders"))
}

/// Whether there is a law of this name.
pub(crate) fn is_law(name: &str) -> bool {
    LAWS.iter().chain(&OF_OTHERS).any(|law| law.name == name)
}

async fn check_some(
    connection: &mut SqliteConnection,
    given: &Given,
    is_wanted: impl Fn(&Law) -> bool,
) -> Result<Vec<Invariant>, sqlx::Error> {
    let of = |laws: &[Law]| laws.iter().filter(|law| is_wanted(law)).copied().collect::<Vec<Law>>();
    let (own, others) = (of(&LAWS), of(&OF_OTHERS));
    let given = serde_json::to_string(given).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let mut invariants = check(&mut *connection, &own, &moves()).await?;
    invariants.extend(check(connection, &others, &given).await?);
    Ok(invariants)
}

/// The legal moves as JSON pairs; the creation comes from an empty name.
fn moves() -> String {
    let mut moves = vec![("", State::Created.as_str())];
    for from in State::ALL {
        let next = Change::ALL.into_iter().filter_map(|change| from.after(change));
        moves.extend(next.map(|to| (from.as_str(), to.as_str())));
    }
    serde_json::json!(moves).to_string()
}

async fn totals(connection: &mut SqliteConnection) -> Result<Totals, Error> {
    let mut totals = Totals::default();
    let groups =
        "select state, currency, count(*), sum(amount_minor), sum(refunded_minor) from orders group by 1, 2";
    for row in query(groups).fetch_all(&mut *connection).await? {
        let (state, currency): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let count: i64 = row.try_get(2)?;
        totals.orders += count;
        if state != State::Cancelled.as_str() {
            *totals.amount_minor.entry(currency.clone()).or_default() += row.try_get::<i64, _>(3)?;
        }
        *totals.refunded_minor.entry(currency).or_default() += row.try_get::<i64, _>(4)?;
        *totals.by_state.entry(state).or_default() += count;
    }
    let sums = "
        select (select count(*) from order_event), (select count(*) from refund), (select count(*) from shipment),
               (select count(*) from order_timeout where saga is null),
               (select coalesce(sum(l.qty - l.refunded), 0) from order_line l join orders o on o.order_no = l.order_no
                where o.state <> 'cancelled')";
    let row = query(sums).fetch_one(connection).await?;
    (totals.events, totals.refunds, totals.shipments) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    (totals.called_off_waiting, totals.pieces) = (row.try_get(3)?, row.try_get(4)?);
    Ok(totals)
}
