//! Which texts are names.

use super::*;

#[test]
fn names_follow_the_rule() {
    for good in ["a", "reserve", "a0", "order-2_b", &"x".repeat(63)] {
        assert_eq!(Name::parse(good).map(String::from).as_deref(), Ok(good));
    }
    for bad in ["", "0a", "-a", "_", "A", "aB", "a b", "a.b", "é", "aé", &"x".repeat(64), "a\n"] {
        assert!(Name::parse(bad).is_err(), "{bad:?} is not a name");
    }
}

#[test]
fn a_name_that_is_read_is_checked() {
    assert!(serde_json::from_str::<Name>("\"a\"").is_ok());
    let error = serde_json::from_str::<Name>("\"A\\u001b\"").expect_err("not a name").to_string();
    assert!(error.contains("use a lower-case letter") && !error.contains('\u{1b}'), "{error}");
}
