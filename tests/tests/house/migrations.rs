//! The migrations: the same numbers and names for every database, numbered without a gap, each with its reason.

use crate::tree::{directories, files, none, read};

/// Every database.
const ALL: &[&str] = &["mysql", "postgres", "sqlite"];

/// Whose migrations there are, and the databases that they are written for at least. What is there agrees in any case.
const WRITTEN_FOR: [(&str, &[&str]); 6] = [
    ("barrier", ALL),
    ("coordinator", &["sqlite"]),
    ("inventory", ALL),
    ("order", ALL),
    ("payment", ALL),
    ("product", ALL),
];

/// The databases that an owner has migrations for.
fn dialects(owner: &str) -> Vec<String> {
    let directory = format!("migrations/{owner}");
    directories(&directory)
        .into_iter()
        .filter(|name| !names(&format!("{directory}/{name}")).is_empty())
        .collect()
}

/// The names of a directory's migrations, in order.
fn names(directory: &str) -> Vec<String> {
    files(directory, "sql")
        .into_iter()
        .map(|path| path.rsplit('/').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_database_has_the_same_migrations() {
    assert_eq!(directories("migrations"), WRITTEN_FOR.map(|(owner, _)| owner), "whose migrations there are");
    let mut complaints = Vec::new();
    for (owner, required) in WRITTEN_FOR {
        let dialects = dialects(owner);
        for missing in required.iter().filter(|dialect| !dialects.iter().any(|found| found == *dialect)) {
            complaints.push(format!("{owner} has none for {missing}"));
        }
        for unknown in dialects.iter().filter(|dialect| !ALL.contains(&dialect.as_str())) {
            complaints.push(format!("{owner} has some for {unknown}, which is no database of ours"));
        }
        let expected = names(&format!("migrations/{owner}/sqlite"));
        for dialect in &dialects {
            let found = names(&format!("migrations/{owner}/{dialect}"));
            if found != expected {
                complaints.push(format!("{owner}: {dialect} has {found:?}, sqlite has {expected:?}"));
            }
        }
    }
    none("migrations differ between databases", &complaints);
}

#[test]
fn migrations_are_numbered_without_a_gap() {
    let mut complaints = Vec::new();
    for owner in directories("migrations") {
        for dialect in dialects(&owner) {
            for (at, name) in names(&format!("migrations/{owner}/{dialect}")).iter().enumerate() {
                if !name.starts_with(&format!("{:04}_", at + 1)) {
                    complaints.push(format!("{owner}/{dialect}/{name} should have number {:04}", at + 1));
                }
            }
        }
    }
    none("a migration has another number than its place", &complaints);
}

#[test]
fn migrations_open_with_their_reason() {
    let complaints: Vec<String> =
        files("migrations", "sql").into_iter().filter(|path| !read(path).starts_with("-- ")).collect();
    none("a migration does not open with its reason, as a comment", &complaints);
}
