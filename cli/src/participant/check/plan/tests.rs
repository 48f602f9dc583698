//! Reading what the flags say.

use super::*;
use serde_json::json;

#[test]
fn a_value_is_for_one_operation_or_for_all() {
    for (text, operation, value) in [
        ("charge={\"a\": \"b=c\"}", Some("charge"), "{\"a\": \"b=c\"}"),
        ("{\"a\": \"b=c\"}", None, "{\"a\": \"b=c\"}"),
        ("charge=@body.json", Some("charge"), "@body.json"),
        ("@body.json", None, "@body.json"),
        ("@a=b.json", None, "@a=b.json"),
        ("refund", None, "refund"),
    ] {
        let read: For = text.parse().expect("whatever it is");
        assert_eq!((read.operation.as_deref(), read.value.as_str()), (operation, value), "{text}");
    }
}

#[test]
fn a_body_has_the_sagas_id_where_it_says_so() {
    let saga = Uuid::from_u128(7);
    let body = json!({
        "order": "${{ saga.id }}", "both": "${{saga.id}}/${{ saga.id }}", "other": "${{ input.x }} ${{",
        "deep": [{ "n": 1, "t": "x ${{ saga.id }}" }],
    });
    let id = saga.to_string();
    assert_eq!(
        rendered(&body, saga),
        json!({
            "order": id, "both": format!("{id}/{id}"), "other": "${{ input.x }} ${{",
            "deep": [{ "n": 1, "t": format!("x {id}") }],
        })
    );
}

#[test]
fn what_the_flags_say_wins_over_all_and_the_registration() {
    let given = Given {
        operations: vec!["charge".to_owned(), "earn".to_owned()],
        bodies: vec!["{\"all\": 1}".parse().expect("read"), "earn={\"one\": 1}".parse().expect("read")],
        compensations: vec!["charge=refund".parse().expect("read")],
        batch: Some(8),
        ..Given::default()
    };
    let subjects = given.subjects().expect("they can be read");
    assert_eq!(subjects[0].body, Some(json!({ "all": 1 })));
    assert_eq!(
        (subjects[0].compensation.as_deref(), subjects[0].compensation_batch),
        (Some("refund"), Some(8))
    );
    assert_eq!(
        (subjects[1].body.clone(), subjects[1].compensation.clone()),
        (Some(json!({ "one": 1 })), None)
    );
    let bad = Given { bodies: vec!["charge={".parse().expect("read")], ..given };
    assert!(bad.subjects().is_err_and(|error| error.to_string().contains("is not JSON")));
}
