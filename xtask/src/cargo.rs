//! Running cargo from within cargo.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::keeper::{Farewell, Keeper};
use crate::tally::Tally;

/// Variables that `cargo run` sets for this process alone. Handed on, they would make build scripts that look at them
/// believe that something changed, and build their crates again.
const OURS: [&str; 8] = [
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PRIMARY_PACKAGE",
    "LD_LIBRARY_PATH",
    "OUT_DIR",
];

/// The workspace's directory.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A cargo command in the workspace, in a process group of its own.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).stdin(Stdio::null()).process_group(0);
    for name in OURS {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
///
/// # Errors
/// When it fails.
pub(crate) fn run(keeper: &mut Keeper, mut command: Command) -> Result<()> {
    let said = spoken(&command);
    let mut process = command.spawn().with_context(|| format!("running {said}"))?;
    keeper.watch(process.id(), Farewell::Terminate)?;
    let status = process.wait()?;
    keeper.forget(process.id())?;
    if !status.success() {
        bail!("{said} failed ({status})");
    }
    Ok(())
}

/// Runs a command that runs tests, shows what it says as it says it, and counts. The second value is whether it succeeded.
pub(crate) fn run_tests(keeper: &mut Keeper, mut command: Command) -> Result<(Tally, bool)> {
    let said = spoken(&command);
    let mut process = command.stdout(Stdio::piped()).spawn().with_context(|| format!("running {said}"))?;
    keeper.watch(process.id(), Farewell::Terminate)?;
    let output = process.stdout.take().context("a piped output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.take(&line);
    }
    let status = process.wait()?;
    keeper.forget(process.id())?;
    Ok((tally, status.success()))
}

fn spoken(command: &Command) -> String {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    format!("cargo {}", words.join(" "))
}
