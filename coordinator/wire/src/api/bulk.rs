//! One verb for many repair items, and the queue in numbers.

use super::{
    RepairAction, RepairKind, RepairReason, RepairView, Time,
    operator::{self, PERSON_BYTES_MAX},
};
use crate::problem::{Problem, Slug};
use amends_saga::{Name, RepairStatus, SagaId, StepName};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;
use uuid::Uuid;

/// Items a second where nothing is said.
pub const PER_SECOND: u32 = 500;
/// Items a second, at most.
pub const PER_SECOND_MAX: u32 = 5000;
/// The errors kept with a job.
pub const JOB_ERRORS_MAX: usize = 20;

/// Which items are meant: the parameters of `GET /v1/repairs`, here as members of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RepairFilter {
    /// With one of these statuses, a text or a list of them; those that are not settled where there is none.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<RepairStatus>,
    /// Stuck steps only, or anomalies only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<RepairKind>,
    /// Of this saga.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saga: Option<SagaId>,
    /// Of sagas of this definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<Name>,
    /// At this step; the name of a step that is done for a list means each of its items as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// At this participant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant: Option<Name>,
    /// Looked after by this person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// Parked for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<RepairReason>,
    /// Opened at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_after: Option<Time>,
    /// Opened before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_before: Option<Time>,
}

/// `POST /v1/repairs/bulk`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// What is to be done about each.
    pub action: RepairAction,
    /// Which items are meant.
    #[serde(deserialize_with = "object")]
    pub filter: RepairFilter,
    /// Confirms that every unsettled item is meant, where the filter says nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Why; required for resolve, skip and abandon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who looks after them, for assign and for nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// Who asks, where no token says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Only says what would be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Items a second, from 1 to [`PER_SECOND_MAX`]; [`PER_SECOND`] where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u32>,
}

/// One verb for many items, on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id, a UUID v7.
    pub id: Uuid,
    /// What is done about each item.
    pub action: RepairAction,
    /// Which items are meant: of these, the ones that were opened before the job was made.
    pub filter: RepairFilter,
    /// Why.
    pub note: Option<String>,
    /// Who looks after them from now on.
    pub assignee: Option<String>,
    /// Whether it is being worked on.
    pub status: JobStatus,
    /// How many items were meant when it was made.
    pub total: u64,
    /// Items to which it was done.
    pub done: u64,
    /// Items of which it was refused, or could not be done.
    pub failed: u64,
    /// Items that somebody else settled, or had tried again, before it was their turn.
    pub skipped: u64,
    /// Items a second, at most.
    pub per_second: u32,
    /// The first items that failed, at most [`JOB_ERRORS_MAX`].
    pub errors: Vec<JobError>,
    /// Who asked for it.
    pub by: String,
    /// When it was made.
    pub created_at: Time,
    /// When its progress was last written.
    pub updated_at: Time,
    /// When it was done.
    pub ended_at: Option<Time>,
}

/// Whether a job is being worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It is, or will be as soon as a coordinator has its hands free.
    Running,
    /// Somebody has stopped it; it can be resumed where it stands.
    Stopped,
    /// Every item has had its turn.
    Done,
}

/// An item of which a job could make nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// The item.
    pub item: Uuid,
    /// The kind of problem.
    pub slug: String,
    /// The problem, in a sentence.
    pub detail: String,
}

/// What a dry run says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreviewView {
    /// What would be done about each item.
    pub action: RepairAction,
    /// How many items are meant.
    pub matched: u64,
    /// The oldest of them, at most 20.
    pub sample: Vec<RepairView>,
    /// All of them, counted; the largest first.
    pub by: Vec<MatchedView>,
}

/// How many of the items meant are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchedView {
    /// The participant.
    pub participant: String,
    /// The definition; null where no saga is known.
    pub definition: Option<String>,
    /// The step; null for an anomaly that belongs to none.
    pub step: Option<String>,
    /// Why they are here.
    pub reason: RepairReason,
    /// How many.
    pub items: u64,
}

/// `GET /v1/repairs/summary`: the queue in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryView {
    /// Items nobody looks after.
    pub open: u64,
    /// Items somebody looks after.
    pub assigned: u64,
    /// Items being tried again.
    pub retrying: u64,
    /// Since when the oldest of them has been there; null when there is none.
    pub oldest_opened_at: Option<Time>,
    /// By participant, definition and step; the largest first.
    pub by: Vec<PileView>,
    /// By age, the youngest first.
    pub ages: Vec<AgeView>,
}

/// The items at one step of one participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PileView {
    /// What they stand for.
    pub kind: RepairKind,
    /// The participant.
    pub participant: String,
    /// The definition; null where no saga is known.
    pub definition: Option<String>,
    /// The step; for an anomaly the finding's name.
    pub step: String,
    /// How many.
    pub items: u64,
    /// Since when the oldest of them has been there.
    pub oldest_opened_at: Time,
}

/// The items of one range of ages, none of which is in a range before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgeView {
    /// Younger than this many seconds; null for all that are older than the ranges before.
    pub under_s: Option<u64>,
    /// How many.
    pub items: u64,
}

impl RepairFilter {
    /// Whether it says nothing, so that every unsettled item is meant.
    pub fn is_empty(&self) -> bool {
        *self == RepairFilter::default()
    }

    /// Whether anomalies alone are meant.
    pub fn is_of_anomalies(&self) -> bool {
        self.kind == Some(RepairKind::Anomaly) || self.reason == Some(RepairReason::Anomaly)
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// A sentence that names the members and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let is_anomaly = |reason: RepairReason| reason == RepairReason::Anomaly;
        match (self.kind, self.reason) {
            (Some(RepairKind::Step), Some(reason)) if is_anomaly(reason) => {
                return Err("\"kind\" is step and \"reason\" anomaly: no item is both".to_owned());
            }
            (Some(RepairKind::Anomaly), Some(reason)) if !is_anomaly(reason) => {
                return Err(
                    "\"kind\" is anomaly, and \"reason\" is one of a stuck step: no item is both".to_owned()
                );
            }
            _ => {}
        }
        match &self.assignee {
            Some(assignee) if assignee.len() > PERSON_BYTES_MAX => {
                let bytes = assignee.len();
                Err(format!("\"assignee\" has {bytes} bytes; a name has at most {PERSON_BYTES_MAX}"))
            }
            _ => Ok(()),
        }
    }
}

impl BulkRequest {
    /// Checks what the types cannot say, and trims what people write.
    ///
    /// # Errors
    /// `malformed_body`, `note_required` or `filter_required`.
    pub fn checked(mut self) -> Result<BulkRequest, Problem> {
        let bad = |detail: String| Problem::new(Slug::MalformedBody, detail);
        self.filter.check().map_err(|what| bad(format!("\"filter\": {what}")))?;
        if self.filter.status.contains(&RepairStatus::Settled) {
            return Err(bad(
                "\"filter.status\" names settled items, about which nothing can be done".to_owned()
            ));
        }
        if self.filter.is_of_anomalies() && !self.action.suits_anomalies() {
            let detail = format!("{} needs a call that can be sent again; an anomaly has none", self.action);
            return Err(Problem::new(Slug::NotRetryable, detail));
        }
        if self.per_second.is_some_and(|rate| !(1..=PER_SECOND_MAX).contains(&rate)) {
            return Err(bad(format!("\"per_second\" is from 1 to {PER_SECOND_MAX}")));
        }
        self.assignee = match (self.action, self.assignee.take()) {
            (RepairAction::Assign, Some(assignee)) => Some(operator::person(assignee, "assignee")?),
            (RepairAction::Assign, None) => {
                return Err(bad("\"assignee\" is missing: say who looks after the items".to_owned()));
            }
            (_, Some(_)) => return Err(bad("\"assignee\" belongs to the action assign alone".to_owned())),
            (_, None) => None,
        };
        self.note = match self.action.needs_note() && !self.dry_run {
            true => Some(operator::required_note(self.note.take(), self.action)?),
            false => operator::note(self.note.take())?,
        };
        if self.filter.is_empty() && !self.all && !self.dry_run {
            let detail = "the filter is empty, which means every item that is not settled; narrow it, or confirm \
                          with \"all\": true";
            return Err(Problem::new(Slug::FilterRequired, detail));
        }
        Ok(self)
    }
}

/// Reads a filter from an object and nothing else: an array would be taken for its members in order.
fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RepairFilter, D::Error> {
    struct Object;
    impl<'de> de::Visitor<'de> for Object {
        type Value = RepairFilter;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object, such as {\"participant\": \"inventory\"}")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RepairFilter, A::Error> {
            RepairFilter::deserialize(de::value::MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_any(Object)
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RepairStatus>, D::Error> {
    struct OneOrMany;
    impl<'de> de::Visitor<'de> for OneOrMany {
        type Value = Vec<RepairStatus>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a status, or a list of them")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            RepairStatus::deserialize(de::value::StrDeserializer::new(text)).map(|status| vec![status])
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut statuses = Vec::new();
            while let Some(status) = list.next_element()? {
                if !statuses.contains(&status) {
                    statuses.push(status);
                }
            }
            Ok(statuses)
        }
    }
    deserializer.deserialize_any(OneOrMany)
}

#[cfg(test)]
mod tests;
