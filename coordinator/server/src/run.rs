//! The run loop: one task that owns the [`Coordinator`] value and everything that happens to it.
//!
//! It takes whatever has arrived, decides, writes all of it in one transaction, and performs what the
//! durable state asks for. While one batch is being written the next one gathers, so the writing itself
//! sets the size of a batch and an idle coordinator waits for nothing. The invariant: no call is sent and
//! no caller is told anything that is not durable.

mod claim;
mod tell;

pub(crate) use tell::answer_of;

use crate::{clock::now, dispatch::Dispatcher, metrics::Metrics, registry::Registry};
use amends_saga::{
    Answer, CallKey, Coordinator, Input, Name, Rejected, Saga, SagaId, Start, Timestamp,
    coordinator::{Admission, Append, Effect, Fingerprint, Limits, NotTaken, Written},
};
use amends_store::{Error, Owner, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Something asked of the run loop.
pub(crate) enum Command {
    /// Start a saga; `ended` is told its end, if it comes while somebody listens.
    Start {
        start: Box<Start>,
        fingerprint: Fingerprint,
        reply: oneshot::Sender<Started>,
        ended: Option<oneshot::Sender<Arc<Saga>>>,
    },
    /// A call's answer.
    Answer { saga: SagaId, key: CallKey, answer: Answer },
    /// Cancel, a signal, or a verb about a stuck step. The reply comes when what follows is durable.
    Input { saga: SagaId, input: Input, reply: Reply },
    /// The durable state of a live saga, and optionally word of its end.
    Get { saga: SagaId, reply: oneshot::Sender<Option<Arc<Saga>>>, ended: Option<oneshot::Sender<Arc<Saga>>> },
    /// Turn a completed saga round. The reply comes when what follows is durable.
    Revert { saga: SagaId, reason: String, reply: Reply },
    /// Word each time the saga's journal grows, until it ends.
    Follow { saga: SagaId, grown: mpsc::Sender<()> },
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Started {
    /// Durable and new.
    New,
    /// The same start was made before; this is its saga.
    Repeat(SagaId),
    /// The key belongs to another start.
    KeyReused(SagaId),
    /// As many sagas are live as the limits allow.
    Full,
    /// So much waits for this participant that one more would only wait as well.
    Busy(Name),
    /// The store could not take it; nothing was started, or a repeat with the same key finds it.
    Unavailable,
}

/// Why an input was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No live saga has this id here.
    NotHeld,
    /// The saga rejects it.
    Rejected(Rejected),
    /// The store could not take it.
    Unavailable,
}

/// How the loop keeps house.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How long a membership lasts without a heartbeat.
    pub lease: Duration,
    /// Between two looks for sagas whose owner is gone.
    pub claim_every: Duration,
    /// Sagas claimed at a time.
    pub claim_max: usize,
    /// How long calls in flight may take to end after the stop.
    pub drain: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            lease: Duration::from_secs(15),
            claim_every: Duration::from_secs(2),
            claim_max: 256,
            drain: Duration::from_secs(5),
        }
    }
}

/// The most commands taken before a batch is written.
const COMMANDS_AT_ONCE: usize = 2048;

/// Between two times that the gates are shown to others.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// How soon sagas are read again after a batch whose outcome is not known.
const DOUBT: Duration = Duration::from_millis(100);

type Writing = Pin<Box<dyn Future<Output = (Result<Vec<Written>, Error>, Duration)> + Send>>;

/// Who waits to hear what became of a verb.
type Reply = oneshot::Sender<Result<(), Refusal>>;

/// A verb on its way to a saga, and who waits to hear of it.
type Wish = (Input, Reply);

/// A completed saga to be turned round, with why, and who waits to hear of it.
type Reversal = (SagaId, String, Reply);

/// The loop's own state.
pub(crate) struct Loop {
    pub(crate) coordinator: Coordinator,
    store: Arc<dyn Store>,
    owner: Owner,
    registry: Arc<Registry>,
    dispatcher: Dispatcher,
    metrics: Arc<Metrics>,
    limits: Limits,
    timing: Timing,
    /// Starts whose durability somebody waits for.
    starts: BTreeMap<SagaId, Vec<oneshot::Sender<Started>>>,
    /// Inputs whose durability somebody waits for.
    inputs: BTreeMap<SagaId, Vec<Reply>>,
    ends: BTreeMap<SagaId, Vec<oneshot::Sender<Arc<Saga>>>>,
    followers: BTreeMap<SagaId, Vec<mpsc::Sender<()>>>,
    /// What is meant for sagas that nobody holds, until those are taken back.
    wanted: BTreeMap<SagaId, Vec<Wish>>,
    /// The last of them that was taken back; those behind it are next.
    wanted_last: SagaId,
    reverts: Vec<Reversal>,
    /// Sagas to be read again, because a batch's outcome is not known or their sleep is over.
    doubtful: BTreeSet<SagaId>,
    /// When to read them.
    again_at: tokio::time::Instant,
    /// When to look next for what has no owner.
    claim_at: tokio::time::Instant,
    /// Whether the last claim may have taken effect without our knowing.
    claim_in_doubt: bool,
    in_flight: usize,
    stopping: bool,
    /// Told when the outbox may have something new.
    outbox: Arc<Notify>,
}

impl Loop {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        owner: Owner,
        registry: Arc<Registry>,
        dispatcher: Dispatcher,
        metrics: Arc<Metrics>,
        limits: Limits,
        timing: Timing,
    ) -> Loop {
        Loop {
            coordinator: Coordinator::new(limits),
            store,
            owner,
            registry,
            dispatcher,
            metrics,
            limits,
            timing,
            starts: BTreeMap::new(),
            inputs: BTreeMap::new(),
            ends: BTreeMap::new(),
            followers: BTreeMap::new(),
            wanted: BTreeMap::new(),
            wanted_last: SagaId::nil(),
            reverts: Vec::new(),
            doubtful: BTreeSet::new(),
            again_at: tokio::time::Instant::now(),
            claim_at: tokio::time::Instant::now(),
            claim_in_doubt: false,
            in_flight: 0,
            stopping: false,
            outbox: Arc::default(),
        }
    }

    /// Tells `outbox` whenever there may be something new to deliver.
    pub(crate) fn telling(self, outbox: Arc<Notify>) -> Loop {
        Loop { outbox, ..self }
    }

    /// Runs until `stop` is cancelled and what was in flight has ended or run out of its time.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, stop: CancellationToken) {
        let mut taken = Vec::with_capacity(COMMANDS_AT_ONCE);
        let mut writing: Option<Writing> = None;
        let mut heartbeat = tokio::time::interval(self.timing.lease / 3);
        let mut show = tokio::time::interval(SHOW_EVERY);
        show.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut drained_by: Option<tokio::time::Instant> = None;
        loop {
            self.take_what_has_arrived(&mut commands);
            if writing.is_none() {
                self.take_what_is_wanted().await;
                // Between two batches, and not only when there is none: a busy coordinator takes over as well.
                if !self.stopping && self.claim_at <= tokio::time::Instant::now() {
                    let pause = if self.claim().await { Duration::ZERO } else { self.timing.claim_every };
                    self.claim_at = tokio::time::Instant::now() + pause;
                }
                writing = self.coordinator.take_batch().map(|batch| self.write(batch));
            }
            if self.stopping && writing.is_none() && self.in_flight == 0 {
                break;
            }
            let wake = self.sleep_until_wake();
            tokio::select! {
                biased;
                (outcome, took) = async { writing.as_mut().expect("guarded").await }, if writing.is_some() => {
                    writing = None;
                    self.written(outcome, took);
                }
                // What is due comes before what has arrived, so that no load holds up a timer or the lease.
                _ = heartbeat.tick() => self.heartbeat(),
                _ = show.tick() => self.show_gates(),
                () = wake => {
                    let effects = self.coordinator.tick(now());
                    self.perform(effects);
                }
                count = commands.recv_many(&mut taken, COMMANDS_AT_ONCE) => {
                    if count == 0 {
                        self.stopping = true;
                        if writing.is_none() { break; }
                    }
                    let at = now();
                    for command in taken.drain(..) {
                        self.take(command, at);
                    }
                }
                () = tokio::time::sleep_until(self.wishes_at()), if self.has_wishes() && writing.is_none() => {}
                () = tokio::time::sleep_until(self.claim_at), if !self.stopping && writing.is_none() => {}
                () = stop.cancelled(), if !self.stopping => {
                    self.stopping = true;
                    drained_by = Some(tokio::time::Instant::now() + self.timing.drain);
                }
                () = async { tokio::time::sleep_until(drained_by.expect("guarded")).await }, if drained_by.is_some() => {
                    drained_by = None;
                    self.in_flight = 0;
                }
            }
        }
        self.leave().await;
    }

    fn write(&self, batch: Vec<Append>) -> Writing {
        self.metrics.batch(batch.len());
        let (store, owner) = (self.store.clone(), self.owner.clone());
        Box::pin(async move {
            let begun = Instant::now();
            let outcome = store.commit(&owner, &batch).await;
            (outcome, begun.elapsed())
        })
    }

    fn written(&mut self, outcome: Result<Vec<Written>, Error>, took: Duration) {
        self.metrics.commit(took, outcome.is_ok());
        match outcome {
            Ok(outcomes) => {
                let effects = self.coordinator.written(&outcomes, now());
                self.perform(effects);
            }
            Err(error) => {
                tracing::error!(%error, "a batch could not be written; its sagas are read again");
                let ids = self.coordinator.write_failed();
                for id in &ids {
                    self.tell_unavailable(*id);
                }
                self.doubtful.extend(ids);
                self.again_at = tokio::time::Instant::now() + DOUBT;
            }
        }
    }

    /// Takes what has arrived, every turn: a store that answers at once has always something to say first, and
    /// while much is claimed nobody else would be heard.
    fn take_what_has_arrived(&mut self, commands: &mut mpsc::Receiver<Command>) {
        let at = now();
        for _ in 0..COMMANDS_AT_ONCE {
            let Ok(command) = commands.try_recv() else { return };
            self.take(command, at);
        }
    }

    /// Takes what the store has and this coordinator wants. Each kind has its turn, so that none keeps another
    /// waiting, nor the batch that follows.
    async fn take_what_is_wanted(&mut self) {
        if self.stopping || self.claim_in_doubt {
            return;
        }
        if !self.wanted.is_empty() {
            self.take_back().await;
        }
        if !self.doubtful.is_empty() && self.again_at <= tokio::time::Instant::now() {
            self.take_again().await;
        }
        if !self.reverts.is_empty() {
            self.revert().await;
        }
    }

    /// Whether something is wanted that can be taken from the store now.
    fn has_wishes(&self) -> bool {
        let wanted = !self.wanted.is_empty() || !self.doubtful.is_empty() || !self.reverts.is_empty();
        wanted && !self.stopping && !self.claim_in_doubt
    }

    /// When to take it.
    fn wishes_at(&self) -> tokio::time::Instant {
        let at_once = !self.wanted.is_empty() || !self.reverts.is_empty();
        if at_once { tokio::time::Instant::now() } else { self.again_at }
    }

    fn tell_unavailable(&mut self, id: SagaId) {
        for reply in self.starts.remove(&id).unwrap_or_default() {
            let _ = reply.send(Started::Unavailable);
        }
        for reply in self.inputs.remove(&id).unwrap_or_default() {
            let _ = reply.send(Err(Refusal::Unavailable));
        }
    }

    fn take(&mut self, command: Command, at: Timestamp) {
        match command {
            Command::Start { start, fingerprint, reply, ended } => {
                self.start(*start, fingerprint, reply, ended, at);
            }
            Command::Answer { saga, key, answer } => {
                self.in_flight = self.in_flight.saturating_sub(1);
                // An answer for a saga that has ended or moved is stale: the journal has decided.
                let _ = self.coordinator.input(saga, Input::Answer { key, answer }, at);
            }
            Command::Input { saga, input, reply } => self.input(saga, input, reply, at),
            Command::Get { saga, reply, ended } => {
                // One that sleeps may have been taken by another coordinator; the store knows.
                let shown = self.coordinator.is_durable(saga) && !self.coordinator.is_asleep(saga);
                let held = self.coordinator.get(saga).filter(|_| shown);
                let held = held.map(|saga| Arc::new(saga.clone()));
                if self.coordinator.get(saga).is_some() {
                    self.ends.entry(saga).or_default().extend(ended);
                }
                let _ = reply.send(held);
            }
            Command::Revert { saga, reason, reply } => self.reverts.push((saga, reason, reply)),
            Command::Follow { saga, grown } => {
                if self.coordinator.get(saga).is_some() {
                    self.followers.entry(saga).or_default().push(grown);
                }
            }
        }
    }

    fn start(
        &mut self,
        start: Start,
        fingerprint: Fingerprint,
        reply: oneshot::Sender<Started>,
        ended: Option<oneshot::Sender<Arc<Saga>>>,
        at: Timestamp,
    ) {
        let new = start.id;
        let (id, told) = match self.coordinator.start(start, fingerprint, at) {
            Admission::New => {
                self.metrics.started();
                (new, None)
            }
            Admission::Repeat { id, durable: false } => (id, None),
            Admission::Repeat { id, durable: true } => (id, Some(Started::Repeat(id))),
            Admission::KeyReused { id } => (id, Some(Started::KeyReused(id))),
            Admission::Full => (new, Some(Started::Full)),
            Admission::Busy { participant } => (new, Some(Started::Busy(participant))),
        };
        if self.coordinator.get(id).is_some() {
            self.ends.entry(id).or_default().extend(ended);
        }
        match told {
            Some(told) => drop(reply.send(told)),
            None => self.starts.entry(id).or_default().push(reply),
        }
    }

    fn input(&mut self, saga: SagaId, input: Input, reply: Reply, at: Timestamp) {
        if self.coordinator.get(saga).is_none() && !self.stopping {
            self.wanted.entry(saga).or_default().push((input, reply));
            return;
        }
        match self.coordinator.input(saga, input, at) {
            Ok(()) if self.coordinator.is_durable(saga) => drop(reply.send(Ok(()))),
            Ok(()) => self.inputs.entry(saga).or_default().push(reply),
            Err(NotTaken::NotHeld) => drop(reply.send(Err(Refusal::NotHeld))),
            Err(NotTaken::Rejected(why)) => drop(reply.send(Err(Refusal::Rejected(why)))),
        }
    }

    /// Performs what is durable.
    fn perform(&mut self, effects: Vec<Effect>) {
        let mut calls = Vec::new();
        for effect in effects {
            match effect {
                Effect::Accepted(id) => {
                    let mut waiting = self.starts.remove(&id).unwrap_or_default().into_iter();
                    if let Some(first) = waiting.next() {
                        let _ = first.send(Started::New);
                    }
                    for repeat in waiting {
                        let _ = repeat.send(Started::Repeat(id));
                    }
                }
                Effect::KeyTaken { id, by, same } => {
                    let told = if same { Started::Repeat(by) } else { Started::KeyReused(by) };
                    for reply in self.starts.remove(&id).unwrap_or_default() {
                        let _ = reply.send(told.clone());
                    }
                    self.ends.remove(&id);
                }
                Effect::Send { saga, epoch, call } if !self.stopping => calls.push((saga, epoch, call)),
                // After the stop nothing new is sent: the next owner derives the same call from `due`.
                Effect::Send { .. } => {}
                Effect::Advanced(id) => self.advanced(id),
                Effect::Repairs(rows) => self.repairs(&rows),
                Effect::Shelved(id) | Effect::Asleep(id) => self.let_go(id),
                Effect::Wake(id) => drop(self.doubtful.insert(id)),
                Effect::Ended(ended) => self.ended(ended.0),
                Effect::Lost(id) => self.lost(id),
            }
        }
        self.in_flight += calls.len();
        self.dispatcher.dispatch(calls);
    }

    fn advanced(&mut self, id: SagaId) {
        if !self.inputs.is_empty() && self.coordinator.is_durable(id) {
            for reply in self.inputs.remove(&id).unwrap_or_default() {
                let _ = reply.send(Ok(()));
            }
        }
        if let Some(followers) = self.followers.get_mut(&id) {
            followers
                .retain(|grown| !matches!(grown.try_send(()), Err(mpsc::error::TrySendError::Closed(()))));
        }
    }

    fn ended(&mut self, saga: Saga) {
        self.metrics.ended(&saga);
        self.dispatcher.tracer().ended(&saga);
        let id = saga.id;
        self.tell_parent(&saga);
        self.followers.remove(&id);
        for reply in self.inputs.remove(&id).unwrap_or_default() {
            let _ = reply.send(Ok(()));
        }
        if let Some(waiting) = self.ends.remove(&id) {
            let saga = Arc::new(saga);
            for ended in waiting {
                let _ = ended.send(saga.clone());
            }
        }
    }

    /// A saga is put back, written whole: what was asked of it is durable. Whoever waits for its end still
    /// does, since it may come back and bring it.
    fn let_go(&mut self, id: SagaId) {
        self.followers.remove(&id);
        for reply in self.inputs.remove(&id).unwrap_or_default() {
            let _ = reply.send(Ok(()));
        }
    }

    fn lost(&mut self, id: SagaId) {
        tracing::warn!(saga.id = %id, "another coordinator drives this saga now");
        self.metrics.fenced();
        self.tell_unavailable(id);
        self.ends.remove(&id);
        self.followers.remove(&id);
    }

    fn sleep_until_wake(&self) -> impl Future<Output = ()> + use<> {
        let wait = self.coordinator.next_wake().map(|at| at.since(now()));
        async move {
            match wait {
                Some(wait) => tokio::time::sleep(wait.into()).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Renews the membership. The loop sends it, so a loop that is stuck loses its lease; it does not wait
    /// for it, since the batch being written makes progress only while the loop runs.
    fn heartbeat(&mut self) {
        let ttl_ms = u64::try_from(self.timing.lease.as_millis()).unwrap_or(u64::MAX);
        let (store, owner, registry) = (self.store.clone(), self.owner.clone(), self.registry.clone());
        tokio::spawn(async move {
            if let Err(error) = store.heartbeat(&owner, ttl_ms).await {
                tracing::warn!(%error, "the heartbeat did not reach the store");
            } else if let Err(error) = registry.refresh(store.as_ref()).await {
                tracing::warn!(%error, "what others have registered could not be read");
            }
        });
        self.metrics.live(&self.coordinator, self.in_flight);
        self.ends.retain(|_, waiting| {
            waiting.retain(|ended| !ended.is_closed());
            !waiting.is_empty()
        });
    }

    /// Gives every saga back, so that the next owner need not wait for the lease to pass.
    async fn leave(self) {
        let released = tokio::time::timeout(Duration::from_secs(5), self.store.release(&self.owner)).await;
        match released {
            Ok(Ok(())) => tracing::info!(sagas = self.coordinator.len(), "released every saga"),
            Ok(Err(error)) => tracing::warn!(%error, "could not release the sagas; their lease must pass"),
            Err(_) => tracing::warn!("could not release the sagas in time; their lease must pass"),
        }
    }
}
