//! `amends config`: every setting, its value and where it comes from.

use crate::{
    exit::Exit,
    globals::Globals,
    output::say,
    settings::{Key, Source, keys},
    table::{self, Table, Tone},
};
use amends_server::hooks::Hook;
use serde_json::{Value, json};

/// Shows every setting.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A setting comes from its flag, else its environment variable, else the TOML file, else its default.
The file is ./amends.toml where there is one, or what --config or AMENDS_CONFIG names:

  coordinator = \"http://127.0.0.1:7070\"
  [serve]
  listen = \"127.0.0.1:7070\"
  store = \"sqlite:./amends-data/coordinator.db\"
  [inventory]
  listen = \"127.0.0.1:7101\"
  [[hooks]]
  url = \"https://hooks.example.com/amends\"
  secret = \"whsec_…\"
  events = [\"repair.opened\", \"repair.escalated\", \"repair.settled\"]

Ends with 1 when a value cannot be used.

Examples:
  amends config
  AMENDS_LISTEN=127.0.0.1:8080 amends config --json")]
pub struct Args {}

/// One line of what is shown.
struct Line {
    key: &'static Key,
    value: Option<String>,
    source: Source,
    misfit: Option<String>,
}

/// Shows every setting.
///
/// Ends with [`Exit::No`] when one of them cannot be used.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn run(_args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let lines: Vec<Line> = keys::ALL.iter().map(|key| line(key, globals)).collect();
    let exit = if lines.iter().any(|line| line.misfit.is_some()) { Exit::No } else { Exit::Done };
    if globals.json {
        let file = globals.settings.file().map(|file| file.path().display().to_string());
        let settings: Vec<Value> = lines.iter().map(Line::json).collect();
        let hooks: Vec<Value> = globals.settings.hooks().iter().map(hook).collect();
        table::print_json(&json!({ "file": file, "settings": settings, "hooks": hooks }))?;
        return Ok(exit);
    }
    let mut table = Table::new(&["setting", "value", "source", "environment", "what it is"]);
    for line in &lines {
        let tone = match line.source {
            _ if line.misfit.is_some() => Tone::Bad,
            Source::Default => Tone::Faint,
            Source::Flag | Source::Env(_) | Source::File(_) => Tone::Plain,
        };
        let cells = [line.key.to_string(), line.shown(), line.source.to_string(), line.key.env.to_owned()];
        let cells = cells.into_iter().map(|cell| (cell, tone));
        table.toned(cells.chain([(line.key.about.to_owned(), Tone::Faint)]));
    }
    for hook in globals.settings.hooks() {
        let events: Vec<&str> = hook.events().iter().map(|event| event.as_str()).collect();
        let about =
            format!("told of {}{}", events.join(", "), if hook.is_signed() { ", signed" } else { "" });
        let cells = ["hooks".to_owned(), hook.place(), "file".to_owned(), "-".to_owned()];
        let cells = cells.into_iter().map(|cell| (cell, Tone::Plain));
        table.toned(cells.chain([(about, Tone::Faint)]));
    }
    table.print();
    for line in &lines {
        if let Some(misfit) = &line.misfit {
            say!("{} from {} cannot be used: {misfit}", line.key, line.source);
        }
    }
    Ok(exit)
}

/// A hook of the file: where it is, without what may be secret of it.
fn hook(hook: &Hook) -> Value {
    let events: Vec<&str> = hook.events().iter().map(|event| event.as_str()).collect();
    json!({ "place": hook.place(), "events": events, "signed": hook.is_signed() })
}

fn line(key: &'static Key, globals: &Globals) -> Line {
    let flag = globals.flags.iter().find(|(name, _)| key.table.is_empty() && *name == key.name);
    if let Some((_, value)) = flag {
        return Line { key, value: Some(value.clone()), source: Source::Flag, misfit: None };
    }
    match globals.settings.text(key) {
        Some((value, source)) => {
            Line { key, value: Some(value.to_owned()), source, misfit: (key.misfit)(value) }
        }
        None => Line { key, value: None, source: Source::Default, misfit: None },
    }
}

impl Line {
    fn shown(&self) -> String {
        match &self.value {
            Some(_) if self.key.secret => "(set)".to_owned(),
            Some(value) => value.clone(),
            None => "-".to_owned(),
        }
    }

    fn json(&self) -> Value {
        let value = self.value.as_ref().map(|value| if self.key.secret { "(set)" } else { value });
        json!({
            "key": self.key.to_string(),
            "value": value,
            "source": self.source.to_string(),
            "env": self.key.env,
            "about": self.key.about,
            "misfit": self.misfit,
        })
    }
}
