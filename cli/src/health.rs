//! `amends health`: is the coordinator well, does it take work, and who is registered? And for container health
//! checks, of any service: does it answer?

use crate::{
    client::ClientError,
    exit::Exit,
    globals::Globals,
    output::say,
    settings::BaseUrl,
    table::{self, Table},
};
use amends_wire::api::{List, ParticipantView};
use anyhow::Context;
use serde_json::{Value, json};
use std::time::Duration;

/// Asks a coordinator whether it is well.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ends with 0 when the coordinator takes new work, with 1 when it does not or nobody answers.
With --url it asks any service, a participant too, and sends no token.

Examples:
  amends health
  amends health --coordinator http://10.0.0.5:7070 --json
  amends health --url http://127.0.0.1:7101")]
pub struct Args {
    /// Ask only whether the service at this address answers and takes work, be it coordinator or participant
    #[arg(long, value_name = "URL")]
    url: Option<BaseUrl>,
}

/// How long a service may take to say that it is well.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Asks, and says what came back.
///
/// # Errors
/// When nobody answers.
pub async fn run(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    match &args.url {
        Some(url) => service(url, globals).await,
        None => coordinator(globals).await,
    }
}

/// Asks any service; one that knows nothing of readiness is ready when it answers.
async fn service(url: &BaseUrl, globals: &Globals) -> anyhow::Result<Exit> {
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let http = http.timeout(ANSWERS_WITHIN).build()?;
    let ask = |path: &str| http.get(url.join(path)).send();
    let health = ask("/healthz").await.with_context(|| format!("nobody answers at {url}"))?.status();
    let ready = ask("/readyz").await.with_context(|| format!("nobody answers at {url}"))?.status();
    // A participant has no /readyz and says so with a 404 or a 405; who has one and is not ready says 503.
    let is_ready = health.is_success() && !ready.is_server_error();
    match globals.json {
        true => table::print_json(&json!({ "url": url.to_string(), "ready": is_ready }))?,
        false if is_ready => say!("{url} is well"),
        false => say!("{url} is not well: /healthz answers {health}, /readyz {ready}"),
    }
    Ok(if is_ready { Exit::Done } else { Exit::No })
}

async fn coordinator(globals: &Globals) -> anyhow::Result<Exit> {
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
