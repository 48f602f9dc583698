//! What a user meets first: the README's commands, the image and the compose file. Docker is not needed to check them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::tree::{list, none, read, text};

/// The commands that the README promises to work on a fresh machine. CI runs the same ones.
const PROMISED: [&str; 2] = ["cargo run --release -- demo", "cargo xtask test"];

/// What a first line of the licence says.
const LICENCE: [&str; 2] = ["Apache License", "Version 2.0, January 2004"];

/// All that the image takes from the build and from the repository.
const COPIED: [&str; 2] =
    ["--from=build /usr/local/bin/amends /usr/local/bin/amends", "sagas /usr/share/amends/sagas"];

/// The participants of the shop.
const PARTICIPANTS: [&str; 4] = ["inventory", "order", "product", "payment"];

/// What watches them, with the place where each keeps its data; `observability.rs` says how they are wired.
const WATCHERS: [(&str, &str); 2] = [("prometheus", "/prometheus"), ("grafana", "/var/lib/grafana")];

/// The lines of all fenced blocks of a Markdown text.
fn fenced(markdown: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            found.push(line.trim());
        }
    }
    found
}

#[test]
fn ci_runs_the_commands_of_the_readme() {
    let readme = read("README.md");
    let shown = fenced(&readme);
    let script = read(".ci/run");
    let run: Vec<&str> = script.lines().map(str::trim).collect();
    let starts = |lines: &[&str], command: &str| lines.iter().any(|line| line.starts_with(command));
    let complaints: Vec<String> = PROMISED
        .iter()
        .flat_map(|command| {
            let in_readme = shown.contains(command);
            let in_ci = starts(&run, command);
            let missing = |place: &str| format!("{place} lacks `{command}`");
            [
                (!in_readme).then(|| missing("a fenced block of README.md")),
                (!in_ci).then(|| missing(".ci/run")),
            ]
        })
        .flatten()
        .collect();
    none("a promise of the README that CI does not keep", &complaints);
}

#[test]
fn the_licence_is_whole() {
    let licence = read("LICENSE");
    let opening: Vec<&str> = licence.lines().map(str::trim).filter(|line| !line.is_empty()).take(2).collect();
    assert_eq!(opening, LICENCE);
    assert!(licence.contains("END OF TERMS AND CONDITIONS"), "the licence goes to its end");
}

pub(crate) fn compose() -> Value {
    serde_saphyr::from_str(&read("docker-compose.yml"))
        .unwrap_or_else(|error| panic!("docker-compose.yml: {error}"))
}

/// A service's command line.
fn words(service: &Value) -> Vec<&str> {
    list(service, "command").iter().filter_map(Value::as_str).collect()
}

/// The value of `--name=value` in a command line.
fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn the_compose_file_runs_a_coordinator_and_the_shop() {
    let compose = compose();
    let services = compose["services"].as_object().expect("services");
    let names: BTreeSet<&str> = services.keys().map(String::as_str).collect();
    let expected = PARTICIPANTS.into_iter().chain(WATCHERS.map(|(name, _)| name)).chain(["coordinator"]);
    assert_eq!(names, expected.collect());

    let coordinator = words(&services["coordinator"]);
    assert_eq!(coordinator[0], "serve");
    let port =
        option(&coordinator, "--listen").and_then(|listen| listen.strip_prefix("0.0.0.0:")).expect("a port");
    for name in PARTICIPANTS {
        let words = words(&services[name]);
        assert_eq!(words[..2], ["participant", name]);
        let own =
            option(&words, "--listen").and_then(|listen| listen.strip_prefix("0.0.0.0:")).expect("a port");
        assert_eq!(option(&words, "--advertise"), Some(format!("http://{name}:{own}").as_str()), "{name}");
        assert_eq!(
            option(&words, "--coordinator"),
            Some(format!("http://coordinator:{port}").as_str()),
            "{name}"
        );
    }
}

#[test]
fn every_service_is_confined_and_keeps_its_data() {
    let compose = compose();
    let volumes = compose["volumes"].as_object().expect("named volumes");
    for (name, service) in compose["services"].as_object().expect("services") {
        let user = text(service, "user");
        assert!(!user.is_empty() && !user.starts_with('0') && user != "root", "{name} runs as \"{user}\"");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"][0], "ALL", "{name}");
        assert_eq!(service["security_opt"][0], "no-new-privileges:true", "{name}");
        assert!(!list(&service["healthcheck"], "test").is_empty(), "{name} is asked for its health");
        for port in list(service, "ports") {
            assert!(
                port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:")),
                "{name} publishes {port}"
            );
        }
        let data = WATCHERS.iter().find(|(watcher, _)| watcher == name).map_or("/data", |(_, data)| data);
        assert_eq!(service["volumes"][0].as_str(), Some(format!("{name}:{data}").as_str()), "{name}");
        assert!(volumes.contains_key(name), "{name} has a named volume");
    }
}

#[test]
fn services_of_ours_are_one_image_with_health_and_token() {
    let compose = compose();
    let services = compose["services"].as_object().expect("services");
    let watches = |name: &str| WATCHERS.iter().any(|(watcher, _)| *watcher == name);
    for (name, service) in services.iter().filter(|(name, _)| !watches(name)) {
        assert_eq!(text(service, "image"), "amends:local", "{name}");
        let store = option(&words(service), "--store").expect("a store");
        assert!(store.starts_with("sqlite:/data/"), "{name} stores in {store}");
        let port =
            option(&words(service), "--listen").and_then(|listen| listen.rsplit(':').next()).expect("a port");
        let health: Vec<&str> =
            list(&service["healthcheck"], "test").iter().filter_map(Value::as_str).collect();
        let url = format!("http://127.0.0.1:{port}");
        assert_eq!(health, ["CMD", "amends", "health", "--url", url.as_str()], "{name}");
        assert!(
            text(&service["environment"], "AMENDS_TOKEN").starts_with("${AMENDS_TOKEN:?"),
            "{name} wants a token"
        );
    }
}

#[test]
fn the_image_holds_one_executable_and_no_root() {
    let dockerfile = read("Dockerfile");
    let instructions: Vec<&str> = dockerfile.lines().filter(|line| !line.starts_with('#')).collect();
    let last_stage = instructions.iter().rposition(|line| line.starts_with("FROM ")).expect("a stage");
    let stage = &instructions[last_stage..];
    let user = stage.iter().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    assert_eq!(
        user,
        text(&compose()["services"]["coordinator"], "user"),
        "the same user in the image and beside it"
    );
    assert!(stage.contains(&"ENTRYPOINT [\"amends\"]"), "the executable is the entry point");
    let copied: Vec<&str> = stage.iter().filter_map(|line| line.strip_prefix("COPY ")).collect();
    assert_eq!(copied, COPIED, "the executable and the definitions, and no sources");
    let definitions = COPIED[1].split(' ').nth(1).expect("a directory in the image");
    assert_eq!(option(&words(&compose()["services"]["coordinator"]), "--definitions"), Some(definitions));
    let profile = instructions
        .iter()
        .flat_map(|line| line.split_whitespace())
        .skip_while(|word| *word != "--profile")
        .nth(1)
        .expect("a build profile");
    assert!(read("Cargo.toml").contains(&format!("[profile.{profile}]")), "there is a profile {profile}");
}
