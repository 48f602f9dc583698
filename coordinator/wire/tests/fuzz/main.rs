//! The reader of definitions against whatever may be sent to it: mangled definitions, definitions changed in
//! their structure, and texts made to hurt.
//!
//! Every input is made from a seed and its number alone, so a failure is told as two numbers that bring it
//! back. What has to hold for every input is in `law`. Inputs are read on a thread with the stack of a worker
//! thread; a watch sees to it that none takes for ever.
//!
//! - `AMENDS_FUZZ_SECONDS`: how long to go on; 3 where it is absent.
//! - `AMENDS_FUZZ_SEED`: where to begin; a fixed one where it is absent.
//! - `AMENDS_FUZZ_ROUND`: only this input.
#![cfg(feature = "definition")]

mod bomb;
mod corpus;
mod dice;
mod drive;
mod law;
mod mutate;

use corpus::Corpus;
use dice::Dice;
use std::{
    panic,
    sync::atomic::{AtomicU64, Ordering},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// As much as a worker thread has.
const STACK_BYTES: usize = 2 << 20;
/// When an input is taken for one that never ends.
const HANGS_AFTER: Duration = Duration::from_secs(20);
/// What the whole run may take of memory.
const MEMORY_BYTES_MAX: u64 = 768 << 20;
/// How often something panicked.
static PANICS: AtomicU64 = AtomicU64::new(0);
const SEED: u64 = 0x5a6a_2026;

/// What comes from the thread that reads.
enum Word {
    Begins(u64),
    Done(Tally),
}

/// How many inputs of which kind were seen.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    rounds: u64,
    sound: u64,
    slowest: Duration,
    slowest_round: u64,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.trim().parse().ok()
}

#[test]
fn whatever_is_read_is_refused_in_place_or_means_something() {
    let seconds = number("AMENDS_FUZZ_SECONDS").unwrap_or(3);
    let seed = number("AMENDS_FUZZ_SEED").unwrap_or(SEED);
    let only = number("AMENDS_FUZZ_ROUND");
    // What is caught on the way is a failure all the same.
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        told(panic);
    }));
    let (words, heard) = mpsc::sync_channel(1024);
    let reading = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        let corpus = Corpus::load();
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut tally = Tally::default();
        let mut round = only.unwrap_or(0);
        while only.map_or(Instant::now() < until, |only| round == only) {
            words.send(Word::Begins(round)).expect("the test listens");
            one(seed, round, &corpus, &mut tally);
            round += 1;
        }
        words.send(Word::Done(tally)).expect("the test listens");
    });
    let reading = reading.expect("a thread");
    let (tally, last) = watch(&heard);
    let again = format!("AMENDS_FUZZ_SEED={seed} AMENDS_FUZZ_ROUND={last}");
    let Some(tally) = tally else {
        // Only a thread that has come to its end can be joined.
        assert!(reading.is_finished(), "an input takes more than {HANGS_AFTER:?}; again with {again}");
        assert!(reading.join().is_ok(), "see above; again with {again}");
        return;
    };
    println!("{tally:?}, {} MiB at most", peak_bytes().unwrap_or(0) >> 20);
    assert!(only.is_some() || tally.rounds > 100, "only {} inputs in {seconds} s", tally.rounds);
    assert!(only.is_some() || tally.sound > tally.rounds / 50, "too few of the inputs are sound: {tally:?}");
    assert!(peak_bytes().is_none_or(|bytes| bytes < MEMORY_BYTES_MAX), "{tally:?}");
}

/// Waits for the end, or for an input that does not come to one; returns the last that was begun.
fn watch(heard: &mpsc::Receiver<Word>) -> (Option<Tally>, u64) {
    let mut last = 0;
    loop {
        match heard.recv_timeout(HANGS_AFTER) {
            Ok(Word::Begins(round)) => last = round,
            Ok(Word::Done(tally)) => return (Some(tally), last),
            Err(RecvTimeoutError::Disconnected) => {
                // The thread is about to end; its panic has been told.
                thread::sleep(Duration::from_millis(200));
                return (None, last);
            }
            Err(RecvTimeoutError::Timeout) => return (None, last),
        }
    }
}

/// Makes and reads one input.
fn one(seed: u64, round: u64, corpus: &Corpus, tally: &mut Tally) {
    let mut dice = Dice::new(seed, round);
    let text = corpus.text(&mut dice);
    let (before, clock) = (cpu_time(), Instant::now());
    let sound = law::check(&text, &mut dice);
    let took = match (before, cpu_time()) {
        // Other processes may hold the processor; what is measured is this thread's own time.
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => clock.elapsed(),
    };
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "something panicked and was caught:\n{text}");
    tally.rounds += 1;
    tally.sound += u64::from(sound);
    if took > tally.slowest {
        (tally.slowest, tally.slowest_round) = (took, round);
    }
}

/// What this thread has had of the processor, where the system tells.
fn cpu_time() -> Option<Duration> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// The most memory this process has had, where the system tells.
fn peak_bytes() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}
