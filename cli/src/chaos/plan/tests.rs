//! Fates follow from the seed and the call, and in the shares that were asked for.

use super::*;

fn site(saga: u64, op: CallOp, attempt: u32) -> Site<'static> {
    let at = Duration::from_secs(1);
    Site { saga, participant: "inventory", step: "reserve", op, attempt, asked: 0, at }
}

fn plan(faults: &str) -> Plan {
    Plan::Mixed(faults.parse().expect(faults))
}

/// How many of 10,000 first calls meet each end.
fn count(faults: &str, op: CallOp, wanted: impl Fn(&Fate) -> bool) -> usize {
    let plan = plan(faults);
    (0..10_000).filter(|saga| wanted(&plan.fate(7, &site(*saga, op, 1)))).count()
}

#[test]
fn the_same_seed_gives_the_same_fates_and_another_seed_others() {
    let plan = plan("rough");
    let fates = |seed: u64| -> Vec<Fate> {
        (0..500)
            .flat_map(|n| [CallOp::Action, CallOp::Compensation].map(|op| plan.fate(seed, &site(n, op, 1))))
            .collect()
    };
    assert_eq!(fates(1), fates(1));
    assert_ne!(fates(1), fates(2));
}

#[test]
fn shares_are_met() {
    let faults = "drop_before=0.1,overload=0.1:1s,refuse=0.1,drop_after=0.1,garbage=0.1,delay=0.2:1ms,duplicate=0.2:1ms";
    let near = |count: usize, expected: usize| {
        assert!(count.abs_diff(expected) < expected / 5, "{count} of about {expected}");
    };
    for fault in [Fault::DropBefore, Fault::Refuse] {
        near(count(faults, CallOp::Action, |fate| fate.end == End::Intercepted(fault)), 1000);
    }
    for fault in [Fault::Overload503, Fault::Overload429] {
        near(count(faults, CallOp::Action, |fate| fate.end == End::Intercepted(fault)), 500);
    }
    for fault in [Fault::DropAfter, Fault::Garbage] {
        near(count(faults, CallOp::Action, |fate| fate.end == End::Spoilt(fault)), 1000);
    }
    near(count(faults, CallOp::Action, |fate| !fate.delay.is_zero()), 2000);
    // Only what arrives can arrive twice.
    near(count(faults, CallOp::Action, |fate| fate.copy.is_some()), 1400);
    assert_eq!(count("refuse=1", CallOp::Compensation, |fate| *fate != Fate::default()), 0);
    assert_eq!(count("refuse=1", CallOp::Action, |fate| fate.end == End::Intercepted(Fault::Refuse)), 10_000);
}

#[test]
fn a_reversal_fails_so_often_and_then_works_or_never_does() {
    let ends = |faults: &str| -> Vec<End> {
        (1..=5).map(|attempt| plan(faults).fate(7, &site(1, CallOp::Compensation, attempt)).end).collect()
    };
    let (fails, works) = (End::Intercepted(Fault::UndoFails), End::Answered);
    assert_eq!(ends("undo_fails=1:3"), [fails, fails, fails, works, works]);
    assert_eq!(ends("undo_fails_forever=1,undo_fails=1:2"), [End::Intercepted(Fault::UndoFailsForever); 5]);
    assert_eq!(ends("undo_refused=1"), [End::Intercepted(Fault::UndoRefused); 5]);
    assert_eq!(plan("undo_fails=1:3").fate(7, &site(1, CallOp::Action, 1)), Fate::default());
}

#[test]
fn a_participant_is_down_from_when_until_when_and_no_other_is() {
    for (faults, at_ms, down) in [
        ("down=inventory@1s+2s", 999, false),
        ("down=inventory@1s+2s", 1000, true),
        ("down=inventory@1s+2s", 2999, true),
        ("down=inventory@1s+2s", 3000, false),
        ("down=order@1s+2s", 1500, false),
        ("down=*@1s+2s", 1500, true),
    ] {
        let site = Site { at: Duration::from_millis(at_ms), ..site(1, CallOp::Action, 1) };
        let fate = plan(faults).fate(7, &site);
        assert_eq!(fate.end == End::Intercepted(Fault::Down), down, "{faults} at {at_ms} ms");
    }
}
