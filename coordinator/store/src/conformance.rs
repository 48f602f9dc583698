//! What every store must do, as checks that any implementation can be run through.
//!
//! A check makes a store, uses it through the trait alone and panics with what it expected; [`run`] runs
//! them all. The strongest is the last: random sequences of operations, each compared with what
//! [`crate::memory::Tables`] does. A check takes well under a second, and none depends on another.

mod claiming;
mod finding;
mod random;
mod repairing;
mod reviving;
pub mod sample;
mod shelving;
mod sleeping;
mod telling;
mod writing;

use crate::{Owner, Store};
use amends_saga::coordinator::{Append, Written};
use async_trait::async_trait;
use futures::future::BoxFuture;
use sample::{Beginning, Plot, Script};
use uuid::Uuid;

/// Makes the stores that are checked.
#[async_trait]
pub trait Subject: Sync {
    /// A store with nothing in it.
    async fn fresh(&self) -> Box<dyn Store>;

    /// The same store after its process has ended without a word and another has opened it.
    async fn reopen(&self, store: Box<dyn Store>) -> Box<dyn Store>;

    /// How many random sequences are compared.
    fn seeds(&self) -> u64 {
        20
    }
}

type Check = for<'a> fn(&'a dyn Subject) -> BoxFuture<'a, ()>;

/// Every check, by name.
const CHECKS: &[(&str, Check)] = &[
    ("a new saga is found as it was written", |s| Box::pin(writing::new_sagas(s))),
    ("appends follow one another in order", |s| Box::pin(writing::in_order(s))),
    ("an append that does not fit changes nothing", |s| Box::pin(writing::fenced(s))),
    ("a fenced append holds up no other of its batch", |s| Box::pin(writing::mixed_batch(s))),
    ("a key starts one saga", |s| Box::pin(writing::keys(s))),
    ("an ended saga takes no more", |s| Box::pin(writing::ended(s))),
    ("a thousand appends are one batch", |s| Box::pin(writing::thousand(s))),
    ("several writers at once are one after the other", |s| Box::pin(writing::at_once(s))),
    ("what was written is there after a crash", |s| Box::pin(writing::survives(s))),
    ("a living owner keeps its sagas", |s| Box::pin(claiming::living_owner(s))),
    ("a released saga is claimed at once and its old owner fenced", |s| Box::pin(claiming::released(s))),
    ("what is undone is claimed first, then the oldest", |s| Box::pin(claiming::order(s))),
    ("a lease that has passed is taken over, and its owner replaced", |s| Box::pin(claiming::lease(s))),
    ("a lease that has passed is renewed while nobody took over", |s| Box::pin(claiming::renewed(s))),
    ("certain sagas are reclaimed from nobody and from oneself", |s| Box::pin(claiming::reclaim(s))),
    ("what waits for an operator is nobody's", |s| Box::pin(shelving::nobodys(s))),
    ("what waits for an operator is taken back", |s| Box::pin(shelving::taken_back(s))),
    ("what was taken back is not lost again", |s| Box::pin(shelving::taken_back_and_lost(s))),
    ("a shelved saga's last owner may go on", |s| Box::pin(shelving::last_owner(s))),
    ("what sleeps is nobody's until its time", |s| Box::pin(sleeping::nobodys(s))),
    ("what sleeps is left to its last owner for a while", |s| Box::pin(sleeping::grace(s))),
    ("what sleeps wakes at its time when its owner is gone", |s| Box::pin(sleeping::at_its_time(s))),
    ("what sleeps is not forgotten with its owner", |s| Box::pin(sleeping::owner_gone(s))),
    ("a sleeping saga's last owner may go on", |s| Box::pin(sleeping::last_owner(s))),
    ("what sleeps is taken at any time by its id", |s| Box::pin(sleeping::taken(s))),
    ("what should be awake is claimed in order", |s| Box::pin(sleeping::order(s))),
    ("what should be awake is claimed once", |s| Box::pin(sleeping::once(s))),
    ("a completed saga is brought back", |s| Box::pin(reviving::brought_back(s))),
    ("only a completed saga is brought back", |s| Box::pin(reviving::only_completed(s))),
    ("a saga is brought back by one", |s| Box::pin(reviving::by_one(s))),
    ("a saga is brought back from who is gone", |s| Box::pin(reviving::from_the_gone(s))),
    ("a saga brought back for nothing stays completed", |s| Box::pin(reviving::for_nothing(s))),
    ("a repair item is one with its cause", |s| Box::pin(repairing::with_their_cause(s))),
    ("a repair item goes through the verbs", |s| Box::pin(repairing::through_verbs(s))),
    ("a repair item may be of any call of any step", |s| Box::pin(repairing::of_any_call(s))),
    ("repair items are narrowed by every filter, page by page", |s| Box::pin(repairing::filters(s))),
    ("unsettled items are counted in piles", |s| Box::pin(repairing::piles(s))),
    ("anomalies are opened once and changed by one", |s| Box::pin(repairing::anomalies(s))),
    ("an item's age is told once for each level", |s| Box::pin(repairing::escalation(s))),
    ("each change is told to whoever wants it", |s| Box::pin(telling::each_change(s))),
    ("what is told is one with its cause", |s| Box::pin(telling::with_their_cause(s))),
    ("an event is given to one at a time until it is done", |s| Box::pin(telling::one_at_a_time(s))),
    ("hooks take turns", |s| Box::pin(telling::in_turns(s))),
    ("a job is kept by whoever knows its version", |s| Box::pin(telling::jobs(s))),
    ("what is not there is not found", |s| Box::pin(finding::unknown(s))),
    ("lists are narrowed by every filter", |s| Box::pin(finding::filters(s))),
    ("a list is walked page by page", |s| Box::pin(finding::cursors(s))),
    ("a journal is read from any place", |s| Box::pin(finding::journals(s))),
    ("sagas are counted by status", |s| Box::pin(finding::counts(s))),
    ("live sagas are counted by version", |s| Box::pin(finding::versions(s))),
    ("the secret is made once", |s| Box::pin(finding::secret(s))),
    ("definitions are kept once", |s| Box::pin(finding::definitions(s))),
    ("registrations are replaced and removed", |s| Box::pin(finding::participants(s))),
    ("random operations do what the reference does", |s| Box::pin(random::compare(s))),
];

/// Runs every check, one after another.
///
/// # Panics
/// With the law that the store breaks; the name of the check was printed before.
pub async fn run(subject: &dyn Subject) {
    for (name, check) in CHECKS {
        println!("check: {name}");
        check(subject).await;
    }
}

/// Runs one check by its name, as when a fault is planted to see it caught.
///
/// # Panics
/// With the law that the store breaks, or when there is no such check.
pub async fn run_one(subject: &dyn Subject, wanted: &str) {
    let found = CHECKS.iter().find(|(name, _)| *name == wanted);
    let (_, check) = found.unwrap_or_else(|| panic!("no check is named {wanted:?}"));
    check(subject).await;
}

/// Makes an owner.
pub fn owner(name: &str) -> Owner {
    Owner { incarnation: Uuid::now_v7(), name: name.to_owned() }
}

/// An hour, as a lease that does not pass during a check.
const LONG_MS: u64 = 3_600_000;

/// Makes an owner that is a member for as long as any check takes.
async fn member(store: &dyn Store, name: &str) -> Owner {
    let owner = owner(name);
    store.heartbeat(&owner, LONG_MS).await.expect("a new owner becomes a member");
    owner
}

/// Writes appends that are all expected to hit.
async fn write(store: &dyn Store, owner: &Owner, batch: &[Append]) {
    let outcomes = store.commit(owner, batch).await.expect("the store is there");
    assert_eq!(outcomes, vec![Written::Done; batch.len()], "every append hits its row");
}

/// Writes the first `appends` appends of the `n`th saga and returns its script.
async fn begin(store: &dyn Store, owner: &Owner, n: u64, plot: Plot, appends: usize) -> Script {
    let mut script = Script::new(Beginning::nth(n), plot);
    for _ in 0..appends {
        let append = script.next_append().expect("the saga has that many appends");
        write(store, owner, &[append]).await;
    }
    script
}

/// Writes a saga to its end.
async fn finish(store: &dyn Store, owner: &Owner, script: &mut Script) {
    while let Some(append) = script.next_append() {
        write(store, owner, &[append]).await;
    }
}
