//! The processes under test: started from this very executable, ended with whoever started them.

use anyhow::{Context, bail};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a process may take to say where it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// A fresh folder for databases and logs, removed when dropped.
pub(super) fn folder(data: Option<&Path>) -> anyhow::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("amends-bench");
    let Some(data) = data else { return Ok(builder.tempdir()?) };
    std::fs::create_dir_all(data)?;
    Ok(builder.tempdir_in(data)?)
}

/// A process that listens; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(super) name: &'static str,
    pub(crate) url: String,
    child: Child,
}

impl Process {
    /// Starts `amends` with these arguments and waits until it says where it listens.
    pub(crate) fn start(name: &'static str, folder: &Path, args: &[&str]) -> anyhow::Result<Process> {
        let out = folder.join(format!("{name}.out"));
        let log = folder.join(format!("{name}.log"));
        let child = Command::new(std::env::current_exe()?)
            .args(args)
            .env("AMENDS_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&out)?)
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        let mut process = Process { name, url: String::new(), child };
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let said = std::fs::read_to_string(&out).unwrap_or_default();
            if let Some(url) = said.lines().find_map(|line| line.strip_prefix("listening on ")) {
                process.url = url.trim().to_owned();
                return Ok(process);
            }
            if let Some(status) = process.child.try_wait()? {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("{name} ended with {status}: {said}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("{name} did not say within {PATIENCE:?} where it listens; see {}", log.display())
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
