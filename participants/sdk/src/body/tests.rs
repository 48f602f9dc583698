//! What a reader takes, and what it says of everything else.

use serde_json::json;

use super::*;

/// What is said of a body, as `path message`.
fn said<T>(body: &Value, read: impl Fn(&mut Reader, &Value) -> T) -> Vec<String> {
    let mut reader = Reader::default();
    let value = read(&mut reader, body);
    let misfits = reader.finish(Some(value)).err().unwrap_or_default();
    misfits.into_iter().map(|misfit| format!("{} {}", misfit.path, misfit.message)).collect()
}

#[test]
fn a_text_is_short_and_plain() {
    let check = |sent: Value, expected: &[&str]| {
        let body = json!({ "order": sent });
        assert_eq!(said(&body, |reader, body| reader.text(body, "", "order", 1..=4)), expected, "{body}");
    };
    for fits in ["1", "a/b?", "Größ"] {
        check(json!(fits), &[]);
    }
    check(json!(""), &["/order must be a text of 1 to 4 characters, not 0 characters"]);
    check(json!("Größe"), &["/order must be a text of 1 to 4 characters, not 5 characters"]);
    check(json!("a\nb"), &["/order must not contain control characters"]);
    for spaced in [" a", "a ", "\u{a0}a"] {
        check(json!(spaced), &["/order must not begin or end with a space"]);
    }
    check(json!(7), &["/order must be a text of 1 to 4 characters, not 7"]);
    check(json!(null), &["/order must be a text of 1 to 4 characters, not null"]);
    check(json!(["a"]), &["/order must be a text of 1 to 4 characters, not a list"]);
}

#[test]
fn an_integer_is_whole_and_in_range() {
    let check = |sent: Value, expected: &[&str]| {
        let body = json!({ "qty": sent });
        assert_eq!(said(&body, |reader, body| reader.integer(body, "/a", "qty", 1..=9)), expected, "{body}");
    };
    check(json!(1), &[]);
    check(json!(9), &[]);
    check(json!(0), &["/a/qty must be an integer from 1 to 9, not 0"]);
    check(json!(10), &["/a/qty must be an integer from 1 to 9, not 10"]);
    check(json!(u64::MAX), &["/a/qty must be an integer from 1 to 9, not 18446744073709551615"]);
    check(json!(1.0), &["/a/qty must be an integer from 1 to 9, not 1.0"]);
    check(json!("1"), &["/a/qty must be an integer from 1 to 9, not \"1\""]);
    check(json!(true), &["/a/qty must be an integer from 1 to 9, not true"]);
    check(json!({}), &["/a/qty must be an integer from 1 to 9, not an object"]);
}

#[test]
fn what_is_missing_is_a_misfit_unless_it_may_be() {
    for body in [json!(null), json!([]), json!("x"), json!({})] {
        let text = said(&body, |reader, body| reader.text(body, "", "a", 1..=2));
        assert_eq!(text, ["/a is missing: a text of 1 to 2 characters"]);
        let integer = said(&body, |reader, body| reader.integer(body, "", "a", 1..=2));
        assert_eq!(integer, ["/a is missing: an integer from 1 to 2"]);
        let list = said(&body, |reader, body| reader.quantities(body, 2, 9));
        assert_eq!(list, ["/lines is missing: a list of 1 to 2 entries"]);
    }
    for body in [json!({}), json!({ "a": null })] {
        assert!(said(&body, |reader, body| reader.text_if_any(body, "", "a", 1..=2)).is_empty());
        assert!(said(&body, |reader, body| reader.integer_if_any(body, "", "a", 1..=2)).is_empty());
        assert_eq!(given(&body, "a"), None);
    }
}

#[test]
fn lines_of_the_same_sku_are_added_up_and_ascend() {
    let body = json!({ "lines": [
        { "sku": 9, "qty": 1 }, { "sku": 2, "qty": 3, "name": "ignored" }, { "sku": 9, "qty": 4 },
    ] });
    let mut reader = Reader::default();
    let quantities = reader.quantities(&body, 3, 4);
    assert_eq!(reader.finish(Some(quantities)), Ok(BTreeMap::from([(2, 3), (9, 5)])));
}

#[test]
fn every_misfit_of_a_list_is_named_by_its_path() {
    let check = |lines: Value, expected: &[&str]| {
        let body = json!({ "lines": lines });
        assert_eq!(said(&body, |reader, body| reader.quantities(body, 2, 9)), expected, "{body}");
    };
    check(json!([]), &["/lines must be a list of 1 to 2 entries, not of 0"]);
    check(json!([1, 2, 3]), &["/lines must be a list of 1 to 2 entries, not of 3"]);
    check(json!("1"), &["/lines must be a list of 1 to 2 entries, not \"1\""]);
    let sku = "/lines/0/sku must be an integer from 1 to 9223372036854775807, not 0";
    check(
        json!([{ "sku": 0, "qty": 10 }, { "sku": 1 }]),
        &[
            sku,
            "/lines/0/qty must be an integer from 1 to 9, not 10",
            "/lines/1/qty is missing: an integer from 1 to 9",
        ],
    );
}

#[test]
fn misfits_are_bounded_in_number_and_in_length() {
    let body = json!({ "lines": vec![json!({}); 500] });
    assert_eq!(said(&body, |reader, body| reader.quantities(body, 500, 9)).len(), MISFITS_MAX);
    let body = json!({ "qty": "y".repeat(100_000) });
    let said = said(&body, |reader, body| reader.integer(body, "", "qty", 1..=9));
    assert_eq!(said, [format!("/qty must be an integer from 1 to 9, not \"{}\"…", "y".repeat(40))]);
}

#[test]
fn a_value_counts_only_when_everything_fits() {
    let mut reader = Reader::default();
    reader.misfit("/a", "is wrong");
    let misfits = reader.finish(Some(())).unwrap_err();
    assert_eq!(Reader::default().finish::<()>(None), Err(Vec::new()));
    let problem = serde_json::to_value(does_not_fit(&misfits)).unwrap();
    assert_eq!((&problem["status"], &problem["detail"]), (&json!(422), &json!("/a is wrong")));
    assert_eq!(problem["errors"], json!([{ "path": "/a", "message": "is wrong" }]));
}
