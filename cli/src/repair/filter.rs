//! Which items are meant: the same flags for lists, bulk and the live view.

use serde_json::{Map, Value};

/// Which items. Every flag narrows.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Filter {
    /// With this status: open, assigned, retrying, settled; may stand several times
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// Of this saga
    #[arg(long, value_name = "ID")]
    saga: Option<String>,
    /// Of sagas of this definition
    #[arg(long, value_name = "NAME")]
    definition: Option<String>,
    /// At this step
    #[arg(long)]
    step: Option<String>,
    /// At this participant
    #[arg(long)]
    participant: Option<String>,
    /// Looked after by this person
    #[arg(long, value_name = "NAME")]
    assignee: Option<String>,
    /// For this reason: exhausted, refused, contract, anomaly
    #[arg(long)]
    reason: Option<String>,
    /// Opened at this time or later, as 2026-11-20T18:00:00Z
    #[arg(long, value_name = "TIME")]
    opened_after: Option<String>,
    /// Opened before this time
    #[arg(long, value_name = "TIME")]
    opened_before: Option<String>,
}

impl Filter {
    /// As parameters of a list.
    pub(super) fn query(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let mut query: Vec<(&'static str, String)> = Vec::new();
        query.extend(self.status.iter().map(|status| ("status", status.clone())));
        query.extend(self.single().into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        Ok(query)
    }

    /// As the member `filter` of a bulk request.
    pub(super) fn body(&self) -> Value {
        let mut body = Map::new();
        if !self.status.is_empty() {
            body.insert("status".to_owned(), self.status.clone().into());
        }
        for (name, value) in self.single() {
            body.extend(value.clone().map(|value| (name.to_owned(), value.into())));
        }
        Value::Object(body)
    }

    /// Whether every open item is meant.
    pub(super) fn is_empty(&self) -> bool {
        self.status.is_empty() && self.single().iter().all(|(_, value)| value.is_none())
    }

    fn single(&self) -> [(&'static str, &Option<String>); 8] {
        [
            ("saga", &self.saga),
            ("definition", &self.definition),
            ("step", &self.step),
            ("participant", &self.participant),
            ("assignee", &self.assignee),
            ("reason", &self.reason),
            ("opened_after", &self.opened_after),
            ("opened_before", &self.opened_before),
        ]
    }
}
