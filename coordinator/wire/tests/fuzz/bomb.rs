//! Texts made to hurt: deep, long, unfolding, quadratic, and full of characters that nobody types.

use crate::dice::Dice;

/// A definition around an expression.
fn with(expression: &str) -> String {
    format!("saga: a\nsteps:\n- x: {{ action: p.o, read_only: true, with: \"${{{{ {expression} }}}}\" }}\n")
}

/// A definition around a schema.
fn input(schema: &str) -> String {
    format!(
        "saga: a\ninput: {schema}\nsteps:\n- x: {{ action: p.o, read_only: true, with: \"${{{{ input.a.b[0].c }}}}\" }}\n"
    )
}

fn steps(steps: impl Iterator<Item = String>) -> String {
    format!("saga: a\nsteps:\n{}", steps.collect::<Vec<_>>().join("\n"))
}

/// One of them, of a size by chance.
pub(crate) fn text(dice: &mut Dice) -> String {
    let n = [3, 40, 130, 500, 3_000, 20_000][dice.below(6)];
    match dice.below(34) {
        0 => "[".repeat(n),
        1 => format!("saga: {}{}", "[".repeat(n), "]".repeat(n)),
        2 => format!("saga: {}1{}", "{a: ".repeat(n), "}".repeat(n)),
        3 => (0..n.min(400)).map(|i| format!("{}k:\n", " ".repeat(i))).collect(),
        4 => format!("{}x", "- ".repeat(n)),
        5 => anchors(n.min(60), 10),
        6 => anchors(n.min(500), 1),
        7 => format!("saga: {}", "x".repeat(n)),
        8 => format!("saga: \"{}\"", "\\u00e9\\n\\\"".repeat(n)),
        9 => format!("saga: |\n{}", "  line\n".repeat(n)),
        10 => format!("version: {}", "9".repeat(n)),
        11 => format!("version: 1e{}", "9".repeat(n)),
        12 => format!("version: 0.{}1", "0".repeat(n)),
        13 => format!("{{{}}}", (0..n).map(|i| format!("\"k{i}\": {i}")).collect::<Vec<_>>().join(", ")),
        14 => format!("{{{}}}", vec!["\"k\": 1"; n].join(", ")),
        15 => "\u{1f600}\u{2028}\u{0}\u{feff}é: ".repeat(n),
        16 => steps((0..n.min(600)).map(|i| format!("- s{i}: {{ await: s, timeout: 1s }}"))),
        17 => steps((0..n.min(512)).map(|i| format!("- s{i}: {{ after: s{}, await: s, timeout: 1s }}", (i + 1) % n.min(512)))),
        18 => mesh(n.min(130)),
        19 => steps((0..n.min(512)).map(|i| {
            format!("- s{i}: {{ action: p.o, compensation: p.u, when: \"${{{{ steps.s{} .output.a is defined }}}}\", pivot: true }}", i / 2)
        })),
        20 => with(&format!("{}1{}", "(".repeat(n), ")".repeat(n))),
        21 => with(&vec!["1"; n.min(600)].join(["+", "**", "~", " and ", " if 1 else ", "<"][dice.below(6)])),
        22 => with(&format!("{}1", ["not ", "-", "[", "{'a':"][dice.below(4)].repeat(n.min(600)))),
        23 => with(&format!("input{}", [".a", "[0]", "|list", "|map('list')", "['a']", "[:]"][dice.below(6)].repeat(n.min(600)))),
        24 => with(&format!("'{}'", "é".repeat(n.min(5000)))),
        25 => with(&format!("range({n}00) | map('string') | list | join('{}')", "x".repeat(50))),
        26 => (0..n.min(300)).map(|i| format!("${{{{ input.a{i} }}}}")).fold(String::from("saga: a\noutput: \""), |all, one| all + &one) + "\"",
        27 => input(&doubling(n.min(60))),
        28 => input(&format!("{}{{ type: object }}{}", "{ items: ".repeat(n.min(70)), " }".repeat(n.min(70)))),
        29 => input(&format!("{{ pattern: \"{}\" }}", ["(a+)+$", "(x{100}){100}", "[a-z]{1000}", "(((a|b)*)*)*"][dice.below(4)])),
        30 => input(&format!("{{ enum: [{}] }}", (0..n.min(5000)).map(|i| i.to_string()).collect::<Vec<_>>().join(", "))),
        31 => input(&format!("{{ required: [{}] }}", vec!["a"; n.min(5000)].join(", "))),
        32 => input(&format!("{{ anyOf: [{}] }}", vec!["{ properties: { a: { type: string } } }"; n.min(600)].join(", "))),
        _ => format!("saga: a\nsteps:\n- x: {{ action: p.o, read_only: true, for_each: [{}] }}", vec!["1"; n.min(3000)].join(", ")),
    }
}

/// Aliases that unfold.
fn anchors(levels: usize, width: usize) -> String {
    let mut text = String::from("a0: &a0 [x]\n");
    for level in 1..levels {
        let items = vec![format!("*a{}", level - 1); width].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    text
}

/// References that unfold.
fn doubling(levels: usize) -> String {
    let level = |i: usize| {
        format!("d{i}: {{ allOf: [{{ $ref: \"#/$defs/d{}\" }}, {{ $ref: \"#/$defs/d{}\" }}] }}", i + 1, i + 1)
    };
    let levels_written: Vec<String> = (0..levels).map(level).collect();
    format!("{{ $ref: \"#/$defs/d0\", $defs: {{ {}, d{levels}: true }} }}", levels_written.join(", "))
}

/// Every step after every other before it.
fn mesh(n: usize) -> String {
    steps((0..n).map(|i| {
        let after: Vec<String> = (0..i).map(|j| format!("s{j}")).collect();
        format!("- s{i}: {{ after: [{}], await: s, timeout: 1s }}", after.join(", "))
    }))
}
