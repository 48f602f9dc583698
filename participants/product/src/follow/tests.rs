//! Following as arithmetic: whatever comes, in whatever order and however often, what is known stays right.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::cursor::{Cursor, Taken};
use super::remote::{Batch, Level, State};

/// An inventory: what each flow left of which SKU, the first under 1.
#[derive(Debug, Default)]
struct Flows(Vec<(i64, i64)>);

impl Flows {
    fn head(&self) -> i64 {
        self.0.len() as i64
    }

    /// What there is of a SKU after flow `seq`.
    fn usable(&self, sku: i64, seq: i64) -> Option<i64> {
        let upto = &self.0[..usize::try_from(seq).expect("a flow")];
        upto.iter().rev().find(|(changed, _)| *changed == sku).map(|(_, usable)| *usable)
    }

    /// The answer to `after`, of `flows_max` flows at most.
    fn after(&self, after: i64, flows_max: i64) -> Batch {
        let (head, next) = (self.head(), self.head().min(after + flows_max));
        let changed: BTreeMap<i64, ()> = (after..next).map(|flow| (self.0[flow as usize].0, ())).collect();
        let state = |sku: i64| {
            let usable = self.usable(sku, head).expect("it changed");
            State { sku, usable, state: if usable > 0 { Level::InStock } else { Level::SoldOut }, seq: head }
        };
        let feed = (head > 0).then(|| "a".to_owned());
        Batch { feed, after, next, head, since: None, events: changed.into_keys().map(state).collect() }
    }
}

/// One who follows, and what he knows: SKU → (seq, usable).
struct Reader {
    cursor: Cursor,
    known: BTreeMap<i64, (i64, i64)>,
}

impl Reader {
    fn take(&mut self, batch: &Batch) {
        match self.cursor.take(batch) {
            Taken::Advance(next) => self.cursor = next,
            Taken::Stay => {}
            Taken::Anew => panic!("there is but one feed"),
        }
        for state in &batch.events {
            let known = self.known.entry(state.sku).or_insert((-1, 0));
            if state.seq > known.0 {
                *known = (state.seq, state.usable);
            }
        }
    }

    /// Whatever changed up to the cursor is known, and whatever is known was so.
    fn assert_right(&self, flows: &Flows) {
        for (sku, (seq, usable)) in &self.known {
            assert_eq!(flows.usable(*sku, *seq), Some(*usable), "sku {sku} after flow {seq}");
        }
        for flow in 1..=self.cursor.known_to {
            let (sku, _) = flows.0[flow as usize - 1];
            assert!(self.known.get(&sku).is_some_and(|(seq, _)| *seq >= flow), "flow {flow} of sku {sku}");
        }
    }
}

/// What happens next.
#[derive(Debug, Clone)]
enum Happens {
    /// Stock of a SKU changes.
    Change { sku: i64, usable: i64 },
    /// The reader asks and is answered.
    Answer { flows_max: i64 },
    /// The reader asks, and the answer is lost on the way, to come later.
    Delayed { flows_max: i64 },
    /// An answer from before comes, once more or for the first time.
    Again { which: prop::sample::Index },
    /// The reader starts again from what it had written down.
    Restart,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (1..6i64, 0..9i64).prop_map(|(sku, usable)| Happens::Change { sku, usable }),
        2 => (1..8i64).prop_map(|flows_max| Happens::Answer { flows_max }),
        1 => (1..8i64).prop_map(|flows_max| Happens::Delayed { flows_max }),
        3 => any::<prop::sample::Index>().prop_map(|which| Happens::Again { which }),
        1 => Just(Happens::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_that_come_twice_late_or_in_another_order_do_no_harm(
        history in prop::collection::vec(happens(), 1..80)
    ) {
        let mut flows = Flows::default();
        let mut reader = Reader { cursor: Cursor { feed: None, known_to: 0 }, known: BTreeMap::new() };
        let mut answers: Vec<Batch> = Vec::new();
        let mut written = (reader.cursor.clone(), reader.known.clone());
        for next in history {
            match next {
                Happens::Change { sku, usable } => flows.0.push((sku, usable)),
                Happens::Answer { flows_max } => {
                    let batch = flows.after(reader.cursor.known_to, flows_max);
                    reader.take(&batch);
                    answers.push(batch);
                    written = (reader.cursor.clone(), reader.known.clone());
                }
                Happens::Delayed { flows_max } => answers.push(flows.after(reader.cursor.known_to, flows_max)),
                Happens::Again { which } if !answers.is_empty() => {
                    let batch = which.get(&answers);
                    // The empty feed from before the first flow is another one by then, and no more than nothing.
                    if batch.feed.is_some() || reader.cursor.feed.is_none() {
                        reader.take(batch);
                    }
                }
                Happens::Again { .. } => {}
                Happens::Restart => (reader.cursor, reader.known) = written.clone(),
            }
            reader.assert_right(&flows);
        }
        while reader.cursor.known_to < flows.head() {
            reader.take(&flows.after(reader.cursor.known_to, 7));
            reader.assert_right(&flows);
        }
        for sku in 1..6 {
            let known = reader.known.get(&sku).map(|(_, usable)| *usable);
            prop_assert_eq!(known, flows.usable(sku, flows.head()));
        }
    }
}

#[test]
fn an_answer_moves_the_cursor_only_from_where_it_is() {
    let cursor = |feed: Option<&str>, known_to: i64| Cursor { feed: feed.map(str::to_owned), known_to };
    let check = |known: Cursor, told: Option<&str>, after: i64, next: i64, expected: Taken| {
        let feed = told.map(str::to_owned);
        let batch = Batch { feed, after, next, head: next, since: None, events: Vec::new() };
        assert_eq!(known.take(&batch), expected, "{known:?} and {batch:?}");
    };
    let advance = |to: i64| Taken::Advance(cursor(Some("a"), to));
    check(cursor(Some("a"), 10), Some("a"), 10, 15, advance(15));
    check(cursor(Some("a"), 10), Some("a"), 7, 15, advance(15));
    check(cursor(Some("a"), 10), Some("a"), 10, 10, Taken::Stay);
    check(cursor(Some("a"), 10), Some("a"), 3, 9, Taken::Stay);
    check(cursor(Some("a"), 10), Some("a"), 11, 15, Taken::Stay);
    check(cursor(Some("a"), 10), Some("b"), 10, 15, Taken::Anew);
    check(cursor(Some("a"), 10), None, 0, 0, Taken::Anew);
    check(cursor(None, 0), None, 0, 0, Taken::Stay);
    check(cursor(None, 0), Some("a"), 0, 5, advance(5));
    check(cursor(None, 3), Some("a"), 3, 5, Taken::Anew);
}
