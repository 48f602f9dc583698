//! Checks of sagas that wait for an operator only: nobody's, found, and taken back when a verb comes.

use super::{
    LONG_MS, Subject, begin, finish, member,
    sample::{Plot, Script, id, moved},
    write,
};
use crate::{Filter, Owner, Store, Stored};
use amends_saga::{
    SagaId, Status, Verb,
    coordinator::{Append, Written},
};

const NONE: [SagaId; 0] = [];

/// Writes the `n`th saga until it waits for an operator.
pub(super) async fn park(store: &dyn Store, owner: &Owner, n: u64) -> Script {
    let mut script = begin(store, owner, n, Plot::Parks, 1).await;
    finish(store, owner, &mut script).await;
    script
}

/// Takes one saga back.
pub(super) async fn take_back(store: &dyn Store, owner: &Owner, n: u64) -> Stored {
    let mut taken = store.reclaim(owner, &[id(n)]).await.expect("a member may reclaim");
    assert_eq!(taken.len(), 1, "saga {n} is nobody's");
    taken.remove(0)
}

async fn claimed(store: &dyn Store, owner: &Owner) -> Vec<SagaId> {
    let claimed = store.claim(owner, 10).await.expect("a member may claim");
    claimed.iter().map(|saga| saga.id).collect()
}

pub(super) async fn nobodys(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    park(&*store, &me, 1).await;
    begin(&*store, &me, 2, Plot::Completes, 1).await;
    let other = member(&*store, "other").await;
    store.release(&me).await.expect("a member may leave");
    assert_eq!(claimed(&*store, &other).await, [id(2)], "what waits for an operator is not claimed");
    let parked = Filter { statuses: vec![Status::Repair], ..Filter::default() };
    for filter in
        [parked, Filter::default(), Filter { step: Some("reserve".to_owned()), ..Filter::default() }]
    {
        let found = store.list(&filter, None, 10).await.expect("it can be read");
        assert!(found.iter().any(|saga| saga.id == id(1)), "it is found by {filter:?}");
    }
    let counts = store.counts().await.expect("it can be read");
    assert_eq!(counts, [(Status::Running, 1), (Status::Repair, 1)], "and counted");
    store.release(&other).await.expect("a member may leave");
    let store = subject.reopen(store).await;
    let next = member(&*store, "next").await;
    assert_eq!(claimed(&*store, &next).await, [id(2)], "nor after a crash");
}

pub(super) async fn taken_back(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    let mut script = park(&*store, &me, 1).await;
    let mut mine = begin(&*store, &me, 2, Plot::Completes, 1).await;
    let before = store.load(id(1)).await.expect("it can be read").expect("it is there");
    let stored = take_back(&*store, &other, 1).await;
    assert_eq!(stored, Stored { epoch: 2, ..before.clone() }, "it comes whole, with the next epoch");
    store.heartbeat(&me, LONG_MS).await.expect("who shelved it has lost nothing");
    finish(&*store, &me, &mut mine).await;
    let none = store.reclaim(&me, &[id(1)]).await.expect("a member may reclaim");
    assert_eq!(none, [], "it is somebody's now");
    script.repair(&stored, Verb::Resolve { output: None });
    let next = script.next_append().expect("it goes on");
    let stale = Append { epoch: 1, ..next.clone() };
    let outcomes = store.commit(&me, &[stale]).await.expect("the store is there");
    assert_eq!(outcomes, [Written::Fenced], "who shelved it is fenced by the epoch");
    write(&*store, &other, &[next]).await;
    let after = store.load(id(1)).await.expect("it can be read").expect("it is there");
    assert_eq!(after.head.status, Status::Compensated, "the verb takes effect");
}

pub(super) async fn taken_back_and_lost(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    let mut script = park(&*store, &me, 1).await;
    take_back(&*store, &me, 1).await;
    assert_eq!(claimed(&*store, &other).await, NONE, "its owner lives");
    store.release(&me).await.expect("a member may leave");
    assert_eq!(claimed(&*store, &other).await, [id(1)], "it is not lost with who took it back");
    let stored = store.load(id(1)).await.expect("it can be read").expect("it is there");
    script.repair(&stored, Verb::Assign { assignee: "ada".to_owned() });
    finish(&*store, &other, &mut script).await;
    store.release(&other).await.expect("a member may leave");
    let third = member(&*store, "third").await;
    assert_eq!(claimed(&*store, &third).await, NONE, "a verb that moves nothing shelves it again");
}

pub(super) async fn last_owner(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    park(&*store, &me, 1).await;
    let stored = store.load(id(1)).await.expect("it can be read").expect("it is there");
    let on = moved(&stored, Status::Repair);
    let early = [Append { after_seq: on.after_seq - 1, ..on.clone() }];
    let outcomes = store.commit(&me, &early).await.expect("the store is there");
    assert_eq!(outcomes, [Written::Fenced], "being nobody's opens it to no other place");
    write(&*store, &me, &[on]).await;
    assert_eq!(claimed(&*store, &other).await, NONE, "it is its last owner's again");
    store.release(&me).await.expect("a member may leave");
    assert_eq!(claimed(&*store, &other).await, [id(1)], "and free when that is gone");
}
