//! Paths against the language they stand for, the language's words, and texts made to overflow the stack.

use super::{engine, names, path::Path, token, *};
use crate::definition::tests::resolved;
use amends_saga::{Start, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

fn saga(input: Value) -> amends_saga::Saga {
    let definition = Arc::new(resolved("saga: t\nsteps: [{ a-b: { await: s, timeout: 1s } }]"));
    let id = "01890000-0000-7000-8000-000000000001".parse().expect("an id");
    let start = Start::new(id, definition, Arc::new(input));
    let (mut saga, _) = amends_saga::start(start, Timestamp(0));
    let signal = amends_saga::Input::Signal {
        name: amends_saga::Name::parse("s").expect("a name"),
        id: None,
        payload: Arc::new(json!({"total": 12.5, "list": [[1], {"k": "v"}]})),
    };
    for record in amends_saga::decide(&saga, signal, Timestamp(1)).expect("taken") {
        saga.apply(record.at, &record.event);
    }
    saga
}

#[test]
fn a_path_yields_what_the_language_yields() {
    let inputs = [
        json!({"a": {"b": [1, {"c": "text"}, null, -1.5]}, "s": "añb", "n": 5, "t": true, "z": null, "length": 3,
               "items": [], "big": 18446744073709551615u64, "if": 1, "e": {}}),
        json!([1, 2, {"a": 1}]),
        json!("text"),
        json!(null),
        json!(7),
    ];
    let paths = [
        "input",
        "input.a",
        "input.a.b",
        "input.a.b[0]",
        "input.a.b[1].c",
        "input.a.b[2]",
        "input.a.b[2].c",
        "input.a.b[3]",
        "input.a.b[9]",
        "input.s",
        "input.s[0]",
        "input.s[1]",
        "input.s[7]",
        "input.s[0].x",
        "input.s.length",
        "input.n",
        "input.n.x",
        "input.n[0]",
        "input.t",
        "input.t.x",
        "input.z",
        "input.z.x",
        "input.z[0]",
        "input.length",
        "input.items",
        "input.big",
        "input['a']['b']",
        "input[\"s\"]",
        "input.missing",
        "input.missing.x",
        "input['no']",
        "input.e",
        "input.e.x",
        "input[0]",
        "input[2].a",
        "input[2]['a']",
        "input[5]",
        "saga.id",
        "steps.a-b.output",
        "steps.a-b.output.total",
        "steps.a-b.output.list[0][0]",
        "steps['a-b'].output.list[1].k",
        "steps.a-b.output.no",
        "steps.a-b.output.list[4]",
        "input.s[0][0]",
        "input.a.b[1].c[2]",
        "saga['id']",
    ];
    for input in inputs {
        let saga = saga(input.clone());
        let scope = Scope::new(&saga);
        for source in paths {
            let text = format!("{source} }}}}");
            let tokens = token::tokens(&text).expect(source);
            let references = names::references(&tokens.list).expect(source);
            let quick = Path::read(&tokens.list).unwrap_or_else(|| panic!("{source} is a path")).find(&scope);
            let quick = quick.map(|found| match found {
                Found::Whole(value) => Value::clone(&value),
                Found::Part(value) => value,
            });
            let slow = compile(&tokens, &references).expect(source).evaluate(&scope);
            assert_eq!(quick.as_ref().ok(), slow.as_ref().ok(), "{source} of {input}: {quick:?} {slow:?}");
        }
    }
}

#[test]
fn what_is_no_path_is_left_to_the_language() {
    for source in
        ["input + 1", "input.a | length", "input[-1]", "input[0:1]", "input.a == 1", "'input'", "-input.a"]
    {
        let text = format!("{source} }}}}");
        assert_eq!(Path::read(&token::tokens(&text).expect(source).list), None, "{source}");
    }
}

/// Every word of the language is one the engine knows, so that what passes here does not fail there.
#[test]
fn the_engine_knows_every_word_of_the_language() {
    let saga = saga(json!({}));
    let scope = Scope::new(&saga);
    let run = |source: String| match Expression::read(&format!("{source} }}}}")) {
        Ok(read) => read.expression.evaluate(&scope).err().unwrap_or_default(),
        Err(refusal) => refusal.message,
    };
    for filter in engine::FILTERS {
        let error = run(format!("1 | {filter}"));
        assert!(!error.contains("unknown filter") && !error.contains("there is no"), "{filter}: {error}");
    }
    for test in engine::TESTS {
        let error = run(format!("1 is {test}"));
        assert!(!error.contains("unknown test") && !error.contains("there is no"), "{test}: {error}");
    }
    for function in engine::FUNCTIONS {
        let error = run(format!("{function}(1)"));
        assert!(!error.contains("unknown") && !error.contains("there is no"), "{function}: {error}");
    }
    // By name in a text, a filter that is kept out is not found either.
    for filter in ["indent", "format", "batch", "pprint"] {
        assert!(run(format!("[1] | map('{filter}') | list")).contains("unknown filter"), "{filter}");
    }
}

/// Texts that overflow the stack of a parser that trusts its input; each is refused or read on a small stack.
#[test]
fn no_expression_overflows_the_stack() {
    let cases: Vec<(String, bool)> = vec![
        (vec!["1"; 250].join("+"), true),
        (vec!["1"; 250].join("-"), true),
        (vec!["1"; 250].join("*"), true),
        (vec!["1"; 250].join("**"), false),
        (vec!["1"; 2000].join("+"), false),
        (format!("{}1", "not ".repeat(499)), true),
        (format!("{}1", "not ".repeat(900)), false),
        (format!("{}1", "-".repeat(499)), true),
        (format!("{}1", "-".repeat(4000)), false),
        (format!("{}1{}", "(".repeat(60), ")".repeat(60)), true),
        (format!("{}1{}", "(".repeat(249), ")".repeat(249)), false),
        (format!("{}1{}", "(".repeat(2000), ")".repeat(2000)), false),
        (format!("{}{}", "[".repeat(240), "]".repeat(240)), false),
        (format!("input{}", ".a".repeat(249)), false),
        (format!("input{}", "[0]".repeat(160)), false),
        (format!("1{}", "|abs".repeat(249)), true),
        (format!("{}1{}", "1 if 1 else ".repeat(120), ""), true),
        (format!("{}0", "{'a':".repeat(120)), false),
        (vec!["1"; 160].join(" and "), true),
        (vec!["'a'"; 250].join("~"), true),
        (vec!["1"; 250].join("<"), false),
        (vec!["[1]"; 120].join("+"), true),
    ];
    let run = move || {
        let saga = saga(json!({}));
        for (source, allowed) in cases {
            let shown: String = source.chars().take(20).collect();
            let read = Expression::read(&format!("{source} }}}}"));
            let value = read
                .map_err(|refusal| refusal.message)
                .and_then(|read| read.expression.evaluate(&Scope::new(&saga)).map(drop));
            assert!(!allowed || value.is_ok(), "{shown}: {value:?}");
        }
    };
    // Half of what a worker thread has.
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(run)
        .expect("a thread")
        .join()
        .expect("no overflow");
}

#[test]
fn an_expression_ends_at_its_own_closing_mark() {
    for (text, expected) in [
        ("input }} rest", 8),
        ("{'a': {'b': 1}} }}", 18),
        ("'}}' }}", 7),
        ("\"a\\\"}}\" }}", 10),
        ("{'a': 1}}}", 10),
    ] {
        assert_eq!(
            token::tokens(text).map(|tokens| tokens.consumed),
            Ok(expected).map_err(|_: Refusal| unreachable!()),
            "{text}"
        );
    }
}
