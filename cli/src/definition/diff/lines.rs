//! Two texts line by line: what is to be taken out of the one and put in to get the other, as patches show it.

use std::fmt::Write;

/// How many unchanged lines stand around a change.
const CONTEXT: usize = 3;

/// The largest table that is filled to find the longest common part; beyond it the middle is shown as replaced.
const CELLS_MAX: usize = 20_000_000;

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// It stands in both.
    Kept(&'a str),
    /// It stands in the first only.
    Removed(&'a str),
    /// It stands in the second only.
    Added(&'a str),
}

/// What becomes of each line; removals stand before the additions that replace them.
pub(super) fn compare<'a>(before: &'a str, after: &'a str) -> Vec<Line<'a>> {
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let head = before.iter().zip(&after).take_while(|(one, other)| one == other).count();
    let rest = before.len().min(after.len()) - head;
    let tail = before.iter().rev().zip(after.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let mut lines: Vec<Line<'a>> = before[..head].iter().map(|line| Line::Kept(line)).collect();
    middle(&before[head..before.len() - tail], &after[head..after.len() - tail], &mut lines);
    lines.extend(before[before.len() - tail..].iter().map(|line| Line::Kept(line)));
    lines
}

/// Compares by the longest common subsequence: `common` holds its length for each pair of endings.
fn middle<'a>(before: &[&'a str], after: &[&'a str], lines: &mut Vec<Line<'a>>) {
    let width = after.len() + 1;
    if (before.len() + 1).saturating_mul(width) > CELLS_MAX {
        lines.extend(before.iter().map(|line| Line::Removed(line)));
        lines.extend(after.iter().map(|line| Line::Added(line)));
        return;
    }
    let mut common = vec![0_u32; (before.len() + 1) * width];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            common[i * width + j] = match before[i] == after[j] {
                true => common[(i + 1) * width + j + 1] + 1,
                false => common[(i + 1) * width + j].max(common[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < before.len() || j < after.len() {
        let length = |i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
        if i < before.len() && j < after.len() && before[i] == after[j] {
            lines.push(Line::Kept(before[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < before.len() && (j == after.len() || length(i + 1, j) >= length(i, j + 1)) {
            lines.push(Line::Removed(before[i]));
            i += 1;
        } else {
            lines.push(Line::Added(after[j]));
            j += 1;
        }
    }
}

/// Writes a comparison as a unified diff; nothing where nothing differs.
pub(super) fn unified(lines: &[Line<'_>], before: &str, after: &str) -> String {
    let mut text = String::new();
    let (mut at, mut old, mut new) = (0, 1, 1);
    for hunk in hunks(lines) {
        if text.is_empty() {
            let _ = writeln!(text, "--- {before}\n+++ {after}");
        }
        while at < hunk.start {
            // Between hunks everything is kept.
            (at, old, new) = (at + 1, old + 1, new + 1);
        }
        let body = &lines[hunk];
        let olds = body.iter().filter(|line| !matches!(line, Line::Added(_))).count();
        let news = body.iter().filter(|line| !matches!(line, Line::Removed(_))).count();
        let _ = writeln!(text, "@@ -{} +{} @@", range(old, olds), range(new, news));
        for line in body {
            let _ = match line {
                Line::Kept(line) => writeln!(text, " {line}"),
                Line::Removed(line) => writeln!(text, "-{line}"),
                Line::Added(line) => writeln!(text, "+{line}"),
            };
        }
        (at, old, new) = (at + body.len(), old + olds, new + news);
    }
    text
}

/// `first,count`, as patches write it: an empty range stands after the line before it.
fn range(first: usize, count: usize) -> String {
    match count {
        0 => format!("{},0", first - 1),
        1 => first.to_string(),
        count => format!("{first},{count}"),
    }
}

/// The stretches to show: changes with what stands around them, joined where they meet.
fn hunks(lines: &[Line<'_>]) -> Vec<std::ops::Range<usize>> {
    let mut hunks: Vec<std::ops::Range<usize>> = Vec::new();
    let changes = lines.iter().enumerate().filter(|(_, line)| !matches!(line, Line::Kept(_)));
    for (place, _) in changes {
        let (start, end) = (place.saturating_sub(CONTEXT), (place + CONTEXT + 1).min(lines.len()));
        match hunks.last_mut() {
            Some(last) if start <= last.end => last.end = end,
            _ => hunks.push(start..end),
        }
    }
    hunks
}
