//! Every definition that the project ships, written in code: the same content, and so the same hash.

use super::{Definition, call, retry, signal, undo};
use crate::Error;
use amends_wire::definition::Text;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../sagas")
}

/// The cart that the shop's definitions take.
fn cart(line: Value) -> Value {
    json!({
        "type": "array", "minItems": 1, "maxItems": 1000,
        "items": line,
    })
}

fn line() -> Value {
    json!({
        "type": "object", "required": ["sku", "qty"],
        "properties": {
            "sku": { "type": "integer", "minimum": 1 },
            "qty": { "type": "integer", "minimum": 1, "maximum": 1_000_000 },
        },
    })
}

fn closed(mut schema: Value) -> Value {
    schema["additionalProperties"] = json!(false);
    schema
}

fn named() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 64 })
}

fn order_and_lines() -> Value {
    json!({ "order": "${{ input.order }}", "lines": "${{ input.lines }}" })
}

fn the_order() -> Value {
    json!({ "order": "${{ input.order }}" })
}

fn checkout() -> Definition {
    let input = closed(json!({
        "type": "object", "required": ["order", "lines"],
        "properties": {
            "order": named(), "customer": named(),
            "currency": { "type": "string", "pattern": "^[A-Z]{3}$" },
            "lines": cart(closed(line())),
        },
    }));
    let quote = json!({ "lines": "${{ input.lines }}", "currency": "${{ input.currency | default(none) }}" });
    let create = json!({
        "order": "${{ input.order }}",
        "customer": "${{ input.customer | default(none) }}",
        "currency": "${{ steps.quote.output.currency }}",
        "lines": "${{ steps.quote.output.lines }}",
    });
    let patient = retry().quick(3).attempts(20).first("1s").factor(2.0).max("10m").within("24h");
    Definition::named("checkout")
        .version(1)
        .deadline(Duration::from_secs(20 * 60))
        .input(input)
        .step(call("quote", "product.quote").read_only().with(quote))
        .step(call("reserve", "inventory.hold").compensation("inventory.release").with(order_and_lines()))
        .step(call("order", "order.create").compensation("order.cancel").with(create))
        .step(signal("payment", "payment").timeout(Duration::from_secs(15 * 60)))
        .step(call("confirm", "inventory.confirm").compensation("inventory.restore").with(order_and_lines()))
        .step(
            call("paid", "order.pay")
                .retry(retry().attempts(8).first(Duration::from_millis(200)).factor(2.0).max("10s"))
                .compensation(undo("order.refund").retry(patient))
                .with(the_order()),
        )
        .output(json!({
            "order": "${{ input.order }}",
            "total": "${{ steps.quote.output.total }}",
            "payment": "${{ steps.payment.output }}",
        }))
}

fn order() -> Definition {
    let mut line = closed(line());
    line["properties"]["price_minor"] = json!({ "type": "integer", "minimum": 0 });
    let input = closed(json!({
        "type": "object", "required": ["order", "lines"],
        "properties": {
            "order": named(), "customer": named(),
            "currency": { "type": "string", "pattern": "^[A-Z]{3}$" },
            "lines": cart(line),
        },
    }));
    Definition::named("order")
        .version(1)
        .deadline("10m")
        .input(input)
        .step(call("deduct", "inventory.deduct").compensation("inventory.restore").with(order_and_lines()))
        .step(call("create", "order.create").compensation("order.cancel").with("${{ input }}"))
        .step(call("pay", "order.pay").compensation("order.refund").with(the_order()))
        .output(the_order())
}

fn parallel() -> Definition {
    let input = closed(json!({
        "type": "object", "required": ["order", "lines"],
        "properties": { "order": named(), "lines": cart(line()) },
    }));
    Definition::named("parallel")
        .version(1)
        .deadline("5m")
        .input(input)
        .step(call("quote", "product.quote").read_only().with(json!({ "lines": "${{ input.lines }}" })))
        .step(
            call("stock", "inventory.deduct")
                .after("quote")
                .compensation("inventory.restore")
                .unwind_eager()
                .with(order_and_lines()),
        )
        .step(
            call("order", "order.create")
                .after("quote")
                .compensation("order.cancel")
                .with(json!({ "order": "${{ input.order }}", "lines": "${{ steps.quote.output.lines }}" })),
        )
        .step(
            call("paid", "order.pay")
                .after(["stock", "order"])
                .compensation("order.refund")
                .within("1m")
                .with(the_order()),
        )
        .output(json!({ "order": "${{ input.order }}", "total": "${{ steps.quote.output.total }}" }))
}

/// Each file of the folder, and what stands for it in code.
const TWINS: [(&str, fn() -> Definition); 3] =
    [("checkout.yaml", checkout), ("order.yaml", order), ("parallel.yaml", parallel)];

#[test]
fn code_and_text_that_say_the_same_have_the_same_hash() {
    for (file, twin) in TWINS {
        let source = fs::read_to_string(folder().join(file)).expect(file);
        let text = Text::read(&source).unwrap_or_else(|faults| panic!("{file}: {faults}"));
        let built = twin().build().unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(Text::read(built.json()).expect(file).to_json(), text.to_json(), "{file}");
        assert_eq!(
            (built.name(), built.version(), built.hash()),
            (text.name.as_str(), text.version, text.hash.as_str())
        );
    }
}

#[test]
fn every_definition_that_is_shipped_has_its_twin_in_code() {
    let files = fs::read_dir(folder()).expect("the folder of definitions");
    let files = files.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let shipped: BTreeSet<String> = files.filter(|name| name.ends_with(".yaml")).collect();
    let written: BTreeSet<String> = TWINS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(shipped, written, "write what is new in code as well, as the others are");
}

#[test]
fn faults_are_told_at_their_place_in_the_text_that_is_shown() {
    let faulty = Definition::named("faulty")
        .step(call("first", "shop.take").with(json!({ "from": "${{ steps.second.output }}" })))
        .step(call("second", "shop.pay").compensation("shop.refund").after("third"));
    let Err(Error::Definition(faults)) = faulty.build() else { panic!("it has faults") };
    assert!(faults.0.len() >= 3, "{faults}");
    let text = faulty.to_text();
    for fault in &faults.0 {
        let line = text.lines().nth(fault.line - 1).unwrap_or_default();
        assert!(line.chars().count() >= fault.column, "{fault} in\n{text}");
    }
    assert!(faults.0.iter().any(|fault| fault.message.contains("does not say how it is undone")), "{faults}");
}

#[test]
fn a_span_is_rounded_up_and_a_text_stays_as_it_is_written() {
    let check = |definition: Definition, written: &str| {
        assert_eq!(definition.to_value()["deadline"], written);
    };
    let empty = || Definition::named("empty");
    check(empty().deadline(Duration::from_secs(24 * 3600)), "1d");
    check(empty().deadline("24h"), "24h");
    check(empty().deadline(Duration::from_micros(1_500)), "2ms");
    check(empty().deadline(Duration::from_secs(90)), "90s");
}
