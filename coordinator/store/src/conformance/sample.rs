//! Sagas to write: small but real ones, driven by the production core.

use crate::Stored;
use amends_saga::{
    Answer, Audit, CallKey, Coordinator, Definition, Input, Json, Millis, Name, Report, Saga, SagaId, Start,
    Status, Step, StepIx, Timestamp, Verb,
    coordinator::{Admission, Append, Effect, Fingerprint, Limits, Written},
    definition::{CallStep, Kind, Operation, Scope, Target, Template, Undo, UndoCall},
    schedule::{Schedule, UndoSchedule},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Yields the saga's input, whatever the step.
#[derive(Debug)]
struct WholeInput;

impl Template for WholeInput {
    fn render(&self, scope: &Scope<'_>) -> Result<Json, String> {
        Ok(scope.input().clone())
    }
}

/// A definition of three steps, of which the last two can be undone.
pub fn definition(name: &str, version: u32) -> Arc<Definition> {
    let call = |step: &str, participant: &str, operation: &str, undo: Option<&str>, after: &[u16]| Step {
        name: parse(step),
        kind: Kind::Call(CallStep {
            action: operation_of(participant, operation),
            with: Arc::new(WholeInput),
            retry: Schedule::ACTION,
            within: None,
            undo: match undo {
                None => Undo::ReadOnly,
                Some(undo) => Undo::Call(UndoCall {
                    operation: operation_of(participant, undo),
                    with: None,
                    retry: UndoSchedule::DEFAULT,
                    eager: false,
                }),
            },
        }),
        after: after.iter().map(|at| StepIx(*at)).collect(),
        when: None,
        pivot: false,
        fan: None,
        returns: None,
    };
    let steps = vec![
        call("quote", "product", "quote", None, &[]),
        call("reserve", "inventory", "hold", Some("release"), &[0]),
        call("order", "order", "create", Some("cancel"), &[1]),
    ];
    let hash = format!("{name}-{version}-sample");
    let deadline = Some(Millis::from_secs(1200));
    Arc::new(Definition::new(parse(name), version, hash, deadline, steps, None).expect("a sound definition"))
}

fn operation_of(participant: &str, name: &str) -> Operation {
    Operation {
        participant: parse(participant),
        name: parse(name),
        timeout: Millis::from_secs(5),
        status: false,
        barrier: true,
        target: Target::Participant,
    }
}

fn parse(name: &str) -> Name {
    Name::parse(name).expect("a name")
}

/// What a sample saga does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plot {
    /// Every step is done: four appends, `running` until the last.
    Completes,
    /// The last step is refused and the reservation released: five appends.
    Compensates,
    /// The last step is refused and the reservation cannot be released: five appends, then it waits for an
    /// operator. [`Script::repair`] makes it go on.
    Parks,
}

/// One saga on its way, append by append.
#[derive(Debug)]
pub struct Script {
    coordinator: Coordinator,
    id: SagaId,
    definition: Arc<Definition>,
    calls: VecDeque<CallKey>,
    plot: Plot,
    at: Timestamp,
    epoch: Option<u64>,
}

/// What a sample saga starts with.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Its id; also the source of its fingerprint.
    pub id: SagaId,
    /// Its key.
    pub key: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its definition.
    pub definition: Arc<Definition>,
    /// When it starts.
    pub at: Timestamp,
}

impl Beginning {
    /// The `n`th saga, one millisecond after the one before, without key and labels.
    pub fn nth(n: u64) -> Beginning {
        let at = Timestamp(1_763_700_000_000 + i64::try_from(n).expect("a small number"));
        Beginning { id: id(n), key: None, labels: BTreeMap::new(), definition: definition("checkout", 1), at }
    }

    /// With a key.
    #[must_use]
    pub fn key(self, key: impl Into<String>) -> Beginning {
        Beginning { key: Some(key.into()), ..self }
    }

    /// With a label more.
    #[must_use]
    pub fn label(mut self, name: &str, value: impl Into<String>) -> Beginning {
        self.labels.insert(name.to_owned(), value.into());
        self
    }

    /// Of another definition.
    #[must_use]
    pub fn of(self, definition: Arc<Definition>) -> Beginning {
        Beginning { definition, ..self }
    }
}

/// The `n`th id: in the order of the numbers, and with the time of [`Beginning::nth`] in it.
pub fn id(n: u64) -> SagaId {
    let ms = u128::from(1_763_700_000_000 + n);
    let scattered = u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
    SagaId::from_u128(ms << 80 | 7 << 76 | 2 << 62 | scattered)
}

/// An append that leaves its saga asleep until a time.
pub fn asleep(mut append: Append, wake_at: Timestamp) -> Append {
    (append.head.asleep, append.head.wake_at) = (true, Some(wake_at));
    append
}

/// An append of one record after which a saga is of this status and, if live, awake; as its owner makes it
/// that loaded or took it as `stored`.
pub fn moved(stored: &Stored, status: Status) -> Append {
    let mut head = stored.head.clone();
    head.updated_at.0 += 1;
    (head.status, head.asleep) = (status, false);
    let live = crate::is_live(status);
    (head.wake_at, head.ended_at) = match live {
        true => (Some(head.updated_at), None),
        false => (None, Some(head.updated_at)),
    };
    let record = stored.records.last().expect("a saga has begun").clone();
    Append {
        id: stored.id,
        epoch: stored.epoch,
        after_seq: stored.records.len() as u64,
        records: vec![record],
        head,
        repairs: Vec::new(),
    }
}

/// The fingerprint of a sample saga's start.
pub fn fingerprint(id: SagaId) -> Fingerprint {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(id.as_bytes());
    bytes
}

impl Script {
    /// Begins a saga.
    pub fn new(beginning: Beginning, plot: Plot) -> Script {
        let Beginning { id, key, labels, definition, at } = beginning;
        let lines = serde_json::json!([{"sku": "tea-100", "quantity": 2}, {"sku": "pot-7", "quantity": 1}]);
        let input = Json::new(serde_json::json!({ "order": id.to_string(), "lines": lines }));
        let mut coordinator = Coordinator::new(Limits::default());
        let start = Start { key, labels, ..Start::new(id, definition.clone(), input) };
        let admitted = coordinator.start(start, fingerprint(id), at);
        assert_eq!(admitted, Admission::New);
        Script { coordinator, id, definition, calls: VecDeque::new(), plot, at, epoch: None }
    }

    /// The next append, `None` when the saga has nothing more to do. It counts as written.
    pub fn next_append(&mut self) -> Option<Append> {
        self.at.0 += 2;
        if let Some(key) = self.calls.pop_front() {
            let answer = self.answer(&key);
            let input = Input::Answer { key, answer };
            self.coordinator.input(self.id, input, self.at).expect("the saga goes on");
        }
        let mut append = self.coordinator.take_batch()?.pop().expect("a batch has an append");
        for effect in self.coordinator.written(&[Written::Done], self.at) {
            if let Effect::Send { call, .. } = effect {
                self.calls.push_back(call.key);
            }
        }
        append.epoch = self.epoch.unwrap_or(append.epoch);
        Some(append)
    }

    /// Goes on under another epoch, as its new owner does.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = Some(epoch);
    }

    /// Takes a saga back that waits for an operator, as it was reclaimed, and gives its stuck step a verb.
    /// A plot that [parks](Plot::Parks) does so again when it is retried.
    ///
    /// # Panics
    /// When no step of the saga is parked.
    pub fn repair(&mut self, stored: &Stored, verb: Verb) {
        let saga = Saga::replay(self.id, self.definition.clone(), &stored.records);
        let item =
            saga.items().find(|(_, _, repair)| repair.is_unsettled()).expect("a step is parked").2.item;
        self.calls.clear();
        self.epoch = None;
        self.coordinator.adopt(saga, stored.head.fingerprint, stored.epoch, "operator", self.at);
        let audit =
            Audit { by: "ada".to_owned(), note: Some("seen".to_owned()), from: Some("127.0.0.1".to_owned()) };
        let given = self.coordinator.input(self.id, Input::Repair { item, verb, audit }, self.at);
        given.expect("a parked step takes any verb");
    }

    /// The saga's id.
    pub fn id(&self) -> SagaId {
        self.id
    }

    fn answer(&self, key: &CallKey) -> Answer {
        let report = |status, message| Report::new(Some(status), message, 3);
        let undoing = key.op == amends_saga::Op::Compensation;
        match self.plot {
            Plot::Compensates | Plot::Parks if key.step == StepIx(2) => {
                Answer::Refused(report(409, "no such customer"))
            }
            Plot::Parks if undoing => Answer::Refused(report(409, "shipped already")),
            _ => Answer::Done(Json::new(serde_json::json!({ "ok": true, "reference": "r-1001" }))),
        }
    }
}
