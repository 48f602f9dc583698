//! Faults that have to do with size and with how they are shown; the others are in `faulty/`.

use super::*;

/// Reads a faulty text and lists its faults, one a line, as `line:column: message`.
fn faults(source: &str) -> String {
    let diagnostics = Text::read(source).expect_err(source);
    for diagnostic in &diagnostics.0 {
        assert!(!diagnostic.help.is_empty(), "{diagnostic:?}");
        assert!(!diagnostic.message.ends_with('.'), "{diagnostic:?}");
    }
    let lines: Vec<String> =
        diagnostics.0.iter().map(|d| format!("{}:{}: {}", d.line, d.column, d.message)).collect();
    lines.join("\n")
}

fn check(cases: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (source, expected) in cases {
        let actual = faults(source);
        if actual != *expected {
            wrong.push_str(&format!(
                "--- source\n{source}\n--- expected\n{expected}\n--- actual\n{actual}\n\n"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn expressions_are_bounded_before_they_are_parsed() {
    let with = |expression: &str| {
        format!(
            "saga: a\nsteps:\n- x: {{ action: p.o, read_only: true, with: \"${{{{ {expression} }}}}\" }}\n"
        )
    };
    let sum = vec!["1"; 251].join("+");
    check(&[
        (&with(&sum), "3:45: the expression has more than 500 tokens"),
        (&with(&format!("'{}'", "x".repeat(4100))), "3:45: the expression is longer than 4096 bytes"),
    ]);
    assert!(Text::read(&with(&vec!["1"; 250].join("+"))).is_ok());
}

#[test]
fn deep_and_unfolding_texts_are_refused() {
    let deep = format!("saga: {}{}\n", "[".repeat(100), "]".repeat(100));
    assert!(faults(&deep).contains("this is not YAML"), "{}", faults(&deep));
    let block: String = (0..70).map(|i| format!("{}k:\n", " ".repeat(i))).collect();
    assert!(Text::read(&block).is_err());
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (this, before) in ["b", "c", "d", "e", "f", "g"].iter().zip(["a", "b", "c", "d", "e", "f"]) {
        let items = vec![format!("*{before}"); 10].join(", ");
        bomb.push_str(&format!("{this}: &{this} [{items}]\n"));
    }
    assert!(faults(&bomb).contains("aliases unfold to more than 20000 values"));
    let mut chain = String::from("a0: &a0 [[[[[[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]]]]]]]\n");
    for i in 1..40 {
        chain.push_str(&format!("a{i}: &a{i} [[[*a{}]]]\n", i - 1));
    }
    assert!(faults(&chain).contains("aliases unfold deeper than 64 levels"));
    let long = format!("saga: a\n# {}\n", "x".repeat(300_000));
    assert!(faults(&long).contains("bytes long"));
    let many = format!("saga: a\nsteps:\n{}", "- x: 1\n".repeat(600));
    assert!(faults(&many).contains("600 steps exceed the limit of 512"));
}

#[test]
fn a_fault_is_shown_with_its_line_and_a_caret() {
    let source = "saga: a\nsteps:\n- one: { action: p.o, read_only: true }\n- two: { after: [oen], await: s, timeout: 1s }\n";
    let shown = Text::read(source).expect_err("a fault").render("sagas/a.yaml", source);
    let expected = "error: there is no step \"oen\"\n  --> sagas/a.yaml:4:18\n  |\n\
                    4 | - two: { after: [oen], await: s, timeout: 1s }\n  |                  ^\n  = help: did you mean \"one\"?\n";
    assert_eq!(shown, expected);
}

#[test]
fn an_unquoted_expression_is_recognised() {
    let source =
        "saga: a\nsteps:\n- x:\n    action: p.o\n    read_only: true\n    with: { v: ${{ input.v }} }\n";
    let diagnostics = Text::read(source).expect_err("a fault");
    assert_eq!(diagnostics.0[0].help, "put expressions into quotes: \"${{ … }}\"");
}

#[test]
fn a_text_without_a_definition_is_told() {
    check(&[
        ("", "1:1: the definition is empty"),
        ("# nothing\n", "1:1: the definition is empty"),
        ("\u{feff}", "1:1: the definition is empty"),
        ("---\n", "1:4: the definition is nothing and must be an object"),
    ]);
}

#[test]
fn lists_and_schemas_are_bounded() {
    let listed = vec!["1"; 1001].join(", ");
    let each = format!("saga: a\nsteps:\n- x: {{ action: p.o, read_only: true, for_each: [{listed}] }}\n");
    let doubling: Vec<String> = (0..20)
        .map(|i| {
            format!(
                "d{i}: {{ allOf: [{{ $ref: \"#/$defs/d{n}\" }}, {{ $ref: \"#/$defs/d{n}\" }}] }}",
                n = i + 1
            )
        })
        .collect();
    let bomb = format!(
        "saga: a\ninput: {{ $ref: \"#/$defs/d0\", $defs: {{ {}, d20: true }} }}\nsteps: [{{ x: {{ await: s, timeout: 1s }} }}]\n",
        doubling.join(", ")
    );
    check(&[
        (&each, "3:48: \"for_each\" of step \"x\" lists 1001 items, more than 1000"),
        (&bomb, "2:1: the schema unfolds to more than 20000 parts"),
    ]);
}
