//! Serving an operation within an open saga: the branch is registered, then the operation is its work.
//!
//! Whoever takes part in an open saga asks for a guarded operation with `Saga-Id` and `Saga-Branch` in place of the
//! coordinator's headers. The branch gets the compensation and the confirm that the operation names, and the request's
//! body. So a cart is tried, confirmed or cancelled without a line of code for it, in whatever language the caller is
//! written.

use super::{Serves, serving::App};
use crate::{Branch, Reply, caller, join};
use amends_wire::{
    participant::{SAGA_BRANCH, SAGA_ID, SAGA_OP},
    problem::{Problem, Slug},
    registration::OperationTerms,
};
use http::HeaderMap;
use serde_json::Value;

/// Whether a request asks for an operation within an open saga.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    headers.contains_key(&SAGA_BRANCH) && !headers.contains_key(&SAGA_OP)
}

impl App {
    /// Registers the branch and carries out its work.
    pub(super) async fn join(
        &self,
        (operation, terms, serves): (&str, &OperationTerms, &Serves),
        headers: &HeaderMap,
        body: Value,
    ) -> Result<Reply, Problem> {
        let cannot = |why: &str| Problem::new(Slug::NotFound, why);
        let Serves::Guarded(work, writer) = serves else {
            return Err(cannot("this operation is behind no barrier, and so is no work for an open saga"));
        };
        let Some(compensation) = &terms.compensation else {
            return Err(cannot("this operation names no compensation, and so is no work for an open saga"));
        };
        let Some(sagas) = &self.joins else {
            return Err(cannot("this participant knows no coordinator to register the branch with"));
        };
        let saga = join::identity(headers)?.ok_or_else(|| {
            Problem::new(Slug::BadHeader, format!("the header {SAGA_ID} is missing beside {SAGA_BRANCH}"))
        })?;
        let reference = |name: &dyn std::fmt::Display| format!("{}.{name}", self.name);
        let mut branch = Branch::of(caller::text(headers, &SAGA_BRANCH)?, reference(compensation))
            .operation(operation)
            .with(body);
        if let Some(confirm) = &terms.confirm {
            branch = branch.confirm(reference(confirm));
        }
        let joined = sagas.saga(saga).work(writer, &branch, work.clone()).await;
        Ok(joined.unwrap_or_else(|error| error.reply()))
    }
}
