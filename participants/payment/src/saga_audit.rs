//! What the payments say was done for which saga: the payments' [`SagaAudit`].
//!
//! A page walks along the barrier first and holds what each step was answered against the payment or the refund that it
//! made. Then it walks along the events by themselves, for money that moved though no call accounts for it.
//!
//! Effects: of `charge` `{"payment", "order", "amount_minor", "currency"}`, of `refund` `{"payment", "refund",
//! "amount_minor"}`.

use std::collections::HashMap;

use amends_sdk::barrier::{Step, Window, trail_sqlite};
use amends_sdk::saga_audit::{Failure, Place, SagaAudit, Walk, effect, walk};
use amends_wire::audit::{Effect, EffectState, Page, Query, Reported, names};
use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};
use uuid::Uuid;

/// The audit of payments.
pub(crate) struct PaymentAudit(pub(crate) SqlitePool);

#[async_trait]
impl SagaAudit for PaymentAudit {
    async fn page(&self, query: &Query) -> Result<Page, Failure> {
        let place = Place::read(query)?;
        let mut snapshot = self.0.begin().await?;
        let page = match place {
            Place::Barrier(after) => {
                let window = Window { since: query.since, after, limit: query.limit };
                on_the_barrier(&mut snapshot, &window).await?
            }
            Place::Own { table, after } => walk(&mut snapshot, &WALKS, query.since, table, after).await?,
        };
        snapshot.rollback().await?;
        Ok(page)
    }
}

async fn on_the_barrier(snapshot: &mut SqliteConnection, window: &Window) -> Result<Page, Failure> {
    let trail = trail_sqlite(snapshot, window).await?;
    let made = made_by(snapshot, &trail.steps).await?;
    let mut page = Page::default();
    for step in &trail.steps {
        let made = made.get(&(step.saga, step.step.clone())).map(Vec::as_slice).unwrap_or_default();
        page.effects.push(judge(step, made, &mut page.findings));
    }
    let next = match trail.next {
        Some(after) => Place::Barrier(Some(after)),
        None => Place::Own { table: 0, after: None },
    };
    Ok(Page { next: next.cursor(), ..page })
}

/// A charge or a refund that a step made.
struct Made {
    payment: String,
    order: String,
    refund: Option<String>,
    state: String,
    amount: i64,
    currency: String,
}

type MadeBySteps = HashMap<(Uuid, String), Vec<Made>>;

/// What these steps made; what was given back by itself when a charge was called off is the charge's, and left out.
async fn made_by(connection: &mut SqliteConnection, steps: &[Step]) -> Result<MadeBySteps, sqlx::Error> {
    const SQL: &str = "
        select w.value ->> 0, w.value ->> 1, p.payment_no, p.order_no, null, p.state, p.amount_minor, p.currency
        from json_each(?1) w join payment p on p.saga = w.value ->> 0 and p.step = w.value ->> 1
        union all
        select w.value ->> 0, w.value ->> 1, p.payment_no, p.order_no, r.refund_no, r.state, r.amount_minor, p.currency
        from json_each(?1) w
        join payment_refund r on r.saga = w.value ->> 0 and r.step = w.value ->> 1
        join payment p on p.payment_no = r.payment_no and (p.saga <> r.saga or p.step <> r.step)";
    let wanted: Vec<(String, &str)> =
        steps.iter().map(|step| (step.saga.to_string(), step.step.as_str())).collect();
    let mut made = MadeBySteps::new();
    for row in sqlx::query(SQL).bind(json!(wanted).to_string()).fetch_all(connection).await? {
        let saga: String = row.try_get(0)?;
        let saga = Uuid::parse_str(&saga).map_err(|error| sqlx::Error::Decode(error.into()))?;
        made.entry((saga, row.try_get(1)?)).or_default().push(Made {
            payment: row.try_get(2)?,
            order: row.try_get(3)?,
            refund: row.try_get(4)?,
            state: row.try_get(5)?,
            amount: row.try_get(6)?,
            currency: row.try_get(7)?,
        });
    }
    Ok(made)
}

/// Says what was done for a step; whatever is wrong with it goes to `findings`.
fn judge(step: &Step, made: &[Made], findings: &mut Vec<Reported>) -> Effect {
    let mut find = |name: &str, message: String| {
        findings.push(Reported {
            name: name.to_owned(),
            saga: Some(step.saga),
            step: Some(step.step.clone()),
            message,
            detail: Some(json!({ "answered": step.answer["payment"] })),
        });
    };
    let done = matches!(step.state, EffectState::Applied | EffectState::Undone);
    match made {
        [] if step.state == EffectState::Applied => {
            find(names::EFFECT_LOST, "no payment and no refund tells of it".to_owned());
        }
        [] => {}
        [one] if step.state == EffectState::Applied => one.applied(step, &mut find),
        [one] if step.state == EffectState::Undone && !one.is_undone() => {
            find(
                names::EFFECT_LEFT_BEHIND,
                format!("it is undone, but payment {} is {}", one.payment, one.state),
            );
        }
        [_] => {}
        many => find(names::DOUBLED_EFFECT, format!("{} payments and refunds tell of it", many.len())),
    }
    let words = made.first().filter(|_| done).map(Made::words);
    Effect { effect: words, ..effect(step) }
}

impl Made {
    fn applied(&self, step: &Step, find: &mut impl FnMut(&str, String)) {
        let told = match self.refund {
            Some(_) => step.answer["refund"]["amount_minor"].as_i64(),
            None => step.answer["amount_minor"].as_i64(),
        };
        let stands = match self.refund {
            Some(_) => self.state == "done",
            None => ["paid", "part_refunded", "refunded"].contains(&self.state.as_str()),
        };
        if !stands {
            let what = self.refund.as_ref().map_or("payment", |_| "refund");
            find(names::EFFECT_LOST, format!("the {what} of payment {} is {}", self.payment, self.state));
        } else if told != Some(self.amount) {
            let told = told.unwrap_or_default();
            find(names::WRONG_QUANTITY, format!("{} moved, and the caller was told {told}", self.amount));
        }
    }

    fn is_undone(&self) -> bool {
        self.refund.is_some() || ["void", "voiding", "refunded", "declined"].contains(&self.state.as_str())
    }

    /// What was done, in the words of the body.
    fn words(&self) -> Value {
        match &self.refund {
            Some(refund) => {
                json!({ "payment": self.payment, "refund": refund, "amount_minor": self.amount })
            }
            None => json!({
                "payment": self.payment, "order": self.order, "amount_minor": self.amount, "currency": self.currency,
            }),
        }
    }
}

/// The events, for money that moved though its step never called here, or has done nothing here. A charge that was
/// called off while it was pending (1) may still come in, and go back.
const WALKS: [Walk; 1] = [Walk {
    last: "select max(event_id) from payment_event",
    time: "select at from payment_event where event_id >= ?1 order by event_id limit 1",
    upto: "select max(event_id) from
        (select event_id from payment_event where event_id > ?1 order by event_id limit ?2)",
    found: "select e.event_id as id, e.payment_no, e.what, e.saga, e.step, b.status
        from payment_event e
        left join saga_barrier b on b.saga_id = unhex(e.saga, '-') and b.step = e.step and b.op = 0
        where e.event_id > ?1 and e.event_id <= ?2 and (b.status is null
            or (e.d_paid_minor + e.d_back_minor > 0 and b.status <> 1 and b.status not between 200 and 299))
        order by e.event_id limit ?3",
    tell: event,
}];

fn event(row: &SqliteRow) -> Result<Reported, sqlx::Error> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let (id, payment, what, saga): (i64, String, String, String) =
        (row.try_get("id")?, text("payment_no")?, text("what")?, text("saga")?);
    let (name, why) = match row.try_get::<Option<i64>, _>("status")? {
        None => (names::ORPHAN_EFFECT, "its step never called here"),
        Some(_) => (names::EFFECT_THOUGH_BARRED, "its step has done nothing here"),
    };
    Ok(Reported {
        name: name.to_owned(),
        saga: Uuid::parse_str(&saga).ok(),
        step: Some(text("step")?),
        message: format!("event {id} says of payment {payment}: {what}, but {why}"),
        detail: Some(json!({ "event": id, "payment": payment, "what": what })),
    })
}
