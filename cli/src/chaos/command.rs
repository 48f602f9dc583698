//! `amends chaos`: a rehearsal from the command line.

use super::{BadMix, Mix, Pace, Rehearsal, Report, parts::children_of};
use crate::{
    exit::Exit,
    globals::Globals,
    output::say,
    progress,
    table::{self, Tone, painted},
};
use amends_wire::{definition::Text, span::Span};
use anyhow::{Context, bail};
use serde_json::Value;
use std::{
    io::Read,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// The longest file that is read, in bytes.
const BYTES_MAX: u64 = 16 << 20;

/// The files beside a definition that are looked through, at most.
const FILES_MAX: usize = 1_000;

/// Sagas kept running where nothing is said.
const IN_FLIGHT: u64 = 32;

/// How long a saga may take where nothing is said.
const PATIENCE: Span = Span::from_secs(60);

/// Runs a definition many times under faults, and checks what must hold.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The sagas that its steps run are found in the files beside it, and rehearsed with it.
Participants are stubs that obey the barrier, unless --against registered takes those that are
registered with --coordinator: take those of a test installation, for their data changes, and
whoever audits them finds effects of sagas that no other coordinator knows. The coordinator of the
run is its own, in this process and in memory. Pauses between attempts are made short.

Faults are a preset (none, mild, rough, reversals, outage), or any of
  delay=0.1:200ms        calls that arrive later       drop_before=0.05  requests that are lost
  duplicate=0.1:300ms    calls that arrive twice       drop_after=0.05   answers that are lost
  overload=0.05:100ms    503 or 429 with Retry-After   refuse=0.05       actions answered 409
  undo_fails=0.2:3       reversals that work at last   garbage=0.01      answers that are not JSON
  undo_fails_forever=0.01, undo_refused=0.01           reversals that never work
  down=inventory@10s+5s  a participant (or *) is away  restart=0.5, crash=0.3+0.6  the coordinator,
                                                       once so many sagas were started
separated by commas; a preset may be followed by faults that add to it.

Ends with 0 when every law was kept, with 1 when one was broken.

Examples:
  amends chaos sagas/checkout.yaml
  amends chaos sagas/order.yaml --faults rough --sagas 1000 --seed 7
  amends chaos sagas/order.yaml --faults 'mild,undo_fails=0.5:4,crash=0.5' --json
  amends chaos sagas/order.yaml --against registered \\
       --input '{\"order\": \"{run}-{number}\", \"lines\": [{\"sku\": 1, \"qty\": 1}]}'")]
pub struct Args {
    /// The definition; - is standard input
    #[arg(value_name = "FILE")]
    definition: PathBuf,
    /// What sagas are started with, as JSON or a file of it; in its texts {number} is the number of the saga and {run}
    /// differs from run to run [default: the smallest that fits the definition]
    #[arg(long, value_name = "FILE|JSON")]
    input: Option<String>,
    /// A file of JSON: what stubs answer by operation, as {"inventory.hold": {…}}, and what signals carry by name
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// How many sagas are run
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=super::SAGAS_MAX))]
    sagas: u64,
    /// Start so many each second, however many run
    #[arg(long, value_name = "NUMBER", conflicts_with = "in_flight", value_parser = rate)]
    rate: Option<f64>,
    /// Keep so many running
    #[arg(long, value_name = "NUMBER", default_value_t = IN_FLIGHT, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    in_flight: u64,
    /// Which of all courses of events it is; the same seed meets the same faults [default: another one each time]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// What goes wrong: a preset, or faults with their shares, as below
    #[arg(long, value_name = "FAULTS", default_value = "mild")]
    faults: Faults,
    /// In place of chance, the three standard faults: every call repeated, every step failing, every undo repeated
    #[arg(long, conflicts_with_all = ["faults", "sagas", "rate", "in_flight", "seed"])]
    standard: bool,
    /// Who takes the calls
    #[arg(long, value_enum, default_value_t = Against::Stub)]
    against: Against,
    /// What registered participants check signatures with, as whsec_…
    #[arg(long, value_name = "SECRET", env = "AMENDS_PARTICIPANT_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// How long a saga may take to come to its end
    #[arg(long, value_name = "TIME", default_value_t = PATIENCE)]
    patience: Span,
    /// Keep the pauses between attempts as they are written
    #[arg(long)]
    unhurried: bool,
    /// Take the barrier away from the stubs, to see what it is for
    #[arg(long)]
    without_barrier: bool,
}

/// Who takes the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Against {
    /// Stubs in this process
    Stub,
    /// The participants that are registered with --coordinator
    Registered,
}

/// A mix of faults as it was written, so that the command to repeat it says the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    written: String,
    mix: Mix,
}

impl FromStr for Faults {
    type Err = BadMix;
    fn from_str(text: &str) -> Result<Faults, BadMix> {
        Ok(Faults { written: text.to_owned(), mix: text.parse()? })
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.written)
    }
}

/// Runs the rehearsal.
///
/// # Errors
/// When it cannot be run: the definition has faults, a file cannot be read, a participant is not there.
pub async fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let rehearsal = prepare(&args, seed, globals).await?;
    let count = if args.standard { 0 } else { args.sagas };
    let bar = if args.standard {
        progress::busy(globals, "the standard faults")
    } else {
        progress::steps(globals, count)
    };
    let told = bar.clone();
    let rehearsal = rehearsal.on_progress(move |ended| told.set_position(ended));
    let report = if args.standard { rehearsal.standard().await } else { rehearsal.run().await };
    bar.finish_and_clear();
    let report = report?;
    let again = again(&args, seed, globals);
    if globals.json {
        let mut shown = serde_json::to_value(&report)?;
        shown["again"] = Value::String(again);
        table::print_json(&shown)?;
    } else {
        print(&report, &again);
    }
    Ok(if report.kept { Exit::Done } else { Exit::No })
}

async fn prepare(args: &Args, seed: u64, globals: &Globals) -> anyhow::Result<Rehearsal> {
    let name = if args.definition == Path::new("-") {
        "standard input".to_owned()
    } else {
        args.definition.display().to_string()
    };
    let source = read(&args.definition)?;
    if let Err(faults) = Text::read(&source) {
        bail!("the definition has faults\n\n{}", faults.render(&name, &source).trim_end());
    }
    let pace = args.rate.map_or(Pace::InFlight(usize::try_from(args.in_flight)?), Pace::PerSecond);
    let patience = Duration::from_millis(args.patience.millis().0);
    let mut rehearsal = with_children(Rehearsal::of(&source)?, &args.definition)?;
    rehearsal = rehearsal.mix(args.faults.mix.clone()).seed(seed).sagas(args.sagas);
    rehearsal = rehearsal.pace(pace).patience(patience);
    if let Some(input) = &args.input {
        rehearsal = rehearsal.input(json_or_file(input)?);
    }
    if let Some(path) = &args.answers {
        rehearsal = answers(rehearsal, path)?;
    }
    if args.unhurried {
        rehearsal = rehearsal.unhurried();
    }
    if args.without_barrier {
        rehearsal = rehearsal.without_barrier();
    }
    if args.against == Against::Registered {
        rehearsal = rehearsal.registered_with(&globals.client()?, args.secret.as_deref()).await?;
        let at = &globals.coordinator;
        eprintln!(
            "calling the participants registered with {at}: their data changes, and to an audit by {at} the sagas of \
             this run are unknown"
        );
    }
    Ok(rehearsal)
}

/// Adds the definitions of the sagas that are run, from the files beside this one.
fn with_children(mut rehearsal: Rehearsal, path: &Path) -> anyhow::Result<Rehearsal> {
    let mut wanted = children_of(rehearsal.definition());
    if wanted.is_empty() || path == Path::new("-") {
        return Ok(rehearsal);
    }
    let mut beside: Vec<(Text, String)> = beside(path)?;
    while let Some(name) = wanted.pop() {
        // Each version of it: which one is run is said where it is.
        let (found, rest) = beside.into_iter().partition(|(text, _)| text.name == name);
        beside = rest;
        for (text, source) in found {
            wanted.extend(children_of(&text));
            rehearsal = rehearsal.with_child(&source)?;
        }
    }
    Ok(rehearsal)
}

/// The definitions in the directory of a file. What cannot be read as one is none.
fn beside(path: &Path) -> anyhow::Result<Vec<(Text, String)>> {
    let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("{} cannot be read", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    let is_definition = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
    };
    paths.retain(is_definition);
    paths.sort();
    paths.truncate(FILES_MAX);
    let sources = paths.iter().filter_map(|path| read(path).ok());
    Ok(sources.filter_map(|source| Some((Text::read(&source).ok()?, source))).collect())
}

fn answers(mut rehearsal: Rehearsal, path: &Path) -> anyhow::Result<Rehearsal> {
    let shown = path.display();
    let expected = "it is to be an object such as {\"inventory.hold\": {\"hold\": 1}, \"payment\": {\"receipt\": \"R-1\"}}";
    match serde_json::from_str(&read(path)?) {
        Ok(Value::Object(members)) => {
            for (name, output) in members {
                rehearsal = rehearsal.answer(&name, output);
            }
            Ok(rehearsal)
        }
        Ok(_) => bail!("the answers in {shown} cannot be used: {expected}"),
        Err(error) => bail!("the answers in {shown} are not JSON ({error}): {expected}"),
    }
}

/// Reads JSON, or the file of that name where the text cannot be any.
fn json_or_file(text: &str) -> anyhow::Result<Value> {
    if text.trim_start().starts_with(['{', '[']) {
        return serde_json::from_str(text).context("--input is not JSON");
    }
    serde_json::from_str(&read(Path::new(text))?).with_context(|| format!("the input in {text} is not JSON"))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text))
    };
    let shown = path.display();
    read.with_context(|| format!("{shown} cannot be read"))?;
    anyhow::ensure!(text.len() as u64 <= BYTES_MAX, "{shown} is longer than {BYTES_MAX} bytes");
    Ok(text)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=100_000.0).contains(rate));
    rate.ok_or_else(|| "expected sagas per second, from 0.01 to 100000".to_owned())
}

/// A seed short enough to be told to somebody.
fn fresh_seed() -> u64 {
    amends_server::clock::now().0.unsigned_abs() % 1_000_000
}

/// The command that meets the same faults again.
fn again(args: &Args, seed: u64, globals: &Globals) -> String {
    let mut words = vec!["amends chaos".to_owned(), quoted(&args.definition.display().to_string())];
    let mut put = |flag: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("--{flag} {}", quoted(&value))))
    };
    if args.standard {
        put("input", args.input.clone());
    } else {
        put("sagas", Some(args.sagas.to_string()));
        put("seed", Some(seed.to_string()));
        put("faults", Some(args.faults.written.clone()));
        put("input", args.input.clone());
        put("rate", args.rate.map(|rate| rate.to_string()));
        put(
            "in-flight",
            (args.rate.is_none() && args.in_flight != IN_FLIGHT).then(|| args.in_flight.to_string()),
        );
    }
    put("answers", args.answers.as_ref().map(|path| path.display().to_string()));
    put("patience", (args.patience != PATIENCE).then(|| args.patience.to_string()));
    if args.against == Against::Registered {
        put("against", Some("registered".to_owned()));
        put("coordinator", Some(globals.coordinator.to_string()));
    }
    for (is, flag) in [
        (args.standard, "--standard"),
        (args.unhurried, "--unhurried"),
        (args.without_barrier, "--without-barrier"),
    ] {
        words.extend(is.then(|| flag.to_owned()));
    }
    words.join(" ")
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@+%".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn print(report: &Report, again: &str) {
    for line in report.to_string().lines() {
        match line {
            line if line.starts_with("  BROKEN") => say!("{}", painted(line, Tone::Bad)),
            line if line.starts_with("note:") => say!("{}", painted(line, Tone::Warn)),
            line => say!("{line}"),
        }
    }
    let verdict = if report.kept {
        painted("every law was kept", Tone::Good)
    } else {
        painted("a law was broken", Tone::Bad)
    };
    say!("\n{verdict}; once more with\n  {again}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them_otherwise() {
        for (text, expected) in [
            ("rough", "rough"),
            ("down=*@1s+2s", "'down=*@1s+2s'"),
            ("{\"a\": 1}", "'{\"a\": 1}'"),
            ("it's", "'it'\\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
