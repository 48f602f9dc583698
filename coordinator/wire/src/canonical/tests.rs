//! Canonical forms, faults with their paths, and fingerprints.

use super::*;
use serde_json::Value;

fn canonical_text(text: &str) -> Result<String, Fault> {
    let raw: Box<RawValue> = serde_json::from_str(text).expect("the case is JSON");
    canonical(&raw).map(|bytes| String::from_utf8(bytes).expect("canonical JSON is UTF-8"))
}

#[test]
fn keys_are_sorted_space_is_dropped_and_numbers_stay_as_written() {
    for (text, expected) in [
        ("{}", "{}"),
        (" [ ] ", "[]"),
        ("{ \"b\" : 1 , \"a\" : [ 1.0 , true , null ] }", r#"{"a":[1.0,true,null],"b":1}"#),
        (r#"{"z":{"y":1,"x":{"w":[],"v":{}}},"a":0}"#, r#"{"a":0,"z":{"x":{"v":{},"w":[]},"y":1}}"#),
        (r#""\u0061\/\n\u00e9""#, r#""a/\né""#),
        (r#"{"\u0062":1,"a":2}"#, r#"{"a":2,"b":1}"#),
        (r#""\ud83d\ude00""#, "\"\u{1f600}\""),
        (r#"["a\"b","\\"]"#, r#"["a\"b","\\"]"#),
        ("-0", "-0"),
        ("1e2", "1e2"),
        ("18446744073709551615", "18446744073709551615"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("0.1", "0.1"),
        ("1.7976931348623157e308", "1.7976931348623157e308"),
        ("[1,[2,[3]],{\"a\":{}}]", "[1,[2,[3]],{\"a\":{}}]"),
    ] {
        assert_eq!(canonical_text(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_has_no_canonical_form_is_refused_with_its_path() {
    let inexact =
        |path: &str, number: &str| Fault::InexactNumber { path: path.into(), number: number.into() };
    let repeated = |path: &str| Fault::RepeatedKey { path: path.into() };
    for (text, expected) in [
        (r#"{"a":1,"a":1}"#, repeated("a")),
        (r#"{"a":{"c":1,"b":2,"\u0063":3}}"#, repeated("a.c")),
        (r#"[0,{"x":[{"k":1,"k":2}]}]"#, repeated("[1].x[0].k")),
        (r#"{"lines":[{"qty":18446744073709551616}]}"#, inexact("lines[0].qty", "18446744073709551616")),
        ("-9223372036854775809", inexact("", "-9223372036854775809")),
        ("100000000000000000000", inexact("", "100000000000000000000")),
        ("0.1000000000000000055", inexact("", "0.1000000000000000055")),
        ("1e400", inexact("", "1e400")),
        ("1e-400", inexact("", "1e-400")),
        ("9007199254740993.0", inexact("", "9007199254740993.0")),
        (r#"{"name":"\ud800"}"#, Fault::BadString { path: "name".into() }),
    ] {
        assert_eq!(canonical_text(text), Err(expected), "{text}");
    }
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    assert_eq!(canonical_text(&deep), Err(Fault::TooDeep));
    let allowed = format!("{}{}", "[".repeat(64), "]".repeat(64));
    assert_eq!(canonical_text(&allowed).as_deref(), Ok(allowed.as_str()));
}

#[test]
fn an_accepted_number_means_the_same_after_a_value() {
    for text in
        ["0.1", "1.5e-300", "123456789.123456", "0.30000000000000004", "5e-324", "1e22", "-2.50", "0.0", "-0"]
    {
        assert!(keeps(text), "{text}");
        let value: Value = serde_json::from_str(text).expect("a number");
        let again = value.to_string();
        assert_eq!(decimal(&again), decimal(text), "{text} became {again}");
    }
}

#[test]
fn a_canonical_form_is_its_own_canonical_form() {
    let text = r#"{"b":[{"d":1,"c":"\u00e9"},2.50],"a":"x\ty"}"#;
    let once = canonical_text(text).expect("canonical");
    assert_eq!(canonical_text(&once).as_deref(), Ok(once.as_str()));
    let value: Value = serde_json::from_str(text).expect("json");
    assert_eq!(serde_json::from_str::<Value>(&once).expect("json"), value);
}

#[test]
fn depth_counts_brackets_outside_strings_only() {
    for (text, expected) in [("1", 0), ("[]", 1), (r#"{"a":["[[[\"[["]}"#, 2), ("]]][[", 2), ("\"[", 0)] {
        assert_eq!(depth(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn fingerprints_tell_parts_apart() {
    let of = |parts: &[&str]| fingerprint(parts.iter().map(|p| p.as_bytes()));
    assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
    assert_ne!(of(&["a", "b"]), of(&["ab", ""]));
    assert_ne!(of(&["ab"]), of(&["a", "b"]));
    assert_eq!(hex(&fingerprint([])[..4]), "e3b0c442");
}
