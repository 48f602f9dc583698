//! `amends replay`: real carts from a file, run as sagas.

use crate::{exit::Exit, globals::Globals};

/// Runs carts from a file as checkout sagas and checks the books afterwards.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Replays the carts.
///
/// # Errors
/// When the file cannot be read, or a coordinator or a participant cannot be reached.
pub async fn run(_args: Args, _globals: &Globals) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
