//! The manifests: every dependency's version stands once, in the workspace's table, and every version there is used.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{files, none, read};

/// Fields that every crate takes from the workspace.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

/// The lines of each section of a manifest, comments and blank lines left out.
fn sections(path: &str) -> BTreeMap<String, Vec<String>> {
    let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in read(path).lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name = header.to_owned();
        }
        sections.entry(name.clone()).or_default().push(line.to_owned());
    }
    sections
}

/// The dependencies of a section: each with what it is set to.
fn dependencies(sections: &BTreeMap<String, Vec<String>>) -> Vec<(String, String)> {
    let is_table = |name: &str| name.ends_with("dependencies") && !name.starts_with("workspace");
    let lines = sections.iter().filter(|(name, _)| is_table(name)).flat_map(|(_, lines)| lines);
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| {
            let (name, inherited) = match key.trim().split_once('.') {
                Some((name, "workspace")) => (name, true),
                _ => (key.trim(), value.contains("workspace = true")),
            };
            (name.to_owned(), if inherited { "workspace".to_owned() } else { value.trim().to_owned() })
        })
        .collect()
}

fn manifests() -> Vec<String> {
    files("", "toml").into_iter().filter(|path| path.ends_with("/Cargo.toml")).collect()
}

#[test]
fn versions_stand_in_one_table() {
    let mut complaints = Vec::new();
    for path in manifests() {
        for (name, set_to) in dependencies(&sections(&path)) {
            if set_to != "workspace" && !set_to.contains("path = ") {
                complaints.push(format!(
                    "{path}: {name} = {set_to}: its version belongs into [workspace.dependencies]"
                ));
            }
        }
    }
    none("a version stands outside of the table", &complaints);
}

#[test]
fn every_version_of_the_table_is_used() {
    let table = sections("Cargo.toml").remove("workspace.dependencies").expect("a table of versions");
    let used: BTreeSet<String> =
        manifests().iter().flat_map(|path| dependencies(&sections(path))).map(|(name, _)| name).collect();
    let complaints: Vec<String> = table
        .iter()
        .filter_map(|line| line.split_once(" = "))
        .filter(|(name, value)| !value.contains("path = ") && !used.contains(*name))
        .map(|(name, _)| name.to_owned())
        .collect();
    none("nobody depends on it: take it out of [workspace.dependencies]", &complaints);
}

#[test]
fn crates_inherit_what_is_the_same_for_all() {
    let mut complaints = Vec::new();
    for path in manifests() {
        let sections = sections(&path);
        let package = sections.get("package").cloned().unwrap_or_default();
        for field in INHERITED {
            if !package.contains(&format!("{field}.workspace = true")) {
                complaints.push(format!("{path}: {field}.workspace = true is missing"));
            }
        }
        if !sections.get("lints").is_some_and(|lines| lines.iter().any(|line| line == "workspace = true")) {
            complaints.push(format!("{path}: [lints] workspace = true is missing"));
        }
    }
    none("a crate goes its own way", &complaints);
}
