//! What is watched, as Prometheus reads it.

use super::*;

fn pile(participant: &str, step: &str, ages: [u64; 4], oldest: i64) -> Pile {
    Pile {
        participant: participant.to_owned(),
        definition: None,
        step: step.to_owned(),
        is_anomaly: false,
        counts: [ages.iter().sum(), 0, 0],
        ages: ages.to_vec(),
        oldest: Timestamp(oldest),
    }
}

/// The value of one line of the text.
fn value(metrics: &Metrics, line: &str) -> Option<f64> {
    let text = metrics.handle().render();
    text.lines().find_map(|shown| shown.strip_prefix(line)?.trim().parse().ok())
}

fn open(participant: &str, step: &str, age: &str) -> String {
    format!("amends_repairs_open{{participant=\"{participant}\",step=\"{step}\",age=\"{age}\"}}")
}

#[test]
fn what_is_gone_is_shown_as_nothing() {
    let metrics = Metrics::new();
    let anomaly = Pile { is_anomaly: true, ..pile("shop", "effect_lost", [2, 0, 0, 0], 5_000) };
    metrics.piles(&[pile("shop", "hold", [1, 2, 0, 4], 1_000), anomaly], Timestamp(11_000));
    let check = |ages: [f64; 4], lost: f64, oldest: f64| {
        for (age, expected) in AGES.into_iter().zip(ages) {
            assert_eq!(value(&metrics, &open("shop", "hold", age)), Some(expected), "{age}");
        }
        assert_eq!(value(&metrics, "amends_anomalies_open{name=\"effect_lost\"}"), Some(lost));
        assert_eq!(value(&metrics, "amends_repairs_oldest_seconds"), Some(oldest));
    };
    check([1.0, 2.0, 0.0, 4.0], 2.0, 10.0);
    metrics.piles(&[], Timestamp(12_000));
    check([0.0; 4], 0.0, 0.0);
}

#[test]
fn the_items_of_a_fanned_out_step_stand_together_under_its_name() {
    let metrics = Metrics::new();
    let items = (0..1000).map(|n| pile("shop", &format!("hold[{n}]"), [1, 1, 0, 0], 0));
    metrics.piles(&items.chain([pile("shop", "charge", [3, 0, 0, 0], 0)]).collect::<Vec<_>>(), Timestamp(1));
    let text = metrics.handle().render();
    let lines = text.lines().filter(|line| line.starts_with("amends_repairs_open{"));
    assert_eq!(lines.count(), 2 * AGES.len(), "{text}");
    for (step, age, expected) in [("hold", "15m", 1000.0), ("hold", "1h", 1000.0), ("charge", "15m", 3.0)] {
        assert_eq!(value(&metrics, &open("shop", step, age)), Some(expected), "{step} {age}");
    }
}

#[test]
fn labels_are_bounded_and_nothing_is_lost_beyond() {
    let metrics = Metrics::new();
    let piles: Vec<Pile> = (0..400).map(|n| pile("shop", &format!("step-{n:03}"), [1, 0, 0, 0], 0)).collect();
    for _ in 0..2 {
        metrics.piles(&piles, Timestamp(1));
        let text = metrics.handle().render();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("amends_repairs_open{")).collect();
        assert!(lines.len() <= SETS_MAX + AGES.len(), "{} lines", lines.len());
        let sum: f64 = lines.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        assert!((sum - 400.0).abs() < 0.5, "{sum}");
    }
    for n in 0..2 * SETS_MAX {
        metrics.repair_settled(&format!("shop-{n}"), "resolved");
    }
    let other = "amends_repairs_settled_total{participant=\"other\",how=\"other\"}";
    assert_eq!(value(&metrics, other), Some(SETS_MAX as f64));
}

#[test]
fn a_gates_counts_go_on_after_it_has_begun_again() {
    let metrics = Metrics::new();
    let view = |opened, breaker| GateView {
        participant: Name::parse("shop").expect("a name"),
        breaker,
        until: None,
        opened,
        in_flight: 3,
        waiting: 4,
        recovered_at: None,
        deferred: [(Why::Limit, 0), (Why::Breaker, opened * 10), (Why::Budget, 0), (Why::Pace, 0)],
    };
    for (opened, breaker) in [(2, BreakerState::Open), (3, BreakerState::HalfOpen), (1, BreakerState::Closed)]
    {
        metrics.gates(&[view(opened, breaker)]);
    }
    let check = |line: &str, expected: f64| assert_eq!(value(&metrics, line), Some(expected), "{line}");
    check("amends_breaker_state{participant=\"shop\"}", 0.0);
    check("amends_breaker_opened_total{participant=\"shop\"}", 4.0);
    check("amends_calls_deferred_total{participant=\"shop\",why=\"breaker\"}", 40.0);
    check("amends_participant_in_flight{participant=\"shop\"}", 3.0);
    check("amends_participant_waiting{participant=\"shop\"}", 4.0);
}
