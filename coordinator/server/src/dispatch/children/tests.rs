//! What a parent's call is told, whatever becomes of it in the run loop and however its child stands.

use super::*;
use crate::run::Command;
use amends_saga::{
    Call, CallKey, Definition, Name, StepIx, Timestamp,
    definition::{CHILD_PARTICIPANT, Operation},
};
use amends_store::memory::MemoryStore;
use amends_wire::definition::{Defaults, Text};
use serde_json::json;
use std::{collections::BTreeMap, sync::Mutex};
use tokio::sync::mpsc;

const CHILD: &str = "saga: child\nversion: 1\nsteps: [{wait: {await: go, timeout: 1m}}]";

/// What the run loop says to a start, and to a cancel or revert.
type Says = (Started, Result<(), Refusal>);

/// A run loop that holds these sagas and says what it is told to say.
struct World {
    children: Children,
    definition: Arc<Definition>,
    parent: SagaId,
    held: Arc<Mutex<BTreeMap<SagaId, Arc<Saga>>>>,
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl World {
    async fn new() -> World {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let registry = Registry::load(store.as_ref(), Defaults::default()).await.expect("an empty registry");
        let text = Text::read(CHILD).expect("a definition");
        registry.put_definition(&store, text, true).await.expect("it is kept");
        let wanted = DefinitionRef::Named { name: name("child"), version: None };
        let definition = registry.to_run(&store, &wanted, &Arc::new(json!({}))).await.expect("it can run");
        let (commands, taken) = mpsc::channel(16);
        let children = Children { handle: Handle::new(commands), store, registry: Arc::new(registry) };
        let says = Arc::new(Mutex::new((Started::New, Ok(()))));
        let (held, asked) = (Arc::default(), Arc::default());
        let world = World { children, definition, parent: SagaId::now_v7(), held, says, asked };
        world.hold_parent(0);
        tokio::spawn(serve(taken, world.held.clone(), world.says.clone(), world.asked.clone()));
        world
    }

    /// Has the loop hold a parent that `depth` sagas stand above.
    fn hold_parent(&self, depth: u8) {
        let above = Parent { saga: SagaId::now_v7(), step: name("up").into(), depth };
        let start = Start {
            parent: (depth > 0).then_some(above),
            labels: [("order".to_owned(), "7".to_owned())].into(),
            ..Start::new(self.parent, self.definition.clone(), Arc::default())
        };
        let (saga, _) = amends_saga::start(start, Timestamp(0));
        self.hold(saga);
    }

    fn hold(&self, saga: Saga) {
        self.held.lock().expect("unpoisoned").insert(saga.id, Arc::new(saga));
    }

    fn child(&self) -> SagaId {
        child_id(self.parent, &name("step").into(), 0)
    }

    /// Has the loop hold the child as it stands after these inputs.
    fn hold_child(&self, inputs: Vec<Input>) {
        let start = Start::new(self.child(), self.definition.clone(), Arc::default());
        let (mut saga, _) = amends_saga::start(start, Timestamp(0));
        for input in inputs {
            let records = amends_saga::decide(&saga, input, Timestamp(1)).expect("it can follow");
            records.iter().for_each(|record| saga.apply(record.at, &record.event));
        }
        self.hold(saga);
    }

    async fn perform(&self, op: Op, question: Question, definition: &str) -> (String, Vec<String>) {
        let operation = Operation {
            participant: name(CHILD_PARTICIPANT),
            name: name(definition),
            timeout: Millis::from_secs(5),
            status: true,
            barrier: true,
            target: Target::Saga { version: None },
        };
        let key = CallKey { step: StepIx(0), op, attempt: 1, poll: 0, question };
        let (step, body) = (name("step").into(), Arc::new(json!({})));
        let call = Call { key, step, operation, body, round: 0, at: Timestamp(0) };
        let answer = self.children.perform(&Order { saga: self.parent, epoch: 1, call }).await;
        (shown(&answer), std::mem::take(&mut *self.asked.lock().expect("unpoisoned")))
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Done(_) => "done".to_owned(),
        Answer::Pending { retry_after: None, repair } => {
            format!("pending{}", if *repair { " in repair" } else { "" })
        }
        Answer::Pending { .. } => "later".to_owned(),
        Answer::Refused(report) => format!("refused: {}", report.message),
        Answer::Contract(report) => format!("contract: {}", report.message),
        Answer::NotSeen => "not seen".to_owned(),
        Answer::Unknown { report, .. } => format!("unknown: {}", report.message),
    }
}

async fn serve(
    mut commands: mpsc::Receiver<Command>,
    held: Arc<Mutex<BTreeMap<SagaId, Arc<Saga>>>>,
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    while let Some(command) = commands.recv().await {
        let note = |text: String| asked.lock().expect("unpoisoned").push(text);
        let (started, taken) = says.lock().expect("unpoisoned").clone();
        match command {
            Command::Get { saga, reply, .. } => {
                let _ = reply.send(held.lock().expect("unpoisoned").get(&saga).cloned());
            }
            Command::Start { start, reply, .. } => {
                let above = start.parent.as_ref().expect("a child has a parent");
                let barred = if start.barred { " barred" } else { "" };
                note(format!(
                    "start {}{barred} at {} {:?}",
                    start.definition.name, above.depth, start.labels
                ));
                let _ = reply.send(started);
            }
            Command::Input { input, reply, .. } => {
                note(format!("{input:?}"));
                let _ = reply.send(taken);
            }
            Command::Revert { reason, reply, .. } => {
                note(format!("revert: {reason}"));
                let _ = reply.send(taken);
            }
            Command::Answer { .. } | Command::Follow { .. } => unreachable!("nobody asks for that"),
        }
    }
}

#[tokio::test]
async fn a_child_is_started_once_and_one_that_never_was_is_barred() {
    let world = World::new().await;
    let (call, status) = (Question::Call, Question::Status);
    let starts = vec![r#"start child at 1 {"order": "7"}"#.to_owned()];
    let bars = vec![r#"start child barred at 1 {"order": "7"}"#.to_owned()];
    let unwritten = "unknown: the child's start could not be written";
    let table = [
        (Started::New, "pending", "done"),
        (Started::Repeat(world.child()), "pending", "pending"),
        (Started::Full, "later", "later"),
        (Started::Busy(name("p")), "later", "later"),
        (Started::Unavailable, unwritten, unwritten),
    ];
    for (started, action, compensation) in table {
        world.says.lock().expect("unpoisoned").0 = started;
        assert_eq!(world.perform(Op::Action, call, "child").await, (action.to_owned(), starts.clone()));
        assert_eq!(
            world.perform(Op::Compensation, call, "child").await,
            (compensation.to_owned(), bars.clone())
        );
    }
    for op in [Op::Action, Op::Compensation] {
        assert_eq!(world.perform(op, status, "child").await, ("not seen".to_owned(), vec![]));
    }
}

#[tokio::test]
async fn a_child_that_cannot_be_started_says_why() {
    let world = World::new().await;
    let (action, _) = world.perform(Op::Action, Question::Call, "nobody").await;
    assert_eq!(action, "contract: no definition \"nobody\" is registered; register it first");
    let (undo, _) = world.perform(Op::Compensation, Question::Call, "nobody").await;
    assert_eq!(undo, "done", "it never was");
}

#[tokio::test]
async fn sagas_stand_eight_deep_in_one_another_and_no_deeper() {
    let world = World::new().await;
    world.hold_parent(DEPTH_MAX - 1);
    let (answer, asked) = world.perform(Op::Action, Question::Call, "child").await;
    assert_eq!((answer.as_str(), asked.len()), ("pending", 1));
    world.hold_parent(DEPTH_MAX);
    let (answer, asked) = world.perform(Op::Action, Question::Call, "child").await;
    assert_eq!(answer, "contract: sagas stand in one another 8 deep at most");
    assert!(asked.is_empty());
}

fn signal() -> Input {
    Input::Signal { name: name("go"), id: None, payload: Arc::new(json!(7)) }
}

fn cancel() -> Input {
    Input::Cancel { reason: "no longer wanted".to_owned() }
}

/// Checks what calls and questions are told while the child stands as it does after these inputs.
async fn check(inputs: Vec<Input>, expected: [(&str, &str); 2]) {
    let world = World::new().await;
    world.hold_child(inputs);
    for (op, (call, status)) in [Op::Action, Op::Compensation].into_iter().zip(expected) {
        assert_eq!(world.perform(op, Question::Call, "child").await.0, call, "{op:?}");
        assert_eq!(world.perform(op, Question::Status, "child").await.0, status, "the status of {op:?}");
    }
}

#[tokio::test]
async fn a_parent_is_told_how_its_child_stands() {
    check(vec![], [("pending", "pending"), ("pending", "not seen")]).await;
    check(vec![signal()], [("done", "done"), ("pending", "not seen")]).await;
    let refused = "refused: no longer wanted";
    check(vec![cancel()], [(refused, refused), ("done", "done")]).await;
}

#[tokio::test]
async fn undoing_a_child_cancels_one_that_runs_and_reverts_one_that_has_completed() {
    let past = Refusal::Rejected(Rejected::PastPivot);
    for (inputs, verb) in [(vec![], "Cancel"), (vec![signal()], "revert: its parent is undone")] {
        let world = World::new().await;
        world.hold_child(inputs);
        let unwritten = "unknown: the child's undoing could not be written".to_owned();
        let pivot = format!("refused: child saga {}: {}", world.child(), Rejected::PastPivot);
        for (taken, expected) in [
            (Ok(()), "pending".to_owned()),
            (Err(Refusal::NotHeld), "later".to_owned()),
            (Err(Refusal::Rejected(Rejected::Ended)), "later".to_owned()),
            (Err(Refusal::Unavailable), unwritten.clone()),
            (Err(past.clone()), pivot.clone()),
        ] {
            world.says.lock().expect("unpoisoned").1 = taken;
            let (answer, asked) = world.perform(Op::Compensation, Question::Call, "child").await;
            assert_eq!((answer, asked.len()), (expected, 1));
            assert!(asked[0].starts_with(verb), "{asked:?}");
        }
    }
}
