//! Rehearsals as a library: what they find, and that the shop's own definitions pass them.

use amends::{
    chaos::{Fault, Law, Mix, Pace, Rehearsal, Report, Share, StubAnswer},
    embedded::Embedded,
    settings::Listen,
    shop::Shop,
};
use serde_json::json;
use std::net::Ipv4Addr;

/// Three steps, each with its undo.
const TRANSFER: &str = "
saga: transfer
steps:
  - check: { action: bank.check, read_only: true, with: { amount: 5 } }
  - withdraw: { action: bank.withdraw, compensation: bank.give_back, with: { amount: 5 } }
  - deposit: { action: vault.deposit, compensation: vault.take_out, with: { amount: 5 } }
  - note: { action: ledger.note, compensation: ledger.strike, with: { total: \"${{ steps.deposit.output.total }}\" } }
";

fn transfer(faults: &str) -> Rehearsal {
    Rehearsal::of(TRANSFER).expect("a definition").mix(faults.parse().expect(faults)).sagas(60)
}

async fn run(rehearsal: &Rehearsal) -> Report {
    rehearsal.run().await.expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_faults_every_saga_completes() {
    let report = run(&transfer("none")).await;
    report.assert_kept();
    assert_eq!(report.outcomes.completed, 60, "{report}");
    assert!(report.injected.is_empty() && report.repairs.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_law_is_kept_when_everything_goes_wrong_at_once() {
    let report = run(&transfer("rough")).await;
    report.assert_kept();
    assert!(report.outcomes.completed > 0 && report.outcomes.compensated > 0, "{report}");
    for fault in ["delay", "drop_before", "drop_after", "duplicate", "refuse"] {
        assert!(report.injected.contains_key(fault), "{fault} was met: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_gives_the_same_faults() {
    let faults = "drop_before=0.1,drop_after=0.1,duplicate=0.2:20ms,refuse=0.1,garbage=0.05,undo_fails=0.3:2";
    let rehearsal = transfer(faults);
    let (first, again) = (run(&rehearsal.clone().seed(7)).await, run(&rehearsal.clone().seed(7)).await);
    let other = run(&rehearsal.seed(8)).await;
    assert!(!first.every_fault().is_empty(), "{first}");
    assert_eq!(first.every_fault(), again.every_fault());
    assert_eq!(first.outcomes, again.outcomes);
    assert_ne!(first.every_fault(), other.every_fault());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_that_fails_and_then_works_leaves_no_item() {
    let report = run(&transfer("undo_fails=1:5").answer_with("ledger.note", |_| refused())).await;
    report.assert_kept();
    assert_eq!(report.outcomes.compensated, 60, "{report}");
    assert_eq!(report.injected.get("undo_fails"), Some(&(2 * 5 * 60)), "two steps, five times: {report}");
    assert!(report.repairs.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_that_never_works_leaves_one_item_for_each_saga() {
    let rehearsal = transfer("undo_fails_forever=1").answer_with("ledger.note", |_| refused()).sagas(20);
    let report = run(&rehearsal).await;
    report.assert_kept();
    assert_eq!(report.outcomes.in_repair, 20, "{report}");
    // The deposit cannot be undone, and holds the withdrawal before it.
    let items: Vec<(u64, &str)> = report.repairs.iter().map(|item| (item.saga, item.step.as_str())).collect();
    assert_eq!(items, (0..20).map(|number| (number, "deposit")).collect::<Vec<_>>(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_without_a_barrier_is_caught() {
    let mix = Mix { drop_after: Share::per_thousand(200), ..Mix::default() };
    let rehearsal = Rehearsal::of(TRANSFER).expect("a definition").mix(mix).sagas(60);
    run(&rehearsal).await.assert_kept();
    let report = run(&rehearsal.without_barrier()).await;
    assert!(!report.kept, "{report}");
    assert!(report.breaches.iter().any(|breach| breach.law == Law::AtMostOnce), "{report}");
    assert!(report.to_string().contains("BROKEN  no call takes effect twice"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_arrives_after_its_undo_does_nothing_where_there_is_a_barrier() {
    let hasty = TRANSFER.replace("vault.take_out,", "vault.take_out, timeout: 20ms, retry: { attempts: 1 },");
    let mix = "delay=0.3:100ms,duplicate=0.2:200ms".parse().expect("a mix");
    let rehearsal = Rehearsal::of(&hasty).expect("a definition").mix(mix).sagas(60);
    let report = run(&rehearsal).await;
    report.assert_kept();
    let late = report.laws.iter().find(|law| law.law == Law::NothingAfterUndo).expect("it was checked");
    assert!(late.checked > 10, "{report}");
    let report = run(&rehearsal.without_barrier()).await;
    assert!(report.breaches.iter().any(|breach| breach.law == Law::NothingAfterUndo), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_ends_and_so_do_the_sagas() {
    let report = run(&transfer("outage").pace(Pace::PerSecond(100.0))).await;
    report.assert_kept();
    assert!(report.injected.get("down") > Some(&5), "{report}");
    assert!(report.outcomes.completed > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_coordinator_loses_nothing() {
    let report = run(&transfer("crash=0.2+0.4+0.6+0.8,drop_after=0.05,refuse=0.1").sagas(200)).await;
    report.assert_kept();
    assert_eq!(report.outcomes.completed + report.outcomes.compensated, 200, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shops_definitions_pass_the_standard_faults() {
    let sagas = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../sagas")).expect("the definitions");
    let sagas = sagas.map(|entry| entry.expect("an entry").path());
    let sagas: Vec<_> = sagas.filter(|path| path.extension().is_some_and(|ext| ext == "yaml")).collect();
    assert!(sagas.len() >= 3, "{sagas:?}");
    for path in sagas {
        let source = std::fs::read_to_string(&path).expect("a text");
        let rehearsal = Rehearsal::of(&source).expect("a definition");
        let name = rehearsal.definition().name.clone();
        let report = rehearsal.standard().await.expect(&name);
        report.assert_kept();
        assert!(report.outcomes.completed == 1 && report.outcomes.compensated > 4, "{report}");
        assert_eq!(report.outcomes.in_repair + report.outcomes.never_ended, 0, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_that_waits_is_signalled() {
    let checkout = Rehearsal::of(include_str!("../../sagas/checkout.yaml")).expect("a definition");
    let report = run(&checkout.sagas(20).answer("payment", json!({ "receipt": "R-1" }))).await;
    report.assert_kept();
    assert_eq!(report.outcomes.completed, 20, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn participants_that_are_there_are_rehearsed_and_their_books_compared() {
    amends::process::install_tls();
    let dir = tempfile::tempdir().expect("a directory");
    let house = Embedded::start(dir.path(), Listen((Ipv4Addr::LOCALHOST, 0).into())).await.expect("a house");
    let shop = Shop::new(house.shop.clone()).expect("a shop");
    shop.replenish("opening-stock", &[(1, 1000)].into()).await.expect("stock");
    let rehearsal = Rehearsal::of(include_str!("../../sagas/order.yaml"))
        .expect("a definition")
        .input(json!({ "order": "{run}-{number}", "lines": [{ "sku": 1, "qty": 2, "price_minor": 100 }] }))
        .mix("mild,refuse=0.1,undo_fails=0.3:2,crash=0.5".parse().expect("a mix"))
        .sagas(40);
    let rehearsal = rehearsal.registered_with(&house.client, None).await.expect("they are registered");
    let report = run(&rehearsal).await;
    report.assert_kept();
    assert!(report.outcomes.completed > 0 && report.outcomes.compensated > 0, "{report}");
    let books = report.laws.iter().find(|law| law.law == Law::BooksAgree).expect("the books were compared");
    assert!(books.checked > 40, "{report}");
    house.stop().await;
}

#[tokio::test]
async fn what_cannot_be_rehearsed_says_why() {
    let said = |error: amends::chaos::RehearsalError| error.to_string();
    let broken = Rehearsal::of("saga: a").expect_err("no steps");
    assert!(said(broken).contains("the definition has no \"steps\""));
    let checkout = Rehearsal::of(include_str!("../../sagas/checkout.yaml")).expect("a definition");
    let told = said(checkout.clone().input(json!({ "order": 7 })).run().await.expect_err("it does not fit"));
    assert!(told.starts_with("the input does not fit the definition: "), "{told}");
    let told =
        said(checkout.clone().answer("stock.hold", json!(1)).run().await.expect_err("nobody calls it"));
    assert!(
        told.contains("\"stock.hold\", which the definition does not call; it calls product.quote, inv"),
        "{told}"
    );
    let told = said(checkout.answer("paymnet", json!(1)).run().await.expect_err("nobody awaits it"));
    assert!(told.contains("which the definition does not await"), "{told}");
}

#[test]
fn faults_have_the_words_they_are_written_with() {
    assert_eq!(Fault::UndoFailsForever.as_str(), "undo_fails_forever");
    assert_eq!(serde_json::to_value(Fault::DropAfter).expect("a word"), "drop_after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standard_fault_that_does_not_come_about_is_told_at_once() {
    let checkout = Rehearsal::of(include_str!("../../sagas/checkout.yaml")).expect("a definition");
    let full = |_: &_| StubAnswer::Refused("nothing is left".to_owned());
    let report = checkout.answer_with("inventory.hold", full).standard().await.expect("it runs");
    let told = report.to_string();
    let early = "step reserve turned round here, and was to at step order: nothing is left";
    assert!(!report.kept && told.contains(early), "{told}");
    assert!(told.contains("step reserve is compensated, and was to be completed: nothing is left"), "{told}");
}

fn refused() -> StubAnswer {
    StubAnswer::Refused("the ledger is closed".to_owned())
}
