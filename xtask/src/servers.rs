//! The throw-away database servers.
//!
//! Each keeps its defaults where durability and isolation are concerned, since that is what the tests are about, and is
//! made small otherwise. Each stands in a time zone that is not UTC, so that a query that mixes local time and UTC fails
//! here and not in production. They listen on loopback only, and want a password that is made up for the run.

mod mariadb;
mod postgres;
mod ready;

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::account::Account;
use crate::keeper::{Farewell, Keeper};
use crate::packages::{self, Programs};
use crate::scratch::Scratch;

/// How long a server may take until it answers. Two cores that compile at the same time are slow.
const START: Duration = Duration::from_secs(120);

/// How often a server is started on another port when the free one was taken in between.
const PORTS: u32 = 3;

/// The environment variable that holds PostgreSQL's URL.
pub(crate) const POSTGRES: &str = "AMENDS_TEST_POSTGRES";
/// The environment variable that holds MariaDB's URL.
pub(crate) const MYSQL: &str = "AMENDS_TEST_MYSQL";

/// The servers that the tests will find.
#[derive(Debug)]
pub(crate) struct Servers {
    /// The environment of the tests: names and URLs.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// One line that says which servers they are.
    pub(crate) description: String,
    running: Vec<Server>,
}

/// One running server.
#[derive(Debug)]
struct Server {
    name: &'static str,
    log: PathBuf,
    /// There until it is handed to a thread that reaps it.
    process: Option<Child>,
}

/// A server is reaped when it ends, so that the keeper sees that it is gone.
impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            std::thread::spawn(move || process.wait());
        }
    }
}

impl Servers {
    /// Starts both, or takes the user's own where the environment names one.
    pub(crate) fn start(programs: &Programs, keeper: &mut Keeper) -> Result<Self> {
        let account = Account::pick()?;
        let scratch = Scratch::new(keeper)?;
        let ground = Ground { account: &account, scratch: &scratch };
        let mut servers = Self { environment: Vec::new(), description: String::new(), running: Vec::new() };
        servers.add(POSTGRES, "PostgreSQL", &packages::version(&programs.postgres), || {
            postgres::start(programs, &ground, keeper)
        })?;
        servers.add(MYSQL, "MariaDB", &packages::version(&programs.mariadbd), || {
            mariadb::start(programs, &ground, keeper)
        })?;
        Ok(servers)
    }

    fn add(
        &mut self,
        variable: &'static str,
        name: &str,
        version: &str,
        start: impl FnOnce() -> Result<(Server, String)>,
    ) -> Result<()> {
        let said = if let Ok(url) = std::env::var(variable) {
            self.environment.push((variable, url));
            format!("{name} of {variable}")
        } else {
            let (server, url) = start().with_context(|| format!("starting {name}"))?;
            self.running.push(server);
            self.environment.push((variable, url));
            format!("{name} {version}")
        };
        if !self.description.is_empty() {
            self.description.push_str(", ");
        }
        self.description.push_str(&said);
        Ok(())
    }

    /// Fails once a server has ended that should not have, with the end of its log.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.running.iter_mut().try_for_each(Server::check)
    }
}

impl Server {
    fn check(&mut self) -> Result<()> {
        match self.process.as_mut().map(Child::try_wait).transpose()?.flatten() {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}); its log ends with\n{}", self.name, tail(&self.log)),
        }
    }
}

/// What a server is built on.
struct Ground<'a> {
    account: &'a Account,
    scratch: &'a Scratch,
}

impl Ground<'_> {
    /// Runs a set-up program to its end; what it says goes to a log, and into the error.
    fn set_up(&self, program: &Path, directory: &Path, arguments: &[String]) -> Result<()> {
        let log = directory.join("setup.log");
        let mut command = self.account.command(program, directory);
        command.args(arguments);
        logged(&mut command, &log)?;
        let status = command.status().with_context(|| unreachable_for(self.account, program, directory))?;
        if !status.success() {
            bail!("{} failed ({status}) and said\n{}", program.display(), tail(&log));
        }
        Ok(())
    }

    /// Starts a server on a free port and waits until `answers` says that it serves.
    fn serve(
        &self,
        keeper: &mut Keeper,
        plan: &Plan<'_>,
        arguments: impl Fn(u16) -> Vec<String>,
    ) -> Result<(Server, u16)> {
        let mut tries = 1;
        loop {
            let port = free_port()?;
            match self.serve_on(keeper, plan, &arguments(port), port) {
                Ok(server) => return Ok((server, port)),
                Err(error) if tries == PORTS => return Err(error),
                Err(_) => tries += 1,
            }
        }
    }

    fn serve_on(
        &self,
        keeper: &mut Keeper,
        plan: &Plan<'_>,
        arguments: &[String],
        port: u16,
    ) -> Result<Server> {
        let log = plan.directory.join("server.log");
        let mut command = self.account.command(plan.program, plan.directory);
        command.args(arguments).process_group(0);
        logged(&mut command, &log)?;
        let process =
            command.spawn().with_context(|| unreachable_for(self.account, plan.program, plan.directory))?;
        let leader = process.id();
        let mut server = Server { name: plan.name, log, process: Some(process) };
        keeper.watch(leader, plan.farewell)?;
        let begun = Instant::now();
        while !(plan.answers)(port) {
            if let Err(error) = server.check() {
                keeper.forget(leader)?;
                return Err(error);
            }
            if begun.elapsed() > START {
                bail!("no answer on port {port} within {START:?}; its log ends with\n{}", tail(&server.log));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }
}

/// How one kind of server is run.
struct Plan<'a> {
    name: &'static str,
    program: &'a Path,
    directory: &'a Path,
    farewell: Farewell,
    answers: fn(u16) -> bool,
}

/// Sends both outputs of a command to a new file.
fn logged(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    Ok(())
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn unreachable_for(account: &Account, program: &Path, directory: &Path) -> String {
    format!(
        "running {} as {}, which must be able to reach {}: set TMPDIR to a directory that everybody may enter",
        program.display(),
        account.name(),
        directory.display()
    )
}

/// A port that nobody listens on at this moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("asking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// A password for this run: 128 bits in hexadecimal.
fn password() -> Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("reading /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file that only `account` may read.
fn private_file(account: &Account, path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    account.give(path)
}
