//! The decision: of each line what can be had.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cart::{Cart, Line};
use crate::hold::{Cause, Standing};
use crate::ledger::{Broken, FlowOp, Ledger, Record};
use crate::outcome::{Refusal, Shortage};
use crate::record::RecordKey;

/// What became of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortLine {
    /// The record.
    pub record: RecordKey,
    /// The record's number.
    pub stock_id: i64,
    /// How many were wanted.
    pub wanted: i64,
    /// How many were set aside.
    pub held: i64,
    /// How many are missing.
    pub missing: i64,
    /// The hold's number, if anything was set aside.
    pub hold: Option<i64>,
}

impl ShortLine {
    /// The line as the answer has it.
    pub(super) fn body(&self) -> Value {
        let mut body = self.record.members();
        body.insert("wanted".into(), json!(self.wanted));
        body.insert("qty".into(), json!(self.held));
        body.insert("missing".into(), json!(self.missing));
        if let Some(hold) = self.hold {
            body.insert("hold".into(), json!(hold));
        }
        Value::Object(body)
    }
}

impl Ledger {
    /// Sets aside of each line what can be had; a refusal changes nothing.
    ///
    /// Refused where another saga holds the order, where the customer's share of an activity is less than is wanted, and
    /// where a record is not kept here at all: of that nothing is short, it is the wrong number.
    ///
    /// # Errors
    /// [`Broken`] when the loaded books contradict themselves; the ledger must then be thrown away.
    pub fn hold_short(
        &mut self,
        cart: &Cart,
        cause: &Arc<Cause>,
    ) -> Result<Result<Vec<ShortLine>, Refusal>, Broken> {
        if let Err(refusal) = self.check_order(cart, cause).and_then(|()| self.check_shares(cart, cause)) {
            return Ok(Err(refusal));
        }
        let (mut lines, mut records, mut unknown) = (Vec::new(), Vec::<Record>::new(), Vec::new());
        for Line { record, qty } in cart.lines() {
            let (Some(found), Some(available)) = (self.record(record), self.available(record)) else {
                unknown.push(Shortage { record: record.clone(), wanted: *qty, available: None });
                continue;
            };
            let held = available.min(*qty);
            if held > 0 {
                records.push(found);
            }
            let (record, stock_id) = (record.clone(), found.stock_id);
            lines.push(ShortLine { record, stock_id, wanted: *qty, held, missing: qty - held, hold: None });
        }
        if !unknown.is_empty() {
            return Ok(Err(Refusal::Short(unknown)));
        }
        let held = lines.iter().filter(|line| line.held > 0);
        let held = held.map(|line| Line { record: line.record.clone(), qty: line.held }).collect();
        let standing = Standing::Held { expires_at: self.hold_until() };
        let taken = self.take(&cart.with_lines(held), &records, FlowOp::Hold, &standing, cause)?;
        for (line, taken) in lines.iter_mut().filter(|line| line.held > 0).zip(taken) {
            line.hold = Some(taken.hold);
        }
        Ok(Ok(lines))
    }
}
