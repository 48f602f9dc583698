//! The simulated world, many seeds of it.
use amends_tests::world::{self, Settings, count::Counts};

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn seeds() {
    let sagas = env("AMENDS_SIM_SAGAS").unwrap_or(20) as usize;
    let range = match env("AMENDS_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..env("AMENDS_SIM_SEEDS").unwrap_or(10_000),
    };
    let log = range.end - range.start == 1;
    let start = std::time::Instant::now();
    let mut counts = Counts::default();
    let (mut events, mut bad, n) = (0, 0, range.end - range.start);
    for seed in range {
        let settings = Settings { seed, sagas, bug: None, log };
        let report = std::panic::catch_unwind(|| world::run(settings));
        let Ok(report) = report else { println!("PANIC {settings}"); bad += 1; if bad > 5 { break }; continue };
        counts.add(&report.counts);
        events += report.events;
        for line in &report.log { println!("{line}"); }
        if !report.violations.is_empty() {
            println!("{settings}\n{:?}", report.violations);
            bad += 1;
            if bad > 10 { break; }
        }
    }
    println!("{n} seeds, {events} events, {:?}\n{counts}", start.elapsed());
    println!("missing {:?}", counts.missing());
    assert!(bad == 0);
}
