//! What queries mean, and which are refused.

use super::*;

fn read(raw: &str) -> Result<Query, Failure> {
    Query::read(Some(raw), &["wait", "limit", "flag", "number", "cursor", "key"], &["status", "label"])
}

fn query(raw: &str) -> Query {
    read(raw).unwrap_or_else(|failure| panic!("{raw}: {failure:?}"))
}

/// The detail of a refusal.
fn no<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
    let failure = result.expect_err("it is refused");
    assert_eq!(failure.0.slug, Slug::BadQuery);
    failure.0.detail.clone()
}

#[test]
fn a_query_is_read_strictly() {
    assert_eq!(Query::read(None, &[], &[]).ok(), Some(Query(vec![])));
    assert_eq!(query("").get("wait"), None);
    assert_eq!(query("key=a%20b+c%2b").get("key"), Some("a b c+"));
    assert_eq!(query("status=a&status=b").all("status").collect::<Vec<_>>(), ["a", "b"]);
    assert!(no(read("colour=red")).contains("\"colour\" is not a parameter here; there are wait, limit"));
    assert!(no(read("limit=1&limit=1")).contains("given twice"));
    assert!(no(read(&"x".repeat(5000))).len() < 300, "a long name is cut");
}

#[test]
fn a_wait_is_seconds_or_a_span_of_a_minute_at_most() {
    let millis = |raw: &str| query(raw).wait().map(|wait| wait.map(|wait| wait.as_millis()));
    for (raw, expected) in [
        ("", None),
        ("wait=0", None),
        ("wait=0s", None),
        ("wait=1", Some(1000)),
        ("wait=60", Some(60_000)),
        ("wait=10s", Some(10_000)),
        ("wait=500ms", Some(500)),
        ("wait=1m", Some(60_000)),
    ] {
        assert_eq!(millis(raw).ok(), Some(expected), "{raw}");
    }
    for raw in ["wait=", "wait=61", "wait=61s", "wait=2m", "wait=-1s", "wait=1.5", "wait=ever", "wait=1h"] {
        assert!(no(millis(raw)).contains("at most 60s"), "{raw}");
    }
}

#[test]
fn limits_flags_and_numbers_have_their_ranges() {
    let limit = |raw: &str| query(raw).limit();
    assert_eq!(["", "limit=1", "limit=500"].map(|raw| limit(raw).ok()), [Some(50), Some(1), Some(500)]);
    for raw in ["limit=0", "limit=501", "limit=", "limit=+", "limit=1e2", "limit=-1"] {
        assert!(no(limit(raw)).contains("from 1 to 500"), "{raw}");
    }
    let flag = |raw: &str| query(raw).flag("flag");
    for (raw, expected) in
        [("", false), ("flag", true), ("flag=true", true), ("flag=1", true), ("flag=0", false)]
    {
        assert_eq!(flag(raw).ok(), Some(expected), "{raw}");
    }
    assert!(no(flag("flag=yes")).contains("true or false"));
    assert_eq!(query("number=18446744073709551615").number("number").ok(), Some(Some(u64::MAX)));
    assert!(no(query("number=18446744073709551616").number("number")).contains("whole number"));
    assert!(no(query("cursor=7").cursor()).contains("start again without it"));
}

#[test]
fn a_filter_says_what_was_asked() {
    let names = ["key", "step", "participant", "definition", "created_after", "created_before"];
    let filter = |raw: &str| Query::read(Some(raw), &names, &["status", "label"]).and_then(|q| q.filter());
    assert_eq!(filter("").ok(), Some(Filter::default()));
    let raw = "status=running,repair&status=completed&definition=checkout@3&label=order:1&label=a:b:c&key=k\
               &step=pay&participant=shop&created_after=1970-01-01T00:00:01Z&created_before=1970-01-01T00:00:02.5Z";
    let expected = Filter {
        statuses: vec![Status::Running, Status::Repair, Status::Completed],
        definition: Some("checkout".to_owned()),
        version: Some(3),
        labels: [("order".to_owned(), "1".to_owned()), ("a".to_owned(), "b:c".to_owned())].into(),
        key: Some("k".to_owned()),
        step: Some("pay".to_owned()),
        participant: Some("shop".to_owned()),
        created_after: Some(Timestamp(1000)),
        created_before: Some(Timestamp(2500)),
    };
    assert_eq!(filter(raw).ok(), Some(expected));
    for raw in [
        "status=",
        "status=Running",
        "status=running,",
        "label=order",
        "definition=a@b",
        "step=Pay",
        "participant=",
        "created_after=2026",
        "created_before=now",
    ] {
        no(filter(raw));
    }
}

#[test]
fn the_place_in_a_list_of_items_is_written_and_read_back() {
    for ms in [0, 1, 1_795_197_600_000, i64::MAX] {
        let place = Place { opened_at: Timestamp(ms), item: Uuid::from_u128(u128::MAX / 7) };
        let again = query(&format!("cursor={}", cursor(place))).place().expect("a cursor");
        assert_eq!(again, Some(place));
    }
    assert_eq!(query("").place().expect("none"), None);
    for raw in ["cursor=", "cursor=1", "cursor=1.", "cursor=.1", "cursor=1.1", "cursor=x.x"] {
        assert!(no(query(raw).place()).contains("\"next\""), "{raw}");
    }
}

#[test]
fn a_filter_of_items_is_read_from_words_and_names() {
    let read = |raw: &str| {
        Query::read(Some(raw), &OF_REPAIRS, &["status"])
            .unwrap_or_else(|failure| panic!("{raw}: {failure:?}"))
            .repairs()
    };
    let json = |raw: &str| serde_json::to_value(read(raw).expect(raw)).expect("JSON");
    for (raw, expected) in [
        ("", serde_json::json!({})),
        (
            "status=open,assigned&status=retrying",
            serde_json::json!({ "status": ["open", "assigned", "retrying"] }),
        ),
        ("kind=anomaly&reason=anomaly", serde_json::json!({ "kind": "anomaly", "reason": "anomaly" })),
        (
            "step=hold&participant=shop&assignee=Ada%20L",
            serde_json::json!({ "step": "hold", "participant": "shop", "assignee": "Ada L" }),
        ),
        (
            "opened_after=1970-01-01T00:00:01Z",
            serde_json::json!({ "opened_after": "1970-01-01T00:00:01.000Z" }),
        ),
    ] {
        assert_eq!(json(raw), expected, "{raw}");
    }
    assert!(no(read("status=gone")).contains("expected one of `open`, `assigned`, `retrying`, `settled`"));
    assert!(no(read(&format!("step={}", "x".repeat(5000)))).len() < 300, "a long value is cut");
}
