//! Definitions mangled at random: reading never panics, and every fault stands inside the text.

use super::*;
use amends_saga::hash::Mix;

/// Pieces that break things.
const PIECES: [&str; 24] = [
    "\"",
    "'",
    "${{",
    "}}",
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "\n",
    "\t",
    "&a ",
    "*a",
    "!t ",
    "|",
    "#",
    "yes",
    "012",
    "é",
    "steps.",
    "input",
    "\u{1f600}",
    "\r\n",
];

fn boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

/// Removes, repeats or inserts a piece, as the seed says.
fn mangle(text: &mut String, seed: Mix) {
    let pick = |n: u64, below: usize| (seed.add(n).finish() % below.max(1) as u64) as usize;
    let from = boundary(text, pick(1, text.len()));
    let to = boundary(text, (from + pick(2, 30)).min(text.len()));
    match pick(3, 3) {
        0 => text.replace_range(from..to, ""),
        1 => {
            let copy = text[from..to].to_owned();
            text.insert_str(boundary(text, pick(4, text.len())), &copy);
        }
        _ => text.insert_str(from, PIECES[pick(5, PIECES.len())]),
    }
}

#[test]
fn mangled_definitions_are_refused_in_place_or_read() {
    let mut refused = 0;
    for round in 0..3_000u64 {
        let mut text = [CHECKOUT, ORDER, PARALLEL][(round % 3) as usize].to_owned();
        let seed = Mix::new(0x5a6a).add(round);
        for change in 0..1 + round % 4 {
            mangle(&mut text, seed.add(change));
        }
        let Err(faults) = Text::read(&text) else { continue };
        refused += 1;
        assert!(!faults.0.is_empty() && faults.0.len() <= FAULTS_MAX, "round {round}");
        for fault in &faults.0 {
            // A fault at the very end stands on the line after the last.
            assert!(fault.line <= text.lines().count() + 1, "round {round}: {fault}");
            assert!(!fault.message.contains('\n'), "round {round}: {fault}");
        }
        assert!(faults.render("x.yaml", &text).contains("= help: "), "round {round}");
    }
    assert!(refused > 1_000, "{refused}");
}
