//! The repair queue: read it, and one verb each.

use crate::{Client, Error, transport::Call};
use amends_wire::api::{
    AssignRequest, BulkRequest, GiveUpRequest, JobView, PreviewView, RepairFilter, RepairView,
    ResolveRequest, RetryRequest, SummaryView,
};
use futures::Stream;
use serde::Serialize;
use uuid::Uuid;

impl Client {
    /// Lists repair items, oldest first, page by page as the stream is read.
    pub fn repairs(
        &self,
        filter: &RepairFilter,
    ) -> impl Stream<Item = Result<RepairView, Error>> + Send + use<> {
        self.pages("/v1/repairs", query(filter))
    }

    /// Reads the queue in numbers.
    ///
    /// # Errors
    /// As any call.
    pub async fn repair_summary(&self) -> Result<SummaryView, Error> {
        self.transport.answer(&Call::get("/v1/repairs/summary")).await?.read()
    }

    /// Reads one repair item, with the evidence of every attempt.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn repair(&self, item: Uuid) -> Result<RepairView, Error> {
        self.transport.answer(&Call::get(format!("/v1/repairs/{item}"))).await?.read()
    }

    /// Has a stuck step tried once more, with another body where one is given.
    ///
    /// # Errors
    /// `repair_settled`, `repair_retrying`, `input_required`, `input_does_not_fit`.
    pub async fn retry_repair(&self, item: Uuid, request: &RetryRequest) -> Result<RepairView, Error> {
        self.verb(item, "retry", request).await
    }

    /// Says that a stuck step was made good by hand.
    ///
    /// # Errors
    /// `repair_settled`, `note_required`.
    pub async fn resolve_repair(&self, item: Uuid, request: &ResolveRequest) -> Result<RepairView, Error> {
        self.verb(item, "resolve", request).await
    }

    /// Leaves a stuck step as it is and goes on with the others.
    ///
    /// # Errors
    /// `repair_settled`, `note_required`.
    pub async fn skip_repair(&self, item: Uuid, request: &GiveUpRequest) -> Result<RepairView, Error> {
        self.verb(item, "skip", request).await
    }

    /// Ends the saga as it stands.
    ///
    /// # Errors
    /// `repair_settled`, `note_required`.
    pub async fn abandon_repair(&self, item: Uuid, request: &GiveUpRequest) -> Result<RepairView, Error> {
        self.verb(item, "abandon", request).await
    }

    /// Says who looks after an item.
    ///
    /// # Errors
    /// `repair_settled`.
    pub async fn assign_repair(&self, item: Uuid, request: &AssignRequest) -> Result<RepairView, Error> {
        let call = Call::post(format!("/v1/repairs/{item}/assign")).json("the request", request)?;
        self.transport.answer(&call.repeatable()).await?.read()
    }

    /// Says what a verb for many items would do.
    ///
    /// # Errors
    /// `malformed_body`, `not_retryable`.
    pub async fn preview_bulk(&self, request: &BulkRequest) -> Result<PreviewView, Error> {
        let request = BulkRequest { dry_run: true, ..request.clone() };
        let call = Call::post("/v1/repairs/bulk").json("the request", &request)?;
        self.transport.answer(&call.repeatable()).await?.read()
    }

    /// Does one thing about many items; the job goes on by itself.
    ///
    /// # Errors
    /// `filter_required`, `note_required`, `malformed_body`, `not_retryable`.
    pub async fn start_bulk(&self, request: &BulkRequest) -> Result<JobView, Error> {
        let request = BulkRequest { dry_run: false, ..request.clone() };
        let call = Call::post("/v1/repairs/bulk").json("the request", &request)?;
        self.transport.answer(&call).await?.read()
    }

    /// Reads how far a job is.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn bulk(&self, job: Uuid) -> Result<JobView, Error> {
        self.transport.answer(&Call::get(format!("/v1/repairs/bulk/{job}"))).await?.read()
    }

    /// Stops a job where it stands.
    ///
    /// # Errors
    /// A problem when it is done.
    pub async fn stop_bulk(&self, job: Uuid) -> Result<JobView, Error> {
        self.transport.answer(&Call::post(format!("/v1/repairs/bulk/{job}/stop")).repeatable()).await?.read()
    }

    /// Lets a stopped job go on.
    ///
    /// # Errors
    /// A problem when it is done.
    pub async fn resume_bulk(&self, job: Uuid) -> Result<JobView, Error> {
        self.transport
            .answer(&Call::post(format!("/v1/repairs/bulk/{job}/resume")).repeatable())
            .await?
            .read()
    }

    /// A verb is kept with its time and its reason, so it is not made twice once it was sent.
    async fn verb(&self, item: Uuid, verb: &str, body: &impl Serialize) -> Result<RepairView, Error> {
        let call = Call::post(format!("/v1/repairs/{item}/{verb}")).json("the request", body)?;
        self.transport.answer(&call).await?.read()
    }
}

/// A filter as parameters: its members, with the words they are written as.
fn query(filter: &RepairFilter) -> Vec<(&'static str, String)> {
    let mut query: Vec<(&'static str, String)> =
        filter.status.iter().map(|status| ("status", word(*status))).collect();
    let members: [(&'static str, Option<String>); 9] = [
        ("kind", filter.kind.map(word)),
        ("saga", filter.saga.map(|value| value.to_string())),
        ("definition", filter.definition.as_ref().map(ToString::to_string)),
        ("step", filter.step.as_ref().map(ToString::to_string)),
        ("participant", filter.participant.as_ref().map(ToString::to_string)),
        ("assignee", filter.assignee.clone()),
        ("reason", filter.reason.map(word)),
        ("opened_after", filter.opened_after.map(|value| value.to_string())),
        ("opened_before", filter.opened_before.map(|value| value.to_string())),
    ];
    query.extend(members.into_iter().filter_map(|(name, value)| Some((name, value?))));
    query
}

/// The word that a value of an enum is written as.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => unreachable!("an enum without data is written as a text"),
    }
}
