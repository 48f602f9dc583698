//! `amends definition register`: makes definitions known, as often as one likes.

use super::{
    diff::short,
    source::{Source, registered},
};
use crate::{
    client::{Client, ClientError},
    exit::Exit,
    globals::Globals,
    output::say,
    table,
};
use amends_wire::{
    api::{DefinitionView, List},
    definition::Text,
};
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;

/// What became of a definition.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Registered {
    file: String,
    name: String,
    version: u32,
    hash: String,
    #[serde(flatten)]
    outcome: Outcome,
}

/// How it stands on the coordinator.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    /// It was not known before.
    New,
    /// It is known with this content.
    Same,
    /// The version is known with other content, which stays.
    Conflict {
        /// The hash of what is registered.
        registered_hash: Option<String>,
        /// The lowest version above all that are registered.
        next_version: Option<u32>,
    },
}

pub(super) async fn run(files: &[PathBuf], globals: &Globals) -> anyhow::Result<Exit> {
    let sources = files.iter().map(|file| Source::read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let Some(texts) = parse(&sources, globals)? else { return Ok(Exit::No) };
    let client = globals.client()?;
    let mut all = Vec::new();
    for (text, source) in texts {
        let registered = register(&client, &text, source).await?;
        if !globals.json {
            say!("{}", told(&registered));
        }
        all.push(registered);
    }
    if globals.json {
        table::print_json(&all)?;
    }
    let conflict = all.iter().any(|one| matches!(one.outcome, Outcome::Conflict { .. }));
    Ok(if conflict { Exit::No } else { Exit::Done })
}

/// Reads all texts before the first is sent: a fault in the last one registers none.
fn parse<'a>(sources: &'a [Source], globals: &Globals) -> anyhow::Result<Option<Vec<(Text, &'a Source)>>> {
    let read: Vec<_> = sources.iter().map(|source| (source, source.parse())).collect();
    if read.iter().any(|(_, text)| text.is_err()) {
        if globals.json {
            let checked: Vec<Value> =
                read.iter().map(|(source, text)| super::check::told(source, text)).collect();
            table::print_json(&checked)?;
            return Ok(None);
        }
        for (source, text) in &read {
            if let Err(faults) = text {
                say!("{}", faults.render(&source.name, &source.text).trim_end());
            }
        }
        say!("nothing was registered");
        return Ok(None);
    }
    Ok(Some(read.into_iter().filter_map(|(source, text)| Some((text.ok()?, source))).collect()))
}

async fn register(client: &Client, text: &Text, source: &Source) -> anyhow::Result<Registered> {
    let name = text.name.to_string();
    let put = client.register::<DefinitionView>(&name, text.version, source.text.clone()).await;
    let outcome = match put {
        Ok((StatusCode::CREATED, _)) => Outcome::New,
        Ok(_) => Outcome::Same,
        Err(error) if error.slug() == Some("definition_exists") => {
            conflict(client, &name, text.version).await?
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Registered {
        file: source.name.clone(),
        name,
        version: text.version,
        hash: text.hash.clone(),
        outcome,
    })
}

/// What stands in the way, and which version is free. Whoever registers at the same time may take that one as well.
async fn conflict(client: &Client, name: &str, version: u32) -> anyhow::Result<Outcome> {
    let theirs = registered(client, name, Some(version)).await.ok();
    let versions: Result<List<DefinitionView>, ClientError> =
        client.get(&format!("/v1/definitions/{name}"), &[]).await;
    let highest = versions.ok().and_then(|versions| versions.items.iter().map(|view| view.version).max());
    Ok(Outcome::Conflict {
        registered_hash: theirs.map(|view| view.hash),
        next_version: highest.and_then(|highest| highest.checked_add(1)),
    })
}

/// It in a sentence.
fn told(registered: &Registered) -> String {
    let Registered { file, name, version, hash, outcome } = registered;
    let hash = short(hash);
    match outcome {
        Outcome::New => format!("{name}@{version} registered (hash {hash})"),
        Outcome::Same => format!("{name}@{version} was registered already with this content (hash {hash})"),
        Outcome::Conflict { registered_hash, next_version } => {
            let theirs = registered_hash.as_ref().map(|hash| format!(" (hash {})", short(hash)));
            let next = next_version.map(|next| format!(" to {next}")).unwrap_or_default();
            format!(
                "{name}@{version} is registered with other content{}, and {file} (hash {hash}) was not registered: \
                 a version never changes, so raise \"version\"{next}; \
                 `amends definition diff {name}@{version} {file}` shows what differs",
                theirs.unwrap_or_default()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_says_what_to_do() {
        let of = |outcome| Registered {
            file: "next.yaml".to_owned(),
            name: "buy".to_owned(),
            version: 1,
            hash: "abcdef0123456789".to_owned(),
            outcome,
        };
        assert_eq!(told(&of(Outcome::New)), "buy@1 registered (hash abcdef012345)");
        assert_eq!(
            told(&of(Outcome::Same)),
            "buy@1 was registered already with this content (hash abcdef012345)"
        );
        let conflict = Outcome::Conflict { registered_hash: Some("99".to_owned()), next_version: Some(3) };
        assert_eq!(
            told(&of(conflict)),
            "buy@1 is registered with other content (hash 99), and next.yaml (hash abcdef012345) was not \
             registered: a version never changes, so raise \"version\" to 3; \
             `amends definition diff buy@1 next.yaml` shows what differs"
        );
        let unsure = Outcome::Conflict { registered_hash: None, next_version: None };
        assert!(told(&of(unsure)).contains("so raise \"version\"; `amends"));
    }
}
