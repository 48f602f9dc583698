//! The repository as files, and as cargo sees it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// Directories that hold nothing of ours.
const FOREIGN: [&str; 4] = ["target", ".git", "node_modules", "amends-data"];

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the repository")
}

/// The text of a file, named from the root.
///
/// # Panics
/// When there is no such file.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files under a directory with this extension, as paths from the root in ascending order.
pub(crate) fn files(under: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(under)];
    while let Some(directory) = open.pop() {
        let entries =
            std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for path in entries.map(|entry| entry.expect("a readable entry").path()) {
            if path.is_dir() {
                if !FOREIGN.iter().any(|name| path.ends_with(name)) {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|own| own == extension) {
                found.push(from_root(&path));
            }
        }
    }
    found.sort();
    found
}

/// The names of a directory's sub-directories, in ascending order.
pub(crate) fn directories(under: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(under)).unwrap_or_else(|error| panic!("{under}: {error}"));
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("a readable entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn from_root(path: &Path) -> String {
    let relative: PathBuf = path.strip_prefix(root()).expect("a path under the root").to_owned();
    relative.to_string_lossy().into_owned()
}

/// Our own packages with their declared dependencies, as `cargo metadata --no-deps` tells.
pub(crate) fn members() -> &'static [Value] {
    static MEMBERS: OnceLock<Vec<Value>> = OnceLock::new();
    MEMBERS.get_or_init(|| packages(&["--no-deps"]))
}

/// Every package that is built on this kind of machine, ours included.
pub(crate) fn all_packages() -> Vec<Value> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    packages(&["--filter-platform", &platform])
}

/// Asks cargo, which needs no network: whoever runs this has built everything.
fn packages(arguments: &[&str]) -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline"])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("an array of packages").clone()
}

/// A text member of a JSON object; empty when it is not there.
pub(crate) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// An array member of a JSON object; empty when it is not there.
pub(crate) fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

/// Fails with every complaint, one a line.
pub(crate) fn none(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}:\n  {}", complaints.join("\n  "));
}
