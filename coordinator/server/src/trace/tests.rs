//! What spans say, and what they keep to themselves. Whole traces, as a collector sees them, are tested from outside.

use super::*;
use amends_saga::{
    Call, CallKey, How, Millis, Name, RepairStatus, StepIx,
    definition::{Operation, Target},
};
use uuid::Uuid;

fn order(op: Op, question: Question, poll: u32) -> Order {
    let name = |text: &str| Name::parse(text).expect("a name");
    let operation = Operation {
        participant: name("shop"),
        name: name("hold"),
        timeout: Millis(100),
        status: true,
        barrier: true,
        target: Target::Participant,
    };
    let key = CallKey { step: StepIx(0), op, attempt: 2, poll, question };
    let body = Arc::new(serde_json::json!({ "card": "secret" }));
    let call = Call { key, step: name("reserve").into(), operation, body, round: 0, at: Timestamp(0) };
    Order { saga: Uuid::from_u128(7), epoch: 1, call }
}

fn attribute<'a>(span: &'a Span, name: &str) -> Option<Cow<'a, str>> {
    span.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

fn row(status: RepairStatus, settled_how: Option<How>, updated_at: i64) -> RepairRow {
    RepairRow {
        item: Uuid::from_u128(9),
        saga: Uuid::from_u128(7),
        definition: "order".to_owned(),
        step: "reserve".to_owned(),
        op: Op::Compensation,
        participant: "shop".to_owned(),
        operation: "release".to_owned(),
        status,
        reason: ParkReason::Contract,
        number: 1,
        opened_at: Timestamp(1_000),
        first_opened_at: Timestamp(1_000),
        updated_at: Timestamp(updated_at),
        assignee: None,
        settled_by: settled_how.map(|_| "alice@example.org".to_owned()),
        settled_how,
        seq: 5,
    }
}

#[test]
fn an_attempt_says_how_it_was_answered_and_quotes_nobody() {
    let report = |status, message: &str| Report::new(status, message.to_owned(), 3);
    let unknown = |report| Answer::Unknown { report, retry_after: None };
    type Case = (Answer, Option<u16>, &'static str, Option<&'static str>, Option<&'static str>);
    let table: [Case; 7] = [
        (Answer::Done(Arc::new(serde_json::json!("secret"))), Some(201), "done", Some("201"), None),
        (Answer::Pending { retry_after: None, repair: false }, Some(202), "pending", Some("202"), None),
        (
            Answer::Refused(report(Some(409), "secret")),
            Some(200),
            "refused",
            Some("409"),
            Some("refused: status 409"),
        ),
        (
            Answer::Contract(report(Some(422), "secret")),
            Some(422),
            "contract",
            Some("422"),
            Some("contract: status 422"),
        ),
        (
            unknown(report(Some(503), "secret")),
            Some(503),
            "unknown",
            Some("503"),
            Some("unknown: status 503"),
        ),
        (unknown(report(None, "secret")), Some(200), "unknown", Some("200"), Some("unknown: status 200")),
        (
            unknown(report(None, "no answer within 100ms")),
            None,
            "unknown",
            None,
            Some("no answer within 100ms"),
        ),
    ];
    for (answer, status, word, code, error) in table {
        let carried = Carried { status, calls: 1, took: Duration::from_millis(3) };
        let span = attempt(&order(Op::Action, Question::Call, 0), &answer, carried);
        assert_eq!(attribute(&span, "saga.answer").as_deref(), Some(word));
        assert_eq!(attribute(&span, "http.response.status_code").as_deref(), code, "{answer:?}");
        assert_eq!(span.error.as_deref(), error, "{answer:?}");
        assert!(!format!("{span:?}").contains("secret"), "{span:?}");
        assert_eq!(span.ended.duration_since(span.began).expect("in order"), Duration::from_millis(3));
    }
}

#[test]
fn a_question_about_an_attempt_is_a_span_of_its_own() {
    let carried = Carried { status: Some(200), calls: 1, took: Duration::ZERO };
    let make = |order: &Order| attempt(order, &Answer::NotSeen, carried);
    let call = make(&order(Op::Compensation, Question::Call, 0));
    let (first, second) =
        (order(Op::Compensation, Question::Status, 0), order(Op::Compensation, Question::Status, 1));
    let (first, second) = (make(&first), make(&second));
    assert_eq!((&*call.name, &*first.name), ("shop.hold", "shop.hold status"));
    assert_eq!(attribute(&first, "saga.op").as_deref(), Some("status"));
    assert_eq!(attribute(&first, "saga.status_of").as_deref(), Some("compensation"));
    assert!(call.id != first.id && first.id != second.id);
    assert!([&call, &first, &second].iter().all(|span| span.parent == Some(SpanId::of_saga(span.trace))));
}

#[test]
fn an_item_is_a_moment_when_it_opens_and_a_time_when_it_is_settled() {
    let opened = repair(&row(RepairStatus::Open, None, 1_000)).expect("a span");
    assert_eq!((&*opened.name, opened.began), ("repair opened", opened.ended));
    assert_eq!(attribute(&opened, "repair.reason").as_deref(), Some("contract"));
    assert!(opened.error.is_some());
    assert_eq!(repair(&row(RepairStatus::Assigned, None, 2_000)), None, "nothing to draw yet");
    let settled = repair(&row(RepairStatus::Settled, Some(How::ParkedAgain), 61_000)).expect("a span");
    assert_eq!((&*settled.name, settled.error.is_none()), ("repair", true));
    assert_eq!(settled.ended.duration_since(settled.began).expect("in order"), Duration::from_secs(60));
    assert_eq!(attribute(&settled, "repair.how").as_deref(), Some("parked_again"));
    assert!(opened.id != settled.id && opened.trace == settled.trace);
    assert!(!format!("{settled:?}").contains("alice"), "who did it stands in the journal: {settled:?}");
}

#[test]
fn without_a_collector_participants_may_record_and_nothing_is_made() {
    let tracer = Tracer::default();
    let order = order(Op::Action, Question::Call, 0);
    let parent = tracer.parent(&order);
    assert_eq!((parent.trace, parent.span, parent.sampled), (order.saga, span_of(&order), true));
    assert_eq!(tracer.parent_in_batch(&order), None);
    tracer.attempt(&order, &Answer::NotSeen, Carried { status: None, calls: 1, took: Duration::ZERO });
    tracer.repairs(&[row(RepairStatus::Open, None, 1_000)]);
}
