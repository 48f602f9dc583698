//! `amends definition diff`: what differs between two definitions, and what that means for sagas that run.

mod lines;
mod semantic;

use super::{
    source::{Content, Place},
    yaml,
};
use crate::{
    exit::Exit,
    globals::Globals,
    output::say,
    table::{self, Tone, clean, painted},
};
use semantic::{Change, Difference, StepChange, StepChangeKind};
use serde_json::{Value, json};

/// The longest value that is shown in full, in characters.
const VALUE_CHARS_MAX: usize = 60;

/// What to compare.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The one before: a file, - for standard input, or what is registered: name, or name@version
    #[arg(value_name = "BEFORE")]
    before: Place,
    /// The one after, named in the same way
    #[arg(value_name = "AFTER")]
    after: Place,
    /// Leave the text out, and show what differs step by step only
    #[arg(long)]
    brief: bool,
}

pub(super) async fn run(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let inputs = [&args.before, &args.after].into_iter().filter(|place| place.is_input()).count();
    anyhow::ensure!(inputs < 2, "standard input can be one of the two only");
    let (before, after) = (args.before.content(globals).await?, args.after.content(globals).await?);
    let difference = Difference::of(&before.json, &after.json)?;
    let same = before.hash == after.hash;
    let verdict = verdict(&before, &after, &difference);
    let (old, new) = (yaml::write(&before.json), yaml::write(&after.json));
    let text = lines::unified(&lines::compare(&old, &new), &before.label, &after.label);
    if globals.json {
        table::print_json(&json!({
            "before": about(&before), "after": about(&after), "same": same, "difference": difference,
            "text": text, "verdict": verdict,
        }))?;
    } else {
        told(&difference).iter().for_each(|line| say!("{line}"));
        if !args.brief && !text.is_empty() {
            say!();
            text.lines().for_each(|line| say!("{}", coloured(line)));
        }
        if !same {
            say!();
        }
        verdict.iter().for_each(|line| say!("{line}"));
    }
    Ok(if same { Exit::Done } else { Exit::No })
}

fn about(content: &Content) -> Value {
    json!({ "from": content.label, "definition": content.version, "hash": content.hash })
}

/// What differs, in lines for people.
fn told(difference: &Difference) -> Vec<String> {
    let mut lines: Vec<String> = difference.definition.iter().map(|change| line_of(change, "")).collect();
    lines.extend(difference.input.iter().map(|change| line_of(change, "")));
    for step in &difference.steps {
        lines.extend(lines_of(step));
    }
    if difference.rearranged {
        lines.push("the steps are written in another order".to_owned());
    }
    lines
}

fn lines_of(step: &StepChange) -> Vec<String> {
    let (sign, tone) = match step.kind {
        StepChangeKind::Added => ("+", Tone::Good),
        StepChangeKind::Removed => ("-", Tone::Bad),
        StepChangeKind::Changed => ("~", Tone::Warn),
    };
    let mut lines = vec![painted(&format!("{sign} step {}", step.name), tone)];
    match (&step.waited_for, &step.waits_for) {
        (Some(before), Some(after)) => {
            lines.push(format!("    runs {} → {}", placed(before), placed(after)));
        }
        (None, Some(after)) => lines.push(format!("    runs {}", placed(after))),
        (_, None) => {}
    }
    lines.extend(step.changes.iter().map(|change| line_of(change, "    ")));
    lines
}

fn placed(names: &[String]) -> String {
    if names.is_empty() { "at once".to_owned() } else { format!("after {}", names.join(", ")) }
}

fn line_of(change: &Change, indent: &str) -> String {
    let path = clean(&change.path);
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => format!("{indent}{path}: {} → {}", shown(before), shown(after)),
        (None, Some(after)) => format!("{indent}+ {path}: {}", shown(after)),
        (Some(before), None) => format!("{indent}- {path}: {}", shown(before)),
        (None, None) => String::new(),
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => clean(text),
        other => other.to_string(),
    };
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn coloured(line: &str) -> String {
    let tone = match line.as_bytes().first() {
        Some(b'+') => Tone::Good,
        Some(b'-') => Tone::Bad,
        Some(b'@') => Tone::Faint,
        _ => Tone::Plain,
    };
    painted(line, tone)
}

/// What it means, sentence by sentence.
fn verdict(before: &Content, after: &Content, difference: &Difference) -> Vec<String> {
    let (old, new) = (&before.version, &after.version);
    if before.hash == after.hash {
        return vec![format!("the same: both are {new}, hash {}", short(&after.hash))];
    }
    let name = |version: &str| version.split('@').next().unwrap_or_default().to_owned();
    let mut verdict = Vec::new();
    if name(old) != name(new) {
        verdict.push(format!(
            "{old} and {new} are two definitions: registering one leaves sagas of the other alone"
        ));
    } else if old == new {
        verdict.push(format!(
            "both call themselves {new}: a registered version never changes, so raise \"version\" to register the \
             second; running sagas stay on what they were started with"
        ));
    } else {
        verdict.push(format!(
            "running sagas of {old} stay on {old} until they end; {new} is for those started after it is registered"
        ));
    }
    if !difference.newly_required.is_empty() {
        verdict.push(format!("callers now have to send {}", difference.newly_required.join(", ")));
    }
    if difference.is_empty() {
        verdict.push("they differ in how they are written only: they do the same".to_owned());
    }
    verdict
}

/// The beginning of a hash, as people compare them.
pub(super) fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

#[cfg(test)]
mod tests;
