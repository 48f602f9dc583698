//! Calls go to the instances that offer the operation, are well and have the least to do.

use super::*;
use amends_saga::Millis;

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// An instance on a port, with the operations it offers.
fn instance(port: u16, operations: &[&str], expires_at: Option<Timestamp>) -> Arc<Instance> {
    let base = Url::parse(&format!("http://127.0.0.1:{port}/base/")).expect("a URL");
    let names: Vec<Name> = operations.iter().map(|text| name(text)).collect();
    Arc::new(Instance::new(base, names.iter(), None, expires_at, Arc::default()))
}

fn port(chosen: &Chosen) -> u16 {
    chosen.base.port().expect("a port")
}

/// How many of `calls` calls that never end each of the instances is sent.
fn spread(instances: &[Arc<Instance>], calls: usize) -> Vec<usize> {
    let chosen: Vec<Chosen> = (0..calls).filter_map(|turn| choose(instances, &name("go"), turn)).collect();
    let count =
        |one: &Arc<Instance>| chosen.iter().filter(|c| port(c) == one.base.port().unwrap_or(0)).count();
    instances.iter().map(count).collect()
}

#[test]
fn calls_are_spread_evenly_over_those_that_are_well() {
    let all: Vec<_> = (1..=4).map(|port| instance(port, &["go"], None)).collect();
    assert_eq!(spread(&all, 40), [10; 4]);
    all[1].note(Sign::Broken);
    assert_eq!(spread(&all, 30), [10, 0, 10, 10]);
    all[3].condition.check(false);
    all[3].condition.check(false);
    assert_eq!(spread(&all, 30), [15, 0, 15, 0]);
    assert_eq!(spread(&all[1..2], 3), [3], "there is no other");
}

#[test]
fn where_none_is_well_all_are_asked_and_those_that_expired_last() {
    let now = now();
    let past = Some(Timestamp(now.0 - 1));
    let future = Some(now.after(Millis::from_secs(60)));
    let all = [instance(1, &["go"], None), instance(2, &["go"], future), instance(3, &["go"], past)];
    assert_eq!(spread(&all, 10), [5, 5, 0]);
    all.iter().for_each(|one| one.note(Sign::Broken));
    assert_eq!(spread(&all, 10), [5, 5, 0], "the breaker decides");
    let expired = [instance(1, &["go"], past), instance(2, &["go"], past)];
    assert_eq!(spread(&expired, 10), [5, 5]);
}

#[test]
fn the_one_with_the_fewest_calls_on_their_way_is_taken() {
    let all = [instance(1, &["go"], None), instance(2, &["go"], None)];
    let slow: Vec<Chosen> = (0..6).filter_map(|_| choose(&all[..1], &name("go"), 0)).collect();
    assert_eq!(spread(&all, 4), [0, 4]);
    drop(slow);
    assert_eq!(spread(&all, 4), [2, 2]);
}

#[test]
fn a_call_goes_to_a_version_that_offers_its_operation() {
    let all = [instance(1, &["go", "old"], None), instance(2, &["go", "new"], None)];
    for turn in 0..4 {
        assert_eq!(choose(&all, &name("old"), turn).as_ref().map(port), Some(1));
        assert_eq!(choose(&all, &name("new"), turn).as_ref().map(port), Some(2));
    }
    assert!(choose(&all, &name("gone"), 0).is_none());
    all[0].note(Sign::Broken);
    assert_eq!(choose(&all, &name("old"), 0).as_ref().map(port), Some(1), "no other offers it");
}

#[test]
fn addresses_stand_below_the_base() {
    let one = instance(1, &["go"], None);
    let address = one.address(&name("go"));
    assert_eq!(address.single.as_str(), "http://127.0.0.1:1/base/go");
    assert_eq!(address.batch.as_str(), "http://127.0.0.1:1/base/go/batch");
    assert_eq!(one.below("/healthz").as_str(), "http://127.0.0.1:1/base/healthz");
    assert_eq!(one.id, id("http://127.0.0.1:1/base"), "the id is that of the address without its last slash");
}
