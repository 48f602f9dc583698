//! Every definition that the project ships, written in code: the same content, and so the same hash.

mod twins;

use super::{Definition, call};
use crate::Error;
use amends_wire::definition::Text;
use serde_json::json;
use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};
use twins::TWINS;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../sagas")
}

#[test]
fn code_and_text_that_say_the_same_have_the_same_hash() {
    for (file, twin) in TWINS {
        let source = fs::read_to_string(folder().join(file)).expect(file);
        let text = Text::read(&source).unwrap_or_else(|faults| panic!("{file}: {faults}"));
        let built = twin().build().unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(Text::read(built.json()).expect(file).to_json(), text.to_json(), "{file}");
        assert_eq!(
            (built.name(), built.version(), built.hash()),
            (text.name.as_str(), text.version, text.hash.as_str())
        );
    }
}

#[test]
fn every_definition_that_is_shipped_has_its_twin_in_code() {
    let files = fs::read_dir(folder()).expect("the folder of definitions");
    let files = files.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let shipped: BTreeSet<String> = files.filter(|name| name.ends_with(".yaml")).collect();
    let written: BTreeSet<String> = TWINS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(shipped, written, "write what is new in code as well, as the others are");
}

#[test]
fn faults_are_told_at_their_place_in_the_text_that_is_shown() {
    let faulty = Definition::named("faulty")
        .step(call("first", "shop.take").with(json!({ "from": "${{ steps.second.output }}" })))
        .step(call("second", "shop.pay").compensation("shop.refund").after("third"));
    let Err(Error::Definition(faults)) = faulty.build() else { panic!("it has faults") };
    assert!(faults.0.len() >= 3, "{faults}");
    let text = faulty.to_text();
    for fault in &faults.0 {
        let line = text.lines().nth(fault.line - 1).unwrap_or_default();
        assert!(line.chars().count() >= fault.column, "{fault} in\n{text}");
    }
    assert!(faults.0.iter().any(|fault| fault.message.contains("does not say how it is undone")), "{faults}");
}

#[test]
fn a_span_is_rounded_up_and_a_text_stays_as_it_is_written() {
    let check = |definition: Definition, written: &str| {
        assert_eq!(definition.to_value()["deadline"], written);
    };
    let empty = || Definition::named("empty");
    check(empty().deadline(Duration::from_secs(24 * 3600)), "1d");
    check(empty().deadline("24h"), "24h");
    check(empty().deadline(Duration::from_micros(1_500)), "2ms");
    check(empty().deadline(Duration::from_secs(90)), "90s");
}
