//! Every dispatched call is answered exactly once, whatever the transport does, and batches are gathered as told.

use super::{transport::MockTransport, *};
use amends_saga::{
    CallKey, Name, StepIx, StepName, Timestamp,
    definition::{Operation, Target},
};
use amends_store::{Store, memory::MemoryStore};
use amends_wire::definition::Defaults;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

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
    (id, 1, Call { key, step: name("step").into(), operation, body, round: 0, at: Timestamp(0) })
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
            store,
            Callbacks { tokens: Tokens::new([7; 32]), public_url: "http://amends.test".to_owned() },
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
async fn a_call_of_an_operation_that_is_offered_no_longer_says_so_and_is_not_sent() {
    for (operation, count) in [("gone", 1), ("gone", 3)] {
        let (dispatcher, mut taken) = dispatcher(MockTransport::new()).await;
        dispatcher.dispatch((0..count).map(|_| call("p", operation, Op::Compensation)).collect());
        let answers = answers(&mut taken, count).await;
        let says_so = |answer| is_unknown(answer, "offers this operation any more");
        assert!(answers.values().all(says_so), "{answers:?}");
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
        (Form { max: 4, instances: 1 }, Order { saga, epoch, call })
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
fn each_instance_of_a_participant_has_batches_of_its_own() {
    for (instances, expected) in [(0, 2), (1, 2), (2, 4), (3, 6), (64, 25)] {
        let orders = (0..100).map(|_| {
            let (saga, epoch, call) = call("p", "many", Op::Action);
            (Form { max: 4, instances }, Order { saga, epoch, call })
        });
        let started = Lines::default().queue(orders.collect()).len();
        assert_eq!(started, expected, "{instances} instances, 100 calls in batches of 4");
    }
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

/// The headers of a single call, as text.
async fn headers_of(order: (SagaId, u64, Call)) -> BTreeMap<String, String> {
    let (sender, mut sent) = mpsc::channel(1);
    let mut transport = MockTransport::new();
    transport.expect_post().times(1).returning(move |_, headers, _| {
        sender.try_send(headers).expect("room for one");
        reply(200, &json!({}))
    });
    let (dispatcher, mut taken) = dispatcher(transport).await;
    dispatcher.dispatch(vec![order]);
    answers(&mut taken, 1).await;
    let headers = sent.recv().await.expect("it was sent");
    let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

#[tokio::test]
async fn each_call_carries_its_token_and_where_it_is_answered() {
    let tokens = Tokens::new([7; 32]);
    let table = [
        ("step", 0, Op::Action, "step", "step/action"),
        ("step", 2, Op::Action, "step", "step/action:r2"),
        ("step[17]", 0, Op::Compensation, "step%5B17%5D", "step[17]/compensation"),
        ("step[17]", 1, Op::Confirm, "step%5B17%5D", "step[17]/confirm:r1"),
    ];
    for (step, round, op, encoded, key) in table {
        let (saga, epoch, mut order) = call("p", "one", op);
        (order.step, order.round) = (StepName::parse(step).expect("a step"), round);
        for question in [Question::Call, Question::Status] {
            order.key.question = question;
            let headers = headers_of((saga, epoch, order.clone())).await;
            let base = format!("http://amends.test/v1/sagas/{saga}/steps");
            assert_eq!(headers["saga-callback"], format!("{base}/{encoded}/answer"));
            assert_eq!(headers["saga-token"], tokens.token(saga, step, op.as_str(), round));
            assert_eq!(headers["idempotency-key"], format!("{saga}/{key}"));
            assert_eq!(headers["saga-step"], step);
            let shown = (round > 0).then(|| round.to_string());
            assert_eq!(headers.get("saga-round"), shown.as_ref());
        }
    }
}

#[tokio::test]
async fn a_call_in_a_batch_carries_what_a_single_one_does() {
    let (sender, mut sent) = mpsc::channel(1);
    let mut transport = MockTransport::new();
    transport.expect_post().times(1).returning(move |_, _, body| {
        sender.try_send(body).expect("room for one");
        reply(200, &json!({ "results": [{ "status": 200 }, { "status": 200 }] }))
    });
    let (dispatcher, mut taken) = dispatcher(transport).await;
    let (one, mut two) = (call("p", "many", Op::Action), call("p", "many", Op::Confirm));
    two.2.round = 3;
    dispatcher.dispatch(vec![one.clone(), two.clone()]);
    answers(&mut taken, 2).await;
    let body = sent.recv().await.expect("it was sent");
    let batch: Value = serde_json::from_slice(&body).expect("JSON");
    for (call, (saga, _, order)) in batch["calls"].as_array().expect("calls").iter().zip([one, two]) {
        let op = order.key.op.as_str();
        assert_eq!(call["token"], json!(Tokens::new([7; 32]).token(saga, "step", op, order.round)));
        assert_eq!(call["callback"], json!(format!("http://amends.test/v1/sagas/{saga}/steps/step/answer")));
        assert_eq!(call.get("round").cloned(), (order.round > 0).then(|| json!(order.round)));
        let suffix = if order.round > 0 { ":r3" } else { "" };
        assert_eq!(call["key"], json!(format!("{saga}/step/{op}{suffix}")));
    }
}

/// Sends one call for each of these results in one batch; the answers, in the order of the calls.
async fn each_of(op: Op, results: Vec<Value>) -> Vec<Answer> {
    let (count, body) = (results.len(), json!({ "results": results }));
    let mut transport = MockTransport::new();
    transport.expect_post().times(1).returning(move |_, _, _| reply(200, &body));
    let (dispatcher, mut taken) = dispatcher(transport).await;
    let orders: Vec<_> = (0..count).map(|_| call("p", "many", op)).collect();
    dispatcher.dispatch(orders.clone());
    let mut answers = answers(&mut taken, count).await;
    orders.iter().filter_map(|(saga, ..)| answers.remove(saga)).collect()
}

#[tokio::test]
async fn each_result_of_a_batch_is_read_by_the_table_of_single_calls() {
    let results = vec![
        json!({ "status": 200, "body": { "a": 1 } }),
        json!({ "status": 409, "body": { "message": "no" } }),
        json!({ "status": 422, "body": { "detail": "wrong" } }),
        json!({ "status": 202 }),
    ];
    let answers = each_of(Op::Action, results).await;
    assert!(matches!(&answers[0], Answer::Done(body) if body["a"] == 1), "{answers:?}");
    assert!(matches!(&answers[1], Answer::Refused(report) if report.message == "no"), "{answers:?}");
    assert!(matches!(&answers[2], Answer::Contract(report) if report.message == "wrong"), "{answers:?}");
    assert!(matches!(&answers[3], Answer::Pending { retry_after: None, repair: false }), "{answers:?}");
    let results = vec![
        json!({ "status": 503, "retry_after": 7 }),
        json!({ "status": 204, "body": null }),
        json!({ "status": 410 }),
        json!({ "status": 999 }),
    ];
    let answers = each_of(Op::Compensation, results).await;
    let later = Some(Millis::from_secs(7));
    assert!(
        matches!(&answers[0], Answer::Unknown { retry_after, report } if *retry_after == later && report.status == Some(503)),
        "{answers:?}"
    );
    assert!(matches!(&answers[1], Answer::Done(body) if body.is_null()), "{answers:?}");
    assert!(matches!(&answers[2], Answer::Done(_)), "forgotten is done: {answers:?}");
    assert!(matches!(&answers[3], Answer::Unknown { .. }), "{answers:?}");
}

#[tokio::test]
async fn a_batch_that_is_not_taken_now_is_sent_again_when_the_participant_wishes() {
    for status in [408, 425, 429, 500, 503] {
        let mut transport = MockTransport::new();
        transport.expect_post().times(1).returning(move |_, _, _| {
            let (status, retry_after) = (StatusCode::from_u16(status).expect("a status"), Some(Millis(1500)));
            Ok(Reply { status, retry_after, body: Ok(Bytes::new()) })
        });
        let (dispatcher, mut taken) = dispatcher(transport).await;
        dispatcher.dispatch((0..3).map(|_| call("p", "many", Op::Action)).collect());
        let is_later = |answer: &Answer| match answer {
            Answer::Unknown { retry_after, report } => {
                *retry_after == Some(Millis(1500)) && report.status == Some(status)
            }
            _ => false,
        };
        let answers = answers(&mut taken, 3).await;
        assert!(answers.values().all(is_later), "{status}: {answers:?}");
    }
}

#[tokio::test]
async fn a_batch_whose_answer_cannot_be_read_answers_nobody_definitely() {
    type Case = (fn() -> Result<Reply, TransportError>, &'static str);
    let table: [Case; 5] = [
        (|| Err(TransportError::Broken("reset by peer".to_owned())), "reset by peer"),
        (|| garbage(Ok(Bytes::from_static(b"<html>"))), "the batch's answer"),
        (|| garbage(Ok(Bytes::new())), "the batch's answer"),
        (|| garbage(Err(BodyError::Cut("it ended early".to_owned()))), "it ended early"),
        (
            || garbage(Ok(Bytes::from_static(br#"{"results":[{"status":200},{"body":1},{"status":200}]}"#))),
            "missing field `status`",
        ),
    ];
    for (outcome, words) in table {
        let mut transport = MockTransport::new();
        transport.expect_post().times(1).returning(move |_, _, _| outcome());
        let (dispatcher, mut taken) = dispatcher(transport).await;
        dispatcher.dispatch((0..3).map(|_| call("p", "many", Op::Action)).collect());
        let answers = answers(&mut taken, 3).await;
        assert!(answers.values().all(|answer| is_unknown(answer, words)), "{words}: {answers:?}");
    }
}

fn garbage(body: Result<Bytes, BodyError>) -> Result<Reply, TransportError> {
    Ok(Reply { status: StatusCode::OK, retry_after: None, body })
}

#[tokio::test]
async fn a_batch_whose_answer_is_too_long_goes_call_by_call() {
    let mut transport = MockTransport::new();
    transport.expect_post().times(4).returning(|url, _, sent| match url.path() {
        "/many/batch" => garbage(Err(BodyError::TooLong)),
        _ => garbage(Ok(sent)),
    });
    let (dispatcher, mut taken) = dispatcher(transport).await;
    dispatcher.dispatch((0..3).map(|_| call("p", "many", Op::Action)).collect());
    for (saga, answer) in answers(&mut taken, 3).await {
        assert!(is_its_own(&saga, &answer), "{answer:?}");
    }
}

/// Answers the first call, then refuses connections `refusals` times, then answers again; counts what it is asked.
struct Restarting {
    asked: Arc<AtomicUsize>,
    refusals: usize,
}

#[async_trait]
impl Transport for Restarting {
    async fn post(&self, _: &reqwest::Url, _: HeaderMap, _: Bytes) -> Result<Reply, TransportError> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        match asked > 0 && asked <= self.refusals {
            true => Err(TransportError::Refused("connection refused".to_owned())),
            false => reply(200, &json!({})),
        }
    }
}

fn patient(operation: &str) -> (SagaId, u64, Call) {
    let (saga, epoch, mut call) = call("p", operation, Op::Action);
    call.operation.timeout = Millis(5_000);
    (saga, epoch, call)
}

async fn one(dispatcher: &Dispatcher, taken: &mut mpsc::Receiver<Command>) -> Answer {
    let order = patient("one");
    let saga = order.0;
    dispatcher.dispatch(vec![order]);
    answers(taken, 1).await.remove(&saga).expect("its answer")
}

#[tokio::test]
async fn a_process_that_is_started_again_is_waited_for_and_its_attempt_is_not_spent() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (dispatcher, mut taken) = dispatcher(Restarting { asked: asked.clone(), refusals: 6 }).await;
    assert!(matches!(one(&dispatcher, &mut taken).await, Answer::Done(_)));
    let begun = tokio::time::Instant::now();
    assert!(matches!(one(&dispatcher, &mut taken).await, Answer::Done(_)), "it came back within a second");
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    assert_eq!(asked.load(Ordering::Relaxed), 8);
}

#[tokio::test]
async fn an_outage_is_waited_for_once_and_not_by_each_call_anew() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (dispatcher, mut taken) =
        dispatcher(Restarting { asked: asked.clone(), refusals: usize::MAX - 1 }).await;
    assert!(matches!(one(&dispatcher, &mut taken).await, Answer::Done(_)));
    let begun = tokio::time::Instant::now();
    for _ in 0..10 {
        let answer = one(&dispatcher, &mut taken).await;
        assert!(is_unknown(&answer, "connection refused"), "{answer:?}");
    }
    assert!(begun.elapsed() < 5 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn nobody_waits_for_an_instance_that_has_never_answered() {
    let asked = Arc::new(AtomicUsize::new(1));
    let (dispatcher, mut taken) =
        dispatcher(Restarting { asked: asked.clone(), refusals: usize::MAX - 1 }).await;
    let answer = one(&dispatcher, &mut taken).await;
    assert!(is_unknown(&answer, "connection refused"), "{answer:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 2, "it was asked once");
}
