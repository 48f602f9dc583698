//! Every operation on an order in every state, as an action and as a compensation, and what a batch leaves to write.

use super::*;

const ORDER: &str = "A-1";
const NOW: i64 = 1_700_000_000_000;

fn cause(operation: Operation, op: CallOp, step: &str) -> Cause<'_> {
    Cause { saga: "saga-1", step, operation, op, now: NOW }
}

/// Does `operation` with a body that suits it; `part` asks for one piece of SKU 1 only.
fn act(book: &mut Book, words: &str) -> Verdict {
    let mut words = words.split_whitespace();
    let name = words.next().expect("an operation");
    let operation = Operation::ALL.into_iter().find(|operation| operation.as_str() == name).expect("known");
    let (mut op, mut body, mut step) = (CallOp::Action, json!({ "order": ORDER }), name.to_owned());
    for word in words {
        match word {
            "undo" => op = CallOp::Compensation,
            "part" => body["lines"] = json!([{ "sku": 1, "qty": 1 }]),
            "unpaid" => body["unpaid"] = json!(true),
            "minute" => body["pay_within_s"] = json!(60),
            "service" => body["payment_service"] = json!(true),
            number if number.starts_with("P-") => body["payment"] = json!(number),
            number if number.starts_with("R-") => body["refund"] = json!(number),
            number if number.starts_with("S-") => body["ship_no"] = json!(number),
            other => step = other.to_owned(),
        }
    }
    if operation == Operation::Create {
        body["lines"] =
            json!([{ "sku": 1, "qty": 2, "price_minor": 10 }, { "sku": 2, "qty": 1, "price_minor": 5 }]);
    }
    let command = operation.read(&body, op == CallOp::Compensation).expect("a body that fits");
    book.decide(&cause(operation, op, &step), &command)
}

/// A book in which the order has the given history.
fn book(history: &[&str]) -> Book {
    let mut book = Book::default();
    for words in history {
        let verdict = act(&mut book, words);
        assert!(matches!(verdict, Verdict::Done(_)), "{words}: {verdict:?}");
    }
    book
}

fn state_of(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Done(view) => view["state"].as_str().expect("a state").to_owned(),
        Verdict::Refused { .. } => "refused".to_owned(),
    }
}

/// A history that leads to each state, in the order of [`State::ALL`].
const HISTORIES: [&[&str]; 10] = [
    &["create"],
    &["create", "reserve"],
    &["create", "pay"],
    &["create", "pay", "ship part"],
    &["create", "pay", "ship"],
    &["create", "pay", "ship", "complete"],
    &["create", "pay", "refund_begin part R-1"],
    &["create", "pay", "refund part"],
    &["create", "pay", "refund"],
    &["create", "cancel"],
];

/// What each call comes to in each state; a dash is a refusal.
const TABLE: &str = "
              create reserve  pay  ship:part    ship    complete refund:part   refund   refund_begin:R-2 refund_end:R-1 refund_abort:R-1 cancel    time_out  refund:undo cancel:undo
created       -      reserved paid -            -       -        -             -        -                -              -                cancelled cancelled -           cancelled
reserved      -      -        paid -            -       -        -             -        -                -              -                cancelled cancelled -           cancelled
paid          -      -        -    part_shipped shipped -        part_refunded refunded refunding        -              -                -         -         refunded    -
part_shipped  -      -        -    part_shipped shipped -        part_shipped  -        -                -              -                -         -         -           -
shipped       -      -        -    -            -       done     -             -        -                -              -                -         -         -           -
done          -      -        -    -            -       -        -             -        -                -              -                -         -         -           -
refunding     -      -        -    -            -       -        -             -        -                part_refunded  paid             -         -         -           -
part_refunded -      -        -    part_shipped shipped -        part_refunded refunded refunding        -              -                -         -         refunded    -
refunded      -      -        -    -            -       -        -             -        -                -              -                cancelled -         refunded    cancelled
cancelled     -      -        -    -            -       -        -             -        -                -              -                -         cancelled cancelled   cancelled
";

#[test]
fn every_call_in_every_state_answers_as_the_table_says() {
    let mut rows = TABLE.lines().filter(|line| !line.is_empty());
    let calls: Vec<String> =
        rows.next().expect("a head").split_whitespace().map(|call| call.replace(':', " ")).collect();
    for (row, (history, state)) in rows.zip(HISTORIES.iter().zip(State::ALL)) {
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells[0], state.as_str());
        for (call, cell) in calls.iter().zip(&cells[1..]) {
            let mut book = book(history);
            let events = book.events().len();
            let verdict = act(&mut book, &format!("{call} other-step"));
            let expected = if *cell == "-" { "refused" } else { cell };
            assert_eq!(state_of(&verdict), expected, "{call} of an order that is {state}");
            let again = call.ends_with("undo") || *call == "time_out";
            let moved = expected != "refused" && !(again && expected == state.as_str());
            assert_eq!(
                book.events().len(),
                events + usize::from(moved),
                "{call} of an order that is {state}"
            );
            kept(&book);
        }
    }
}

/// What must hold of any book: events form a chain, refunds add up, nothing goes below zero.
fn kept(book: &Book) {
    for order in book.created() {
        let events: Vec<&Event> =
            book.events().iter().filter(|event| event.order_no == order.number).collect();
        assert_eq!(events.len() as i64, order.version);
        assert_eq!(events.first().map(|event| event.from_state), Some(None));
        assert_eq!(events.last().map(|event| event.to_state), Some(order.state));
        for pair in events.windows(2) {
            assert_eq!(pair[1].from_state, Some(pair[0].to_state));
        }
        let done = book.refunds().filter(|refund| refund.state() == RefundState::Done);
        assert_eq!(done.map(|refund| refund.amount().get()).sum::<i64>(), order.refunded.get());
        let under_way = book.refunds().any(|refund| refund.state() == RefundState::Begun);
        assert_eq!(under_way, order.state == State::Refunding);
        assert!(order.refunded <= order.amount);
        assert!(order.lines.values().all(|line| line.open() >= 0));
    }
}

#[test]
fn a_paid_order_is_undone_by_refund_and_then_cancel() {
    let mut book = book(&["create", "pay"]);
    assert_eq!(state_of(&act(&mut book, "cancel undo")), "refused", "money is kept");
    for _ in 0..3 {
        assert_eq!(state_of(&act(&mut book, "refund undo")), "refunded");
    }
    for _ in 0..3 {
        assert_eq!(state_of(&act(&mut book, "cancel undo")), "cancelled");
    }
    assert_eq!(state_of(&act(&mut book, "refund undo")), "cancelled", "a repeat out of order is harmless");
    assert_eq!(book.events().len(), 4);
    assert_eq!(book.refunds().count(), 1);
}

#[test]
fn an_order_is_undone_only_by_the_saga_that_placed_it() {
    let mut book = book(&["create"]);
    let command = Operation::Cancel.read(&json!({ "order": ORDER }), true).expect("it fits");
    let stranger = Cause { saga: "saga-2", ..cause(Operation::Cancel, CallOp::Compensation, "create") };
    assert_eq!(state_of(&book.decide(&stranger, &command)), "refused");
    let stranger = Cause { op: CallOp::Action, ..stranger };
    assert_eq!(state_of(&book.decide(&stranger, &command)), "cancelled", "calling it off is another matter");
}

#[test]
fn refunds_in_parts_never_exceed_what_was_ordered() {
    let mut book = book(&["create", "pay", "refund part a", "refund part b"]);
    let refunded: Vec<i64> = book.refunds().map(|refund| refund.amount().get()).collect();
    assert_eq!(refunded, [10, 10]);
    let verdict = act(&mut book, "refund part c");
    let Verdict::Refused { details, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(details["lines"], json!([{ "sku": 1, "asked": 1, "open": 0 }]));
    let Verdict::Done(view) = act(&mut book, "refund d") else { panic!("the rest is refunded") };
    let last = json!([{ "sku": 2, "qty": 1 }]);
    assert_eq!(view["refund"], json!({ "refund": "saga-1:d", "amount_minor": 5, "lines": last }));
    assert_eq!((view["state"].as_str(), view["refunded_minor"].as_i64()), (Some("refunded"), Some(25)));
    kept(&book);
}

#[test]
fn a_refund_takes_effect_once_under_its_number() {
    let mut book = book(&["create", "pay", "refund part a"]);
    assert_eq!(state_of(&act(&mut book, "refund part a")), "refused");
    assert_eq!(book.refunds().count(), 1);
    kept(&book);
}

#[test]
fn shipping_leaves_out_what_was_refunded() {
    let mut book = book(&["create", "pay", "refund part", "ship part a"]);
    assert_eq!(state_of(&act(&mut book, "ship part b")), "refused", "one of the two was refunded");
    assert_eq!(state_of(&act(&mut book, "ship c")), "shipped");
    let order = book.created().next().expect("the order");
    let lines: Vec<(i64, i64)> = order.lines.values().map(|line| (line.refunded, line.shipped)).collect();
    assert_eq!(lines, [(1, 1), (0, 1)]);
}

#[test]
fn another_amount_than_the_order_comes_to_is_refused() {
    let mut book = book(&["create"]);
    for (amount, expected) in [(24, "refused"), (26, "refused"), (25, "paid")] {
        let body = json!({ "order": ORDER, "amount_minor": amount });
        let command = Operation::Pay.read(&body, false).expect("it fits");
        let verdict = book.decide(&cause(Operation::Pay, CallOp::Action, "pay"), &command);
        assert_eq!(state_of(&verdict), expected, "{amount}");
    }
}

#[test]
fn money_goes_back_where_it_was_paid_and_nowhere_else() {
    for call in ["refund", "refund part", "refund_begin", "refund_begin part"] {
        let mut paid_there = book(&["create", "pay P-1"]);
        let verdict = act(&mut paid_there, call);
        let Verdict::Refused { why, .. } = verdict else { panic!("{call}: {verdict:?}") };
        assert!(why.contains("paid by payment \"P-1\" of the payment service"), "{call}: {why}");
        let Verdict::Done(view) = act(&mut paid_there, &format!("{call} service")) else { panic!("{call}") };
        assert_eq!(view["payment"], "P-1");
        kept(&paid_there);

        let mut paid_elsewhere = book(&["create", "pay"]);
        let verdict = act(&mut paid_elsewhere, &format!("{call} service"));
        let Verdict::Refused { why, .. } = verdict else { panic!("{call}: {verdict:?}") };
        assert!(why.contains("was not paid through the payment service"), "{call}: {why}");
        assert_ne!(state_of(&act(&mut paid_elsewhere, call)), "refused", "{call}");
    }
    let mut undone = book(&["create", "pay P-1"]);
    assert_eq!(state_of(&act(&mut undone, "refund undo")), "refunded", "its own saga makes the payment good");
    let mut late = book(&["create", "cancel"]);
    assert_eq!(state_of(&act(&mut late, "pay P-1")), "refused");
    assert_eq!(late.created().next().and_then(|order| order.payment.clone()), None, "it never came to count");
}

#[test]
fn nothing_can_be_done_to_an_order_that_is_not_there() {
    for operation in Operation::ALL.into_iter().filter(|operation| *operation != Operation::Create) {
        let verdict = act(&mut Book::default(), operation.as_str());
        assert_eq!(state_of(&verdict), "refused", "{operation}");
    }
}

#[test]
fn a_stored_order_is_updated_from_the_state_it_was_loaded_with() {
    let stored = book(&["create", "pay"]).created().next().expect("the order").clone();
    let mut book = Book::new([stored], Known::default());
    assert_eq!(state_of(&act(&mut book, "refund undo")), "refunded");
    assert_eq!(state_of(&act(&mut book, "cancel undo")), "cancelled");
    assert_eq!(book.created().count(), 0);
    let moved: Vec<(State, State, i64)> =
        book.moved().map(|(order, was, version)| (was, order.state, version)).collect();
    assert_eq!(moved, [(State::Paid, State::Cancelled, 2)], "one update for two steps");
    assert_eq!(book.events().len(), 2);
    assert_eq!(book.lines_changed().count(), 2);
    let stored = book.moved().next().expect("it moved").0.clone();
    let untouched = Book::new([stored], Known::default());
    assert_eq!(untouched.moved().count(), 0);
}

#[test]
fn whoever_decides_first_leaves_the_next_steps_nothing_to_be_refused() {
    let mut book = book(&["create", "pay", "refund_begin part R-1 a"]);
    assert_eq!(state_of(&act(&mut book, "refund_begin b")), "refused", "nobody knows yet what is left");
    assert_eq!(state_of(&act(&mut book, "refund_abort R-1")), "paid");
    let Verdict::Done(whole) = act(&mut book, "refund_begin b") else { panic!("it is begun") };
    let all = json!([{ "sku": 1, "qty": 2 }, { "sku": 2, "qty": 1 }]);
    assert_eq!(whole["refund"]["lines"], all);
    assert_eq!(state_of(&act(&mut book, "refund_begin part R-2 c")), "refused", "all of it is spoken for");
    assert_eq!(state_of(&act(&mut book, "refund_end")), "refunded");
    assert_eq!(state_of(&act(&mut book, "cancel unpaid")), "refused", "it was paid");
    assert_eq!(state_of(&act(&mut book, "cancel")), "cancelled", "whoever gave the money back closes it");

    let mut book = super::tests::book(&["create", "pay", "ship part"]);
    let Verdict::Done(rest) = act(&mut book, "ship S-2 b") else { panic!("it leaves") };
    assert_eq!(rest["lines"], json!([{ "sku": 1, "qty": 1 }, { "sku": 2, "qty": 1 }]));
    let mut book = super::tests::book(&["create", "pay"]);
    let Verdict::Done(back) = act(&mut book, "refund R-1") else { panic!("it is given back") };
    assert_eq!(back["refund"], json!({ "refund": "R-1", "amount_minor": 25, "lines": all }));
}

#[test]
fn c9_a_refund_in_steps_sets_its_pieces_aside_until_it_ends() {
    let mut book = book(&["create", "pay", "refund_begin part R-1 a", "refund_begin part R-2 b"]);
    for call in
        ["refund part c", "ship", "refund_begin part R-3 d", "refund_begin R-1 e", "cancel", "refund undo"]
    {
        assert_eq!(state_of(&act(&mut book, call)), "refused", "{call}");
        kept(&book);
    }
    assert_eq!(state_of(&act(&mut book, "refund_end R-1")), "refunding", "the other is under way");
    let Verdict::Done(view) = act(&mut book, "refund_abort R-2") else { panic!("it is called off") };
    assert_eq!((&view["state"], &view["refunded_minor"]), (&json!("part_refunded"), &json!(10)));
    assert_eq!(view["refund"], json!({ "refund": "R-2", "amount_minor": 10, "state": "called_off" }));
    kept(&book);
    for call in ["refund_end R-1 again", "refund_abort R-1 again", "refund_end R-2 again", "refund_end R-9"] {
        assert_eq!(state_of(&act(&mut book, call)), "refused", "{call}");
    }
    assert_eq!(
        state_of(&act(&mut book, "refund_abort R-2 undo")),
        "part_refunded",
        "an undo is repeated at will"
    );
    assert_eq!(state_of(&act(&mut book, "refund_begin R-4 rest")), "refunding");
    assert_eq!(state_of(&act(&mut book, "refund_end R-4")), "refunded");
    assert_eq!(state_of(&act(&mut book, "refund_begin R-5 none")), "refused", "nothing is left");
    kept(&book);
}

#[test]
fn a_refund_that_is_named_nowhere_is_named_after_its_saga() {
    let mut book = book(&["create", "pay", "refund_begin part"]);
    assert_eq!(book.refunds().next().map(RefundRow::number), Some("saga-1"));
    assert_eq!(state_of(&act(&mut book, "refund_end")), "part_refunded");
}

#[test]
fn goods_leave_in_parts_and_once_under_a_number() {
    let mut book = book(&["create", "pay", "ship part S-1"]);
    assert_eq!(state_of(&act(&mut book, "ship part S-1 again")), "refused");
    let Verdict::Done(view) = act(&mut book, "ship part S-2") else { panic!("it leaves") };
    assert_eq!((&view["state"], &view["shipment"]), (&json!("part_shipped"), &json!("S-2")));
    let Verdict::Done(view) = act(&mut book, "ship") else { panic!("the rest leaves") };
    assert_eq!((&view["state"], &view["shipment"]), (&json!("shipped"), &json!("saga-1:ship")));
    let left: Vec<i64> =
        book.shipments().iter().map(|shipment| shipment.parts().iter().map(|part| part.qty).sum()).collect();
    assert_eq!(left, [1, 1, 1]);
    for call in ["refund", "refund part", "refund_begin", "refund undo", "cancel undo"] {
        assert_eq!(
            state_of(&act(&mut book, call)),
            "refused",
            "after shipping nothing is given back: {call}"
        );
    }
}

#[test]
fn what_of_a_part_shipped_order_has_not_left_may_be_given_back() {
    // Two of SKU 1 and one of SKU 2; one of SKU 1 has left.
    let mut book = book(&["create", "pay", "ship part S-1", "refund part R-1"]);
    let order = book.created().next().expect("the order");
    assert_eq!((order.state, order.refunded.get()), (State::PartShipped, 10), "SKU 2 is still open");
    assert_eq!(state_of(&act(&mut book, "refund part R-2")), "refused", "what has left does not come back");
    kept(&book);
    assert_eq!(state_of(&act(&mut book, "ship S-2")), "shipped", "what was given back is not waited for");
    assert_eq!(state_of(&act(&mut book, "complete")), "done");
    kept(&book);

    for (end, after, then) in [("refund_end", "part_shipped", 10), ("refund_abort", "part_shipped", 0)] {
        let mut book = super::tests::book(&["create", "pay", "ship part S-1", "refund_begin part R-1"]);
        assert_eq!(state_of(&act(&mut book, "ship S-2")), "refused", "a refund of it is under way");
        assert_eq!(state_of(&act(&mut book, &format!("{end} R-1"))), after);
        assert_eq!(book.created().next().map(|order| order.refunded.get()), Some(then));
        assert_eq!(state_of(&act(&mut book, "ship S-2")), "shipped");
        kept(&book);
    }
    let mut book = super::tests::book(&["create", "pay", "ship part S-1", "ship part S-2"]);
    let last = json!({ "order": ORDER, "refund": "R-1", "lines": [{ "sku": 2, "qty": 1 }] });
    let begin = Operation::RefundBegin.read(&last, false).expect("it fits");
    let verdict = book.decide(&cause(Operation::RefundBegin, CallOp::Action, "begin"), &begin);
    assert_eq!(state_of(&verdict), "refunding");
    assert_eq!(state_of(&act(&mut book, "refund_end R-1")), "shipped", "nothing is open any more");
    kept(&book);
}

#[test]
fn an_order_of_which_some_has_left_is_not_undone_as_a_whole() {
    for call in ["refund", "refund_begin", "refund undo"] {
        let mut book = book(&["create", "pay", "ship part"]);
        let verdict = act(&mut book, call);
        let Verdict::Refused { why, .. } = verdict else { panic!("{call}: {verdict:?}") };
        assert!(why.contains("some of order \"A-1\" has left"), "{call}: {why}");
    }
}

#[test]
fn an_order_is_called_off_when_its_time_is_up_and_not_before() {
    let time_out = Operation::TimeOut.read(&json!({ "order": ORDER }), false).expect("it fits");
    let at = |now, saga| Cause { now, saga, ..cause(Operation::TimeOut, CallOp::Action, "expire") };
    let mut book = book(&["create minute"]);
    let view = book.created().next().map(Order::view).expect("the order");
    assert_eq!(view["pay_by"], json!(Time(Timestamp(NOW + 60_000))));
    assert_eq!(state_of(&book.decide(&at(NOW + 59_999, ""), &time_out)), "refused");
    assert_eq!(state_of(&book.decide(&at(NOW + 60_000, ""), &time_out)), "cancelled");
    assert_eq!(book.timed_out().len(), 1, "its goods are to be given back");
    assert_eq!(
        state_of(&book.decide(&at(NOW + 60_000, "saga-2"), &time_out)),
        "cancelled",
        "it is so already"
    );
    assert_eq!((book.timed_out().len(), book.events().len()), (1, 2));
    assert_eq!(state_of(&act(&mut book, "pay")), "refused");
    let mut late = super::tests::book(&["create minute", "pay"]);
    assert_eq!(state_of(&late.decide(&at(NOW + 60_000, ""), &time_out)), "refused", "it is paid");
    assert_eq!(late.timed_out().len(), 0);
}

#[test]
fn an_order_is_to_be_paid_while_its_goods_are_held() {
    let held_for = |seconds: i64, within: Option<i64>| {
        let pay_by = Time(Timestamp(NOW + seconds * 1_000));
        let body = json!({ "order": ORDER, "pay_by": pay_by, "pay_within_s": within, "token": "t-1", "customer": "ada",
            "lines": [{ "sku": 1, "qty": 1 }] });
        let command = Operation::Create.read(&body, false).expect("it fits");
        let mut book = Book::default();
        let verdict = book.decide(&cause(Operation::Create, CallOp::Action, "create"), &command);
        (verdict, book)
    };
    for (seconds, within, expected) in [(60, None, 60), (60, Some(900), 60), (900, Some(300), 300)] {
        let (verdict, book) = held_for(seconds, within);
        let Verdict::Done(view) = verdict else { panic!("{verdict:?}") };
        assert_eq!(view["pay_by"], json!(Time(Timestamp(NOW + expected * 1_000))), "{seconds} {within:?}");
        assert_eq!(book.created().count(), 1);
    }
    for seconds in [0, -60] {
        let (verdict, book) = held_for(seconds, Some(900));
        let Verdict::Refused { why, details } = verdict else { panic!("{verdict:?}") };
        assert!(why.contains("which has passed"), "{why}");
        assert!(details["pay_by"].is_string(), "{details}");
        assert_eq!((book.created().count(), book.tokens.len()), (0, 0), "its token is good for another try");
    }
}

#[test]
fn c10_a_token_places_one_order() {
    let place = |order: &str, customer: &str, token: &str| {
        let body = json!({ "order": order, "customer": customer, "token": token,
            "lines": [{ "sku": 1, "qty": 1 }] });
        Operation::Create.read(&body, false).expect("it fits")
    };
    let stored = BTreeMap::from([(("ada".to_owned(), "t-0".to_owned()), "A-0".to_owned())]);
    let mut book = Book::new([], Known { tokens: stored, ..Known::default() });
    let mut decide = |command| book.decide(&cause(Operation::Create, CallOp::Action, "create"), &command);
    let Verdict::Refused { details, .. } = decide(place("A-1", "ada", "t-0")) else { panic!("it was used") };
    assert_eq!(details, json!({ "order": "A-0", "token": "used" }));
    assert_eq!(state_of(&decide(place("A-1", "ada", "t-1"))), "created");
    let Verdict::Refused { details, .. } = decide(place("A-2", "ada", "t-1")) else { panic!("it was used") };
    assert_eq!(details["order"], "A-1", "in the same batch as well");
    assert_eq!(state_of(&decide(place("A-3", "bob", "t-1"))), "created", "a token belongs to a customer");
}
