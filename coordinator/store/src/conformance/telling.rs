//! Checks of the outbox and of jobs: what is told is one with its cause, is given to one at a time, and
//! goes on until it is done.

use super::{
    Subject, member,
    repairing::{anomaly, put, row, settled},
    sample::id,
};
use crate::{
    Store,
    repairs::{Delivery, Item, JobRow, Told},
};
use amends_saga::{RepairRow, Timestamp, coordinator::Written};
use std::{collections::BTreeSet, time::Duration};
use uuid::Uuid;

/// Longer than any check.
const LONG_MS: u64 = 3_600_000;

/// Short enough to wait for, long enough for a slow machine.
const SHORT: Duration = Duration::from_millis(300);

async fn hooks(store: &dyn Store, hooks: &[(&str, &[Told])]) {
    let hooks: Vec<_> = hooks.iter().map(|(name, told)| ((*name).to_owned(), told.to_vec())).collect();
    store.set_hooks(&hooks).await.expect("it can be written");
}

async fn take(store: &dyn Store, limit: usize) -> Vec<Delivery> {
    store.take_deliveries(limit, LONG_MS).await.expect("it can be written")
}

fn told(deliveries: &[Delivery]) -> Vec<(&str, Told, Uuid)> {
    deliveries.iter().map(|delivery| (delivery.hook.as_str(), delivery.told, delivery.item)).collect()
}

fn known(n: u64) -> Uuid {
    row(n).item
}

const ALL: &[Told] = &[Told::Opened, Told::Escalated, Told::Settled];

pub(super) async fn each_change(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    put(&*store, &me, vec![row(1)]).await;
    assert_eq!(take(&*store, 9).await, [], "nobody is to be told");
    hooks(&*store, &[("all", ALL), ("end", &[Told::Settled])]).await;
    put(&*store, &me, vec![row(2), settled(row(2))]).await;
    let taken = take(&*store, 9).await;
    let expected = [("all", Told::Opened, 2), ("end", Told::Settled, 2), ("all", Told::Settled, 2)];
    let expected = expected.map(|(hook, told, n)| (hook, told, known(n)));
    assert_eq!(told(&taken), expected, "each hook what it wants, in the order in which it happened");
    assert_eq!(taken[0].at, row(2).opened_at);
    assert_eq!(taken[1].at, settled(row(2)).updated_at);
    let ids: BTreeSet<Uuid> = taken.iter().map(|delivery| delivery.event).collect();
    assert_eq!(ids.len(), 3, "every hook's event has its own id");
    let opened = anomaly(3, "lost_row", None);
    store.open_anomalies(&[opened.clone(), opened.clone()]).await.expect("it can be written");
    store.escalate(1, Timestamp(i64::MAX), 1).await.expect("it can be written");
    let how = Some(amends_saga::How::Resolved);
    let changed = Item { status: amends_saga::RepairStatus::Settled, settled_how: how, ..opened.clone() };
    for is_first in [true, false] {
        let changed = Item { updated_at: Timestamp(opened.updated_at.0 + 1), ..changed.clone() };
        let done = store.change_anomaly(&changed, opened.updated_at).await.expect("it can be written");
        assert_eq!(done, is_first);
    }
    let all: Vec<Delivery> = take(&*store, 9).await.into_iter().filter(|d| d.hook == "all").collect();
    let expected = [(Told::Opened, 3), (Told::Escalated, 1), (Told::Settled, 3)];
    assert_eq!(told(&all), expected.map(|(told, n)| ("all", told, known(n))));
    assert_eq!(all[1].level, 1, "an escalation says how loud");
    let touched = RepairRow { assignee: Some("ada".to_owned()), ..settled(row(2)) };
    put(&*store, &me, vec![RepairRow { saga: id(9), ..touched }]).await;
    assert_eq!(take(&*store, 9).await, [], "a change that is neither is not told");
}

pub(super) async fn with_their_cause(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    hooks(&*store, &[("all", ALL)]).await;
    put(&*store, &me, vec![row(1)]).await;
    let mut append = super::Script::new(super::Beginning::nth(5), super::Plot::Completes).next_append();
    let append = append.as_mut().expect("it begins");
    (append.id, append.repairs) = (id(1), vec![row(2)]);
    let outcomes = store.commit(&me, std::slice::from_ref(append)).await.expect("the store is there");
    assert_eq!(outcomes, [Written::Fenced]);
    assert_eq!(store.deliveries_pending().await.expect("it can be read"), 1, "what is not done is not told");
    let store = subject.reopen(store).await;
    let taken = store.take_deliveries(9, 0).await.expect("it can be written");
    assert_eq!(told(&taken), [("all", Told::Opened, known(1))], "an event survives with its cause");
    let store = subject.reopen(store).await;
    let again = take(&*store, 9).await;
    assert_eq!(told(&again), told(&taken), "and the crash of who delivers it");
    assert_eq!(again[0].event, taken[0].event, "under the same id");
    assert_eq!((taken[0].attempts, again[0].attempts), (0, 1));
}

pub(super) async fn one_at_a_time(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    hooks(&*store, &[("a", ALL)]).await;
    for n in 1..=20 {
        put(&*store, &me, vec![row(n)]).await;
    }
    let takers = (0..5).map(|_| take(&*store, 6));
    let taken: Vec<Delivery> = futures::future::join_all(takers).await.into_iter().flatten().collect();
    let numbers: BTreeSet<i64> = taken.iter().map(|delivery| delivery.n).collect();
    assert_eq!((taken.len(), numbers.len()), (20, 20), "each is given to one");
    for delivery in &taken[..18] {
        store.end_delivery(delivery.n, None).await.expect("it can be written");
    }
    assert_eq!(store.deliveries_pending().await.expect("it can be read"), 2);
    store.end_delivery(taken[18].n, Some(LONG_MS)).await.expect("it can be written");
    store.end_delivery(taken[19].n, Some(0)).await.expect("it can be written");
    let again = store.take_deliveries(9, SHORT.as_millis() as u64).await.expect("it can be written");
    let expected = Delivery { attempts: 1, ..taken[19].clone() };
    assert_eq!(again, [expected], "what is to be tried again comes when it is due");
    assert_eq!(take(&*store, 9).await, [], "it is held");
    tokio::time::sleep(SHORT * 2).await;
    let third = take(&*store, 9).await;
    assert_eq!(third.first().map(|delivery| (delivery.n, delivery.attempts)), Some((taken[19].n, 2)));
    store.end_delivery(taken[0].n, Some(0)).await.expect("it can be written");
    assert_eq!(take(&*store, 9).await, [], "what is done with does not come back");
}

pub(super) async fn in_turns(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    hooks(&*store, &[("slow", ALL), ("unwanted", ALL)]).await;
    for n in 1..=6 {
        put(&*store, &me, vec![row(n)]).await;
    }
    hooks(&*store, &[("slow", ALL), ("new", ALL)]).await;
    assert_eq!(
        store.deliveries_pending().await.expect("it can be read"),
        6,
        "what waits for others is dropped"
    );
    put(&*store, &me, vec![row(7)]).await;
    let taken = take(&*store, 3).await;
    let expected = [("slow", 1), ("new", 7), ("slow", 2)].map(|(hook, n)| (hook, Told::Opened, known(n)));
    assert_eq!(told(&taken), expected, "a backlog keeps no other hook waiting");
    hooks(&*store, &[]).await;
    assert_eq!(store.deliveries_pending().await.expect("it can be read"), 0);
}

pub(super) async fn jobs(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    let job = |n: u64, text: &str, version| JobRow {
        id: id(n),
        text: text.to_owned(),
        is_running: n % 2 == 1,
        version,
        updated_at: Timestamp(0),
    };
    assert_eq!(store.job(id(1)).await.expect("it can be read"), None);
    for (owner, row, done) in [
        (&me, job(1, "{}", 0), false),
        (&me, job(1, "{}", 2), false),
        (&me, job(1, "{}", 1), true),
        (&me, job(1, "again", 1), false),
        (&other, job(1, r#"{"done":"ü"}"#, 2), true),
        (&me, job(1, "late", 2), false),
        (&me, job(2, "two", 1), true),
        (&me, job(3, "three", 1), true),
    ] {
        let put = store.put_job(owner, &row).await.expect("it can be written");
        assert_eq!(put, done, "{row:?}");
    }
    let store = subject.reopen(store).await;
    let kept = store.job(id(1)).await.expect("it can be read").expect("it survives");
    assert_eq!((kept.text.as_str(), kept.version), (r#"{"done":"ü"}"#, 2));
    assert!(kept.updated_at > Timestamp(1_600_000_000_000), "by the store's clock: {:?}", kept.updated_at);
    for (stale, limit, expected) in [
        (None, 9, vec![3, 2, 1]),
        (None, 2, vec![3, 2]),
        (Some(0), 9, vec![3, 1]),
        (Some(0), 1, vec![3]),
        (Some(LONG_MS), 9, vec![]),
    ] {
        let found = store.jobs(stale, limit).await.expect("it can be read");
        let found: Vec<Uuid> = found.iter().map(|job| job.id).collect();
        assert_eq!(found, expected.into_iter().map(id).collect::<Vec<_>>(), "{stale:?}, at most {limit}");
    }
}
