//! Audits against sagas: what breaks which law, what proves nothing, and what is owed by decision.

use super::*;
use crate::api::{JournalItem, SagaView, StepStatus};
use amends_saga::{SagaId, Status};
use serde_json::json;
use std::cell::Cell;

#[cfg(feature = "definition")]
mod language;

/// The moment of every comparison; sagas and effects are old unless a case says otherwise.
const NOW: i64 = 1_795_200_000_000;
const OLD: i64 = NOW - 600_000;

fn id(number: u128) -> SagaId {
    Uuid::from_u128(number)
}

fn step(name: &str, status: StepStatus) -> StepRecord {
    StepRecord {
        name: name.to_owned(),
        participant: "inventory".to_owned(),
        operation: "hold".to_owned(),
        branch: None,
        status,
        is_compensable: true,
        is_by_hand: false,
        sent: Some(json!({ "order": "1001", "lines": [{ "sku": 7, "qty": 2 }] })),
    }
}

fn saga(status: Status, steps: Vec<StepRecord>) -> SagaRecord {
    SagaRecord { id: id(1), status, created_at: OLD - 60_000, updated_at: OLD, steps }
}

fn effect(op_state: EffectState) -> Effect {
    Effect {
        saga: id(1),
        step: "reserve".to_owned(),
        op_state,
        at: OLD,
        effect: Some(json!({ "order": "1001", "lines": [{ "sku": 7, "qty": 2 }] })),
        expires_at: None,
    }
}

fn audited(effects: Vec<Effect>) -> Audited {
    Audited { effects, ..Audited::default() }
}

fn terms() -> Terms {
    Terms { now: NOW, settle_ms: 60_000, traceless: ["quote".to_owned()].into() }
}

fn held_against(saga: Option<SagaRecord>, audited: &Audited) -> Comparison {
    let mut sagas = Sagas::default();
    match saga {
        Some(saga) => sagas.add(saga),
        None => sagas.add_unknown(id(1)),
    }
    compare("inventory", audited, &sagas, &terms())
}

/// The findings' names; each breaks the law it says it breaks.
fn names_of(comparison: &Comparison) -> Vec<&str> {
    for finding in &comparison.findings {
        let law = comparison.laws.iter().find(|law| law.name == finding.law).expect("a law");
        assert!(law.broken > 0 && law.checked >= law.broken, "{law:?}");
    }
    assert_eq!(comparison.is_kept(), comparison.findings.is_empty());
    comparison.findings.iter().map(|finding| finding.name.as_str()).collect()
}

/// One saga with one step, and what its participant says of it.
fn check(case: &str, saga: SagaRecord, effects: Vec<Effect>, expected: &[&str]) -> Comparison {
    let comparison = held_against(Some(saga), &audited(effects));
    assert_eq!(names_of(&comparison), expected, "{case}: {comparison:#?}");
    comparison
}

#[test]
fn what_a_saga_says_and_what_a_participant_says_agree_or_break_a_law() {
    use EffectState::{Applied, Barred, Undone};
    let completed = |status| saga(Status::Completed, vec![step("reserve", status)]);
    let compensated = |status| saga(Status::Compensated, vec![step("reserve", status)]);
    let done = completed(StepStatus::Done);
    check("done and there", done.clone(), vec![effect(Applied)], &[]);
    check("done and undone", done.clone(), vec![effect(Undone)], &[names::UNDONE_THOUGH_COMPLETED]);
    check("done and refused", done.clone(), vec![effect(Barred)], &[names::EFFECT_LOST]);
    check("done and no trace", done, vec![], &[names::EFFECT_LOST]);
    let skipped = completed(StepStatus::Skipped);
    check("not needed", skipped.clone(), vec![], &[]);
    check("not needed, yet there", skipped, vec![effect(Applied)], &[names::EFFECT_LEFT_BEHIND]);
    for status in [StepStatus::Compensated, StepStatus::Refused, StepStatus::Unknown, StepStatus::Pending] {
        let gone = compensated(status);
        check("made good", gone.clone(), vec![effect(Undone)], &[]);
        check("never done", gone.clone(), vec![effect(Barred)], &[]);
        check("no trace", gone.clone(), vec![], &[]);
        check("still there", gone, vec![effect(Applied)], &[names::EFFECT_LEFT_BEHIND]);
    }
    let mut for_good = step("reserve", StepStatus::Done);
    for_good.is_compensable = false;
    check("cannot be undone", saga(Status::Compensated, vec![for_good]), vec![effect(Applied)], &[]);
    let other = vec![step("other", StepStatus::Skipped)];
    let found = [names::EFFECT_WITHOUT_A_SAGA];
    check("a step that there is not", saga(Status::Completed, other), vec![effect(Applied)], &found);
    let mut elsewhere = step("reserve", StepStatus::Done);
    elsewhere.participant = "order".to_owned();
    check("another's step", saga(Status::Completed, vec![elsewhere]), vec![effect(Undone)], &[]);
}

#[test]
fn an_effect_of_a_saga_that_nobody_knows_is_found_once_it_has_settled() {
    use EffectState::{Applied, Barred, Pending, Undone};
    let found = |effect| {
        let comparison = held_against(None, &audited(vec![effect]));
        names_of(&comparison).join(" ")
    };
    assert_eq!(found(effect(Applied)), names::EFFECT_WITHOUT_A_SAGA);
    for nothing in [effect(Undone), effect(Barred), effect(Pending)] {
        assert_eq!(found(nothing), "");
    }
    assert_eq!(found(Effect { at: NOW - 59_000, ..effect(Applied) }), "");
    let unasked = compare("inventory", &audited(vec![effect(Applied)]), &Sagas::default(), &terms());
    assert_eq!((names_of(&unasked).len(), unasked.in_motion), (0, 1));
}

#[test]
fn what_is_in_motion_proves_nothing() {
    use EffectState::{Applied, Pending, Undone};
    let of = |status, step_status| saga(status, vec![step("reserve", step_status)]);
    for state in [Applied, Undone, Pending] {
        for status in [Status::Running, Status::Compensating, Status::Repair] {
            for step_status in
                [StepStatus::Done, StepStatus::Unknown, StepStatus::Parked, StepStatus::Running]
            {
                let comparison = check("live", of(status, step_status), vec![effect(state)], &[]);
                assert_eq!((comparison.judged, comparison.in_motion), (0, 1));
            }
        }
    }
    let done = of(Status::Completed, StepStatus::Done);
    let late = SagaRecord { updated_at: NOW - 59_000, ..done.clone() };
    check("ended just now", late.clone(), vec![effect(Undone)], &[]);
    check("ended just now, no trace", late, vec![], &[]);
    check("undone just now", done.clone(), vec![Effect { at: NOW, ..effect(Undone) }], &[]);
    check("in the works", done.clone(), vec![effect(Pending)], &[]);
    let before = Audited { since: done.created_at - 59_000, ..Audited::default() };
    assert_eq!(names_of(&held_against(Some(done.clone()), &before)).len(), 0, "older than the audit");
    let mut quote = step("quote", StepStatus::Done);
    quote.operation = "quote".to_owned();
    check("leaves no trace", saga(Status::Completed, vec![quote]), vec![], &[]);
}

#[test]
fn what_an_operator_left_is_a_debt_and_no_fault() {
    use EffectState::{Applied, Undone};
    let mut by_hand = step("reserve", StepStatus::Compensated);
    by_hand.is_by_hand = true;
    for (status, state, debts) in [
        (Status::Compensated, Applied, 1),
        (Status::Compensated, Undone, 0),
        (Status::Abandoned, Applied, 1),
        (Status::Abandoned, Undone, 0),
        (Status::Completed, Undone, 1),
    ] {
        let comparison = check("by hand", saga(status, vec![by_hand.clone()]), vec![effect(state)], &[]);
        assert_eq!(comparison.debts.len(), debts, "{status:?} {state:?}");
    }
    let mut done_by_hand = step("reserve", StepStatus::Done);
    done_by_hand.is_by_hand = true;
    let forward = saga(Status::Completed, vec![done_by_hand]);
    for (state, debts) in [(Applied, 0), (EffectState::Barred, 1)] {
        let comparison = check("done by hand", forward.clone(), vec![effect(state)], &[]);
        assert_eq!(comparison.debts.len(), debts);
    }
    check("done by hand, no trace", forward, vec![], &[]);
    let said_undone = saga(Status::Abandoned, vec![step("reserve", StepStatus::Compensated)]);
    check("said to be undone", said_undone, vec![effect(Applied)], &[names::EFFECT_LEFT_BEHIND]);
    let skipped = saga(Status::Abandoned, vec![step("reserve", StepStatus::Skipped)]);
    let comparison = check("abandoned", skipped, vec![effect(Applied)], &[]);
    assert!(comparison.debts[0].message.contains("abandoned by an operator"), "{comparison:?}");
}

#[test]
fn a_hold_past_its_expiry_is_found_when_its_saga_has_ended() {
    let holding = |expires_at| Effect { expires_at: Some(expires_at), ..effect(EffectState::Applied) };
    let done = saga(Status::Completed, vec![step("reserve", StepStatus::Done)]);
    check("in time", done.clone(), vec![holding(NOW + 5)], &[]);
    check("just over", done.clone(), vec![holding(NOW - 60_000)], &[]);
    let found = [names::HOLD_PAST_ITS_EXPIRY];
    let comparison = check("long over", done, vec![holding(NOW - 61_000)], &found);
    assert_eq!(comparison.findings[0].message, "it should have ended 61 s ago, and its saga is completed");
    let live = saga(Status::Running, vec![step("reserve", StepStatus::Done)]);
    check("not ended", live, vec![holding(5)], &[]);
}

/// What was done against what was asked.
fn check_words(done: Value, asked: Value, expected: &[&str]) {
    let mut reserve = step("reserve", StepStatus::Done);
    reserve.sent = Some(asked.clone());
    let done = Effect { effect: Some(done), ..effect(EffectState::Applied) };
    check(&asked.to_string(), saga(Status::Completed, vec![reserve]), vec![done], expected);
}

#[test]
fn what_was_done_is_held_against_the_words_of_the_call() {
    let two = || json!({ "order": "1", "lines": [{ "sku": 7, "qty": 2 }, { "sku": 9, "qty": 1 }] });
    for asked in [
        two(),
        json!({ "order": "1", "lines": [{ "sku": 9, "qty": 1 }, { "sku": 7, "qty": 2 }], "note": "x" }),
        json!({ "order": "1", "lines": [{ "sku": 7, "qty": 1 }, { "sku": 9, "qty": 1 }, { "sku": 7, "qty": 1 }] }),
        json!({ "order": "1", "lines": [{ "sku": 7, "qty": 2.0, "name": "mug" }, { "sku": 9, "qty": 1 }] }),
        json!({ "order": "1" }),
        json!({ "order": null, "lines": null }),
        json!("a text"),
    ] {
        check_words(two(), asked, &[]);
    }
    let quantity = [names::WRONG_QUANTITY];
    check_words(two(), json!({ "lines": [{ "sku": 7, "qty": 3 }, { "sku": 9, "qty": 1 }] }), &quantity);
    check_words(json!({ "amount": 5 }), json!({ "amount": 6 }), &quantity);
    let differs = [names::EFFECT_DIFFERS];
    check_words(two(), json!({ "lines": [{ "sku": 7, "qty": 2 }] }), &differs);
    check_words(two(), json!({ "lines": [{ "sku": 7, "qty": 2 }, { "sku": 8, "qty": 1 }] }), &differs);
    check_words(two(), json!({ "order": "2" }), &differs);
    check_words(two(), json!({ "order": 1 }), &differs);
    check_words(two(), json!({ "lines": "none" }), &differs);
    check_words(json!({ "tags": ["a", "b"] }), json!({ "tags": ["b", "a"] }), &[]);
    check_words(json!({ "tags": ["a", "a"] }), json!({ "tags": ["a"] }), &differs);
    check_words(json!({ "to": { "city": "Bonn", "zip": 5 } }), json!({ "to": { "city": "Bonn" } }), &[]);
    check_words(json!({ "to": { "city": "Bonn" } }), json!({ "to": { "city": "Ulm" } }), &differs);
}

#[test]
fn a_difference_says_where_and_what() {
    let mut reserve = step("reserve", StepStatus::Done);
    reserve.sent = Some(json!({ "lines": [{ "sku": 7, "qty": 3 }] }));
    let done = saga(Status::Completed, vec![reserve]);
    let comparison = check("where", done, vec![effect(EffectState::Applied)], &[names::WRONG_QUANTITY]);
    let detail =
        json!({ "path": "/lines", "done": [{ "sku": 7, "qty": 2 }], "asked": [{ "sku": 7, "qty": 3 }] });
    assert_eq!(comparison.findings[0].detail, Some(detail));
    assert!(comparison.findings[0].message.starts_with("at /lines was done [{"), "{comparison:?}");
}

#[test]
fn what_a_participant_finds_itself_is_told_once_and_under_its_law() {
    let reported = |name: &str, saga: Option<u128>| Reported {
        name: name.to_owned(),
        saga: saga.map(id),
        step: saga.map(|_| "reserve".to_owned()),
        message: "a row is gone".to_owned(),
        detail: None,
    };
    let findings = vec![
        reported(names::EFFECT_LOST, Some(1)),
        reported(names::EFFECT_LOST, Some(1)),
        reported(names::ORPHAN_HOLD, Some(9)),
        reported("stock_is_balanced", None),
        reported("stock_is_balanced", None),
    ];
    let audited = Audited { findings, doubled: vec![(id(1), "reserve".to_owned())], ..Audited::default() };
    let comparison =
        held_against(Some(saga(Status::Completed, vec![step("reserve", StepStatus::Done)])), &audited);
    let expected = [
        names::EFFECT_LOST,
        names::ORPHAN_HOLD,
        "stock_is_balanced",
        "stock_is_balanced",
        names::DOUBLED_EFFECT,
    ];
    assert_eq!(names_of(&comparison), expected);
    let own = comparison.laws.last().expect("a law");
    assert_eq!((own.name.as_str(), own.id.as_str(), own.broken), ("stock_is_balanced", "", 2));
}

#[test]
fn findings_are_bounded_and_all_counted() {
    let effects = (0..1500).map(|n| Effect { saga: id(n), ..effect(EffectState::Applied) }).collect();
    let mut sagas = Sagas::default();
    (0..1500).for_each(|n| sagas.add_unknown(id(n)));
    let comparison = compare("inventory", &audited(effects), &sagas, &terms());
    let law = comparison.laws.iter().find(|law| law.name == "no_orphan_effects").expect("the law");
    assert_eq!((comparison.findings.len(), law.broken, law.checked), (1000, 1500, 1500));
}

#[test]
fn every_name_breaks_a_law_and_laws_are_named_once() {
    let known: std::collections::BTreeSet<&str> = LAWS.iter().map(|law| law.name).collect();
    assert_eq!(known.len(), LAWS.len());
    for name in names::ALL {
        assert!(law::broken_by(name).is_some_and(|law| known.contains(law)), "{name}");
    }
}

#[test]
fn a_record_brings_together_the_view_and_the_journal() {
    let view: SagaView = serde_json::from_value(json!({
        "id": id(1), "definition": "checkout", "version": 1, "key": null, "labels": {}, "status": "abandoned",
        "input": {}, "output": null, "error": null, "created_at": "2026-11-20T18:00:00.000Z",
        "updated_at": "2026-11-20T18:00:01.000Z", "ended_at": null, "deadline_at": null, "repairs": [],
        "steps": [
            { "name": "quote", "kind": "call", "status": "done", "compensation": null, "action":
                { "operation": "product.quote", "status": "done", "attempts": 1, "output": null, "last_error": null, "next_attempt_at": null } },
            { "name": "payment", "kind": "await", "status": "done", "action": null, "compensation": null,
              "signal": "payment", "output": null, "timeout_at": null },
            { "name": "reserve", "kind": "call", "status": "parked",
              "action": { "operation": "inventory.hold", "status": "done", "attempts": 1, "output": null, "last_error": null, "next_attempt_at": null },
              "compensation": { "operation": "inventory.release", "status": "parked", "attempts": 1, "output": null, "last_error": null, "next_attempt_at": null } },
        ],
    }))
    .expect("a view");
    let journal: Vec<JournalItem> = serde_json::from_value(json!([
        { "seq": 1, "at": "2026-11-20T18:00:00.000Z", "type": "started", "definition": "checkout@1" },
        { "seq": 2, "at": "2026-11-20T18:00:00.000Z", "type": "call_started", "step": "reserve", "op": "action", "input": { "order": "1" } },
        { "seq": 3, "at": "2026-11-20T18:00:00.000Z", "type": "call_started", "step": "reserve", "op": "compensation", "input": { "order": "2" } },
        { "seq": 4, "at": "2026-11-20T18:00:00.000Z", "type": "repair_skipped", "step": "reserve", "op": "compensation", "by": "ada" },
    ]))
    .expect("a journal");
    let record = SagaRecord::read(&view, &journal);
    assert_eq!(
        (record.id, record.status, record.updated_at - record.created_at),
        (id(1), Status::Abandoned, 1000)
    );
    let names: Vec<&str> = record.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["quote", "reserve"]);
    let quote = &record.steps[0];
    assert_eq!((quote.participant.as_str(), quote.is_compensable, &quote.sent), ("product", false, &None));
    let reserve = &record.steps[1];
    assert_eq!(
        (reserve.operation.as_str(), reserve.is_compensable, reserve.is_by_hand),
        ("hold", true, true)
    );
    assert_eq!(reserve.sent, Some(json!({ "order": "1" })));
}

#[test]
fn a_page_is_written_as_it_is_documented_and_read_with_what_may_be_absent() {
    let page = Page {
        effects: vec![effect(EffectState::Applied)],
        findings: Vec::new(),
        next: Some("barrier.1".to_owned()),
    };
    let written = json!({
        "effects": [{ "saga": id(1), "step": "reserve", "op_state": "applied", "at": OLD, "expires_at": null,
                      "effect": { "order": "1001", "lines": [{ "sku": 7, "qty": 2 }] } }],
        "findings": [], "next": "barrier.1",
    });
    assert_eq!(serde_json::to_value(&page).expect("JSON"), written);
    assert_eq!(serde_json::from_value::<Page>(written).expect("a page"), page);
    let brief = json!({ "effects": [{ "saga": id(1), "step": "s", "op_state": "barred", "at": 5 }] });
    let brief: Page = serde_json::from_value(brief).expect("a page");
    assert_eq!((&brief.effects[0].effect, brief.effects[0].expires_at, &brief.next), (&None, None, &None));
}

/// Reads an audit that gives these pages, one after the other.
fn read(pages: Vec<Page>, effects_max: usize) -> (Result<Audited, ReadError<String>>, usize) {
    let asked = Cell::new(0);
    let reading = read_all(Query::since(7), effects_max, |query| {
        let page = pages.get(asked.get()).cloned().ok_or_else(|| "no such page".to_owned());
        assert_eq!(query.cursor.is_some(), asked.get() > 0);
        asked.set(asked.get() + 1);
        std::future::ready(page)
    });
    let mut reading = std::pin::pin!(reading);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match reading.as_mut().poll(&mut context) {
        std::task::Poll::Ready(audited) => (audited, asked.get()),
        std::task::Poll::Pending => panic!("nothing is waited for"),
    }
}

fn page(effects: Vec<Effect>, next: Option<&str>) -> Page {
    let finding =
        Reported { name: "x".to_owned(), saga: None, step: None, message: "y".to_owned(), detail: None };
    Page { effects, findings: vec![finding], next: next.map(str::to_owned) }
}

#[test]
fn pages_are_read_to_the_end_and_the_newest_word_on_a_step_counts() {
    use EffectState::{Applied, Undone};
    let at = |at, state| Effect { at, ..effect(state) };
    let other = Effect { step: "confirm".to_owned(), ..effect(Applied) };
    let pages = vec![
        page(vec![at(5, Applied), other.clone()], Some("a")),
        page(vec![at(6, Undone)], Some("b")),
        page(vec![at(5, Applied)], None),
    ];
    let (audited, asked) = read(pages, 100);
    let audited = audited.expect("an audit");
    assert_eq!((asked, audited.since), (3, 7));
    assert_eq!(audited.effects, [other, at(6, Undone)]);
    assert_eq!((audited.findings.len(), audited.doubled.len()), (1, 0));

    let twice = page(vec![at(5, Applied), at(5, Applied)], None);
    let (audited, _) = read(vec![twice], 100);
    assert_eq!(audited.expect("an audit").doubled, [(id(1), "reserve".to_owned())]);
}

#[test]
fn reading_ends_when_a_page_fails_repeats_itself_or_is_too_much() {
    let pages = vec![page(vec![], Some("a")), page(vec![], Some("a"))];
    assert!(matches!(read(pages, 10).0, Err(ReadError::Endless(cursor)) if cursor == "a"));
    assert!(
        matches!(read(vec![page(vec![], Some("a"))], 10).0, Err(ReadError::Fetch(why)) if why == "no such page")
    );
    let many = (0..11).map(|n| Effect { saga: id(n), ..effect(EffectState::Applied) }).collect();
    assert!(matches!(read(vec![page(many, None)], 10).0, Err(ReadError::TooMuch(10))));
}

#[test]
fn a_query_is_read_strictly() {
    let read = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Query::read(&pairs).map_err(|problem| problem.detail)
    };
    assert_eq!(read(&[]), Ok(Query { since: 0, limit: LIMIT_DEFAULT, cursor: None }));
    let all = [("since", "5"), ("cursor", "x.1"), ("limit", "500")];
    assert_eq!(read(&all), Ok(Query { since: 5, limit: 500, cursor: Some("x.1".to_owned()) }));
    let long = "c".repeat(CURSOR_BYTES_MAX + 1);
    for bad in [
        ("since", "-1"),
        ("since", "1.5"),
        ("limit", "0"),
        ("limit", "501"),
        ("cursor", ""),
        ("cursor", &long),
    ] {
        assert!(read(&[bad]).is_err(), "{bad:?}");
    }
    assert!(read(&[("limit", "5"), ("limit", "5")]).is_err_and(|why| why.contains("twice")));
    assert!(read(&[("unt\u{1b}il", "5")]).is_err_and(|why| why.contains("there are since, limit, cursor")));
}
