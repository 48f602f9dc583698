//! What each command does.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::cargo::{self, cargo, executable};
use crate::command::{self, Command};
use crate::keeper::Keeper;
use crate::packages;
use crate::servers::{MYSQL, POSTGRES, Servers};

/// The environment variable that tells tests of processes where the executable is.
const EXECUTABLE: &str = "AMENDS_BIN";

/// Does what was asked.
pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Help => {
            print!("{}", command::HELP);
            Ok(())
        }
        Command::Test(arguments) => test(&arguments),
        Command::Up => up(),
        Command::Sim { seeds, seed: None } => longer("simulation", &[("AMENDS_SIM_SEEDS", seeds)]),
        Command::Sim { seed: Some(seed), .. } => {
            longer("simulation", &[("AMENDS_SIM_SEEDS", 1), ("AMENDS_SIM_SEED", seed)])
        }
        Command::Model { states } => longer("model", &[("AMENDS_MODEL_STATES", states)]),
        Command::Chaos { kills } => chaos(kills),
        Command::Check => check(),
    }
}

/// Builds everything once, starts the servers, runs the tests, and says how it went in one line at the end.
fn test(arguments: &[String]) -> Result<()> {
    let begun = Instant::now();
    let mut keeper = Keeper::start()?;
    let programs = packages::provide()?;
    if !names_packages(arguments) || arguments.iter().any(|word| word.ends_with("amends-tests")) {
        // One build for the executable and the tests together: two would choose features differently and build twice.
        cargo::run(&mut keeper, cargo(&["build", "--workspace", "--all-targets"]))?;
    }
    let mut servers = Servers::start(&programs, &mut keeper)?;
    println!("xtask: testing with {}", servers.description);

    let mut command = if names_packages(arguments) {
        cargo(&["test", "--no-fail-fast"])
    } else {
        cargo(&["test", "--workspace", "--no-fail-fast"])
    };
    command.args(arguments).env(EXECUTABLE, executable("debug")?).envs(servers.environment.clone());
    let (tally, succeeded) = cargo::run_tests(&mut keeper, command)?;
    let servers_lived = servers.check();

    let line = format!("{tally}; {}; {}", servers.description, spoken(begun.elapsed()));
    drop(servers);
    drop(keeper);
    for name in &tally.failures {
        println!("xtask: failed: {name}");
    }
    println!("xtask: {line}");
    servers_lived?;
    if !succeeded {
        bail!("the tests failed");
    }
    if tally.passed == 0 {
        bail!("no test was run: nothing has the name that was asked for");
    }
    Ok(())
}

/// Whether cargo's arguments choose packages themselves.
fn names_packages(arguments: &[String]) -> bool {
    arguments
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| word.starts_with("-p") || word.starts_with("--package") || word == "--workspace")
}

/// Starts the servers and keeps them until this process is interrupted.
fn up() -> Result<()> {
    let programs = packages::provide()?;
    let mut keeper = Keeper::start()?;
    let mut servers = Servers::start(&programs, &mut keeper)?;
    println!("# {}; Ctrl-C stops them and removes their data", servers.description);
    for (name, url) in &servers.environment {
        println!("export {name}={url}");
    }
    loop {
        std::thread::sleep(Duration::from_millis(500));
        servers.check()?;
    }
}

/// Runs one test program of the tests crate, optimised and with bigger numbers.
fn longer(name: &str, numbers: &[(&str, u64)]) -> Result<()> {
    let mut keeper = Keeper::start()?;
    let mut command =
        cargo(&["test", "--package", "amends-tests", "--release", "--test", name, "--", "--nocapture"]);
    for (variable, number) in numbers {
        command.env(variable, number.to_string());
    }
    cargo::run(&mut keeper, command)
}

/// The test program that kills real processes: it needs the executable and the servers.
fn chaos(kills: u64) -> Result<()> {
    let mut keeper = Keeper::start()?;
    let programs = packages::provide()?;
    cargo::run(&mut keeper, cargo(&["build", "--release", "--package", "amends"]))?;
    let mut servers = Servers::start(&programs, &mut keeper)?;
    let mut command =
        cargo(&["test", "--package", "amends-tests", "--release", "--test", "chaos", "--", "--nocapture"]);
    command.env("AMENDS_KILLS", kills.to_string());
    command.env(EXECUTABLE, executable("release")?).envs(servers.environment.clone());
    cargo::run(&mut keeper, command).and_then(|()| servers.check())
}

/// Formatting, lints, documentation.
fn check() -> Result<()> {
    let mut keeper = Keeper::start()?;
    cargo::run(&mut keeper, cargo(&["fmt", "--all", "--check"]))?;
    cargo::run(&mut keeper, cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let mut documentation = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings").env_remove(POSTGRES).env_remove(MYSQL);
    cargo::run(&mut keeper, documentation)
}

fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}
