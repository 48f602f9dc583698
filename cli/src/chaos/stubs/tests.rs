//! A stub obeys the barrier, and says in the book what it did.

use super::*;

/// Sends calls to a stub, as `action` or `compensation` of one step, and expects the statuses and the effects.
fn check(barrier: bool, calls: &[(CallOp, u16)], effects: &[What]) {
    let book = Arc::new(Book::default());
    let stubs = Stubs::new(Answers::default(), barrier, book.clone());
    for (i, (op, expected)) in calls.iter().enumerate() {
        let call = StubCall {
            operation: "p.o".to_owned(),
            saga: SagaId::nil(),
            step: "s".to_owned(),
            op: *op,
            attempt: i as u32 + 1,
            body: json!({ "n": 1 }),
        };
        assert_eq!(stubs.take(&call).0.as_u16(), *expected, "call {i} of {calls:?}");
    }
    let seen: Vec<What> = book.content().effects.iter().map(|effect| effect.what).collect();
    assert_eq!(seen, effects, "{calls:?}");
}

const DO: CallOp = CallOp::Action;
const UNDO: CallOp = CallOp::Compensation;

#[test]
fn a_repeat_changes_nothing_and_a_late_action_is_refused() {
    check(true, &[(DO, 200), (DO, 200)], &[What::Applied]);
    check(true, &[(DO, 200), (UNDO, 200), (UNDO, 200)], &[What::Applied, What::Undone]);
    check(true, &[(DO, 200), (UNDO, 200), (DO, 409)], &[What::Applied, What::Undone]);
    check(true, &[(UNDO, 200), (UNDO, 200), (DO, 409)], &[What::Barred]);
}

#[test]
fn without_a_barrier_everything_is_done_whenever_it_comes() {
    check(false, &[(DO, 200), (DO, 200)], &[What::Applied, What::Applied]);
    check(false, &[(UNDO, 200), (DO, 200)], &[What::Undone, What::Applied]);
}

#[test]
fn what_a_stub_refuses_or_fails_was_not_done_and_is_asked_again() {
    let book = Arc::new(Book::default());
    let mut answers = Answers::default();
    let answering = |call: &StubCall| match call.attempt {
        1 => StubAnswer::Failed(500),
        2 => StubAnswer::Failed(200),
        3 => StubAnswer::Refused("full".to_owned()),
        _ => StubAnswer::Done(json!("done")),
    };
    answers.set("p.o", Arc::new(answering));
    let stubs = Stubs::new(answers, true, book.clone());
    let (operation, saga, step) = ("p.o".to_owned(), SagaId::nil(), "s".to_owned());
    let call = StubCall { operation, saga, step, op: DO, attempt: 0, body: Value::Null };
    let statuses = (1..=5).map(|attempt| stubs.take(&StubCall { attempt, ..call.clone() }).0.as_u16());
    assert_eq!(statuses.collect::<Vec<_>>(), [500, 503, 409, 200, 200]);
    assert_eq!(book.content().effects.len(), 1);
}
