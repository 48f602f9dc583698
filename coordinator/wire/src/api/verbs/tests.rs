//! What callers send to a saga that runs, read to the letter.

use super::*;
use serde_json::json;

/// The slug and the path that a body is refused with.
fn refusal<T: std::fmt::Debug>(read: Result<T, Problem>) -> (Slug, String) {
    let problem = read.expect_err("the body does not fit");
    let path =
        problem.extra.get("errors").map(|errors| errors[0]["path"].as_str().unwrap_or_default().to_owned());
    (problem.slug, path.unwrap_or_default())
}

#[test]
fn a_reason_may_be_absent_and_is_bounded() {
    for (body, reason) in [
        ("", "usual"),
        ("{}", "usual"),
        (r#"{"reason": null}"#, "usual"),
        (r#"{"reason": " "}"#, "usual"),
        (r#"{"reason": "late"}"#, "late"),
    ] {
        let read = CancelRequest::read(body.as_bytes()).expect("it fits");
        assert_eq!(read.reason_or("usual"), reason, "{body}");
    }
    let long = format!(r#"{{"reason": "{}"}}"#, "x".repeat(REASON_BYTES_MAX + 1));
    let expected = (Slug::MalformedBody, "/reason".to_owned());
    assert_eq!(refusal(CancelRequest::read(long.as_bytes())), expected);
    assert_eq!(refusal(CancelRequest::read(br#"{"reason": 7}"#)), expected);
}

#[test]
fn a_signal_has_a_payload_and_may_have_an_id() {
    let read = SignalRequest::read(br#"{"id": "tx-1", "payload": {"amount": 5}}"#).expect("it fits");
    assert_eq!((read.id.as_deref(), &*read.payload), (Some("tx-1"), &json!({ "amount": 5 })));
    for (body, slug, path) in [
        (r#"{"id": "tx-1"}"#.to_owned(), Slug::MalformedBody, ""),
        (r#"{"id": 7, "payload": 1}"#.to_owned(), Slug::MalformedBody, "/id"),
        (r#"{"id": "", "payload": 1}"#.to_owned(), Slug::BadKey, "/id"),
        (format!(r#"{{"id": "{}", "payload": 1}}"#, "x".repeat(257)), Slug::BadKey, "/id"),
        (r#"{"payload": 0.12345678901234567890}"#.to_owned(), Slug::NumberNotExact, ""),
        (r#"{"payload": 1, "x": 2}"#.to_owned(), Slug::MalformedBody, "/x"),
    ] {
        assert_eq!(refusal(SignalRequest::read(body.as_bytes())), (slug, path.to_owned()), "{body}");
    }
}

#[test]
fn an_answer_has_a_token_and_a_status_that_answers_have() {
    let read = AnswerRequest::read(br#"{"token": "t", "status": 200, "body": {"a": 1}}"#).expect("it fits");
    assert_eq!((read.token.as_str(), read.status), ("t", 200));
    assert_eq!(read.body.as_deref(), Some(&json!({ "a": 1 })));
    for none in [r#"{"token": "t", "status": 409}"#, r#"{"token": "t", "status": 409, "body": null}"#] {
        assert_eq!(AnswerRequest::read(none.as_bytes()).expect("it fits").body, None);
    }
    for (body, path) in [
        (r#"{"status": 200}"#, ""),
        (r#"{"token": "t"}"#, ""),
        (r#"{"token": 1, "status": 200}"#, "/token"),
        (r#"{"token": "t", "status": "200"}"#, "/status"),
        (r#"{"token": "t", "status": 199}"#, "/status"),
        (r#"{"token": "t", "status": 600}"#, "/status"),
        (r#"{"token": "t", "status": 100000}"#, "/status"),
        (r#"{"token": "t", "status": 200, "op": "action"}"#, "/op"),
    ] {
        let expected = (Slug::MalformedBody, path.to_owned());
        assert_eq!(refusal(AnswerRequest::read(body.as_bytes())), expected, "{body}");
    }
}
