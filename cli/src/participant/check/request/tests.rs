//! What `curl` is told.

use super::*;

fn ask() -> Ask {
    Ask {
        operation: "charge".to_owned(),
        saga: Uuid::from_u128(7),
        step: "check".to_owned(),
        op: CallOp::Action,
        of: CallOp::Action,
        attempt: 1,
        round: 0,
        epoch: 1,
        body: serde_json::json!({ "owner": "O'Hara" }),
    }
}

#[test]
fn a_request_is_told_as_a_command_that_repeats_it() {
    let ask = ask();
    let request =
        Request::post("http://h/charge".to_owned(), ask.headers(), Payload::Text(ask.body.to_string()));
    assert_eq!(
        request.curl(),
        "curl -i 'http://h/charge' -H 'content-type: application/json' \
         -H 'saga-id: 00000000-0000-0000-0000-000000000007' -H 'saga-step: check' -H 'saga-op: action' \
         -H 'saga-attempt: 1' -H 'saga-epoch: 1' \
         -H 'idempotency-key: 00000000-0000-0000-0000-000000000007/check/action' \
         --data-binary '{\"owner\":\"O'\\''Hara\"}'"
    );
    assert_eq!(Request::get("http://h/healthz".to_owned()).curl(), "curl -i 'http://h/healthz'");
}

#[test]
fn a_later_round_is_told_in_the_headers_the_key_and_a_batch() {
    let again = ask().round(2);
    let headers = again.headers();
    assert!(headers.contains(&("saga-round".to_owned(), "2".to_owned())));
    assert!(
        headers.iter().any(|(name, value)| name == "idempotency-key" && value.ends_with("/check/action:r2"))
    );
    assert_eq!((&again.entry()["round"], ask().entry().get("round")), (&2.into(), None));
}

#[test]
fn a_status_question_has_the_key_of_what_it_asks_about() {
    let (call, status) = (ask(), ask().status());
    let key = |ask: &Ask| ask.entry()["key"].clone();
    assert_eq!(key(&call), key(&status));
    assert_eq!((&status.entry()["op"], &status.entry()["status_of"]), (&"status".into(), &"action".into()));
    assert!(status.headers().contains(&("saga-status-of".to_owned(), "action".to_owned())));
    assert!(call.entry().get("status_of").is_none());
}
