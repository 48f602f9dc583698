//! What each command does.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::cargo::{self, cargo};
use crate::command::{self, Command};
use crate::keeper::Keeper;
use crate::packages;
use crate::promtool;
use crate::servers::{MYSQL, POSTGRES, Servers};

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
        Command::Chaos { kills } => longer("kill", &[("AMENDS_KILLS", kills)]),
        Command::Fuzz { seconds } => fuzz(seconds),
        Command::Check => check(),
    }
}

/// Builds everything once, starts the servers, runs the tests, and says how it went in one line at the end.
fn test(arguments: &[String]) -> Result<()> {
    let begun = Instant::now();
    let mut keeper = Keeper::start()?;
    let programs = packages::provide()?;
    let promtool = promtool::provide()?;
    // Built before the servers start, so that a mistake in the sources is told at once.
    cargo::run(&mut keeper, test_command(&before_dashes(arguments), &["--no-run"]))?;
    let mut servers = Servers::start(&programs, &mut keeper)?;
    println!("xtask: testing with {}", servers.description);

    let mut command = test_command(arguments, &[]);
    command.envs(servers.environment.clone()).env(promtool::VARIABLE, promtool);
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

/// `cargo test` with options of ours and the user's arguments: the whole workspace, unless they choose packages.
fn test_command(arguments: &[String], options: &[&str]) -> std::process::Command {
    let chooses =
        |word: &String| word.starts_with("-p") || word.starts_with("--package") || word == "--workspace";
    let mut command = cargo(&["test", "--no-fail-fast"]);
    if !before_dashes(arguments).iter().any(chooses) {
        command.arg("--workspace");
    }
    command.args(options).args(arguments);
    command
}

/// The arguments that are for cargo and not for the test programs.
fn before_dashes(arguments: &[String]) -> Vec<String> {
    arguments.iter().take_while(|word| *word != "--").cloned().collect()
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

/// Reads mangled definitions, optimised and for longer.
fn fuzz(seconds: u64) -> Result<()> {
    let mut keeper = Keeper::start()?;
    let mut command = cargo(&["test", "--package", "amends-wire", "--features", "definition", "--release"]);
    command.args(["--test", "fuzz", "--", "--nocapture"]).env("AMENDS_FUZZ_SECONDS", seconds.to_string());
    cargo::run(&mut keeper, command)
}

/// Formatting, lints, documentation.
fn check() -> Result<()> {
    let mut keeper = Keeper::start()?;
    cargo::run(&mut keeper, cargo(&["fmt", "--all", "--check"]))?;
    cargo::run(&mut keeper, cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let mut documentation = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    // The pages are for whoever works on the code: private items have theirs, so links may lead there.
    documentation
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links")
        .env_remove(POSTGRES)
        .env_remove(MYSQL);
    cargo::run(&mut keeper, documentation)
}

fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}
