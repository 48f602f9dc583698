//! Every fault a definition can have, with its place and its words.

use super::*;

/// The step that most cases vary.
const STEP: &str = "- a: { action: p.o, read_only: true }";

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

/// Faults of a step whose members are given as one line of YAML.
fn check_steps(cases: &[(&str, &str)]) {
    let sources = cases.iter().map(|(members, _)| format!("saga: a\nsteps:\n- x: {{ {members} }}\n"));
    let sources: Vec<String> = sources.collect();
    let cases: Vec<(&str, &str)> = sources.iter().zip(cases).map(|(s, (_, e))| (s.as_str(), *e)).collect();
    check(&cases);
}

#[test]
fn the_frame_of_a_definition_is_checked() {
    let step = |rest: &str| format!("{rest}\nsteps:\n{STEP}\n");
    let (both, name, version) =
        (step("saga: a\nname: b"), step("saga: Check-Out"), step("saga: a\nversion: 0"));
    let (text, unit, soon) =
        (step("saga: a\nversion: one"), step("saga: a\ndeadline: 20"), step("saga: a\ndeadline: soon"));
    let (zero, listed, later) =
        (step("saga: a\ndeadline: 0s"), step("saga: [a]"), step("saga: a\nsteps: []\npivot: x"));
    check(&[
        ("", "1:1: the definition is empty"),
        ("# nothing\n", "1:1: the definition is empty"),
        ("- a\n", "1:1: the definition is a list and must be an object"),
        ("saga: a\n", "1:1: the definition has no \"steps\""),
        (&both, "2:1: the definition has no key \"name\""),
        (&name, "1:7: \"Check-Out\" is not a name"),
        (&version, "2:10: \"version\" of the definition is 0 and must be a whole number"),
        (&text, "2:10: \"version\" of the definition is \"one\" and must be a whole number"),
        (&unit, "2:11: \"deadline\" of the definition is 20 without a unit"),
        (&soon, "2:11: \"deadline\" of the definition is \"soon\", which is no span of time"),
        (&zero, "2:11: \"deadline\" of the definition is no time at all"),
        (&listed, "1:7: \"saga\" of the definition is a list and must be a text"),
        (
            &later,
            "2:8: the definition has no step\n3:1: the definition has no key \"pivot\"\n\
             4:1: key \"steps\" appears twice",
        ),
        ("saga: a\nsteps: {}\n", "2:8: \"steps\" is an object and must be a list"),
        ("saga: a\nsteps:\n- x\n", "3:3: a step is an object of one member, its name"),
        ("saga: a\nsteps:\n- {}\n", "3:3: a step is empty"),
        (
            "saga: a\nsteps:\n- x:\n  action: p.o\n  read_only: true\n",
            "4:3: a step is an object of one member, its name",
        ),
        ("saga: a\nsteps:\n- x:\n", "3:3: step \"x\" does nothing"),
        ("saga: a\nsteps:\n- 1x: { action: p.o, read_only: true }\n", "3:3: \"1x\" is not a name"),
        (
            "saga: a\nsteps:\n- a: { action: p.o, read_only: true }\n- a: { await: s, timeout: 1s }\n",
            "4:3: two steps are named \"a\"",
        ),
        (
            "saga: a\nsteps:\n- a: { action: p.o, read_only: true }\n---\nsaga: b\n",
            "4:1: a second document follows",
        ),
    ]);
}

#[test]
fn text_that_is_not_yaml_or_not_plain_is_told_where() {
    check(&[
        ("saga: a\nsteps: [\n", "2:8: this is not YAML: unclosed bracket '['"),
        ("saga: \"a\n", "2:1: this is not YAML: invalid indentation in multiline quoted scalar"),
        ("saga: a\n\tsteps: []\n", "1:7: this is not YAML: while scanning a plain scalar, found a tab"),
        ("saga: a\nsaga: b\nsteps:\n- a: { await: s, timeout: 1s }\n", "2:1: key \"saga\" appears twice"),
        (
            "saga: !name a\nsteps:\n- a: { await: s, timeout: 1s }\n",
            "1:7: the tag \"!name\" has no meaning here",
        ),
        ("saga: a\n? [x]\n: 1\n", "2:3: a key is not a text"),
        (
            "saga: a\n<<: { version: 1 }\nsteps:\n- a: { await: s, timeout: 1s }\n",
            "2:1: merge keys are not supported",
        ),
        ("saga: *x\n", "1:7: this is not YAML: while parsing node, found unknown anchor"),
        ("%YAML 1.2\n---\nsaga: a\n", "1:1: this is not YAML: YAML directives are disallowed"),
    ]);
}

#[test]
fn words_that_tools_read_differently_are_told() {
    let with = |value: &str| {
        format!("saga: a\nsteps:\n- x:\n    action: p.o\n    read_only: true\n    with: {value}\n")
    };
    let boolean = "as true or as a text";
    let number = "as a number or as a text";
    for (value, meaning) in [
        ("yes", boolean),
        ("On", boolean),
        ("True", boolean),
        ("no", "as false or as a text"),
        ("OFF", "as false or as a text"),
        ("NULL", "as null or as a text"),
        ("012", "its leading zero may be kept, dropped, or mean octal"),
        ("-007", "its leading zero may be kept, dropped, or mean octal"),
        ("00.5", "its leading zero may be kept, dropped, or mean octal"),
        ("0x1F", number),
        ("0o17", number),
        ("1_000", number),
        ("+5", number),
        (".5", number),
        ("5.", number),
        (".inf", "as a number that JSON lacks"),
        (".NaN", "as a number that JSON lacks"),
    ] {
        let expected =
            format!("6:11: the unquoted {value} is read differently by different tools: {meaning}");
        check(&[(&with(value), &expected)]);
    }
    check(&[
        (&with("99999999999999999999"), "6:11: the number 99999999999999999999 cannot be kept exactly"),
        (&with("0.10000000000000000001"), "6:11: the number 0.10000000000000000001 cannot be kept exactly"),
        (&with("1e999"), "6:11: the number 1e999 cannot be kept exactly"),
    ]);
}

#[test]
fn a_call_is_checked() {
    check_steps(&[
        ("action: p.o", "3:3: step \"x\" does not say how it is undone"),
        ("action: p.o, read_only: false", "3:3: step \"x\" does not say how it is undone"),
        ("read_only: true", "3:3: step \"x\" does nothing"),
        ("action: p.o, await: s", "3:3: step \"x\" has both \"action\" and \"await\""),
        ("acton: p.o, read_only: true", "3:3: step \"x\" does nothing\n3:8: step \"x\" has no key \"acton\""),
        ("action: p.o, read_only: true, retries: 1", "3:38: step \"x\" has no key \"retries\""),
        (
            "action: p.o, read_only: true, when: a",
            "3:44: \"when\" of step \"x\" is \"a\" and must be one expression",
        ),
        (
            "action: p.o, read_only: true, for_each: a",
            "3:48: \"for_each\" of step \"x\" is \"a\" and must be one expression",
        ),
        ("action: p, read_only: true", "3:16: \"action\" of step \"x\" is \"p\", no operation"),
        ("action: P.o, read_only: true", "3:16: \"P\" is not a name"),
        ("action: p.o.q, read_only: true", "3:16: \"o.q\" is not a name"),
        ("action: 7, read_only: true", "3:16: \"action\" of step \"x\" is 7 and must be a text"),
        (
            "action: p.o, read_only: maybe",
            "3:32: \"read_only\" of step \"x\" is \"maybe\" and must be true or false",
        ),
        ("action: p.o, compensation: none", "3:21: step \"x\" has no compensation and does not say why"),
        ("action: p.o, compensation: none, reason: ' '", "3:49: \"reason\" of step \"x\" is empty"),
        (
            "action: p.o, compensation: p.u, reason: r",
            "3:40: the \"reason\" of step \"x\" belongs to \"compensation: none\"",
        ),
        (
            "action: p.o, compensation: p.u, read_only: true",
            "3:21: step \"x\" is read-only and has a compensation",
        ),
        ("action: p.o, compensation: undo", "3:35: \"compensation\" of step \"x\" is \"undo\", no operation"),
        (
            "action: p.o, compensation: null",
            "3:35: \"compensation\" of step \"x\" is nothing and must be an operation",
        ),
        (
            "action: p.o, compensation: [p.u]",
            "3:35: \"compensation\" of step \"x\" is a list and must be an operation",
        ),
        ("action: p.o, compensation: { with: 1 }", "3:21: the compensation of step \"x\" names no operation"),
        (
            "action: p.o, compensation: { operation: p.u, timeout: 1s }",
            "3:53: the compensation of step \"x\" has no key \"timeout\"",
        ),
        ("action: p.o, read_only: true, unwind: eager", "3:38: step \"x\" has nothing to unwind"),
        (
            "action: p.o, compensation: p.u, unwind: lazy",
            "3:48: \"unwind\" of step \"x\" is \"lazy\" and must be one of a few words",
        ),
        ("action: p.o, read_only: true, timeout: 5", "3:47: \"timeout\" of step \"x\" is 5 without a unit"),
        (
            "action: p.o, read_only: true, within: 5 minutes",
            "3:46: \"within\" of step \"x\" is \"5 minutes\", which is no span of time",
        ),
        (
            "action: p.o, read_only: true, timeout: [1s]",
            "3:47: \"timeout\" of step \"x\" is a list and must be a span of time",
        ),
        (
            "action: \"${{ input.op }}\", read_only: true",
            "3:16: \"action\" of step \"x\" cannot be an expression",
        ),
        (
            "action: p.o, read_only: \"${{ true }}\"",
            "3:32: \"read_only\" of step \"x\" cannot be an expression",
        ),
    ]);
}

#[test]
fn retries_are_checked() {
    check_steps(&[
        (
            "action: p.o, read_only: true, retry: 5",
            "3:45: the retry of step \"x\" is a number and must be an object",
        ),
        (
            "action: p.o, read_only: true, retry: { attempts: 0 }",
            "3:57: \"attempts\" of the retry of step \"x\" is 0 and must be a whole number",
        ),
        (
            "action: p.o, read_only: true, retry: { factor: 0.5 }",
            "3:55: \"factor\" of the retry of step \"x\" is 0.5 and must be a number",
        ),
        (
            "action: p.o, read_only: true, retry: { first: 5s, max: 1s }",
            "3:63: the first wait 5s of step \"x\" is longer than the longest 1s",
        ),
        (
            "action: p.o, read_only: true, retry: { quick: 3 }",
            "3:47: the retry of step \"x\" has no key \"quick\"",
        ),
        (
            "action: p.o, compensation: { operation: p.u, retry: { quick: 1000, within: 1 } }",
            "3:69: \"quick\" of the retry of the compensation of step \"x\" is 1000 and must be a whole number\n\
             3:83: \"within\" of the retry of the compensation of step \"x\" is 1 without a unit",
        ),
    ]);
}

#[test]
fn a_wait_is_checked() {
    check_steps(&[
        ("await: s", "3:3: the waiting step \"x\" does not say how long"),
        ("await: S, timeout: 1m", "3:15: \"S\" is not a name"),
        ("await: s, timeout: 1m, with: 1", "3:31: the waiting step \"x\" has no key \"with\""),
        (
            "await: s, timeout: 1m, default: \"${{ steps.x.output }}\"",
            "3:45: step \"x\" has no output before it has run",
        ),
    ]);
}

#[test]
fn the_graph_is_checked() {
    let graph = |a: &str, b: &str, c: &str| {
        format!(
            "saga: a\nsteps:\n- a: {{ after: {a}, await: s, timeout: 1s }}\n- b: {{ after: {b}, await: s, timeout: 1s }}\n\
             - c: {{ after: {c}, await: s, timeout: 1s }}\n"
        )
    };
    check(&[
        (&graph("[]", "[aa]", "b"), "4:16: there is no step \"aa\""),
        (&graph("a", "a", "b"), "3:8: step \"a\" waits for itself"),
        (&graph("c", "a", "b"), "3:8: the steps a, b, c wait for each other in a circle"),
        (&graph("[]", "c", "b"), "4:8: the steps b, c wait for each other in a circle"),
        (&graph("[]", "[a, a]", "b"), "4:19: \"after\" names \"a\" twice"),
        (&graph("[]", "[7]", "b"), "4:16: \"after\" lists a number, no step's name"),
        (
            &graph("[]", "{}", "b"),
            "4:15: \"after\" of step \"b\" is an object and must be a step's name or a list of them",
        ),
        (&graph("[]", "[\"A b\"]", "b"), "4:16: \"A b\" is not a name"),
    ]);
}

#[test]
fn expressions_see_only_what_lies_before_them() {
    let steps = |with: &str| {
        format!(
            "saga: a\nsteps:\n- one: {{ action: p.o, read_only: true }}\n- two: {{ after: one, action: p.o, read_only: true, with: \
             {{ v: \"{with}\" }} }}\n- three: {{ after: one, action: p.o, read_only: true }}\n"
        )
    };
    check(&[
        (&steps("${{ steps.own.output }}"), "4:68: there is no step \"own\""),
        (&steps("${{ 1 + steps.own.output }}"), "4:72: there is no step \"own\""),
        (&steps("x ${{ 1 }} ${{ steps.two.output }}"), "4:79: step \"two\" has no output before it has run"),
        (
            &steps("${{ steps.three.output }}"),
            "4:68: step \"three\" does not come before step \"two\" on every path",
        ),
        (&steps("${{ steps.one }}"), "4:68: of a step only its output can be used"),
        (&steps("${{ steps[input.x].output }}"), "4:68: \"steps\" is not followed by a step's name"),
        (&steps("${{ saga.status }}"), "4:68: of the saga only its id can be used"),
        (&steps("${{ inptu.lines }}"), "4:68: there is no \"inptu\" here"),
        (&steps("${{ input.a-b }}"), "4:76: there is no \"b\" here"),
        (&steps("${{ input.a | uper }}"), "4:78: there is no filter \"uper\""),
        (&steps("${{ input.a is defned }}"), "4:79: there is no test \"defned\""),
        (&steps("${{ now() }}"), "4:68: there is no function \"now\""),
        (&steps("${{ input.a.upper() }}"), "4:76: values have no methods here"),
        (&steps("${{ range(*input.a) }}"), "4:74: arguments cannot be unpacked"),
        (&steps("${{ input.a"), "4:75: the expression is not closed"),
        (&steps("${{ 'abc }}"), "4:68: a text in the expression is not closed"),
        (&steps("${{ }}"), "4:64: the expression is empty"),
        (
            &steps("${{ 1 + }}"),
            "4:64: the expression cannot be read: unexpected end of input, expected expression",
        ),
        (&steps("${{ 1 2 }}"), "4:64: the expression cannot be read: unexpected input after expression"),
        (&steps("${{ input.a ! }}"), "4:76: the character '!' has no meaning in an expression"),
    ]);
    check(&[(
        "saga: a\nsteps:\n- x: { action: p.o, read_only: true, with: { \"${{ input.k }}\": 1 } }\noutput: \"${{ steps.y.output }}\"\n",
        "3:46: a key cannot be an expression\n4:14: there is no step \"y\"",
    )]);
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
fn a_schema_is_checked() {
    let input = |schema: &str| format!("saga: a\ninput: {schema}\nsteps:\n{STEP}\n");
    check(&[
        (&input("text"), "2:8: \"input\" is a text and must be a JSON Schema"),
        (
            &input("{ type: objct }"),
            "2:16: this is not a JSON Schema: \"objct\" is not valid under any of the schemas listed in the …",
        ),
        (&input("{ pattern: \"(\" }"), "2:19: this is not a JSON Schema: \"(\" is not a \"regex\""),
        (
            &input("{ $ref: \"http://example.com/s\" }"),
            "2:16: \"http://example.com/s\" names nothing in this schema",
        ),
        (&input("{ $ref: \"#/$defs/no\" }"), "2:16: \"#/$defs/no\" names nothing in this schema"),
        (&input("{ items: { $ref: \"#\" } }"), "2:25: \"#\" contains itself"),
        (&input("{ items: { $id: x } }"), "2:19: \"$id\" is not supported here"),
        (&input("{ $dynamicRef: \"#x\" }"), "2:10: \"$dynamicRef\" is not supported here"),
        (
            &input(
                "{ $ref: \"#/$defs/a\", $defs: { a: { not: { $ref: \"#/$defs/b\" } }, b: { items: { $ref: \"#/$defs/a\" } } } }",
            ),
            "2:93: \"#/$defs/a\" contains itself",
        ),
        (
            &input("{ properties: { n: yes } }"),
            "2:27: the unquoted yes is read differently by different tools: as true or as a text",
        ),
    ]);
    let doubling: Vec<String> = (0..20)
        .map(|i| {
            format!(
                "d{i}: {{ allOf: [{{ $ref: \"#/$defs/d{n}\" }}, {{ $ref: \"#/$defs/d{n}\" }}] }}",
                n = i + 1
            )
        })
        .collect();
    let bomb = format!("{{ $ref: \"#/$defs/d0\", $defs: {{ {}, d20: true }} }}", doubling.join(", "));
    check(&[(&input(&bomb), "2:1: the schema unfolds to more than 20000 parts")]);
}

#[test]
fn the_members_of_a_closed_input_are_known() {
    let source = "saga: a\ninput: { type: object, additionalProperties: false, properties: { lines: true, order: true } }\nsteps:\n\
                  - x: { action: p.o, read_only: true, with: [\"${{ input.lnies }}\", \"${{ input['order'] }}\"] }\n";
    check(&[(source, "4:50: the input has no member \"lnies\"")]);
    let diagnostics = Text::read(source).expect_err("a fault");
    assert_eq!(diagnostics.0[0].help, "did you mean \"lines\"?");
}

#[test]
fn every_fault_is_told_at_once_in_the_order_of_the_text() {
    let source = "saga: Bad\nversion: no\ndeadline: 5\ninput: { type: objct }\nsteps:\n- a: { action: p, with: \"${{ nope }}\" }\n\
                  - b: { after: c, await: s }\nouput: 1\n";
    let told = faults(source);
    let places: Vec<&str> = told.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(
        places,
        ["1:7", "2:10", "3:11", "4:16", "6:3", "6:16", "6:30", "7:3", "7:15", "8:1"],
        "{told}"
    );
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
