//! Every dispatched call is answered exactly once, whatever the transport does, and batches are gathered as told.

use super::{transport::MockTransport, *};
use amends_saga::{
    CallKey, Name, StepIx, Timestamp,
    definition::{Operation, Target},
};
use amends_store::{Store, memory::MemoryStore};
use amends_wire::definition::Defaults;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SECOND: Duration = Duration::from_secs(1);

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn call(participant: &str, operation: &str, op: Op) -> (SagaId, u64, Call) {
    let operation = Operation {
        participant: name(participant),
        name: name(operation),
        timeout: Millis(100),
        status: false,
        barrier: true,
        target: Target::Participant,
    };
    let key = CallKey { step: StepIx(0), op, attempt: 1, poll: 0, question: Question::Call };
    let id = SagaId::now_v7();
    let body = Arc::new(json!({ "saga": id }));
    (id, 1, Call { key, step: name("step"), operation, body, at: Timestamp(0) })
}

/// A dispatcher that knows participant `p` with `one` and, with a batch form for up to 4 calls, `many`.
async fn dispatcher(transport: impl Transport + 'static) -> (Dispatcher, mpsc::Receiver<Command>) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let registry = Registry::load(store.as_ref(), Defaults::default()).await.expect("an empty registry");
    let registration = json!({
        "instances": ["http://127.0.0.1:1"],
        "operations": { "one": {}, "many": { "batch": { "max": 4 } } },
    });
    let registration = serde_json::from_value(registration).expect("a registration");
    registry.register(&store, name("p"), registration).await.expect("it is registered");
    let (answers, taken) = mpsc::channel(1024);
    (
        Dispatcher::new(
            Arc::new(transport),
            Arc::new(registry),
            Arc::new(Metrics::new()),
            Tracer::default(),
            answers,
        ),
        taken,
    )
}

/// Waits for this many answers and makes sure that no more come; returns them by saga.
async fn answers(taken: &mut mpsc::Receiver<Command>, count: usize) -> BTreeMap<SagaId, Answer> {
    let mut found = BTreeMap::new();
    for _ in 0..count {
        let command = tokio::time::timeout(5 * SECOND, taken.recv()).await.expect("in time").expect("open");
        let Command::Answer { saga, answer, .. } = command else { panic!("only answers come") };
        assert!(found.insert(saga, answer).is_none(), "saga {saga} is answered twice");
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(taken.try_recv().is_err(), "one answer too many");
    found
}

fn reply(status: u16, body: &Value) -> Result<Reply, TransportError> {
    let status = StatusCode::from_u16(status).expect("a status");
    Ok(Reply { status, retry_after: None, body: Ok(Bytes::from(body.to_string())) })
}

fn is_unknown(answer: &Answer, words: &str) -> bool {
    matches!(answer, Answer::Unknown { report, .. } if report.message.contains(words))
}

#[tokio::test]
async fn a_single_call_is_answered_once_whatever_the_transport_does() {
    type Case = (fn() -> Result<Reply, TransportError>, fn(&Answer) -> bool);
    let table: [Case; 6] = [
        (|| reply(200, &json!({ "a": 1 })), |a| matches!(a, Answer::Done(v) if v["a"] == 1)),
        (
            || reply(409, &json!({ "message": "no" })),
            |a| matches!(a, Answer::Refused(r) if r.message == "no"),
        ),
        (|| reply(404, &json!({})), |a| matches!(a, Answer::Contract(_))),
        (|| reply(202, &json!({})), |a| matches!(a, Answer::Pending { .. })),
        (|| Err(TransportError::Broken("reset by peer".to_owned())), |a| is_unknown(a, "reset by peer")),
        (
            || Ok(Reply { status: StatusCode::OK, retry_after: None, body: Err(BodyError::TooLong) }),
            |a| is_unknown(a, "longer than"),
        ),
    ];
    for (outcome, expected) in table {
        let mut transport = MockTransport::new();
        transport
            .expect_post()
            .times(1)
            .withf(|url, _, _| url.as_str() == "http://127.0.0.1:1/one")
            .returning(move |_, _, _| outcome());
        let (dispatcher, mut taken) = dispatcher(transport).await;
        dispatcher.dispatch(vec![call("p", "one", Op::Action)]);
        let answers = answers(&mut taken, 1).await;
        assert!(answers.values().all(expected), "{answers:?}");
    }
}

#[tokio::test]
async fn a_call_to_nobody_is_answered_without_being_sent() {
    let (dispatcher, mut taken) = dispatcher(MockTransport::new()).await;
    dispatcher.dispatch(vec![call("nobody", "one", Op::Compensation)]);
    let answers = answers(&mut taken, 1).await;
    assert!(answers.values().all(|answer| is_unknown(answer, "no registered instance")), "{answers:?}");
}

/// A transport that never answers.
#[derive(Debug)]
struct Silent;

#[async_trait::async_trait]
impl Transport for Silent {
    async fn post(&self, _: &reqwest::Url, _: HeaderMap, _: Bytes) -> Result<Reply, TransportError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn silence_ends_with_the_timeout_for_one_call_and_for_many() {
    let (dispatcher, mut taken) = dispatcher(Silent).await;
    dispatcher.dispatch(vec![call("p", "one", Op::Action)]);
    dispatcher.dispatch((0..3).map(|_| call("p", "many", Op::Action)).collect());
    let answers = answers(&mut taken, 4).await;
    assert!(answers.values().all(|answer| is_unknown(answer, "no answer within 100ms")), "{answers:?}");
}

/// Posts 10 calls at once while batches are answered with `status` and `body`; how often each path was posted to.
async fn check_batch(
    status: u16,
    body: fn(usize) -> Value,
    expected: fn(&SagaId, &Answer) -> bool,
) -> BTreeMap<String, usize> {
    let posts = Arc::new(std::sync::Mutex::new(BTreeMap::new()));
    let mut transport = MockTransport::new();
    let seen = posts.clone();
    transport.expect_post().returning(move |url, _, sent| {
        *seen.lock().expect("unpoisoned").entry(url.path()[1..].to_owned()).or_default() += 1;
        let sent: Value = serde_json::from_slice(&sent).expect("JSON");
        match sent["calls"].as_array() {
            None => reply(200, &sent),
            Some(calls) if status == 200 && body(0).is_null() => {
                let results = calls.iter().map(|call| json!({ "status": 200, "body": call["body"] }));
                reply(200, &json!({ "results": results.collect::<Vec<_>>() }))
            }
            Some(calls) => reply(status, &body(calls.len())),
        }
    });
    let (dispatcher, mut taken) = dispatcher(transport).await;
    dispatcher.dispatch((0..10).map(|_| call("p", "many", Op::Action)).collect());
    let answers = answers(&mut taken, 10).await;
    for (saga, answer) in &answers {
        assert!(expected(saga, answer), "{status}: {saga} {answer:?}");
    }
    posts.lock().expect("unpoisoned").clone()
}

/// The answer is the saga's own, and not a neighbour's.
fn is_its_own(saga: &SagaId, answer: &Answer) -> bool {
    matches!(answer, Answer::Done(body) if body["saga"] == json!(saga))
}

#[tokio::test]
async fn a_batch_gives_each_call_its_own_answer() {
    let posts = check_batch(200, |_| json!(null), is_its_own).await;
    assert_eq!(posts, BTreeMap::from([("many/batch".to_owned(), 3)]), "10 calls in batches of 4, 4 and 2");
}

#[tokio::test]
async fn a_batch_that_is_refused_goes_call_by_call() {
    for status in [307, 400, 401, 404, 409, 413, 501] {
        let posts = check_batch(status, |_| json!({}), is_its_own).await;
        assert_eq!(posts["many"], 10, "{status}: {posts:?}");
    }
}

#[tokio::test]
async fn a_batch_with_a_wrong_answer_answers_nobody_definitely() {
    let unknown = |_: &SagaId, answer: &Answer| matches!(answer, Answer::Unknown { .. });
    check_batch(200, |_| json!({}), unknown).await;
    check_batch(200, |_| json!({ "results": 7 }), unknown).await;
    check_batch(200, |n| json!({ "results": vec![json!({ "status": 200 }); n + 1] }), unknown).await;
    let fewer = |n: usize| json!({ "results": vec![json!({ "status": 200 }); n.saturating_sub(1)] });
    check_batch(200, fewer, unknown).await;
    let later = |n| json!({ "results": vec![json!({ "status": 503, "retry_after": u64::MAX }); n] });
    check_batch(200, later, unknown).await;
    check_batch(429, |_| json!({}), unknown).await;
    check_batch(500, |_| json!({}), unknown).await;
}

#[test]
fn a_line_gathers_only_while_it_is_busy() {
    let lines = Lines::default();
    let order = || {
        let (saga, epoch, call) = call("p", "many", Op::Action);
        (4, Order { saga, epoch, call })
    };
    let orders = |count: usize| (0..count).map(|_| order()).collect::<Vec<_>>();
    assert_eq!(lines.queue(vec![]).len(), 0);
    assert_eq!(lines.queue(orders(1)).len(), 1, "an idle line starts at once");
    let line = (name("p"), name("many"));
    assert_eq!(lines.take(&line, 4).map(|taken| taken.len()), Some(1));
    assert_eq!(lines.queue(orders(4)).len(), 0, "one batch waits for the worker that is on its way");
    assert_eq!(lines.queue(orders(7)).len(), 1, "what is more than a batch gets a second worker");
    let mut taken = Vec::new();
    while let Some(batch) = lines.take(&line, 4) {
        taken.push(batch.len());
    }
    assert_eq!(taken, [4, 4, 3]);
    assert!(lines.take(&line, 4).is_none(), "the second worker ends as well");
    assert_eq!(lines.queue(orders(1)).len(), 1, "the line is idle again");
}

#[test]
fn the_wish_of_a_participant_is_read_in_both_forms() {
    let read = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_str(text).expect("a header"));
        transport::retry_after(&headers)
    };
    assert_eq!(read("0"), Some(Millis(0)));
    assert_eq!(read(" 120 "), Some(Millis(120_000)));
    assert_eq!(read(&u64::MAX.to_string()), Some(Millis(u64::MAX)));
    assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Millis(0)), "a time that has passed");
    assert!(read("Wed, 01 Jan 2200 00:00:00 GMT").is_some_and(|wait| wait > Millis(1_000_000)));
    for nonsense in ["", "soon", "-1", "1.5", "1s", "Wed, 99 Oct 2015 07:28:00 GMT"] {
        assert_eq!(read(nonsense), None, "{nonsense}");
    }
    assert_eq!(transport::retry_after(&HeaderMap::new()), None);
}
