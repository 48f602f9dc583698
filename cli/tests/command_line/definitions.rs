//! `amends definition`, word by word.

use crate::{
    binary::{Ended, Place},
    stub::Stub,
};
use serde_json::{Value, json};

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

const AT: &str = "2026-11-20T18:00:00.000Z";

fn version(version: u32, live: u64) -> Value {
    json!({ "name": "checkout", "version": version, "hash": "0123456789abcdef", "created_at": AT, "live": live })
}

/// Runs a command against a coordinator with these answers.
fn against(answers: Vec<(&str, u16, Value)>, args: &[&str], code: i32) -> (Ended, Vec<String>) {
    let stub = Stub::new(answers);
    let place = Place::new();
    place.file("ping.yaml", PING);
    let ended = place.run(&[args, &["--coordinator", &stub.url]].concat()).code(code);
    (ended, stub.asked().into_iter().map(|(request, _)| request).collect())
}

const PING: &str = "saga: ping\nversion: 2\nsteps:\n  - one: { action: a.b, read_only: true }\n";

fn ping() -> Value {
    let content =
        json!({ "saga": "ping", "version": 2, "steps": [{ "one": { "action": "a.b", "read_only": true } }] });
    json!({ "name": "ping", "version": 2, "hash": "cafe", "created_at": AT, "content": content })
}

#[test]
fn what_a_coordinator_lacks_is_told_before_a_saga_is_started() {
    let participant = json!({ "name": "a", "instances": [], "operations": {},
        "breaker": { "state": "closed", "until": null }, "updated_at": AT });
    let answers = |operation: &str| {
        let mut participant = participant.clone();
        participant["operations"] = json!({ operation: {} });
        vec![
            ("GET /v1/participants", 200, json!({ "items": [participant], "next": null })),
            ("GET /v1/definitions", 200, json!({ "items": [], "next": null })),
        ]
    };
    let check = ["definition", "check", "--registered", "ping.yaml"];
    let (ended, _) = against(answers("bb"), &check, 1);
    assert!(ended.out.contains("error: participant \"a\" has no operation \"b\"\n"), "{}", ended.out);
    assert!(ended.out.contains("--> ping.yaml:4:"), "{}", ended.out);
    let (ended, _) = against(answers("b"), &check, 0);
    assert_eq!(ended.out, "ping.yaml: ping@2 is well formed (1 step)\n");
}

#[test]
fn what_may_be_a_mistake_is_advised() {
    let place = Place::new();
    let text = "saga: x\ninput: { type: object, properties: { note: { type: string } } }\nsteps:\n\
                \x20 - one: { action: a.b, read_only: true, with: { n: \"${{ input.note }}\" } }\n";
    place.file("x.yaml", text);
    let ended = place.run(&["definition", "check", "x.yaml"]).code(0);
    assert!(ended.out.starts_with("x.yaml: x@1 is well formed (1 step)\nadvice: "), "{}", ended.out);
    let told = place.run(&["definition", "check", "x.yaml", "--json"]).code(0).json();
    assert_eq!((&told[0]["ok"], &told[0]["advice"][0]["line"]), (&json!(true), &json!(4)), "{told}");
}

#[test]
fn registering_says_what_became_of_it() {
    let put = "PUT /v1/definitions/ping/2";
    let (ended, _) = against(vec![(put, 201, ping())], &["definition", "register", "ping.yaml"], 0);
    assert!(ended.out.starts_with("ping@2 registered (hash "), "{}", ended.out);
    let (ended, _) = against(vec![(put, 200, ping())], &["definition", "register", "ping.yaml"], 0);
    assert!(ended.out.starts_with("ping@2 was registered already with this content (hash "), "{}", ended.out);

    let problem =
        json!({ "slug": "definition_exists", "title": "this version has other content", "detail": "" });
    let versions = json!({ "items": [ping()], "next": null });
    let answers = vec![
        (put, 409, problem),
        ("GET /v1/definitions/ping/2", 200, ping()),
        ("GET /v1/definitions/ping", 200, versions),
    ];
    let (ended, _) = against(answers.clone(), &["definition", "register", "ping.yaml"], 1);
    for words in
        ["ping@2 is registered with other content (hash cafe)", "raise \"version\" to 3", "definition diff"]
    {
        assert!(ended.out.contains(words), "{words}: {}", ended.out);
    }
    let told = against(answers, &["definition", "register", "--json", "ping.yaml"], 1).0.json();
    assert_eq!((&told[0]["outcome"], &told[0]["next_version"]), (&json!("conflict"), &json!(3)));
}

#[test]
fn what_is_registered_is_listed_with_what_runs_on_it() {
    let all = || json!({ "items": [version(1, 3), version(2, 0)], "next": null });
    let (ended, _) = against(vec![("GET /v1/definitions", 200, all())], &["definition", "list"], 0);
    let rows: Vec<Vec<&str>> = ended.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["checkout@1", "3", AT, "0123456789ab"]);
    assert_eq!(rows[2], ["checkout@2", "0", AT, "0123456789ab"]);
    assert!(
        ended.out.contains("sagas still run on checkout@1, though there is a newer version"),
        "{}",
        ended.out
    );

    let of_name = || vec![("GET /v1/definitions/checkout", 200, all())];
    let (ended, _) = against(of_name(), &["definition", "list", "checkout", "--running"], 0);
    assert!(ended.out.contains("checkout@1") && !ended.out.contains("checkout@2"), "{}", ended.out);
    let told = against(of_name(), &["definition", "list", "checkout", "--running", "--json"], 0).0.json();
    assert_eq!(told["items"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!((&told["items"][0]["version"], &told["items"][0]["live"]), (&json!(1), &json!(3)));

    // A coordinator that does not count them is asked for the sagas themselves.
    let mut silent = version(2, 0);
    silent.as_object_mut().expect("a view").remove("live");
    let saga = json!({ "id": "0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10", "definition": "checkout", "version": 2,
        "key": null, "labels": {}, "status": "running", "input": {}, "output": null, "error": null, "created_at": AT,
        "updated_at": AT, "ended_at": null, "deadline_at": null, "repairs": [] });
    let sagas =
        "GET /v1/sagas?definition=checkout%402&limit=500&status=running&status=compensating&status=repair";
    let answers = vec![
        ("GET /v1/definitions", 200, json!({ "items": [silent], "next": null })),
        (sagas, 200, json!({ "items": [saga], "next": null })),
    ];
    let told = against(answers, &["definition", "list", "--running", "--json"], 0).0.json();
    assert_eq!(told["items"][0]["live"], 1, "{told}");

    let idle = json!({ "items": [version(2, 0)], "next": null });
    let (ended, _) =
        against(vec![("GET /v1/definitions", 200, idle)], &["definition", "list", "--running"], 0);
    assert_eq!(ended.out, "no saga is running\n");
}

#[test]
fn what_is_shown_can_be_registered_again() {
    let answers = vec![
        ("GET /v1/definitions/ping", 200, json!({ "items": [ping()], "next": null })),
        ("GET /v1/definitions/ping/2", 200, ping()),
    ];
    let (ended, _) = against(answers, &["definition", "show", "ping"], 0);
    let expected = "# ping@2, registered 2026-11-20T18:00:00.000Z, hash cafe\n\
                    saga: ping\nversion: 2\n\nsteps:\n  - one:\n      action: a.b\n      read_only: true\n";
    assert_eq!(ended.out, expected);
    let (ended, _) = against(vec![], &["definition", "show", "./ping.yaml"], 1);
    assert!(ended.err.contains("to look at a file, check it"), "{}", ended.err);
    let place = Place::new();
    place.run(&["definition", "show", "ping@x"]).code(2);
}

#[test]
fn two_definitions_are_compared_wherever_they_are() {
    let answers = || vec![("GET /v1/definitions/ping/2", 200, ping())];
    let stub = Stub::new(answers());
    let place = Place::new();
    place.file("next.yaml", &PING.replace("version: 2", "version: 3").replace("a.b", "a.c"));
    let args = ["definition", "diff", "ping@2", "next.yaml", "--coordinator", &stub.url];
    let ended = place.run(&args).code(1);
    let expected = "\
~ step one
    action: a.b → a.c

--- ping@2
+++ next.yaml
@@ -1,7 +1,7 @@
 saga: ping
-version: 2
+version: 3
 
 steps:
   - one:
-      action: a.b
+      action: a.c
       read_only: true

running sagas of ping@2 stay on ping@2 until they end; ping@3 is for those started after it is registered
";
    assert_eq!(ended.out, expected);
    let told = place.run(&[&args[..], &["--json"]].concat()).code(1).json();
    assert_eq!(told["difference"]["steps"][0]["changes"][0]["path"], "action");
    place.run(&["definition", "diff", "next.yaml", "next.yaml"]).code(0);
    let both = place.run(&["definition", "diff", "-", "-"]).code(1);
    assert!(both.err.contains("standard input can be one of the two only"), "{}", both.err);
}

#[test]
fn a_definition_is_drawn_into_a_file_or_to_standard_output() {
    let place = Place::new();
    place.file("ping.yaml", PING);
    let ended = place.run(&["definition", "graph", "ping.yaml", "-o", "ping.svg"]).code(0);
    assert_eq!(ended.out, "ping@2 is drawn in ping.svg\n");
    let drawing = std::fs::read_to_string(place.path().join("ping.svg")).expect("a drawing");
    assert!(drawing.starts_with("<svg ") && drawing.trim_end().ends_with("</svg>"), "{drawing}");
    let chart = place.run(&["definition", "graph", "ping.yaml", "--format", "mermaid"]).code(0).out;
    assert!(chart.contains("flowchart TB") && chart.contains("<b>one</b>"), "{chart}");
    place.file("wrong.yaml", "saga: ping\nsteps: []\n");
    let wrong = place.run(&["definition", "graph", "wrong.yaml"]).code(1);
    assert!(wrong.err.contains("wrong.yaml has faults") && wrong.err.contains("2:8"), "{}", wrong.err);
    place.run(&["definition", "graph"]).code(2);
}

#[test]
fn a_saga_is_drawn_on_its_own_version() {
    let step = json!({ "name": "one", "kind": "call", "status": "done", "compensation": null,
        "action": { "operation": "a.b", "status": "done", "attempts": 1, "output": {}, "last_error": null, "next_attempt_at": null } });
    let saga = json!({ "id": "0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10", "definition": "ping", "version": 2, "key": null,
        "labels": {}, "status": "completed", "input": {}, "output": null, "error": null, "created_at": AT,
        "updated_at": AT, "ended_at": AT, "deadline_at": null, "steps": [step], "repairs": [] });
    let answers = vec![
        ("GET /v1/sagas/0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10", 200, saga),
        ("GET /v1/definitions/ping/2", 200, ping()),
    ];
    let draw = ["definition", "graph", "--saga", "0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10"];
    let (ended, asked) = against(answers.clone(), &draw, 0);
    assert!(
        ended.out.contains("class=\"step reads good\"") && ended.out.contains("completed"),
        "{}",
        ended.out
    );
    assert_eq!(asked.len(), 2, "{asked:?}");
    let stub = Stub::new(answers);
    let place = Place::new();
    place.file("old.yaml", &PING.replace("version: 2", "version: 1"));
    let ended = place.run(&[&draw[..], &["old.yaml", "--coordinator", &stub.url]].concat()).code(1);
    assert!(ended.err.contains("runs ping@2, and old.yaml is ping@1"), "{}", ended.err);
}
