//! Tables and colours on the terminal: plain where nobody looks, and plain with `NO_COLOR`.

use crate::output::say;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, presets};
use std::{ffi::OsStr, io::IsTerminal};

/// What a cell wants to be looked at as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As any other.
    Plain,
    /// Went well.
    Good,
    /// Is under way, or was made good.
    Warn,
    /// Went wrong.
    Bad,
    /// Beside the point.
    Faint,
}

/// Whether standard output is coloured: it is a terminal, `NO_COLOR` is not set, and the terminal is not a dumb one.
pub fn colours() -> bool {
    let var = std::env::var_os;
    coloured(std::io::stdout().is_terminal(), var("NO_COLOR").as_deref(), var("TERM").as_deref())
}

fn coloured(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|term| term != "dumb")
}

/// Text in a tone, coloured when [`colours`] says so.
pub fn painted(text: &str, tone: Tone) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Good => "32",
        Tone::Warn => "33",
        Tone::Bad => "31",
        Tone::Faint => "2",
    };
    if colours() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// The tone of a saga's or a step's status.
pub fn status_tone(status: &str) -> Tone {
    match status {
        "completed" | "done" | "ok" | "balanced" => Tone::Good,
        "compensated" | "running" | "compensating" | "waiting" | "pending" => Tone::Warn,
        "repair" | "abandoned" | "refused" | "unknown" | "parked" | "unbalanced" => Tone::Bad,
        "skipped" => Tone::Faint,
        _ => Tone::Plain,
    }
}

/// Rows under a heading.
#[derive(Debug)]
pub struct Table {
    inner: comfy_table::Table,
    colours: bool,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(columns: &[&str]) -> Table {
        let colours = colours();
        let mut inner = comfy_table::Table::new();
        inner.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if !colours {
            inner.force_no_tty();
        }
        inner.set_header(columns.iter().map(|column| {
            let cell = Cell::new(column.to_uppercase());
            if colours { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
        for column in inner.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Table { inner, colours }
    }

    /// Adds a row; cells whose text is a status are coloured.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let toned = cells.into_iter().map(|cell| {
            let text = cell.into();
            let tone = status_tone(&text);
            (text, tone)
        });
        self.toned(toned);
    }

    /// Adds a row with its tones.
    pub fn toned(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        let colours = self.colours;
        self.inner.add_row(cells.into_iter().map(|(text, tone)| {
            let cell = Cell::new(clean(&text));
            match tone {
                _ if !colours => cell,
                Tone::Plain => cell,
                Tone::Good => cell.fg(Color::Green),
                Tone::Warn => cell.fg(Color::Yellow),
                Tone::Bad => cell.fg(Color::Red),
                Tone::Faint => cell.add_attribute(Attribute::Dim),
            }
        }));
    }

    /// The table as text, without spaces at the ends of lines.
    pub fn text(&self) -> String {
        let lines: Vec<String> = self.inner.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }

    /// Prints it.
    pub fn print(&self) {
        say!("{}", self.text());
    }
}

/// Text from elsewhere without anything that moves the cursor or changes colours.
pub fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Writes a value as JSON on standard output, over several lines.
///
/// # Errors
/// When it is no JSON.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let text = OsStr::new;
        for (terminal, no_color, term, expected) in [
            (true, None, Some(text("xterm")), true),
            (true, Some(text("")), None, true),
            (true, Some(text("1")), Some(text("xterm")), false),
            (true, None, Some(text("dumb")), false),
            (false, None, Some(text("xterm")), false),
        ] {
            assert_eq!(coloured(terminal, no_color, term), expected, "{terminal} {no_color:?} {term:?}");
        }
    }

    #[test]
    fn a_table_is_plain_where_nobody_looks() {
        let mut table = Table::new(&["saga", "status"]);
        table.row(["1", "completed"]);
        table.row(["22", "a\u{1b}[31mb"]);
        assert_eq!(table.text(), "SAGA  STATUS\n1     completed\n22    a [31mb");
    }
}
