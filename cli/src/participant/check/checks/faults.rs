//! What deliveries do: repeats, late calls, calls in the wrong order and at the same moment.

use crate::participant::check::{
    case::{Case, Checked, Stop},
    peer::Came,
    request::Ask,
};
use amends_wire::{audit::EffectState, participant::CallOp};
use futures::future::join_all;
use serde_json::{Value, json};

/// Repeats that are sent at the same moment.
const CROWD: usize = 8;

/// How often an action races its compensation.
const RACES: usize = 10;

/// A step beside the one that is checked.
const BESIDE: &str = "beside";

fn wrong(what: impl Into<String>) -> Stop {
    Stop::Wrong(what.into())
}

fn skipped(why: &str) -> Stop {
    Stop::Skipped(why.to_owned())
}

fn needs_status(case: &Case<'_>) -> Checked {
    match case.subject.status {
        true => Ok(()),
        false => Err(skipped("it is not said to answer status questions")),
    }
}

pub(super) async fn action(case: &Case<'_>) -> Checked {
    let action = case.action()?;
    let before = case.look().await?;
    let came = case.settled(&action).await?;
    if came.is_no() {
        let why = format!(
            "the body that was given for {} is answered {}; give one that is done with --body {}=JSON",
            action.operation,
            came.said(),
            action.operation
        );
        return Err(Stop::Unable(why));
    }
    case.done(&action).await?;
    match before.is_some() && case.subject.barrier && case.look().await? == before {
        true => Err(Stop::Unable("what --watch shows does not change when the action is done".to_owned())),
        false => Ok(()),
    }
}

pub(super) async fn repeat(case: &Case<'_>) -> Checked {
    let action = case.guarded()?;
    let first = case.done(&action).await?;
    let held = case.look().await?;
    for _ in 0..2 {
        let again = case.settled(&action).await?;
        Case::alike(&first, &again, "the same call")?;
    }
    case.unchanged(&held, "a repeat").await
}

pub(super) async fn later_attempt(case: &Case<'_>) -> Checked {
    let action = case.guarded()?;
    let first = case.done(&action).await?;
    let held = case.look().await?;
    for attempt in [2, 7, 1] {
        let again = case.settled(&action.attempt(attempt)).await?;
        Case::alike(&first, &again, &format!("attempt {attempt}"))?;
    }
    case.unchanged(&held, "a later attempt").await
}

pub(super) async fn concurrent_repeats(case: &Case<'_>) -> Checked {
    let settled_at = case.settles_at().await?;
    let action = case.guarded()?;
    let asks: Vec<Ask> = (1..).take(CROWD).map(|attempt| action.attempt(attempt)).collect();
    let came = join_all(asks.iter().map(|ask| case.settled(ask))).await;
    let came = came.into_iter().collect::<Result<Vec<Came>, Stop>>()?;
    let first = case.done(&action).await?;
    for one in &came {
        Case::alike(&first, one, &format!("one of {CROWD} repeats at the same moment"))?;
    }
    if settled_at.is_none() {
        return Ok(());
    }
    case.undone(&case.undo(&action)?).await?;
    let what = format!("{CROWD} repeats at the same moment, and one compensation,");
    case.unchanged(&settled_at, &what).await
}

pub(super) async fn another_body(case: &Case<'_>) -> Checked {
    let action = case.guarded()?;
    case.done(&action).await?;
    let held = case.look().await?;
    let other = action.with(changed(&action.body));
    let came = case.settled(&other).await?;
    if !came.is_no() {
        let said = came.said();
        return Err(wrong(format!("the step called again with another body and was answered {said}")));
    }
    case.unchanged(&held, "another body").await
}

/// The same body with a member more, or, where it is no object, within one.
fn changed(body: &Value) -> Value {
    match body {
        Value::Object(members) => {
            let mut members = members.clone();
            members.insert("amends_check".to_owned(), json!("another body"));
            Value::Object(members)
        }
        other => json!({ "amends_check": other }),
    }
}

pub(super) async fn independent_steps(case: &Case<'_>) -> Checked {
    let action = case.guarded()?;
    if let Ok(undo) = case.undo(&action.at(BESIDE)) {
        case.undone(&undo).await?;
        let what = "after a compensation of another step of its saga,";
        case.done(&action).await.map_err(|stop| because(stop, what))?;
        let undo = case.undo(&action)?;
        case.undone(&undo).await?;
    } else {
        case.done(&action).await?;
    }
    let other = case.guarded()?;
    case.done(&other).await.map_err(|stop| because(stop, "in another saga with the same step,")).map(drop)
}

fn because(stop: Stop, what: &str) -> Stop {
    match stop {
        Stop::Wrong(why) => Stop::Wrong(format!("{what} {why}")),
        other => other,
    }
}

fn refused_action(case: &Case<'_>) -> Result<Ask, Stop> {
    let Some(refused) = &case.subject.refused else {
        let why = format!("no body that is refused is given: --refused {}=JSON", case.subject.name);
        return Err(Stop::Skipped(why));
    };
    let any = case.any();
    let body = crate::participant::check::plan::rendered(refused, any.saga);
    Ok(any.with(body))
}

pub(super) async fn refusal_repeats(case: &Case<'_>) -> Checked {
    let action = refused_action(case)?;
    let held = case.look().await?;
    let first = case.settled(&action).await?;
    if first.status != 409 {
        let said = first.said();
        return Err(Stop::Unable(format!("the body given with --refused is answered {said} instead of 409")));
    }
    for attempt in 1..3 {
        let again = case.settled(&action.attempt(attempt)).await?;
        if (first.status, &first.body) != (again.status, &again.body) {
            let (again, first) = (again.said(), first.said());
            return Err(wrong(format!("a refused action is answered {again} again, and before {first}")));
        }
    }
    case.unchanged(&held, "a refused action").await
}

pub(super) async fn new_round(case: &Case<'_>) -> Checked {
    let good = case.guarded()?;
    let refused = Ask { saga: good.saga, ..refused_action(case)? };
    case.refused(&refused, "the body given with --refused").await?;
    let anew = good.round(1);
    let what = "tried anew with another body, in round 1,";
    let first = case.settled(&anew).await?;
    if !first.is_done() {
        return Err(wrong(format!("a refused action, {what} is answered {}", first.said())));
    }
    for again in [anew.attempt(2), good.round(2)] {
        let came = case.settled(&again).await?;
        Case::alike(&first, &came, "what was done in round 1")?;
    }
    barred_for_every_round(case).await
}

/// A refusal that was compensated stands for every round.
async fn barred_for_every_round(case: &Case<'_>) -> Checked {
    let good = case.guarded()?;
    let refused = Ask { saga: good.saga, ..refused_action(case)? };
    let Ok(undo) = case.undo(&refused) else { return Ok(()) };
    case.refused(&refused, "the body given with --refused").await?;
    case.undone(&undo).await?;
    let came = case.settled(&good.round(1)).await?;
    match came.is_done() {
        false => Ok(()),
        true => {
            case.ledger.forget(&good);
            Err(wrong(format!("an action of round 1 is done after its compensation: {}", came.said())))
        }
    }
}

pub(super) async fn refused_then_undone(case: &Case<'_>) -> Checked {
    if !case.subject.barrier {
        return Err(skipped("it is registered with \"barrier\": false"));
    }
    let action = refused_action(case)?;
    let undo = case.undo(&action)?;
    let came = case.settled(&action).await?;
    if !came.is_no() {
        let said = came.said();
        return Err(Stop::Unable(format!("the body given with --refused is answered {said} instead of 409")));
    }
    let held = case.look().await?;
    case.undone(&undo).await?;
    case.unchanged(&held, "a compensation of a refused action").await
}

pub(super) async fn status_unknown(case: &Case<'_>) -> Checked {
    needs_status(case)?;
    let action = case.any();
    for _ in 0..2 {
        let came = case.settled(&action.status()).await?;
        if came.status != 404 {
            return Err(wrong(format!(
                "the status of a call that was never sent is {} instead of 404",
                came.said()
            )));
        }
    }
    match case.guarded() {
        Ok(action) => {
            case.settled(&action.status()).await?;
            let what = "after its status was asked,";
            case.settled(&action).await.map(drop).map_err(|stop| because(stop, what))
        }
        Err(_) => Ok(()),
    }
}

pub(super) async fn status_of_action(case: &Case<'_>) -> Checked {
    needs_status(case)?;
    let action = case.guarded()?;
    let first = case.done(&action).await?;
    let status = case.settled(&action.status()).await?;
    Case::alike(&first, &status, "the status of an action that is done")
}

pub(super) async fn compensation(case: &Case<'_>) -> Checked {
    let action = case.action()?;
    let undo = case.undo(&action)?;
    case.done(&action).await?;
    case.undone(&undo).await.map(drop)
}

pub(super) async fn compensation_repeats(case: &Case<'_>) -> Checked {
    let action = case.guarded()?;
    let undo = case.undo(&action)?;
    case.done(&action).await?;
    let first = case.undone(&undo).await?;
    let held = case.look().await?;
    for attempt in [1, 2] {
        let again = case.undone(&undo.attempt(attempt)).await?;
        Case::alike(&first, &again, "a compensation again")?;
    }
    case.unchanged(&held, "a repeated compensation").await
}

pub(super) async fn action_after_both(case: &Case<'_>) -> Checked {
    let action = case.guarded()?;
    let undo = case.undo(&action)?;
    let first = case.done(&action).await?;
    case.undone(&undo).await?;
    let held = case.look().await?;
    let again = case.settled(&action.attempt(2)).await?;
    if again.status != 409 {
        Case::alike(&first, &again, "an action that was done and undone")?;
    }
    case.unchanged(&held, "an action that was undone before").await
}

pub(super) async fn compensation_first(case: &Case<'_>) -> Checked {
    if !case.subject.barrier {
        return Err(skipped("it is registered with \"barrier\": false"));
    }
    let undo = case.undo(&case.any())?;
    if case.subject.body.is_none() && case.subject.compensation_body.is_none() {
        return Err(Stop::Skipped(format!("no body is given for it: --body {}=JSON", case.subject.name)));
    }
    let held = case.look().await?;
    let first = case.undone(&undo).await?;
    let again = case.undone(&undo.attempt(2)).await?;
    Case::alike(&first, &again, "a compensation without an action, again,")?;
    case.unchanged(&held, "a compensation without an action").await
}

pub(super) async fn late_action(case: &Case<'_>) -> Checked {
    let action = case.guarded()?;
    let undo = case.undo(&action)?;
    case.undone(&undo).await?;
    let held = case.look().await?;
    for attempt in [1, 2] {
        let what = "an action after its compensation";
        let came = case.settled(&action.attempt(attempt)).await?;
        if came.is_done() {
            case.ledger.forget(&action);
            return Err(wrong(format!("{what} is done: {}", came.said())));
        }
        case.refused(&action.attempt(attempt), what).await?;
    }
    case.unchanged(&held, "an action after its compensation").await
}

pub(super) async fn race(case: &Case<'_>) -> Checked {
    let settled_at = case.settles_at().await?;
    for _ in 0..RACES {
        let action = case.guarded()?;
        let undo = case.undo(&action)?;
        let (acted, undone) = tokio::join!(case.settled(&action), case.settled(&undo));
        let (acted, undone) = (acted?, undone?);
        if !undone.is_undone() {
            return Err(wrong(format!(
                "the compensation is answered {} instead of 2xx or 410",
                undone.said()
            )));
        }
        if !acted.is_done() && acted.status != 409 {
            return Err(wrong(format!("the action is answered {} instead of 2xx or 409", acted.said())));
        }
        let again = case.settled(&action.attempt(2)).await?;
        if !(acted.is_done() && again.status == 409) {
            Case::alike(&acted, &again, "an action that raced its compensation")?;
        }
        let again = case.settled(&undo.attempt(2)).await?;
        Case::alike(&undone, &again, "a compensation that raced its action")?;
    }
    match settled_at {
        Some(_) => case.unchanged(&settled_at, "a race of actions and their compensations").await,
        None => Ok(()),
    }
}

pub(super) async fn status_of_compensation(case: &Case<'_>) -> Checked {
    if !case.subject.compensation_status {
        return Err(skipped("its compensation is not said to answer status questions"));
    }
    let action = case.guarded()?;
    let undo = case.undo(&action)?;
    let unseen = case.settled(&undo.status()).await?;
    if unseen.status != 404 {
        let said = unseen.said();
        return Err(wrong(format!(
            "the status of a compensation that was never sent is {said} instead of 404"
        )));
    }
    case.settled(&action).await.map(drop)?;
    let first = case.undone(&undo).await?;
    let status = case.settled(&undo.status()).await?;
    Case::alike(&first, &status, "the status of a compensation that is done")
}

pub(super) async fn status_of_late(case: &Case<'_>) -> Checked {
    needs_status(case)?;
    let action = case.guarded()?;
    case.undone(&case.undo(&action)?).await?;
    case.refused(&action.status(), "the status of an action that its compensation has overtaken")
        .await
        .map(drop)
}

pub(super) async fn confirm_decides(case: &Case<'_>) -> Checked {
    let action = case.guarded()?;
    let (confirm, undo) = (case.confirm(&action)?, case.undo(&action)?);
    case.done(&action).await?;
    let came = case.settled(&confirm).await?;
    if !came.is_done() {
        return Err(wrong(format!("the confirmation is answered {} instead of 2xx", came.said())));
    }
    case.refused(&undo, "a compensation after the confirmation").await?;
    case.ledger.forget(&action);

    let action = case.guarded()?;
    let (confirm, undo) = (case.confirm(&action)?, case.undo(&action)?);
    case.done(&action).await?;
    case.undone(&undo).await?;
    case.refused(&confirm, "a confirmation after the compensation").await.map(drop)
}

pub(super) async fn confirm(case: &Case<'_>) -> Checked {
    let action = case.guarded()?;
    let confirm = case.confirm(&action)?;
    assert_eq!(confirm.op, CallOp::Confirm, "a confirmation is asked for as such");
    case.done(&action).await?;
    let first = case.settled(&confirm).await?;
    if !first.is_done() {
        return Err(wrong(format!("the confirmation is answered {} instead of 2xx", first.said())));
    }
    let again = case.settled(&confirm.attempt(2)).await?;
    Case::alike(&first, &again, "a confirmation again")?;
    // What was made final is not undone at the end.
    let known = case.ledger.known().remove(&(action.saga, action.step.clone()));
    debug_assert_eq!(known.map(|done| done.state), Some(EffectState::Applied));
    case.ledger.forget(&action);
    Ok(())
}
