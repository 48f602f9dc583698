//! What is told of two definitions, word by word.

use super::{lines::Line, *};
use amends_wire::definition::Text;
use proptest::prelude::*;

const ONE: &str = "\
saga: buy
version: 1
deadline: 20m
input: { type: object, required: [order], properties: { order: { type: string }, note: { type: string } } }
steps:
  - quote: { action: product.quote, read_only: true }
  - reserve: { action: inventory.hold, compensation: inventory.release }
  - payment: { await: payment, timeout: 15m }
  - pay: { action: order.pay, compensation: order.refund }
";

fn content(text: &str) -> Content {
    let text = Text::read(text).unwrap_or_else(|faults| panic!("{}", faults.render("a definition", text)));
    let version = format!("{}@{}", text.name, text.version);
    Content { label: version.clone(), version, hash: text.hash.clone(), json: text.to_json().clone() }
}

/// Compares the definition with one in which some words are replaced.
fn check(replaced: &[(&str, &str)], expected: &[&str]) {
    let mut other = ONE.to_owned();
    for (from, to) in replaced {
        assert!(other.contains(from), "{from}");
        other = other.replace(from, to);
    }
    let (before, after) = (content(ONE), content(&other));
    let difference = Difference::of(&before.json, &after.json).expect("definitions");
    let mut lines = told(&difference);
    lines.extend(verdict(&before, &after, &difference));
    assert_eq!(lines, expected);
}

const STAY: &str =
    "running sagas of buy@1 stay on buy@1 until they end; buy@2 is for those started after it is registered";

#[test]
fn the_same_is_the_same() {
    let hash = short(&content(ONE).hash);
    check(&[], &[&format!("the same: both are buy@1, hash {hash}")]);
    // Layout, and the order in which keys are written, are nothing.
    let flow =
        [("{ action: product.quote, read_only: true }", "{ read_only: true,   action: 'product.quote' }")];
    check(&flow, &[&format!("the same: both are buy@1, hash {hash}")]);
}

#[test]
fn keys_that_changed_are_told_where_they_stand() {
    check(
        &[
            ("version: 1", "version: 2"),
            ("deadline: 20m", "deadline: 1h"),
            ("timeout: 15m", "timeout: 30m"),
            (
                "compensation: order.refund",
                "compensation: { operation: order.refund, retry: { quick: 5 } }, within: 1m",
            ),
        ],
        &[
            "deadline: 20m → 1h",
            "~ step payment",
            "    timeout: 15m → 30m",
            "~ step pay",
            "    + compensation.retry: {\"quick\":5}",
            "    + within: 1m",
            STAY,
        ],
    );
}

#[test]
fn steps_that_came_and_went_are_told_with_what_they_do() {
    check(
        &[
            ("version: 1", "version: 2"),
            ("  - quote: { action: product.quote, read_only: true }\n", ""),
            (
                "  - pay:",
                "  - mail: { after: [], action: mail.send, compensation: none, reason: it is read by then }\n  - pay:",
            ),
        ],
        &[
            "~ step reserve",
            "    runs after quote → at once",
            "+ step mail",
            "    runs at once",
            "    + action: mail.send",
            "    + compensation: none",
            "    + reason: it is read by then",
            "~ step pay",
            "    runs after payment → after mail",
            "- step quote",
            STAY,
        ],
    );
}

#[test]
fn another_order_on_paper_only_does_the_same() {
    let steps = [
        ("version: 1", "version: 2"),
        ("  - quote: { action: product.quote, read_only: true }\n", ""),
        ("- reserve: {", "- reserve: { after: quote,"),
        (
            "- pay: {",
            "- quote: { after: [], action: product.quote, read_only: true }\n  - pay: { after: payment,",
        ),
    ];
    let same = "they differ in how they are written only: they do the same";
    check(&steps, &["the steps are written in another order", STAY, same]);
}

#[test]
fn what_callers_have_to_send_is_told() {
    check(
        &[("version: 1", "version: 2"), ("required: [order]", "required: [order, note]")],
        &["input.required: [\"order\"] → [\"order\",\"note\"]", STAY, "callers now have to send note"],
    );
}

#[test]
fn a_version_that_is_taken_has_to_be_raised() {
    check(
        &[("timeout: 15m", "timeout: 30m")],
        &[
            "~ step payment",
            "    timeout: 15m → 30m",
            "both call themselves buy@1: a registered version never changes, so raise \"version\" to register the \
             second; running sagas stay on what they were started with",
        ],
    );
    check(
        &[("saga: buy", "saga: sell")],
        &[
            "buy@1 and sell@1 are two definitions: registering one leaves sagas of the other alone",
            "they differ in how they are written only: they do the same",
        ],
    );
}

#[test]
fn a_text_diff_is_laid_out_as_patches_are() {
    let before = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
    let after = "a\nb\nc\nd\nE\nf\ng\nh\ni\nj\nk\n";
    let text = lines::unified(&lines::compare(before, after), "one", "two");
    let expected = "\
--- one
+++ two
@@ -2,9 +2,10 @@
 b
 c
 d
-e
+E
 f
 g
 h
 i
 j
+k
";
    assert_eq!(text, expected);
    assert_eq!(
        lines::unified(&lines::compare("", "x\n"), "one", "two"),
        "--- one\n+++ two\n@@ -0,0 +1 @@\n+x\n"
    );
    assert_eq!(lines::unified(&lines::compare(before, before), "one", "two"), "");
}

proptest! {
    #[test]
    fn both_texts_are_in_their_comparison(before in "([ab]\n){0,12}", after in "([ab]\n){0,12}") {
        let lines = lines::compare(&before, &after);
        let side = |wanted: fn(&Line<'_>) -> bool| -> Vec<&str> {
            lines.iter().filter(|line| wanted(line)).map(|line| match line {
                Line::Kept(text) | Line::Removed(text) | Line::Added(text) => *text,
            }).collect()
        };
        prop_assert_eq!(side(|line| !matches!(line, Line::Added(_))), before.lines().collect::<Vec<_>>());
        prop_assert_eq!(side(|line| !matches!(line, Line::Removed(_))), after.lines().collect::<Vec<_>>());
    }
}
