//! Checks of reading: lists, journals, counts, definitions and registrations.

use super::{
    Subject, begin, finish, member,
    sample::{Beginning, Plot, Script, asleep, definition, id, moved},
    write,
};
use crate::{DefinitionPut, DefinitionRow, Filter, Revived, Store};
use amends_saga::{SagaId, Status, Timestamp};
use std::{collections::BTreeSet, sync::Arc};

pub(super) async fn unknown(subject: &dyn Subject) {
    let store = subject.fresh().await;
    member(&*store, "me").await;
    assert_eq!(store.load(id(1)).await.expect("it can be read"), None);
    assert_eq!(store.find_key("none").await.expect("it can be read"), None);
    assert_eq!(store.journal(id(1), 0, 10).await.expect("it can be read"), []);
    assert_eq!(store.list(&Filter::default(), None, 10).await.expect("it can be read"), []);
    assert_eq!(store.list(&Filter::default(), Some(id(1)), 10).await.expect("it can be read"), []);
    assert_eq!(store.counts().await.expect("it can be read"), []);
    assert!(!store.delete_participant("none").await.expect("it can be written"));
    assert_eq!(store.definitions().await.expect("it can be read"), []);
}

/// Six sagas, told apart by everything a filter knows.
async fn populate(store: &dyn Store) {
    let me = member(store, "me").await;
    let also = member(store, "also").await;
    for (n, plot, appends, name, version) in [
        (1, Plot::Completes, 4, "checkout", 1),
        (2, Plot::Compensates, 4, "checkout", 2),
        (3, Plot::Completes, 2, "checkout", 1),
        (4, Plot::Compensates, 5, "ship", 1),
        (5, Plot::Parks, 5, "ship", 2),
        (6, Plot::Completes, 1, "checkout", 1),
    ] {
        let beginning = Beginning::nth(n * 1000).of(definition(name, version)).key(format!("k{n}"));
        let parity = if n % 2 == 0 { "even" } else { "odd" };
        let beginning = beginning.label("parity", parity).label("n", n.to_string());
        let mut script = Script::new(beginning, plot);
        let owner = if n < 4 { &me } else { &also };
        for _ in 0..appends {
            write(store, owner, &[script.next_append().expect("it goes on")]).await;
        }
    }
}

pub(super) async fn filters(subject: &dyn Subject) {
    let store = subject.fresh().await;
    populate(&*store).await;
    let all = Filter::default;
    let labels = |pairs: &[(&str, &str)]| Filter {
        labels: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..all()
    };
    let text = |text: &str| Some(text.to_owned());
    let at = |n: i64| Some(Timestamp(1_763_700_000_000 + n * 1000));
    let cases: Vec<(Filter, &[u64])> = vec![
        (all(), &[6, 5, 4, 3, 2, 1]),
        (Filter { statuses: vec![Status::Running], ..all() }, &[6, 3]),
        (Filter { statuses: vec![Status::Completed], ..all() }, &[1]),
        (Filter { statuses: vec![Status::Compensated, Status::Repair], ..all() }, &[5, 4]),
        (Filter { statuses: vec![Status::Compensating], ..all() }, &[2]),
        (Filter { statuses: vec![Status::Abandoned], ..all() }, &[]),
        (Filter { definition: text("checkout"), ..all() }, &[6, 3, 2, 1]),
        (Filter { definition: text("checkout"), version: Some(2), ..all() }, &[2]),
        (Filter { version: Some(2), ..all() }, &[5, 2]),
        (Filter { definition: text("unheard"), ..all() }, &[]),
        (Filter { definition: text("checkout"), statuses: vec![Status::Running], ..all() }, &[6, 3]),
        (labels(&[("parity", "even")]), &[6, 4, 2]),
        (labels(&[("parity", "even"), ("n", "4")]), &[4]),
        (labels(&[("parity", "odd"), ("n", "4")]), &[]),
        (Filter { statuses: vec![Status::Running], ..labels(&[("parity", "even")]) }, &[6]),
        (Filter { key: text("k3"), ..all() }, &[3]),
        (Filter { key: text("k3"), definition: text("ship"), ..all() }, &[]),
        (Filter { step: text("reserve"), ..all() }, &[5, 3, 2]),
        (Filter { step: text("serve"), ..all() }, &[]),
        (Filter { step: text("quote"), ..all() }, &[6]),
        (Filter { participant: text("inventory"), statuses: vec![Status::Repair], ..all() }, &[5]),
        (Filter { participant: text("product"), definition: text("checkout"), ..all() }, &[6]),
        (Filter { created_after: at(3), ..all() }, &[6, 5, 4, 3]),
        (Filter { created_before: at(3), ..all() }, &[2, 1]),
        (Filter { created_after: at(2), created_before: at(5), ..all() }, &[4, 3, 2]),
    ];
    for (filter, expected) in cases {
        let expected: Vec<SagaId> = expected.iter().map(|n| id(n * 1000)).collect();
        let found = store.list(&filter, None, 100).await.expect("it can be read");
        assert!(found.iter().all(|saga| filter.matches(&saga.head)), "{filter:?} fits what it found");
        let found: Vec<SagaId> = found.iter().map(|saga| saga.id).collect();
        assert_eq!(found, expected, "{filter:?}");
        let first = store.list(&filter, None, 1).await.expect("it can be read");
        assert_eq!(first.first().map(|saga| saga.id), expected.first().copied(), "{filter:?}, the first");
        let rest = store.list(&filter, expected.first().copied(), 100).await.expect("it can be read");
        assert_eq!(rest.len(), expected.len().saturating_sub(1), "{filter:?}, after the first");
    }
}

pub(super) async fn cursors(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    for n in 1..=25 {
        begin(&*store, &me, n, Plot::Completes, if n % 5 == 0 { 4 } else { 1 }).await;
    }
    for (filter, expected) in [
        (Filter::default(), (1..=25).rev().collect::<Vec<u64>>()),
        (
            Filter { statuses: vec![Status::Completed], ..Filter::default() },
            (1..=25).rev().filter(|n| n % 5 == 0).collect(),
        ),
    ] {
        let (mut walked, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(&filter, after, 3).await.expect("it can be read");
            let Some(last) = page.last() else { break };
            assert!(page.len() <= 3, "a page has at most its limit");
            after = Some(last.id);
            walked.extend(page.iter().map(|saga| saga.id));
        }
        assert_eq!(walked, expected.into_iter().map(id).collect::<Vec<_>>(), "newest first, without a gap");
    }
}

pub(super) async fn journals(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let mut script = begin(&*store, &me, 1, Plot::Compensates, 1).await;
    finish(&*store, &me, &mut script).await;
    begin(&*store, &me, 2, Plot::Completes, 2).await;
    let whole = store.load(id(1)).await.expect("it can be read").expect("it is there").records;
    for after in 0..=whole.len() + 1 {
        for limit in [0, 1, 2, 3, 100] {
            let read = store.journal(id(1), after as u64, limit).await.expect("it can be read");
            let expected: Vec<_> = whole.iter().skip(after).take(limit).cloned().collect();
            assert_eq!(read, expected, "after {after}, at most {limit}");
        }
    }
    assert_eq!(store.journal(id(1), u64::MAX, 10).await.expect("it can be read"), []);
}

pub(super) async fn counts(subject: &dyn Subject) {
    let store = subject.fresh().await;
    populate(&*store).await;
    let counts = store.counts().await.expect("it can be read");
    let expected = [
        (Status::Running, 2),
        (Status::Compensating, 1),
        (Status::Repair, 1),
        (Status::Completed, 1),
        (Status::Compensated, 1),
    ];
    assert_eq!(counts, expected);
}

pub(super) async fn versions(subject: &dyn Subject) {
    let store = subject.fresh().await;
    assert_eq!(store.versions().await.expect("it can be read"), []);
    populate(&*store).await;
    let me = member(&*store, "me").await;
    let mut other = Arc::into_inner(definition("ship", 2)).expect("nobody else has it");
    other.hash = "other".to_owned();
    let mut script = Script::new(Beginning::nth(7000).of(Arc::new(other)), Plot::Completes);
    let append = script.next_append().expect("it begins");
    write(&*store, &me, &[asleep(append, Timestamp(4_000_000_000_000))]).await;
    let named = |(name, version, live): (&str, u32, u64)| (name.to_owned(), version, live);
    let found = store.versions().await.expect("it can be read");
    let expected = [("checkout", 1, 2), ("checkout", 2, 1), ("ship", 2, 2)].map(named);
    assert_eq!(found, expected, "what is live, asleep or parked, and whatever the content");
    let stored = match store.revive(&me, id(1000)).await.expect("a member may revive") {
        Revived::Taken(stored) => stored,
        other => panic!("it has completed: {other:?}"),
    };
    assert_eq!(store.versions().await.expect("it can be read"), expected, "it may be live, and is not yet");
    write(&*store, &me, &[moved(&stored, Status::Compensating)]).await;
    let found = store.versions().await.expect("it can be read");
    assert_eq!(found[0], named(("checkout", 1, 3)), "and now it is");
}

pub(super) async fn secret(subject: &dyn Subject) {
    let other = subject.fresh().await.secret().await.expect("there is one");
    let store = subject.fresh().await;
    let secret = store.secret().await.expect("there is one");
    assert_ne!(secret, other, "each store has its own");
    assert!(secret.iter().collect::<BTreeSet<_>>().len() > 8, "it is random");
    assert_eq!(store.secret().await.expect("there is one"), secret, "the same whoever asks");
    let store = subject.reopen(store).await;
    assert_eq!(store.secret().await.expect("there is one"), secret, "and after a crash");
}

pub(super) async fn definitions(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let row = |hash: &str, name: &str, version, registered| DefinitionRow {
        hash: hash.to_owned(),
        name: name.to_owned(),
        version,
        registered,
        text: format!("{{\"saga\":\"{name}\"}}"),
        created_at: Timestamp(i64::from(version)),
    };
    let conflict = || DefinitionPut::Conflict("h1".to_owned());
    for (put, expected) in [
        (row("h1", "checkout", 1, true), DefinitionPut::New),
        (row("h1", "checkout", 1, true), DefinitionPut::Same),
        (row("h1", "checkout", 1, false), DefinitionPut::Same),
        (row("h2", "checkout", 1, true), conflict()),
        (row("h2", "checkout", 1, false), DefinitionPut::New),
        (row("h2", "checkout", 1, false), DefinitionPut::Same),
        (row("h2", "checkout", 1, true), conflict()),
        (row("h3", "checkout", 2, false), DefinitionPut::New),
        (row("h3", "checkout", 2, true), DefinitionPut::New),
        (row("h3", "checkout", 2, true), DefinitionPut::Same),
    ] {
        let done = store.put_definition(&put).await.expect("it can be written");
        assert_eq!(done, expected, "{put:?}");
    }
    let kept = store.definitions().await.expect("it can be read");
    let expected =
        [row("h1", "checkout", 1, true), row("h2", "checkout", 1, false), row("h3", "checkout", 2, true)];
    assert_eq!(kept, expected, "oldest first");
}

pub(super) async fn participants(subject: &dyn Subject) {
    let store = subject.fresh().await;
    for (name, text) in [("order", "{}"), ("inventory", "{\"a\":1}"), ("order", "{\"b\":\"ü\"}")] {
        store.put_participant(name, text).await.expect("it can be written");
    }
    let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let kept = store.participants().await.expect("it can be read");
    assert_eq!(kept, [pair("inventory", "{\"a\":1}"), pair("order", "{\"b\":\"ü\"}")], "by name");
    assert!(store.delete_participant("order").await.expect("it can be written"));
    assert!(!store.delete_participant("order").await.expect("it can be written"), "it is gone already");
    assert_eq!(store.participants().await.expect("it can be read").len(), 1);
}
