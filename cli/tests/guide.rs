//! The guide for the people on call, and the README, show no command, flag or definition that is not there.
//!
//! Every `amends` command of their shell blocks goes through the command line's own parser; nothing is run.

use amends::args::Args;
use amends_wire::definition::Text;
use clap::{Parser, error::ErrorKind};
use std::path::Path;

/// The guide.
const GUIDE: &str = "coordinator/OPERATING.md";

/// What stands for a shell variable: it fits wherever an id is wanted.
const VARIABLE: &str = "0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10";

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The shell blocks of a Markdown text, with the files that here-documents write taken out: `(shell, files)`.
fn shell(markdown: &str) -> (String, Vec<(String, String)>) {
    let (mut shell, mut files, mut inside) = (String::new(), Vec::new(), false);
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            inside = language == "sh";
        } else if let (true, Some((command, _))) = (inside, line.split_once(" <<'END'")) {
            let name = command.rsplit(' ').next().unwrap_or_default().to_owned();
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "END").collect();
            files.push((name, body.join("\n") + "\n"));
        } else if inside {
            shell.push_str(line);
            shell.push(if line.ends_with('\\') { ' ' } else { '\n' });
        }
    }
    (shell, files)
}

/// Splits shell text into simple commands, each a list of words, as far as a guide uses the language: quotes, `$name`,
/// `$(…)`, pipes, lists, redirections and comments.
fn commands(shell: &str) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let (mut word, mut quoted): (Option<String>, Option<char>) = (None, None);
    let mut letters = shell.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_break = quoted.is_none() && (letter.is_whitespace() || ";|&()<>".contains(letter));
        if is_break || (quoted != Some('\'') && letter == '$' && letters.peek() == Some(&'(')) {
            found.last_mut().expect("one at least").extend(word.take());
            match letter {
                '<' | '>' => found.last_mut().expect("one at least").push(letter.to_string()),
                ' ' | '\t' => {}
                _ => found.push(Vec::new()),
            }
        } else if quoted == Some(letter) {
            quoted = None;
        } else if quoted.is_none() && (letter == '\'' || letter == '"') {
            quoted = Some(letter);
            word.get_or_insert_default();
        } else if quoted.is_none() && letter == '#' && word.is_none() {
            while letters.next_if(|letter| *letter != '\n').is_some() {}
        } else if quoted != Some('\'') && letter == '$' {
            while letters.next_if(|letter| letter.is_ascii_alphanumeric() || *letter == '_').is_some() {}
            word.get_or_insert_default().push_str(VARIABLE);
        } else if quoted.is_some() || letter != '\\' {
            word.get_or_insert_default().push(letter);
        }
    }
    found.last_mut().expect("one at least").extend(word);
    found.into_iter().map(plain).filter(|words| !words.is_empty()).collect()
}

/// A command without what stands before it and where its output goes.
fn plain(words: Vec<String>) -> Vec<String> {
    let is_before = |word: &String| matches!(word.as_str(), "do" | "then" | "!") || is_assignment(word);
    let words: Vec<String> = words.into_iter().skip_while(is_before).collect();
    let end = words.iter().position(|word| word == "<" || word == ">").unwrap_or(words.len());
    words[..end].to_vec()
}

fn is_assignment(word: &String) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    })
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
    let shown = prose.filter(|code| code.starts_with("amends ")).flat_map(commands);
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
fn shell_is_split_into_commands() {
    let text =
        "A=$(amends a \"$X\" | jq -r .id) # no\nfor n in 1; do amends b --c 'd e' > f; done || amends g";
    let expected: [&[&str]; 5] = [
        &["amends", "a", VARIABLE],
        &["jq", "-r", ".id"],
        &["for", "n", "in", "1"],
        &["amends", "b", "--c", "d e"],
        &["done"],
    ];
    let mut found = commands(text);
    assert_eq!(found.pop().expect("the last"), ["amends", "g"]);
    assert_eq!(found, expected);
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
