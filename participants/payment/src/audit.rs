//! Checks the payments by their own laws, in SQL, on one snapshot. The laws hold at every commit, not only at rest.
//!
//! `payments_are_those_of_the_orders` is about what the order service says, which whoever audits brings along ([`Given`]):
//! orders of which nothing is under way. Without it, it finds nothing.

use std::collections::BTreeMap;

use amends_sdk::audit::{Invariant, Law, Laws, check};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::{Row, SqliteConnection, SqlitePool, query};

/// What the audit found.
pub type Audit = amends_sdk::audit::Audit<Totals>;

/// Sums over all payments.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// How many there are.
    pub payments: i64,
    /// How many stand in each state; states without a payment are left out.
    pub by_state: BTreeMap<String, i64>,
    /// What came in, in each currency.
    pub paid_minor: BTreeMap<String, i64>,
    /// What was given back, in each currency.
    pub back_minor: BTreeMap<String, i64>,
}

/// What the audit of some of the laws found: without sums, which take as long as all the laws.
pub type PartAudit = amends_sdk::audit::Audit<()>;

/// What an auditor brings along.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Given {
    /// Orders as the order service has them.
    pub orders: Vec<GivenOrder>,
    /// Which laws are to be checked, by their names; all, where none is named.
    pub laws: Vec<String>,
}

/// An order as the order service has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenOrder {
    /// Its number.
    pub order: String,
    /// What was paid for it and not given back: nothing, where it is unpaid or cancelled.
    pub due_minor: i64,
    /// The payment that it says it was paid by. Without one it may have been paid elsewhere.
    #[serde(default)]
    pub payment: Option<String>,
}

/// In each, `?2` is what is [`Given`], as JSON.
const LAWS: [Law; 7] = [
    Law {
        name: "no_more_is_given_back_than_was_paid",
        law: "refunds, those under way among them, come to no more than the payment",
        broken: "select payment_no as payment, amount_minor, refunded_minor from payment
            where refunded_minor > amount_minor or refunded_minor < 0 limit ?1",
    },
    Law {
        name: "refunds_add_up",
        law: "what counts as given back is the sum of the refunds that are done or under way",
        broken: "select payment_no as payment, refunded_minor, refunds from (
                select p.payment_no, p.refunded_minor, (select coalesce(sum(r.amount_minor), 0) from payment_refund r
                    where r.payment_no = p.payment_no and r.state in ('pending', 'done')) as refunds from payment p)
            where refunded_minor <> refunds limit ?1",
    },
    Law {
        name: "states_match_the_money",
        law: "a payment is refunded when nothing is left of it, part refunded when something is, and gives back only what it has; one of nothing has nothing to give back",
        broken: "select payment_no as payment, state, amount_minor, refunded_minor from payment
            where (state = 'refunded') <> (amount_minor > 0 and refunded_minor = amount_minor)
                or (state = 'part_refunded') <> (refunded_minor > 0 and refunded_minor < amount_minor) limit ?1",
    },
    Law {
        name: "events_tell_the_money",
        law: "the money that came in and went back is the sum of the events",
        broken: "select payment_no as payment, state, came, went from (
                select p.payment_no, p.state, p.amount_minor,
                    (select coalesce(sum(e.d_paid_minor), 0) from payment_event e where e.payment_no = p.payment_no) as came,
                    (select coalesce(sum(e.d_back_minor), 0) from payment_event e where e.payment_no = p.payment_no) as went,
                    (select coalesce(sum(r.amount_minor), 0) from payment_refund r
                        where r.payment_no = p.payment_no and r.state = 'done') as done
                from payment p)
            where came <> iif(state in ('paid', 'part_refunded', 'refunded'), amount_minor, 0) or went <> done limit ?1",
    },
    Law {
        name: "an_order_pays_once",
        law: "an order has one payment that counts, or may come to count",
        broken: "select order_no as 'order', count(*) as payments from payment
            where state in ('pending', 'paid', 'part_refunded', 'voiding') group by order_no having count(*) > 1 limit ?1",
    },
    Law {
        name: "what_is_pending_ends",
        law: "only what is pending waits for its end, and all of it does, unless it never ends",
        broken: "select payment_no as payment, state, mode from payment
            where (settle_at is not null) <> (state in ('pending', 'voiding') and mode <> 'never')
            union all
            select refund_no, state, mode from payment_refund
            where (settle_at is not null) <> (state = 'pending' and mode <> 'never') limit ?1",
    },
    Law {
        name: "payments_are_those_of_the_orders",
        law: "of every order, what was paid and not given back is what its lines come to less its refunds",
        // What was given back as a whole comes to nothing, so the payments that count are those of the index. Where an order
        // names no payment and has none, it was paid elsewhere.
        broken: "with given as materialized (select value ->> 'order' as order_no, value ->> 'due_minor' as due,
                    value ->> 'payment' as payment from json_each(?2, '$.orders')),
                kept as (select g.order_no, sum(p.amount_minor - p.refunded_minor) as kept
                    from given g cross join payment p on p.order_no = g.order_no
                        and p.state in ('pending', 'paid', 'part_refunded', 'voiding')
                    where p.state in ('paid', 'part_refunded') group by g.order_no)
            select g.order_no as 'order', g.payment, g.due as due_minor, coalesce(k.kept, 0) as kept_minor
            from given g left join kept k on k.order_no = g.order_no
            where (g.payment is not null or k.kept is not null) and g.due <> coalesce(k.kept, 0) limit ?1",
    },
];

/// The laws, for the payments to check by themselves now and then.
#[derive(Debug)]
pub(crate) struct PaymentLaws(pub(crate) SqlitePool);

#[async_trait]
impl Laws for PaymentLaws {
    async fn check(&self) -> Result<Vec<Invariant>, sqlx::Error> {
        check(&mut *self.0.acquire().await?, &LAWS, &text(&Given::default())?).await
    }
}

/// Checks every law.
///
/// `connection` should be in a read transaction, so that all laws look at one moment.
///
/// # Errors
/// The database's own.
pub async fn audit(connection: &mut SqliteConnection) -> Result<Audit, sqlx::Error> {
    audit_given(connection, &Given::default()).await
}

/// Checks every law, those about another service by what is given.
///
/// # Errors
/// The database's own.
pub async fn audit_given(connection: &mut SqliteConnection, given: &Given) -> Result<Audit, sqlx::Error> {
    let invariants = check(connection, &LAWS, &text(given)?).await?;
    Ok(Audit::new(invariants, totals(connection).await?).keeping("payments"))
}

/// Checks the laws that are named; a name that is no law's is passed over.
///
/// # Errors
/// The database's own.
pub(crate) async fn audit_some(
    connection: &mut SqliteConnection,
    given: &Given,
) -> Result<PartAudit, sqlx::Error> {
    let is_wanted = |law: &&Law| given.laws.iter().any(|name| name == law.name);
    let wanted: Vec<Law> = LAWS.iter().filter(is_wanted).copied().collect();
    Ok(PartAudit::new(check(connection, &wanted, &text(given)?).await?, ()).keeping("payments"))
}

/// Whether there is a law of this name.
pub(crate) fn is_law(name: &str) -> bool {
    LAWS.iter().any(|law| law.name == name)
}

fn text(given: &Given) -> Result<String, sqlx::Error> {
    serde_json::to_string(given).map_err(|error| sqlx::Error::Encode(error.into()))
}

async fn totals(connection: &mut SqliteConnection) -> Result<Totals, sqlx::Error> {
    let mut totals = Totals::default();
    for row in query("select state, count(*) from payment group by 1").fetch_all(&mut *connection).await? {
        let count: i64 = row.try_get(1)?;
        totals.payments += count;
        totals.by_state.insert(row.try_get(0)?, count);
    }
    let sums = "
        select p.currency, sum(e.d_paid_minor), sum(e.d_back_minor)
        from payment_event e join payment p on p.payment_no = e.payment_no group by 1";
    for row in query(sums).fetch_all(connection).await? {
        let currency: String = row.try_get(0)?;
        totals.paid_minor.insert(currency.clone(), row.try_get(1)?);
        totals.back_minor.insert(currency, row.try_get(2)?);
    }
    Ok(totals)
}
