//! What begins an open saga and what registers its branches, read to the letter.

use super::*;
use crate::problem::Slug;
use serde_json::json;

/// The slug and the path that a body is refused with.
fn refusal<T: std::fmt::Debug>(read: Result<T, Problem>) -> (Slug, String) {
    let problem = read.expect_err("the body does not fit");
    let path =
        problem.extra.get("errors").map(|errors| errors[0]["path"].as_str().unwrap_or_default().to_owned());
    (problem.slug, path.unwrap_or_default())
}

#[test]
fn an_open_saga_has_a_time_and_may_have_a_key_and_labels() {
    let body = br#"{"timeout": "1m", "key": "trip-7", "labels": {"trip": "7"}}"#;
    let read = OpenRequest::read(body, Some("trip-7")).expect("it fits");
    assert_eq!((read.timeout, read.key.as_deref()), (Millis::from_secs(60), Some("trip-7")));
    assert_eq!(read.labels["trip"], "7");
    let again = OpenRequest::read(br#"{"labels": {"trip": "7"}, "timeout": "60s"}"#, None).expect("it fits");
    assert_eq!(
        again.fingerprint, read.fingerprint,
        "the key and the way a time is written make no difference"
    );
    for other in [r#"{"timeout": "61s", "labels": {"trip": "7"}}"#, r#"{"timeout": "60s"}"#] {
        let other = OpenRequest::read(other.as_bytes(), None).expect("it fits");
        assert_ne!(other.fingerprint, read.fingerprint);
    }
}

#[test]
fn what_begins_no_open_saga_is_refused_with_its_place() {
    for (body, slug, path) in [
        ("{}", Slug::MalformedBody, ""),
        ("", Slug::MalformedBody, ""),
        (r#"{"timeout": 60}"#, Slug::MalformedBody, "/timeout"),
        (r#"{"timeout": "soon"}"#, Slug::MalformedBody, "/timeout"),
        (r#"{"timeout": "999ms"}"#, Slug::MalformedBody, "/timeout"),
        (r#"{"timeout": "0s"}"#, Slug::MalformedBody, "/timeout"),
        (r#"{"timeout": "25h"}"#, Slug::MalformedBody, "/timeout"),
        (r#"{"timeout": "10s", "with": 1}"#, Slug::MalformedBody, "/with"),
        (r#"{"timeout": "10s", "key": 7}"#, Slug::MalformedBody, "/key"),
        (r#"{"timeout": "10s", "key": ""}"#, Slug::BadKey, ""),
        (r#"{"timeout": "10s", "labels": {"a": 1}}"#, Slug::BadLabel, ""),
    ] {
        assert_eq!(refusal(OpenRequest::read(body.as_bytes(), None)), (slug, path.to_owned()), "{body}");
    }
    let other = OpenRequest::read(br#"{"timeout": "10s", "key": "a"}"#, Some("b"));
    assert_eq!(refusal(other).0, Slug::KeyConflict);
    for least_and_most in [r#"{"timeout": "1s"}"#, r#"{"timeout": "24h"}"#] {
        assert!(OpenRequest::read(least_and_most.as_bytes(), None).is_ok(), "{least_and_most}");
    }
}

#[test]
fn a_branch_says_what_undoes_it_and_perhaps_what_makes_it_final() {
    let body =
        br#"{"name": "seat-12a", "compensation": "seats.free", "confirm": "seats.sell", "with": {"n": 1}}"#;
    let read = BranchRequest::read(body).expect("it fits");
    assert_eq!(read.name.as_str(), "seat-12a");
    assert_eq!(read.compensation.to_string(), "seats.free");
    assert_eq!(read.confirm.map(|confirm| confirm.to_string()).as_deref(), Some("seats.sell"));
    assert_eq!(*read.with, json!({ "n": 1 }));
    let plain =
        BranchRequest::read(br#"{"name": "a", "compensation": "b.c", "with": null}"#).expect("it fits");
    assert_eq!((plain.confirm, &*plain.with), (None, &json!(null)));
}

#[test]
fn what_is_no_branch_is_refused_with_its_place() {
    let with = |rest: &str| format!(r#"{{"name": "a", "compensation": "b.c", {rest}}}"#);
    for (body, slug, path) in [
        (r#"{"name": "a", "compensation": "b.c"}"#.to_owned(), Slug::MalformedBody, ""),
        (r#"{"name": "A", "compensation": "b.c", "with": 1}"#.to_owned(), Slug::BadName, "/name"),
        (r#"{"name": "a[0]", "compensation": "b.c", "with": 1}"#.to_owned(), Slug::BadName, "/name"),
        (r#"{"name": "a", "compensation": "bc", "with": 1}"#.to_owned(), Slug::BadName, "/compensation"),
        (r#"{"name": "a", "compensation": "b.c.d", "with": 1}"#.to_owned(), Slug::BadName, "/compensation"),
        (
            r#"{"name": "a", "compensation": null, "with": 1}"#.to_owned(),
            Slug::MalformedBody,
            "/compensation",
        ),
        (with(r#""confirm": ".d", "with": 1"#), Slug::BadName, "/confirm"),
        (with(r#""with": 123456789012345678901"#), Slug::NumberNotExact, ""),
        (with(r#""with": 1, "action": "b.d""#), Slug::MalformedBody, "/action"),
    ] {
        assert_eq!(refusal(BranchRequest::read(body.as_bytes())), (slug, path.to_owned()), "{body}");
    }
}

#[test]
fn more_time_is_given_within_the_same_bounds() {
    let read = RenewRequest::read(br#"{"timeout": "90s"}"#).expect("it fits");
    assert_eq!(read.timeout, Millis::from_secs(90));
    for body in [r#"{"timeout": "25h"}"#, r#"{"timeout": "1"}"#] {
        assert_eq!(
            refusal(RenewRequest::read(body.as_bytes())),
            (Slug::MalformedBody, "/timeout".to_owned())
        );
    }
}
