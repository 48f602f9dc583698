//! `promtool`, which checks the alert rules and runs their tests.
//!
//! It comes with the distribution's package of Prometheus. That package is unpacked and not installed: installing it would
//! start a monitoring service on the developer's machine, for the sake of one program. So no rights are needed either,
//! as long as the package lists are there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo::root;
use crate::packages::{self, search};

/// The environment variable that tells the tests where it is.
pub(crate) const VARIABLE: &str = "AMENDS_TEST_PROMTOOL";

/// The package that brings it, in Debian and Ubuntu.
const PACKAGE: &str = "prometheus";

/// Finds it: the one of the environment, one that is installed, the one unpacked earlier, or one that is fetched now.
///
/// # Errors
/// When it is not there and cannot be fetched; the message names the package.
pub(crate) fn provide() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        return Ok(named.into());
    }
    let shelf = shelf();
    let mut directories: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    directories.push(shelf.clone());
    if let Some(found) = search(&directories, "promtool") {
        return Ok(found);
    }
    unpack(&shelf).with_context(|| {
        format!("the tests need promtool: install the package {PACKAGE}, or name the program in {VARIABLE}")
    })
}

/// Where what was unpacked is kept: with everything else that is made here and can be made again.
fn shelf() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    root().join(target).join("tools")
}

fn unpack(shelf: &Path) -> Result<PathBuf> {
    println!("xtask: fetching {PACKAGE} for promtool; it is unpacked and not installed");
    let work = shelf.join(format!("unpack-{}", std::process::id()));
    std::fs::create_dir_all(&work).with_context(|| format!("creating {}", work.display()))?;
    let done = unpack_in(&work, shelf);
    // What is left over is big and useless; failing to remove it harms nobody.
    let _ = std::fs::remove_dir_all(&work);
    done
}

fn unpack_in(work: &Path, shelf: &Path) -> Result<PathBuf> {
    if download(work).is_err() {
        packages::update()?;
        download(work)?;
    }
    let archive = std::fs::read_dir(work)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get download left no archive in {}", work.display()))?;
    run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(work))?;
    let program = shelf.join("promtool");
    // A rename, so that another run never meets half a program.
    std::fs::rename(work.join("usr/bin/promtool"), &program)
        .with_context(|| format!("{} holds no promtool", archive.display()))?;
    Ok(program)
}

fn download(into: &Path) -> Result<()> {
    run(Command::new("apt-get").args(["download", PACKAGE]).current_dir(into))
}

fn run(command: &mut Command) -> Result<()> {
    let said = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("running {said}"))?;
    if !output.status.success() {
        bail!("{said} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
