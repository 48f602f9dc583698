//! Ids that follow from what they name, the header that carries them, and the share of sagas that is traced.

use super::*;
use std::collections::BTreeSet;

fn saga(number: u64) -> Uuid {
    Uuid::from_u64_pair(0x0193_0000_0000_7000 + number, 0x8000_0000_0000_0000 | number)
}

#[test]
fn a_traceparent_reads_back_as_it_was_written() {
    for sampled in [true, false] {
        let parent = TraceParent { trace: saga(1), span: SpanId::of_saga(saga(1)), sampled };
        assert_eq!(parent.to_string().parse(), Ok(parent));
    }
}

#[test]
fn the_example_of_the_specification_is_read_and_whatever_breaks_it_is_refused() {
    let example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let read: TraceParent = example.parse().expect("the example");
    assert_eq!((read.span.bits(), read.sampled), (0x00f0_67aa_0ba9_02b7, true));
    assert_eq!(read.to_string(), example);
    let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-what-comes-later";
    assert_eq!(later.parse::<TraceParent>(), Ok(read), "a later version is read by what is the same");
    for wrong in [
        "",
        "00",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-+0f067aa0ba902b7-01",
    ] {
        assert_eq!(wrong.parse::<TraceParent>(), Err(BadTraceParent), "{wrong:?}");
    }
}

#[test]
fn every_span_of_a_saga_has_an_id_of_its_own_and_always_the_same() {
    let ids = || {
        let mut ids = vec![SpanId::of_saga(saga(1)), SpanId::of_opened_item(saga(1))];
        ids.push(SpanId::of_settled_item(saga(1)));
        for step in ["hold", "pay", "hold[1]"] {
            for (op, status_of) in [
                (CallOp::Action, CallOp::Action),
                (CallOp::Compensation, CallOp::Compensation),
                (CallOp::Status, CallOp::Action),
                (CallOp::Status, CallOp::Compensation),
            ] {
                for (attempt, poll) in [(1, 0), (2, 0), (1, 1), (1, 2)] {
                    let attempt = Attempt { step, op, status_of, attempt, poll };
                    ids.push(SpanId::of_attempt(saga(1), attempt));
                }
            }
        }
        ids
    };
    let first = ids();
    assert_eq!(first, ids());
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), first.len());
}

#[test]
fn a_share_of_sagas_is_taken_and_always_the_same_ones() {
    fn check(share: &str, expected: std::ops::RangeInclusive<usize>) {
        let share: Sample = share.parse().expect("a share");
        let taken = (0..10_000).filter(|number| share.takes(saga(*number))).count();
        assert!(expected.contains(&taken), "{share}: {taken}");
    }
    check("0", 0..=0);
    check("1", 10_000..=10_000);
    check("0.1", 900..=1_100);
    check("0.5", 4_800..=5_200);
    let (few, more): (Sample, Sample) = ("0.1".parse().expect("a share"), "0.2".parse().expect("a share"));
    assert!((0..1_000).map(saga).filter(|id| few.takes(*id)).all(|id| more.takes(id)), "more is more");
    for wrong in ["", "x", "-0.1", "1.1", "NaN", "inf", "10%"] {
        assert_eq!(wrong.parse::<Sample>(), Err(BadSample), "{wrong:?}");
    }
}
