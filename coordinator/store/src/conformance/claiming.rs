//! Checks of membership: who owns a saga, who may take it, and who is fenced from then on.

use super::{
    Subject, begin, finish, member, owner,
    sample::{Plot, id},
    write,
};
use crate::{Error, Owner, Store, Stored};
use amends_saga::{SagaId, coordinator::Written};
use std::time::Duration;

async fn claim(store: &dyn Store, owner: &Owner, limit: usize) -> Vec<Stored> {
    store.claim(owner, limit).await.expect("a member may claim")
}

fn ids(sagas: &[Stored]) -> Vec<SagaId> {
    sagas.iter().map(|saga| saga.id).collect()
}

pub(super) async fn living_owner(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    begin(&*store, &me, 1, Plot::Completes, 1).await;
    assert_eq!(claim(&*store, &other, 10).await, [], "a living owner keeps its sagas");
    assert_eq!(claim(&*store, &me, 10).await, [], "nobody claims from itself");
    let unheard = owner("unheard of");
    begin(&*store, &unheard, 2, Plot::Completes, 1).await;
    assert_eq!(claim(&*store, &other, 10).await, [], "who writes first becomes a member by it");
}

pub(super) async fn released(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    let mut script = begin(&*store, &me, 1, Plot::Completes, 2).await;
    let before = store.load(id(1)).await.expect("it can be read").expect("it is there");
    store.release(&me).await.expect("a member may leave");
    let claimed = claim(&*store, &other, 10).await;
    assert_eq!(claimed, [Stored { epoch: 2, ..before }], "it comes whole, with the next epoch");
    let next = script.next_append().expect("it goes on");
    let outcomes = store.commit(&me, std::slice::from_ref(&next)).await.expect("the store is there");
    assert_eq!(outcomes, [Written::Fenced], "the old owner is fenced");
    script.set_epoch(2);
    write(&*store, &other, &[amends_saga::coordinator::Append { epoch: 2, ..next }]).await;
    finish(&*store, &other, &mut script).await;
    store.release(&other).await.expect("a member may leave");
    assert_eq!(claim(&*store, &me, 10).await, [], "an ended saga is nobody's");
}

pub(super) async fn order(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let also = member(&*store, "also me").await;
    begin(&*store, &also, 1, Plot::Completes, 1).await;
    begin(&*store, &me, 2, Plot::Completes, 2).await;
    begin(&*store, &me, 3, Plot::Compensates, 4).await;
    let mut parked = begin(&*store, &also, 4, Plot::Parks, 1).await;
    finish(&*store, &also, &mut parked).await;
    // It waits for an operator, who had just had it taken back.
    assert_eq!(ids(&store.reclaim(&also, &[id(4)]).await.expect("a member may reclaim")), [id(4)]);
    begin(&*store, &me, 5, Plot::Compensates, 4).await;
    begin(&*store, &me, 6, Plot::Completes, 1).await;
    store.release(&me).await.expect("a member may leave");
    store.release(&also).await.expect("a member may leave");
    let other = member(&*store, "other").await;
    let mut claimed = ids(&claim(&*store, &other, 2).await);
    claimed.extend(ids(&claim(&*store, &other, 2).await));
    claimed.extend(ids(&claim(&*store, &other, 10).await));
    assert_eq!(claimed, [3, 4, 5, 1, 2, 6].map(id));
    assert_eq!(claim(&*store, &other, 10).await, [], "nothing is claimed twice");
    assert_eq!(claim(&*store, &other, 0).await, []);
}

/// Short enough to wait for, long enough for a slow machine.
const SHORT: Duration = Duration::from_millis(300);

fn short_ms() -> u64 {
    SHORT.as_millis() as u64
}

pub(super) async fn lease(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = owner("me");
    store.heartbeat(&me, short_ms()).await.expect("a new member");
    let other = member(&*store, "other").await;
    let mut script = begin(&*store, &me, 1, Plot::Completes, 1).await;
    begin(&*store, &me, 2, Plot::Completes, 1).await;
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(ids(&claim(&*store, &other, 1).await), [id(1)], "the lease has passed");
    let renewed = store.heartbeat(&me, short_ms()).await;
    assert!(matches!(renewed, Err(Error::LeaseLost)), "who was replaced is told: {renewed:?}");
    assert!(matches!(store.claim(&me, 1).await, Err(Error::LeaseLost)), "and claims nothing");
    assert!(matches!(store.reclaim(&me, &[id(2)]).await, Err(Error::LeaseLost)), "not even its own");
    let stale = [script.next_append().expect("it goes on")];
    assert_eq!(store.commit(&me, &stale).await.expect("the store is there"), [Written::Fenced]);
    let mut new = super::Script::new(super::Beginning::nth(3), Plot::Completes);
    let new = [new.next_append().expect("it begins")];
    assert_eq!(store.commit(&me, &new).await.expect("the store is there"), [Written::Fenced]);
    assert_eq!(ids(&claim(&*store, &other, 10).await), [id(2)], "the rest is free as well");
}

pub(super) async fn renewed(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = owner("me");
    store.heartbeat(&me, short_ms()).await.expect("a new member");
    let mut script = begin(&*store, &me, 1, Plot::Completes, 1).await;
    tokio::time::sleep(SHORT * 2).await;
    store.heartbeat(&me, super::LONG_MS).await.expect("nobody took over, so nothing is lost");
    let other = member(&*store, "other").await;
    assert_eq!(claim(&*store, &other, 10).await, []);
    finish(&*store, &me, &mut script).await;
}

pub(super) async fn reclaim(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    let gone = member(&*store, "gone").await;
    let mut mine = begin(&*store, &me, 1, Plot::Completes, 1).await;
    begin(&*store, &other, 2, Plot::Completes, 1).await;
    begin(&*store, &gone, 3, Plot::Completes, 1).await;
    let mut over = begin(&*store, &me, 4, Plot::Completes, 1).await;
    finish(&*store, &me, &mut over).await;
    store.release(&gone).await.expect("a member may leave");
    let wanted = [3, 9, 2, 1, 4].map(id);
    let taken = store.reclaim(&me, &wanted).await.expect("a member may reclaim");
    assert_eq!(ids(&taken), [id(1), id(3)], "one's own and nobody's, and what is live");
    assert!(taken.iter().all(|saga| saga.epoch == 2), "with the next epoch");
    let stale = [mine.next_append().expect("it goes on")];
    assert_eq!(store.commit(&me, &stale).await.expect("the store is there"), [Written::Fenced]);
    assert_eq!(store.reclaim(&me, &[]).await.expect("a member may reclaim"), []);
}
