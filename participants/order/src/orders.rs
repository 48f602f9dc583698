//! Carries out calls behind the barrier: read the bodies, load the book, decide in the order of arrival, write.

use std::time::{SystemTime, UNIX_EPOCH};

use amends_sdk::body::does_not_fit;
use amends_sdk::{Body, Call, CallOp, Reply, Tx};
use amends_wire::problem::{Problem, Slug};
use async_trait::async_trait;
use uuid::fmt::Hyphenated;

use crate::book::{Book, Cause, Verdict};
use crate::command::{Command, Operation};
use crate::table::{self, Changes, Wanted};

/// Every guarded operation of the orders; one value serves them all, so that their calls share a transaction.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Orders;

/// A call that was read, or what is wrong with it.
struct Asked<'a> {
    call: &'a Call,
    saga: String,
    command: Result<(Operation, Command), Problem>,
}

#[async_trait]
impl Body for Orders {
    async fn perform(&self, tx: &mut Tx<'_>, calls: &[&Call]) -> Result<Vec<Reply>, sqlx::Error> {
        let asked: Vec<Asked<'_>> = calls.iter().map(|call| Asked::read(call)).collect();
        let mut wanted = Wanted::default();
        for one in &asked {
            if let Ok((_, command)) = &one.command {
                wanted.add(command, &one.saga, &one.call.caller.step);
            }
        }
        let mut book = table::load(tx.sqlite(), wanted).await?;
        let replies = asked.iter().map(|one| one.decide(&mut book)).collect();
        table::save(tx.sqlite(), Changes::of(&book)?, now_ms()).await?;
        Ok(replies)
    }
}

impl Asked<'_> {
    fn read(call: &Call) -> Asked<'_> {
        let saga = Hyphenated::from_uuid(call.caller.saga).to_string();
        let command = match Operation::named(&call.operation) {
            Some(operation) => operation
                .read(&call.body, call.caller.op == CallOp::Compensation)
                .map(|command| (operation, command))
                .map_err(|misfits| does_not_fit(&misfits)),
            None => {
                Err(Problem::new(Slug::NotFound, format!("orders know no operation {:?}", call.operation)))
            }
        };
        Asked { call, saga, command }
    }

    fn decide(&self, book: &mut Book) -> Reply {
        let (operation, command) = match &self.command {
            Ok((operation, command)) => (*operation, command),
            Err(problem) => return Reply::problem(problem),
        };
        let cause =
            Cause { saga: &self.saga, step: &self.call.caller.step, operation, op: self.call.caller.op };
        match book.decide(&cause, command) {
            Verdict::Done(output) => Reply::done(output),
            Verdict::Refused { why, details } => Reply::refused(why, details),
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
