//! Faulty definitions, each with every diagnostic that is expected for it, to the letter.
//!
//! What stands before a line of four hashes begins every definition of its file.
//! A case is a definition, a line of four dashes, and its diagnostics in the order of the text, as
//! `line:column: message` and below it, indented, what to do. A line of four equals signs ends it.
//! With `AMENDS_BLESS=1` the files are written anew from what the reader says; look at the difference.

use super::*;
use std::fmt::Write as _;

/// The files, by what their cases get wrong.
pub(super) const FILES: [(&str, &str); 18] = [
    ("call", include_str!("faulty/call.txt")),
    ("child", include_str!("faulty/child.txt")),
    ("condition", include_str!("faulty/condition.txt")),
    ("frame", include_str!("faulty/frame.txt")),
    ("graph", include_str!("faulty/graph.txt")),
    ("items", include_str!("faulty/items.txt")),
    ("list", include_str!("faulty/list.txt")),
    ("many", include_str!("faulty/many.txt")),
    ("names", include_str!("faulty/names.txt")),
    ("pivot", include_str!("faulty/pivot.txt")),
    ("returns", include_str!("faulty/returns.txt")),
    ("retry", include_str!("faulty/retry.txt")),
    ("schema", include_str!("faulty/schema.txt")),
    ("truth", include_str!("faulty/truth.txt")),
    ("types", include_str!("faulty/types.txt")),
    ("wait", include_str!("faulty/wait.txt")),
    ("words", include_str!("faulty/words.txt")),
    ("yaml", include_str!("faulty/yaml.txt")),
];

/// The cases of a file: a definition, and what is expected of it.
pub(super) fn cases(file: &str) -> impl Iterator<Item = (String, &str)> {
    let (head, cases) = file.split_once("####\n").unwrap_or(("", file));
    cases.split_terminator("====\n").map(move |case| {
        let (source, expected) = case.split_once("----\n").expect("a definition and its faults");
        (format!("{head}{source}"), expected)
    })
}

fn told(source: &str) -> String {
    let mut told = String::new();
    match Text::read(source) {
        Ok(_) => told.push_str("nothing is wrong\n"),
        Err(diagnostics) => {
            for Diagnostic { line, column, message, help } in diagnostics.0 {
                writeln!(told, "{line}:{column}: {message}\n    {help}").expect("a text takes everything");
            }
        }
    }
    told
}

#[test]
fn every_faulty_definition_gets_exactly_its_diagnostics() {
    let bless = std::env::var_os("AMENDS_BLESS").is_some();
    let (mut count, mut wrong) = (0, String::new());
    for (name, file) in FILES {
        let head = file.split_once("####\n").map_or("", |(head, _)| head);
        let mut blessed = if head.is_empty() { String::new() } else { format!("{head}####\n") };
        for (source, expected) in cases(file) {
            let actual = told(&source);
            count += 1;
            if actual != expected {
                writeln!(wrong, "{name}.txt\n{source}---- expected\n{expected}---- actual\n{actual}")
                    .expect("text");
            }
            write!(blessed, "{}----\n{actual}====\n", &source[head.len()..]).expect("text");
        }
        if bless {
            let path = format!("{}/src/definition/tests/faulty/{name}.txt", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(path, blessed).expect("written");
        }
    }
    assert!(count >= 200, "{count} faulty definitions");
    assert!(bless || wrong.is_empty(), "{wrong}");
}

/// A diagnostic is a sentence without a full stop that says what is wrong, and one that says what to do.
#[test]
fn every_diagnostic_reads_well() {
    for (source, _) in FILES.iter().flat_map(|(_, file)| cases(file)) {
        for fault in Text::read(&source).expect_err(&source).0 {
            let both = [&fault.message, &fault.help];
            assert!(both.iter().all(|words| !words.is_empty() && !words.ends_with('.')), "{fault}");
            assert!(both.iter().all(|words| !words.contains("  ") && words.trim() == **words), "{fault}");
            assert!(fault.message.chars().count() < 220, "{fault}");
        }
    }
}
