//! What is said to somebody who asks for something that cannot be.

use crate::binary::Place;

/// Runs a command and expects how it ends and what it says on stderr.
fn check(args: &[&str], code: i32, said: &[&str]) {
    let ended = Place::new().run(args).code(code);
    for words in said {
        assert!(ended.err.contains(words), "{args:?} is to say {words:?}: {}", ended.err);
    }
    assert!(!ended.err.contains('\u{1b}'), "{args:?} colours a pipe");
}

#[test]
fn bad_usage_ends_with_2_and_says_what_is_expected() {
    check(&["sage"], 2, &["unrecognized subcommand", "saga"]);
    check(&["saga"], 2, &["Usage: amends saga", "follow"]);
    check(&["saga", "show", "seven"], 2, &["invalid value 'seven' for '<ID>'"]);
    check(&["saga", "start", "checkout", "--label", "order"], 2, &["expected name=text, such as order=1001"]);
    check(&["saga", "start", "checkout", "--wait", "soon"], 2, &["invalid value 'soon' for '--wait <TIME>'"]);
    check(
        &["saga", "list", "--coordinator", "localhost"],
        2,
        &["expected an address such as http://127.0.0.1:7070"],
    );
    check(&["saga", "list", "--limit", "501"], 2, &["501 is not in 1..=500"]);
    check(&["serve", "--listen", "7070"], 2, &["port 0 picks a free one"]);
    check(
        &["serve", "--store", "postgres://host/db"],
        2,
        &["this version keeps its data in SQLite", "sqlite:PATH"],
    );
    check(&["serve", "--sagas-max", "0"], 2, &["invalid value '0'"]);
    check(&["participant", "warehouse"], 2, &["unrecognized subcommand 'warehouse'"]);
    check(&["participant", "order", "--store", "mysql://host/db"], 2, &["not behind mysql://"]);
}

#[test]
fn nobody_there_ends_with_1_and_says_how_to_start_one() {
    for args in [
        &["health"][..],
        &["saga", "list"],
        &["saga", "follow", "00000000-0000-7000-8000-000000000001"],
        &["definition", "list"],
    ] {
        let args = [args, &["--coordinator", "http://127.0.0.1:9"]].concat();
        check(
            &args,
            1,
            &[
                "error: no coordinator answers at http://127.0.0.1:9",
                "start one with `amends serve`, or name it",
            ],
        );
    }
}

#[test]
fn what_cannot_be_started_says_what_to_do() {
    check(
        &["serve", "--listen", "0.0.0.0:0"],
        1,
        &["open to others than this machine", "--token", "--tokens-file", "or listen on 127.0.0.1"],
    );
    check(&["participant", "order", "--listen", "0.0.0.0:0"], 1, &["name it with --advertise"]);
    check(&["demo", "--exit", "--listen", "0.0.0.0:0"], 1, &["serves this machine only"]);
    check(&["serve", "--tokens-file", "tokens"], 1, &["the tokens in tokens cannot be read"]);
    check(&["saga", "start", "checkout", "--input", "cart.json"], 1, &["cart.json cannot be read"]);
    check(
        &["saga", "signal", "00000000-0000-7000-8000-000000000001", "payment", "--payload", "paid"],
        1,
        &["--payload is not JSON"],
    );
    check(
        &["serve", "--log", "a=b=c", "--listen", "127.0.0.1:0"],
        1,
        &["the log filter \"a=b=c\" cannot be read"],
    );
}

#[test]
fn every_shell_gets_completions_and_every_command_a_page() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell]).code(0).out;
        assert!(script.contains("participant"), "{shell}");
    }
    let page = place.run(&["man"]).code(0).out;
    assert!(page.contains(".TH amends 1") && page.contains("definition"), "{page}");
    place.run(&["man", "--dir", "pages"]).code(0);
    for page in ["amends.1", "amends-saga-follow.1", "amends-participant-inventory.1"] {
        assert!(place.path().join("pages").join(page).is_file(), "{page}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_process_quietly() {
    let place = Place::new();
    let (code, err) = place.run_with_closed_output(&["config"]);
    assert_eq!((code, err.as_str()), (Some(141), ""));
}

#[test]
fn help_and_version_are_plain_in_a_pipe() {
    let place = Place::new().env("NO_COLOR", "1").env("CLICOLOR_FORCE", "1");
    for args in [&["--help"][..], &["saga", "start", "--help"], &["--version"]] {
        let ended = place.run(args).code(0);
        assert!(!ended.out.is_empty() && !ended.out.contains('\u{1b}'), "{args:?}: {:?}", ended.out);
    }
}
