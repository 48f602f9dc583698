//! Checks of sagas that only wait: nobody's until their time has come, and never lost.
//!
//! Times are far from the present, or far enough in the past that the grace has passed, so that a slow machine
//! changes nothing.

use super::{
    LONG_MS, Subject, begin, finish, member,
    sample::{Plot, asleep, id, moved},
    write,
};
use crate::{Filter, Owner, Store, Stored, WAKE_GRACE_MS, clock};
use amends_saga::{
    SagaId, Status, Timestamp,
    coordinator::{Append, Written},
};

const NONE: [SagaId; 0] = [];

/// A time that no check lives to see.
const FAR: Timestamp = Timestamp(4_000_000_000_000);

/// A time by which a saga should have woken long ago.
fn long_ago() -> Timestamp {
    Timestamp(clock::now().0 - 3_600_000)
}

/// Writes the first appends of the `n`th saga, the last of which puts it to sleep, and gives it back as it is.
async fn sleep(store: &dyn Store, owner: &Owner, n: u64, plot: (Plot, usize), until: Timestamp) -> Stored {
    let mut script = begin(store, owner, n, plot.0, plot.1 - 1).await;
    let append = script.next_append().expect("the saga has that many appends");
    write(store, owner, &[asleep(append, until)]).await;
    load(store, n).await
}

async fn load(store: &dyn Store, n: u64) -> Stored {
    store.load(id(n)).await.expect("it can be read").expect("it is there")
}

async fn claimed(store: &dyn Store, owner: &Owner, limit: usize) -> Vec<SagaId> {
    let claimed = store.claim(owner, limit).await.expect("a member may claim");
    claimed.iter().map(|saga| saga.id).collect()
}

pub(super) async fn nobodys(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    let first = sleep(&*store, &me, 1, (Plot::Completes, 1), FAR).await;
    let later = sleep(&*store, &me, 2, (Plot::Compensates, 4), FAR).await;
    for stored in [&first, &later] {
        assert_eq!((stored.head.asleep, stored.head.wake_at), (true, Some(FAR)), "it is kept as asleep");
    }
    let overdue = sleep(&*store, &me, 3, (Plot::Completes, 2), long_ago()).await;
    begin(&*store, &me, 4, Plot::Completes, 1).await;
    assert_eq!(claimed(&*store, &me, 0).await, NONE);
    let taken = store.claim(&other, 10).await.expect("a member may claim");
    let mut awake = Stored { epoch: 2, ..overdue };
    awake.head.asleep = false;
    assert_eq!(taken, [awake], "only what should be awake is claimed, and is not asleep any more");
    store.heartbeat(&me, LONG_MS).await.expect("who put it to sleep has lost nothing");
    for filter in [Filter::default(), Filter { statuses: vec![Status::Running], ..Filter::default() }] {
        let found = store.list(&filter, None, 10).await.expect("it can be read");
        assert!(found.contains(&first), "it is found by {filter:?}");
    }
    let counts = store.counts().await.expect("it can be read");
    assert_eq!(counts, [(Status::Running, 3), (Status::Compensating, 1)], "and counted");
}

pub(super) async fn grace(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    for n in 1..20 {
        let now = clock::now();
        sleep(&*store, &me, n, (Plot::Completes, 1), now).await;
        let early = claimed(&*store, &other, 10).await;
        if clock::now().0 - now.0 < WAKE_GRACE_MS as i64 {
            assert_eq!(early, NONE, "its last owner is about to wake it");
            break;
        }
    }
    let after = Timestamp(clock::now().0 - WAKE_GRACE_MS as i64 - 1);
    sleep(&*store, &me, 20, (Plot::Completes, 1), after).await;
    assert!(claimed(&*store, &other, 20).await.contains(&id(20)), "its last owner had its time");
    sleep(&*store, &me, 21, (Plot::Completes, 1), long_ago()).await;
    assert!(claimed(&*store, &me, 20).await.contains(&id(21)), "the last owner may claim it as well");
}

pub(super) async fn owner_gone(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let asleep = sleep(&*store, &me, 1, (Plot::Completes, 1), FAR).await;
    begin(&*store, &me, 2, Plot::Completes, 1).await;
    store.release(&me).await.expect("a member may leave");
    let other = member(&*store, "other").await;
    assert_eq!(claimed(&*store, &other, 10).await, [id(2)], "what is awake is free, what sleeps sleeps on");
    let store = subject.reopen(store).await;
    let next = member(&*store, "next").await;
    store.release(&other).await.expect("a member may leave");
    assert_eq!(claimed(&*store, &next, 10).await, [id(2)], "also after a crash");
    assert_eq!(load(&*store, 1).await, asleep, "with its time");
}

pub(super) async fn at_its_time(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let gone = member(&*store, "gone").await;
    let now = clock::now();
    sleep(&*store, &gone, 1, (Plot::Completes, 1), Timestamp(now.0 - 1)).await;
    sleep(&*store, &gone, 2, (Plot::Compensates, 4), now).await;
    sleep(&*store, &gone, 3, (Plot::Completes, 1), FAR).await;
    store.release(&gone).await.expect("a member may leave");
    assert_eq!(claimed(&*store, &me, 10).await, [2, 1].map(id), "nobody else would wake them");
    store.release(&me).await.expect("a member may leave");
    let other = member(&*store, "other").await;
    let mut moved_on = Vec::new();
    for stored in store.claim(&other, 10).await.expect("a member may claim") {
        moved_on.push(asleep(moved(&stored, Status::Running), FAR));
    }
    write(&*store, &other, &moved_on).await;
    let store = subject.reopen(store).await;
    store.release(&other).await.expect("a member may leave");
    let next = member(&*store, "next").await;
    assert_eq!(claimed(&*store, &next, 10).await, NONE, "whose time has not come sleeps on");
}

pub(super) async fn last_owner(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    let stored = sleep(&*store, &me, 1, (Plot::Completes, 2), long_ago()).await;
    let on = moved(&stored, Status::Running);
    for spoilt in
        [Append { after_seq: on.after_seq - 1, ..on.clone() }, Append { epoch: on.epoch + 1, ..on.clone() }]
    {
        let outcomes = store.commit(&me, &[spoilt]).await.expect("the store is there");
        assert_eq!(outcomes, [Written::Fenced], "being nobody's opens it to no other place");
    }
    write(&*store, &me, &[on]).await;
    assert_eq!(claimed(&*store, &other, 10).await, NONE, "it is its last owner's again");
    write(&*store, &me, &[asleep(moved(&load(&*store, 1).await, Status::Running), FAR)]).await;
    write(&*store, &me, &[asleep(moved(&load(&*store, 1).await, Status::Running), long_ago())]).await;
    let kept = load(&*store, 1).await;
    assert_eq!(claimed(&*store, &other, 10).await, [id(1)], "the last time to wake counts");
    let outcomes = store.commit(&me, &[moved(&kept, Status::Running)]).await.expect("the store is there");
    assert_eq!(outcomes, [Written::Fenced], "it is another's now");
    assert_eq!(claimed(&*store, &me, 10).await, NONE, "and not nobody's any more");
    write(&*store, &other, &[moved(&load(&*store, 1).await, Status::Completed)]).await;
    store.release(&other).await.expect("a member may leave");
    assert_eq!(claimed(&*store, &me, 10).await, NONE, "what has ended does not wake");
}

pub(super) async fn taken(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    let before = sleep(&*store, &me, 1, (Plot::Completes, 2), FAR).await;
    let mut mine = begin(&*store, &me, 2, Plot::Completes, 1).await;
    let taken = store.reclaim(&other, &[id(1)]).await.expect("a member may reclaim");
    let mut awake = Stored { epoch: 2, ..before.clone() };
    awake.head.asleep = false;
    assert_eq!(taken, [awake], "it comes whole, with the next epoch");
    store.heartbeat(&me, LONG_MS).await.expect("who put it to sleep has lost nothing");
    finish(&*store, &me, &mut mine).await;
    let outcomes = store.commit(&me, &[moved(&before, Status::Running)]).await.expect("the store is there");
    assert_eq!(outcomes, [Written::Fenced], "but this saga");
    assert_eq!(claimed(&*store, &me, 10).await, NONE, "its new owner lives");
    store.release(&other).await.expect("a member may leave");
    assert_eq!(
        claimed(&*store, &me, 10).await,
        [id(1)],
        "it is not lost with who took it, whatever its time"
    );
}

pub(super) async fn order(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let gone = member(&*store, "gone").await;
    let ago = |s: i64| Timestamp(long_ago().0 - s * 1000);
    sleep(&*store, &me, 1, (Plot::Completes, 1), ago(1)).await;
    sleep(&*store, &me, 2, (Plot::Completes, 2), ago(3)).await;
    sleep(&*store, &me, 3, (Plot::Compensates, 4), ago(2)).await;
    let parked = sleep(&*store, &me, 4, (Plot::Parks, 4), FAR).await;
    write(&*store, &me, &[asleep(moved(&parked, Status::Repair), ago(4))]).await;
    begin(&*store, &gone, 5, Plot::Completes, 1).await;
    begin(&*store, &gone, 6, Plot::Compensates, 4).await;
    sleep(&*store, &me, 7, (Plot::Compensates, 4), FAR).await;
    store.release(&gone).await.expect("a member may leave");
    let other = member(&*store, "other").await;
    let mut all = Vec::new();
    for limit in [1, 1, 2, 2] {
        let some = claimed(&*store, &other, limit).await;
        assert!(some.len() <= limit, "no more than asked for");
        all.extend(some);
    }
    assert_eq!(all, [6, 4, 3, 5, 2, 1].map(id), "what is undone first, then orphans, then the first to wake");
    assert_eq!(claimed(&*store, &other, 10).await, NONE);
}

pub(super) async fn once(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let at = long_ago();
    for n in 1..=30 {
        sleep(&*store, &me, n, (Plot::Completes, 1), at).await;
    }
    let (one, two) = (member(&*store, "one").await, member(&*store, "two").await);
    let mut all = Vec::new();
    for _ in 0..5 {
        let (first, second) = tokio::join!(claimed(&*store, &one, 4), claimed(&*store, &two, 4));
        all.extend(first.into_iter().chain(second));
    }
    all.sort_unstable();
    assert_eq!(all, (1..=30).map(id).collect::<Vec<_>>(), "each exactly once");
}
