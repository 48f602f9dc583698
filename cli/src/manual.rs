//! Completion scripts and manual pages, made from the command line's own description.

use crate::{args::Args, exit::Exit};
use anyhow::Context;
use clap::CommandFactory;
use std::{io::Write, path::PathBuf};

/// Prints a completion script.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amends completions bash > ~/.local/share/bash-completion/completions/amends
  amends completions zsh > ~/.zfunc/_amends
  amends completions fish > ~/.config/fish/completions/amends.fish")]
pub struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints the manual page, or writes one per command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amends man | man -l -
  amends man --dir /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Where to write one page per command, in place of printing the first
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints a completion script for the shell.
///
/// # Errors
/// When standard output is closed.
pub fn completions(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "amends", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Exit::Done)
}

/// Prints the manual page, or writes all of them.
///
/// # Errors
/// When they cannot be written.
pub fn pages(args: &ManArgs) -> anyhow::Result<Exit> {
    let mut command = Args::command();
    command.build();
    match &args.dir {
        None => std::io::stdout().write_all(&page(&command)?)?,
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
            let written = clap_mangen::generate_to(Args::command(), dir);
            written.with_context(|| format!("the pages cannot be written into {}", dir.display()))?;
        }
    }
    Ok(Exit::Done)
}

fn page(command: &clap::Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}
