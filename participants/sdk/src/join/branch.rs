//! A branch of an open saga, and what the coordinator says to its registration.

use crate::{Call, Caller, Reply, outgoing::Answer};
use amends_wire::participant::CallOp;
use serde_json::{Value, json};
use uuid::Uuid;

/// The problem of a name that another branch has.
const NAME_TAKEN: &str = "branch_conflict";
/// The problem of a saga that runs a definition, and takes no branches.
const NOT_OPEN: &str = "not_open";
/// The problems of a saga that takes no branch any more.
const LATE: [&str; 2] = ["saga_decided", "saga_ended"];

/// What is done for an open saga under a name of its own: how it is undone, how it is made final.
///
/// The name is the step's name for the barrier, so it stands once in a saga: the same name with another body is
/// refused. Where the same service may be asked several times for one saga, make it of what tells them apart, such as
/// `seat-12a`.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    name: String,
    compensation: String,
    confirm: Option<String>,
    operation: Option<String>,
    with: Value,
}

/// A branch is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// For the first time.
    New,
    /// It was registered before, with the same body.
    Again,
}

/// Why a branch is not registered; its work must not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The saga is decided: committed, rolled back, or its time is up.
    #[error("the saga takes no more branches: {said}")]
    Late {
        /// What the coordinator said.
        said: String,
        /// Whether the branch was registered while the saga still took some. What was done for it then has its answer at
        /// the barrier.
        registered: bool,
    },
    /// The saga has another branch of this name.
    #[error("the saga has another branch of this name: {0}")]
    NameTaken(String),
    /// There is no open saga of this id here.
    #[error("there is no such open saga: {0}")]
    NoSuchSaga(String),
    /// The coordinator does not take the branch as it is: an unknown operation, a name that is none, a missing token.
    #[error("the coordinator refused the branch with {status}: {said}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        said: String,
    },
    /// The coordinator gave no definite answer. The branch may be registered, which does no harm.
    #[error("the coordinator could not be asked: {0}")]
    Unavailable(String),
}

impl Branch {
    /// A branch that `compensation`, such as `inventory.release`, undoes; its body is `{}`.
    pub fn of(name: impl Into<String>, compensation: impl Into<String>) -> Branch {
        Branch {
            name: name.into(),
            compensation: compensation.into(),
            confirm: None,
            operation: None,
            with: json!({}),
        }
    }

    /// Names the operation that makes it final when the saga is committed, such as `inventory.confirm`.
    #[must_use]
    pub fn confirm(mut self, operation: impl Into<String>) -> Branch {
        self.confirm = Some(operation.into());
        self
    }

    /// The body of its work, its compensation and its confirm.
    #[must_use]
    pub fn with(mut self, body: Value) -> Branch {
        self.with = body;
        self
    }

    /// Names the operation that its work is, for a body that serves several; the branch's own name where nothing is said.
    #[must_use]
    pub fn operation(mut self, name: impl Into<String>) -> Branch {
        self.operation = Some(name.into());
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The body of its registration.
    pub(super) fn registration(&self) -> Value {
        let mut body = json!({ "name": self.name, "compensation": self.compensation, "with": self.with });
        if let Some(confirm) = &self.confirm {
            body["confirm"] = json!(confirm);
        }
        body
    }

    /// The call that its work is: the action of the step of its name.
    pub(crate) fn call(&self, saga: Uuid) -> Call {
        let (step, op) = (self.name.clone(), CallOp::Action);
        let key = format!("{saga}/{step}/{op}");
        let caller =
            Caller { saga, step, op, status_of: op, attempt: 1, round: 0, epoch: 0, key, callback: None };
        let operation = self.operation.clone().unwrap_or_else(|| self.name.clone());
        Call::new(caller, operation, self.with.clone())
    }
}

/// Reads what the coordinator says to a registration.
pub(super) fn read(answer: &Answer) -> Result<Registered, JoinError> {
    match (answer.status, answer.slug()) {
        (201, _) => Ok(Registered::New),
        (200, _) => Ok(Registered::Again),
        (409, slug) if LATE.contains(&slug) => {
            Err(JoinError::Late { said: answer.said(), registered: answer.body["registered"] == true })
        }
        (409, slug) if slug == NAME_TAKEN => Err(JoinError::NameTaken(answer.said())),
        (409, slug) if slug == NOT_OPEN => Err(JoinError::NoSuchSaga(answer.said())),
        (404, _) => Err(JoinError::NoSuchSaga(answer.said())),
        (status, _) => Err(JoinError::Refused { status, said: answer.said() }),
    }
}

impl JoinError {
    /// How a service that was asked for the work answers its own caller: 409 when it is definite that the work is not
    /// done for this saga, 503 when asking again may help, 502 when something is set up wrongly.
    pub fn reply(&self) -> Reply {
        let said = self.to_string();
        match self {
            JoinError::Late { .. } => Reply::refused(said, json!({ "late": true })),
            JoinError::NameTaken(_) | JoinError::NoSuchSaga(_) => Reply::refused(said, json!({})),
            JoinError::Refused { .. } => {
                Reply { status: 502, body: json!({ "message": said }), retry_after: None }
            }
            JoinError::Unavailable(_) => Reply::unavailable(said, Some(1)),
        }
    }
}
