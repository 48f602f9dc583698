//! `amends chaos`: what it prints, and how it ends.

use crate::binary::Place;

const TRANSFER: &str = "\
saga: transfer
steps:
  - withdraw: { action: bank.withdraw, compensation: bank.give_back, with: { amount: 5 } }
  - deposit: { action: vault.deposit, compensation: vault.take_out, with: { amount: 5 } }
";

fn place() -> Place {
    let place = Place::new();
    place.file("transfer.yaml", TRANSFER);
    place
}

#[test]
fn a_rehearsal_says_what_was_kept_and_how_to_repeat_it() {
    let ended =
        place().run(&["chaos", "transfer.yaml", "--sagas", "40", "--seed", "7", "--faults", "mild"]).code(0);
    assert!(ended.out.starts_with("transfer@1: 40 sagas, seed 7, "), "{}", ended.out);
    assert!(ended.out.contains("  kept    no call takes effect twice ("), "{}", ended.out);
    let again = "every law was kept; once more with\n  \
                 amends chaos transfer.yaml --sagas 40 --seed 7 --faults mild\n";
    assert!(ended.out.ends_with(again), "{}", ended.out);
}

#[test]
fn a_broken_law_ends_with_1_and_names_the_place() {
    let args = [
        "chaos",
        "transfer.yaml",
        "--without-barrier",
        "--faults",
        "drop_after=0.3",
        "--sagas",
        "30",
        "--seed",
        "1",
    ];
    let ended = place().run(&args).code(1);
    assert!(ended.out.contains("BROKEN  no call takes effect twice"), "{}", ended.out);
    assert!(ended.out.contains("was applied 2 times"), "{}", ended.out);
    assert!(
        ended.out.contains("a law was broken; once more with\n  amends chaos transfer.yaml"),
        "{}",
        ended.out
    );
}

#[test]
fn programs_get_a_report_and_the_same_seed_gives_the_same_one() {
    let place = place();
    let args = ["chaos", "transfer.yaml", "--json", "--sagas", "40", "--seed", "7", "--faults", "reversals"];
    let (first, again) = (place.run(&args).code(0).json(), place.run(&args).code(0).json());
    assert_eq!(first["kept"], true);
    assert_eq!((&first["injected"], &first["outcomes"]), (&again["injected"], &again["outcomes"]));
    assert_eq!(first["outcomes"]["in_repair"], first["repairs"].as_array().map_or(0, Vec::len));
    assert_eq!(first["laws"][0]["law"], "nothing_lost");
}

#[test]
fn the_standard_faults_are_a_flag() {
    let ended = place().run(&["chaos", "transfer.yaml", "--standard"]).code(0);
    assert!(ended.out.contains("  kept    every saga ends as the fault asks (8)"), "{}", ended.out);
}

#[test]
fn the_sagas_that_are_run_are_found_in_the_files_beside() {
    let place = Place::new();
    place.file("a.yaml", "saga: a\nsteps:\n  - b: { saga: b, with: {} }\n");
    let alone = place.run(&["chaos", "a.yaml", "--sagas", "1"]).code(1);
    assert!(
        alone.err.contains("whose definition is not there; put its file beside this one"),
        "{}",
        alone.err
    );
    place.file("b.yaml", "saga: b\nsteps:\n  - x: { action: p.x, compensation: p.y, with: {} }\n");
    let told = place.run(&["chaos", "a.yaml", "--faults", "none", "--sagas", "3", "--json"]).code(0).json();
    assert_eq!((&told["outcomes"]["completed"], &told["calls"]["action"]), (&3.into(), &3.into()), "{told}");
}

#[test]
fn answers_and_inputs_come_from_files_or_the_command_line() {
    let place = Place::new();
    let source = "saga: a\ninput: { type: object, required: [n] }\nsteps:\n  \
                  - one: { action: p.x, read_only: true, with: \"${{ input.n }}\" }\n  \
                  - two: { action: p.y, read_only: true, with: \"${{ steps.one.output.list[0] }}\" }\n";
    place.file("a.yaml", source);
    place.file("answers.json", "{\"p.x\": {\"list\": [1]}}");
    place.file("input.json", "{\"n\": \"{number}\"}");
    let args = ["chaos", "a.yaml", "--faults", "none", "--sagas", "5", "--answers", "answers.json", "--json"];
    for input in ["input.json", "{\"n\": 1}"] {
        let told = place.run(&[&args[..], &["--input", input]].concat()).code(0).json();
        assert_eq!(told["outcomes"]["completed"], 5, "{told}");
    }
}

#[test]
fn what_cannot_be_rehearsed_says_what_to_do() {
    let place = place();
    let check = |args: &[&str], code: i32, said: &str| {
        let ended = place.run(&[&["chaos"], args].concat()).code(code);
        assert!(ended.err.contains(said), "{args:?} is to say {said:?}: {}", ended.err);
    };
    check(
        &["transfer.yaml", "--faults", "ruogh"],
        2,
        "\"ruogh\" is no fault; write a preset (none, mild, rough",
    );
    check(&["transfer.yaml", "--faults", "undo_fails=0.2:x"], 2, "such as undo_fails=0.2:3");
    check(&["transfer.yaml", "--rate", "0"], 2, "expected sagas per second, from 0.01 to 100000");
    check(&["absent.yaml"], 1, "absent.yaml cannot be read");
    place.file("wrong.yaml", "saga: a\nsteps:\n  - b: { action: c }\n");
    check(&["wrong.yaml"], 1, "--> wrong.yaml:3");
    place.file("answers.json", "[1]");
    check(&["transfer.yaml", "--answers", "answers.json"], 1, "it is to be an object such as");
    place.file("answers.json", "{\"bank.rob\": 1}");
    check(
        &["transfer.yaml", "--answers", "answers.json"],
        1,
        "it calls bank.withdraw, bank.give_back, vault.deposit",
    );
    let nobody = ["transfer.yaml", "--against", "registered", "--coordinator", "http://127.0.0.1:9"];
    check(&nobody, 1, "no coordinator answers at http://127.0.0.1:9");
}
