//! What a participant's bad day does to it, to the sagas that need it, and to those that do not.
//!
//! The coordinator is the production value in virtual time, so a minute's outage takes a second and every run is the same.

use amends_saga::{
    Status,
    coordinator::Limits,
    planted::{self, Bug},
    sketch,
};
use amends_tests::load::{Outcome, Plan, Server, Weather, run};
use std::collections::BTreeMap;

const DOWN_FROM: i64 = 30_000;
const DOWN_TO: i64 = 90_000;
const STARTING: i64 = 180_000;
const END: i64 = 3_600_000;
const PER_SECOND: u64 = 100;

/// The calls a second that must not be exceeded, over those of steady state.
const OVER_STEADY_MAX: f64 = 1.3;

fn plan(sketches: &[&str], servers: BTreeMap<&'static str, Server>) -> Plan {
    Plan {
        definitions: sketches.iter().map(|text| sketch::definition(text)).collect(),
        per_second: PER_SECOND,
        surge: None,
        starting_ms: STARTING,
        end_ms: END,
        servers,
        limits: Limits::default(),
    }
}

fn steady(outcome: &Outcome, participant: &str) -> f64 {
    let seconds = outcome.each_second(participant, STARTING);
    seconds[5..29].iter().sum::<u64>() as f64 / 24.0
}

/// Prints the load on a participant, and says how many times the steady one it ever was.
fn over_steady(outcome: &Outcome, participant: &str) -> f64 {
    let steady = steady(outcome, participant);
    let most = outcome.most_in_a_second(participant);
    let tens: Vec<u64> = outcome
        .each_second(participant, 400_000)
        .chunks(10)
        .map(|ten| ten.iter().sum::<u64>() / 10)
        .collect();
    println!("{participant}: {steady:.1} calls a second before, {most} at most; in tens of seconds {tens:?}");
    most as f64 / steady
}

/// A minute's outage under load, for one definition: what it came to, and the first promise that was not kept.
fn outage(name: &str, sketch: &str) -> Result<(), String> {
    let down = Server::new(1000).from(DOWN_FROM, Weather::Down).from(DOWN_TO, Weather::Fair);
    let outcome = run(plan(&[sketch], [("p", down)].into()));
    let over = over_steady(&outcome, "p");
    let (done, undone) =
        (outcome.ended(Status::Completed, 0, END), outcome.ended(Status::Compensated, 0, END));
    let last = outcome.ends.values().map(|(_, _, end)| *end).max().unwrap_or_default() / 1000;
    println!(
        "{name}: {over:.2} times steady at most; {} started, {done} completed, {undone} compensated, {} refused, \
         {} items; the last ended at {last} s",
        outcome.started, outcome.refused, outcome.items
    );
    let during: u64 = outcome.each_second("p", END)[32..90].iter().sum();
    let after = outcome.ended(Status::Completed, STARTING - 20_000, STARTING) as f64;
    let laws = [
        (over <= OVER_STEADY_MAX, format!("{over:.2} times the steady load")),
        (during <= 30, format!("{during} calls to a participant that is down")),
        (done + undone == outcome.started, format!("{} of {} sagas end", done + undone, outcome.started)),
        (outcome.items == 0, format!("an outage that passes opens {} items", outcome.items)),
        (after >= 0.95 * 20.0 * PER_SECOND as f64, format!("{after} sagas of the last 20 s complete")),
    ];
    match laws.into_iter().find(|(kept, _)| !kept) {
        Some((_, broken)) => Err(format!("{name}: {broken}")),
        None => Ok(()),
    }
}

const OUTAGES: [(&str, &str); 3] = [
    ("actions at the participant", "one deadline=20s\na: q.a / q.ua\nb: p.b / p.ub\nc: q.c / q.uc"),
    ("compensations at the participant", "two deadline=20s\na: p.a / p.ua\nb: q.b / q.ub\nc: p.c / p.uc"),
    ("no deadline at all", "three\na: q.a / q.ua\nb: p.b / p.ub"),
];

#[test]
fn a_participant_that_returns_is_not_trampled_and_every_saga_ends() {
    for (name, sketch) in OUTAGES {
        assert_eq!(outage(name, sketch), Ok(()));
    }
}

#[test]
fn every_bug_planted_in_the_gate_is_found() {
    for bug in [Bug::BreakerIgnored, Bug::PaceIgnored, Bug::GateLeaksSlot, Bug::QueueForgotten] {
        planted::plant(Some(bug));
        let found = OUTAGES.iter().find_map(|(name, sketch)| outage(name, sketch).err());
        planted::plant(None);
        println!("{bug:?}: {}", found.as_deref().unwrap_or("not found"));
        assert!(found.is_some(), "{bug:?} is not found");
    }
}

#[test]
fn an_overload_ends_when_its_cause_does() {
    // At 80 % of what the participant can do, 20 s of slowness make a queue that its own retries would feed for ever.
    let server = Server::new(125).from(DOWN_FROM, Weather::Slow(20)).from(DOWN_FROM + 20_000, Weather::Fair);
    let outcome = run(plan(&["one deadline=30s\na: p.a / p.ua"], [("p", server)].into()));
    over_steady(&outcome, "p");
    let end = DOWN_FROM + 20_000;
    let recovered = |from: i64| outcome.ended(Status::Completed, from, from + 10_000) as f64 / 10.0;
    let tens: Vec<f64> = (0..STARTING / 10_000).map(|ten| recovered(ten * 10_000)).collect();
    println!("completed a second, of those started in each ten seconds: {tens:?}");
    // The participant has more than a minute of work for callers that have long given up.
    let good = recovered(end + 90_000) / PER_SECOND as f64;
    assert!(good >= 0.95, "a minute and a half after the cause is gone {:.0} % complete", good * 100.0);
    let ended = outcome.ends.len();
    assert_eq!((ended, outcome.items), (outcome.started, 0), "every saga ends and no item is left");
}

#[test]
fn a_dead_participant_does_not_delay_the_sagas_of_others() {
    let healthy = "healthy\na: q.a / q.ua\nb: q.b / q.ub";
    let dead = "dead\na: q.a / q.ua\nb: p.b / p.ub";
    let p99 = |outcome: &Outcome, nth: usize, of: usize| {
        let mut took: Vec<i64> = outcome
            .ends
            .iter()
            .filter(|(id, (_, begun, _))| id.as_u64_pair().1 as usize % of == nth && *begun > 40_000)
            .map(|(_, (_, begun, end))| end - begun)
            .collect();
        took.sort_unstable();
        took[took.len() * 99 / 100]
    };
    let alone = run(plan(&[healthy], BTreeMap::new()));
    let server = Server::new(1000).from(DOWN_FROM, Weather::Down);
    let beside = run(plan(&[healthy, dead], [("p", server)].into()));
    let (alone, with) = (p99(&alone, 0, 1), p99(&beside, 0, 2));
    println!(
        "p99 of sagas that do not need the dead participant: {alone} ms without it, {with} ms beside it"
    );
    assert!(with as f64 <= 1.2 * alone as f64);
}

/// A shop's checkout over three participants.
const CHECKOUT: &str = "checkout deadline=600s
a: product.a
b: stock.b / stock.ub
c: order.c / order.uc
d: stock.d / stock.ud
e: order.e / order.ue";

/// Participants that are killed in turn, one every 15 s, and back after 300 ms, until a time.
fn dying_in_turn(names: &[&'static str], until_ms: i64) -> BTreeMap<&'static str, Server> {
    let mut servers: BTreeMap<_, _> = names.iter().map(|name| (*name, Server::new(2000))).collect();
    for (name, at) in names.iter().cycle().zip((DOWN_FROM..until_ms).step_by(15_000)) {
        let server = servers.remove(name).expect("it is listed");
        servers.insert(name, server.from(at, Weather::Down).from(at + 300, Weather::Fair));
    }
    servers
}

/// How long the sagas took that were started within a span, in milliseconds: the median and the 99th of a hundred.
fn took(outcome: &Outcome, from: i64, to: i64) -> (i64, i64) {
    let fits = |(_, begun, _): &&(Status, i64, i64)| (from..to).contains(begun);
    let mut took: Vec<i64> = outcome.ends.values().filter(fits).map(|(_, begun, end)| end - begun).collect();
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

/// Five minutes of participants that die: how it looks, and the first promise that was not kept.
fn dying() -> Result<(), String> {
    let names = ["product", "stock", "order"];
    let outcome = run(Plan { starting_ms: 330_000, ..plan(&[CHECKOUT], dying_in_turn(&names, 300_000)) });
    for name in names {
        over_steady(&outcome, name);
    }
    for from in (0..330_000).step_by(30_000) {
        let (p50, p99) = took(&outcome, from, from + 30_000);
        println!("started from {:>3} s: p50 {p50} ms, p99 {p99} ms", from / 1000);
    }
    let (first, last) = (took(&outcome, 30_000, 120_000).1, took(&outcome, 210_000, 300_000).1);
    let after = took(&outcome, 315_000, 330_000).1;
    let ended = outcome.ends.len() == outcome.started && outcome.items == 0 && outcome.refused == 0;
    law(ended, || format!("{} of {} end", outcome.ends.len(), outcome.started))?;
    law(last <= first, || format!("the p99 of the last ones is {last} ms, of the first {first} ms"))?;
    law(after <= 100, || format!("when nobody dies any more, the p99 is {after} ms"))
}

/// Five times the demand from the moment of an outage on: how it looks, and the first promise that was not kept.
fn growing() -> Result<(), String> {
    let server = Server::new(2000).from(DOWN_FROM, Weather::Down).from(DOWN_FROM + 300, Weather::Fair);
    let surge = Some((DOWN_FROM, 5 * PER_SECOND));
    let outcome = run(Plan { surge, starting_ms: 150_000, ..plan(&[CHECKOUT], [("stock", server)].into()) });
    over_steady(&outcome, "stock");
    for from in (0..150_000).step_by(10_000) {
        let (p50, p99) = took(&outcome, from, from + 10_000);
        println!("started from {:>3} s: p50 {p50} ms, p99 {p99} ms", from / 1000);
    }
    let ended = outcome.ends.len() == outcome.started && outcome.items == 0;
    let (refused, after) = (outcome.refused, took(&outcome, 120_000, 150_000).1);
    law(ended, || format!("{} of {} end", outcome.ends.len(), outcome.started))?;
    law(refused <= 3_000, || format!("{refused} starts are refused"))?;
    law(after <= 100, || format!("a minute and a half later the p99 is {after} ms"))
}

/// Half a minute without the first participant, and just after it the next is away for a moment: how it looks, and the first
/// promise that was not kept.
fn one_after_another() -> Result<(), String> {
    let away = |from, to| Server::new(2000).from(from, Weather::Down).from(to, Weather::Fair);
    let servers = [("product", away(30_000, 60_000)), ("stock", away(70_000, 70_300))].into();
    let outcome = run(Plan { starting_ms: 150_000, ..plan(&[CHECKOUT], servers) });
    over_steady(&outcome, "product");
    over_steady(&outcome, "stock");
    for from in (0..150_000).step_by(10_000) {
        let (p50, p99) = took(&outcome, from, from + 10_000);
        println!("started from {:>3} s: p50 {p50} ms, p99 {p99} ms", from / 1000);
    }
    let p99 = took(&outcome, 80_000, 90_000).1;
    law(p99 <= 8_000, || format!("ten seconds after the second one's moment the p99 is {p99} ms"))
}

/// How it went: `Ok`, or the first promise that was not kept.
type Story = fn() -> Result<(), String>;

fn law(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

#[test]
fn who_was_starved_by_anothers_outage_is_not_paced_by_it() {
    assert_eq!(one_after_another(), Ok(()));
}

#[test]
fn participants_that_die_in_turn_do_not_wear_the_load_down() {
    assert_eq!(dying(), Ok(()));
}

#[test]
fn a_demand_that_grows_during_an_outage_is_met_after_it() {
    assert_eq!(growing(), Ok(()));
}

#[test]
fn a_bug_breaks_the_story_that_is_about_it() {
    let stories: [(Bug, Story); 3] =
        [(Bug::PaceWornDown, one_after_another), (Bug::PaceStuck, growing), (Bug::UnsentUndone, rush)];
    for (bug, story) in stories {
        planted::plant(Some(bug));
        let found = story();
        planted::plant(None);
        println!("{bug:?}: {found:?}");
        assert!(found.is_err(), "{bug:?} is not found");
    }
}

/// Half a minute of four times what a participant can do: how it looks, and the first promise that was not kept.
fn rush() -> Result<(), String> {
    const DEADLINE_MS: i64 = 20_000;
    let surge = Some((DOWN_FROM, 5 * PER_SECOND));
    let servers = [("pay", Server::new(125))].into();
    let sketch = "rush deadline=20s\na: stock.a / stock.ua\nb: pay.b / pay.ub";
    let outcome = run(Plan { surge, starting_ms: 2 * DOWN_FROM, ..plan(&[sketch], servers) });
    over_steady(&outcome, "pay");
    let undone = outcome.ends.values().filter(|(status, ..)| *status == Status::Compensated);
    let mut late: Vec<i64> = undone.map(|(_, begun, end)| end - begun - DEADLINE_MS).collect();
    late.sort_unstable();
    let (count, p50, worst) = (late.len(), late[late.len() / 2], late[late.len() - 1]);
    let done = outcome.ends.len() - count;
    println!(
        "{done} completed, {count} undone, p50 {p50} ms and at worst {worst} ms after their time was up"
    );
    let ended = outcome.ends.len() == outcome.started && outcome.items == 0;
    law(ended, || format!("{} of {} end", outcome.ends.len(), outcome.started))?;
    law(worst <= 15_000, || format!("what was set aside comes back {worst} ms after its time was up"))
}

#[test]
fn what_never_reached_a_participant_in_a_rush_is_not_undone_there() {
    assert_eq!(rush(), Ok(()));
}
