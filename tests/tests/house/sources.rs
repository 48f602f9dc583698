//! The shape of source files, and words that do not belong into some of them.

use crate::code::{blank, functions, has_word};
use crate::tree::{files, none, read};

/// The most lines of a file: beyond them there is a second subject inside.
const FILE_LINES_MAX: usize = 600;

/// How many files are longer all the same. A ratchet: it gets smaller.
const LONG_FILES_MAX: usize = 0;

/// The most lines of a function: what one can see at once. Tests are exempt: their cases are data.
const FUNCTION_LINES_MAX: usize = 70;

/// How many functions are longer all the same. A ratchet: it gets smaller.
const LONG_FUNCTIONS_MAX: usize = 2;

/// What the pure core must not mention outside of its tests: time, randomness, the machine, and an order that varies.
const IMPURE: [&str; 16] = [
    "HashMap",
    "HashSet",
    "Instant",
    "SystemTime",
    "RandomState",
    "tokio",
    "async",
    "std::thread",
    "std::env",
    "std::fs",
    "std::net",
    "std::io",
    "now_v7",
    "new_v4",
    "println!",
    "eprintln!",
];

/// What is nowhere: unfinished work, and tests that do not run.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", "dbg!", "#[ignore"];

/// Every Rust file of ours that a person wrote.
fn sources() -> Vec<(String, String)> {
    let found: Vec<(String, String)> = files("", "rs")
        .into_iter()
        .map(|path| (path.clone(), read(&path)))
        .filter(|(_, source)| {
            !source.lines().take(5).any(|line| line.starts_with("//") && line.contains("@generated"))
        })
        .collect();
    assert!(found.len() > 50, "only {} source files were found", found.len());
    found
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// What stands before a module of tests that is written into the file it tests.
fn without_tests(source: &str) -> &str {
    source.split_once("#[cfg(test)]").map_or(source, |(before, _)| before)
}

#[test]
fn every_file_says_what_it_is() {
    let complaints: Vec<String> = sources()
        .into_iter()
        .filter(|(_, source)| !source.starts_with("//!"))
        .map(|(path, _)| format!("{path} does not open with //!"))
        .collect();
    none("a file without a word about itself", &complaints);
}

#[test]
fn files_have_one_subject() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|(path, source)| (path, source.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| format!("{path} has {lines} lines: look for the second subject in it"))
        .collect();
    ratchet(&format!("files have more than {FILE_LINES_MAX} lines"), LONG_FILES_MAX, &long);
}

#[test]
fn functions_fit_on_a_page() {
    let mut long = Vec::new();
    for (path, source) in sources().into_iter().filter(|(path, _)| !is_test(path)) {
        let found = functions(&blank(without_tests(&source)));
        let found = found.into_iter().filter(|function| function.lines > FUNCTION_LINES_MAX);
        long.extend(found.map(|one| format!("{path}:{} {} has {} lines", one.line, one.name, one.lines)));
    }
    ratchet(&format!("functions have more than {FUNCTION_LINES_MAX} lines"), LONG_FUNCTIONS_MAX, &long);
}

/// Fails when there is more of something than there was; says so when the number can be lowered.
fn ratchet(what: &str, max: usize, found: &[String]) {
    assert!(found.len() <= max, "{} {what}, {max} may:\n  {}", found.len(), found.join("\n  "));
    if found.len() < max {
        println!("only {} {what}: lower the ratchet from {max}", found.len());
    }
}

#[test]
fn the_core_is_pure() {
    let mut complaints = Vec::new();
    for path in files("coordinator/saga/src", "rs").into_iter().filter(|path| !is_test(path)) {
        let code = blank(without_tests(&read(&path)));
        complaints
            .extend(IMPURE.iter().filter(|word| has_word(&code, word)).map(|word| format!("{path}: {word}")));
    }
    none("the core mentions what it must be told", &complaints);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut complaints = Vec::new();
    for (path, source) in sources() {
        let code = blank(&source);
        complaints.extend(
            UNFINISHED.iter().filter(|word| code.contains(*word)).map(|word| format!("{path}: {word}")),
        );
    }
    none("unfinished work, or a test that does not run", &complaints);
}
