//! Definitions that are read, resolved and checked; the faults are in `tests/faults.rs`.

mod faults;
mod faulty;
mod language;
mod rendering;

use super::*;
use crate::registration::OperationTerms;
use amends_saga::{
    Definition, StepIx,
    definition::{Target, Undo},
};
use serde_json::json;

const CHECKOUT: &str = include_str!("../../../../sagas/checkout.yaml");
const PARALLEL: &str = include_str!("../../../../sagas/parallel.yaml");

/// Every definition in `sagas/`.
pub(super) const COME_ALONG: [&str; 19] = [
    include_str!("../../../../sagas/cancel-order.yaml"),
    include_str!("../../../../sagas/checkout.yaml"),
    include_str!("../../../../sagas/group-order.yaml"),
    include_str!("../../../../sagas/order.yaml"),
    include_str!("../../../../sagas/order-and-ship.yaml"),
    include_str!("../../../../sagas/parallel.yaml"),
    include_str!("../../../../sagas/parcels.yaml"),
    include_str!("../../../../sagas/pay-then-deduct.yaml"),
    include_str!("../../../../sagas/place.yaml"),
    include_str!("../../../../sagas/refund.yaml"),
    include_str!("../../../../sagas/ship.yaml"),
    include_str!("../../../../sagas/call-off.yaml"),
    include_str!("../../../../sagas/cancel-paid.yaml"),
    include_str!("../../../../sagas/charge-then-deduct.yaml"),
    include_str!("../../../../sagas/flash-sale.yaml"),
    include_str!("../../../../sagas/place-and-pay.yaml"),
    include_str!("../../../../sagas/refund-in-parts.yaml"),
    include_str!("../../../../sagas/ship-parts.yaml"),
    include_str!("../../../../sagas/time-out.yaml"),
];

/// Reads a text that has no fault, or shows the faults.
pub(super) fn read(source: &str) -> Text {
    Text::read(source).unwrap_or_else(|faults| panic!("{}", faults.render("test.yaml", source)))
}

/// Resolves a text with every operation registered plainly.
pub(super) fn resolved(source: &str) -> Definition {
    let terms = |_: &Name, _: &Name| Some(OperationTerms::default());
    read(source).resolve(&terms, &Defaults::default()).expect("every operation is registered")
}

#[test]
fn the_definitions_that_come_along_are_read() {
    for source in COME_ALONG {
        assert!(resolved(source).output().is_some());
    }
    let steps = |source: &str| read(source).steps().map(Name::as_str).collect::<Vec<_>>().join(" ");
    assert_eq!(steps(CHECKOUT), "quote reserve order payment confirm paid");
    assert_eq!(steps(PARALLEL), "quote stock order paid");
}

#[test]
fn yaml_and_json_of_one_content_are_one_definition() {
    for source in COME_ALONG {
        let text = read(source);
        let json = text.to_json().to_string();
        let raw: &RawValue = serde_json::from_str(&json).expect("json");
        let again = Text::read_json(raw).expect("the same definition");
        assert_eq!(again.hash, text.hash);
        assert_eq!(again.to_json(), text.to_json());
        assert_eq!(read(&serde_json::to_string_pretty(text.to_json()).expect("json")).hash, text.hash);
    }
    let spread = "{\"saga\"\n:\t\"x\", \"steps\"\n\t:[{\"a\":{\"action\":\"p.o\",\"read_only\":true}}]}";
    let raw: &RawValue = serde_json::from_str(spread).expect("json");
    assert_eq!(Text::read_json(raw).expect("a definition").name.as_str(), "x");
}

#[test]
fn an_input_is_checked_against_the_schema() {
    let text = read(CHECKOUT);
    let fits = json!({"order": "1", "customer": "c", "currency": "EUR", "lines": [{"sku": 1, "qty": 2}]});
    assert_eq!(text.check_input(&fits), Ok(()));
    let wrong = json!({"customer": "c", "currency": "EUR", "lines": [{"sku": 1, "qty": 0}, {"sku": "a", "qty": 1}], "x": 1});
    let misfits = text.check_input(&wrong).expect_err("it does not fit");
    let mut paths: Vec<&str> = misfits.iter().map(|m| m.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["", "", "/lines/0/qty", "/lines/1/sku"]);
    assert!(misfits.iter().any(|m| m.message.contains("\"order\" is a required property")), "{misfits:?}");
    assert_eq!(
        read("saga: a\nsteps: [{ a: { action: p.o, read_only: true } }]").check_input(&json!(7)),
        Ok(())
    );
}

#[test]
fn the_graph_is_what_after_says() {
    let parents = |source: &str, step: &str| -> Vec<String> {
        let definition = resolved(source);
        let ix = definition.find(step).expect("the step");
        definition.step(ix).after.iter().map(|ix| definition.step(*ix).name.to_string()).collect()
    };
    assert_eq!(parents(CHECKOUT, "quote"), [""; 0]);
    assert_eq!(parents(CHECKOUT, "payment"), ["order"]);
    assert_eq!(parents(PARALLEL, "order"), ["quote"]);
    assert_eq!(parents(PARALLEL, "paid"), ["stock", "order"]);
    let both =
        "saga: a\nsteps:\n- a: { action: p.o, read_only: true }\n- b: { after: [], await: s, timeout: 1s }";
    assert_eq!(parents(both, "b"), [""; 0]);
}

/// What a step's terms come to, in one line.
fn terms_of(source: &str, registered: &OperationTerms, defaults: &Defaults) -> String {
    let terms = |_: &Name, _: &Name| Some(registered.clone());
    let definition = read(source).resolve(&terms, defaults).expect("registered");
    let call = definition.step(StepIx(0)).call().expect("a call");
    let Undo::Call(undo) = &call.undo else { panic!("a compensation") };
    let (a, q, s) = (call.retry, undo.retry.quick, undo.retry.slow);
    format!(
        "{} {}x{}*{}<{} / {} {q}+{}x{}*{}<{} in {} {}",
        call.action.timeout.0,
        a.attempts,
        a.first.0,
        a.factor,
        a.max.0,
        undo.operation.timeout.0,
        s.attempts,
        s.first.0,
        s.factor,
        s.max.0,
        undo.retry.within.0,
        if undo.eager { "eager" } else { "strict" }
    )
}

#[test]
fn the_definition_wins_over_the_operation_and_that_over_the_deployment() {
    let plain = "saga: a\nsteps: [{ a: { action: p.a, compensation: p.b } }]";
    let spoken = "saga: a\nsteps:\n- a:\n    action: p.a\n    timeout: 1s\n    unwind: eager\n    retry: { attempts: 9, max: 1m }\n    \
                  compensation: { operation: p.b, retry: { quick: 1, first: 7s, within: 1h } }";
    let silent = OperationTerms::default();
    let json = json!({"timeout": "2s", "retry": {"attempts": 7, "first": "3s", "quick": 2, "within": "2h"}});
    let registered: OperationTerms = serde_json::from_value(json).expect("terms");
    let mut deployed = Defaults { timeout: Millis(4_000), ..Defaults::default() };
    deployed.action.factor = 3.0;
    let usual = Defaults::default();
    for (source, terms, defaults, expected) in [
        (plain, &silent, &usual, "5000 5x100*2<5000 / 5000 3+12x1000*2<300000 in 86400000 strict"),
        (plain, &registered, &usual, "2000 7x3000*2<5000 / 2000 2+7x3000*2<300000 in 7200000 strict"),
        (plain, &silent, &deployed, "4000 5x100*3<5000 / 4000 3+12x1000*2<300000 in 86400000 strict"),
        (spoken, &registered, &deployed, "1000 9x3000*3<60000 / 2000 1+7x7000*2<300000 in 3600000 eager"),
    ] {
        assert_eq!(terms_of(source, terms, defaults), expected, "{source}");
    }
}

#[test]
fn every_unknown_operation_is_told_once() {
    let text = read(CHECKOUT);
    let names: Vec<String> = text.operations().iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), 9);
    let only =
        |participant: &Name, _: &Name| (participant.as_str() == "inventory").then(OperationTerms::default);
    let unknown = text.resolve(&only, &Defaults::default()).expect_err("some are unknown");
    assert_eq!(
        unknown.to_string(),
        "product.quote, order.create, order.cancel, order.pay, order.refund are not registered; start the participant \
         or register it"
    );
    let problem = Problem::from(unknown);
    assert_eq!((problem.status(), problem.extra["operations"][0].as_str()), (409, Some("product.quote")));
}

#[test]
fn conditions_lists_pivots_and_children_reach_the_core() {
    let source = "saga: t\nsteps:\n\
                  - gift: { action: p.wrap, compensation: p.unwrap, when: '${{ input.gift }}' }\n\
                  - each: { saga: line@3, for_each: '${{ input.lines }}', parallel: 4, with: { line: '${{ item }}', n: '${{ index }}' } }\n\
                  - side: { after: [], saga: other, compensation: none, reason: it stays }\n\
                  - ship: { after: each, action: p.ship, compensation: none, reason: it is gone, pivot: true }\n\
                  - tell: { action: p.tell, with: { wrapped: '${{ steps.gift.output.paper | default(none) }}' } }\n";
    let text = read(source);
    let named = |name: &str| Name::parse(name).expect("a name");
    assert_eq!(text.children(), [(named("line"), Some(3)), (named("other"), None)]);
    let definition = resolved(source);
    let step = |name: &str| definition.step(definition.find(name).expect("the step"));
    assert!(step("gift").when.is_some() && step("each").when.is_none());
    let fan = step("each").fan.as_ref().expect("a list");
    assert_eq!(fan.parallel, 4);
    let child = step("each").call().expect("a call");
    assert_eq!(
        (child.action.participant.as_str(), child.action.target),
        ("saga", Target::Saga { version: Some(3) })
    );
    assert!(matches!(&child.undo, Undo::Call(undo) if undo.operation == child.action));
    assert!(
        matches!(&step("side").call().expect("a call").undo, Undo::None { reason } if reason == "it stays")
    );
    assert_eq!(definition.pivot(), definition.find("ship"));
    let names: Vec<&str> = step("ship").after.iter().map(|ix| definition.step(*ix).name.as_str()).collect();
    assert_eq!(names, ["gift", "each", "side"]);
    assert!(step("tell").undo().is_none());
    let pivot = text.outline().nth(3).expect("the pivot");
    assert_eq!((pivot.pivot, pivot.after.len()), (true, 3));
}

#[test]
fn a_member_that_may_be_absent_is_worth_a_word() {
    let check = |with: &str, expected: &[&str]| {
        let source = format!(
            "saga: t\ninput:\n  required: [a]\n  properties:\n    a: {{ properties: {{ x: true }} }}\n    b: {{ required: [y], properties: {{ y: true, z: true }} }}\n\
             steps:\n- s: {{ action: p.o, read_only: true, with: \"{with}\" }}\n"
        );
        let text = read(&source);
        let told: Vec<String> = text.advice().iter().map(ToString::to_string).collect();
        assert_eq!(told, expected, "{with}");
    };
    let absent = "may be absent, and the step is refused then";
    check("${{ input.a }}", &[]);
    check("${{ input.c }}", &[]);
    check(
        "${{ input.a.x }}",
        &[&format!(
            "8:49: \"input.a.x\" {absent}; write input.a.x | default(none), or list \"x\" under \"required\" in its schema"
        )],
    );
    check(
        "${{ input.b.y }}",
        &[&format!(
            "8:49: \"input.b\" {absent}; write input.b.y | default(none), or list \"b\" under \"required\" in its schema"
        )],
    );
    check("${{ input.b.y | default(1) }}", &[]);
    check("${{ input['b'].y is defined }}", &[]);
    check("${{ input.b.y if input.b is defined else 0 }}", &[]);
    check("${{ input.b.y + input.a.x if input.b.y is defined and input.a.x is defined else 0 }}", &[]);
    check("${{ input.b is undefined or input.b.y > 1 }}", &[]);
    for source in COME_ALONG {
        assert_eq!(read(source).advice(), []);
    }
}

#[test]
fn what_is_not_registered_is_told_at_its_place() {
    let source = "saga: t\nsteps:\n- a: { action: shop.sell, compensation: shop.restok }\n\
                  - b: { action: shpo.sell, compensation: { operation: shop.restock } }\n- c: { saga: order }\n- d: { saga: order@3 }\n\
                  - e: { saga: ordr }\n- f: { action: bank.pay, read_only: true }\n- g: { saga: trip }\n";
    let name = |name: &str| Name::parse(name).expect("a name");
    let operation = |operation: &str| OperationName { participant: name("shop"), operation: name(operation) };
    let registered = Registered {
        operations: [operation("sell"), operation("restock")].into(),
        definitions: [(name("order"), 1), (name("order"), 2)].into(),
    };
    let told = read(source).check_against(&registered).expect_err("some are not").to_string();
    let expected = "3:41: participant \"shop\" has no operation \"restok\"; did you mean \"restock\"?\n\
                    4:16: no participant \"shpo\" is registered; did you mean \"shop\"?\n\
                    6:14: definition \"order\" has no version 3; versions here, newest first: 2, 1\n\
                    7:14: no definition \"ordr\" is registered; did you mean \"order\"?\n\
                    8:16: no participant \"bank\" is registered; start the participant or register it\n\
                    9:14: no definition \"trip\" is registered; register it first";
    assert_eq!(told, expected);
    let sound =
        "saga: t\nsteps:\n- a: { action: shop.sell, compensation: shop.restock }\n- b: { saga: order@2 }\n";
    assert_eq!(read(sound).check_against(&registered), Ok(()));
}

#[test]
fn aliases_stand_for_whole_values() {
    let source = "saga: a\nsteps:\n- a: { action: p.a, read_only: true, retry: &patient { attempts: 9 } }\n\
                  - b: { action: p.b, read_only: true, retry: *patient }";
    let definition = resolved(source);
    assert_eq!(definition.step(StepIx(1)).call().expect("a call").retry.attempts, 9);
}

#[test]
fn scalars_mean_what_json_means() {
    let source = "saga: a\nsteps:\n- a:\n    action: p.a\n    read_only: true\n    with:\n      - 1\n      - -2.5e3\n      - true\n      \
                  - null\n      - ~\n      - \"012\"\n      - 'yes'\n      - 2024-01-01\n      - 12:30\n      - |\n        two\n        lines\n      \
                  - !!str 7\n      - y\n      - 1.2.3\n      - \"\\ud83d\\ude00\"\n";
    let text = read(source);
    let with = &text.to_json()["steps"][0]["a"]["with"];
    let expected = json!([
        1,
        -2.5e3,
        true,
        null,
        null,
        "012",
        "yes",
        "2024-01-01",
        "12:30",
        "two\nlines\n",
        "7",
        "y",
        "1.2.3",
        "\u{1f600}"
    ]);
    assert_eq!(with, &expected);
}
