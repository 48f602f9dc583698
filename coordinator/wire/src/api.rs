//! The bodies of the HTTP API under `/v1`: what callers send and what they get back.
//!
//! Requests are read by [`body::read`] and [`StartRequest::read`], which answer anything that does not
//! fit with a [`crate::problem::Problem`]; views are made from the core's values and hold no state of
//! their own. Every time is RFC 3339 in UTC with milliseconds, every id a hyphenated UUID, every list
//! `{"items": […], "next": cursor or null}`.

pub mod body;
pub mod bulk;
pub mod catalogue;
pub mod journal;
pub mod open;
pub mod operator;
pub mod repair;
pub mod saga;
pub mod start;
pub mod time;
pub mod verbs;

pub use bulk::{
    AgeView, BulkRequest, JobError, JobStatus, JobView, MatchedView, PileView, PreviewView, RepairFilter,
    SummaryView,
};
pub use catalogue::{BreakerState, BreakerView, DefinitionView, InstanceView, ParticipantView};
pub use journal::{JournalItem, List};
pub use open::{BranchRequest, OpenRequest, OperationRef, RenewRequest};
pub use operator::{AssignRequest, GiveUpRequest, RepairAction, ResolveRequest, RetryRequest};
pub use repair::{FindingView, NoteView, RepairError, RepairKind, RepairReason, RepairView, SettledView};

pub use amends_saga::RepairStatus;
pub use saga::{
    AwaitView, ErrorView, LastError, OpStatus, OpView, ParentView, SagaView, StepKind, StepStatus, StepView,
};
pub use start::{DefinitionRef, StartRequest};
pub use time::Time;
pub use verbs::{AnswerRequest, AnswerView, CancelRequest, RevertRequest, RollbackRequest, SignalRequest};
