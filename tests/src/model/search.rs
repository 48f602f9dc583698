//! Breadth-first search through every reachable state, by fingerprint.
//!
//! States are kept only while they wait to be expanded; what has been seen is a 64-bit fingerprint each.
//! Every edge is kept too, so that at the end it is known from which states a goal can still be reached:
//! one from which none can is a dead end, and breaks I3.

use crate::world::campaign::quietly;
use amends_saga::planted;
use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Debug,
    hash::{BuildHasherDefault, Hasher},
    thread,
    time::{Duration, Instant},
};

/// States expanded by one thread before the results are gathered.
const CHUNK: usize = 4096;

/// Something with states to search.
pub trait Space: Sync {
    /// A state.
    type State: Clone + Send + Sync;
    /// What leads from one state to the next.
    type Action: Copy + Debug + Send + Sync;

    /// Where it begins.
    fn initial(&self) -> Self::State;
    /// What can happen in a state.
    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>);
    /// What becomes of it then.
    fn after(&self, state: &Self::State, action: Self::Action) -> Self::State;
    /// Two states are the same when their fingerprints are.
    fn fingerprint(&self, state: &Self::State) -> u64;
    /// The law that a state breaks.
    fn broken(&self, state: &Self::State) -> Option<String>;
    /// Whether everything has come to its end.
    fn is_goal(&self, state: &Self::State) -> bool;
    /// The bug planted in every thread.
    fn bug(&self) -> Option<planted::Bug>;
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Distinct states.
    pub states: usize,
    /// Edges between them.
    pub edges: usize,
    /// Steps from the beginning to the farthest state.
    pub depth: usize,
    /// States that are goals.
    pub goals: usize,
    /// Whether every reachable state was visited.
    pub complete: bool,
    /// The broken law, and the shortest way to break it.
    pub broken: Option<(String, Vec<String>)>,
    /// Time taken.
    pub took: Duration,
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only whole fingerprints are hashed")
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type Seen = HashMap<u64, u32, BuildHasherDefault<AsIs>>;

/// One successor of a state.
struct Next<S: Space + ?Sized> {
    parent: u32,
    action: S::Action,
    fingerprint: u64,
    /// The state, when it was not seen before.
    state: Option<Box<S::State>>,
    is_goal: bool,
    broken: Option<String>,
}

/// What is known of the states seen.
struct Graph<S: Space + ?Sized> {
    seen: Seen,
    parents: Vec<(u32, Option<S::Action>)>,
    goals: Vec<bool>,
    edges: Vec<(u32, u32)>,
}

/// Searches `space` until it is exhausted, a law is broken, or `states_max` states are seen.
pub fn search<S: Space>(space: &S, states_max: usize) -> Found {
    let begin = Instant::now();
    planted::plant(space.bug());
    let initial = space.initial();
    planted::plant(None);
    let mut graph: Graph<S> =
        Graph { seen: Seen::default(), parents: vec![(0, None)], goals: vec![false], edges: Vec::new() };
    graph.seen.insert(space.fingerprint(&initial), 0);
    let mut frontier = vec![(0u32, Box::new(initial))];
    let (mut depth, mut broken, mut complete) = (0, None, true);
    while !frontier.is_empty() && broken.is_none() {
        let mut next_frontier = Vec::new();
        for chunk in frontier.chunks(CHUNK * 2) {
            for next in expand(space, chunk, &graph.seen) {
                let law = next.broken.clone();
                let at = graph.add(next, &mut next_frontier);
                if let Some(law) = law.filter(|_| broken.is_none()) {
                    broken = Some((law, graph.way_to(at)));
                }
            }
            if graph.parents.len() >= states_max {
                complete = false;
                break;
            }
        }
        if !complete {
            break;
        }
        depth += 1;
        frontier = next_frontier;
    }
    if complete && broken.is_none() {
        broken = graph.dead_end().map(|at| ("I3: no way leads to an end".to_owned(), graph.way_to(at)));
    }
    Found {
        states: graph.parents.len(),
        edges: graph.edges.len(),
        depth,
        goals: graph.goals.iter().filter(|goal| **goal).count(),
        complete,
        broken,
        took: begin.elapsed(),
    }
}

fn expand<S: Space>(space: &S, chunk: &[(u32, Box<S::State>)], seen: &Seen) -> Vec<Next<S>> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let share = chunk.len().div_ceil(threads).max(64);
    thread::scope(|scope| {
        let workers: Vec<_> =
            chunk.chunks(share).map(|part| scope.spawn(|| successors(space, part, seen))).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect()
    })
}

fn successors<S: Space>(space: &S, part: &[(u32, Box<S::State>)], seen: &Seen) -> Vec<Next<S>> {
    let (mut found, mut actions) = (Vec::with_capacity(part.len() * 4), Vec::new());
    for (parent, state) in part {
        actions.clear();
        space.actions(state, &mut actions);
        for action in &actions {
            // An assertion of the core that fails is a broken law like any other.
            let after = quietly(|| {
                planted::plant(space.bug());
                space.after(state, *action)
            });
            let mut next = Next {
                parent: *parent,
                action: *action,
                fingerprint: 0,
                state: None,
                is_goal: false,
                broken: None,
            };
            match after {
                Ok(after) => {
                    next.fingerprint = space.fingerprint(&after);
                    if !seen.contains_key(&next.fingerprint) {
                        next.broken = space.broken(&after);
                        next.is_goal = space.is_goal(&after);
                        next.state = Some(Box::new(after));
                    }
                }
                Err(message) => {
                    next.fingerprint = u64::from(*parent) | 1 << 63;
                    next.broken = Some(format!("assertion: {message}"));
                }
            }
            found.push(next);
        }
    }
    found
}

impl<S: Space> Graph<S> {
    /// Adds a successor and returns its number.
    fn add(&mut self, next: Next<S>, frontier: &mut Vec<(u32, Box<S::State>)>) -> u32 {
        let fresh = self.parents.len() as u32;
        let at = match self.seen.entry(next.fingerprint) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                place.insert(fresh);
                self.parents.push((next.parent, Some(next.action)));
                self.goals.push(next.is_goal);
                frontier.extend(next.state.map(|state| (fresh, state)));
                fresh
            }
        };
        if at != next.parent {
            self.edges.push((next.parent, at));
        }
        at
    }

    /// The actions that lead to a state, the shortest list there is.
    fn way_to(&self, mut at: u32) -> Vec<String> {
        let mut way = Vec::new();
        while let (parent, Some(action)) = &self.parents[at as usize] {
            way.push(format!("{action:?}"));
            at = *parent;
        }
        way.reverse();
        way
    }

    /// A state from which no goal can be reached.
    fn dead_end(&self) -> Option<u32> {
        let mut alive = self.goals.clone();
        // Edges mostly lead from lower to higher numbers, so backwards it takes few rounds.
        loop {
            let mut changed = false;
            for (from, to) in self.edges.iter().rev() {
                if alive[*to as usize] && !alive[*from as usize] {
                    alive[*from as usize] = true;
                    changed = true;
                }
            }
            if !changed {
                return alive.iter().position(|alive| !alive).map(|at| at as u32);
            }
        }
    }
}
