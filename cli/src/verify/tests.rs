//! What is read on the command line, and what a verification says at its end.

use super::{
    gather::{Gathered, OwnLaw},
    site::{Site, SiteError, http},
    *,
};
use amends_sdk::Participant;
use amends_wire::audit::{Audited, Effect, EffectState, Sagas, Terms, names};
use amends_wire::{api::ParticipantView, audit::Query};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn a_secret_is_for_everybody_or_for_one() {
    let key: Key = SECRET.parse().expect("a secret");
    assert_eq!((key.name, key.secret.expose()), (None, SECRET.to_owned()));
    let key: Key = format!("inventory={SECRET}").parse().expect("a secret");
    assert_eq!((key.name.as_deref(), key.secret.expose()), (Some("inventory"), SECRET.to_owned()));
    for bad in ["", "inventory=", "inventory=abc", "whsec_", "=whsec_x"] {
        assert!(bad.parse::<Key>().is_err(), "{bad}");
    }
}

/// Nothing read from 18:00 to 19:00 but an effect of a saga that nobody knows, where `orphan` says so.
fn report(orphan: bool, laws: Vec<OwnLaw>) -> Report {
    let now = 1_795_201_200_000;
    let (participants, compared) = (Vec::new(), Vec::new());
    let gathered = Gathered { now, since: now - 3_600_000, sagas: Sagas::default(), participants, compared };
    let mut report = Report::new(&gathered);
    let effect = Effect {
        saga: amends_saga::SagaId::nil(),
        step: "reserve".to_owned(),
        op_state: EffectState::Applied,
        at: now - 600_000,
        effect: None,
        expires_at: None,
    };
    let mut sagas = Sagas::default();
    sagas.add_unknown(effect.saga);
    let effects = if orphan { vec![effect] } else { Vec::new() };
    let audited = Audited { effects, ..Audited::default() };
    let terms = Terms { now, settle_ms: 60_000, traceless: Default::default() };
    report.audited(compare("inventory", &audited, &sagas, &terms), audited.effects.len());
    report.own_laws("inventory", laws);
    report.not_audited("legacy", None);
    report.finish()
}

fn own(kept: bool, violations: Vec<Value>) -> OwnLaw {
    let (name, law) = ("stock_is_balanced".to_owned(), "usable + held + shipped = inbound".to_owned());
    OwnLaw { name, law, kept, violations }
}

#[test]
fn a_report_counts_what_is_kept_and_names_what_is_broken() {
    let kept = report(false, vec![own(true, Vec::new())]);
    assert!(kept.kept && kept.unchecked().is_none());
    let shown = serde_json::to_value(&kept).expect("JSON");
    assert_eq!((&shown["since"], &shown["findings"]), (&json!("2026-11-20T18:00:00.000Z"), &json!([])));
    let last = shown["invariants"].as_array().and_then(|all| all.last()).expect("an invariant");
    let expected = json!({ "id": "I16", "participant": "inventory", "name": "stock_is_balanced", "kept": true,
        "law": "usable + held + shipped = inbound", "checked": null, "broken": 0 });
    assert_eq!(*last, expected);
    assert_eq!(shown["participants"][1]["audit"], "not offered");

    let broken = report(true, Vec::new());
    assert!(!broken.kept);
    let shown = serde_json::to_value(&broken).expect("JSON");
    assert_eq!(shown["findings"][0]["name"], names::EFFECT_WITHOUT_A_SAGA);
    let laws = shown["invariants"].as_array().expect("invariants");
    let broken: Vec<&Value> =
        laws.iter().filter(|law| law["kept"] == false).map(|law| &law["name"]).collect();
    assert_eq!(broken, ["no_orphan_effects"]);
}

#[test]
fn a_participants_own_law_that_is_broken_breaks_the_report() {
    let broken = report(false, vec![own(false, vec![json!({ "sku": 7 }), json!({ "sku": 9 })])]);
    assert!(!broken.kept);
    let shown = serde_json::to_value(&broken).expect("JSON");
    assert_eq!(shown["findings"].as_array().map(Vec::len), Some(2));
    assert_eq!(shown["findings"][1]["detail"], json!({ "row": { "sku": 9 } }));
    assert!(!report(false, vec![own(false, Vec::new())]).kept);
}

#[test]
fn what_could_not_be_asked_is_told() {
    let mut report = report(false, Vec::new());
    report.not_audited("order", Some("it does not answer".to_owned()));
    assert!(report.kept);
    assert_eq!(report.unchecked().as_deref(), Some("order: it does not answer"));
    report.laws_not_read("order", "nor do its laws".to_owned());
    report.laws_not_read("inventory", "its own laws: no answer".to_owned());
    let unchecked = report.unchecked().expect("something");
    assert_eq!(unchecked, "inventory: its own laws: no answer; order: it does not answer");
}

/// A catalogue that takes only signed calls, and how a coordinator shows it: a dead instance, then the live one.
async fn signed(dir: &std::path::Path, stop: &CancellationToken) -> ParticipantView {
    let config = amends_product::Config {
        secrets: vec![Secret::parse(SECRET).expect("a secret")],
        ..amends_product::Config::new(format!("sqlite:{}", dir.join("product.db").display()))
    };
    let product = amends_product::open(config).await.expect("it opens");
    let participant: Participant = product.participant().clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let stop = stop.clone();
    tokio::spawn(async move { amends_sdk::run(&participant, listener, None, stop).await });
    serde_json::from_value(json!({
        "name": "product", "operations": {}, "updated_at": "2026-11-20T18:00:00.000Z",
        "breaker": { "state": "closed", "until": null },
        "instances": [
            { "id": "1", "url": "http://127.0.0.1:9", "healthy": false, "expires_at": null },
            { "id": "2", "url": url, "healthy": true, "expires_at": null },
        ],
    }))
    .expect("a view")
}

#[tokio::test]
async fn a_participant_that_wants_signatures_gets_them_and_says_so_otherwise() {
    crate::process::install_tls();
    let dir = tempfile::tempdir().expect("a directory");
    let stop = CancellationToken::new();
    let view = signed(dir.path(), &stop).await;
    let site = |secret: Option<&str>| {
        let secret = secret.map(|secret| Secret::parse(secret).expect("a secret"));
        Site::new(http().expect("a client"), &view, secret)
    };
    let page = site(Some(SECRET)).page(&Query::since(0)).await.expect("a page");
    assert_eq!((page.effects.len(), page.next), (0, None));
    let unsigned = site(None).page(&Query::since(0)).await.expect_err("it is not signed");
    assert!(matches!(unsigned, SiteError::Unsigned { .. }), "{unsigned}");
    assert!(unsigned.to_string().contains("give its secret with --secret"), "{unsigned}");
    let none = site(Some(SECRET)).get::<Value>("/nothing", &()).await.expect_err("there is none");
    assert!(matches!(none, SiteError::NotOffered(_)), "{none}");
    stop.cancel();
}
