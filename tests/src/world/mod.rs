//! A simulated world: coordinators, a store, participants, a network and callers in virtual time.
//!
//! One heap of events, one stream of randomness, no thread and no clock: a seed gives the same run for
//! ever. The coordinators are the production [`amends_saga::Coordinator`], the store is the production
//! reference store, answers are read by the production table; the participants and the network are ours
//! to break. After a time of faults everything heals, and then every saga must come to its end within a
//! bound (I3). [`check`] watches the invariants from outside.

pub mod bugs;
pub mod campaign;
pub mod check;
mod client;
pub mod count;
pub mod mix;
mod network;
mod node;
mod opener;
mod operator;
pub mod participant;
mod reach;
pub mod shop;
mod store;

use crate::random::Random;
use amends_saga::{Timestamp, hash::Mix as Digest, planted};
use check::Checker;
use client::Client;
use count::{Counts, Situation};
use mix::{FAULTS_MS, Mix};
use node::Node;
use participant::Participants;
use std::{cmp::Reverse, collections::BinaryHeap, fmt};
use store::SharedStore;

/// The virtual time at which every run begins.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// How long after the healing every saga must have ended or be parked.
const LIVENESS_MS: i64 = 60 * 60_000;

/// Events in one run, at most; more means that something turns in a circle.
const EVENTS_MAX: u64 = 400_000;

/// A bug planted in the core or in the world around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Planted {
    /// In the production core.
    Core(planted::Bug),
    /// In the simulated world.
    World(bugs::Bug),
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Decides everything.
    pub seed: u64,
    /// How many carts are checked out.
    pub sagas: usize,
    /// The bug, if one is planted.
    pub bug: Option<Planted>,
    /// Whether the log's text is kept.
    pub log: bool,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// A hash over everything that happened.
    pub digest: u64,
    /// The situations reached.
    pub counts: Counts,
    /// The broken invariants.
    pub violations: Vec<String>,
    /// Events handled.
    pub events: u64,
    /// Virtual time passed.
    pub virtual_ms: i64,
    /// What happened, if it was to be kept.
    pub log: Vec<String>,
}

/// Something that happens at a time.
#[derive(Debug)]
enum Event {
    Client(client::Event),
    Node {
        node: usize,
        incarnation: u32,
        event: node::Event,
    },
    Store(store::Event),
    Network(network::Event),
    Opener(opener::Event),
    /// Somebody looks at the repair queue.
    Operator,
    Fault(Fault),
}

/// What the world does to its inhabitants.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Crash(usize),
    Restart(usize),
    Pause {
        node: usize,
        ms: i64,
    },
    Outage {
        participant: usize,
        ms: i64,
    },
    Heal,
    /// Looks whether everything has settled.
    Look,
}

struct Scheduled {
    at: i64,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The whole of it.
struct World {
    now: i64,
    order: u64,
    events: u64,
    heap: BinaryHeap<Reverse<Scheduled>>,
    random: Random,
    mix: Mix,
    healed: bool,
    /// When everything was healed.
    healed_at: Option<i64>,
    settled: bool,
    store: SharedStore,
    nodes: Vec<Node>,
    participants: Participants,
    down_until: [i64; 3],
    clients: Vec<Client>,
    checker: Checker,
    counts: Counts,
    bug: Option<bugs::Bug>,
    digest: Digest,
    log: Option<Vec<String>>,
    next_send: u64,
    /// What operators have asked for so far.
    asks: u64,
}

/// Runs one seed.
pub fn run(settings: Settings) -> Report {
    planted::plant(match settings.bug {
        Some(Planted::Core(bug)) => Some(bug),
        Some(Planted::World(_)) | None => None,
    });
    let mut world = World::new(settings);
    world.schedule_faults();
    world.start_clients(settings.sagas);
    world.look_after_queue();
    world.live();
    planted::plant(None);
    Report {
        seed: settings.seed,
        digest: world.digest.finish(),
        counts: world.counts,
        violations: world.checker.violations,
        events: world.events,
        virtual_ms: world.now - EPOCH_MS,
        log: world.log.unwrap_or_default(),
    }
}

impl World {
    fn new(settings: Settings) -> World {
        let mut random = Random::new(settings.seed);
        let mix = Mix::draw(&mut random, shop::PLANS.len());
        let bug = match settings.bug {
            Some(Planted::World(bug)) => Some(bug),
            Some(Planted::Core(_)) | None => None,
        };
        let mut world = World {
            now: EPOCH_MS,
            order: 0,
            events: 0,
            heap: BinaryHeap::new(),
            healed: false,
            healed_at: None,
            settled: false,
            store: SharedStore::new(bug),
            nodes: Vec::new(),
            participants: Participants::new(mix.skus, mix.stock, bug),
            down_until: [0; 3],
            clients: Vec::new(),
            checker: Checker::default(),
            counts: Counts::default(),
            bug,
            digest: Digest::new(settings.seed),
            log: settings.log.then(Vec::new),
            next_send: 0,
            asks: 0,
            random,
            mix,
        };
        world.note(|w| format!("seed {}: {:?}", settings.seed, w.mix));
        for node in 0..world.mix.nodes {
            world.nodes.push(Node::new(node, &world.mix, world.now));
            world.boot(node);
        }
        world
    }

    fn schedule_faults(&mut self) {
        for _ in 0..self.mix.crashes {
            let (node, at) = (self.any_node(), self.within_faults());
            self.at(at, Event::Fault(Fault::Crash(node)));
        }
        for _ in 0..self.mix.pauses {
            let (node, at) = (self.any_node(), self.within_faults());
            let ms = self.random.within(100, 3 * node::LEASE_MS);
            self.at(at, Event::Fault(Fault::Pause { node, ms }));
        }
        for _ in 0..self.mix.outages {
            let (participant, at) = (self.random.below(3) as usize, self.within_faults());
            let ms = self.random.within(500, 30_000);
            self.at(at, Event::Fault(Fault::Outage { participant, ms }));
        }
        self.at(FAULTS_MS, Event::Fault(Fault::Heal));
    }

    fn any_node(&mut self) -> usize {
        self.random.below(self.mix.nodes as u64) as usize
    }

    fn within_faults(&mut self) -> i64 {
        self.random.within(0, FAULTS_MS - 1)
    }

    /// Lets everything happen until nothing is left to happen.
    fn live(&mut self) {
        while let Some(Reverse(next)) = self.heap.pop() {
            self.now = next.at;
            self.events += 1;
            if self.events > EVENTS_MAX {
                return self.checker.violated("I3: the world turns in a circle");
            }
            self.handle(next.event);
            if !self.checker.violations.is_empty() {
                self.note(|w| format!("VIOLATED {:?}", w.checker.violations));
                return;
            }
        }
        for node in 0..self.nodes.len() {
            self.count_gates(node);
        }
        let (shop, pieces, store) = (&self.participants, self.mix.stock, &self.store);
        self.checker.at_rest(shop, pieces, |id| store.load(id).map(|stored| (stored.head, stored.records)));
        self.checker.queue_at_rest(&self.store.items(), |id| store.load(id).map(|stored| stored.records));
        for node in self.nodes.iter().filter(|node| node.is_up) {
            let idle = |saga: &&amends_saga::Saga| saga.is_shelved() && node.coordinator.is_durable(saga.id);
            if let Some(saga) = node.coordinator.sagas().find(idle) {
                self.checker.violated(format!("I25: {} waits for an operator only and is held", saga.id));
            }
        }
        if self.checker.violations.is_empty() {
            self.count_ends();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Client(event) => self.client(event),
            Event::Node { node, incarnation, event } => self.node(node, incarnation, event),
            Event::Store(event) => self.store(event),
            Event::Network(event) => self.network(event),
            Event::Opener(event) => self.opener(event),
            Event::Operator => self.operate(),
            Event::Fault(fault) => self.fault(fault),
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.note(|_| format!("{fault:?}"));
        match fault {
            Fault::Crash(node) => self.crash(node),
            Fault::Restart(node) => self.restart(node),
            Fault::Pause { node, ms } => self.pause(node, ms),
            Fault::Outage { participant, ms } => self.down_until[participant] = self.now + ms,
            Fault::Heal => {
                self.healed = true;
                self.healed_at = Some(self.now);
                self.mix.heal();
                self.down_until = [0; 3];
                for node in 0..self.nodes.len() {
                    self.nodes[node].paused_until = 0;
                    self.widen(node);
                    self.restart(node);
                }
                self.at(1000, Event::Fault(Fault::Look));
            }
            Fault::Look => self.look(),
        }
    }

    /// Ends the run once all is settled, and complains when that takes too long.
    fn look(&mut self) {
        // Where people look after the queue nothing stays in it.
        let live = if self.mix.operators > 0 { self.store.live() } else { self.store.unsettled() };
        if live.is_empty() && self.clients.iter().all(Client::is_content) {
            self.settled = true;
            return;
        }
        if self.now - EPOCH_MS > FAULTS_MS + LIVENESS_MS {
            let waiting = self.clients.iter().filter(|client| !client.is_content()).count();
            self.checker.violated(format!("I3: {live:?} have not ended, {waiting} callers wait"));
            return;
        }
        self.at(1000, Event::Fault(Fault::Look));
    }

    /// Schedules something `after_ms` from now.
    fn at(&mut self, after_ms: i64, event: Event) {
        self.order += 1;
        self.heap.push(Reverse(Scheduled { at: self.now + after_ms, order: self.order, event }));
    }

    fn time(&self) -> Timestamp {
        Timestamp(self.now)
    }

    fn count(&mut self, situation: Situation) {
        self.counts.note(situation);
    }

    /// Adds numbers that identify what has happened to the digest.
    fn stir(&mut self, numbers: &[u64]) {
        self.digest = numbers.iter().fold(self.digest.add(self.now as u64), |digest, n| digest.add(*n));
    }

    /// Writes a line to the log, if one is kept.
    fn note(&mut self, line: impl FnOnce(&World) -> String) {
        let Some(mut log) = self.log.take() else { return };
        let at = self.now - EPOCH_MS;
        log.push(format!("{:>8}.{:03}  {}", at / 1000, at % 1000, line(self)));
        self.log = Some(log);
    }

    fn count_ends(&mut self) {
        for id in self.checker.sagas.keys().copied().collect::<Vec<_>>() {
            let stored = self.store.load(id).expect("a saga that was committed is in the store");
            let facts = self.checker.sagas[&id].summary(&stored.records);
            facts.into_iter().for_each(|situation| self.counts.note(situation));
        }
    }
}

impl fmt::Display for Settings {
    /// The command that repeats the run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, sagas) = (self.seed, self.sagas);
        write!(
            f,
            "AMENDS_SIM_SEED={seed} AMENDS_SIM_SAGAS={sagas} cargo test -p amends-tests --test simulation -- --nocapture"
        )
    }
}
