//! Open sagas: begin, register branches, decide, and ask for more time.

use super::{body, ended, label, print};
use crate::{client::Client, exit::Exit, globals::Globals, output::say};
use amends_saga::{SagaId, Status};
use amends_wire::span::Span;
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::{json, value::RawValue};
use std::collections::BTreeMap;

/// What to begin.
#[derive(Debug, clap::Args)]
pub struct OpenArgs {
    /// How long it may stay undecided
    #[arg(long, value_name = "TIME")]
    timeout: Span,
    /// Your own key for it: begun again with the same key it is the same saga
    #[arg(long)]
    key: Option<String>,
    /// A label to find it by; may stand several times
    #[arg(long = "label", value_name = "NAME=TEXT", value_parser = label)]
    labels: Vec<(String, String)>,
}

/// What to register.
#[derive(Debug, clap::Args)]
pub struct BranchArgs {
    /// The saga's id
    id: SagaId,
    /// The branch's name, unique in its saga
    name: String,
    /// What undoes its work
    #[arg(long, value_name = "PARTICIPANT.OPERATION")]
    compensation: String,
    /// What makes its work final, where something has to
    #[arg(long, value_name = "PARTICIPANT.OPERATION")]
    confirm: Option<String>,
    /// The body of both: JSON, or @ and the file it stands in; @- is standard input
    #[arg(long, value_name = "JSON|@FILE", default_value = "{}")]
    with: String,
}

/// What to commit.
#[derive(Debug, clap::Args)]
pub struct CommitArgs {
    /// Its id
    id: SagaId,
    /// Wait until every branch is confirmed, at most this long and at most 60s; ends with 1 when they then are not
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
}

/// What to give time.
#[derive(Debug, clap::Args)]
pub struct RenewArgs {
    /// Its id
    id: SagaId,
    /// How much, from now on
    #[arg(long, value_name = "TIME")]
    timeout: Span,
}

pub(super) async fn open(client: &Client, args: &OpenArgs, globals: &Globals) -> anyhow::Result<Exit> {
    #[derive(Serialize)]
    struct Body<'a> {
        timeout: Span,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<&'a str, &'a str>,
    }
    let labels = args.labels.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let body = Body { timeout: args.timeout, key: args.key.as_deref(), labels };
    let (status, raw) = client.post::<Box<RawValue>>("/v1/sagas/open", &body).await?;
    if !globals.json && status == StatusCode::OK {
        say!("this key was used before with the same words: it is the same saga");
    }
    let saga = print(&raw, globals)?;
    if !globals.json && saga.status == Status::Running {
        say!(
            "register a branch with `amends saga branch {} NAME --compensation PARTICIPANT.OPERATION`",
            saga.id
        );
    }
    Ok(Exit::Done)
}

pub(super) async fn branch(client: &Client, args: &BranchArgs, globals: &Globals) -> anyhow::Result<Exit> {
    #[derive(Serialize)]
    struct Body<'a> {
        name: &'a str,
        compensation: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        confirm: Option<&'a str>,
        with: &'a RawValue,
    }
    let with = body::read_value(&args.with, "--with")?;
    let body = Body {
        name: &args.name,
        compensation: &args.compensation,
        confirm: args.confirm.as_deref(),
        with: &with,
    };
    let (status, raw) =
        client.post::<Box<RawValue>>(&format!("/v1/sagas/{}/branches", args.id), &body).await?;
    if !globals.json && status == StatusCode::OK {
        say!("this branch was registered before with the same words");
    }
    print(&raw, globals)?;
    Ok(Exit::Done)
}

pub(super) async fn commit(client: &Client, args: &CommitArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let (_, raw) = client.post::<Box<RawValue>>(&format!("/v1/sagas/{}/commit", args.id), &json!({})).await?;
    ended(client, args.id, raw, args.wait, Status::Completed, globals).await
}

pub(super) async fn renew(client: &Client, args: &RenewArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let body = json!({ "timeout": args.timeout });
    let (_, raw) = client.post::<Box<RawValue>>(&format!("/v1/sagas/{}/renew", args.id), &body).await?;
    print(&raw, globals)?;
    Ok(Exit::Done)
}
