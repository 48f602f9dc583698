//! Checks of repair items: written with their cause, found by every filter, counted, escalated.

use super::{
    Subject, finish, member,
    sample::{Beginning, Plot, Script, id, moved},
    shelving::{park, take_back},
    write,
};
use crate::{
    Filter, Owner, Store,
    repairs::{Item, ItemFilter, Pile, Place},
};
use amends_saga::{
    How, Op, ParkReason, RepairRow, RepairStatus, SagaId, Status, Timestamp, Verb,
    coordinator::{Append, Written},
};
use uuid::Uuid;

const NONE: [Uuid; 0] = [];

const EVERY: [RepairStatus; 4] =
    [RepairStatus::Open, RepairStatus::Assigned, RepairStatus::Retrying, RepairStatus::Settled];

/// Every item there is, settled or not.
pub(super) fn every() -> ItemFilter {
    ItemFilter { statuses: EVERY.to_vec(), ..ItemFilter::default() }
}

pub(super) async fn items(store: &dyn Store, filter: &ItemFilter) -> Vec<Item> {
    store.items(filter, None, 1000).await.expect("it can be read")
}

pub(super) async fn with_their_cause(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let mut script = Script::new(Beginning::nth(1), Plot::Parks);
    let mut opened = 0;
    while let Some(append) = script.next_append() {
        let spoilt = Append { epoch: append.epoch + 3, after_seq: append.after_seq.max(1), ..append.clone() };
        let outcomes = store.commit(&me, &[spoilt]).await.expect("the store is there");
        assert_eq!(outcomes, [Written::Fenced]);
        for row in &append.repairs {
            let found = store.item(row.item).await.expect("it can be read");
            assert_eq!(found, None, "nothing of a fenced append is there");
        }
        let bystander = Script::new(Beginning::nth(100 + append.after_seq), Plot::Completes).next_append();
        write(&*store, &me, &[bystander.expect("it begins"), append.clone()]).await;
        for row in &append.repairs {
            let expected = Item::from(row.clone());
            assert_eq!(store.item(row.item).await.expect("it can be read"), Some(expected.clone()));
            assert_eq!(items(&*store, &ItemFilter::default()).await, [expected]);
            opened += 1;
        }
    }
    assert_eq!(opened, 1, "the saga is parked once");
    let before = items(&*store, &every()).await;
    let store = subject.reopen(store).await;
    assert_eq!(items(&*store, &every()).await, before, "an item survives with its cause");
    assert_eq!(store.item(Uuid::from_u128(9)).await.expect("it can be read"), None);
}

/// Gives the first saga's stuck step a verb and writes what follows from it.
async fn act(store: &dyn Store, owner: &Owner, script: &mut Script, verb: Verb) {
    let stored = take_back(store, owner, 1).await;
    script.repair(&stored, verb);
    finish(store, owner, script).await;
}

pub(super) async fn through_verbs(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let mut script = park(&*store, &me, 1).await;
    let first = items(&*store, &ItemFilter::default()).await.remove(0);
    assert_eq!((first.status, first.reason), (RepairStatus::Open, Some(ParkReason::Refused)));
    let ada = "Ada \"ü\" O'Neil\n\\ 100 %";
    act(&*store, &me, &mut script, Verb::Assign { assignee: ada.to_owned() }).await;
    let assigned = store.item(first.item).await.expect("it can be read").expect("it is there");
    assert_eq!((assigned.status, assigned.assignee.as_deref()), (RepairStatus::Assigned, Some(ada)));
    assert!(assigned.seq > first.seq && assigned.opened_at == first.opened_at);
    act(&*store, &me, &mut script, Verb::Retry { input: None }).await;
    let again = items(&*store, &ItemFilter::default()).await;
    assert_eq!(again.len(), 1, "it was refused again");
    assert_eq!((again[0].number, again[0].status), (2, RepairStatus::Assigned));
    assert_eq!(again[0].first_opened_at, first.opened_at, "its age goes on");
    act(&*store, &me, &mut script, Verb::Resolve { output: None }).await;
    assert_eq!(items(&*store, &ItemFilter::default()).await, []);
    let how = |item: &Item| (item.item, item.status, item.settled_how);
    let all: Vec<_> = items(&*store, &every()).await.iter().map(how).collect();
    let expected = [
        (first.item, RepairStatus::Settled, Some(How::ParkedAgain)),
        (again[0].item, RepairStatus::Settled, Some(How::Resolved)),
    ];
    assert_eq!(all, expected, "nothing settled is removed, and the oldest is first");
}

/// A row to be written with the saga `n`, named and timed by `n`.
pub(super) fn row(n: u64) -> RepairRow {
    let at = Timestamp(1_763_700_000_000 + (n as i64 / 2) * 100);
    RepairRow {
        item: Uuid::from_u128(u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64),
        saga: id(n),
        definition: "checkout".to_owned(),
        step: "reserve".to_owned(),
        op: Op::Compensation,
        participant: "inventory".to_owned(),
        operation: "release".to_owned(),
        status: RepairStatus::Open,
        reason: ParkReason::Exhausted,
        number: 1,
        opened_at: at,
        first_opened_at: at,
        updated_at: at,
        assignee: None,
        settled_by: None,
        settled_how: None,
        seq: 2,
    }
}

/// A row that somebody has settled.
pub(super) fn settled(row: RepairRow) -> RepairRow {
    let (status, settled_how) = (RepairStatus::Settled, Some(How::Skipped));
    let updated_at = Timestamp(row.updated_at.0 + 5);
    RepairRow { status, settled_how, settled_by: Some("ada".to_owned()), updated_at, ..row }
}

/// Writes rows with a saga that begins with them. All are of one saga.
pub(super) async fn put(store: &dyn Store, owner: &Owner, rows: Vec<RepairRow>) {
    let id = rows[0].saga;
    let mut append = Script::new(Beginning::nth(1), Plot::Completes).next_append().expect("it begins");
    (append.id, append.repairs) = (id, rows);
    write(store, owner, &[append]).await;
}

pub(super) async fn of_any_call(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let of =
        |n, step: &str, op, number| RepairRow { saga: id(1), step: step.to_owned(), op, number, ..row(n) };
    let rows = vec![
        of(1, "ship[0]", Op::Action, 1),
        of(2, "ship[0]", Op::Confirm, 1),
        of(3, "ship[1]", Op::Action, 1),
        of(4, "ship[0]", Op::Compensation, 1),
    ];
    let mut append = Script::new(Beginning::nth(1), Plot::Completes).next_append().expect("it begins");
    append.head.at_steps = ["ship[0]", "ship[1]"].map(str::to_owned).into();
    append.repairs.clone_from(&rows);
    write(&*store, &me, &[append]).await;
    for row in &rows {
        let found = store.item(row.item).await.expect("it can be read");
        assert_eq!(found, Some(Item::from(row.clone())), "an item of any call is kept");
    }
    let at = |step: &str| ItemFilter { step: Some(step.to_owned()), ..ItemFilter::default() };
    let found = |rows: &[Item]| rows.iter().map(|item| item.op).collect::<Vec<_>>();
    let all = [Op::Action, Op::Confirm, Op::Compensation];
    assert_eq!(found(&items(&*store, &at("ship[0]")).await), all, "and found at its step");
    let of_step = [Op::Action, Op::Confirm, Op::Action, Op::Compensation];
    assert_eq!(found(&items(&*store, &at("ship")).await), of_step, "and at the step it is an item of");
    for (step, expected) in
        [("ship[1]", 1), ("ship", 1), ("ship[2]", 0), ("shi", 0), ("ship[", 0), ("hip", 0)]
    {
        let standing = Filter { step: Some(step.to_owned()), ..Filter::default() };
        let listed = store.list(&standing, None, 10).await.expect("it can be read");
        assert_eq!(listed.len(), expected, "and so is its saga: {step}");
        let is_empty = items(&*store, &at(step)).await.is_empty();
        assert_eq!(is_empty, expected == 0, "items at {step}");
    }
    let before = Timestamp(rows[0].first_opened_at.0);
    assert_eq!(store.escalate(1, before, 1).await.expect("it can be raised").len(), 1);
    let stored = store.load(id(1)).await.expect("it can be read").expect("it is there");
    let parked_again = vec![
        settled(rows[0].clone()),
        of(5, "ship[0]", Op::Action, 2),
        of(6, "ship[0]", Op::Confirm, 2),
        of(7, "ship[1]", Op::Action, 2),
    ];
    write(&*store, &me, &[Append { repairs: parked_again, ..moved(&stored, Status::Repair) }]).await;
    let level = async |n| store.item(row(n).item).await.expect("it can be read").map(|item| item.level);
    let levels = [level(5).await, level(6).await, level(7).await];
    assert_eq!(levels, [Some(1), Some(0), Some(0)], "each call of each step has its own age");
}

/// An anomaly.
pub(super) fn anomaly(n: u64, name: &str, saga: Option<SagaId>) -> Item {
    Item {
        saga,
        definition: saga.map(|_| "checkout".to_owned()),
        step: saga.map(|_| "reserve".to_owned()),
        operation: None,
        reason: None,
        seq: 0,
        anomaly: Some(format!(r#"{{"name":"{name}","message":"it's \"off\"","detail":null,"notes":[]}}"#)),
        ..Item::from(row(n))
    }
}

/// Eleven items, told apart by everything a filter knows. Two at a time were opened together.
async fn populate(store: &dyn Store) {
    let me = member(store, "me").await;
    let text = str::to_owned;
    put(store, &me, vec![row(1), RepairRow { saga: id(1), step: text("order"), ..row(2) }]).await;
    let assigned = |n, who| RepairRow { status: RepairStatus::Assigned, assignee: Some(text(who)), ..row(n) };
    put(store, &me, vec![assigned(3, "ada")]).await;
    put(store, &me, vec![RepairRow { participant: text("order"), ..assigned(4, "bob") }]).await;
    put(store, &me, vec![RepairRow { status: RepairStatus::Retrying, ..row(5) }]).await;
    put(store, &me, vec![RepairRow { reason: ParkReason::Contract, definition: text("ship"), ..row(6) }])
        .await;
    put(store, &me, vec![settled(assigned(7, "ada"))]).await;
    put(store, &me, vec![settled(RepairRow { participant: text("order"), ..row(8) })]).await;
    let anomalies = [
        Item { participant: text("order"), ..anomaly(9, "lost_row", None) },
        anomaly(10, "orphan_hold", Some(id(1))),
        Item { assignee: Some(text("ada")), ..anomaly(11, "orphan_hold", None) },
    ];
    assert_eq!(store.open_anomalies(&anomalies).await.expect("it can be written"), 3);
}

fn cases() -> Vec<(ItemFilter, &'static [u64])> {
    let all = ItemFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let at = |n: i64| Some(Timestamp(1_763_700_000_000 + n / 2 * 100));
    let status = |status| ItemFilter { statuses: vec![status], ..all() };
    vec![
        (all(), &[1, 2, 3, 4, 5, 6, 9, 10, 11]),
        (every(), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        (status(RepairStatus::Open), &[1, 2, 6, 9, 10, 11]),
        (status(RepairStatus::Assigned), &[3, 4]),
        (status(RepairStatus::Retrying), &[5]),
        (status(RepairStatus::Settled), &[7, 8]),
        (
            ItemFilter { statuses: vec![RepairStatus::Settled, RepairStatus::Open], ..all() },
            &[1, 2, 6, 7, 8, 9, 10, 11],
        ),
        (ItemFilter { anomalies: Some(true), ..all() }, &[9, 10, 11]),
        (ItemFilter { anomalies: Some(false), ..all() }, &[1, 2, 3, 4, 5, 6]),
        (ItemFilter { saga: Some(id(1)), ..all() }, &[1, 2, 10]),
        (ItemFilter { saga: Some(id(1)), step: text("reserve"), ..all() }, &[1, 10]),
        (ItemFilter { saga: Some(id(7)), ..all() }, &[]),
        (ItemFilter { saga: Some(id(7)), assignee: text("ada"), ..every() }, &[7]),
        (ItemFilter { definition: text("ship"), ..all() }, &[6]),
        (ItemFilter { definition: text("checkout"), ..every() }, &[1, 2, 3, 4, 5, 7, 8, 10]),
        (ItemFilter { definition: text("unheard"), ..every() }, &[]),
        (ItemFilter { step: text("order"), ..all() }, &[2]),
        (ItemFilter { participant: text("order"), ..all() }, &[4, 9]),
        (ItemFilter { participant: text("order"), ..every() }, &[4, 8, 9]),
        (ItemFilter { reason: Some(ParkReason::Contract), ..all() }, &[6]),
        (ItemFilter { reason: Some(ParkReason::Exhausted), ..status(RepairStatus::Assigned) }, &[3, 4]),
        (ItemFilter { reason: Some(ParkReason::Refused), ..every() }, &[]),
        (ItemFilter { assignee: text("ada"), ..all() }, &[3, 11]),
        (ItemFilter { assignee: text("ada"), ..every() }, &[3, 7, 11]),
        (ItemFilter { assignee: text("ada"), anomalies: Some(false), ..every() }, &[3, 7]),
        (ItemFilter { assignee: text("ada"), participant: text("order"), ..every() }, &[]),
        (ItemFilter { opened_after: at(4), ..all() }, &[4, 5, 6, 9, 10, 11]),
        (ItemFilter { opened_before: at(4), ..all() }, &[1, 2, 3]),
        (
            ItemFilter {
                opened_after: at(3),
                opened_before: at(8),
                participant: text("inventory"),
                ..every()
            },
            &[2, 3, 5, 6, 7],
        ),
    ]
}

fn known(n: u64) -> Uuid {
    row(n).item
}

pub(super) async fn filters(subject: &dyn Subject) {
    let store = subject.fresh().await;
    populate(&*store).await;
    for (filter, expected) in cases() {
        let mut expected: Vec<Place> = expected.iter().map(|n| Item::from(row(*n)).place()).collect();
        expected.sort_unstable();
        let found = items(&*store, &filter).await;
        assert!(found.iter().all(|item| filter.matches(item)), "{filter:?} fits what it found");
        let found: Vec<Place> = found.iter().map(Item::place).collect();
        assert_eq!(found, expected, "{filter:?}");
        for limit in [1, 2, 3] {
            let (mut walked, mut after) = (Vec::new(), None);
            loop {
                let page = store.items(&filter, after, limit).await.expect("it can be read");
                assert!(page.len() <= limit, "a page has at most its limit");
                let Some(last) = page.last() else { break };
                after = Some(last.place());
                walked.extend(page.iter().map(Item::place));
            }
            assert_eq!(walked, expected, "{filter:?}, {limit} at a time");
        }
        assert_eq!(store.items(&filter, None, 0).await.expect("it can be read"), []);
    }
}

pub(super) async fn piles(subject: &dyn Subject) {
    let store = subject.fresh().await;
    assert_eq!(store.piles(Timestamp(0), &[5]).await.expect("it can be read"), []);
    populate(&*store).await;
    let begun = row(0).opened_at.0;
    let pile = |participant: &str, definition: &str, step: &str, counts, ages: &[u64], oldest: u64| Pile {
        participant: participant.to_owned(),
        definition: (!definition.is_empty()).then(|| definition.to_owned()),
        step: step.to_owned(),
        is_anomaly: step.contains('_'),
        counts,
        ages: ages.to_vec(),
        oldest: row(oldest).opened_at,
    };
    // Ages now: 600 for 1; 500 for 2 and 3; 400 for 4 and 5; 300 for 6; 200 for 9; 100 for 10 and 11.
    let found = store.piles(Timestamp(begun + 600), &[200, 500]).await.expect("it can be read");
    let expected = [
        pile("inventory", "", "orphan_hold", [1, 0, 0], &[1, 0, 0], 11),
        pile("inventory", "checkout", "order", [1, 0, 0], &[0, 0, 1], 2),
        pile("inventory", "checkout", "orphan_hold", [1, 0, 0], &[1, 0, 0], 10),
        pile("inventory", "checkout", "reserve", [1, 1, 1], &[0, 1, 2], 1),
        pile("inventory", "ship", "reserve", [1, 0, 0], &[0, 1, 0], 6),
        pile("order", "", "lost_row", [1, 0, 0], &[0, 1, 0], 9),
        pile("order", "checkout", "reserve", [0, 1, 0], &[0, 1, 0], 4),
    ];
    assert_eq!(found, expected);
    let found = store.piles(Timestamp(begun), &[]).await.expect("it can be read");
    assert!(found.iter().all(|pile| pile.ages == [pile.counts.iter().sum::<u64>()]), "one range has all");
}

pub(super) async fn anomalies(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    let (one, two) = (anomaly(1, "lost_row", None), anomaly(2, "orphan_hold", Some(id(7))));
    let open = async |items: &[Item]| store.open_anomalies(items).await.expect("it can be written");
    assert_eq!(open(&[]).await, 0);
    assert_eq!(open(std::slice::from_ref(&one)).await, 1);
    assert_eq!(open(&[one.clone(), two.clone(), two.clone()]).await, 1, "each is opened once");
    assert_eq!(items(&*store, &every()).await, [one.clone(), two.clone()]);
    let later = Timestamp(one.updated_at.0 + 10);
    let changed = Item {
        status: RepairStatus::Settled,
        updated_at: later,
        assignee: Some("bob".to_owned()),
        settled_by: Some("ada".to_owned()),
        settled_how: Some(How::Resolved),
        anomaly: one.anomaly.as_ref().map(|text| text.replace("[]", r#"[{"at":1,"by":"ada","note":"ü"}]"#)),
        ..one.clone()
    };
    let change = async |item: &Item, was| store.change_anomaly(item, was).await.expect("it can be written");
    assert!(!change(&changed, later).await, "another time is another version");
    assert_eq!(store.item(one.item).await.expect("it can be read"), Some(one.clone()));
    assert!(change(&changed, one.updated_at).await);
    assert_eq!(store.item(one.item).await.expect("it can be read"), Some(changed.clone()));
    assert!(!change(&changed, one.updated_at).await, "of two at once one wins");
    assert_eq!(open(&[one]).await, 0, "what is settled is not opened again");
    assert_eq!(items(&*store, &ItemFilter::default()).await, [two]);
    assert!(!change(&anomaly(3, "lost_row", None), later).await, "what is not there is not changed");
    put(&*store, &me, vec![row(4)]).await;
    assert!(!change(&anomaly(4, "lost_row", None), row(4).updated_at).await, "a stuck step is no anomaly");
    assert_eq!(open(&[anomaly(4, "lost_row", None)]).await, 0, "its id is taken");
    assert_eq!(store.item(known(4)).await.expect("it can be read"), Some(Item::from(row(4))));
}

pub(super) async fn escalation(subject: &dyn Subject) {
    let store = subject.fresh().await;
    let me = member(&*store, "me").await;
    for n in [6, 2, 4] {
        put(&*store, &me, vec![row(n)]).await;
    }
    put(&*store, &me, vec![settled(row(1))]).await;
    let old = Item { first_opened_at: row(0).opened_at, ..anomaly(8, "lost_row", None) };
    store.open_anomalies(&[old]).await.expect("it can be written");
    let raise = async |level, n, limit| {
        let before = row(n).opened_at;
        let raised = store.escalate(level, before, limit).await.expect("it can be written");
        for item in &raised {
            assert_eq!(item.level, level);
            assert_eq!(store.item(item.item).await.expect("it can be read").as_ref(), Some(item));
        }
        raised.iter().map(|item| item.item).collect::<Vec<_>>()
    };
    assert_eq!(raise(1, 4, 0).await, NONE);
    assert_eq!(raise(1, 4, 2).await, [8, 2].map(known), "the longest stuck first");
    assert_eq!(raise(1, 4, 9).await, [known(4)], "each once");
    assert_eq!(raise(1, 4, 9).await, NONE);
    assert_eq!(raise(2, 6, 3).await, [8, 2, 4].map(known), "from any lower level");
    assert_eq!(raise(2, 9, 9).await, [known(6)]);
    assert_eq!(raise(1, 9, 9).await, NONE, "never down");
    // What a commit changes of an item keeps its level, and the next item of the step has it.
    let (older, newer) = (settled(row(2)), RepairRow { saga: id(2), number: 2, ..row(12) });
    let first_opened_at = older.first_opened_at;
    let stored = store.load(id(2)).await.expect("it can be read").expect("it is there");
    let append = Append {
        id: id(2),
        epoch: 1,
        after_seq: stored.records.len() as u64,
        records: stored.records[..1].to_vec(),
        head: stored.head,
        repairs: vec![older, RepairRow { first_opened_at, ..newer }],
    };
    write(&*store, &me, &[append]).await;
    for n in [2, 12] {
        assert_eq!(store.item(known(n)).await.expect("it can be read").map(|item| item.level), Some(2));
    }
    assert_eq!(raise(2, 20, 9).await, NONE, "an age that was told is not told again");
}
