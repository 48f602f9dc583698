//! What is checked: the closed list, each with what the contract says and what to do where it is not kept.

/// Makes the enum and its table from one list, so that no check is without its words.
macro_rules! checks {
    ($($variant:ident $name:literal $contract:literal $advice:literal)*) => {
        /// One check. The text of its name is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(super) enum Check { $($variant,)* }

        impl Check {
            /// Every check, in the order they are made.
            pub(super) const ALL: &[Check] = &[$(Check::$variant,)*];

            /// Its name.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Check::$variant => $name,)* }
            }

            /// What the contract says.
            pub(super) const fn contract(self) -> &'static str {
                match self { $(Check::$variant => $contract,)* }
            }

            /// What to do where it is not kept.
            pub(super) const fn advice(self) -> &'static str {
                match self { $(Check::$variant => $advice,)* }
            }
        }
    };
}

checks! {
    Healthz "healthz"
    "the health check is answered 2xx while the instance takes calls"
    "serve GET /healthz, or register the path you serve as \"health\""

    UnknownOperation "unknown_operation"
    "an operation that is not offered is answered 404"
    "answer 404 to every address that is no operation, without doing anything"

    Action "action"
    "a first call with a body that fits is done: 2xx with JSON, or empty"
    "run the operation in one transaction with its barrier row and answer 2xx with its output"

    Repeat "repeat"
    "the same call again takes no effect and is answered as the first time"
    "keep the answer in the barrier's row, and answer from the row when its insert meets one that is there"

    LaterAttempt "later_attempt"
    "Saga-Attempt and Saga-Epoch are no part of a call's identity, which is (Saga-Id, Saga-Step, op)"
    "use saga, step and op as the barrier's primary key, and leave attempt and epoch out of it and of the hash"

    ConcurrentRepeats "concurrent_repeats"
    "repeats at the same moment take one effect and are answered alike; 202, 425 or 503 in the meantime is allowed"
    "insert the barrier's row first, in the transaction that does the work: the database lets one of them pass"

    AnotherBody "another_body"
    "a step that calls again with another body is answered 422 and does nothing"
    "keep a hash of operation and body in the barrier's row and compare it"

    IndependentSteps "independent_steps"
    "steps of one saga and sagas with the same step do not touch each other"
    "use saga, step and op together as the barrier's primary key"

    RefusalRepeats "refusal_repeats"
    "a refused action is answered 409 each time, and does nothing"
    "take back what the body wrote (a savepoint does), keep the 409 in the barrier's row and commit"

    NewRound "new_round"
    "a refused action runs anew when it comes with a later Saga-Round, unless it was compensated; what is done stays done"
    "keep the round in the barrier's row; a refusal of an older round gives way, and a compensation bars every round"

    StatusUnknown "status_unknown"
    "the status of a call that was never seen is 404, and asking changes nothing"
    "answer status questions from the barrier's rows, and insert none"

    StatusOfAction "status_of_action"
    "the status of an action that is done is its answer"
    "answer a status question with the status and the response that the barrier's row keeps"

    Compensation "compensation"
    "a compensation of an action that is done is answered 2xx, or 410"
    "undo what the same saga and step did; find it by saga and step, not by what the body says alone"

    CompensationRepeats "compensation_repeats"
    "a compensation again undoes nothing more and is answered as the first time"
    "keep its answer in a barrier row of its own (op 1), as for an action"

    ActionAfterBoth "action_after_both"
    "an action that comes again after it was done and undone does nothing: its first answer, or 409"
    "answer it from the barrier's row; never delete an action's row when it is undone"

    CompensationFirst "compensation_first"
    "a compensation whose action was never here is answered 2xx or 410 and does nothing, each time"
    "insert the action's row with the compensation's own; when both are new there is nothing to undo: answer 200"

    LateAction "late_action"
    "an action that comes after its compensation is refused with 409, each time"
    "the compensation inserts the action's row with status 0; an action that meets it answers 409"

    Race "race"
    "an action and its compensation at the same moment end with no effect: refused, or done and undone"
    "insert both rows in one order in one transaction, so that one of the two waits for the other"

    StatusOfCompensation "status_of_compensation"
    "the status of a compensation is 404 before it was seen and its answer when it is done"
    "answer Saga-Status-Of: compensation from the barrier's row of op 1"

    StatusOfLate "status_of_late"
    "the status of an action that its compensation has overtaken is 409"
    "answer 409 for a row with status 0 or 1: the action will never be done"

    RefusedThenUndone "refused_then_undone"
    "a compensation of an action that was refused is answered 2xx or 410 and does nothing"
    "pass the barrier before anything else is read in the body; a row that says 4xx is nothing to undo: answer 200"

    Confirm "confirm"
    "a confirmation is done, and again is answered alike"
    "guard it by a barrier row of its own (op 2)"

    ConfirmDecides "confirm_decides"
    "of a confirmation and a compensation the first decides: the other is refused with 409"
    "a confirm inserts its action's and its compensation's row with status 2; a compensation its action's with status 0"

    Misfit "misfit"
    "a body that does not fit is answered 4xx, never 5xx, and leaves nothing in the way of other steps"
    "check the body before it is used; answer 422 and say which member is wrong"

    Garbage "garbage"
    "a body that is not JSON, not UTF-8, cut short or far too deep is answered 4xx"
    "catch what the JSON reader throws, depth included, and answer 400"

    Oversized "oversized"
    "a body longer than is taken is answered 413, or the connection is closed; the instance lives on"
    "bound what is read by Content-Length before reading it"

    MissingHeaders "missing_headers"
    "a call without one of the Saga headers or its Idempotency-Key is answered 4xx and does nothing"
    "read Saga-Id, Saga-Step, Saga-Op, Saga-Attempt and Idempotency-Key strictly; answer 400 and name the header"

    BadHeaders "bad_headers"
    "a header out of its range is answered 4xx and the call does nothing"
    "parse Saga-Id as a UUID, Saga-Op as one of its four words, Saga-Attempt as a number from 1; answer 400"

    Signature "signature"
    "where a secret is registered, a call that is unsigned, wrongly signed or signed over 5 minutes ago is answered 401"
    "check the three webhook headers over the raw body, in constant time, before anything else"

    BatchOrder "batch_order"
    "a batch is answered 200 with one result per call, in the order of the calls, each as the call alone would be"
    "collect results by the place of their call, whatever order they are carried out in"

    BatchRepeat "batch_repeat"
    "a repeat within a batch, and of a call from before it, takes no effect and is answered as the first"
    "calls of one saga and step must not share a transaction: leave the later one for the next"

    BatchNeighbours "batch_neighbours"
    "a call of a batch that is refused or does not fit does not fail its neighbours"
    "a savepoint for each call; when the transaction fails, run its halves, down to single calls"

    BatchStatus "batch_status"
    "a status question in a batch, with \"status_of\", is answered as it is alone"
    "read op \"status\" and \"status_of\" of an entry as you read the headers"

    BatchCompensations "batch_compensations"
    "compensations in a batch are answered as they are alone, those with nothing to undo as well"
    "let every entry of a batch pass the barrier as a single call does"

    BatchGarbage "batch_garbage"
    "a batch that is not JSON or lacks \"calls\" is answered 4xx"
    "read the envelope strictly and answer 400"

    JsonAnswers "json_answers"
    "answers are JSON, or empty, and say so in Content-Type"
    "send application/json, and application/problem+json with what is refused"

    SagaAudit "saga_audit"
    "GET /saga-audit tells each step once, in its state: applied, undone or barred"
    "derive it from the barrier's rows; the table of states is in participants/README.md"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_check_has_a_name_of_its_own_and_words_without_a_full_stop() {
        let names: BTreeSet<&str> = Check::ALL.iter().map(|check| check.name()).collect();
        assert_eq!(names.len(), Check::ALL.len());
        for check in Check::ALL {
            assert!(check.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{check:?}");
            assert!(!check.contract().ends_with('.') && !check.advice().ends_with('.'), "{check:?}");
        }
    }
}
