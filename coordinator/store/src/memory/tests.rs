//! Faults and snapshots of the store in memory.

use super::*;
use crate::WAKE_GRACE_MS;
use crate::conformance::{
    owner,
    sample::{Beginning, Plot, Script, asleep, id},
};

fn first(n: u64) -> Append {
    Script::new(Beginning::nth(n), Plot::Completes).next_append().expect("it begins")
}

async fn is_there(store: &MemoryStore, n: u64) -> bool {
    store.load(id(n)).await.expect("it can be read").is_some()
}

#[tokio::test]
async fn a_commit_fails_before_or_after_it_is_done() {
    let store = MemoryStore::new();
    let me = owner("me");
    let faults = Faults { fail_before: [1].into(), fail_after: [2].into(), ..Faults::default() };
    store.set_faults(faults);
    for (n, reported, there) in [(1, false, false), (2, false, true), (3, true, true)] {
        let outcome = store.commit(&me, &[first(n)]).await;
        assert_eq!(outcome.is_ok(), reported, "commit {n}: {outcome:?}");
        assert_eq!(is_there(&store, n).await, there, "commit {n}");
    }
    assert_eq!(store.commits(), 3);
}

#[tokio::test]
async fn a_crash_loses_the_last_commit_when_told_to() {
    for (lose_last_commit, there) in [(false, true), (true, false)] {
        let store = MemoryStore::new();
        let me = owner("me");
        store.commit(&me, &[first(1)]).await.expect("it is written");
        store.set_faults(Faults { lose_last_commit, ..Faults::default() });
        store.commit(&me, &[first(2)]).await.expect("it is reported done");
        store.crash();
        assert!(is_there(&store, 1).await);
        assert_eq!(is_there(&store, 2).await, there);
        let claimed = store.claim(&owner("next"), 10).await.expect("a member may claim");
        assert_eq!(claimed.len(), 1 + usize::from(there), "a crash leaves no owner");
    }
}

#[tokio::test(start_paused = true)]
async fn every_operation_is_delayed() {
    let store = MemoryStore::new();
    store.set_faults(Faults { delay: Duration::from_secs(3), ..Faults::default() });
    let begun = tokio::time::Instant::now();
    store.ping().await.expect("it is there");
    store.commit(&owner("me"), &[first(1)]).await.expect("it is written");
    assert_eq!(begun.elapsed(), Duration::from_secs(6));
}

#[tokio::test]
async fn a_full_disk_can_be_read() {
    let store = MemoryStore::new();
    let me = owner("me");
    store.commit(&me, &[first(1)]).await.expect("it is written");
    store.set_faults(Faults { disk_full: true, ..Faults::default() });
    assert!(matches!(store.commit(&me, &[first(2)]).await, Err(Error::Unavailable(_))));
    assert!(matches!(store.ping().await, Err(Error::Unavailable(_))));
    assert!(is_there(&store, 1).await && !is_there(&store, 2).await);
    store.set_faults(Faults::default());
    store.commit(&me, &[first(2)]).await.expect("there is space again");
}

#[test]
fn a_lease_written_before_the_clock_was_set_back_counts_as_over() {
    let mut tables = Tables::new();
    let (me, other) = (owner("me"), owner("other"));
    let later = Timestamp(1_000_000);
    tables.heartbeat(&me, 15_000, later).expect("a new member");
    tables.commit(&me, &[first(1)], later);
    let earlier = Timestamp(later.0 - 20_000);
    assert_eq!(tables.claim(&other, 10, earlier).expect("a member may claim").len(), 1);
    let mut tables = Tables::new();
    tables.heartbeat(&me, 15_000, later).expect("a new member");
    tables.commit(&me, &[first(1)], later);
    let little_earlier = Timestamp(later.0 - 10_000);
    assert_eq!(tables.claim(&other, 10, little_earlier).expect("a member may claim").len(), 0);
}

#[test]
fn a_sleeper_is_left_to_its_last_owner_for_the_grace_and_no_longer() {
    let now = Timestamp(1_763_700_000_000);
    let grace = WAKE_GRACE_MS as i64;
    for (wake_at, claimable) in [(now.0 - grace - 1, true), (now.0 - grace, true), (now.0 - grace + 1, false)]
    {
        let mut tables = Tables::new();
        let (me, other) = (owner("me"), owner("other"));
        tables.commit(&me, &[asleep(first(1), Timestamp(wake_at))], now);
        let claimed = tables.claim(&other, 10, now).expect("a member may claim");
        assert_eq!(claimed.len(), usize::from(claimable), "woken {} ms ago", now.0 - wake_at);
        assert_eq!(tables.claim(&other, 10, now).expect("a member may claim"), [], "and once only");
    }
}

#[test]
fn what_is_shelved_or_over_does_not_sleep_whatever_its_head_says() {
    let now = Timestamp(1_763_700_000_000);
    for (status, wake_at) in [(Status::Repair, None), (Status::Completed, Some(Timestamp(1)))] {
        let mut tables = Tables::new();
        let mut append = asleep(first(1), Timestamp(1));
        (append.head.status, append.head.wake_at) = (status, wake_at);
        tables.commit(&owner("me"), &[append], now);
        assert!(!tables.load(id(1)).expect("it is there").head.asleep);
        assert_eq!(tables.claim(&owner("other"), 10, now).expect("a member may claim"), []);
    }
}
