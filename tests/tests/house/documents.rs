//! The documents: every link to a file of ours leads somewhere.

use std::path::Path;

use crate::tree::{files, none, read, root};

/// The targets of a Markdown text's inline links, `[text](target)`, code left out.
fn links(markdown: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for part in line.split("](").skip(1) {
            found.extend(part.split_once(')').map(|(target, _)| target.to_owned()));
        }
    }
    found
}

#[test]
fn links_lead_somewhere() {
    let mut complaints = Vec::new();
    for path in files("", "md") {
        let directory = root().join(Path::new(&path).parent().unwrap_or(Path::new("")));
        for link in links(&read(&path)) {
            let target = link.split('#').next().unwrap_or_default();
            let ours = !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
            if ours && !directory.join(target).exists() {
                complaints.push(format!("{path}: {link}"));
            }
        }
    }
    none("a link leads nowhere", &complaints);
}

#[test]
fn links_are_found_outside_of_code() {
    let text = "see [`a`](b/c.rs), [d](e#f)\n```\n[g](h)\n```\n";
    assert_eq!(links(text), ["b/c.rs", "e#f"]);
}
