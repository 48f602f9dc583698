//! Answers that participants send by themselves, to calls they said were pending.
//!
//! The one-time token that came with the call is the only authority here: whoever has it may answer this call and
//! learns nothing else. The status is read by the same table as the answer to the call itself would have been.

use super::{
    give::{give, rejected},
    look::{find, parse_id},
};
use crate::{
    api::{App, query::Query},
    clock::now,
    http::{Failure, Path, Raw, json, problem},
};
use amends_saga::{
    Answer, Input, Op, Saga, StepIx, StepName,
    answer::{Asked, Body, read},
    decide,
};
use amends_wire::{
    api::{AnswerRequest, AnswerView},
    problem::Slug,
};
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use http::StatusCode;

/// `POST /v1/sagas/{id}/steps/{step}/answer`
pub(crate) async fn answer(
    State(app): State<App>,
    Path((id, step)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    raw: Raw,
) -> Result<Response, Failure> {
    Query::read(query.as_deref(), &[], &[])?;
    let id = parse_id(&id)?;
    let request = AnswerRequest::read(raw.json()?)?;
    let saga = find(&app, id).await?;
    let (ix, step) = find_step(&saga, &step)?;
    let op = answered(&app, &saga, ix, &step, &request.token)?;
    let body = request.body.map_or(Body::Empty, Body::Json);
    let said = read(op, Asked::Call, request.status, None, body, 0);
    let is_pending = matches!(said, Answer::Pending { .. });
    let input = Input::Callback { step: step.clone(), op, answer: said };
    if is_pending {
        // That it is still being worked on is known; it is no answer, and need not be written down.
        decide(&saga, input, now()).map_err(|why| rejected(why, &saga))?;
    } else {
        give(&app, id, input).await?;
    }
    let saga = find(&app, id).await?;
    let view = AnswerView::of(id, step, op, saga.step(ix).call(op));
    Ok(json(StatusCode::OK, &view))
}

/// A step that makes calls.
fn find_step(saga: &Saga, text: &str) -> Result<(StepIx, StepName), Failure> {
    let found = StepName::parse(text).ok().and_then(|name| Some((saga.find_step(&name)?, name)));
    let calls = |ix: StepIx| {
        let spec = saga.spec(ix);
        !saga.is_fanned(ix) && (spec.forward().is_some() || spec.undo().is_some())
    };
    found.filter(|(ix, _)| calls(*ix)).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        let detail = format!("saga {} has no step \"{}\" that makes calls", saga.id, shown.escape_debug());
        problem(Slug::UnknownStep, detail)
    })
}

/// Which of a step's calls a token belongs to, in the round that is being made.
fn answered(app: &App, saga: &Saga, ix: StepIx, step: &StepName, token: &str) -> Result<Op, Failure> {
    let ops = [saga.forward_op(ix), Op::Compensation];
    let made = ops.into_iter().filter(|op| saga.spec(ix).operation(*op).is_some());
    let mut is_older = false;
    for op in made {
        let round = saga.step(ix).call(op).round;
        if app.callbacks.is_token(token, saga.id, step, op, round) {
            return Ok(op);
        }
        is_older |= (0..round).any(|older| app.callbacks.is_token(token, saga.id, step, op, older));
    }
    match is_older {
        true => Err(problem(Slug::AnswerConflict, "the call was refused and is being made anew since")),
        false => {
            let detail = format!("the token is not the one that came with a call of step \"{step}\"");
            Err(problem(Slug::TokenInvalid, detail))
        }
    }
}
