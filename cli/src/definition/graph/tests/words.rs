//! What is read from a definition, and what becomes of words that a drawing could trip over.

use super::*;

#[test]
fn a_step_without_after_follows_the_one_before_it() {
    let call = json!({ "action": "p.o", "read_only": true });
    let graph =
        graph(&[call.clone(), call.clone(), json!({ "action": "p.o", "read_only": true, "after": [] })]);
    let edges: Vec<(usize, usize)> =
        graph.expect("a graph").edges.iter().map(|edge| (edge.from, edge.to)).collect();
    assert_eq!(edges, [(0, 1)]);
}

#[test]
fn the_pivot_waits_for_every_step_before_it_and_nothing_beyond_it_is_undone() {
    let call = |after: Value| json!({ "action": "p.o", "compensation": "p.u", "after": after });
    let pivot = json!({ "action": "p.o", "compensation": "p.u", "after": "a", "pivot": true });
    // a → pivot → e; b → c stand apart.
    let steps = [call(json!([])), call(json!([])), call(json!("b")), pivot, call(json!("d"))];
    let graph = graph(&steps).expect("a graph");
    let edge = |from, to, implied| Edge { from, to, implied };
    assert_eq!(graph.edges, [edge(1, 2, false), edge(0, 3, false), edge(2, 3, true), edge(3, 4, false)]);
    let never: Vec<bool> = graph.steps.iter().map(|step| step.undo == Undo::Never).collect();
    assert_eq!(never, [false, false, false, false, true]);
    assert!(!graph.is_undone(&edge(3, 4, false)) && graph.is_undone(&edge(2, 3, true)));
}

#[test]
fn the_line_of_no_return_is_drawn_where_something_lies_beyond_it() {
    let step = |pivot: bool| json!({ "action": "p.o", "compensation": "p.u", "pivot": pivot });
    let line =
        |steps: &[Value]| svg::draw(&graph(steps).expect("a graph"), None).contains("class=\"pivot-line\"");
    assert!(line(&[step(true), step(false)]) && !line(&[step(false), step(true)]));
}

#[test]
fn what_cannot_be_drawn_says_why() {
    let after = |name: &str| json!({ "action": "p.o", "read_only": true, "after": [name] });
    for (steps, expected) in [
        (vec![after("z")], "step \"a\" comes after \"z\", which is no step of this definition"),
        (vec![after("b"), after("a")], "the steps wait for each other in a circle, step \"a\" among them"),
        (vec![json!({})], "this is no definition: step \"a\" neither calls, nor waits, nor runs a saga"),
        (vec![json!(1)], "this is no definition: a step is no object of one member, its name"),
    ] {
        assert_eq!(graph(&steps).expect_err("no graph").to_string(), expected);
    }
    let twice = json!({ "saga": "x", "steps": [{ "a": { "await": "s" } }, { "a": { "await": "s" } }] });
    assert_eq!(Graph::read(&twice), Err(ModelError::Malformed("two steps are named \"a\"".to_owned())));
    assert!(Graph::read(&json!({ "steps": [] })).is_err() && Graph::read(&json!(null)).is_err());
}

#[test]
fn a_condition_and_a_list_are_shown_without_their_braces() {
    let step = json!({ "action": "p.o", "compensation": "p.u", "when": "${{ input.gift }}", "for_each": "${{ input.lines }}", "parallel": 3 });
    let graph = graph(&[step]).expect("a graph");
    assert_eq!(face::remarks(&graph.steps[0]), ["if input.gift", "for each of input.lines, 3 at a time"]);
}

#[test]
fn words_from_outside_stay_words() {
    let hostile =
        "</title><script>alert(\"1\")</script>\u{202e}\u{7}\u{0}]]> #quot; `x`\nclick s0 \"https://x\"";
    let step = json!({ "action": "p.o", "compensation": "none", "reason": hostile, "when": hostile });
    let graph = graph(&[step]).expect("a graph");
    let drawing = svg::draw(&graph, None);
    laws::hold(&graph, None);
    assert!(!drawing.contains("<script") && !drawing.contains('\u{202e}') && !drawing.contains('\u{7}'));
    assert!(drawing.contains("&lt;script&gt;"), "{drawing}");
    let chart = mermaid::draw(&graph, None);
    assert!(!chart.contains("<script") && !chart.contains("\nclick") && !chart.contains('`'), "{chart}");
    let opening = |line: &str| line.matches('"').count().is_multiple_of(2);
    assert!(chart.lines().all(opening), "{chart}");
}

#[test]
fn what_is_too_long_is_cut_and_whole_in_the_tooltip() {
    let name = format!("{}-end", "very-long-".repeat(5));
    let content = json!({ "saga": "x", "steps": [{ &name: { "await": "s", "timeout": "1s" } }] });
    let drawing = svg::draw(&Graph::read(&content).expect("a graph"), None);
    assert!(drawing.contains(&format!("<title>{name}&#10;awaits s&#10;")), "{drawing}");
    assert!(drawing.contains("…") && drawing.contains("long--end</text>"), "{drawing}");
}

#[test]
fn branches_of_an_open_saga_are_drawn_in_the_order_they_were_registered() {
    let call = |operation: &str| json!({ "operation": operation, "status": "pending", "attempts": 0, "output": null, "last_error": null, "next_attempt_at": null });
    let branch = |name: &str| json!({ "name": name, "kind": "branch", "status": "waiting", "action": null, "confirm": call("stock.confirm"), "compensation": call("stock.release") });
    let at = "2026-11-20T18:00:00.000Z";
    let saga = json!({ "id": "00000000-0000-7000-8000-000000000001", "definition": "open", "version": 1, "key": null,
        "labels": {}, "status": "running", "input": null, "output": null, "error": null, "created_at": at,
        "updated_at": at, "ended_at": null, "deadline_at": null, "steps": [branch("one"), branch("two")], "repairs": [] });
    let saga: SagaView = serde_json::from_value(saga).expect("a saga");
    let graph = Graph::of_branches(&saga);
    laws::hold(&graph, Some(&Run::of(&saga)));
    assert_eq!(graph.edges, [Edge { from: 0, to: 1, implied: false }]);
    assert_eq!(graph.steps[1].does, Does::Branch { confirm: Some("stock.confirm".to_owned()) });
}
