//! The log: on stderr, so that standard output stays the command's own.

use crate::{globals::Globals, settings::LogFormat};
use anyhow::Context;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts the log of this process, with the command's own filter where nobody asks for another.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(globals: &Globals, usual: &str) -> anyhow::Result<()> {
    let filter = globals.log.as_deref().unwrap_or(usual);
    let filter = EnvFilter::builder().parse(filter).with_context(|| {
        format!("the log filter \"{filter}\" cannot be read; write a level such as info, or amends_server=debug,info")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    // A second start, as in tests within one process, keeps the first log.
    let _ = match globals.log_format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal() && !no_colour).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
