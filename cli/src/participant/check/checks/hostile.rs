//! What no coordinator sends, and an instance must bear all the same.

use crate::participant::check::{
    case::{Case, Checked, Stop},
    peer::{Came, Signed},
    request::{Ask, Payload, Request},
};
use amends_wire::participant::Secret;
use serde_json::{Value, json};

/// The length of a body that nobody takes, in bytes.
const OVERSIZED_BYTES: usize = 9 << 20;

/// The depth of a body that nobody reads.
const DEPTH: usize = 20_000;

/// How often a call that is answered 503 or 429 is sent again.
const BUSY_MAX: u32 = 3;

/// A secret that nobody has registered.
const FOREIGN_SECRET: &str = "whsec_YW1lbmRzLWNoZWNrLXdyb25nLXNlY3JldA==";

/// Longer ago than any signature holds, in seconds.
const STALE_SECS: i64 = 3600;

/// Sends a request until the instance is not too busy for it.
async fn answered(case: &Case<'_>, request: &Request) -> Result<Came, Stop> {
    let mut busy = 0;
    loop {
        let came = case.peer.send(request.clone()).await.map_err(Stop::Wrong)?;
        busy += 1;
        if !matches!(came.status, 429 | 503) || busy > BUSY_MAX {
            return Ok(came);
        }
        tokio::time::sleep(came.retry_after.unwrap_or_default().min(case.peer.timeout())).await;
    }
}

/// Expects a no to what is wrong in itself.
fn no(came: &Came, what: &str) -> Checked {
    match came.is_no() {
        true => Ok(()),
        false => Err(Stop::Wrong(format!("{what} is answered {} instead of 4xx", came.said()))),
    }
}

pub(super) async fn misfit(case: &Case<'_>) -> Checked {
    let good = case.action()?;
    let mut takes_anything = None;
    for (number, body) in
        [json!([]), json!("amends"), json!({ "amends_check": [null] })].into_iter().enumerate()
    {
        let ask = good.at(&format!("misfit-{number}")).with(body.clone());
        let came = answered(case, &case.request(&ask)).await?;
        if came.is_done() {
            takes_anything = Some(body);
            continue;
        }
        no(&came, &format!("the body {body}"))?;
    }
    if case.subject.barrier {
        case.done(&good).await.map_err(|stop| match stop {
            Stop::Wrong(why) => {
                Stop::Wrong(format!("after bodies that do not fit, in a step beside them, {why}"))
            }
            other => other,
        })?;
    }
    match takes_anything {
        Some(body) => Err(Stop::Skipped(format!("it takes even the body {body}"))),
        None => Ok(()),
    }
}

/// Bodies that cannot be read, each with what it is.
fn unreadable() -> Vec<(&'static str, Payload)> {
    let open: Vec<u8> = b"[".repeat(DEPTH).into_iter().chain(b"]".repeat(DEPTH)).collect();
    let made = |by: &str, bytes: Vec<u8>| Payload::Made { by: by.to_owned(), bytes };
    let deep = format!("python3 -c 'print(\"[\" * {DEPTH} + \"]\" * {DEPTH}, end=\"\")'");
    vec![
        ("a body that is cut short", Payload::Text("{\"amends\": ".to_owned())),
        ("a body that is not JSON", Payload::Text("amends=check&is=a+form".to_owned())),
        (
            "a body that is not UTF-8",
            made(r#"printf '{"amends": "\377\376"}'"#, b"{\"amends\": \"\xff\xfe\"}".to_vec()),
        ),
        ("a body of 20000 levels", made(&deep, open)),
    ]
}

pub(super) async fn garbage(case: &Case<'_>) -> Checked {
    for (what, payload) in unreadable() {
        let ask = case.any();
        let request = Request { payload, ..case.request(&ask) };
        no(&answered(case, &request).await?, what)?;
    }
    Ok(())
}

pub(super) async fn oversized(case: &Case<'_>) -> Checked {
    let ask = case.any();
    let inside = "x".repeat(OVERSIZED_BYTES);
    let bytes = format!("{{\"amends_check\": \"{inside}\"}}").into_bytes();
    let by = format!(
        "(printf '{{\"amends_check\": \"'; head -c {OVERSIZED_BYTES} /dev/zero | tr '\\0' x; printf '\"}}')"
    );
    let request = Request { payload: Payload::Made { by, bytes }, ..case.request(&ask) };
    // An instance may hang up on it, and then there is no answer to be read.
    match case.peer.send(request).await {
        Ok(came) if came.is_done() => {
            return Err(Stop::Skipped("it takes even a body of 9 MiB".to_owned()));
        }
        Ok(came) => no(&came, "a body of 9 MiB")?,
        Err(why) if why.starts_with("no answer within") => return Err(Stop::Wrong(why)),
        Err(_) => {}
    }
    let after = case.any().with(Value::Null);
    let alive = case.peer.send(case.request(&after)).await;
    alive
        .map(drop)
        .map_err(|why| Stop::Wrong(format!("after a body of 9 MiB nobody answers any more: {why}")))
}

/// Sends a call whose headers are changed, which must be a no.
async fn with_headers(case: &Case<'_>, what: &str, change: impl Fn(&mut Vec<(String, String)>)) -> Checked {
    let ask = case.any();
    let mut request = case.request(&ask);
    change(&mut request.headers);
    let came = answered(case, &request).await?;
    if came.is_done() {
        case.ledger.forget(&ask);
    }
    no(&came, what)
}

pub(super) async fn missing_headers(case: &Case<'_>) -> Checked {
    for name in ["saga-id", "saga-step", "saga-op", "saga-attempt", "idempotency-key"] {
        let without = |headers: &mut Vec<(String, String)>| headers.retain(|(known, _)| known != name);
        with_headers(case, &format!("a call without {name}"), without).await?;
    }
    let bare =
        Request::post(case.url(&case.subject.name), Vec::new(), Payload::Text(case.any().body.to_string()));
    no(&answered(case, &bare).await?, "a call without any of the Saga headers")
}

pub(super) async fn bad_headers(case: &Case<'_>) -> Checked {
    for (name, value) in [
        ("saga-id", "seven"),
        ("saga-op", "undo"),
        ("saga-op", ""),
        ("saga-attempt", "0"),
        ("saga-attempt", "first"),
        ("saga-step", "no step of ours"),
    ] {
        let set = |headers: &mut Vec<(String, String)>| {
            headers
                .iter_mut()
                .filter(|(known, _)| known == name)
                .for_each(|(_, held)| *held = value.to_owned());
        };
        with_headers(case, &format!("a call with {name}: \"{value}\""), set).await?;
    }
    let twice = |headers: &mut Vec<(String, String)>| {
        headers.push(("saga-id".to_owned(), uuid::Uuid::now_v7().to_string()));
    };
    with_headers(case, "a call with two Saga-Id headers", twice).await
}

pub(super) async fn signature(case: &Case<'_>) -> Checked {
    if !case.peer.is_signing() {
        return Err(Stop::Skipped("no secret is given: --secret whsec_…".to_owned()));
    }
    let foreign = Secret::parse(FOREIGN_SECRET).map_err(Stop::Unable)?;
    for (how, what) in [
        (Signed::Never, "a call without a signature"),
        (Signed::With(&foreign), "a call signed with another secret"),
        (Signed::Before(STALE_SECS), "a call that was signed an hour ago"),
        (Signed::Before(-STALE_SECS), "a call that will be signed in an hour"),
    ] {
        let ask: Ask = case.any();
        let came = case.peer.send_signed(case.request(&ask), how).await.map_err(Stop::Wrong)?;
        if came.status != 401 {
            return Err(Stop::Wrong(format!("{what} is answered {} instead of 401", came.said())));
        }
    }
    Ok(())
}
