//! `amends definition check`, word by word.

use crate::binary::Place;
use serde_json::json;

const WRONG: &str = "\
saga: checkout
version: 1
steps:
  - quote:
      action: product.quote
      read_only: true
  - reserve:
      action: inventory.hold
      compensation: inventory.release
      with: { lines: \"${{ steps.qoute.output.lines }}\" }
";

const TOLD: &str = r#"error: there is no step "qoute"
   --> checkout.yaml:10:27
   |
10 |       with: { lines: "${{ steps.qoute.output.lines }}" }
   |                           ^
   = help: did you mean "quote"?"#;

#[test]
fn a_fault_is_shown_with_its_line_and_a_caret() {
    let place = Place::new();
    place.file("checkout.yaml", WRONG);
    let ended = place.run(&["definition", "check", "checkout.yaml"]).code(1);
    assert_eq!(ended.out.trim_end(), TOLD);
}

#[test]
fn programs_get_every_fault_with_its_place() {
    let place = Place::new();
    place.file("checkout.yaml", WRONG);
    let told = place.run(&["definition", "check", "--json", "checkout.yaml"]).code(1).json();
    assert_eq!((&told[0]["file"], &told[0]["ok"]), (&json!("checkout.yaml"), &json!(false)));
    let fault = &told[0]["diagnostics"][0];
    assert_eq!(fault["line"], 10);
    assert!(fault["help"].as_str().is_some_and(|help| help.contains("quote")), "{fault}");
}

#[test]
fn what_is_well_formed_says_so_and_every_file_is_read() {
    let place = Place::new();
    place.file("good.yaml", "saga: ping\nsteps:\n  - one: { action: a.b, read_only: true }\n");
    place.file("bad.yaml", "saga: ping\n");
    let ended = place.run(&["definition", "check", "good.yaml"]).code(0);
    assert_eq!(ended.out, "good.yaml: ping@1 is well formed (1 step)\n");
    let ended = place.run(&["definition", "check", "bad.yaml", "good.yaml"]).code(1);
    assert!(ended.out.contains("bad.yaml:") && ended.out.contains("good.yaml: ping@1"), "{}", ended.out);
    let ended = place.run(&["definition", "check", "absent.yaml"]).code(1);
    assert!(ended.err.starts_with("error: absent.yaml cannot be read: "), "{}", ended.err);
}

#[test]
fn the_shops_own_definitions_are_well_formed() {
    let sagas = concat!(env!("CARGO_MANIFEST_DIR"), "/../sagas");
    let place = Place::new();
    for name in ["checkout", "order", "parallel"] {
        place.run(&["definition", "check", &format!("{sagas}/{name}.yaml")]).code(0);
    }
}
