//! The batch form: results in order, each as the call alone would be answered.

use crate::participant::check::{
    case::{Case, Checked, Stop},
    peer::{Body, Came},
    request::{Ask, Payload, Request},
};
use amends_wire::participant::BatchResult;
use serde_json::{Value, json};

/// A body that fits nowhere.
const MISFIT: Value = Value::Bool(false);

fn wrong(what: impl Into<String>) -> Stop {
    Stop::Wrong(what.into())
}

/// Skips where there is no batch form, or too small a one.
fn needs(case: &Case<'_>, calls: u32) -> Checked {
    match case.subject.batch {
        None => Err(Stop::Skipped("it has no batch form".to_owned())),
        Some(max) if max < calls => Err(Stop::Skipped(format!("its batches take {max} calls only"))),
        Some(_) => Ok(()),
    }
}

fn is_done(result: &BatchResult) -> bool {
    matches!(result.status, 200..=299) && result.status != 202
}

fn is_passing(result: &BatchResult) -> bool {
    matches!(result.status, 202 | 408 | 425 | 429 | 500..)
}

fn text(result: &BatchResult) -> String {
    format!("{} {}", result.status, result.body).chars().take(300).collect()
}

/// Expects that a result is what its call alone is answered now. A result that says nothing definite is none to hold.
async fn as_alone(case: &Case<'_>, place: usize, ask: &Ask, result: &BatchResult) -> Result<Came, Stop> {
    let came = case.settled(ask).await?;
    let is_like = match &came.body {
        Body::Json(body) if is_done(result) && case.subject.barrier => *body == result.body,
        _ => true,
    };
    if is_passing(result) || (came.status == result.status && is_like) {
        return Ok(came);
    }
    let (in_batch, alone) = (text(result), came.said());
    Err(wrong(format!("call {place} of the batch has the result {in_batch}, and alone is answered {alone}")))
}

/// An action that is refused whenever it comes: overtaken by its compensation where it has one, else a body that does
/// not fit.
async fn refused(case: &Case<'_>) -> Result<Ask, Stop> {
    let action = case.action()?;
    match case.undo(&action) {
        Ok(undo) if case.subject.barrier => case.undone(&undo).await.map(|_| action),
        _ => Ok(action.with(MISFIT)),
    }
}

pub(super) async fn order(case: &Case<'_>) -> Checked {
    needs(case, 4)?;
    let asks = [case.action()?, refused(case).await?, case.action()?, case.action()?];
    let results = case.batch(&case.subject.name, &asks).await?;
    // In reverse, so that answers which number what was done differ from the results of another order.
    for (place, (ask, result)) in asks.iter().zip(&results).enumerate().rev() {
        let came = as_alone(case, place, ask, result).await?;
        if came.is_done() && case.subject.barrier {
            case.done(ask).await?;
        }
    }
    Ok(())
}

pub(super) async fn repeat(case: &Case<'_>) -> Checked {
    needs(case, 3)?;
    let settled_at = case.settles_at().await?;
    let (known, new) = (case.guarded()?, case.guarded()?);
    let first = case.done(&known).await?;
    let asks = [known.attempt(2), new.clone(), new.attempt(2), new.attempt(3)];
    let asks = &asks[..asks.len().min(case.subject.batch.unwrap_or(3) as usize)];
    let results = case.batch(&case.subject.name, asks).await?;
    as_alone(case, 0, &known, &results[0]).await?;
    if !is_passing(&results[0]) && results[0].status != first.status {
        return Err(wrong(format!("a repeat in a batch has the result {}", text(&results[0]))));
    }
    let once = case.done(&new).await?;
    for (place, result) in results.iter().enumerate().skip(1) {
        let like =
            result.status == once.status && matches!(&once.body, Body::Json(body) if *body == result.body);
        if !is_passing(result) && !like {
            let (result, once) = (text(result), once.said());
            let what = "is one of the same call in one batch, which alone is answered";
            return Err(wrong(format!("result {place}, {result}, {what} {once}")));
        }
    }
    if settled_at.is_none() {
        return Ok(());
    }
    case.undone(&case.undo(&known)?).await?;
    case.undone(&case.undo(&new)?).await?;
    case.unchanged(&settled_at, "a batch with repeats, and one compensation for each step,").await
}

pub(super) async fn neighbours(case: &Case<'_>) -> Checked {
    needs(case, 4)?;
    let asks = [case.action()?, case.action()?.with(MISFIT), refused(case).await?, case.action()?];
    let results = case.batch(&case.subject.name, &asks).await?;
    if is_done(&results[1]) {
        return Err(Stop::Skipped(format!("it takes even the body {MISFIT}")));
    }
    for place in [1, 2] {
        if !matches!(results[place].status, 300..=499) || is_passing(&results[place]) {
            let result = text(&results[place]);
            return Err(wrong(format!(
                "call {place} of the batch is to be refused and has the result {result}"
            )));
        }
    }
    for place in [0, 3] {
        if !is_done(&results[place]) && !is_passing(&results[place]) {
            let result = text(&results[place]);
            return Err(wrong(format!("call {place} of the batch fits and has the result {result}")));
        }
        match case.subject.barrier {
            true => case.done(&asks[place]).await.map(drop)?,
            false => case.settled(&asks[place]).await.map(drop)?,
        }
    }
    Ok(())
}

pub(super) async fn status(case: &Case<'_>) -> Checked {
    needs(case, 2)?;
    if !case.subject.status {
        return Err(Stop::Skipped("it is not said to answer status questions".to_owned()));
    }
    let (known, unknown) = (case.guarded()?, case.guarded()?);
    case.done(&known).await?;
    let asks = [unknown.status(), known.status()];
    let results = case.batch(&case.subject.name, &asks).await?;
    if results[0].status != 404 && !is_passing(&results[0]) {
        let result = text(&results[0]);
        return Err(wrong(format!(
            "in a batch the status of a call that was never sent has the result {result}"
        )));
    }
    for (place, (ask, result)) in asks.iter().zip(&results).enumerate() {
        as_alone(case, place, ask, result).await?;
    }
    Ok(())
}

pub(super) async fn compensations(case: &Case<'_>) -> Checked {
    let action = case.guarded()?;
    let undo = case.undo(&action)?;
    if case.subject.compensation_batch.is_none_or(|max| max < 2) {
        return Err(Stop::Skipped("its compensation has no batch form".to_owned()));
    }
    case.done(&action).await?;
    let nothing = case.undo(&case.guarded()?)?;
    let asks = [nothing, undo];
    let results = case.batch(&asks[0].operation, &asks).await?;
    for (place, (ask, result)) in asks.iter().zip(&results).enumerate() {
        if !is_done(result) && result.status != 410 && !is_passing(result) {
            let result = text(result);
            return Err(wrong(format!("compensation {place} of the batch has the result {result}")));
        }
        as_alone(case, place, ask, result).await?;
        case.undone(ask).await?;
    }
    Ok(())
}

pub(super) async fn garbage(case: &Case<'_>) -> Checked {
    needs(case, 1)?;
    let bodies = ["[".to_owned(), json!({ "calls": 7 }).to_string(), json!([]).to_string()];
    for body in bodies {
        let url = case.url(&format!("{}/batch", case.subject.name));
        let request = Request::post(url, Vec::new(), Payload::Text(body.clone()));
        let came = case.peer.send(request).await.map_err(Stop::Wrong)?;
        if !came.is_no() {
            return Err(wrong(format!("the batch {body} is answered {} instead of 4xx", came.said())));
        }
    }
    Ok(())
}
