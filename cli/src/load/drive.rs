//! The customers: one task for each cart, begun when the plan says so and not when there is time for it.
//!
//! Everything they send has a name that follows from the plan: a saga's key, an order's number, a refund's number, a
//! payment's id. So whatever went unanswered, because somebody was killed, is simply sent again.

use super::{
    browse::Windows,
    plan::{Arrival, Fate, Part, Plan},
    sale::Sale,
    site::{CURRENCY, Payment, Site},
    tally::Tally,
};
use crate::{
    client::{ClientError, Start},
    replay::patience::keep_at,
};
use amends_saga::SagaId;
use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

/// How long one question after a saga's end waits for it.
const WAIT: Duration = Duration::from_secs(20);

/// How long it waits where many customers ask, so that all get their turn.
const WAIT_OF_MANY: Duration = Duration::from_secs(1);

/// Customers at a time, at most. When there are more, the next ones wait, and their latencies say so.
const CUSTOMERS_MAX: usize = 20_000;

/// Questions after a saga's end at a time, at most: each has a connection, and this process and the coordinator have only
/// so many.
const ASKING_MAX: usize = 4_000;

/// The label that every saga of a run has.
pub(super) const LABEL: &str = "load";

/// A load under way.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) site: Site,
    pub(super) plan: Plan,
    /// What tells this run's sagas and orders from others.
    pub(super) run: String,
    pub(super) tally: Tally,
    /// The flash sale, where there is one.
    pub(super) sale: Option<Sale>,
    /// Where customers look at goods.
    pub(super) windows: Windows,
    /// Has [`ASKING_MAX`] places.
    asking: Semaphore,
}

/// A cart and what became of it, as its customer knows it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) arrival: Arrival,
    pub(super) order: String,
    /// The saga that was acknowledged.
    pub(super) saga: Option<SagaId>,
    /// The saga that the repeated submission was answered with.
    pub(super) again: Option<SagaId>,
    pub(super) end: End,
    /// What became of it after it was paid.
    pub(super) after: After,
}

/// What becomes of an order that is paid.
#[derive(Debug, Clone, Default)]
pub(super) struct After {
    /// The refunds that were begun before it shipped.
    pub(super) refunds: Vec<Refund>,
    /// The parcels in which it was sent.
    pub(super) parcels: Vec<Parcel>,
    /// The refund that was asked for when all of it had left.
    pub(super) regret: Option<Refund>,
}

/// How a cart ended, as its customer knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Paid, every step done.
    Completed,
    /// Undone, for this reason.
    Compensated(String),
    /// Left to expire.
    Left,
    /// Nobody would say.
    Lost(String),
}

/// A refund and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Refund {
    pub(super) saga: SagaId,
    pub(super) part: Part,
    /// What its customer was told.
    pub(super) end: End,
}

impl Refund {
    /// Whether the customer was told that the money is back.
    pub(super) fn is_done(&self) -> bool {
        self.end == End::Completed
    }
}

/// A parcel and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) saga: SagaId,
    pub(super) part: Part,
    pub(super) done: bool,
}

/// What a customer looks at in a saga.
#[derive(Debug, Deserialize)]
pub(super) struct Saga {
    id: SagaId,
    status: String,
    error: Option<Cause>,
}

#[derive(Debug, Deserialize)]
struct Cause {
    step: Option<String>,
    kind: String,
    #[serde(default)]
    message: String,
}

impl Cause {
    /// The reason in reports: that stock is short is what a shop expects, everything else is named by kind and step.
    fn reason(&self) -> String {
        let is_short =
            ["not enough stock", "is not kept here"].iter().any(|said| self.message.contains(said));
        match &self.step {
            Some(_) if self.kind == "refused" && is_short => "out_of_stock".to_owned(),
            Some(step) if self.kind == "refused" && step == "quota" => "share_used_up".to_owned(),
            Some(step) => format!("{}_at_{step}", self.kind),
            None => self.kind.clone(),
        }
    }
}

impl Saga {
    fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "compensated" | "abandoned")
    }

    pub(super) fn end(self) -> End {
        match (self.status.as_str(), self.error) {
            ("completed", _) => End::Completed,
            (_, Some(cause)) => End::Compensated(cause.reason()),
            (status, None) => End::Compensated(status.to_owned()),
        }
    }
}

/// Lets every customer of the plan come, and waits until the last one has gone.
///
/// # Errors
/// When a customer's task panicked.
pub(super) async fn run(load: &Arc<Load>) -> anyhow::Result<Vec<Told>> {
    let begun = Instant::now();
    let room = Arc::new(Semaphore::new(CUSTOMERS_MAX));
    let mut customers = JoinSet::new();
    let mut told = Vec::new();
    for arrival in load.plan.arrivals() {
        let due = begun + arrival.at;
        tokio::time::sleep_until(due).await;
        let place = Arc::clone(&room).acquire_owned().await?;
        let load = Arc::clone(load);
        load.tally.arrived.one_more();
        customers.spawn(async move {
            let told = load.customer(arrival, due).await;
            drop(place);
            told
        });
        while let Some(gone) = customers.try_join_next() {
            told.push(gone.context("a customer panicked")?);
        }
    }
    while let Some(gone) = customers.join_next().await {
        told.push(gone.context("a customer panicked")?);
    }
    Ok(told)
}

/// One cart under way.
pub(super) struct Visit<'a> {
    pub(super) load: &'a Load,
    pub(super) arrival: &'a Arrival,
    pub(super) order: &'a str,
    due: Instant,
}

impl Load {
    /// A load that has not begun.
    ///
    /// # Errors
    /// When the system gives no HTTP client.
    pub(super) fn new(site: Site, plan: Plan, run: String, sale: Option<Sale>) -> anyhow::Result<Load> {
        let (windows, asking) = (Windows::new(&site.urls)?, Semaphore::new(ASKING_MAX));
        Ok(Load { site, plan, run, tally: Tally::default(), sale, windows, asking })
    }

    async fn customer(&self, arrival: Arrival, due: Instant) -> Told {
        let order = format!("{}-{}", self.run, arrival.index);
        let visit = Visit { load: self, arrival: &arrival, order: &order, due };
        let looks = self.browse(arrival.index, due);
        let (first, again, ()) = tokio::join!(visit.accepted(), visit.again(), looks);
        let after = After::default();
        let mut told = Told { saga: None, again: None, end: End::Left, after, order, arrival };
        match first {
            Ok((saga, end, after)) => (told.saga, told.end, told.after) = (Some(saga), end, after),
            Err(error) => told.end = End::Lost(crate::client::chain(error.as_ref())),
        }
        match again {
            Ok(again) => told.again = again,
            Err(error) => told.end = End::Lost(crate::client::chain(error.as_ref())),
        }
        match told.end {
            End::Completed => self.tally.completed.one_more(),
            End::Compensated(_) | End::Left => self.tally.undone.one_more(),
            End::Lost(_) => self.tally.lost.one_more(),
        }
        told
    }

    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.site.patience
    }

    /// Follows a saga to its end.
    pub(super) async fn follow(&self, id: SagaId) -> anyhow::Result<Saga> {
        let until = self.until();
        loop {
            let place = self.asking.acquire().await?;
            let is_crowded = self.asking.available_permits() < ASKING_MAX / 2;
            let wait = if is_crowded { WAIT_OF_MANY } else { WAIT };
            let saga: Saga = keep_at(until, || self.site.coordinator.saga(id, Some(wait))).await?;
            drop(place);
            if saga.has_ended() {
                return Ok(saga);
            }
            if Instant::now() >= until {
                bail!("saga {id} is still {} when patience is over (see --patience)", saga.status);
            }
        }
    }
}

impl Visit<'_> {
    /// Submits the cart; the same submission gives the same saga.
    async fn submit(&self) -> anyhow::Result<SagaId> {
        let (site, arrival) = (&self.load.site, self.arrival);
        let customer = arrival.customer();
        let input = match &self.load.sale {
            Some(sale) if arrival.flash => {
                let (sku, qty) = arrival.cart.lines[0];
                json!({ "order": self.order, "customer": customer, "activity": sale.activity, "sku": sku,
                    "qty": qty, "mode": arrival.mode })
            }
            _ => {
                let mut input =
                    json!({ "order": self.order, "customer": customer, "lines": arrival.cart.json() });
                match site.pays {
                    Payment::Signal => input["currency"] = json!(CURRENCY),
                    Payment::Provider => input["mode"] = json!(arrival.mode),
                }
                input
            }
        };
        self.start(site.placing(arrival.flash), self.order, &input).await
    }

    /// Starts a saga; the same key gives the same one.
    pub(super) async fn start(
        &self,
        definition: &str,
        key: &str,
        input: &serde_json::Value,
    ) -> anyhow::Result<SagaId> {
        let input = RawValue::from_string(input.to_string())?;
        let labels = BTreeMap::from([(LABEL.to_owned(), self.load.run.clone())]);
        let start = Start { definition, input: &input, key: Some(key), labels };
        let coordinator = &self.load.site.coordinator;
        let (_, saga): (_, Saga) = keep_at(self.load.until(), || coordinator.start(&start, None)).await?;
        Ok(saga.id)
    }

    /// The same submission once more, when the customer is impatient.
    async fn again(&self) -> anyhow::Result<Option<SagaId>> {
        let Some(after) = self.arrival.again else { return Ok(None) };
        tokio::time::sleep_until(self.due + after).await;
        self.submit().await.map(Some).context("the repeated submission")
    }

    /// Submits the cart and does what this customer does then.
    async fn accepted(&self) -> anyhow::Result<(SagaId, End, After)> {
        let tally = &self.load.tally;
        let saga = self.submit().await?;
        tally.accepted.one_more();
        tally.accepting.add(self.due.elapsed());
        let end = match &self.arrival.fate {
            Fate::Leaves => End::Left,
            Fate::Cancels(thinks) => self.cancel(saga, self.due + *thinks).await?,
            Fate::Pays(thinks) | Fate::Refunds(thinks, _) | Fate::Ships { thinks, .. } => {
                self.pay(saga, self.due + *thinks).await?
            }
        };
        let mut after = After::default();
        if end == End::Completed {
            match &self.arrival.fate {
                Fate::Refunds(_, parts) => after.refunds = self.refund(parts).await?,
                Fate::Ships { parts, regrets, .. } => {
                    after.parcels = self.ship(parts).await?;
                    after.regret = if *regrets { Some(self.regret().await?) } else { None };
                }
                Fate::Leaves | Fate::Cancels(_) | Fate::Pays(_) => {}
            }
        }
        Ok((saga, end, after))
    }

    /// Pays, and waits for what comes of it. A provider is paid as soon as the saga asks it, so that is when it is due.
    async fn pay(&self, saga: SagaId, due: Instant) -> anyhow::Result<End> {
        let by_signal = self.load.site.payment(self.arrival.flash) == Payment::Signal;
        let due = if by_signal { due } else { self.due };
        if by_signal {
            tokio::time::sleep_until(due).await;
            self.signal(saga).await?;
        }
        let end = self.load.follow(saga).await?.end();
        if end == End::Completed {
            self.load.tally.paying.add(due.elapsed());
        }
        Ok(end)
    }

    async fn signal(&self, saga: SagaId) -> anyhow::Result<()> {
        let amount = self.arrival.cart.total_minor(self.load.plan.catalogue());
        let receipt = json!({ "receipt": format!("R-{}", self.order), "amount_minor": amount });
        let receipt = RawValue::from_string(receipt.to_string())?;
        let coordinator = &self.load.site.coordinator;
        let signal = || coordinator.signal::<Saga>(saga, "payment", Some(self.order), &receipt);
        keep_at(self.load.until(), || async { unless_ended(signal().await) }).await
    }

    async fn cancel(&self, saga: SagaId, due: Instant) -> anyhow::Result<End> {
        tokio::time::sleep_until(due).await;
        let coordinator = &self.load.site.coordinator;
        let cancel = || coordinator.cancel::<Saga>(saga, Some("the customer changed their mind"));
        keep_at(self.load.until(), || async { unless_ended(cancel().await) }).await?;
        Ok(self.load.follow(saga).await?.end())
    }
}

/// A saga that has ended before takes no signal and no cancellation, and need not: its end says the rest.
fn unless_ended<T>(answer: Result<T, ClientError>) -> Result<(), ClientError> {
    match answer {
        Ok(_) => Ok(()),
        Err(ClientError::Refused { status, .. }) if status.as_u16() == 409 => Ok(()),
        Err(error) => Err(error),
    }
}
