//! What the branches of open sagas call: operations as they are registered when the branch is.

use super::Registry;
use crate::{api::unavailable, http::Failure};
use amends_saga::{
    BranchTerms, Name,
    definition::{Operation, Target},
};
use amends_store::Store;
use amends_wire::{
    api::{BranchRequest, OperationRef},
    definition::undo_schedule,
    problem::{Problem, Slug},
    registration::OperationTerms,
};

impl Registry {
    /// The terms of a branch that calls what is registered.
    ///
    /// # Errors
    /// `unknown_operation` with every operation that is not.
    pub(crate) async fn branch(
        &self,
        store: &dyn Store,
        request: &BranchRequest,
    ) -> Result<BranchTerms, Failure> {
        if !self.unknown_operations(request).is_empty() {
            self.refresh(store).await.map_err(unavailable)?;
        }
        let unknown = self.unknown_operations(request);
        if unknown.is_empty() {
            return Ok(self.branch_terms(request));
        }
        let verb = if unknown.len() == 1 { "is" } else { "are" };
        let names = unknown.join(", ");
        let detail = format!("{names} {verb} not registered; start the participant or register it");
        Err(Problem::new(Slug::UnknownOperation, detail).with("operations", unknown).into())
    }

    /// The terms of a branch, whatever is registered by now; an operation that is not has the deployment's.
    pub(crate) fn branch_terms(&self, request: &BranchRequest) -> BranchTerms {
        let terms = |operation: &OperationRef| self.terms(operation).unwrap_or_default();
        let schedule = |terms: &OperationTerms| {
            undo_schedule(&[terms.retry.unwrap_or_default()], &self.defaults.compensation)
        };
        let undo = terms(&request.compensation);
        let confirm = request.confirm.as_ref().map(|confirm| (confirm, terms(confirm)));
        BranchTerms {
            compensation: self.operation(&request.compensation, &undo),
            undo_retry: schedule(&undo),
            retry: confirm.as_ref().map_or(self.defaults.compensation, |(_, terms)| schedule(terms)),
            confirm: confirm.map(|(confirm, terms)| self.operation(confirm, &terms)),
            input: request.with.clone(),
        }
    }

    fn unknown_operations(&self, request: &BranchRequest) -> Vec<String> {
        let all = [Some(&request.compensation), request.confirm.as_ref()].into_iter().flatten();
        all.filter(|operation| self.terms(operation).is_none()).map(ToString::to_string).collect()
    }

    fn terms(&self, operation: &OperationRef) -> Option<OperationTerms> {
        let (participant, name): (&Name, &Name) = (&operation.participant, &operation.operation);
        self.participants.terms(participant, name)
    }

    fn operation(&self, name: &OperationRef, terms: &OperationTerms) -> Operation {
        Operation {
            participant: name.participant.clone(),
            name: name.operation.clone(),
            timeout: terms.timeout.map_or(self.defaults.timeout, |span| span.0),
            status: terms.status,
            barrier: terms.barrier,
            target: Target::Participant,
        }
    }
}
