//! What templates yield for a saga that has run part of the way.

use super::*;
use amends_saga::{
    Answer, CallKey, Input, Op, Question, Saga, Start, Timestamp, decide, definition::Scope, due,
};

/// A saga whose first step is done with `output`, and whose second has the template to look at.
fn saga(with: &str, input: Value, output: Value) -> Saga {
    let source = format!(
        "saga: t\nsteps:\n- first-step: {{ action: p.o, compensation: p.u }}\n- second:\n    action: p.o\n    read_only: true\n    with:\n      {with}\n"
    );
    let definition = Arc::new(resolved(&source));
    let id = "01890000-0000-7000-8000-000000000001".parse().expect("an id");
    let start = Start::new(id, definition, Arc::new(input));
    let (mut saga, _) = amends_saga::start(start, Timestamp(0));
    let key = CallKey { step: StepIx(0), op: Op::Action, attempt: 1, poll: 0, question: Question::Call };
    let answer = Input::Answer { key, answer: Answer::Done(Arc::new(output)) };
    for record in decide(&saga, answer, Timestamp(1)).expect("taken") {
        saga.apply(record.at, &record.event);
    }
    saga
}

fn render(with: &str, input: Value, output: Value) -> Result<Value, String> {
    let saga = saga(with, input, output);
    let template = saga.definition.step(StepIx(1)).call().expect("a call").with.clone();
    template.render(&Scope::new(&saga)).map(|value| Value::clone(&value))
}

fn input() -> Value {
    json!({
        "order": "A-1", "n": 7, "big": 18446744073709551615u64, "price": 2.5, "yes": true, "nothing": null,
        "lines": [{"sku": 1, "qty": 2}, {"sku": 9, "qty": 3}], "a-b": "dashed", "deep": {"x": {"y": [10, 20]}}
    })
}

fn check(with: &str, expected: Result<Value, &str>) {
    let actual = render(with, input(), json!({"total": 12, "lines": [1, 2]}));
    match (&actual, expected) {
        (Ok(actual), Ok(expected)) => assert_eq!(*actual, expected, "{with}"),
        (Err(actual), Err(words)) => assert!(actual.contains(words), "{with}: {actual}"),
        (_, expected) => panic!("{with}: {actual:?} is not {expected:?}"),
    }
}

#[test]
fn one_expression_keeps_its_type_and_a_mixed_text_is_a_text() {
    check("\"${{ input.n }}\"", Ok(json!(7)));
    check("\"${{ input }}\"", Ok(input()));
    check("\"${{ input.lines }}\"", Ok(json!([{"sku": 1, "qty": 2}, {"sku": 9, "qty": 3}])));
    check(
        "\"order ${{ input.order }}: ${{ input.n }} at ${{ input.price }}, ${{ input.yes }}\"",
        Ok(json!("order A-1: 7 at 2.5, true")),
    );
    check("{ a: [\"${{ input.n }}\", 1], b: { c: fixed } }", Ok(json!({"a": [7, 1], "b": {"c": "fixed"}})));
    check("\"${{ steps.first-step.output.total }}\"", Ok(json!(12)));
    check("\"${{ steps.first-step.output.total + 1 }}\"", Ok(json!(13)));
    check("\"${{ steps['first-step'].output.lines[1] }}\"", Ok(json!(2)));
    check("\"${{ saga.id }}\"", Ok(json!("01890000-0000-7000-8000-000000000001")));
    check("\"id ${{ saga.id }}\"", Ok(json!("id 01890000-0000-7000-8000-000000000001")));
    check("\"${{ input['a-b'] }}\"", Ok(json!("dashed")));
    check("\"a literal ${{ '${{' }}\"", Ok(json!("a literal ${{")));
}

#[test]
fn the_language_computes() {
    for (expression, expected) in [
        ("input.n * 3", json!(21)),
        ("2 * input.n * -3", json!(-42)),
        ("2 ** 3 * 2", json!(16)),
        ("input.price * 2", json!(5.0)),
        ("input.n * input.price", json!(17.5)),
        ("input.big", json!(18446744073709551615u64)),
        ("input.big * 1", json!(18446744073709551615u64)),
        ("input.lines | map(attribute='qty') | sum", json!(5)),
        ("input.lines | length", json!(2)),
        ("{'a': {'b': input.n}}", json!({"a": {"b": 7}})),
        ("[input.n, 'x', none, 1.5]", json!([7, "x", null, 1.5])),
        ("'big' if input.n > 5 else 'small'", json!("big")),
        ("input.missing | default(3)", json!(3)),
        ("input.missing is defined", json!(false)),
        ("input.order is startingwith('A')", json!(true)),
        ("input.order ~ '/' ~ input.n", json!("A-1/7")),
        ("input.order | lower | replace('-', '')", json!("a1")),
        ("input.lines | map(attribute='sku') | join(',')", json!("1,9")),
        ("range(3)", json!([0, 1, 2])),
        ("input.lines[-1].sku", json!(9)),
        ("input.deep.x.y[1:]", json!([20])),
        ("input.n in [7, 8]", json!(true)),
        ("not input.yes", json!(false)),
        ("input.nothing", json!(null)),
        ("input.lines | selectattr('qty', 'gt', 2) | map(attribute='sku') | list", json!([9])),
        ("dict(a=input.n)", json!({"a": 7})),
    ] {
        check(&format!("\"${{{{ {expression} }}}}\""), Ok(expected));
    }
}

#[test]
fn what_has_no_value_is_an_error_that_names_the_expression() {
    for (with, words) in [
        ("\"${{ input.missing }}\"", "expression \"input.missing\": there is no \"missing\""),
        ("\"${{ input.missing.more }}\"", "there is no \"missing\""),
        ("\"${{ input.lines[5] }}\"", "there is no item 5"),
        ("\"${{ input.missing if true else 1 }}\"", "its value is undefined"),
        ("\"${{ [input.missing] }}\"", "its value is undefined"),
        ("\"${{ {'a': input.missing} }}\"", "its value is undefined"),
        ("\"${{ input.lines | map(attribute='no') | list }}\"", "undefined"),
        ("\"${{ input.missing + 1 }}\"", "undefined"),
        ("\"${{ 1 / 0 }}\"", "unable to calculate 1 / 0"),
        ("\"${{ input.big + 1 }}\"", "integers have 64 bits"),
        ("\"${{ 1e308 * 10 }}\"", "no number that JSON keeps"),
        ("\"${{ input.order * 100000000 }}\"", "* multiplies numbers and meets string"),
        ("\"${{ 1000 * input.order }}\"", "an operator meets a value it does not take"),
        ("\"${{ input.lines * 3 }}\"", "* multiplies numbers and meets sequence"),
        ("\"${{ 1 + input.deep }}\"", "unsupported types number and map"),
        ("\"${{ {1: 2} }}\"", "only texts are keys"),
        ("\"x ${{ input.nothing }}\"", "yields null, which cannot stand inside a text"),
        ("\"x ${{ input.lines }}\"", "yields a list"),
        ("\"${{ steps.first-step.output.no }}\"", "there is no \"no\""),
    ] {
        check(with, Err(words));
    }
}

#[test]
fn values_are_bounded() {
    let big = json!({"s": "x".repeat(600_000), "l": vec![1; 1000]});
    let run = |with: &str| render(with, big.clone(), json!(null));
    assert!(run("\"${{ input.s }}\"").is_ok());
    for with in [
        "[\"${{ input.s }}\", \"${{ input.s }}\"]",
        "\"${{ input.s }}${{ input.s }}\"",
        "\"${{ input.s ~ input.s }}\"",
        "\"${{ range(100000) | join(input.s) }}\"",
        "\"${{ input.s | replace('x', input.s) }}\"",
        "\"${{ [input.s, input.s, input] }}\"",
    ] {
        let error = run(with).expect_err(with);
        assert!(error.contains("larger than 1048576 bytes"), "{with}: {error}");
    }
}

#[test]
fn a_compensation_sees_its_own_step_even_without_an_output() {
    let source = "saga: t\nsteps:\n- a:\n    action: p.o\n    compensation: { operation: p.u, with: { own: \"${{ steps.a.output }}\" } }\n";
    let definition = Arc::new(resolved(source));
    let id = "01890000-0000-7000-8000-000000000001".parse().expect("an id");
    let start = Start::new(id, definition, Arc::default());
    let (mut saga, _) = amends_saga::start(start, Timestamp(0));
    let undo = saga.definition.step(StepIx(0)).undo().expect("a compensation").with.clone().expect("with");
    assert_eq!(*undo.render(&Scope::undoing(&saga, StepIx(0))).expect("a body"), json!({"own": null}));
    assert!(undo.render(&Scope::new(&saga)).is_err());
    for record in decide(&saga, Input::Cancel { reason: "no".into() }, Timestamp(1)).expect("taken") {
        saga.apply(record.at, &record.event);
    }
    assert!(due(&saga).calls.iter().any(|call| *call.body == json!({"own": null})));
}

#[test]
fn a_whole_value_is_shared_and_not_copied() {
    let saga = saga("\"${{ input }}\"", input(), json!(1));
    let template = saga.definition.step(StepIx(1)).call().expect("a call").with.clone();
    let body = template.render(&Scope::new(&saga)).expect("a body");
    assert!(Arc::ptr_eq(&body, &saga.input));
}

/// A saga whose first step is left out, and whose second has the template to look at.
fn skipped(with: &str) -> Result<Value, String> {
    let source = format!(
        "saga: t\nsteps:\n- gift: {{ action: p.o, compensation: p.u, when: '${{{{ input.gift }}}}' }}\n\
         - second: {{ action: p.o, compensation: p.u, with: {with} }}\n"
    );
    let start = Start::new(
        ID.parse().expect("an id"),
        Arc::new(resolved(&source)),
        Arc::new(json!({"gift": false, "n": 1})),
    );
    let (saga, _) = amends_saga::start(start, Timestamp(0));
    let template = saga.definition.step(StepIx(1)).call().expect("a call").with.clone();
    template.render(&Scope::new(&saga)).map(|value| Value::clone(&value))
}

const ID: &str = "01890000-0000-7000-8000-000000000001";

/// What the checks let through works when the step was left out: nothing is undefined but what is guarded.
#[test]
fn what_a_skipped_step_would_have_yielded_can_be_replaced() {
    for (with, expected) in [
        ("'${{ steps.gift.output | default(none) }}'", json!(null)),
        ("'${{ steps.gift.output.paper | default(7) }}'", json!(7)),
        ("'${{ steps.gift.output.paper.colour[0] | default([]) }}'", json!([])),
        ("'${{ (steps.gift.output.paper) | default(7) }}'", json!(7)),
        ("'${{ steps[\"gift\"].output.paper | default(7) }}'", json!(7)),
        ("'${{ steps.gift.output is defined }}'", json!(false)),
        ("'${{ steps.gift.output.a.b is not defined }}'", json!(true)),
        ("'${{ steps.gift.output is undefined }}'", json!(true)),
        ("'${{ steps.gift.output.n + 1 if steps.gift.output is defined else input.n }}'", json!(1)),
        ("'${{ 0 if steps.gift.output is undefined else steps.gift.output.n }}'", json!(0)),
        ("'${{ steps.gift.output is defined and steps.gift.output.n > 1 }}'", json!(false)),
        ("'${{ steps.gift.output.n is undefined or steps.gift.output.n > 1 }}'", json!(true)),
        ("'${{ not (steps.gift.output is defined) or steps.gift.output.n > 1 }}'", json!(true)),
        ("'${{ [steps.gift.output.n | default(2), input.n] | sum }}'", json!(3)),
        ("'a ${{ steps.gift.output.n | default(\"plain\") }} box'", json!("a plain box")),
        ("'${{ input.no.such.thing | default(3) }}'", json!(3)),
        ("'${{ input.n | default(3) }}'", json!(1)),
    ] {
        assert_eq!(skipped(with), Ok(expected), "{with}");
    }
}

#[test]
fn an_item_and_its_place_are_seen() {
    let source = "saga: t\nsteps:\n- each:\n    action: p.o\n    for_each: '${{ input.lines }}'\n    parallel: 2\n    \
                  compensation: { operation: p.u, with: '${{ [item.sku, index, steps.each.output] }}' }\n    \
                  with: { i: '${{ item }}', sku: '${{ item.sku }}', more: '${{ item.sku + index }}', none: '${{ item.no | default(0) }}', n: '${{ index }}' }\n";
    let input = json!({"lines": [{"sku": 5}, {"sku": 7}]});
    let start = Start::new(ID.parse().expect("an id"), Arc::new(resolved(source)), Arc::new(input));
    let (saga, _) = amends_saga::start(start, Timestamp(0));
    let bodies: Vec<Value> = due(&saga).calls.iter().map(|call| Value::clone(&call.body)).collect();
    let body = |sku: u64, n: u64| json!({"i": {"sku": sku}, "sku": sku, "more": sku + n, "none": 0, "n": n});
    assert_eq!(bodies, [body(5, 0), body(7, 1)]);
    let undo = saga.definition.step(StepIx(0)).undo().expect("a compensation").with.clone().expect("with");
    let (second, _) = saga.steps().last().expect("the second item");
    assert_eq!(*undo.render(&Scope::undoing(&saga, second)).expect("a body"), json!([7, 1, null]));
}
