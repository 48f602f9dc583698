//! What is written is read back as the same definition.

use super::*;
use amends_wire::definition::Text;
use proptest::prelude::*;
use serde_json::json;

/// Writes a definition and reads it back.
fn check(content: &Value) {
    let text = write(content);
    let again = Text::read(&text).unwrap_or_else(|faults| panic!("{}", faults.render("written", &text)));
    assert_eq!(again.to_json(), content, "{text}");
}

#[test]
fn the_shops_definitions_come_back_as_they_are() {
    for name in ["checkout", "order", "parallel"] {
        let path = format!("{}/../sagas/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = Text::read(&std::fs::read_to_string(path).expect("a definition")).expect("no fault");
        check(text.to_json());
    }
}

#[test]
fn a_definition_is_laid_out_as_people_write_it() {
    let content = json!({
        "output": { "to": "${{ input.order }}", "from": 1 },
        "steps": [
            { "pay": { "with": { "when": "now", "a": [] }, "compensation": "order.refund", "action": "order.pay", "after": [] } },
            { "wait": { "timeout": "15m", "await": "payment", "after": ["pay"] } },
        ],
        "input": { "properties": { "order": { "type": "string" } }, "required": ["order"], "type": "object" },
        "version": 2, "saga": "buy", "deadline": "20m",
    });
    let expected = "\
saga: buy
version: 2
deadline: 20m

input:
  type: object
  required: [order]
  properties:
    order:
      type: string

steps:
  - pay:
      after: []
      action: order.pay
      compensation: order.refund
      with:
        a: []
        when: now
  - wait:
      after: [pay]
      await: payment
      timeout: 15m

output:
  from: 1
  to: \"${{ input.order }}\"
";
    assert_eq!(write(&content), expected);
    check(&content);
}

#[test]
fn words_that_yaml_would_take_for_something_else_are_quoted() {
    let texts = [
        "true",
        "No",
        "~",
        "",
        " ",
        "1",
        "1e3",
        "0x1f",
        "12:30",
        "-",
        "- a",
        "a: b",
        "a #b",
        "*a",
        "&a",
        "!a",
        "|",
        ">",
        "%a",
        "@a",
        "`a",
        "[a]",
        "{a}",
        "'a'",
        "\"a\"",
        "a\nb",
        "\ttab",
        "é",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "a\u{0}b",
        "15m",
        "1_000",
        ".5",
        "null",
        "---",
        "...",
        "? a",
        "=",
        "2026-11-20",
    ];
    let with: Map<String, Value> = texts.iter().map(|text| ((*text).to_owned(), json!(text))).collect();
    let step = json!({ "a": { "action": "p.o", "read_only": true, "with": { "texts": with, "list": texts.to_vec() } } });
    check(&json!({ "saga": "x", "steps": [step] }));
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = "[ -~\\t\\n\u{80}-\u{a0}\u{2020}-\u{2030}é]{0,12}"
        .prop_filter("no expression", |text| !text.contains("${{"));
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9_f64..1e9).prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_comes_back_as_it_is(value in any_json()) {
        check(&json!({ "saga": "x", "steps": [{ "a": { "action": "p.o", "read_only": true, "with": value } }] }));
    }
}
