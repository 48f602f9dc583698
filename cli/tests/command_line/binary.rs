//! Running the built executable: in an empty directory, with nothing of our environment that it would read.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Its output as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Expects an exit code.
    pub(crate) fn code(self, expected: i32) -> Ended {
        assert_eq!(self.code, Some(expected), "{self:?}");
        self
    }
}

/// A place for commands to run in.
#[derive(Debug)]
pub(crate) struct Place {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { dir: tempfile::tempdir().expect("a directory"), env: Vec::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file, and says where it is.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// Sets a variable for every further command.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Place {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self, args: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_amends"), args)
    }

    fn program(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AMENDS_"))
        {
            command.env_remove(name);
        }
        command.args(args).envs(self.env.iter().cloned()).current_dir(self.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        let child = self.command(args).spawn().expect("the executable starts");
        collect(child, args)
    }

    /// Runs a command whose output nobody reads; gives its exit code and its errors.
    pub(crate) fn run_with_closed_output(&self, args: &[&str]) -> (Option<i32>, String) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut child = self.command(args).stdout(writer).spawn().expect("the executable starts");
        let mut err = String::new();
        child.stderr.take().expect("its errors").read_to_string(&mut err).expect("text");
        (wait(&mut child).expect("it ends").code(), err)
    }

    /// Starts a service and waits until it says where it listens.
    pub(crate) fn serve(&self, args: &[&str]) -> Service {
        self.serve_program(env!("CARGO_BIN_EXE_amends"), args)
    }

    /// Starts a service that is none of ours and waits until it says where it listens.
    pub(crate) fn serve_program(&self, program: &str, args: &[&str]) -> Service {
        let mut command = self.program(program, args);
        let child = command.stderr(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        out.read_line(&mut line).expect("its first line");
        let url =
            line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{args:?} said {line:?}"));
        Service { url: url.to_owned(), child, out }
    }
}

/// Waits for a command, with its output read meanwhile.
fn collect(mut child: Child, args: &[&str]) -> Ended {
    fn read(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
        std::thread::spawn(move || {
            let mut text = String::new();
            from.read_to_string(&mut text).expect("text");
            text
        })
    }
    let out = read(child.stdout.take().expect("its output"));
    let err = read(child.stderr.take().expect("its errors"));
    let status = wait(&mut child).unwrap_or_else(|| panic!("{args:?} did not end"));
    Ended { code: status.code(), out: out.join().expect("its output"), err: err.join().expect("its errors") }
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().expect("its status") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    None
}

/// A process that serves; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) url: String,
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Service {
    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads its output up to a line with this text, and gives all of it.
    pub(crate) fn read_until(&mut self, text: &str) -> String {
        let mut all = String::new();
        while !all.contains(text) {
            let read = self.out.read_line(&mut all).expect("its output");
            assert!(read > 0, "\"{text}\" was not said: {all}");
        }
        all
    }

    /// Asks it to end, and says how it did.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(sent.success(), "the signal was sent");
        wait(&mut self.child).expect("it ends").code()
    }

    /// Ends it without a warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it has ended");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
