//! An instance is out as soon as it fails, for as long as it must be, and no longer.

use super::*;

fn at(ms: i64) -> Timestamp {
    Timestamp(ms)
}

/// Notes these signs at time 0 and returns for how many milliseconds the instance is passed over.
fn rest_after(signs: &[Sign]) -> i64 {
    let condition = Condition::default();
    for sign in signs {
        condition.note(*sign, at(0));
    }
    (0..).step_by(1000).find(|ms| condition.is_well(at(*ms))).expect("it ends")
}

#[test]
fn a_broken_connection_counts_at_once_and_a_missed_answer_only_in_a_row() {
    use Sign::{Answered, Broken, Missed};
    assert_eq!(rest_after(&[]), 0);
    assert_eq!(rest_after(&[Answered; 9]), 0);
    assert_eq!(rest_after(&[Broken]), 2000);
    assert_eq!(rest_after(&[Broken; 2]), 4000);
    assert_eq!(rest_after(&[Broken; 5]), 32_000);
    assert_eq!(rest_after(&[Broken; 50]), 32_000, "no longer than that");
    assert_eq!(rest_after(&[Missed; 4]), 0);
    assert_eq!(rest_after(&[Missed; 5]), 2000);
    assert_eq!(rest_after(&[Missed; 6]), 4000);
    assert_eq!(rest_after(&[Missed, Missed, Missed, Missed, Answered, Missed]), 0, "not in a row");
    assert_eq!(rest_after(&[Broken, Broken, Answered]), 0, "it is there again");
    assert_eq!(rest_after(&[Broken, Answered, Broken]), 2000, "and begins anew");
}

/// Folds these outcomes of checks; `i` and `o` stand where the instance comes in or goes out.
fn changes(checks: &str) -> String {
    let condition = Condition::default();
    let change = |check| match condition.check(check == '+') {
        None => '.',
        Some(true) => 'i',
        Some(false) => 'o',
    };
    checks.chars().map(change).collect()
}

#[test]
fn two_failed_checks_take_an_instance_out_and_two_good_ones_bring_it_back() {
    for (checks, expected) in [
        ("+++++", "....."),
        ("-+-+-+", "......"),
        ("--", ".o"),
        ("-----", ".o..."),
        ("--+-+-++", ".o.....i"),
        ("--++--++", ".o.i.o.i"),
    ] {
        assert_eq!(changes(checks), expected, "{checks}");
    }
}

#[test]
fn an_instance_that_comes_back_has_a_clean_slate() {
    let condition = Condition::default();
    condition.note(Sign::Broken, at(0));
    for check in [false, false, true] {
        condition.check(check);
        assert!(!condition.is_well(at(0)));
    }
    assert!(!condition.is_well(at(1_000_000)), "only checks bring back what checks took out");
    condition.check(true);
    assert!(condition.is_well(at(0)));
}

#[test]
fn a_lone_instance_is_checked_only_after_failures_and_until_it_is_well() {
    let condition = Condition::default();
    assert_eq!(condition.check_at(false, at(7)), None);
    assert_eq!(condition.check_at(true, at(7)), Some(at(7)), "with others it is due at once");
    condition.note(Sign::Missed, at(7));
    assert_eq!(condition.check_at(false, at(7)), Some(at(7)));
    condition.checking("an id", at(7));
    let next = condition.check_at(false, at(7)).expect("still wanted");
    assert!((2007..4007).contains(&next.0), "{next:?}");
    condition.check_soon();
    assert_eq!(condition.check_at(false, at(8)), Some(at(8)));
    condition.check(true);
    assert!(condition.check_at(false, at(8)).is_some(), "one good check is not enough");
    condition.check(true);
    assert_eq!(condition.check_at(false, at(8)), None);
}

#[test]
fn checks_of_many_instances_are_spread_over_time() {
    let next = |id: u32| {
        let condition = Condition::default();
        condition.checking(&id.to_string(), at(0));
        condition.check_at(true, at(0)).expect("wanted").0
    };
    let mut early = (0..1000).filter(|id| next(*id) < 3000).count();
    assert!((400..600).contains(&early), "{early} of 1000 in the first half");
    early = (0..1000).filter(|id| next(*id) < 2000).count();
    assert_eq!(early, 0);
}

#[test]
fn what_is_on_its_way_is_counted_until_it_is_over() {
    let condition = Arc::new(Condition::default());
    let (one, two) = (condition.begin(), condition.begin());
    assert_eq!(condition.in_flight(), 2);
    drop(one);
    assert_eq!(condition.in_flight(), 1);
    drop(two);
    assert_eq!(condition.in_flight(), 0);
}
