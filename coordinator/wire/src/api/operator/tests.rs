//! What operators may write, and what they are told to do.

use super::*;
use amends_saga::RepairStatus;
use uuid::Uuid;

use crate::api::repair::{RepairReason, proposed};

#[test]
fn a_blank_note_is_none_and_refused_where_one_is_required() {
    for blank in [None, Some(""), Some("  \n\t")] {
        let blank = blank.map(str::to_owned);
        assert_eq!(note(blank.clone()), Ok(None), "{blank:?}");
        for action in [RepairAction::Resolve, RepairAction::Skip, RepairAction::Abandon] {
            assert!(action.needs_note());
            let refused = required_note(blank.clone(), action).expect_err("it is blank");
            assert_eq!(refused.slug, Slug::NoteRequired, "{action}: {refused}");
        }
    }
    assert_eq!(required_note(Some("x".to_owned()), RepairAction::Skip), Ok("x".to_owned()));
}

#[test]
fn texts_are_bounded_in_bytes() {
    let of = |bytes: usize| Some("x".repeat(bytes));
    assert!(note(of(NOTE_BYTES_MAX)).is_ok());
    assert_eq!(note(of(NOTE_BYTES_MAX + 1)).expect_err("too long").slug, Slug::MalformedBody);
    assert!(person("x".repeat(PERSON_BYTES_MAX), "by").is_ok());
    for bad in ["", "   ", "a\nb", "a\0b", MONITOR, " monitor ", &"é".repeat(129)] {
        let refused = person(bad.to_owned(), "by").expect_err(bad);
        assert_eq!(refused.slug, Slug::MalformedBody, "{bad:?}: {refused}");
    }
    assert_eq!(person(" Ada ".to_owned(), "by"), Ok("Ada".to_owned()));
}

#[test]
fn what_is_proposed_follows_the_reason_and_how_often_it_failed() {
    let id = Uuid::nil();
    let table = [
        (RepairStatus::Open, RepairReason::Exhausted, 1, Some("retry")),
        (RepairStatus::Assigned, RepairReason::Exhausted, 3, Some("retry")),
        (RepairStatus::Open, RepairReason::Exhausted, 4, Some("resolve")),
        (RepairStatus::Open, RepairReason::Contract, 1, Some("--input")),
        (RepairStatus::Open, RepairReason::Refused, 1, Some("resolve")),
        (RepairStatus::Open, RepairReason::Anomaly, 1, Some("resolve")),
        (RepairStatus::Retrying, RepairReason::Exhausted, 1, None),
        (RepairStatus::Settled, RepairReason::Refused, 1, None),
    ];
    for (status, reason, number, word) in table {
        let said = proposed(id, status, reason, number);
        let fits = match (&said, word) {
            (Some(said), Some(word)) => said.contains(word) && said.contains(&id.to_string()),
            (said, word) => said.is_none() && word.is_none(),
        };
        assert!(fits, "{status:?} {reason:?} {number}: {said:?}");
    }
}
