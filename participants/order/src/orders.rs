//! Carries out calls behind the barrier: read the bodies, load the book, decide in the order of arrival, write.

use std::time::{SystemTime, UNIX_EPOCH};

use amends_sdk::body::does_not_fit;
use amends_sdk::{Body, Call, CallOp, Reply, Tx};
use amends_wire::problem::{Problem, Slug};
use async_trait::async_trait;
use serde_json::json;
use uuid::fmt::Hyphenated;

use crate::book::{Book, Cause, Verdict};
use crate::command::{Command, Operation};
use crate::table::{self, Changes, Wanted};
use crate::token::{Misuse, Tokens};

/// Every guarded operation of the orders; one value serves them all, so that their calls share a transaction.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    /// What order tokens are checked with.
    pub(crate) tokens: Tokens,
}

/// A call that was read, or what is wrong with it.
struct Asked<'a> {
    call: &'a Call,
    saga: String,
    command: Result<(Operation, Command), No>,
}

/// Why a call is answered without being decided.
enum No {
    /// Its body does not fit.
    Problem(Problem),
    /// Its token is none.
    Token(Misuse),
}

#[async_trait]
impl Body for Orders {
    async fn perform(&self, tx: &mut Tx<'_>, calls: &[&Call]) -> Result<Vec<Reply>, sqlx::Error> {
        let now = now_ms();
        let asked: Vec<Asked<'_>> = calls.iter().map(|call| Asked::read(call, &self.tokens, now)).collect();
        let mut wanted = Wanted::default();
        for one in &asked {
            if let Ok((_, command)) = &one.command {
                wanted.add(command, &one.saga, &one.call.caller.step);
            }
        }
        let mut book = table::load(tx.sqlite(), wanted).await?;
        let replies = asked.iter().map(|one| one.decide(&mut book, now)).collect();
        table::save(tx.sqlite(), Changes::of(&book)?, now).await?;
        Ok(replies)
    }
}

impl Asked<'_> {
    fn read<'a>(call: &'a Call, tokens: &Tokens, now: i64) -> Asked<'a> {
        let saga = Hyphenated::from_uuid(call.caller.saga).to_string();
        let command = match Operation::named(&call.operation) {
            Some(operation) => operation
                .read(&call.body, call.caller.op == CallOp::Compensation)
                .map_err(|misfits| No::Problem(does_not_fit(&misfits)))
                .and_then(|command| with_a_good_token(command, tokens, now).map_err(No::Token))
                .map(|command| (operation, command)),
            None => {
                let detail = format!("orders know no operation {:?}", call.operation);
                Err(No::Problem(Problem::new(Slug::NotFound, detail)))
            }
        };
        Asked { call, saga, command }
    }

    fn decide(&self, book: &mut Book, now: i64) -> Reply {
        let (operation, command) = match &self.command {
            Ok((operation, command)) => (*operation, command),
            Err(No::Problem(problem)) => return Reply::problem(problem),
            Err(No::Token(misuse)) => {
                return Reply::refused(misuse.to_string(), json!({ "token": misuse.as_str() }));
            }
        };
        let caller = &self.call.caller;
        let cause = Cause { saga: &self.saga, step: &caller.step, operation, op: caller.op, now };
        match book.decide(&cause, command) {
            Verdict::Done(output) => Reply::done(output),
            Verdict::Refused { why, details } => Reply::refused(why, details),
        }
    }
}

/// Lets a command through unless it is a placement with a token that is none.
fn with_a_good_token(command: Command, tokens: &Tokens, now: i64) -> Result<Command, Misuse> {
    if let Command::Create(placement) = &command
        && let (Some(token), Some(customer)) = (&placement.token, &placement.customer)
    {
        tokens.check(token, customer, now)?;
    }
    Ok(command)
}

/// The time in unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
