//! What is checked of the participant as a whole: its health, its manners, and its audit.

use super::{
    case::{Checked, Done, Ledger, Stop},
    peer::{Body, Exchange, Peer},
    report::Verdict,
    request::{Ask, Payload, Request},
    rule::Check,
};
use amends_wire::{
    audit::{self, Audited, EffectState, Page, Query, read_all},
    participant::CallOp,
};
use serde_json::json;
use std::{collections::BTreeMap, fmt::Write as _};
use uuid::Uuid;

/// An operation that nobody offers.
const NO_OPERATION: &str = "amends-check-no-such-operation";

/// The most effects of an audit that are read.
const EFFECTS_MAX: usize = 100_000;

/// How far two clocks may be apart, in milliseconds.
const CLOCKS_APART_MS: i64 = 3_600_000;

/// Whether anybody answers there at all.
pub(super) async fn reachable(peer: &Peer) -> Result<(), String> {
    let came = peer.send(Request::get(peer.base().join("/healthz"))).await;
    let _ = peer.take_exchanges();
    came.map(drop)
}

pub(super) async fn healthz(peer: &Peer, path: &str) -> Checked {
    let came = peer.send(Request::get(peer.base().join(path))).await.map_err(Stop::Wrong)?;
    match came.status {
        200..=299 => Ok(()),
        _ => Err(Stop::Wrong(format!("the health check is answered {}", came.said()))),
    }
}

pub(super) async fn unknown_operation(peer: &Peer) -> Checked {
    let (saga, step, op) = (Uuid::now_v7(), "check".to_owned(), CallOp::Action);
    let ask = Ask {
        operation: NO_OPERATION.to_owned(),
        saga,
        step,
        op,
        of: op,
        attempt: 1,
        round: 0,
        epoch: 1,
        body: json!({}),
    };
    let url = peer.base().join(&format!("/{NO_OPERATION}"));
    let came = peer.send(Request::post(url, ask.headers(), Payload::Text(ask.body.to_string()))).await;
    let came = came.map_err(Stop::Wrong)?;
    match came.status {
        404 => Ok(()),
        _ => Err(Stop::Wrong(format!("an operation that is not offered is answered {}", came.said()))),
    }
}

/// The first answer that was not JSON, or did not say so.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    heard: u64,
    odd: Option<(String, Exchange)>,
}

impl Spoken {
    /// Looks at the answers to calls. What is sent by [`Check::Oversized`] may be answered by a proxy before it.
    pub(super) fn listen(&mut self, check: Check, exchanges: &[Exchange]) {
        if check == Check::Oversized || self.odd.is_some() {
            return;
        }
        for exchange in exchanges.iter().filter(|exchange| !exchange.sent.is_get) {
            let Ok(came) = &exchange.came else { continue };
            self.heard += 1;
            let is_json = |media: &str| {
                let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
                media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
            };
            let why = match (&came.body, came.media.as_deref()) {
                _ if came.is_empty => continue,
                (Body::Other(_), _) => "an answer is not JSON".to_owned(),
                (_, None) => "an answer has no Content-Type".to_owned(),
                (_, Some(media)) if !is_json(media) => format!("an answer says that it is {media}"),
                _ => continue,
            };
            self.odd = Some((why, exchange.clone()));
            return;
        }
    }

    pub(super) fn verdict(self) -> Verdict {
        match self.odd {
            Some((why, exchange)) => Verdict::of(Err(Stop::Wrong(why)), vec![exchange]),
            None if self.heard == 0 => Verdict::Skipped("nothing was called".to_owned()),
            None => Verdict::Passed,
        }
    }
}

/// Holds the participant's audit against what was done there.
pub(super) async fn saga_audit(peer: &Peer, ledger: &Ledger, begun: i64) -> Checked {
    let known = ledger.known();
    let query = Query::since(begun.saturating_sub(CLOCKS_APART_MS).max(0));
    let read = read_all(query, EFFECTS_MAX, |query| page(peer, query)).await;
    let audited = match read {
        Ok(audited) => audited,
        Err(audit::ReadError::Fetch(PageError(stop))) => return Err(stop),
        Err(error) => return Err(Stop::Wrong(error.to_string())),
    };
    match told_wrong(&audited, &known) {
        None => Ok(()),
        Some(why) => Err(Stop::Wrong(why)),
    }
}

/// Why there is no page, as [`read_all`] carries it.
struct PageError(Stop);

impl std::fmt::Display for PageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

async fn page(peer: &Peer, query: Query) -> Result<Page, PageError> {
    let mut url = format!("{}?since={}&limit={}", peer.base().join(audit::PATH), query.since, query.limit);
    if let Some(cursor) = &query.cursor {
        let _ = write!(url, "&cursor={}", escaped(cursor));
    }
    let wrong = |why: String| PageError(Stop::Wrong(why));
    let came = peer.send(Request::get(url)).await.map_err(wrong)?;
    match (came.status, &came.body) {
        (404 | 405 | 501, _) => Err(PageError(Stop::Skipped("it offers no audit".to_owned()))),
        (200, Body::Json(page)) => serde_json::from_value(page.clone())
            .map_err(|error| wrong(format!("the audit's page cannot be read: {error}"))),
        _ => Err(wrong(format!("the audit is answered {}", came.said()))),
    }
}

/// A cursor as it stands in an address.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// The first thing that the audit tells otherwise than it was.
fn told_wrong(audited: &Audited, known: &BTreeMap<(Uuid, String), Done>) -> Option<String> {
    let ours = |saga: Option<Uuid>| known.keys().any(|(known, _)| Some(*known) == saga);
    if let Some((saga, step)) = audited.doubled.iter().find(|(saga, _)| ours(Some(*saga))) {
        return Some(format!("step {step} of saga {saga} is told twice"));
    }
    if let Some(found) = audited.findings.iter().find(|found| ours(found.saga)) {
        return Some(format!("it finds fault with itself: {}: {}", found.name, found.message));
    }
    let told: BTreeMap<(Uuid, &str), EffectState> =
        audited.effects.iter().map(|effect| ((effect.saga, effect.step.as_str()), effect.op_state)).collect();
    known.iter().find_map(|((saga, step), done)| {
        let state = done.state.as_str();
        match told.get(&(*saga, step.as_str())) {
            Some(told) if *told == done.state => None,
            Some(told) => {
                let told = told.as_str();
                Some(format!("step {step} of saga {saga} is told as {told} and is {state}"))
            }
            None if !done.is_told() => None,
            None => Some(format!("step {step} of saga {saga} is not told at all and is {state}")),
        }
    })
}
