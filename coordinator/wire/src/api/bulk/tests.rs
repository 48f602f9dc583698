//! What a request for a bulk job may say.

use super::*;
use crate::api::body;

fn check(text: &str, expected: Option<Slug>) {
    let read = body::read::<BulkRequest>(text.as_bytes()).and_then(BulkRequest::checked);
    assert_eq!(read.as_ref().err().map(|problem| problem.slug), expected, "{text}: {read:?}");
}

#[test]
fn a_request_says_plainly_what_is_meant() {
    let bad = Some(Slug::MalformedBody);
    let table = [
        (r#"{"action": "retry", "filter": {"participant": "shop"}}"#, None),
        (r#"{"action": "retry", "filter": {"status": "open"}}"#, None),
        (r#"{"action": "retry", "filter": {"status": ["open", "assigned"]}, "per_second": 5000}"#, None),
        (r#"{"action": "retry", "filter": {}, "all": true}"#, None),
        (r#"{"action": "skip", "filter": {}, "dry_run": true}"#, None),
        (r#"{"action": "assign", "filter": {"step": "hold"}, "assignee": "ada"}"#, None),
        (r#"{"action": "retry", "filter": {}}"#, Some(Slug::FilterRequired)),
        (r#"{"action": "skip", "filter": {"step": "hold"}}"#, Some(Slug::NoteRequired)),
        (r#"{"action": "resolve", "filter": {"step": "hold"}, "note": "  "}"#, Some(Slug::NoteRequired)),
        (r#"{"action": "abandon", "filter": {"kind": "anomaly"}, "note": "x"}"#, Some(Slug::NotRetryable)),
        (r#"{"action": "retry"}"#, bad),
        (r#"{"action": "retry", "filter": []}"#, bad),
        (r#"{"action": "retry", "filter": null}"#, bad),
        (r#"{"action": "prove", "filter": {"step": "hold"}}"#, bad),
        (r#"{"action": "retry", "filter": {"colour": "red"}}"#, bad),
        (r#"{"action": "retry", "filter": {"status": "gone"}}"#, bad),
        (r#"{"action": "retry", "filter": {"status": "settled"}}"#, bad),
        (r#"{"action": "retry", "filter": {"step": "Hold"}}"#, bad),
        (r#"{"action": "retry", "filter": {"kind": "step", "reason": "anomaly"}}"#, bad),
        (r#"{"action": "retry", "filter": {"kind": "anomaly", "reason": "refused"}}"#, bad),
        (r#"{"action": "retry", "filter": {"opened_after": "noon"}}"#, bad),
        (r#"{"action": "assign", "filter": {"step": "hold"}}"#, bad),
        (r#"{"action": "retry", "filter": {"step": "hold"}, "assignee": "ada"}"#, bad),
        (r#"{"action": "retry", "filter": {"step": "hold"}, "per_second": 0}"#, bad),
        (r#"{"action": "retry", "filter": {"step": "hold"}, "per_second": 5001}"#, bad),
    ];
    for (text, expected) in table {
        check(text, expected);
    }
}

#[test]
fn a_filter_is_written_as_it_is_read() {
    let text = r#"{"status":["open"],"kind":"step","participant":"shop","opened_before":"2026-11-20T18:00:00.000Z"}"#;
    let filter: RepairFilter = serde_json::from_str(text).expect("a filter");
    assert_eq!(serde_json::to_string(&filter).expect("text"), text);
    assert!(!filter.is_empty());
    assert!(serde_json::from_str::<RepairFilter>("{}").expect("a filter").is_empty());
}
