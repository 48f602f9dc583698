//! Checks of completed sagas that are brought back, to be undone after all.

use super::{
    LONG_MS, Subject, begin, finish, member, owner,
    sample::{Beginning, Plot, Script, definition, id, moved},
    write,
};
use crate::{Error, Filter, Owner, Revived, Store, Stored};
use amends_saga::{
    SagaId, Status,
    coordinator::{Append, Written},
};
use std::time::Duration;

const NONE: [SagaId; 0] = [];

/// Writes the `n`th saga to its end, with a key and a label.
async fn completed(store: &dyn Store, owner: &Owner, n: u64) -> Stored {
    let mut script = Script::new(beginning(n), Plot::Completes);
    finish(store, owner, &mut script).await;
    load(store, n).await
}

fn beginning(n: u64) -> Beginning {
    Beginning::nth(n).of(definition("checkout", 1)).key(format!("k{n}")).label("order", format!("o{n}"))
}

async fn load(store: &dyn Store, n: u64) -> Stored {
    store.load(id(n)).await.expect("it can be read").expect("it is there")
}

async fn revive(store: &dyn Store, owner: &Owner, n: u64) -> Revived {
    store.revive(owner, id(n)).await.expect("a member may revive")
}

/// Brings back one that is there to be taken.
async fn take(store: &dyn Store, owner: &Owner, n: u64) -> Stored {
    match revive(store, owner, n).await {
        Revived::Taken(stored) => *stored,
        refused => panic!("saga {n} can be brought back: {refused:?}"),
    }
}

async fn claimed(store: &dyn Store, owner: &Owner) -> Vec<SagaId> {
    let claimed = store.claim(owner, 10).await.expect("a member may claim");
    claimed.iter().map(|saga| saga.id).collect()
}

/// Whether everything that finds a saga finds it, and with this status.
async fn found(store: &dyn Store, n: u64, status: Status) {
    let of = |statuses| Filter { statuses, ..Filter::default() };
    let label = Filter { labels: [("order".to_owned(), format!("o{n}"))].into(), ..of(vec![]) };
    let definition = Filter { definition: Some("checkout".to_owned()), ..of(vec![status]) };
    for filter in [of(vec![]), of(vec![status]), label, definition] {
        let list = store.list(&filter, None, 10).await.expect("it can be read");
        let is = list.iter().find(|saga| saga.id == id(n)).map(|saga| saga.head.status);
        assert_eq!(is, Some(status), "it is found by {filter:?}");
    }
    let key = store.find_key(&format!("k{n}")).await.expect("it can be read");
    assert_eq!(key.map(|(by, _)| by), Some(id(n)), "it is found by its key");
    let counts = store.counts().await.expect("it can be read");
    assert_eq!(counts, [(status, 1)], "and counted once");
}

pub(super) async fn brought_back(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    let before = completed(&*store, &me, 1).await;
    assert!(before.head.ended_at.is_some(), "it has ended");
    let stored = take(&*store, &other, 1).await;
    assert_eq!(stored, Stored { epoch: 2, ..before.clone() }, "it comes whole, with the next epoch");
    found(&*store, 1, Status::Completed).await;
    let undoing = moved(&stored, Status::Compensating);
    let stale = moved(&before, Status::Compensating);
    let ahead = Append { after_seq: undoing.after_seq + 1, ..undoing.clone() };
    for (who, append) in [(&me, &stale), (&me, &undoing), (&other, &stale), (&other, &ahead)] {
        let outcomes = store.commit(who, std::slice::from_ref(append)).await.expect("the store is there");
        assert_eq!(outcomes, [Written::Fenced], "only who has brought it back may write, and at its end");
    }
    write(&*store, &other, std::slice::from_ref(&undoing)).await;
    found(&*store, 1, Status::Compensating).await;
    let live = load(&*store, 1).await;
    assert_eq!((live.head.ended_at, live.epoch), (None, 2), "it lives again");
    assert_eq!(live.records.len(), before.records.len() + 1, "with one journal");
    let again = Script::new(Beginning { id: id(2), ..beginning(1) }, Plot::Completes).next_append();
    let outcomes = store.commit(&me, &[again.expect("it begins")]).await.expect("the store is there");
    assert!(matches!(outcomes[..], [Written::KeyTaken { by, .. }] if by == id(1)), "{outcomes:?}");
    assert_eq!(claimed(&*store, &me).await, NONE, "its owner lives");
    store.release(&other).await.expect("a member may leave");
    assert_eq!(claimed(&*store, &me).await, [id(1)], "and it is not lost with it");
    write(&*store, &me, &[moved(&load(&*store, 1).await, Status::Compensated)]).await;
    found(&*store, 1, Status::Compensated).await;
    assert_eq!(revive(&*store, &me, 1).await, Revived::NotCompleted(Status::Compensated), "once only");
}

pub(super) async fn only_completed(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    assert_eq!(revive(&*store, &me, 9).await, Revived::Unknown);
    for (n, plot, appends, status) in [
        (1, Plot::Completes, 2, Status::Running),
        (2, Plot::Compensates, 4, Status::Compensating),
        (3, Plot::Parks, 5, Status::Repair),
        (4, Plot::Compensates, 5, Status::Compensated),
    ] {
        begin(&*store, &me, n, plot, appends).await;
        let before = load(&*store, n).await;
        assert_eq!(revive(&*store, &me, n).await, Revived::NotCompleted(status));
        assert_eq!(load(&*store, n).await, before, "nothing is changed");
    }
    let parked = load(&*store, 3).await;
    write(&*store, &me, &[moved(&parked, Status::Abandoned)]).await;
    assert_eq!(revive(&*store, &me, 3).await, Revived::NotCompleted(Status::Abandoned));
}

pub(super) async fn by_one(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    completed(&*store, &me, 1).await;
    let first = take(&*store, &me, 1).await;
    assert_eq!(revive(&*store, &other, 1).await, Revived::Held, "its owner lives");
    let again = take(&*store, &me, 1).await;
    assert_eq!(again.epoch, 3, "the same owner may take it again");
    let stale = moved(&first, Status::Compensating);
    let outcomes = store.commit(&me, &[stale]).await.expect("the store is there");
    assert_eq!(outcomes, [Written::Fenced], "by which the first time is over");
    write(&*store, &me, &[moved(&again, Status::Compensating)]).await;
    assert_eq!(revive(&*store, &other, 1).await, Revived::NotCompleted(Status::Compensating));
    write(&*store, &me, &[moved(&load(&*store, 1).await, Status::Completed)]).await;
    assert_eq!(take(&*store, &other, 1).await.epoch, 4, "and completed once more it is nobody's");
}

pub(super) async fn from_the_gone(subject: &dyn Subject) {
    const SHORT: Duration = Duration::from_millis(300);
    let store = subject.fresh().await;
    let other = member(&*store, "other").await;
    completed(&*store, &other, 1).await;
    let me = owner("me");
    store.heartbeat(&me, SHORT.as_millis() as u64).await.expect("a new member");
    let stored = take(&*store, &me, 1).await;
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(take(&*store, &other, 1).await.epoch, 3, "the lease has passed");
    let outcomes = store.commit(&me, &[moved(&stored, Status::Compensating)]).await;
    assert_eq!(outcomes.expect("the store is there"), [Written::Fenced]);
    for lost in [store.heartbeat(&me, LONG_MS).await, store.revive(&me, id(1)).await.map(drop)] {
        assert!(matches!(lost, Err(Error::LeaseLost)), "who was replaced is told: {lost:?}");
    }
    store.release(&other).await.expect("a member may leave");
    let third = owner("third");
    assert_eq!(take(&*store, &third, 1).await.epoch, 4, "who revives first becomes a member by it");
    assert_eq!(revive(&*store, &member(&*store, "fourth").await, 1).await, Revived::Held);
}

pub(super) async fn for_nothing(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    completed(&*store, &me, 1).await;
    take(&*store, &me, 1).await;
    let other = member(&*store, "other").await;
    assert_eq!(claimed(&*store, &other).await, NONE);
    store.release(&me).await.expect("a member may leave");
    assert_eq!(claimed(&*store, &other).await, NONE, "no claim finds what has completed");
    assert_eq!(store.reclaim(&other, &[id(1)]).await.expect("a member may reclaim"), []);
    found(&*store, 1, Status::Completed).await;
    let store = subject.reopen(store).await;
    found(&*store, 1, Status::Completed).await;
    let next = member(&*store, "next").await;
    assert_eq!(take(&*store, &next, 1).await.epoch, 3, "and it can be taken again");
}
