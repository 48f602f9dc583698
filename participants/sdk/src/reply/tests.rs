//! Which answers are kept, and how an answer looks on the wire.

use super::Reply;
use amends_wire::participant::CallOp::{Action, Compensation, Confirm};
use axum::response::IntoResponse;
use serde_json::{Value, json};

#[test]
fn what_is_definite_is_kept_and_a_no_only_to_an_action() {
    // status, then whether it is kept for an action, a compensation, a confirm
    for (status, kept) in [
        (200, [true, true, true]),
        (202, [true, true, true]),
        (204, [true, true, true]),
        (302, [true, false, false]),
        (400, [true, false, false]),
        (404, [true, false, false]),
        (408, [false, false, false]),
        (409, [true, false, false]),
        (410, [true, true, true]),
        (422, [true, false, false]),
        (425, [true, true, true]),
        (429, [false, false, false]),
        (500, [false, false, false]),
        (503, [false, false, false]),
        (0, [false, false, false]),
        (999, [false, false, false]),
    ] {
        let reply = Reply { status, body: Value::Null, retry_after: None };
        assert_eq!([Action, Compensation, Confirm].map(|op| reply.is_kept(op)), kept, "{status}");
    }
}

#[test]
fn only_a_problem_is_called_one() {
    for (reply, media) in [
        (Reply::done(json!({ "title": "a book" })), "application/json"),
        (Reply::refused("sold out", json!({ "sku": 7 })), "application/json"),
        (
            Reply { status: 422, body: json!({ "title": "no" }), retry_after: None },
            "application/problem+json",
        ),
    ] {
        let response = reply.clone().into_response();
        assert_eq!(response.headers()["content-type"], media, "{reply:?}");
    }
    let refused = Reply::refused("sold out", json!({ "sku": 7 }));
    assert_eq!(refused.body, json!({ "message": "sold out", "sku": 7 }));
    assert_eq!(Reply::refused("no", Value::Null).body, json!({ "message": "no" }));
    let late = Reply::unavailable("later", Some(3)).into_response();
    assert_eq!(late.headers()["retry-after"], "3");
}
