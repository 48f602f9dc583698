//! What comes from outside: which crates, from where, under which licence, and what they need to be built.
//!
//! Known weaknesses are not looked up here, since that needs the advisory database; `deny.toml` does it before a release.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{all_packages, members, none, read, text};

/// Crates that must not come in, not even through others, each with what to do instead.
const BANNED: [(&str, &str); 11] = [
    ("async-std", "discontinued: the one runtime is tokio"),
    ("aws-lc-rs", "its build wants cmake: TLS uses ring"),
    ("aws-lc-sys", "its build wants cmake: TLS uses ring"),
    ("backoff", "unmaintained: use backon"),
    ("instant", "unmaintained: use the standard library"),
    ("native-tls", "it links the system's OpenSSL: TLS uses rustls"),
    ("openssl", "a fresh machine has no headers for it: TLS uses rustls"),
    ("openssl-sys", "a fresh machine has no headers for it: TLS uses rustls"),
    ("rsa", "it leaks keys by its timing: require TLS for MySQL's password exchange"),
    ("serde_yaml", "archived: use serde-saphyr"),
    ("serde_yml", "unsound: use serde-saphyr"),
];

/// Crates of which two versions would mean two of something that there must be one of: a runtime, a type that crosses
/// crates, a TLS stack, a database driver.
const SINGLE: [&str; 24] = [
    "anyhow",
    "axum",
    "bytes",
    "clap",
    "http",
    "http-body",
    "hyper",
    "hyper-util",
    "libsqlite3-sys",
    "metrics",
    "minijinja",
    "reqwest",
    "ring",
    "rustls",
    "serde",
    "serde-saphyr",
    "serde_json",
    "sqlx",
    "thiserror",
    "tokio",
    "tower",
    "tracing",
    "url",
    "uuid",
];

/// Crates that are there twice all the same. A ratchet: it gets shorter.
const TWICE_MAX: usize = 15;

/// Licences under which everything here may be used and passed on, with a notice at most.
const LICENCES: [&str; 12] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Native code that is built from sources that come with the crate: a C compiler is all it needs.
const NATIVE: [&str; 3] = ["mimalloc", "ring_core", "sqlite3"];

/// Where crates come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// One package of Cargo.lock; `source` is empty for our own.
#[derive(Debug, Default)]
struct Locked {
    name: String,
    version: String,
    source: String,
}

/// Every package of Cargo.lock, for all platforms.
fn locked() -> Vec<Locked> {
    let mut found: Vec<Locked> = Vec::new();
    for line in read("Cargo.lock").lines() {
        if line == "[[package]]" {
            found.push(Locked::default());
        } else if let (Some(last), Some((key, value))) = (found.last_mut(), line.split_once(" = ")) {
            let value = value.trim_matches('"').to_owned();
            match key {
                "name" => last.name = value,
                "version" => last.version = value,
                "source" => last.source = value,
                _ => {}
            }
        }
    }
    assert!(found.len() > members().len(), "Cargo.lock lists more than our own crates");
    found
}

/// The versions of each crate from outside.
fn versions() -> BTreeMap<String, BTreeSet<String>> {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in locked().into_iter().filter(|package| !package.source.is_empty()) {
        versions.entry(package.name).or_default().insert(package.version);
    }
    versions
}

#[test]
fn everything_comes_from_the_registry() {
    let ours: BTreeSet<&str> = members().iter().map(|package| text(package, "name")).collect();
    let complaints: Vec<String> = locked()
        .into_iter()
        .filter(|package| {
            package.source != REGISTRY && !(package.source.is_empty() && ours.contains(package.name.as_str()))
        })
        .map(|package| format!("{} {} comes from \"{}\"", package.name, package.version, package.source))
        .collect();
    none("a crate is neither ours nor of the registry", &complaints);
}

#[test]
fn banned_crates_stay_out() {
    let versions = versions();
    let complaints: Vec<String> = BANNED
        .iter()
        .filter(|(name, _)| versions.contains_key(*name))
        .map(|(name, instead)| format!("{name} ({instead}); `cargo tree --invert {name}` says who brings it"))
        .collect();
    none("a banned crate came in", &complaints);
}

#[test]
fn there_is_one_of_what_there_must_be_one_of() {
    let versions = versions();
    let several = |name: &str| versions.get(name).filter(|found| found.len() > 1);
    let complaints: Vec<String> =
        SINGLE.iter().filter_map(|name| several(name).map(|found| format!("{name}: {found:?}"))).collect();
    none("more than one version of a crate of which there must be one", &complaints);

    // Bindings to Windows come in generations and are not part of what is built here.
    let twice: Vec<&String> = versions
        .iter()
        .filter(|(name, found)| found.len() > 1 && !name.starts_with("windows"))
        .map(|(name, _)| name)
        .collect();
    assert!(
        twice.len() <= TWICE_MAX,
        "{} crates are there twice, at most {TWICE_MAX} may be: {twice:?}",
        twice.len()
    );
}

#[test]
fn licences_let_everybody_use_and_pass_on() {
    let complaints: Vec<String> = all_packages()
        .iter()
        .filter(|package| !acceptable(text(package, "license")))
        .map(|package| {
            format!(
                "{} {}: \"{}\"",
                text(package, "name"),
                text(package, "version"),
                text(package, "license")
            )
        })
        .collect();
    none("a licence that LICENCES does not list", &complaints);
}

#[test]
fn native_code_needs_a_c_compiler_and_nothing_else() {
    let complaints: Vec<String> = all_packages()
        .iter()
        .filter(|package| package["links"].is_string())
        .filter(|package| !NATIVE.iter().any(|known| text(package, "links").starts_with(known)))
        .map(|package| format!("{} links {}", text(package, "name"), text(package, "links")))
        .collect();
    none("native code that NATIVE does not list", &complaints);
}

#[test]
fn no_crate_asks_for_a_newer_compiler_than_ours() {
    let number = |version: &str| -> (u32, u32) {
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    };
    let ours = members()
        .iter()
        .map(|package| number(text(package, "rust_version")))
        .min()
        .expect("there are crates");
    let complaints: Vec<String> = all_packages()
        .iter()
        .filter(|package| number(text(package, "rust_version")) > ours)
        .map(|package| format!("{} wants Rust {}", text(package, "name"), text(package, "rust_version")))
        .collect();
    none(&format!("rust-version in Cargo.toml is {}.{}", ours.0, ours.1), &complaints);
}

/// Whether one of the alternatives of a licence expression is made of listed licences alone. `/` is an old way to write
/// `OR`; `AND` within parentheses and `OR` outside of them is all that crates write.
fn acceptable(expression: &str) -> bool {
    let listed = |licence: &str| LICENCES.contains(&licence.trim().trim_matches(['(', ')']));
    let alternatives = |part: &str| part.replace('/', " OR ").split(" OR ").any(listed);
    !expression.is_empty() && expression.split(" AND ").all(|part| alternatives(part) || listed(part))
}

#[test]
fn a_licence_expression_is_weighed_by_its_alternatives() {
    fn check(expression: &str, expected: bool) {
        assert_eq!(acceptable(expression), expected, "{expression:?}");
    }
    check("MIT", true);
    check("MIT OR Apache-2.0", true);
    check("GPL-3.0 OR MIT", true);
    check("Unlicense/MIT", true);
    check("(MIT OR Apache-2.0) AND Unicode-3.0", true);
    check("Apache-2.0 WITH LLVM-exception OR MIT", true);
    check("MIT AND GPL-3.0", false);
    check("(MIT OR Apache-2.0) AND OpenSSL", false);
    check("GPL-3.0-only", false);
    check("", false);
}
