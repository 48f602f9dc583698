//! Killed at any moment: a coordinator or a participant dies by SIGKILL again and again under load, and every
//! saga that was acknowledged still ends, with every effect applied exactly once and undone exactly once.
//!
//! Only real processes show this: that what is answered is on the disk, that the next process finds it at once
//! behind the dead one's lock, and that an address can be taken again. The processes are this very binary,
//! started again with a role in its environment. Effects are counted by SQL in a table that would hold a
//! repetition, so neither the barrier nor the journal is believed on its own word.
//!
//! `AMENDS_KILLS=1000` kills more often, `AMENDS_KILL_SEED=7` at other moments.

mod boundary;
mod check;
mod dying;
mod language;
mod ledger;
mod load;
mod process;
mod reversals;

use check::{Books, Tally};
use load::{Clients, Seen};
use process::{Process, Role, Sides};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Kills of the coordinator in the ordinary run.
const KILLS: u64 = 100;

/// Callers that start sagas at the same time.
const CLIENTS: usize = 32;

/// How long a life may take until a saga is acknowledged in it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which side dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Coordinators,
    Participant,
}

/// One of these worlds at a time: each wants both cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// Not a test by itself: where the processes of the others begin. Without a role it does nothing.
#[test]
fn a_process_of_this_test() {
    if let Some(role) = Role::from_environment() {
        process::live(&role);
    }
}

#[test]
fn a_coordinator_killed_a_hundred_times_forgets_nothing_and_does_nothing_twice() {
    check(1, Victim::Coordinators, kills());
}

#[test]
fn a_participant_killed_again_and_again_forgets_nothing_and_does_nothing_twice() {
    check(1, Victim::Participant, kills().div_ceil(4));
}

#[test]
fn of_two_coordinators_killed_in_turn_each_goes_on_with_what_the_other_left() {
    check(2, Victim::Coordinators, kills().div_ceil(2));
}

/// Holds every other world off while it lives.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kills() -> u64 {
    number("AMENDS_KILLS").unwrap_or(KILLS)
}

/// Runs the world, kills one side of it `kills` times, lets it heal and looks at the books.
fn check(coordinators: usize, victim: Victim, kills: u64) {
    let _one = one_at_a_time();
    process::install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let begin = Instant::now();
        let folder = tempfile::tempdir().expect("a folder");
        let sides = Sides::in_folder(folder.path(), coordinators);
        let mut coordinators = Vec::new();
        for role in &sides.coordinators {
            coordinators.push(Process::start(role).await);
        }
        let mut participant = [Process::start(&sides.participant).await];
        load::prepare(&sides, load::TRIP).await;
        let clients = Clients::start(&sides, load::TRIP, CLIENTS);
        let dying = match victim {
            Victim::Coordinators => &mut coordinators[..],
            Victim::Participant => &mut participant[..],
        };
        let lives = kill_again_and_again(dying, &clients, kills).await;
        let seen = clients.stop().await;
        let books = Books::read(&sides).await;
        drop((coordinators, participant));
        let tally = books.balance(&seen);
        report(kills, lives, &seen, &tally, begin.elapsed());
    });
}

/// Kills and restarts, in turn; returns before how many of the kills a saga was acknowledged.
async fn kill_again_and_again(victims: &mut [Process], clients: &Clients, kills: u64) -> u64 {
    let count = victims.len();
    let mut random = number("AMENDS_KILL_SEED").unwrap_or(1);
    let mut useful = 0;
    for kill in 0..kills {
        let before = clients.acknowledged();
        let victim = &mut victims[kill as usize % count];
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_millis(10 + (random >> 33) % 140);
        // One in five dies while it starts, which is when it reads and claims; three of them after they have
        // taken something on, however slow the machine is.
        match kill % 5 {
            4 => {}
            3 => victim.until_it_listens().await,
            _ => {
                victim.until_it_listens().await;
                until_something_is_acknowledged(clients, before).await;
            }
        }
        tokio::time::sleep(moment).await;
        victim.kill();
        useful += u64::from(clients.acknowledged() > before);
        victim.restart();
    }
    for victim in victims {
        victim.until_it_listens().await;
    }
    // A while in peace, so that the last life does more than heal.
    tokio::time::sleep(Duration::from_millis(500)).await;
    useful
}

/// Waits for the first saga acknowledged after the first `before`, but not for ever.
async fn until_something_is_acknowledged(clients: &Clients, before: u64) {
    let begin = Instant::now();
    while clients.acknowledged() == before && begin.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn report(kills: u64, lives: u64, seen: &Seen, tally: &Tally, took: Duration) {
    println!(
        "{kills} kills in {:.1} s; in {lives} lives a saga was acknowledged\n\
         {} acknowledged: {} completed, {} compensated; {} sagas in all\n\
         {} starts without an answer, {} answered as repeats, {} ends told and kept\n\
         {} effects, {} take-overs, {} failed attempts",
        took.as_secs_f64(),
        seen.acknowledged.len(),
        tally.completed,
        tally.compensated,
        tally.sagas,
        seen.unanswered,
        seen.repeats,
        tally.ends_kept,
        tally.effects,
        tally.taken_over,
        tally.attempts_failed,
    );
    assert!(lives * 2 > kills, "most lives did nothing: {lives} of {kills}");
    assert!(tally.completed >= 100 && tally.compensated >= 50, "too little was done");
    assert!(tally.attempts_failed > 0, "no call was ever disturbed");
}
