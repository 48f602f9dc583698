//! What holds for every text.
//!
//! - Reading it takes bounded time.
//! - What is refused is refused with at least one fault and at most the bound, each inside the text, each in one line.
//! - What is read means the same as JSON: the same content, the same hash.
//! - What is read fits the published schema, so that no editor underlines what the coordinator takes.
//! - What is read can be resolved, run, and checked against any input.

use crate::{dice::Dice, drive};
use amends_wire::{
    Name,
    definition::{Defaults, Diagnostics, FAULTS_MAX, LANGUAGE_SCHEMA, Registered, Text},
    registration::OperationTerms,
};
use serde_json::{Value, json, value::RawValue};
use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

/// What reading may take, for every 64 KiB begun; tests are not optimised.
const TIME_MAX: Duration = Duration::from_millis(250);

static LANGUAGE: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(LANGUAGE_SCHEMA).expect("json");
    jsonschema::draft202012::new(&schema).expect("a schema")
});

/// Checks everything; returns whether the text is sound.
pub(crate) fn check(source: &str, dice: &mut Dice) -> bool {
    let (before, clock) = (crate::cpu_time(), Instant::now());
    let read = Text::read(source);
    let took = match (before, crate::cpu_time()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => clock.elapsed(),
    };
    let allowed = TIME_MAX * (1 + (source.len() >> 16) as u32);
    assert!(took < allowed, "reading {} bytes took {took:?}:\n{}", source.len(), shown(source));
    match read {
        Err(diagnostics) => {
            lies_within(&diagnostics, source);
            false
        }
        Ok(text) => {
            means_the_same_as_json(&text, source);
            assert!(LANGUAGE.is_valid(text.to_json()), "the published schema refuses\n{}", shown(source));
            resolves_and_runs(&text, source, dice);
            true
        }
    }
}

fn shown(source: &str) -> String {
    source.chars().take(4_000).collect()
}

fn lies_within(diagnostics: &Diagnostics, source: &str) {
    let lines: Vec<&str> = source.split('\n').collect();
    assert!(!diagnostics.0.is_empty() && diagnostics.0.len() <= FAULTS_MAX, "{}", shown(source));
    for fault in &diagnostics.0 {
        let line = lines.get(fault.line.wrapping_sub(1));
        // A fault at the very end stands behind the last character.
        let within = line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&fault.column));
        assert!(within, "{fault} is outside of\n{}", shown(source));
        let plain =
            |words: &str| !words.trim().is_empty() && !words.contains(['\n', '\r']) && words.len() < 4_000;
        assert!(plain(&fault.message) && plain(&fault.help), "{fault:?} for\n{}", shown(source));
    }
    let rendered = diagnostics.render("x.yaml", source);
    assert!(rendered.matches("= help: ").count() >= diagnostics.0.len(), "{rendered}");
}

fn means_the_same_as_json(text: &Text, source: &str) {
    let (plain, pretty) = (text.to_json().to_string(), format!("{:#}", text.to_json()));
    let raw: &RawValue = serde_json::from_str(&plain).expect("what was written as JSON is JSON");
    for again in [Text::read_json(raw), Text::read(&pretty)] {
        let again =
            again.unwrap_or_else(|faults| panic!("as JSON it has faults: {faults}\n{}", shown(source)));
        assert_eq!((&again.hash, again.to_json()), (&text.hash, text.to_json()), "{}", shown(source));
    }
}

fn resolves_and_runs(text: &Text, source: &str, dice: &mut Dice) {
    let known = |_: &Name, _: &Name| Some(OperationTerms::default());
    let definition = text.resolve(&known, &Defaults::default());
    let definition = definition.unwrap_or_else(|unknown| panic!("{unknown}\n{}", shown(source)));
    assert_eq!(definition.len(), text.outline().count());
    let steps = definition.steps().zip(text.outline());
    for ((_, step), outline) in steps {
        assert_eq!(
            (&step.name, step.pivot, step.when.is_some()),
            (outline.name, outline.pivot, outline.conditional)
        );
        assert_eq!(step.fan.as_ref().map(|fan| fan.parallel), outline.parallel);
    }
    let input = drive::input(dice, text.to_json().get("input"));
    let _ = text.check_input(&input);
    let advice = Diagnostics(text.advice().to_vec());
    if !advice.0.is_empty() {
        lies_within(&advice, source);
    }
    let unknown = text.check_against(&Registered::default()).err();
    assert_eq!(unknown.is_none(), text.operations().is_empty() && text.children().is_empty());
    unknown.iter().for_each(|unknown| lies_within(unknown, source));
    for name in text.steps().take(4) {
        let _ = text.check_returned(name, &json!({"total": 1}));
    }
    drive::run(Arc::new(definition), input, dice);
}
