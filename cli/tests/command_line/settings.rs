//! `amends config`, and that a service uses what it shows.

use crate::binary::Place;
use serde_json::Value;

/// The value and the source of a setting, as `amends config --json` shows them.
fn setting(place: &Place, flags: &[&str], key: &str) -> (String, String) {
    let shown = place.run(&[&["config", "--json"], flags].concat()).code(0).json();
    let settings = shown["settings"].as_array().expect("a list").clone();
    let found =
        settings.iter().find(|setting| setting["key"] == key).unwrap_or_else(|| panic!("{key} is shown"));
    let text = |member: &str| found[member].as_str().unwrap_or_default().to_owned();
    (text("value"), text("source"))
}

fn is(value: &str, source: &str) -> (String, String) {
    (value.to_owned(), source.to_owned())
}

#[test]
fn every_layer_is_shown_with_its_source_and_the_strongest_wins() {
    let place = Place::new();
    assert_eq!(setting(&place, &[], "coordinator"), is("http://127.0.0.1:7070", "default"));
    place.file("amends.toml", "coordinator = \"http://file:1\"\n[serve]\nsagas_max = 7\n");
    assert_eq!(setting(&place, &[], "coordinator"), is("http://file:1", "file amends.toml"));
    assert_eq!(setting(&place, &[], "serve.sagas_max"), is("7", "file amends.toml"));
    let other = place.file("other.toml", "coordinator = \"http://other:1\"");
    let other = other.to_str().expect("a path");
    assert_eq!(
        setting(&place, &["--config", other], "coordinator"),
        is("http://other:1", &format!("file {other}"))
    );
    let place = place.env("AMENDS_COORDINATOR", "http://env:2");
    assert_eq!(setting(&place, &[], "coordinator"), is("http://env:2", "env AMENDS_COORDINATOR"));
    let flags = ["--coordinator", "http://flag:3"];
    assert_eq!(setting(&place, &flags, "coordinator"), is("http://flag:3", "flag"));
}

#[test]
fn a_token_is_never_shown() {
    let place = Place::new().env("AMENDS_TOKEN", "s3cret");
    for args in [&["config"][..], &["config", "--json"]] {
        let ended = place.run(args).code(0);
        assert!(ended.out.contains("(set)") && !ended.out.contains("s3cret"), "{}", ended.out);
    }
}

#[test]
fn an_unknown_setting_stops_every_command_with_what_was_meant() {
    let place = Place::new();
    place.file("amends.toml", "[serve]\nlissten = \"127.0.0.1:1\"\n");
    for args in [&["config"][..], &["serve"], &["saga", "list"]] {
        let ended = place.run(args).code(1);
        let said =
            "error: amends.toml: \"lissten\" in [serve] is not a known setting; did you mean \"listen\"?";
        assert_eq!(ended.err.trim(), said);
    }
}

#[test]
fn a_value_that_cannot_be_used_is_shown_and_ends_with_1() {
    let place = Place::new().env("AMENDS_SAGAS_MAX", "many");
    let ended = place.run(&["config"]).code(1);
    assert!(
        ended.out.contains("serve.sagas_max from env AMENDS_SAGAS_MAX cannot be used: "),
        "{}",
        ended.out
    );
    let ended = place.run(&["serve", "--listen", "127.0.0.1:0"]).code(1);
    assert!(ended.err.starts_with("error: AMENDS_SAGAS_MAX is \"many\": "), "{}", ended.err);
}

#[test]
fn a_named_file_must_be_there() {
    let ended = Place::new().env("AMENDS_CONFIG", "absent.toml").run(&["config"]).code(1);
    assert!(ended.err.starts_with("error: the settings in absent.toml cannot be read: "), "{}", ended.err);
}

#[test]
fn a_service_takes_its_address_and_store_from_the_file() {
    let place = Place::new();
    place.file("amends.toml", "[serve]\nlisten = \"127.0.0.1:0\"\nstore = \"sqlite:kept/sagas.db\"\n");
    let coordinator = place.serve(&["serve"]);
    assert!(!coordinator.url.ends_with(":7070"), "{}", coordinator.url);
    assert!(place.path().join("kept/sagas.db").is_file());
    let health = place.run(&["health", "--json", "--coordinator", &coordinator.url]).code(0).json();
    assert_eq!((&health["ready"], &health["participants"]), (&Value::Bool(true), &serde_json::json!([])));
}
