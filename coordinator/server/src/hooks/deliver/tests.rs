//! One delivery: what is sent, and what its answer means.

use super::*;
use amends_store::repairs::Told;
use uuid::Uuid;

fn delivery(attempts: u32) -> Delivery {
    Delivery {
        n: 1,
        event: Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0),
        hook: "a".to_owned(),
        told: Told::Opened,
        item: Uuid::from_u128(1),
        level: 0,
        at: Timestamp(0),
        attempts,
    }
}

#[test]
fn waits_double_from_five_seconds_to_an_hour() {
    for (attempts, full_ms) in
        [(0, 5_000), (1, 10_000), (2, 20_000), (9, 2_560_000), (10, 3_600_000), (5_000, 3_600_000)]
    {
        let waited = wait(&delivery(attempts), None).0;
        assert!((full_ms / 2..=full_ms).contains(&waited), "after {attempts}: {waited} ms");
    }
}

#[test]
fn a_receiver_that_wants_more_time_gets_it_within_an_hour() {
    assert_eq!(wait(&delivery(0), Some(Millis::from_secs(120))), Millis::from_secs(120));
    assert_eq!(wait(&delivery(0), Some(Millis::from_secs(86_400))), Millis::from_secs(3600));
    assert!(wait(&delivery(3), Some(Millis(1))) >= Millis::from_secs(20));
}

#[test]
fn an_event_is_given_up_after_three_days_and_not_before() {
    let day = 24 * 3600 * 1000;
    assert!(!is_over(Timestamp(0), Timestamp(3 * day - 1)));
    assert!(is_over(Timestamp(0), Timestamp(3 * day)));
    assert!(!is_over(Timestamp(10), Timestamp(0)));
}
