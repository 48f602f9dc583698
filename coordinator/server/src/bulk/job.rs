//! A job as the store keeps it.

use crate::{api::App, clock::now};
use amends_saga::{
    Timestamp,
    repair::{Audit, Verb},
};
use amends_store::{
    Error,
    repairs::{ItemFilter, JobRow, Place},
};
use amends_wire::api::{BulkRequest, JobStatus, JobView, RepairAction, bulk::PER_SECOND};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A job with what is not shown of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// What is shown.
    #[serde(flatten)]
    pub(crate) view: JobView,
    /// The address its request came from.
    from: Option<String>,
    /// The last item all of whose elders have had their turn.
    cursor: Option<(Timestamp, Uuid)>,
    /// Items beyond the cursor that have had their turn too.
    ahead: Vec<Uuid>,
    /// Who works on it.
    pub(crate) worker: Option<Uuid>,
    /// The version of the row.
    #[serde(skip)]
    pub(crate) version: u64,
}

impl Job {
    /// Makes a job of a request that has been checked.
    pub(crate) fn new(request: BulkRequest, audit: Audit, total: u64, at: Timestamp, worker: Uuid) -> Job {
        let view = JobView {
            id: Uuid::now_v7(),
            action: request.action,
            filter: request.filter,
            note: audit.note,
            assignee: request.assignee,
            status: JobStatus::Running,
            total,
            done: 0,
            failed: 0,
            skipped: 0,
            per_second: request.per_second.unwrap_or(PER_SECOND),
            errors: Vec::new(),
            by: audit.by,
            created_at: at.into(),
            updated_at: at.into(),
            ended_at: None,
        };
        Job { view, from: audit.from, cursor: None, ahead: Vec::new(), worker: Some(worker), version: 0 }
    }

    /// Reads a row.
    pub(crate) fn read(row: &JobRow) -> Result<Job, Error> {
        let mut job: Job = serde_json::from_str(&row.text)
            .map_err(|error| Error::Corrupt(format!("bulk job {}: {error}", row.id)))?;
        job.version = row.version;
        job.view.updated_at = row.updated_at.into();
        Ok(job)
    }

    /// Writes it where nobody has changed it since it was read; says whether it did.
    pub(crate) async fn save(&mut self, app: &App) -> Result<bool, Error> {
        let text = serde_json::to_string(self)
            .map_err(|error| Error::Corrupt(format!("bulk job {}: {error}", self.view.id)))?;
        let (is_running, version) = (self.view.status == JobStatus::Running, self.version + 1);
        let row = JobRow { id: self.view.id, text, is_running, version, updated_at: now() };
        let done = app.store.put_job(&app.bulk.owner, &row).await?;
        if done {
            (self.version, self.view.updated_at) = (version, row.updated_at.into());
        }
        Ok(done)
    }

    /// The items it is about: its filter's, opened before it was made, of a kind its verb can be given to.
    pub(crate) fn items(&self) -> ItemFilter {
        items(&self.view.filter, self.view.action, self.view.created_at.0)
    }

    /// Where its walk goes on.
    pub(super) fn place(&self) -> Option<Place> {
        self.cursor.map(|(opened_at, item)| Place { opened_at, item })
    }

    /// Moves on to where all items up to `place` have had their turn.
    pub(super) fn move_to(&mut self, place: Place) {
        self.cursor = Some((place.opened_at, place.item));
        self.ahead.clear();
    }

    /// Notes an item beyond the cursor.
    pub(super) fn went_ahead(&mut self, item: Uuid) {
        self.ahead.push(item);
    }

    pub(super) fn has_had_its_turn(&self, item: Uuid) -> bool {
        self.ahead.contains(&item)
    }

    /// Its verb.
    pub(super) fn verb(&self) -> Verb {
        match self.view.action {
            RepairAction::Retry => Verb::Retry { input: None },
            RepairAction::Resolve => Verb::Resolve { output: None },
            RepairAction::Skip => Verb::Skip,
            RepairAction::Abandon => Verb::Abandon,
            RepairAction::Assign => Verb::Assign { assignee: self.view.assignee.clone().unwrap_or_default() },
        }
    }

    /// Who asks for it, why and from where.
    pub(super) fn audit(&self) -> Audit {
        Audit { by: self.view.by.clone(), note: self.view.note.clone(), from: self.from.clone() }
    }
}

/// The items that fit, opened before `before`, of a kind the verb can be given to.
pub(crate) fn items(
    filter: &amends_wire::api::RepairFilter,
    action: RepairAction,
    before: Timestamp,
) -> ItemFilter {
    let mut items = crate::api::repairs::to_store(filter);
    items.opened_before = Some(items.opened_before.map_or(before, |given| given.min(before)));
    if !action.suits_anomalies() && items.anomalies.is_none() {
        items.anomalies = Some(false);
    }
    items
}
