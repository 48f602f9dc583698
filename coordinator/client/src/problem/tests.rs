//! What is made of the coordinator's words.

use super::{Detail, Problem};
use amends_wire::problem::{Misfit, Slug};
use serde_json::{Value, json};
use std::time::Duration;

fn read(status: u16, body: Value) -> Problem {
    Problem::of(status, serde_json::from_value(body).expect("a problem"), None)
}

#[test]
fn the_reasons_come_in_types() {
    let saga = "0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10";
    let check = |slug: &str, members: Value, expected: Detail| {
        let mut body =
            json!({ "type": format!("/problems/{slug}"), "title": "t", "detail": "d", "slug": slug });
        for (name, value) in members.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let problem = read(409, body);
        assert_eq!(problem.slug.map(Slug::as_str), Some(slug));
        match (&problem.detail, &expected) {
            (Detail::Plain(_), Detail::Plain(_)) => {}
            (detail, expected) => assert_eq!(detail, expected, "{slug}"),
        }
    };
    let misfit = Misfit { path: "/lines/0/qty".into(), message: "0 is less than 1".into() };
    check("input_does_not_fit", json!({ "errors": [misfit] }), Detail::Misfits(vec![misfit.clone()]));
    check("key_reused", json!({ "saga": saga }), Detail::KeyReused { saga: saga.parse().expect("an id") });
    check(
        "unknown_operation",
        json!({ "operations": ["bank.take"] }),
        Detail::UnknownOperations(vec!["bank.take".into()]),
    );
    check(
        "child_circle",
        json!({ "path": ["a@1", "b@1"] }),
        Detail::Children { path: vec!["a@1".into(), "b@1".into()] },
    );
    check("definition_exists", json!({ "hash": "ab" }), Detail::Registered { hash: "ab".into() });
    check("repair_settled", json!({}), Detail::Settled { settled: None, newer: None });
    check("repair_retrying", json!({ "by": "ann" }), Detail::Retrying { by: "ann".into() });
    // What does not have the expected form is handed over as it came.
    check("key_reused", json!({ "saga": 7 }), Detail::Plain(serde_json::Map::new()));
}

#[test]
fn a_newer_coordinators_kind_is_kept_as_text() {
    let problem =
        read(409, json!({ "title": "t", "detail": "d", "slug": "not_yet_invented", "retry_after": 7 }));
    assert_eq!((problem.slug, problem.kind.as_str()), (None, "not_yet_invented"));
    assert_eq!(problem.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(problem.to_string(), "t: d");
}
