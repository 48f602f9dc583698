//! Checks of [`crate::Store::commit`]: what is written, what is fenced, what survives.

use super::{
    Subject, begin, finish, member, owner,
    sample::{Beginning, Plot, Script, fingerprint, id},
    write,
};
use crate::Filter;
use amends_saga::{
    Status,
    coordinator::{Append, Written},
};

fn first(beginning: Beginning) -> Append {
    Script::new(beginning, Plot::Completes).next_append().expect("a saga begins")
}

pub(super) async fn new_sagas(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let labelled = Beginning::nth(1).key("order \"1\" 'ü' %").label("order", "1").label("note", "a b \"c\"");
    let appends = [first(labelled), first(Beginning::nth(2))];
    write(&*store, &me, &appends).await;
    for append in &appends {
        let stored = store.load(append.id).await.expect("it can be read").expect("it is there");
        assert_eq!(stored.id, append.id);
        assert_eq!(stored.head, append.head);
        assert_eq!(stored.records, append.records);
        assert_eq!(stored.epoch, 1, "a new saga has epoch 1");
    }
    let found = store.find_key("order \"1\" 'ü' %").await.expect("it can be read");
    assert_eq!(found, Some((id(1), fingerprint(id(1)))));
    assert_eq!(store.commit(&me, &[]).await.expect("nothing is written"), []);
}

pub(super) async fn in_order(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let mut script = Script::new(Beginning::nth(1), Plot::Compensates);
    let mut records = Vec::new();
    while let Some(append) = script.next_append() {
        assert_eq!(append.after_seq, records.len() as u64);
        write(&*store, &me, std::slice::from_ref(&append)).await;
        records.extend(append.records);
        let stored = store.load(id(1)).await.expect("it can be read").expect("it is there");
        assert_eq!(stored.records, records, "the journal is the appends, in order");
        assert_eq!(stored.head, append.head, "the head is that of the last append");
    }
    assert!(records.len() > 8, "the saga did something");
}

pub(super) async fn fenced(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let other = member(&*store, "other").await;
    let mut script = begin(&*store, &me, 1, Plot::Completes, 2).await;
    let before = store.load(id(1)).await.expect("it can be read");
    let next = script.next_append().expect("it goes on");
    let wrong = [
        (&me, Append { epoch: 2, ..next.clone() }, "another epoch"),
        (&me, Append { epoch: u64::MAX, ..next.clone() }, "an epoch beyond every other"),
        (&me, Append { after_seq: next.after_seq - 1, ..next.clone() }, "an earlier place"),
        (&me, Append { after_seq: next.after_seq + 1, ..next.clone() }, "a later place"),
        (&me, Append { id: id(2), ..next.clone() }, "a saga that is not there"),
        (&me, Append { after_seq: 0, ..next.clone() }, "a new saga with an id that is taken"),
        (&other, next.clone(), "another owner"),
        (&owner("stranger"), next.clone(), "an owner that never was a member"),
    ];
    for (owner, append, what) in wrong {
        let outcomes = store.commit(owner, &[append]).await.expect("the store is there");
        assert_eq!(outcomes, [Written::Fenced], "{what} is fenced");
        assert_eq!(store.load(id(1)).await.expect("it can be read"), before, "{what} changes nothing");
        assert_eq!(store.load(id(2)).await.expect("it can be read"), None, "{what} adds nothing");
    }
    write(&*store, &me, &[next]).await;
}

pub(super) async fn mixed_batch(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let mut one = begin(&*store, &me, 1, Plot::Completes, 1).await;
    let mut two = begin(&*store, &me, 2, Plot::Completes, 1).await;
    let good = one.next_append().expect("it goes on");
    let bad = Append { epoch: 7, ..two.next_append().expect("it goes on") };
    let batch = [good.clone(), bad, first(Beginning::nth(3).label("order", "3"))];
    let outcomes = store.commit(&me, &batch).await.expect("the store is there");
    assert_eq!(outcomes, [Written::Done, Written::Fenced, Written::Done]);
    let seq = async |n| store.load(id(n)).await.expect("it can be read").map(|saga| saga.records.len());
    assert_eq!(seq(1).await, Some(good.after_seq as usize + good.records.len()));
    assert_eq!(seq(2).await, Some(2), "nothing of the fenced append stays");
    assert!(seq(3).await.is_some());
}

pub(super) async fn keys(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let taken = |n| Written::KeyTaken { by: id(n), fingerprint: fingerprint(id(n)) };
    let batch = [
        first(Beginning::nth(1).key("a")),
        first(Beginning::nth(2).key("a")),
        first(Beginning::nth(3).key("b")),
    ];
    let outcomes = store.commit(&me, &batch).await.expect("the store is there");
    assert_eq!(outcomes, [Written::Done, taken(1), Written::Done], "the first of a batch has the key");
    let batch = [first(Beginning::nth(4).key("b").label("x", "y")), first(Beginning::nth(5).key("c"))];
    let outcomes = store.commit(&me, &batch).await.expect("the store is there");
    assert_eq!(outcomes, [taken(3), Written::Done], "a key stays taken");
    for n in [2, 4] {
        assert_eq!(store.load(id(n)).await.expect("it can be read"), None, "saga {n} was not started");
    }
    let labelled = Filter { labels: [("x".to_owned(), "y".to_owned())].into(), ..Filter::default() };
    assert_eq!(store.list(&labelled, None, 10).await.expect("it can be read"), []);
    let nobodys = [first(Beginning::nth(6)), first(Beginning::nth(7))];
    write(&*store, &me, &nobodys).await;
}

pub(super) async fn ended(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let mut script = begin(&*store, &me, 1, Plot::Completes, 1).await;
    finish(&*store, &me, &mut script).await;
    let stored = store.load(id(1)).await.expect("it can be read").expect("it is there");
    assert_eq!(stored.head.status, Status::Completed);
    let more = Append {
        id: id(1),
        epoch: 1,
        after_seq: stored.records.len() as u64,
        records: vec![stored.records[0].clone()],
        head: stored.head.clone(),
        repairs: Vec::new(),
    };
    let outcomes = store.commit(&me, &[more]).await.expect("the store is there");
    assert_eq!(outcomes, [Written::Fenced], "an ended saga has no owner");
    assert_eq!(store.load(id(1)).await.expect("it can be read"), Some(stored));
}

pub(super) async fn thousand(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let count = 1_000;
    let mut scripts: Vec<Script> =
        (1..=count).map(|n| Script::new(Beginning::nth(n).key(format!("k{n}")), Plot::Completes)).collect();
    for _ in 0..2 {
        let batch: Vec<Append> = scripts.iter_mut().filter_map(Script::next_append).collect();
        assert_eq!(batch.len() as u64, count);
        write(&*store, &me, &batch).await;
    }
    let counts = store.counts().await.expect("it can be read");
    assert_eq!(counts, [(Status::Running, count)]);
    let mut batch: Vec<Append> = scripts.iter_mut().filter_map(Script::next_append).collect();
    // More than a batch is meant to hold, with one in the middle that does not hit.
    batch.extend((count + 1..=count + 500).map(|n| first(Beginning::nth(n))));
    batch[700].epoch = 9;
    let outcomes = store.commit(&me, &batch).await.expect("the store is there");
    let missed: Vec<usize> = (0..batch.len()).filter(|at| outcomes[*at] != Written::Done).collect();
    assert_eq!(missed, [700]);
}

pub(super) async fn at_once(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let (store, me) = (&store, &me);
    let writers = (0..8u64).map(|writer| async move {
        for n in 0..5 {
            let mut script = begin(&**store, me, writer * 100 + n, Plot::Completes, 1).await;
            finish(&**store, me, &mut script).await;
        }
    });
    futures::future::join_all(writers).await;
    assert_eq!(store.counts().await.expect("it can be read"), [(Status::Completed, 40)]);
}

pub(super) async fn survives(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    for n in 1..=20 {
        begin(&*store, &me, n, Plot::Completes, 1 + (n as usize % 3)).await;
    }
    store.put_participant("inventory", "{}").await.expect("it is kept");
    let before = store.list(&Filter::default(), None, 100).await.expect("it can be read");
    let store = subject.reopen(store).await;
    let after = store.list(&Filter::default(), None, 100).await.expect("it can be read");
    assert_eq!(after, before, "what was reported done is there");
    assert_eq!(store.counts().await.expect("it can be read"), [(Status::Running, 20)]);
    assert_eq!(store.participants().await.expect("it can be read").len(), 1);
    store.ping().await.expect("it can be written");
}
