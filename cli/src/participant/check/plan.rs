//! What is to be checked: the operations, their terms and their bodies, from flags and from a registration.

use crate::{client::Client, settings::BaseUrl};
use amends_wire::{api::ParticipantView, registration::OperationTerms};
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::{io::Read, str::FromStr, time::Duration};
use uuid::Uuid;

/// The longest body that is read from a file, in bytes.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// What stands for the saga's id in a body.
const SAGA_ID: &str = "saga.id";

/// A value for one operation, or for all of them: `[OPERATION=]VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct For {
    operation: Option<String>,
    value: String,
}

/// One operation and everything that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Subject {
    pub(super) name: String,
    /// A body that is done; without one only what needs none is checked.
    pub(super) body: Option<Value>,
    /// A body that is refused with 409.
    pub(super) refused: Option<Value>,
    pub(super) compensation: Option<String>,
    /// The compensation's body, where it is not the action's.
    pub(super) compensation_body: Option<Value>,
    pub(super) confirm: Option<String>,
    pub(super) status: bool,
    /// Whether the compensation answers status questions.
    pub(super) compensation_status: bool,
    pub(super) batch: Option<u32>,
    pub(super) compensation_batch: Option<u32>,
    pub(super) barrier: bool,
    pub(super) timeout: Option<Duration>,
}

/// What the flags say of operations.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) operations: Vec<String>,
    pub(super) bodies: Vec<For>,
    pub(super) refused: Vec<For>,
    pub(super) compensations: Vec<For>,
    pub(super) compensation_bodies: Vec<For>,
    pub(super) confirms: Vec<For>,
    pub(super) status: bool,
    pub(super) batch: Option<u32>,
}

impl FromStr for For {
    type Err = std::convert::Infallible;

    /// `name=value` where what stands before the first `=` is a name, otherwise a value for all.
    fn from_str(text: &str) -> Result<For, Self::Err> {
        let is_name = |name: &&str| {
            let mut bytes = name.bytes();
            bytes.next().is_some_and(|first| first.is_ascii_lowercase())
                && bytes
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
        };
        let named = text.split_once('=').filter(|(name, _)| is_name(name));
        Ok(match named {
            Some((name, value)) => For { operation: Some(name.to_owned()), value: value.to_owned() },
            None => For { operation: None, value: text.to_owned() },
        })
    }
}

/// What is said for an operation: for it by name, or for all.
fn said<'a>(all: &'a [For], operation: &str) -> Option<&'a str> {
    let named = all.iter().find(|one| one.operation.as_deref() == Some(operation));
    named.or_else(|| all.iter().find(|one| one.operation.is_none())).map(|one| one.value.as_str())
}

/// A body as a flag gives it: JSON, or `@FILE` with JSON in it, `@-` for standard input.
fn body(text: &str) -> anyhow::Result<Value> {
    let Some(path) = text.strip_prefix('@') else {
        return serde_json::from_str(text).with_context(|| format!("the body {text} is not JSON"));
    };
    let mut read = String::new();
    let from: Box<dyn Read> = match path {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(std::fs::File::open(path).with_context(|| format!("{path} cannot be read"))?),
    };
    from.take(BODY_BYTES_MAX + 1)
        .read_to_string(&mut read)
        .with_context(|| format!("{path} cannot be read"))?;
    ensure!(read.len() as u64 <= BODY_BYTES_MAX, "{path} is longer than {BODY_BYTES_MAX} bytes");
    serde_json::from_str(&read).with_context(|| format!("{path} is not JSON"))
}

/// A body for a saga: `${{ saga.id }}` in its texts is the saga's id.
pub(super) fn rendered(body: &Value, saga: Uuid) -> Value {
    match body {
        Value::String(text) => Value::String(rendered_text(text, saga)),
        Value::Array(list) => list.iter().map(|one| rendered(one, saga)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), rendered(value, saga))).collect()
        }
        scalar => scalar.clone(),
    }
}

fn rendered_text(text: &str, saga: Uuid) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        match after.split_once("}}") {
            Some((inside, after)) if inside.trim() == SAGA_ID => {
                whole.push_str(before);
                whole.push_str(&saga.to_string());
                rest = after;
            }
            _ => {
                whole.push_str(before);
                whole.push_str("${{");
                rest = after;
            }
        }
    }
    whole.push_str(rest);
    whole
}

impl Given {
    /// The operations as the flags alone describe them.
    ///
    /// # Errors
    /// When no operation is named, or a body cannot be read.
    pub(super) fn subjects(&self) -> anyhow::Result<Vec<Subject>> {
        if self.operations.is_empty() {
            bail!("say what to call with --operation, or check what is registered with --name");
        }
        let terms = OperationTerms {
            status: self.status,
            batch: self.batch.map(|max| amends_wire::registration::Batching { max }),
            ..OperationTerms::default()
        };
        self.operations.iter().map(|name| self.subject(name, &terms, |_| Some(terms.clone()))).collect()
    }

    /// The operations as they are registered: those that are named, or all of them.
    ///
    /// # Errors
    /// When one that is named is not registered, or a body cannot be read.
    pub(super) fn registered(&self, view: &ParticipantView) -> anyhow::Result<Vec<Subject>> {
        let find = |name: &str| -> Option<OperationTerms> {
            let (_, terms) = view.operations.iter().find(|(known, _)| known.as_str() == name)?;
            serde_json::from_value(terms.clone()).ok()
        };
        let names: Vec<String> = match self.operations.is_empty() {
            true => view.operations.keys().map(ToString::to_string).collect(),
            false => self.operations.clone(),
        };
        let subject = |name: &String| {
            let terms = find(name).with_context(|| {
                let known: Vec<&str> = view.operations.keys().map(|known| known.as_str()).collect();
                format!("\"{}\" has no operation \"{name}\"; there are {}", view.name, known.join(", "))
            })?;
            self.subject(name, &terms, find)
        };
        names.iter().map(subject).collect()
    }

    fn subject(
        &self,
        name: &str,
        terms: &OperationTerms,
        find: impl Fn(&str) -> Option<OperationTerms>,
    ) -> anyhow::Result<Subject> {
        let read = |all: &[For]| said(all, name).map(body).transpose();
        let compensation = said(&self.compensations, name).map(str::to_owned);
        let compensation = compensation.or_else(|| terms.compensation.as_ref().map(ToString::to_string));
        let undoing = compensation.as_deref().and_then(find);
        let timeout = terms.timeout.map(|span| Duration::from_millis(span.millis().0));
        Ok(Subject {
            name: name.to_owned(),
            body: read(&self.bodies)?,
            refused: read(&self.refused)?,
            compensation_body: read(&self.compensation_bodies)?,
            confirm: said(&self.confirms, name)
                .map(str::to_owned)
                .or_else(|| terms.confirm.as_ref().map(ToString::to_string)),
            status: terms.status,
            compensation_status: undoing.as_ref().is_some_and(|terms| terms.status),
            batch: terms.batch.map(|batch| batch.max),
            compensation_batch: undoing.and_then(|terms| terms.batch).map(|batch| batch.max),
            barrier: terms.barrier,
            timeout,
            compensation,
        })
    }
}

/// A participant as it is registered, and where it answers: at an instance that is not known to be ill.
///
/// # Errors
/// When it is not registered, has no instance, or the coordinator does not answer.
pub(super) async fn look_up(client: &Client, name: &str) -> anyhow::Result<(ParticipantView, BaseUrl)> {
    let view: ParticipantView = client.get(&format!("/v1/participants/{name}"), &[]).await?;
    let mut instances: Vec<_> = view.instances.iter().collect();
    instances.sort_by_key(|instance| instance.healthy == Some(false));
    let instance = instances.first().with_context(|| format!("\"{name}\" has no instance"))?;
    let url: Result<BaseUrl, String> = instance.url.parse();
    let url = url.map_err(|why| anyhow::anyhow!("\"{name}\" is registered at {}: {why}", instance.url))?;
    Ok((view, url))
}

#[cfg(test)]
mod tests;
