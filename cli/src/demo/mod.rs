//! Placeholder.

use crate::{exit::Exit, globals::Globals};

/// Shows what sagas do.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Shows it.
///
/// # Errors
/// None yet.
pub async fn run(_args: Args, _globals: &Globals) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
