//! Progress of long commands, on stderr; hidden where nobody looks and where a program reads the output.

use crate::globals::Globals;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{io::IsTerminal, time::Duration};

/// A bar over a known number of steps, with a message beside it.
pub fn steps(globals: &Globals, count: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(count), target(globals));
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {elapsed} of about {duration}  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A sign of life for work of unknown length.
pub fn busy(globals: &Globals, message: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target(globals));
    bar.set_message(message.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn target(globals: &Globals) -> ProgressDrawTarget {
    let seen = !globals.json && std::io::stderr().is_terminal();
    if seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}
