//! The migrations: the same numbers and names for every database, numbered without a gap, each with its reason.

use crate::tree::{directories, files, none, read};

/// The databases.
const DIALECTS: [&str; 3] = ["mysql", "postgres", "sqlite"];

/// The names of a directory's migrations, in order.
fn names(directory: &str) -> Vec<String> {
    files(directory, "sql")
        .into_iter()
        .map(|path| path.rsplit('/').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_database_has_the_same_migrations() {
    let mut complaints = Vec::new();
    for owner in directories("migrations") {
        let dialects = directories(&format!("migrations/{owner}"));
        if dialects != DIALECTS {
            complaints.push(format!("{owner} is written for {dialects:?}, not for {DIALECTS:?}"));
            continue;
        }
        let [mysql, postgres, sqlite] =
            DIALECTS.map(|dialect| names(&format!("migrations/{owner}/{dialect}")));
        for (dialect, found) in [("mysql", mysql), ("postgres", postgres)] {
            if found != sqlite {
                complaints.push(format!("{owner}: {dialect} has {found:?}, sqlite has {sqlite:?}"));
            }
        }
    }
    none("migrations differ between databases", &complaints);
}

#[test]
fn migrations_are_numbered_without_a_gap() {
    let mut complaints = Vec::new();
    for owner in directories("migrations") {
        for dialect in directories(&format!("migrations/{owner}")) {
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
