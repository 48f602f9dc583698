//! What is read from a start, what it is told when it does not fit, and when two starts are the same.

use super::*;

fn read(body: &str) -> StartRequest {
    StartRequest::read(body.as_bytes(), None).expect("the body fits")
}

fn refused(body: &[u8], header: Option<&str>) -> (Slug, String) {
    let problem = StartRequest::read(body, header).expect_err("the body does not fit");
    (problem.slug, problem.detail)
}

#[test]
fn a_start_names_a_definition_or_brings_one() {
    for (definition, expected) in [
        (r#""checkout""#, "checkout"),
        (r#""checkout@12""#, "checkout@12"),
        (r#"{"saga":"x"}"#, "a whole definition"),
    ] {
        let body = format!(r#"{{"definition":{definition},"input":{{}}}}"#);
        assert_eq!(read(&body).definition.to_string(), expected);
    }
}

#[test]
fn key_and_labels_are_taken() {
    let start = read(r#"{"definition":"a","input":[1],"key":"k","labels":{"order":"1001"}}"#);
    assert_eq!(start.key.as_deref(), Some("k"));
    assert_eq!(start.labels["order"], "1001");
    let body = br#"{"definition":"a","input":null}"#;
    let from_header = StartRequest::read(body, Some("h")).expect("fits");
    assert_eq!(from_header.key.as_deref(), Some("h"));
}

#[test]
fn the_fingerprint_sees_meaning_and_not_spelling() {
    let base = read(r#"{"definition":"a","input":{"x":1,"y":"é"}}"#).fingerprint;
    let same = [
        r#"{ "input": {"y":"\u00e9", "x":1}, "definition": "a" }"#,
        r#"{"definition":"a","input":{"x":1,"y":"é"},"key":"any","labels":{}}"#,
        r#"{"definition":"a","input":{"x":1,"y":"é"},"labels":null}"#,
    ];
    for body in same {
        assert_eq!(read(body).fingerprint, base, "{body}");
    }
    let other = [
        r#"{"definition":"a@1","input":{"x":1,"y":"é"}}"#,
        r#"{"definition":"a","input":{"x":1.0,"y":"é"}}"#,
        r#"{"definition":"a","input":{"x":1,"y":"é"},"labels":{"l":""}}"#,
    ];
    for body in other {
        assert_ne!(read(body).fingerprint, base, "{body}");
    }
}

#[test]
fn what_does_not_fit_is_told_what_and_where() {
    let long = "k".repeat(257);
    let labels: Vec<String> = (0..17).map(|i| format!("\"l{i}\":\"\"")).collect();
    let cases: Vec<(String, Slug, &str)> = vec![
        ("{".into(), Slug::MalformedBody, "ends too early"),
        ("nonsense".into(), Slug::MalformedBody, "not JSON"),
        ("{}".into(), Slug::MalformedBody, "missing field `definition`"),
        (r#"{"definition":"a"}"#.into(), Slug::MalformedBody, "missing field `input`"),
        (r#"{"definition":"a","input":1,"inptu":2}"#.into(), Slug::MalformedBody, "unknown field `inptu`"),
        (r#"{"definition":"a","input":1,"input":2}"#.into(), Slug::MalformedBody, "duplicate field `input`"),
        (r#"{"definition":"a","input":{"b":1,"b":1}}"#.into(), Slug::MalformedBody, "\"b\" appears twice"),
        (r#"{"definition":7,"input":1}"#.into(), Slug::MalformedBody, "a name, \"name@version\""),
        (r#"{"definition":"A","input":1}"#.into(), Slug::BadName, "\"A\" is not a name"),
        (r#"{"definition":"a@0","input":1}"#.into(), Slug::BadName, "\"0\" is not a version"),
        (r#"{"definition":"a@+1","input":1}"#.into(), Slug::BadName, "\"+1\" is not a version"),
        (r#"{"definition":"a","input":1e999}"#.into(), Slug::NumberNotExact, "1e999"),
        (
            r#"{"definition":"a","input":{"q":[99999999999999999999]}}"#.into(),
            Slug::NumberNotExact,
            "\"q[0]\"",
        ),
        (r#"{"definition":"a","input":1,"key":""}"#.into(), Slug::BadKey, "this has 0"),
        (format!(r#"{{"definition":"a","input":1,"key":"{long}"}}"#), Slug::BadKey, "this has 257"),
        (r#"{"definition":"a","input":1,"key":"a\nb"}"#.into(), Slug::BadKey, "no control characters"),
        (r#"{"definition":"a","input":1,"labels":{"x":1}}"#.into(), Slug::BadLabel, "an object of texts"),
        (
            format!(r#"{{"definition":"a","input":1,"labels":{{{}}}}}"#, labels.join(",")),
            Slug::BadLabel,
            "17 labels",
        ),
        (
            format!(r#"{{"definition":"a","input":{}{}}}"#, "[".repeat(70), "]".repeat(70)),
            Slug::TooDeep,
            "64",
        ),
    ];
    for (body, slug, words) in cases {
        let (actual, detail) = refused(body.as_bytes(), None);
        assert_eq!(actual, slug, "{body}: {detail}");
        assert!(detail.contains(words), "{body}: {detail}");
    }
    let twice = refused(br#"{"definition":"a","input":1,"key":"a"}"#, Some("b"));
    assert_eq!(twice.0, Slug::KeyConflict);
    let bytes = refused(b"{\"definition\":\"\xff\"}", None);
    assert_eq!(bytes, (Slug::BadUtf8, "byte 15 begins no UTF-8 character".to_owned()));
}
