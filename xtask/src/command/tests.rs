//! The command line, word for word.

use super::Command;

fn check(line: &str, expected: Result<Command, &str>) {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    assert_eq!(Command::parse(&words), expected.map_err(str::to_owned), "{line:?}");
}

#[test]
fn commands_take_their_options_in_either_spelling() {
    check("", Ok(Command::Help));
    check("--help", Ok(Command::Help));
    check("test", Ok(Command::Test(vec![])));
    check(
        "test -p amends-store --",
        Ok(Command::Test(vec!["-p".into(), "amends-store".into(), "--".into()])),
    );
    check("up", Ok(Command::Up));
    check("sim", Ok(Command::Sim { seeds: 100_000, seed: None }));
    check("sim --seeds=7", Ok(Command::Sim { seeds: 7, seed: None }));
    check("sim --seed 42 --seeds 1", Ok(Command::Sim { seeds: 1, seed: Some(42) }));
    check("model --states 9", Ok(Command::Model { states: 9 }));
    check("chaos --kills 3", Ok(Command::Chaos { kills: 3 }));
    check("fuzz", Ok(Command::Fuzz { seconds: 60 }));
}

#[test]
fn mistakes_are_named() {
    check("fly", Err("there is no command \"fly\""));
    check("up now", Err("\"now\" is not an option of this command"));
    check("sim --seeds", Err("--seeds needs a number after it"));
    check("chaos --kills many", Err("--kills takes a whole number, not \"many\""));
}
