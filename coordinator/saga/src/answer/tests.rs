//! The whole answer table, and what a report keeps.

use super::*;

/// What each status means: `d`one, `p`ending, `r`efused, `c`ontract, `n`ot seen, `u`nknown.
fn letter(op: Op, asked: Asked, status: u16, body: Body) -> char {
    match read(op, asked, status, None, body, 3) {
        Answer::Done(_) => 'd',
        Answer::Pending { .. } => 'p',
        Answer::Refused(_) => 'r',
        Answer::Contract(_) => 'c',
        Answer::NotSeen => 'n',
        Answer::Unknown { .. } => 'u',
    }
}

#[test]
fn every_status_is_read_by_the_table() {
    // Status, then what it means to an action, a compensation, and to either's status question.
    let special = [
        (202, "pppp"),
        (404, "ccnn"),
        (408, "uuuu"),
        (409, "rrrr"),
        (410, "rdrd"),
        (425, "pppp"),
        (429, "uuuu"),
    ];
    for status in 100..=999 {
        let usual = match status {
            200..=299 => "dddd",
            300..=499 => "cccc",
            _ => "uuuu",
        };
        let expected = special.iter().find(|(s, _)| *s == status).map_or(usual, |(_, means)| means);
        let columns = [
            (Op::Action, Asked::Call),
            (Op::Compensation, Asked::Call),
            (Op::Action, Asked::Status),
            (Op::Compensation, Asked::Status),
        ];
        for body in [Body::Empty, Body::Json(Json::default())] {
            let means: String =
                columns.iter().map(|(op, asked)| letter(*op, *asked, status, body.clone())).collect();
            assert_eq!(means, expected, "status {status}");
        }
    }
}

#[test]
fn a_bad_body_makes_only_a_success_unknown() {
    let bad = || Body::Bad("3 bytes that are not JSON".to_owned());
    for (status, expected) in
        [(200, 'u'), (204, 'u'), (202, 'p'), (409, 'r'), (422, 'c'), (500, 'u'), (302, 'c')]
    {
        assert_eq!(letter(Op::Action, Asked::Call, status, bad()), expected, "status {status}");
    }
}

#[test]
fn any_json_is_an_output_and_nothing_is_null() {
    for text in ["null", "false", "0", "\"\"", "[]", "{\"a\":[1,2]}", "18446744073709551615", "1e-7"] {
        let value: Json = Json::new(serde_json::from_str(text).expect("JSON"));
        let answer = read(Op::Action, Asked::Call, 200, None, Body::Json(value.clone()), 0);
        assert_eq!(answer, Answer::Done(value));
    }
    assert_eq!(read(Op::Action, Asked::Call, 204, None, Body::Empty, 0), Answer::Done(Json::default()));
}

#[test]
fn retry_after_is_kept_up_to_an_hour() {
    for (given, kept) in [(0, 0), (1500, 1500), (3_600_000, 3_600_000), (86_400_000, 3_600_000)] {
        for status in [202, 425, 429, 503] {
            let answer = read(Op::Action, Asked::Call, status, Some(Millis(given)), Body::Empty, 0);
            let (Answer::Pending { retry_after, .. } | Answer::Unknown { retry_after, .. }) = answer else {
                panic!("status {status} means to come again");
            };
            assert_eq!(retry_after, Some(Millis(kept)));
        }
    }
}

#[test]
fn a_report_says_what_a_person_wants_to_read() {
    let check = |body: &str, expected: &str| {
        let body = Body::Json(Json::new(serde_json::from_str(body).expect("JSON")));
        let Answer::Refused(report) = read(Op::Action, Asked::Call, 409, None, body, 7) else {
            panic!("refused")
        };
        assert_eq!((report.message.as_str(), report.status, report.latency_ms), (expected, Some(409), 7));
    };
    check(r#"{"message":"sold out","detail":"no"}"#, "sold out");
    check(r#"{"title":"Conflict","detail":"no more chairs"}"#, "no more chairs");
    check(r#"{"error":"gone"}"#, "gone");
    check(r#"{"error":{"code":1}}"#, r#"status 409: {"error":{"code":1}}"#);
    check("[]", "status 409: []");
}

#[test]
fn a_long_message_is_cut_between_characters() {
    for text in ["x".repeat(2000), "ü".repeat(1000), "日".repeat(800), "🦀".repeat(300)] {
        let report = Report::new(None, text, 0);
        assert!(report.message.len() <= MESSAGE_BYTES_MAX);
        assert!(report.message.ends_with("..."));
    }
    assert_eq!(Report::new(None, "x".repeat(MESSAGE_BYTES_MAX), 0).message.len(), MESSAGE_BYTES_MAX);
}
