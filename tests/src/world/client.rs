//! Callers: they start sagas and insist, cancel some, pay most, and some use another's key.

use super::{
    Event as WorldEvent, World,
    count::Situation,
    mix::FAULTS_MS,
    node,
    opener::{self, Opening},
    shop,
};
use amends_saga::{Definition, Input, Json, Millis, Name, SagaId, coordinator::Fingerprint, hash::Mix};
use shop::{Cart, Line, PLANS};
use std::sync::Arc;

/// What a caller does or hears.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// It asks for its saga to be started, for the first time or again.
    Ask(usize),
    /// It hears that its saga was accepted.
    Accepted { client: usize, id: SagaId },
    /// It hears that its key belongs to another start.
    Refused(usize),
    /// It cancels.
    Cancel(usize),
    /// It sends back what it got.
    Revert { client: usize, tries: u32 },
    /// A payment arrives for it.
    Pay { client: usize, amount: u64, tries: u32 },
}

/// A caller.
#[derive(Debug)]
pub(super) struct Client {
    definition: Arc<Definition>,
    cart: Cart,
    key: String,
    told: Told,
    cancels: bool,
    cancelled: bool,
    reverts: bool,
    /// What it does with its saga, if that is an open one.
    pub(super) opening: Opening,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Accepted(SagaId),
    Refused,
}

impl Client {
    /// Whether it has heard what became of its start.
    pub(super) fn is_content(&self) -> bool {
        self.told != Told::Nothing
    }

    /// What it sends.
    pub(super) fn request(&self) -> (Arc<Definition>, Json, String, Fingerprint) {
        (self.definition.clone(), self.cart.to_json(), self.key.clone(), self.fingerprint())
    }

    /// How long its open saga has to be decided.
    pub(super) fn timeout(&self) -> Option<Millis> {
        self.definition.is_open().then_some(self.opening.timeout)
    }

    /// Its saga, once it knows of it.
    pub(super) fn saga(&self) -> Option<SagaId> {
        match self.told {
            Told::Accepted(id) => Some(id),
            Told::Nothing | Told::Refused => None,
        }
    }

    /// What its saga is about.
    pub(super) fn cart(&self) -> &Cart {
        &self.cart
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut bytes = [0; 32];
        let mix = Mix::new(self.cart.order).bytes(self.definition.hash.as_bytes());
        bytes[..8].copy_from_slice(&mix.finish().to_le_bytes());
        bytes
    }
}

impl World {
    /// Makes the callers and schedules their first words.
    pub(super) fn start_clients(&mut self, sagas: usize) {
        for number in 0..sagas {
            let key = format!("key-{number}");
            self.add_client(key.clone());
            if self.random.chance(self.mix.rivals) {
                self.add_client(key);
            }
        }
    }

    fn add_client(&mut self, key: String) {
        let client = self.clients.len();
        let plan = *self.random.pick(&self.mix.definitions);
        let lines = (0..self.random.within(1, 4))
            .map(|_| Line {
                sku: self.random.below(self.mix.skus as u64) as usize,
                pieces: self.random.within(1, 4),
            })
            .collect();
        let cart = Cart { order: client as u64, lines };
        let cancels = self.random.chance(self.mix.cancels);
        let reverts = self.random.chance(self.mix.reverts);
        let definition = PLANS[plan].definition.clone();
        let opening = if definition.is_open() { Opening::draw(&mut self.random) } else { Opening::default() };
        let (told, cancelled) = (Told::Nothing, false);
        self.clients.push(Client { definition, cart, key, told, cancels, cancelled, reverts, opening });
        let at = self.random.within(0, FAULTS_MS / 2);
        self.at(at, WorldEvent::Client(Event::Ask(client)));
    }

    /// Tells a caller that its start is durable.
    pub(super) fn acknowledge(&mut self, _node: usize, client: usize, id: SagaId) {
        if !self.random.chance(self.mix.loss) {
            let ms = self.random.within(1, 100);
            self.at(ms, WorldEvent::Client(Event::Accepted { client, id }));
        }
    }

    /// Tells a caller that its key is taken.
    pub(super) fn refuse(&mut self, client: usize) {
        if !self.random.chance(self.mix.loss) {
            let ms = self.random.within(1, 100);
            self.at(ms, WorldEvent::Client(Event::Refused(client)));
        }
    }

    pub(super) fn client(&mut self, event: Event) {
        match event {
            Event::Ask(client) => self.ask(client),
            Event::Accepted { client, id } => self.accepted(client, id),
            Event::Refused(client) => self.refused(client),
            Event::Cancel(client) => self.cancel(client),
            Event::Revert { client, tries } => self.send_back(client, tries),
            Event::Pay { client, amount, tries } => self.pay(client, amount, tries),
        }
    }

    fn ask(&mut self, client: usize) {
        if self.clients[client].is_content() {
            return;
        }
        let node = self.any_node();
        let incarnation = self.nodes[node].incarnation;
        self.stir(&[1, client as u64, node as u64]);
        self.note(|_| format!("caller {client} asks node {node}"));
        self.at(0, WorldEvent::Node { node, incarnation, event: node::Event::Start { client } });
        let again = self.random.within(1000, 6000);
        self.at(again, WorldEvent::Client(Event::Ask(client)));
    }

    fn accepted(&mut self, client: usize, id: SagaId) {
        match self.clients[client].told {
            Told::Nothing => self.clients[client].told = Told::Accepted(id),
            Told::Accepted(before) if before == id => return,
            told => {
                return self.checker.violated(format!("I2: caller {client} was told {told:?}, then of {id}"));
            }
        }
        self.count(Situation::Acknowledged);
        let (key, fingerprint) = (self.clients[client].key.clone(), self.clients[client].fingerprint());
        self.checker.acknowledged.push((id, key, fingerprint));
        if self.clients[client].cancels {
            let at = self.random.within(0, 20_000) / self.random.within(1, 20);
            self.at(at, WorldEvent::Client(Event::Cancel(client)));
        }
        if self.clients[client].reverts {
            let at = self.random.within(2_000, 60_000);
            self.at(at, WorldEvent::Client(Event::Revert { client, tries: 10 }));
        }
        if self.clients[client].definition.is_open() {
            let at = self.random.within(1, 500);
            self.at(at, WorldEvent::Opener(opener::Event::Go(client)));
        }
        if self.clients[client].definition.awaits("payment") {
            let late = self.random.chance(self.mix.late_payments);
            let at = if late { self.random.within(10_000, 40_000) } else { self.random.within(0, 12_000) };
            self.at(at, WorldEvent::Client(Event::Pay { client, amount: 1, tries: 20 }));
            if self.random.chance(200) {
                let amount = 1 + self.random.below(2);
                let at = self.random.within(0, 20_000);
                self.at(at, WorldEvent::Client(Event::Pay { client, amount, tries: 5 }));
            }
        }
    }

    fn refused(&mut self, client: usize) {
        self.count(Situation::KeyReused);
        let key = &self.clients[client].key;
        let rivals = self.clients.iter().filter(|other| other.key == *key).count();
        match self.clients[client].told {
            Told::Nothing if rivals > 1 => self.clients[client].told = Told::Refused,
            Told::Refused => {}
            told => self.checker.violated(format!("I2: caller {client}, told {told:?}, was then refused")),
        }
    }

    fn cancel(&mut self, client: usize) {
        let Told::Accepted(id) = self.clients[client].told else { return };
        self.clients[client].cancelled = true;
        for node in self.holders(id) {
            let incarnation = self.nodes[node].incarnation;
            self.at(0, WorldEvent::Node { node, incarnation, event: node::Event::Cancel { id } });
        }
        if self.store.load(id).is_some_and(|stored| stored.head.status == amends_saga::Status::Completed) {
            self.count(Situation::CancelLost);
        }
    }

    /// Has its completed saga undone, and asks again until it is.
    fn send_back(&mut self, client: usize, tries: u32) {
        let Some(id) = self.clients[client].saga().filter(|_| !self.settled) else { return };
        let status = self.store.load(id).map(|stored| stored.head.status);
        if status == Some(amends_saga::Status::Completed) {
            let node = self.any_node();
            let incarnation = self.nodes[node].incarnation;
            self.at(0, WorldEvent::Node { node, incarnation, event: node::Event::Revert { id } });
        }
        if tries > 0 {
            let ms = self.random.within(500, 5_000);
            self.at(ms, WorldEvent::Client(Event::Revert { client, tries: tries - 1 }));
        }
    }

    fn pay(&mut self, client: usize, amount: u64, tries: u32) {
        let Told::Accepted(id) = self.clients[client].told else { return };
        let Some(node) = self.reach(id) else {
            if tries > 0 && !self.settled {
                self.at(1000, WorldEvent::Client(Event::Pay { client, amount, tries: tries - 1 }));
            }
            return;
        };
        {
            let name = Name::parse("payment").expect("a name");
            let payload: Json = Arc::new(serde_json::json!({ "amount": amount }));
            let before = self.nodes[node].coordinator.get(id).is_some_and(|s| s.signals.contains_key(&name));
            let taken = self.signal(node, id, Input::Signal { name, id: None, payload });
            self.stir(&[8, client as u64, u64::from(taken)]);
            self.note(|_| format!("a payment of {amount} for {id} at node {node}: taken {taken}"));
            self.count(match (taken, before) {
                (true, false) => Situation::PaymentInTime,
                (true, true) => Situation::PaymentRepeated,
                (false, true) => Situation::PaymentConflict,
                (false, false) => Situation::PaymentTooLate,
            });
        }
    }
}
