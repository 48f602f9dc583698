//! The guide for the people on call, and the README, show no command, flag or definition that is not there.
//!
//! Every `amends` command of their shell blocks goes through the command line's own parser here; [`walk`] then runs the
//! guide's from its beginning to its end.

mod shell;
mod walk;

use amends::args::Args;
use amends_wire::definition::Text;
use clap::{Parser, error::ErrorKind};
use shell::{commands, shell};
use std::path::Path;

/// The guide.
const GUIDE: &str = "coordinator/OPERATING.md";

/// A text of the repository, named from its root.
fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The arguments of `amends`, where a command is one: the installed program, or the one cargo builds and runs.
fn amends(words: &[String]) -> Option<Vec<String>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let rest = match words[..] {
        ["amends", ..] => &words[1..],
        ["cargo", "run", "--release", "--", ..] => &words[4..],
        _ => return None,
    };
    Some(rest.iter().map(|word| (*word).to_owned()).collect())
}

/// What the command line says against a command; nothing when it would take it. A sentence may name a command without
/// the arguments it needs.
fn misfit(words: &[String], is_whole: bool) -> Option<String> {
    let typed = ["amends".to_owned()].into_iter().chain(words.iter().cloned());
    match Args::try_parse_from(typed) {
        Ok(_) => None,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => None,
        Err(error) if !is_whole && error.kind() == ErrorKind::MissingRequiredArgument => None,
        Err(error) => Some(format!("amends {}: {error}", words.join(" "))),
    }
}

fn assert_all_fit(path: &str, at_least: usize, is_whole: bool, shown: Vec<Vec<String>>) {
    assert!(
        shown.len() >= at_least,
        "{path} shows {} commands, {at_least} at least are expected",
        shown.len()
    );
    let misfits: Vec<String> = shown.iter().filter_map(|words| misfit(words, is_whole)).collect();
    assert!(misfits.is_empty(), "{path} shows what cannot be typed:\n{}", misfits.join("\n"));
}

#[test]
fn commands_of_the_guide_and_the_readme_can_be_typed() {
    for (path, at_least) in [(GUIDE, 30), ("README.md", 10)] {
        let (shell, _) = shell(&read(path));
        assert_all_fit(
            path,
            at_least,
            true,
            commands(&shell).iter().filter_map(|words| amends(words)).collect(),
        );
    }
}

#[test]
fn commands_within_the_guide_s_sentences_can_be_typed() {
    let guide = read(GUIDE);
    let prose = guide.split("```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2));
    // A line of the text may end within a command.
    let shown =
        prose.filter(|code| code.starts_with("amends ")).flat_map(|code| commands(&code.replace('\n', " ")));
    assert_all_fit(GUIDE, 5, false, shown.filter_map(|words| amends(&words)).collect());
}

#[test]
fn definitions_that_the_guide_writes_are_well_formed() {
    let (_, files) = shell(&read(GUIDE));
    let definitions: Vec<_> = files.iter().filter(|(name, _)| name.ends_with(".yaml")).collect();
    assert!(!definitions.is_empty(), "the guide writes a definition");
    for (name, text) in definitions {
        if let Err(faults) = Text::read(text) {
            panic!("{}", faults.render(name, text));
        }
    }
}

#[test]
fn what_is_not_there_is_found() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert!(misfit(&words("repair list --participant inventory"), true).is_none());
    assert!(misfit(&words("chaos"), false).is_none());
    assert!(misfit(&words("chaos"), true).is_some());
    assert!(misfit(&words("repair heal"), false).is_some());
    assert!(misfit(&words("repair list --colour red"), false).is_some());
}
