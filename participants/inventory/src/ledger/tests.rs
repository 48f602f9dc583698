//! The ledger against a small book in memory that keeps the same laws as the database.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::cart::Delivery;
use crate::outcome::Shortage;

const NOW: i64 = 1_000_000;
const HOLD_FOR: i64 = 900_000;

/// What the tables hold, with their constraints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Book {
    buckets: BTreeMap<BucketKey, (Sku, Balance)>,
    holds: BTreeMap<i64, Hold>,
    flows: Vec<Flow>,
    numbers: Vec<Noted>,
}

type Answers = Vec<Result<Done, Refusal>>;

impl Book {
    fn stocked(stock: &[(i64, i64)]) -> Book {
        let mut book = Book::default();
        for (sku, qty) in stock {
            let sku = Sku::new(*sku).unwrap();
            let key = BucketKey { stock_id: sku.get() + 100, bucket_no: 0 };
            book.buckets.insert(key, (sku, Balance::default()));
            let delivery =
                Delivery::read(&json!({"biz_no": format!("in-{sku}"), "lines": [{"sku": sku, "qty": qty}]}));
            let mut ledger = book.load();
            assert!(ledger.replenish(&delivery.unwrap()));
            book.write(ledger.into_changes());
        }
        book
    }

    fn load(&self) -> Ledger {
        let next = self.holds.last_key_value().map_or(1, |(id, _)| id + 1);
        let mut ledger = Ledger::new(NOW, HOLD_FOR, next);
        for (key, (sku, balance)) in &self.buckets {
            let record = Record { stock_id: key.stock_id, epoch: 1, mode: Mode::Merged };
            ledger.load_record(RecordKey::from(*sku), record);
            ledger.load_bucket(*key, *sku, *balance, 7);
        }
        self.holds.values().for_each(|hold| ledger.load_hold(hold.clone()));
        self.numbers.iter().for_each(|noted| ledger.load_number(noted.clone()));
        ledger
    }

    fn write(&mut self, changes: Changes) {
        for Counters { key, balance, version } in changes.buckets {
            assert_eq!(version, 7, "it is told as which version it was loaded");
            self.buckets.get_mut(&key).unwrap().1 = balance;
        }
        for hold in changes.made {
            assert!(self.holds.insert(hold.id, hold).is_none(), "a hold is made once");
        }
        for hold in changes.changed {
            assert!(self.holds.insert(hold.id, hold).is_some(), "only what exists changes");
        }
        self.flows.extend(changes.flows);
        self.numbers.extend(changes.numbers);
        self.audit();
    }

    /// Decides the calls as one batch.
    fn batch(&mut self, calls: &[(Deed, Arc<Cause>)]) -> Answers {
        let mut ledger = self.load();
        let answers = calls.iter().map(|(deed, cause)| ledger.decide(deed, cause).unwrap()).collect();
        self.write(ledger.into_changes());
        answers
    }

    fn audit(&self) {
        for (key, (_, balance)) in &self.buckets {
            let flows = self.flows.iter().filter(|flow| flow.bucket == *key);
            let mut sum = Delta::NONE;
            flows.for_each(|flow| sum += flow.delta);
            assert_eq!((sum.usable, sum.held, sum.shipped), (balance.usable, balance.held, balance.shipped));
            let open: i64 = self.holds.values().filter(|hold| hold.bucket == *key).map(Hold::open).sum();
            assert_eq!(open, balance.held);
        }
        let mut lines = BTreeSet::new();
        for hold in self.holds.values() {
            assert!(hold.released >= 0 && hold.shipped >= 0 && hold.released + hold.shipped <= hold.qty);
            assert_eq!(matches!(hold.standing, Standing::Closed { .. }), hold.open() == 0);
            assert!(lines.insert((hold.order.clone(), hold.line_no)), "a line of an order is used once");
        }
        let mut once = BTreeSet::new();
        for flow in &self.flows {
            let key = (flow.cause.clone(), flow.biz_no.clone(), flow.op, flow.line_no, flow.bucket.bucket_no);
            assert!(once.insert(key), "one step changes a line once in one way");
        }
    }

    fn usable(&self, sku: i64) -> i64 {
        self.buckets.values().find(|(of, _)| of.get() == sku).unwrap().1.usable
    }
}

pub(crate) fn cause(saga: u128, step: &str) -> Arc<Cause> {
    Arc::new(Cause { saga: Uuid::from_u128(saga), step: step.into() })
}

pub(crate) fn order(number: &str) -> OrderNo {
    OrderNo::stored(number)
}

pub(crate) fn cart(number: &str, lines: &[(i64, i64)]) -> Cart {
    let lines: Vec<_> = lines.iter().map(|(sku, qty)| json!({"sku": sku, "qty": qty})).collect();
    Cart::read(&json!({"order": number, "lines": lines})).unwrap()
}

pub(crate) fn part(number: &str, paper: Option<&str>, lines: &[(i64, i64)]) -> Part {
    let lines = if lines.is_empty() { Vec::new() } else { cart(number, lines).lines().to_vec() };
    Part { order: order(number), number: paper.map(order), lines }
}

/// Says in a word what an answer was.
fn word(answer: &Result<Done, Refusal>) -> &'static str {
    match answer {
        Ok(Done::Held { .. }) => "held",
        Ok(Done::Deducted { .. }) => "deducted",
        Ok(Done::Confirmed { .. }) => "confirmed",
        Ok(Done::Shipped { .. }) => "sent",
        Ok(Done::Again { .. }) => "again",
        Ok(Done::Undone { freed, held, .. }) => match (freed.is_empty(), held.is_empty()) {
            (true, true) => "nothing left",
            (false, true) => "freed",
            (true, false) => "held again",
            (false, false) => "freed and held again",
        },
        Err(Refusal::Short(_)) => "short",
        Err(Refusal::AlreadyHeld { .. }) => "already held",
        Err(Refusal::LinesUsedUp { .. }) => "lines used up",
        Err(Refusal::Unknown { .. }) => "unknown",
        Err(Refusal::GivenBack { .. }) => "given back",
        Err(Refusal::Confirmed { .. }) => "is confirmed",
        Err(Refusal::Exceeds { .. }) => "exceeds",
        Err(Refusal::NumberTaken { .. }) => "number taken",
        Err(Refusal::OnlyHeld { .. }) => "only held",
        Err(Refusal::Shipped { .. }) => "shipped",
        Err(Refusal::NotMine { .. }) => "not mine",
        Err(Refusal::NotOnSale { .. }) => "not on sale",
        Err(Refusal::NoShare { .. }) => "no share",
    }
}

/// Plays calls on order 1 with 10 of SKU 1 in stock: each `op saga step`, `-op` for a compensation; checks the answers
/// and what is usable in the end.
fn check(calls: &[(&str, &str)], usable: i64) {
    let mut book = Book::stocked(&[(1, 10)]);
    for (call, expected) in calls {
        let mut words = call.split(' ');
        let (op, saga, step) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let deed = match op {
            "hold" => Deed::Hold(cart("1", &[(1, 4)])),
            "deduct" => Deed::Deduct(cart("1", &[(1, 4)])),
            "confirm" => Deed::Confirm(order("1")),
            "release" => Deed::Release(order("1")),
            "release_held" => Deed::ReleaseHeld(order("1")),
            "restore" => Deed::Restore(order("1")),
            "refund" => Deed::Refund(part("1", None, &[(1, 3)])),
            "ship" => Deed::Ship(part("1", None, &[])),
            "-release" => Deed::Undo(order("1"), Back::Release),
            "-restore" => Deed::Undo(order("1"), Back::Restore),
            other => panic!("no call {other}"),
        };
        let answers = book.batch(&[(deed, cause(saga.parse().unwrap(), step))]);
        assert_eq!(word(&answers[0]), *expected, "{call} in {calls:?}");
    }
    assert_eq!(book.usable(1), usable, "{calls:?}");
}

#[test]
fn a_checkout_goes_through_and_back() {
    check(&[("hold 1 a", "held"), ("confirm 1 b", "confirmed")], 6);
    check(&[("hold 1 a", "held"), ("-release 1 a", "freed")], 10);
    check(
        &[
            ("hold 1 a", "held"),
            ("confirm 1 b", "confirmed"),
            ("-restore 1 b", "held again"),
            ("-release 1 a", "freed"),
        ],
        10,
    );
    check(&[("deduct 1 a", "deducted"), ("-restore 1 a", "freed")], 10);
}

#[test]
fn compensations_in_the_wrong_order_still_give_back_once() {
    check(
        &[
            ("hold 1 a", "held"),
            ("confirm 1 b", "confirmed"),
            ("-release 1 a", "freed"),
            ("-restore 1 b", "nothing left"),
            ("-release 1 a", "nothing left"),
        ],
        10,
    );
}

#[test]
fn nothing_comes_back_twice() {
    check(
        &[
            ("deduct 1 a", "deducted"),
            ("-restore 1 a", "freed"),
            ("-restore 1 a", "nothing left"),
            ("restore 2 x", "nothing left"),
            ("release 3 y", "nothing left"),
        ],
        10,
    );
    check(&[("deduct 1 a", "deducted"), ("restore 2 refund", "freed"), ("-restore 1 a", "nothing left")], 10);
}

#[test]
fn a_hold_that_is_gone_cannot_be_confirmed() {
    check(&[("confirm 1 b", "unknown")], 10);
    check(&[("hold 1 a", "held"), ("release 2 timeout", "freed"), ("confirm 1 b", "given back")], 10);
    check(&[("hold 1 a", "held"), ("confirm 1 b", "confirmed"), ("confirm 2 b", "is confirmed")], 6);
    check(&[("deduct 1 a", "deducted"), ("confirm 1 b", "is confirmed")], 6);
}

#[test]
fn whoever_calls_an_order_off_leaves_what_a_checkout_has_confirmed_to_the_checkout() {
    let off = ("release_held 2 timeout", "nothing left");
    check(&[("hold 1 a", "held"), ("release_held 2 timeout", "freed"), ("-release 1 a", "nothing left")], 10);
    check(&[("hold 1 a", "held"), ("confirm 1 b", "confirmed"), off], 6);
    let back = [("-restore 1 b", "held again"), ("-release 1 a", "freed")];
    check(
        &[[("hold 1 a", "held"), ("confirm 1 b", "confirmed")], [off, back[0]], [back[1], off]].concat(),
        10,
    );
    let between = [("-restore 1 b", "held again"), ("release_held 2 timeout", "freed")];
    let first = [("hold 1 a", "held"), ("confirm 1 b", "confirmed")];
    check(&[first, between, [("-release 1 a", "nothing left"), off]].concat(), 10);
    check(&[("deduct 1 a", "deducted"), off, ("-restore 1 a", "freed")], 10);
}

#[test]
fn a_paid_order_is_not_released_behind_its_back() {
    check(&[("hold 1 a", "held"), ("confirm 1 b", "confirmed"), ("release 2 timeout", "is confirmed")], 6);
    check(&[("hold 1 a", "held"), ("confirm 2 pay", "confirmed"), ("-release 1 a", "is confirmed")], 6);
    check(
        &[
            ("hold 1 a", "held"),
            ("confirm 2 pay", "confirmed"),
            ("-restore 2 pay", "held again"),
            ("-release 1 a", "freed"),
        ],
        10,
    );
}

#[test]
fn refunds_in_parts_never_exceed_what_was_taken() {
    check(
        &[
            ("deduct 1 a", "deducted"),
            ("refund 2 r", "freed"),
            ("refund 3 r", "exceeds"),
            ("restore 4 r", "freed"),
            ("refund 5 r", "exceeds"),
            ("-restore 1 a", "nothing left"),
        ],
        10,
    );
    check(
        &[
            ("hold 1 a", "held"),
            ("refund 2 r", "exceeds"),
            ("confirm 1 b", "confirmed"),
            ("refund 3 r", "freed"),
        ],
        9,
    );
    check(&[("refund 1 a", "unknown")], 10);
}

#[test]
fn what_has_left_the_house_stays_out() {
    check(
        &[
            ("ship 1 s", "unknown"),
            ("hold 1 a", "held"),
            ("ship 2 s", "only held"),
            ("confirm 1 b", "confirmed"),
            ("refund 3 r", "freed"),
            ("ship 2 t", "sent"),
            ("ship 4 s", "shipped"),
            ("refund 5 r", "exceeds"),
            ("-restore 1 b", "shipped"),
            ("-release 1 a", "shipped"),
            ("restore 6 r", "shipped"),
        ],
        9,
    );
    check(&[("deduct 1 a", "deducted"), ("restore 2 r", "freed"), ("ship 3 s", "given back")], 10);
}

#[test]
fn one_order_belongs_to_one_saga_at_a_time() {
    check(&[("hold 1 a", "held"), ("hold 2 a", "already held"), ("hold 1 b", "held")], 2);
    check(&[("hold 1 a", "held"), ("hold 1 b", "held"), ("-release 1 a", "freed")], 6);
    // The first saga's undo must not free what the second one holds.
    check(
        &[
            ("hold 1 a", "held"),
            ("release 9 timeout", "freed"),
            ("hold 2 a", "held"),
            ("-release 1 a", "nothing left"),
        ],
        6,
    );
}

#[test]
fn restoring_and_releasing_by_hand_name_what_stands_in_the_way() {
    check(&[("restore 1 a", "unknown"), ("release 1 a", "nothing left")], 10);
    check(&[("hold 1 a", "held"), ("restore 2 b", "only held")], 6);
    check(&[("hold 1 a", "held"), ("-release 2 b", "not mine"), ("-release 1 c", "not mine")], 6);
}

#[test]
fn c3_a_cart_is_taken_whole_or_not_at_all() {
    let mut book = Book::stocked(&[(1, 5), (2, 1), (3, 5)]);
    let before = book.clone();
    let answers = book.batch(&[(Deed::Hold(cart("1", &[(1, 1), (2, 2), (3, 1), (7, 1)])), cause(1, "a"))]);
    let sku = |number| Sku::new(number).unwrap();
    let short = vec![
        Shortage { record: sku(2).into(), wanted: 2, available: Some(1) },
        Shortage { record: sku(7).into(), wanted: 1, available: None },
    ];
    assert_eq!(answers, [Err(Refusal::Short(short))]);
    assert_eq!(book, before);
}

#[test]
fn the_same_sku_twice_counts_as_one_line() {
    let mut book = Book::stocked(&[(1, 5)]);
    let answers = book.batch(&[
        (Deed::Hold(cart("1", &[(1, 3), (1, 3)])), cause(1, "a")),
        (Deed::Hold(cart("2", &[(1, 3), (1, 2)])), cause(2, "a")),
    ]);
    assert_eq!(answers.iter().map(word).collect::<Vec<_>>(), ["short", "held"]);
    assert_eq!(book.usable(1), 0);
}

#[test]
fn a_shipped_order_is_not_given_back() {
    let mut book = Book::stocked(&[(1, 5)]);
    book.batch(&[(Deed::Deduct(cart("1", &[(1, 3)])), cause(1, "a"))]);
    let hold = book.holds.get_mut(&1).unwrap();
    (hold.shipped, hold.standing) = (3, Standing::Closed { confirmed_by: Some(cause(1, "a")) });
    let mut ledger = book.load();
    for deed in [Deed::Restore(order("1")), Deed::Undo(order("1"), Back::Restore), Deed::Confirm(order("1"))]
    {
        assert_eq!(word(&ledger.decide(&deed, &cause(1, "a")).unwrap()), "shipped");
    }
    assert_eq!(ledger.into_changes(), Changes::default());
}

#[test]
fn an_order_cannot_grow_without_end() {
    let mut book = Book::stocked(&[(1, 5)]);
    book.batch(&[(Deed::Hold(cart("1", &[(1, 1)])), cause(1, "a"))]);
    book.holds.get_mut(&1).unwrap().line_no = ORDER_LINES_MAX;
    let answers = book.load().decide(&Deed::Hold(cart("1", &[(1, 1)])), &cause(1, "b")).unwrap();
    assert_eq!(word(&answers), "lines used up");
}

#[test]
fn books_that_contradict_themselves_stop_the_batch() {
    let mut book = Book::stocked(&[(1, 5)]);
    book.batch(&[(Deed::Hold(cart("1", &[(1, 3)])), cause(1, "a"))]);
    book.buckets.values_mut().for_each(|(_, balance)| balance.held = 2);
    assert!(book.load().decide(&Deed::Release(order("1")), &cause(1, "b")).is_err());
}

#[test]
fn a_bucket_holds_no_more_than_json_can_say() {
    let book = Book::stocked(&[(1, 1), (2, 1)]);
    let mut ledger = book.load();
    let key = *book.buckets.keys().next_back().unwrap();
    ledger.load_bucket(
        key,
        Sku::new(2).unwrap(),
        Balance { usable: crate::balance::INBOUND_MAX, held: 0, shipped: 0 },
        7,
    );
    let lines = json!([{"sku": 1, "qty": 1}, {"sku": 2, "qty": 1}]);
    assert!(!ledger.replenish(&Delivery::read(&json!({"biz_no": "r", "lines": lines})).unwrap()));
    assert_eq!(ledger.into_changes(), Changes::default());
}

pub(crate) fn any_deed() -> impl Strategy<Value = (Deed, Arc<Cause>)> {
    let number = prop::sample::select(vec!["1", "2", "3"]);
    let lines = prop::collection::vec((1..5i64, 1..4i64), 1..4);
    let who = (1..4u128, prop::sample::select(vec!["a", "b"]));
    let paper = prop::option::of(prop::sample::select(vec!["p", "q"]));
    (0..11u8, number, lines, paper, who).prop_map(|(kind, number, lines, paper, (saga, step))| {
        let deed = match kind {
            0 | 1 => Deed::Hold(cart(number, &lines)),
            2 => Deed::Deduct(cart(number, &lines)),
            3 => Deed::Confirm(order(number)),
            4 => Deed::Release(order(number)),
            5 => Deed::Restore(order(number)),
            6 => Deed::Undo(order(number), Back::Release),
            7 => Deed::Refund(part(number, paper, &lines)),
            9 => Deed::Ship(part(number, paper, &lines)),
            10 => Deed::ReleaseHeld(order(number)),
            _ => Deed::Undo(order(number), Back::Restore),
        };
        (deed, cause(saga, step))
    })
}

/// Makes every call's step its own unless the barrier would let it through: one action and one compensation per step.
pub(crate) fn as_the_barrier_lets_through(calls: Vec<(Deed, Arc<Cause>)>) -> Vec<(Deed, Arc<Cause>)> {
    let mut seen = BTreeSet::new();
    calls
        .into_iter()
        .filter(|(deed, cause)| seen.insert((matches!(deed, Deed::Undo(..)), Arc::clone(cause))))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_batch_leaves_what_the_same_calls_leave_one_by_one(
        calls in prop::collection::vec(any_deed(), 0..40),
        cut in 0..40usize,
    ) {
        let calls = as_the_barrier_lets_through(calls);
        let (first, second) = calls.split_at(cut.min(calls.len()));
        let mut merged = Book::stocked(&[(1, 9), (2, 5), (3, 2)]);
        let mut single = merged.clone();
        let mut answers = merged.batch(first);
        answers.extend(merged.batch(second));
        let one_by_one: Answers = calls.iter().flat_map(|call| single.batch(std::slice::from_ref(call))).collect();
        prop_assert_eq!(answers, one_by_one);
        prop_assert_eq!(merged, single);
    }

    #[test]
    fn undoing_every_step_in_any_order_gives_everything_back(
        calls in prop::collection::vec(any_deed(), 0..20),
        shuffle in any::<u64>(),
    ) {
        // What has left the house does not come back, so nothing is shipped here.
        let calls = calls.into_iter().filter(|(deed, _)| !matches!(deed, Deed::Ship(_))).collect();
        let calls = as_the_barrier_lets_through(calls);
        let mut book = Book::stocked(&[(1, 9), (2, 5), (3, 2)]);
        book.batch(&calls);
        let mut undos: Vec<_> = ["1", "2", "3"].iter().flat_map(|number| {
            (1..4).flat_map(move |saga| ["a", "b"].map(|step| (Deed::Undo(order(number), Back::Release), cause(saga, step))))
        }).collect();
        // Three rounds: a step that another saga's confirmation blocks is let through once that is undone.
        for round in 0..3u64 {
            let turn = (shuffle.wrapping_add(round * 7) % undos.len() as u64) as usize;
            undos.rotate_left(turn);
            for (deed, cause) in &undos {
                let mut ledger = book.load();
                let answer = ledger.decide(deed, cause).unwrap();
                let given_back = !matches!(answer, Ok(Done::Held { .. }));
                prop_assert!(given_back);
                let mut changes = ledger.into_changes();
                // Repeats of one step would meet the barrier; here they may only find nothing left to do.
                changes.flows.iter_mut().for_each(|flow| flow.cause = Some(self::cause(u128::from(round) + 100, "undo")));
                changes.flows.iter_mut().for_each(|flow| flow.biz_no = order(&format!("{}-{}", flow.biz_no, book.flows.len())));
                book.write(changes);
            }
        }
        for sku in 1..4 {
            prop_assert_eq!(book.usable(sku), [9, 5, 2][sku as usize - 1]);
        }
    }
}
