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

/// A definition of the shop's, with all others beside it.
fn shops(name: &str) -> Rehearsal {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../sagas");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).expect("a text");
    let rehearsal = Rehearsal::of(&read(&std::path::Path::new(folder).join(name))).expect("a definition");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the definitions")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.retain(|path| {
        path.extension().is_some_and(|extension| extension == "yaml") && !path.ends_with(name)
    });
    paths.iter().fold(rehearsal, |rehearsal, path| rehearsal.with_child(&read(path)).expect("a definition"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shops_definitions_pass_the_standard_faults() {
    // How many end in repair: those of which a step past the pivot fails, in three ways each.
    for (name, completed, in_repair) in [
        ("cancel-order.yaml", 2, None),
        ("checkout.yaml", 2, Some(0)),
        ("group-order.yaml", 2, Some(0)),
        ("order-and-ship.yaml", 2, None),
        ("order.yaml", 2, Some(0)),
        ("parallel.yaml", 2, Some(0)),
        ("parcels.yaml", 2, Some(0)),
        ("pay-then-deduct.yaml", 2, Some(0)),
        ("place.yaml", 2, Some(0)),
        ("refund.yaml", 2, None),
        ("ship.yaml", 2, None),
    ] {
        let report = shops(name).standard().await.expect(name);
        report.assert_kept();
        let outcomes = &report.outcomes;
        assert_eq!((outcomes.completed, outcomes.never_ended), (completed, 0), "{report}");
        match in_repair {
            Some(in_repair) => assert_eq!(outcomes.in_repair, in_repair, "{report}"),
            None => assert!(outcomes.in_repair > 0, "{report}"),
        }
        let stuck = report.repairs.len() as u64;
        assert_eq!(stuck, outcomes.in_repair, "one item for each: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_children_keep_every_law_when_everything_goes_wrong_at_once() {
    for (name, at) in [
        ("parcels.yaml", "hold[2]"),
        ("group-order.yaml", "orders[2]/create"),
        ("order-and-ship.yaml", "place/pay"),
    ] {
        let report = run(&shops(name).mix("rough".parse().expect("a mix")).sagas(60)).await;
        report.assert_kept();
        assert!(report.outcomes.completed > 0 && report.outcomes.compensated > 0, "{report}");
        assert_eq!(report.outcomes.never_ended, 0, "{report}");
        let met: std::collections::BTreeSet<&str> =
            report.every_fault().iter().map(|fault| fault.step.as_str()).collect();
        assert!(met.contains(at), "{name}: {met:?}");
    }
}

/// A list of sagas, and behind it a step that is needed sometimes and one that never is.
const FAN: &str = "
saga: fan
steps:
  - trips: { for_each: [1, 2, 3], saga: trip, with: { nr: '${{ item }}' } }
  - gift: { when: '${{ true }}', action: shop.wrap, compensation: shop.unwrap, with: {} }
  - card: { when: '${{ false }}', action: shop.write, compensation: shop.burn, with: {} }
  - bill: { action: ledger.bill, compensation: ledger.void, with: {} }
";

const TRIP: &str = "
saga: trip
input: { type: object, properties: { nr: { type: integer } } }
steps:
  - seat: { action: rail.hold, compensation: rail.free, with: { nr: '${{ input.nr }}' } }
  - word: { await: word, timeout: 1m }
  - room: { action: inn.hold, compensation: inn.free, with: {} }
";

fn fan() -> Rehearsal {
    Rehearsal::of(FAN).expect("a definition").with_child(TRIP).expect("a definition")
}

#[tokio::test(flavor = "multi_thread")]
async fn children_in_a_list_fail_one_by_one_and_are_signalled_and_cancelled() {
    let report = fan().standard().await.expect("it runs");
    report.assert_kept();
    // Of the first and of the last child: seat and room each refused, without an answer, and refused with every undo
    // repeated, and the wait cancelled; of gift and bill three each. The card is not needed, and cannot fail.
    assert_eq!(
        (report.outcomes.completed, report.outcomes.compensated),
        (2, 2 * (2 * 3 + 1) + 2 * 3),
        "{report}"
    );
    let met = |step: &str| report.every_fault().iter().any(|fault| fault.step == step);
    for step in ["trips[0]/seat", "trips[2]/room", "gift", "bill"] {
        assert!(met(step), "{step}: {report}");
    }
    assert!(!met("card") && !met("word"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_child_leaves_behind_without_a_barrier_is_caught() {
    let mix: Mix = "drop_after=0.2".parse().expect("a mix");
    let rehearsal = fan().mix(mix).sagas(30);
    run(&rehearsal).await.assert_kept();
    let report = run(&rehearsal.without_barrier()).await;
    let is_child =
        |step: &Option<String>| step.as_deref().is_some_and(|step| ["seat", "room"].contains(&step));
    let twice = report.breaches.iter().any(|breach| breach.law == Law::AtMostOnce && is_child(&breach.step));
    assert!(twice, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_cannot_be_undone_stands_in_the_queue_once_and_its_parent_rests() {
    let rehearsal = fan().mix("undo_fails_forever=1".parse().expect("a mix")).sagas(5);
    let report = run(&rehearsal.answer_with("ledger.bill", |_| refused())).await;
    report.assert_kept();
    assert_eq!(report.outcomes.in_repair, 5, "{report}");
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
    let alone = Rehearsal::of(FAN).expect("a definition").run().await.expect_err("its child is missing");
    assert!(alone.to_string().contains("step \"trips\" of \"fan\" runs the saga \"trip\""), "{alone}");
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
    assert!(!report.kept, "{told}");
    assert!(told.contains("step reserve is compensated, and was to be completed: nothing is left"), "{told}");
}

fn refused() -> StubAnswer {
    StubAnswer::Refused("the ledger is closed".to_owned())
}
