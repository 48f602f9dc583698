//! The keeper: a second process that cleans up after this one.
//!
//! It reads orders from a pipe whose other end only this process holds. When the pipe closes, because this process
//! returned, was interrupted or was killed, the keeper ends every process group it was told of, last one first, and
//! then removes the scratch directories. It stands in a process group of its own, so Ctrl-C at the terminal does not
//! reach it. Nothing is handled here that a signal handler would have to handle: there is no signal handler.

use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The argument that makes this executable a keeper.
pub(crate) const ROLE: &str = "the-keeper";

/// How long a group may take to end on its own before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a process group is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// `SIGTERM`.
    Terminate,
    /// `SIGQUIT`: what PostgreSQL calls an immediate shutdown. Unlike a kill it gives shared memory back.
    Quit,
    /// `SIGKILL`, for what holds nothing but files.
    Kill,
}

impl Farewell {
    fn signal(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
        }
    }
}

/// This process's end of the pipe. Dropping it has everything cleaned up, and waits for that.
#[derive(Debug)]
pub(crate) struct Keeper {
    process: Child,
    orders: Option<ChildStdin>,
}

impl Keeper {
    /// Starts the second process.
    pub(crate) fn start() -> Result<Self> {
        let own = std::env::current_exe().context("finding this executable")?;
        let mut process = Command::new(own)
            .arg(ROLE)
            .process_group(0)
            .stdin(Stdio::piped())
            .spawn()
            .context("starting the keeper process")?;
        let orders = process.stdin.take();
        Ok(Self { process, orders })
    }

    /// Has the group that `leader` leads ended when this process ends.
    pub(crate) fn watch(&mut self, leader: u32, farewell: Farewell) -> Result<()> {
        self.order(&format!("watch {leader} {}", farewell.signal()))
    }

    /// The group has ended by itself; its number may be given to others from now on.
    pub(crate) fn forget(&mut self, leader: u32) -> Result<()> {
        self.order(&format!("forget {leader}"))
    }

    /// Has `directory` removed when this process ends.
    pub(crate) fn remove(&mut self, directory: &Path) -> Result<()> {
        self.order(&format!("remove {}", directory.display()))
    }

    fn order(&mut self, line: &str) -> Result<()> {
        let pipe = self.orders.as_mut().context("the keeper was dismissed")?;
        writeln!(pipe, "{line}").and_then(|()| pipe.flush()).context("the keeper process is gone")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Err(error) = self.process.wait() {
            eprintln!("xtask: waiting for the keeper: {error}");
        }
    }
}

/// What there is to clean up, in the order it came.
#[derive(Debug, Default, PartialEq, Eq)]
struct Duties {
    groups: Vec<(u32, String)>,
    directories: Vec<PathBuf>,
}

impl Duties {
    /// Takes one order; a line that is none is left alone, since half a line may be the last thing a killed process wrote.
    fn take(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "watch" => {
                if let Some((leader, signal)) = rest.split_once(' ')
                    && let Ok(leader) = leader.parse()
                {
                    self.groups.push((leader, signal.to_owned()));
                }
            }
            "forget" => self.groups.retain(|(leader, _)| leader.to_string() != rest),
            "remove" if !rest.is_empty() => self.directories.push(PathBuf::from(rest)),
            _ => {}
        }
    }
}

/// The keeper's own life: collects orders until the pipe closes, then carries them out.
pub(crate) fn keep() {
    let mut duties = Duties::default();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        duties.take(&line);
    }
    for (leader, signal) in duties.groups.iter().rev() {
        end(*leader, signal);
    }
    for directory in duties.directories.iter().rev() {
        remove(directory);
    }
}

/// Ends a process group: its leader as it wishes, and then whatever is left of it.
fn end(leader: u32, signal: &str) {
    let begun = Instant::now();
    send(leader, signal);
    while is_alive(leader) && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    send(leader, Farewell::Kill.signal());
    while is_alive(leader) && begun.elapsed() < 2 * PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process still does something. One that has ended but was not asked how (a zombie) does not; nobody may be
/// left to ask.
fn is_alive(process: u32) -> bool {
    let Ok(state) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    // The state follows the name, which stands in parentheses and may contain some itself.
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Sends a signal to a group; there may be none. The shell's own `kill` does it, since the program of that name is
/// missing on small systems.
fn send(leader: u32, signal: &str) {
    let outcome = Command::new("/bin/sh")
        .args(["-c", "kill -s \"$1\" -- \"-$2\"", "kill", signal, &leader.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = outcome {
        eprintln!("xtask: sending {signal} to group {leader}: {error}");
    }
}

/// Removes a directory; a second and third try outlast a process that is still closing its files.
fn remove(directory: &Path) {
    for pause_ms in [50, 200, 1000] {
        match std::fs::remove_dir_all(directory) {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(_) => std::thread::sleep(Duration::from_millis(pause_ms)),
        }
    }
    if let Err(error) = std::fs::remove_dir_all(directory) {
        eprintln!("xtask: {} was left behind: {error}", directory.display());
    }
}

#[cfg(test)]
mod tests;
