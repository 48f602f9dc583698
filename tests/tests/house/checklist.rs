//! What a shop needs: every line of the tables in `participants/SHOP.md` has its name once, leads to code that is there, and is
//! proved by a test that bears its name, unless it says that it is not built yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{files, none, read, root};

/// The document, and the headings between which its tables stand.
const DOCUMENT: &str = "participants/SHOP.md";
const BEGINS: &str = "\n## What a shop needs, and what proves it\n";
const ENDS: &str = "\n### The laws of the books\n";

/// The groups of lines, and how many each of them has.
const GROUPS: [(char, usize); 7] = [('B', 7), ('T', 9), ('C', 11), ('H', 10), ('J', 13), ('Y', 4), ('P', 10)];

/// What a line says of itself that is not proved yet.
const NOT_BUILT: &str = "**not built yet**";

/// Where tests of lines may stand.
const TESTED_IN: [&str; 3] = ["participants", "tests/tests", "cli"];

/// A line of a table: its name, its code and its tests.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    name: String,
    code: String,
    tests: String,
}

impl Line {
    fn is_built(&self) -> bool {
        !self.tests.contains(NOT_BUILT)
    }

    /// How the names of its tests begin.
    fn prefix(&self) -> String {
        format!("{}_", self.name.to_lowercase())
    }
}

/// Every name that a line may have.
fn names() -> BTreeSet<String> {
    GROUPS
        .iter()
        .flat_map(|(group, count)| (1..=*count).map(move |number| format!("{group}{number}")))
        .collect()
}

/// The rows of the tables, headings left out.
fn lines(document: &str) -> Vec<Line> {
    let (_, after) = document.split_once(BEGINS).expect("the tables have a heading");
    let (tables, _) = after.split_once(ENDS).expect("something comes after the tables");
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        match cells[..] {
            [name, _, code, tests] if name != "line" && !name.starts_with("--") => {
                Some(Line { name: name.into(), code: code.into(), tests: tests.into() })
            }
            _ => None,
        }
    };
    tables.lines().filter_map(row).collect()
}

/// The targets of a cell's links.
fn links(cell: &str) -> Vec<String> {
    cell.split("](").skip(1).filter_map(|part| Some(part.split_once(')')?.0.to_owned())).collect()
}

/// The names of tests in a cell: what stands in backticks outside of links.
fn named(cell: &str) -> Vec<String> {
    let word = |text: &&str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let mut outside = String::new();
    for (at, part) in cell.split('[').enumerate() {
        let kept = if at == 0 { part } else { part.split_once(')').map_or(part, |(_, rest)| rest) };
        outside.push_str(kept);
    }
    outside.split('`').skip(1).step_by(2).filter(word).map(str::to_owned).collect()
}

/// The names of a source's tests.
fn tests(source: &str) -> Vec<String> {
    let (mut found, mut is_test) = (Vec::new(), false);
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((before, after)) = line.split_once("fn ")
            && is_test
            && (before.is_empty() || before == "async ")
        {
            found.extend(after.split_once('(').map(|(name, _)| name.to_owned()));
            is_test = false;
        }
    }
    found
}

/// Every test there is, with the file it stands in.
fn all_tests() -> BTreeMap<String, String> {
    let paths = TESTED_IN.iter().flat_map(|under| files(under, "rs"));
    paths.flat_map(|path| tests(&read(&path)).into_iter().map(move |name| (name, path.clone()))).collect()
}

/// Whether a test's name begins like that of a line.
fn line_of(test: &str) -> Option<String> {
    let (line, _) = test.split_once('_')?;
    let name = line.to_uppercase();
    names().contains(&name).then_some(name)
}

/// What is wrong with the tables, given which links lead somewhere and which tests there are.
fn complaints(lines: &[Line], leads: impl Fn(&str) -> bool, tests: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for name in names() {
        match lines.iter().filter(|line| line.name == name).count() {
            1 => {}
            count => found.push(format!("{name} stands there {count} times instead of once")),
        }
    }
    for line in lines {
        let (name, links, named) = (&line.name, links(&line.code), named(&line.tests));
        if !names().contains(name) {
            found.push(format!("{name} is no line of the checklist"));
        }
        found.extend(
            links.iter().filter(|link| !leads(link)).map(|link| format!("{name}: {link} leads nowhere")),
        );
        let absent = named.iter().filter(|test| !tests.contains_key(*test));
        found.extend(absent.map(|test| format!("{name}: there is no test {test}")));
        if line.is_built() && links.is_empty() {
            found.push(format!("{name} says it is built and leads to no code"));
        }
        if line.is_built() && !named.iter().any(|test| test.starts_with(&line.prefix())) {
            found.push(format!("{name} says it is built, but names no test {}…", line.prefix()));
        }
    }
    for (test, path) in tests {
        let stands = |line: &Line| named(&line.tests).contains(test);
        if let Some(name) = line_of(test)
            && !lines.iter().filter(|line| line.name == name).any(stands)
        {
            found.push(format!("{path}: {test} bears the name of line {name}, which does not name it"));
        }
    }
    found
}

#[test]
fn every_line_of_the_shops_checklist_is_proved_or_says_that_it_is_not_built() {
    let beside = root().join(DOCUMENT);
    let folder = beside.parent().expect("a folder");
    let leads = |link: &str| folder.join(link.split('#').next().unwrap_or_default()).exists();
    none(
        "the tables of what a shop needs are not as they are",
        &complaints(&lines(&read(DOCUMENT)), leads, &all_tests()),
    );
}

#[test]
fn what_is_wrong_with_a_checklist_is_found() {
    let rest: Vec<Line> = names()
        .into_iter()
        .filter(|name| !["B1", "B2", "B3"].contains(&name.as_str()))
        .map(|name| Line { name, code: String::new(), tests: NOT_BUILT.into() })
        .collect();
    let tests: BTreeMap<String, String> =
        ["b1_a", "b2_a", "other"].map(|name| (name.to_owned(), "a.rs".to_owned())).into();
    let leads = |link: &str| link == "a.rs";
    let check = |rows: &[&str], expected: &[&str]| {
        let document =
            format!("{BEGINS}| line | a | b | c |\n|---|---|---|---|\n{}\n{ENDS}", rows.join("\n"));
        let mut all = lines(&document);
        all.extend(rest.iter().cloned());
        assert_eq!(complaints(&all, leads, &tests), expected, "{rows:?}");
    };
    let (two, three) =
        ("| B2 | x | [a](a.rs) | `b2_a` |", "| B3 | x | | **not built yet**: `other` is there |");
    check(&["| B1 | x | [`a`](a.rs) | `b1_a`, `other` |", two, three], &[]);
    check(
        &["| B1 | x | [a](gone.rs) | `b1_a`, `b1_gone` |", two, three],
        &["B1: gone.rs leads nowhere", "B1: there is no test b1_gone"],
    );
    check(
        &["| B1 | x | `a.rs` | `other`; [`b1_a`](a.rs) |", two, three],
        &[
            "B1 says it is built and leads to no code",
            "B1 says it is built, but names no test b1_…",
            "a.rs: b1_a bears the name of line B1, which does not name it",
        ],
    );
    check(
        &["| B1 | x | [a](a.rs) | `b1_a` |", two, two, "| B30 | x | | **not built yet** |"],
        &[
            "B2 stands there 2 times instead of once",
            "B3 stands there 0 times instead of once",
            "B30 is no line of the checklist",
        ],
    );
}

#[test]
fn tests_are_known_by_their_attribute() {
    let source =
        "#[test]\nfn a_b() {}\nfn c() {}\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn d() {\n}\n";
    assert_eq!(tests(source), ["a_b", "d"]);
}
