//! Waits: bounds, repeatability, floors and caps.

use super::*;
use proptest::prelude::*;

#[test]
fn an_action_waits_longer_each_time_up_to_its_cap() {
    let full = [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000];
    for seed in 0..200 {
        for (i, full) in full.into_iter().enumerate() {
            let wait = Schedule::ACTION.delay(i as u32 + 1, Mix::new(seed)).0;
            assert!((full / 2..=full).contains(&wait), "wait {} is {wait} ms, not about {full}", i + 1);
        }
    }
}

#[test]
fn a_compensation_is_tried_three_times_quickly_and_then_twelve_times_slowly() {
    let schedule = UndoSchedule::DEFAULT;
    assert_eq!(schedule.attempts_max(), 15);
    let full = [
        100, 200, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000, 300_000,
    ];
    for (i, full) in full.into_iter().enumerate() {
        let wait = schedule.delay(i as u32 + 1, Mix::new(7)).0;
        assert!((full / 2..=full).contains(&wait), "wait {} is {wait} ms, not about {full}", i + 1);
    }
}

#[test]
fn a_schedule_without_quick_attempts_is_slow_from_the_first() {
    let schedule = UndoSchedule { quick: 0, ..UndoSchedule::DEFAULT };
    assert_eq!(schedule.attempts_max(), 12);
    assert!(schedule.delay(1, Mix::new(1)).0 >= 500);
    let none = UndoSchedule { quick: 0, slow: Schedule { attempts: 0, ..schedule.slow }, ..schedule };
    assert_eq!(none.attempts_max(), 1, "one attempt is always made");
}

#[test]
fn jitter_spreads_sagas_and_attempts() {
    let waits: std::collections::BTreeSet<u64> =
        (0..200).map(|seed| Schedule::ACTION.delay(6, Mix::new(seed)).0).collect();
    assert!(waits.len() > 150, "200 sagas wait {} different times", waits.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_wait_stays_within_its_bounds_and_repeats(
        attempt in 1u32..10_000, first in 0u64..100_000, factor in 0.0f64..10.0, max in 0u64..1_000_000, seed: u64,
    ) {
        let schedule = Schedule { attempts: 5, first: Millis(first), factor, max: Millis(max) };
        let wait = schedule.delay(attempt, Mix::new(seed));
        prop_assert!(wait.0 <= max);
        prop_assert!(wait.0 >= first.min(max) / 2);
        prop_assert_eq!(wait, schedule.delay(attempt, Mix::new(seed)));
    }
}
