//! What is counted is what was sent, as Prometheus reads it.

use super::*;
use crate::{Database, Operation, Participant, Reply, Writer, audit::Invariant, audit::Laws, barrier, each};
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tower::ServiceExt;

/// A law that is broken while the switch is on, and a database that is gone while the other is.
#[derive(Default)]
struct Switches {
    broken: AtomicBool,
    gone: AtomicBool,
}

#[async_trait]
impl Laws for Arc<Switches> {
    async fn check(&self) -> Result<Vec<Invariant>, sqlx::Error> {
        if self.gone.load(Ordering::Relaxed) {
            return Err(sqlx::Error::PoolClosed);
        }
        let kept = !self.broken.load(Ordering::Relaxed);
        let violations = if kept { Vec::new() } else { vec![json!({ "sku": 7 }), json!({ "sku": 9 })] };
        Ok(vec![
            Invariant { name: "balanced", law: "it is", kept, violations },
            Invariant { name: "other", law: "so is this", kept: true, violations: Vec::new() },
        ])
    }
}

/// How often it was looked at.
#[derive(Default)]
struct Looks(AtomicU64);

#[async_trait]
impl Figures for Looks {
    async fn look(&self) -> Result<(), sqlx::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn write(&self, text: &mut Text) {
        text.one("shop_looks", "gauge", "how often it was looked at", &self.0.load(Ordering::Relaxed));
    }
}

/// A participant that does what is asked for, refuses, or leaves it open, by its body.
async fn participant(directory: &std::path::Path) -> Participant {
    let store = format!("sqlite:{}", directory.join("counted.db").display());
    let database =
        Database::open(&store, &[barrier::SQLITE, barrier::BY_TIME, barrier::ROUND]).await.expect("it opens");
    let work = each(|_, call| {
        Box::pin(async move {
            Ok(match call.body.as_str() {
                Some("no") => Reply::refused("no", json!({})),
                Some("later") => Reply::pending(None),
                _ => Reply::done(json!({})),
            })
        })
    });
    Participant::new("counted").guarded(Operation::new("do").batch(8), &Writer::start(&database), work)
}

async fn post(router: &Router, path: &str, step: &str, op: &str, body: &Value) {
    let request = Request::post(path)
        .header("saga-id", "0193f2a0-0000-7000-8000-000000000001")
        .header("saga-step", step)
        .header("saga-op", op)
        .header("saga-attempt", "1")
        .header("idempotency-key", "k");
    let request = request.body(Body::from(body.to_string())).expect("a request");
    router.clone().oneshot(request).await.expect("an answer").into_body().collect().await.expect("a body");
}

async fn metrics(router: &Router) -> String {
    let request = Request::get("/metrics").body(Body::empty()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    assert_eq!(response.headers()["content-type"], MEDIA_TYPE);
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

/// The value behind a name with its labels, those of the participant left out.
fn value(text: &str, name: &str, labels: &str) -> Option<f64> {
    let comma = if labels.is_empty() { "" } else { "," };
    let start = format!("{name}{{participant=\"counted\"{comma}{labels}}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start))?;
    Some(line.parse().expect("a number"))
}

#[tokio::test]
async fn calls_are_counted_by_what_they_were_and_what_became_of_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let router = participant(directory.path()).await.router();
    post(&router, "/do", "a", "action", &json!("yes")).await;
    post(&router, "/do", "a", "action", &json!("yes")).await;
    post(&router, "/do", "b", "action", &json!("no")).await;
    post(&router, "/do", "c", "action", &json!("later")).await;
    post(&router, "/do", "a", "compensation", &json!("yes")).await;
    post(&router, "/do", "d", "compensation", &json!("yes")).await;
    post(&router, "/do", "e", "nonsense", &json!("yes")).await;
    let call = |step: &str| {
        json!({ "saga": "0193f2a0-0000-7000-8000-000000000002", "step": step, "op": "action", "attempt": 1,
            "key": step, "body": "yes" })
    };
    post(&router, "/do/batch", "", "", &json!({ "calls": [call("a"), call("b"), { "op": "?" }] })).await;
    post(&router, "/do/batch", "", "", &json!({ "calls": [call("a"), call("b"), call("c")] })).await;
    post(&router, "/other", "a", "action", &json!("yes")).await;

    let text = metrics(&router).await;
    let calls = |op: &str, outcome: &str| {
        let labels = format!("operation=\"do\",op=\"{op}\",outcome=\"{outcome}\"");
        value(&text, "amends_participant_calls_total", &labels)
    };
    assert_eq!(calls("action", "done"), Some(2.0 + 3.0), "{text}");
    assert_eq!((calls("action", "refused"), calls("action", "pending")), (Some(1.0), Some(1.0)));
    assert_eq!((calls("compensation", "done"), calls("action", "gone")), (Some(2.0), Some(0.0)));
    assert_eq!(calls("unread", "invalid"), Some(2.0), "a call and a batch that could not be read");
    assert_eq!(calls("confirm", "done"), None, "what never happened is left out");

    let of_do = "operation=\"do\"";
    assert_eq!(value(&text, "amends_participant_call_seconds_count", of_do), Some(7.0 + 3.0));
    assert_eq!(value(&text, "amends_participant_batch_calls_sum", of_do), Some(3.0));
    let bucket =
        |le: &str| value(&text, "amends_participant_batch_calls_bucket", &format!("{of_do},le=\"{le}\""));
    assert_eq!((bucket("1"), bucket("4"), bucket("+Inf")), (Some(0.0), Some(1.0), Some(1.0)));
    let met =
        |outcome: &str| value(&text, "amends_participant_barrier_total", &format!("outcome=\"{outcome}\""));
    assert_eq!((met("first"), met("repeat"), met("null")), (Some(4.0 + 3.0), Some(1.0), Some(1.0)), "{text}");
    assert_eq!(value(&text, "amends_participant_writer_transaction_calls_sum", ""), Some(9.0));
    assert_eq!(value(&text, "amends_participant_writer_waiting", ""), Some(0.0));
}

#[tokio::test]
async fn a_broken_law_is_shown_until_it_is_kept_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let switches = Arc::new(Switches::default());
    let participant = participant(directory.path()).await.audits(Arc::new(Arc::clone(&switches)));
    let router = participant.router();
    let audited = async |broken: bool, gone: bool| {
        switches.broken.store(broken, Ordering::Relaxed);
        switches.gone.store(gone, Ordering::Relaxed);
        participant.auditing().once("counted", &switches).await;
        metrics(&router).await
    };
    let broken = |text: &str| value(text, "amends_participant_audit_broken", "law=\"balanced\"");
    let runs = |text: &str, outcome: &str| {
        value(text, "amends_participant_audit_runs_total", &format!("outcome=\"{outcome}\""))
    };
    let before = metrics(&router).await;
    assert_eq!((broken(&before), runs(&before, "kept")), (None, Some(0.0)));
    let text = audited(false, false).await;
    assert_eq!((broken(&text), runs(&text, "kept")), (Some(0.0), Some(1.0)));
    let text = audited(true, false).await;
    assert_eq!((broken(&text), runs(&text, "broken")), (Some(2.0), Some(1.0)));
    assert_eq!(value(&text, "amends_participant_audit_broken", "law=\"other\""), Some(0.0));
    let text = audited(false, true).await;
    assert_eq!((broken(&text), runs(&text, "failed")), (Some(2.0), Some(1.0)), "unread, it is as it was");
    assert_eq!(broken(&audited(false, false).await), Some(0.0));
}

#[tokio::test]
async fn a_participant_that_runs_audits_itself_and_looks_at_its_figures() {
    let directory = tempfile::tempdir().expect("a directory");
    let every = Duration::from_millis(100);
    let participant = participant(directory.path()).await.audits(Arc::new(Arc::<Switches>::default()));
    let participant = participant.audit_every(Some(every)).figures(Arc::new(Looks::default()));
    let router = participant.router();
    let _ = tokio::time::timeout(every * 5, participant.watch()).await;
    let audits = |text: &str| value(text, "amends_participant_audit_runs_total", "outcome=\"kept\"");
    let text = metrics(&router).await;
    let audited = audits(&text);
    assert!(
        (Some(2.0)..=Some(5.0)).contains(&audited),
        "one after a fifth of the time, then one a time: {text}"
    );
    assert!(text.contains("\nshop_looks 1\n"), "whoever asks at once is told the same: {text}");

    let none = participant.clone().audit_every(None);
    let _ = tokio::time::timeout(every * 2, none.watch()).await;
    assert_eq!(audits(&metrics(&router).await), audited);
}

#[test]
fn labels_cannot_break_out_of_their_quotes() {
    let mut text = Text::of("a\"b");
    text.one("x", "gauge", "says", &1);
    text.value("x", &[("law", "c\\\nd")], &2);
    text.go_on_without_a_name();
    text.value("y", &[("law", "e"), ("row", "f")], &3);
    text.value("y", &[], &4);
    let expected = [
        "# HELP x says",
        "# TYPE x gauge",
        r#"x{participant="a\"b"} 1"#,
        r#"x{participant="a\"b",law="c\\\nd"} 2"#,
        r#"y{law="e",row="f"} 3"#,
        "y 4",
        "",
    ];
    assert_eq!(text.to_string(), expected.join("\n"));
}
