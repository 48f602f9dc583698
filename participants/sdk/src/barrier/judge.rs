//! What a call is, told from the rows of its step. Pure: the rows are read and written elsewhere.

use super::{CONFIRMED, Entered, Hash, OVERTAKEN, OVERTAKEN_PENDING, ROUND_BARRED, round_of};
use crate::{Call, Reply};
use amends_wire::{
    participant::CallOp,
    problem::{Problem, Slug},
};
use serde_json::{Value, json};

/// A row that has a status.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) hash: Vec<u8>,
    pub(super) status: i16,
    pub(super) response: Option<String>,
    pub(super) round: i32,
}

/// The rows of a call's step that matter to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    /// Its own, unless the running transaction has inserted it.
    pub(super) own: Option<&'a Kept>,
    /// Its action's; of a compensation or a confirm only.
    pub(super) action: Option<&'a Kept>,
    /// Its compensation's; of a confirm only.
    pub(super) undo: Option<&'a Kept>,
}

/// What is to be made of a call, and of its own row.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) entered: Entered,
    pub(super) row: Row,
    /// What is to be made of its action's row.
    pub(super) action: Action,
}

/// What is to be made of the row of a call's action before anything is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// It stays as it is.
    Stays,
    /// It is pending, and may not end any more.
    Overtaken,
    /// It is a refusal, from now on one for every round.
    Barred,
}

/// What is to be made of a call's own row before anything is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    /// It stays as it is.
    Stays,
    /// It holds a no that counts no longer, and is made anew for this call.
    Renewed,
    /// It was inserted for nothing, and is taken back with the bars of a confirm.
    TakenBack,
}

impl Kept {
    pub(super) fn is_overtaken(&self) -> bool {
        matches!(self.status, OVERTAKEN | OVERTAKEN_PENDING)
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.status == CONFIRMED
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self.status, 202 | 425)
    }

    /// Whether an action with this row did something, or may yet.
    pub(super) fn may_have_effect(&self) -> bool {
        matches!(self.status, OVERTAKEN_PENDING | 200..=299 | 425)
    }

    /// Whether it is a definite no to `op`, after which nothing of the call is left.
    fn is_refusal(&self, op: CallOp) -> bool {
        matches!(self.status, 300..=499)
            && self.status != 425
            && !(self.status == 410 && op != CallOp::Action)
    }

    /// Whether a call finds here a no that does not count for it.
    ///
    /// A no to an action stands for its round; a no to a compensation or a confirm only until somebody tries again.
    fn gives_way_to(&self, call: &Call) -> bool {
        let anew = call.caller.op != CallOp::Action || round_of(call) > self.round;
        anew && self.is_refusal(call.caller.op)
    }

    /// What every further attempt is answered.
    pub(super) fn reply(&self) -> Reply {
        match self.status {
            OVERTAKEN | OVERTAKEN_PENDING => compensated(),
            CONFIRMED => confirmed(),
            _ => {
                let body = self.response.as_deref().and_then(|text| serde_json::from_str(text).ok());
                let status = u16::try_from(self.status).unwrap_or(500);
                Reply { status, body: body.unwrap_or_default(), retry_after: None }
            }
        }
    }
}

/// Says what a call is.
pub(super) fn judge(call: &Call, hash: &Hash, rows: Rows<'_>) -> Verdict {
    let Some(own) = rows.own else { return first(call.caller.op, rows, Row::Stays) };
    if own.gives_way_to(call) {
        return first(call.caller.op, rows, Row::Renewed);
    }
    let newer = round_of(call) > own.round;
    let entered = match own.hash == hash {
        _ if own.is_overtaken() || own.is_confirmed() => Entered::Late(own.reply()),
        false if own.round == ROUND_BARRED => Entered::Late(compensated()),
        // A newer round may bring another body; what has taken effect stays what it is.
        same if same || newer => Entered::Repeat(own.reply()),
        _ => Entered::Mismatch(mismatch()),
    };
    Verdict { entered, row: Row::Stays, action: Action::Stays }
}

/// Says what a call is that was not answered before, or whose answer counts no longer.
fn first(op: CallOp, rows: Rows<'_>, row: Row) -> Verdict {
    let null = || Entered::Null(Reply::done(Value::Null));
    let entered = match op {
        CallOp::Action | CallOp::Status => Entered::First,
        CallOp::Compensation if rows.action.is_some_and(Kept::may_have_effect) => Entered::First,
        CallOp::Compensation => null(),
        CallOp::Confirm => {
            let is_undone = rows.undo.is_some_and(|undo| !undo.is_confirmed());
            match rows.action {
                action if is_undone || action.is_some_and(Kept::is_overtaken) => Entered::Late(compensated()),
                Some(action) if action.is_pending() => Entered::Late(too_early()),
                Some(action) if action.is_refusal(CallOp::Action) => null(),
                _ => Entered::First,
            }
        }
    };
    let row = if matches!(entered, Entered::Late(_)) { Row::TakenBack } else { row };
    let action = match rows.action {
        Some(action) if op == CallOp::Compensation && action.is_pending() => Action::Overtaken,
        Some(action) if action.is_refusal(CallOp::Action) && matches!(entered, Entered::Null(_)) => {
            Action::Barred
        }
        _ => Action::Stays,
    };
    Verdict { entered, row, action }
}

fn compensated() -> Reply {
    Reply::refused("the step was compensated before this call arrived", json!({ "overtaken": true }))
}

fn confirmed() -> Reply {
    Reply::refused("the step was confirmed before this call arrived", json!({ "confirmed": true }))
}

fn too_early() -> Reply {
    let body = json!({ "message": "the step's action is still being worked on; confirm it when it is done" });
    Reply { status: 425, body, retry_after: Some(1) }
}

fn mismatch() -> Reply {
    let detail =
        "this step called before with another body or another operation; an attempt repeats both exactly";
    Reply::problem(&Problem::new(Slug::InputDoesNotFit, detail))
}
