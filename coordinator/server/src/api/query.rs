//! Reading the query of an address strictly: an unknown or repeated parameter is a problem, not a surprise.

use crate::http::{Failure, problem};
use amends_saga::{Name, SagaId, Status, StepName, Timestamp};
use amends_store::{Filter, repairs::Place};
use amends_wire::{
    api::{RepairFilter, Time},
    problem::Slug,
};
use serde::de::{DeserializeOwned, value::StrDeserializer};
use std::time::Duration;
use uuid::Uuid;

/// The longest `wait`.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// Items on a page where nothing is said, and at most.
const LIMIT: (usize, usize) = (50, 500);

/// The parameters by which repair items are found, beside `status`.
pub(crate) const OF_REPAIRS: [&str; 11] = [
    "kind",
    "saga",
    "definition",
    "step",
    "participant",
    "assignee",
    "reason",
    "opened_after",
    "opened_before",
    "limit",
    "cursor",
];

/// The parameters of an address, decoded, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes a query whose parameters are all among `known`; only those in `many` may repeat.
    pub(crate) fn read(raw: Option<&str>, known: &[&str], many: &[&str]) -> Result<Query, Failure> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) && !many.contains(&name.as_ref()) {
                let shown: String = name.chars().take(40).collect();
                let known = [known, many].concat().join(", ");
                return Err(bad(format!(
                    "\"{}\" is not a parameter here; there are {known}",
                    shown.escape_debug()
                )));
            }
            if !many.contains(&name.as_ref()) && pairs.iter().any(|(other, _)| *other == name) {
                return Err(bad(format!("\"{name}\" is given twice")));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Query(pairs))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Whether a flag stands there: `?follow`, `?follow=true`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(other) => Err(bad(format!("\"{name}\" is true or false, not \"{}\"", other.escape_debug()))),
        }
    }

    /// `wait=10s`, `wait=500ms` or whole seconds; `None` when it is not there or is nothing.
    pub(crate) fn wait(&self) -> Result<Option<Duration>, Failure> {
        let Some(text) = self.get("wait") else { return Ok(None) };
        let span = text.parse::<u64>().map(Duration::from_secs).ok();
        let span = span.or_else(|| text.parse::<amends_wire::span::Span>().ok().map(|s| s.millis().into()));
        match span {
            Some(wait) if wait <= WAIT_MAX => Ok((!wait.is_zero()).then_some(wait)),
            _ => Err(bad(format!(
                "\"wait\" is a span such as 10s, at most 60s; not \"{}\"",
                text.escape_debug()
            ))),
        }
    }

    pub(crate) fn limit(&self) -> Result<usize, Failure> {
        let Some(text) = self.get("limit") else { return Ok(LIMIT.0) };
        text.parse().ok().filter(|limit| (1..=LIMIT.1).contains(limit)).ok_or_else(|| {
            bad(format!("\"limit\" is a number from 1 to {}, not \"{}\"", LIMIT.1, text.escape_debug()))
        })
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let bad = |_| bad(format!("\"{name}\" is a whole number, not \"{}\"", text.escape_debug()));
        text.parse().map(Some).map_err(bad)
    }

    pub(crate) fn cursor(&self) -> Result<Option<SagaId>, Failure> {
        let Some(text) = self.get("cursor") else { return Ok(None) };
        SagaId::try_parse(text)
            .map(Some)
            .map_err(|_| bad("\"cursor\" is what a list's \"next\" said; start again without it".to_owned()))
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse::<Time>().map(|time| Some(time.0)).map_err(|error| bad(format!("\"{name}\": {error}")))
    }

    /// A parameter that is one of the words of a type.
    fn word<T: DeserializeOwned>(&self, parameter: &str) -> Result<Option<T>, Failure> {
        self.get(parameter).map(|text| word(parameter, text)).transpose()
    }

    fn name(&self, parameter: &str) -> Result<Option<String>, Failure> {
        let Some(text) = self.get(parameter) else { return Ok(None) };
        Name::parse(text)
            .map(|name| Some(name.to_string()))
            .map_err(|error| bad(format!("\"{parameter}\": {error}")))
    }

    /// The filter of a list of sagas.
    pub(crate) fn filter(&self) -> Result<Filter, Failure> {
        let statuses = self.all("status").flat_map(|text| text.split(','));
        let statuses = statuses.map(status).collect::<Result<_, _>>()?;
        let mut filter = Filter {
            statuses,
            key: self.get("key").map(str::to_owned),
            step: self.word::<StepName>("step")?.map(|step| step.to_string()),
            participant: self.name("participant")?,
            created_after: self.time("created_after")?,
            created_before: self.time("created_before")?,
            ..Filter::default()
        };
        if let Some(text) = self.get("definition") {
            let (name, version) = text.split_once('@').map_or((text, None), |(name, v)| (name, Some(v)));
            filter.definition = Some(name.to_owned());
            filter.version = version
                .map(|v| v.parse().map_err(|_| bad("\"definition\" is name or name@version".to_owned())))
                .transpose()?;
        }
        for label in self.all("label") {
            let (name, text) = label
                .split_once(':')
                .ok_or_else(|| bad("\"label\" is name:text, as in label=order:1001".to_owned()))?;
            filter.labels.insert(name.to_owned(), text.to_owned());
        }
        Ok(filter)
    }

    /// The filter of a list of repair items.
    pub(crate) fn repairs(&self) -> Result<RepairFilter, Failure> {
        let statuses = self.all("status").flat_map(|text| text.split(','));
        let assignee = self.get("assignee").map(str::to_owned);
        let filter = RepairFilter {
            status: statuses.map(|text| word("status", text)).collect::<Result<_, _>>()?,
            kind: self.word("kind")?,
            saga: self.get("saga").map(saga).transpose()?,
            definition: self.word("definition")?,
            step: self.word("step")?,
            participant: self.word("participant")?,
            assignee,
            reason: self.word("reason")?,
            opened_after: self.time("opened_after")?.map(Time),
            opened_before: self.time("opened_before")?.map(Time),
        };
        filter.check().map_err(bad)?;
        Ok(filter)
    }

    /// Where a list of repair items goes on.
    pub(crate) fn place(&self) -> Result<Option<Place>, Failure> {
        let Some(text) = self.get("cursor") else { return Ok(None) };
        let place = text.split_once('.').and_then(|(at, item)| {
            let opened_at = Timestamp(i64::from_str_radix(at, 16).ok()?);
            Some(Place { opened_at, item: Uuid::try_parse(item).ok()? })
        });
        place.map(Some).ok_or_else(|| {
            bad("\"cursor\" is what a list's \"next\" said; start again without it".to_owned())
        })
    }

    /// A parameter that is a UUID.
    pub(crate) fn id(&self, parameter: &str) -> Result<Option<Uuid>, Failure> {
        let Some(text) = self.get(parameter) else { return Ok(None) };
        let bad = |_| bad(format!("\"{parameter}\" is a UUID, not \"{}\"", text.escape_debug()));
        Uuid::try_parse(text).map(Some).map_err(bad)
    }
}

/// What a list says as `next`, to be sent as `cursor`.
pub(crate) fn cursor(place: Place) -> String {
    format!("{:x}.{}", place.opened_at.0, place.item.simple())
}

/// Reads one of the words of a type; the type's own complaint lists them.
fn word<T: DeserializeOwned>(parameter: &str, text: &str) -> Result<T, Failure> {
    let read = T::deserialize(StrDeserializer::<serde::de::value::Error>::new(text));
    read.map_err(|error| {
        let what: String = error.to_string().chars().take(200).collect();
        bad(format!("\"{parameter}\": {}", what.escape_debug()))
    })
}

fn saga(text: &str) -> Result<SagaId, Failure> {
    SagaId::try_parse(text)
        .map_err(|_| bad(format!("\"saga\" is a saga's id, not \"{}\"", text.escape_debug())))
}

fn status(text: &str) -> Result<Status, Failure> {
    Ok(match text {
        "running" => Status::Running,
        "compensating" => Status::Compensating,
        "repair" => Status::Repair,
        "completed" => Status::Completed,
        "compensated" => Status::Compensated,
        "abandoned" => Status::Abandoned,
        other => {
            let known = "running, compensating, repair, completed, compensated, abandoned";
            return Err(bad(format!("\"{}\" is not a status; there are {known}", other.escape_debug())));
        }
    })
}

fn bad(detail: String) -> Failure {
    problem(Slug::BadQuery, detail)
}

#[cfg(test)]
mod tests;
