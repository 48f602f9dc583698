//! The three standard faults: every call repeated, every step failing, every undo repeated.
//!
//! Which steps there are is learnt from a run without faults: which were needed, which items lists had, which sagas were
//! run, and what was called within these. Of a list the first and the last item are made to fail. What comes of it is
//! known before: a step before the pivot turns its saga round; one past it stands in repair; a saga that is undone
//! refuses the step that runs it, and so on upwards.

use super::{
    Rehearsal, RehearsalError, Report,
    laws::{Ending, Expected},
    parts::{Parts, path, within},
    plan::Plan,
    run::Performed,
};
use amends_saga::{
    Status, StepIx,
    definition::{Kind, Undo},
};
use amends_wire::api::{StepStatus, StepView};
use std::collections::BTreeSet;

/// A step that can fail.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    path: String,
    is_call: bool,
    /// What comes of it when it is refused.
    refused: Expected,
    /// What comes of it when nobody knows whether it took effect.
    unknown: Expected,
}

impl Rehearsal {
    /// Runs one saga with every call arriving twice, which must change nothing.
    ///
    /// # Errors
    /// As [`Rehearsal::run`].
    pub async fn every_call_repeated(&self) -> Result<Report, RehearsalError> {
        let expected = Expected { status: Status::Completed, at: None };
        Ok(self.perform(Plan::EveryCallRepeated, Some(expected), 1).await?.report)
    }

    /// Runs a saga for each step and way in which it can fail: an action is refused; an action takes effect and no
    /// answer to it arrives; a saga is cancelled while it waits. Each must leave nothing behind, or past the pivot one
    /// repair item.
    ///
    /// # Errors
    /// As [`Rehearsal::run`].
    pub async fn every_step_failing(&self) -> Result<Report, RehearsalError> {
        let (first, targets) = self.targets().await?;
        let mut reports = vec![first];
        reports.extend(self.failing(&targets).await?);
        Ok(Report::together("every step failing", reports))
    }

    /// Runs a saga for each step that is refused while every undo arrives twice, which must change nothing.
    ///
    /// # Errors
    /// As [`Rehearsal::run`].
    pub async fn every_undo_repeated(&self) -> Result<Report, RehearsalError> {
        let (first, targets) = self.targets().await?;
        let mut reports = vec![first];
        reports.extend(self.undone_twice(&targets).await?);
        Ok(Report::together("every undo repeated", reports))
    }

    /// Runs the three standard faults, one after the other: every call repeated, every step failing, every undo
    /// repeated.
    ///
    /// # Errors
    /// As [`Rehearsal::run`].
    pub async fn standard(&self) -> Result<Report, RehearsalError> {
        let (first, targets) = self.targets().await?;
        let mut reports = vec![first, self.every_call_repeated().await?];
        reports.extend(self.failing(&targets).await?);
        reports.extend(self.undone_twice(&targets).await?);
        Ok(Report::together("every call repeated, every step failing, every undo repeated", reports))
    }

    async fn failing(&self, targets: &[Target]) -> Result<Vec<Report>, RehearsalError> {
        let mut reports = Vec::new();
        for Target { path, is_call, refused, unknown } in targets {
            let plans = match is_call {
                true => vec![(Plan::Refused(path.clone()), refused), (Plan::Unknown(path.clone()), unknown)],
                false => vec![(Plan::Cancelled(path.clone()), refused)],
            };
            for (plan, expected) in plans {
                reports.push(self.perform(plan, Some(expected.clone()), 1).await?.report);
            }
        }
        Ok(reports)
    }

    async fn undone_twice(&self, targets: &[Target]) -> Result<Vec<Report>, RehearsalError> {
        let mut reports = Vec::new();
        for Target { path, refused, .. } in targets.iter().filter(|target| target.is_call) {
            let plan = Plan::EveryUndoRepeated(path.clone());
            reports.push(self.perform(plan, Some(refused.clone()), 1).await?.report);
        }
        Ok(reports)
    }

    /// Runs a saga without faults, and finds what in it can fail.
    async fn targets(&self) -> Result<(Report, Vec<Target>), RehearsalError> {
        let plan = Plan::Mixed(super::Mix::default());
        let expected = Expected { status: Status::Completed, at: None };
        let Performed { report, endings, parts } = self.perform(plan, Some(expected), 1).await?;
        let (mut targets, mut passed_over) = (Vec::new(), BTreeSet::new());
        for ending in &endings {
            if passed_over.iter().any(|path: &String| ending.path.starts_with(path)) {
                continue;
            }
            let shown: Vec<&StepView> =
                ending.view.iter().flat_map(|view| view.steps.iter().flatten()).collect();
            let may_fail =
                shown.iter().filter(|step| step.status == StepStatus::Done && step.items.is_none());
            let (meant, others): (Vec<&StepView>, Vec<&StepView>) =
                may_fail.partition(|step| is_first_or_last(step, &shown));
            targets.extend(meant.into_iter().filter_map(|step| target(&parts, ending, step)));
            passed_over.extend(others.into_iter().map(|step| within(&ending.path, &step.name)));
        }
        Ok((report, targets))
    }
}

/// Whether a step is none of a list's items, or at one of its ends.
fn is_first_or_last(step: &StepView, shown: &[&StepView]) -> bool {
    let base = step.name.base();
    let of = shown.iter().find(|other| other.name.as_str() == base).and_then(|of| of.items);
    let Some(items) = of else { return true };
    [0, items.saturating_sub(1)].iter().any(|at| step.name.as_str() == format!("{base}[{at}]"))
}

/// What can be made of a step; `None` for one that calls nobody itself, and for a wait that cannot be cancelled.
fn target(parts: &Parts, ending: &Ending, shown: &StepView) -> Option<Target> {
    let definition = &parts.at(&ending.path)?.definition;
    let step = definition.step(definition.find(shown.name.base())?);
    let path = path(&ending.path, &shown.name);
    let (refused, is_all_undoable) = outcome(parts, &path, false)?;
    match &step.kind {
        Kind::Call(call) if call.action.is_child() => None,
        Kind::Call(_) => {
            let (unknown, _) = outcome(parts, &path, true)?;
            Some(Target { path, is_call: true, refused, unknown })
        }
        // It is cancelled from outside, at no step, as long as nothing on the way cannot turn back.
        Kind::Await(_) if refused.status == Status::Compensated && is_all_undoable => {
            let cancelled = Expected { at: None, ..refused };
            Some(Target { path, is_call: false, refused: cancelled.clone(), unknown: cancelled })
        }
        Kind::Await(_) | Kind::Branch(_) => None,
    }
}

/// What the rehearsed saga comes to when the step at a path fails, and whether everything on the way to it can be
/// undone.
fn outcome(parts: &Parts, path: &str, is_unknown: bool) -> Option<(Expected, bool)> {
    let (mut saga, mut step) = split(path);
    let (mut is_unknown, mut is_all_undoable) = (is_unknown, true);
    loop {
        let definition = &parts.at(saga)?.definition;
        let ix = definition.find(step.split_once('[').map_or(step, |(base, _)| base))?;
        let is_pivot = definition.pivot() == Some(ix);
        let is_final = matches!(definition.step(ix).call().map(|call| &call.undo), Some(Undo::None { .. }));
        is_all_undoable &= !(is_pivot && is_final);
        // A definite no to the pivot turns the saga round; where nobody knows, it may be done for good.
        if is_past(definition, ix) || (is_pivot && is_final && is_unknown) {
            return Some((Expected { status: Status::Repair, at: Some(step.to_owned()) }, false));
        }
        if saga.is_empty() {
            return Some((
                Expected { status: Status::Compensated, at: Some(step.to_owned()) },
                is_all_undoable,
            ));
        }
        // It is undone, and tells the step that runs it so.
        is_unknown = false;
        (saga, step) = split(&saga[..saga.len() - 1]);
    }
}

fn is_past(definition: &amends_saga::Definition, ix: StepIx) -> bool {
    definition.pivot().is_some_and(|pivot| definition.descendants(pivot).contains(&ix))
}

/// A step's saga and its name, from its path.
fn split(path: &str) -> (&str, &str) {
    path.rfind('/').map_or(("", path), |at| path.split_at(at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use amends_wire::definition::Text;
    use std::sync::Arc;

    const ROOT: &str = "
saga: root
steps:
  - hold: { action: p.hold, compensation: p.release, with: {} }
  - ship: { saga: ship, pivot: true, compensation: none, reason: gone, with: {} }
  - thank: { saga: thank, with: {} }
";

    const SHIP: &str = "
saga: ship
steps:
  - pack: { action: p.pack, compensation: p.unpack, with: {} }
  - send: { action: p.send, compensation: none, reason: gone, pivot: true, with: {} }
  - tell: { action: p.tell, with: {} }
";

    const THANK: &str = "
saga: thank
steps:
  - mail: { action: p.mail, compensation: p.sorry, with: {} }
";

    #[test]
    fn what_comes_of_a_failure_is_known_before() {
        let text = |source: &str| Arc::new(Text::read(source).expect("a definition"));
        let parts = Parts::of(&text(ROOT), &[text(SHIP), text(THANK)]).expect("everything is there");
        for (path, is_unknown, status, at) in [
            ("hold", false, Status::Compensated, "hold"),
            ("hold", true, Status::Compensated, "hold"),
            ("ship/pack", false, Status::Compensated, "ship"),
            ("ship/pack", true, Status::Compensated, "ship"),
            ("ship/send", false, Status::Compensated, "ship"),
            ("ship/send", true, Status::Repair, "send"),
            ("ship/tell", false, Status::Repair, "tell"),
            ("thank/mail", false, Status::Repair, "thank"),
            ("thank/mail", true, Status::Repair, "thank"),
        ] {
            let (expected, _) = outcome(&parts, path, is_unknown).expect("the step is there");
            assert_eq!(expected, Expected { status, at: Some(at.to_owned()) }, "{path} {is_unknown}");
        }
        assert_eq!(outcome(&parts, "ship/none", false), None);
    }
}
