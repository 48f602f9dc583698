//! `amends health`: is the coordinator well, does it take work, and who is registered?

use crate::{
    client::ClientError,
    exit::Exit,
    globals::Globals,
    output::say,
    table::{self, Table},
};
use amends_wire::api::{List, ParticipantView};
use serde_json::{Value, json};

/// Asks a coordinator whether it is well.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ends with 0 when the coordinator takes new work, with 1 when it does not or nobody answers.

Examples:
  amends health
  amends health --coordinator http://10.0.0.5:7070 --json")]
pub struct Args {}

/// Asks, and says what came back.
///
/// # Errors
/// When nobody answers.
pub async fn run(_args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let client = globals.client()?;
    let health: Value = client.get("/healthz", &[]).await?;
    let ready = match client.get::<Value>("/readyz", &[]).await {
        Ok(_) => None,
        Err(error @ ClientError::Refused { .. }) => Some(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    let participants: Result<List<ParticipantView>, ClientError> = client.get("/v1/participants", &[]).await;
    let exit = if ready.is_none() { Exit::Done } else { Exit::No };
    if globals.json {
        table::print_json(&json!({
            "coordinator": client.base().to_string(),
            "version": health["version"],
            "ready": ready.is_none(),
            "reason": ready,
            "participants": participants.ok().map(|list| list.items),
        }))?;
        return Ok(exit);
    }
    let version = health["version"].as_str().unwrap_or("of unknown version");
    match &ready {
        None => say!("{} takes work (version {version})", client.base()),
        Some(why) => say!("{} takes no new work: {why} (version {version})", client.base()),
    }
    match participants {
        Ok(list) if list.items.is_empty() => {
            say!("no participant is registered; start one with `amends participant inventory`");
        }
        Ok(list) => participants_table(&list.items).print(),
        Err(error) => say!("its participants are not shown: {error}"),
    }
    Ok(exit)
}

fn participants_table(participants: &[ParticipantView]) -> Table {
    let mut table = Table::new(&["participant", "instances", "operations", "breaker"]);
    for participant in participants {
        let instances: Vec<String> =
            participant.instances.iter().map(|instance| instance.url.clone()).collect();
        let operations: Vec<String> = participant.operations.keys().map(ToString::to_string).collect();
        let breaker = format!("{:?}", participant.breaker.state).to_lowercase();
        table.row([participant.name.to_string(), instances.join(" "), operations.join(" "), breaker]);
    }
    table
}
