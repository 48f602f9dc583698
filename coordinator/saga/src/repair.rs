//! The repair queue's part of a saga: the item that stands for a stuck step, and what operators may do.
//!
//! ```text
//!            ┌────────── assign ──────────┐
//!            ▼                            │
//!  open ──► assigned        retrying ──► settled (retried, proven)
//!    │         │   ▲  ▲        │  │
//!    │         └───┼──┴─ retry─┘  └────► settled (parked again; a new item is open)
//!    └─────────────┘
//!    open, assigned or retrying ───────► settled (resolved, skipped, abandoned, proven)
//! ```
//!
//! An item is derived from the saga's journal like everything else: it opens with the event that parks
//! the step and changes only by events that say who asked, when, why and from where. The invariant it
//! keeps: **a step is parked exactly while one item for it is open or assigned**, so nothing stuck is
//! invisible and nothing visible is a ghost.

use crate::{
    Json, SagaId,
    definition::StepIx,
    event::Op,
    hash::Mix,
    state::{OpState, ParkReason, Saga},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The newest repair item of one of a step's calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Repair {
    /// Its id; see [`repair_id`].
    pub item: Uuid,
    /// How often the step has been parked, this time included.
    pub number: u32,
    /// How far the repair is.
    pub status: RepairStatus,
    /// Why the step is parked.
    pub reason: ParkReason,
    /// When it was parked this time.
    pub opened_at: Timestamp,
    /// When it was parked for the first time; its age counts from here.
    pub first_opened_at: Timestamp,
    /// Who looks after it.
    pub assignee: Option<String>,
    /// What operators have noted, oldest first, at most [`NOTES_MAX`].
    pub notes: Vec<Note>,
    /// The item before this one, where the step was parked before.
    pub previous: Option<Uuid>,
    /// Who is having it tried again.
    pub retried_by: Option<String>,
    /// How often it was tried again without a person asking, over all its items.
    pub redrives: u32,
    /// How it was settled.
    pub settled: Option<Settled>,
}

/// How far a repair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairStatus {
    /// Nobody looks after it.
    Open,
    /// Somebody does.
    Assigned,
    /// It is being tried again.
    Retrying,
    /// It is done with.
    Settled,
}

/// How an item was settled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settled {
    /// When.
    pub at: Timestamp,
    /// By whom; nobody in particular where a retry succeeded or the saga ended around it.
    pub by: Option<String>,
    /// How.
    pub how: How,
}

/// The ways in which an item is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// A retry took effect.
    Retried,
    /// A retry failed, and a new item stands for the step.
    ParkedAgain,
    /// Somebody made it good by hand.
    Resolved,
    /// The participant says that it is undone.
    Proven,
    /// Somebody decided that it stays undone.
    Skipped,
    /// Somebody gave the whole saga up.
    Abandoned,
}

/// A remark that came with a verb.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// What.
    pub note: String,
}

/// Who asked for something, why, and from where. When is the time of the event that carries it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Audit {
    /// The person, or `monitor` for the coordinator itself.
    pub by: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The address the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// What may be done about an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Make one more round of quick attempts.
    Retry {
        /// The body to send instead of the one captured.
        input: Option<Json>,
    },
    /// It was made good by hand.
    Resolve {
        /// What the call should be taken to have answered.
        output: Option<Json>,
    },
    /// The participant was asked and says that it is undone.
    Prove {
        /// Its answer.
        output: Json,
    },
    /// It stays undone; everything else is undone.
    Skip,
    /// The whole saga ends as it stands.
    Abandon,
    /// Somebody looks after it.
    Assign {
        /// Who.
        assignee: String,
    },
}

/// What the store keeps of an item beside the journal, for finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairRow {
    /// The item.
    pub item: Uuid,
    /// The saga.
    pub saga: SagaId,
    /// The name of the saga's definition.
    pub definition: String,
    /// The step.
    pub step: String,
    /// Which of its calls.
    pub op: Op,
    /// The participant.
    pub participant: String,
    /// The operation's own name.
    pub operation: String,
    /// How far the repair is.
    pub status: RepairStatus,
    /// Why the step was parked.
    pub reason: ParkReason,
    /// How often the step has been parked, this time included.
    pub number: u32,
    /// When it was parked.
    pub opened_at: Timestamp,
    /// When it was parked for the first time.
    pub first_opened_at: Timestamp,
    /// When something last happened to the item.
    pub updated_at: Timestamp,
    /// Who looks after it.
    pub assignee: Option<String>,
    /// By whom it was settled.
    pub settled_by: Option<String>,
    /// How it was settled; `None` until it is.
    pub settled_how: Option<How>,
    /// The last event of the journal that belongs to the item: folding up to it shows the item whole.
    pub seq: u64,
}

/// The most notes kept with an item; the journal has them all.
pub const NOTES_MAX: usize = 32;

/// The name under which the coordinator itself acts on items.
pub const MONITOR: &str = "monitor";

/// Derives an item's id, so that every coordinator and every restart names it alike.
///
/// `number` counts from 1 how often this call of this step was parked.
pub fn repair_id(saga: SagaId, ix: StepIx, op: Op, number: u32) -> Uuid {
    let (high, low) = saga.as_u64_pair();
    // The seed is the word "repair!!": ids of other kinds derived from the same values differ.
    let mix = Mix::new(u64::from_le_bytes(*b"repair!!")).add(high).add(low);
    let mix = mix.add(u64::from(ix.0)).add(op as u64).add(u64::from(number));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix.add(1).finish().to_be_bytes());
    bytes[8..].copy_from_slice(&mix.add(2).finish().to_be_bytes());
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

impl Repair {
    /// Opens an item for a call that has just been parked, following an older one of the same call.
    pub(crate) fn open(
        saga: SagaId,
        ix: StepIx,
        op: Op,
        reason: ParkReason,
        at: Timestamp,
        before: Option<&Repair>,
    ) -> Repair {
        let number = before.map_or(1, |older| older.number + 1);
        Repair {
            item: repair_id(saga, ix, op, number),
            number,
            // Whoever looked after it still does.
            status: match before.and_then(|older| older.assignee.as_ref()) {
                Some(_) => RepairStatus::Assigned,
                None => RepairStatus::Open,
            },
            reason,
            opened_at: at,
            first_opened_at: before.map_or(at, |older| older.first_opened_at),
            assignee: before.and_then(|older| older.assignee.clone()),
            notes: Vec::new(),
            previous: before.map(|older| older.item),
            retried_by: None,
            redrives: before.map_or(0, |older| older.redrives),
            settled: None,
        }
    }

    /// Whether it is still to be settled.
    pub fn is_unsettled(&self) -> bool {
        self.status != RepairStatus::Settled
    }

    pub(crate) fn note(&mut self, at: Timestamp, audit: &Audit) {
        let Some(note) = &audit.note else { return };
        if self.notes.len() == NOTES_MAX {
            self.notes.remove(1);
        }
        self.notes.push(Note { at, by: audit.by.clone(), note: note.clone() });
    }

    pub(crate) fn settle(&mut self, at: Timestamp, by: Option<&str>, how: How) {
        assert!(self.is_unsettled(), "item {} is settled once", self.item);
        self.status = RepairStatus::Settled;
        self.settled = Some(Settled { at, by: by.map(str::to_owned), how });
    }
}

impl OpState {
    /// The item by which this call stands in the queue, `None` once it is settled or while it never was.
    pub fn open_repair(&self) -> Option<&Repair> {
        self.repair.as_deref().filter(|repair| repair.is_unsettled())
    }

    /// Why the call is parked, while it is.
    pub fn parked(&self) -> Option<ParkReason> {
        let parked = |repair: &&Repair| matches!(repair.status, RepairStatus::Open | RepairStatus::Assigned);
        self.open_repair().filter(parked).map(|repair| repair.reason)
    }

    /// Whether a round of attempts that somebody asked for is being made.
    pub fn is_retrying(&self) -> bool {
        self.repair.as_ref().is_some_and(|repair| repair.status == RepairStatus::Retrying)
    }
}

impl Saga {
    /// The step and the call whose newest item has this id.
    pub fn find_item(&self, item: Uuid) -> Option<(StepIx, Op, &Repair)> {
        self.items().find(|(_, _, repair)| repair.item == item)
    }

    /// The newest item of every call that has one, in the order of the steps.
    pub fn items(&self) -> impl Iterator<Item = (StepIx, Op, &Repair)> {
        self.steps().flat_map(|(ix, state)| {
            let forward = state.action.repair.as_deref().map(|repair| (ix, self.forward_op(ix), repair));
            let undo = state.compensation.repair.as_deref().map(|repair| (ix, Op::Compensation, repair));
            forward.into_iter().chain(undo)
        })
    }

    /// Which call of a parked step is stuck.
    pub fn parked_op(&self, ix: StepIx) -> Option<Op> {
        let state = self.step(ix);
        let forward = state.action.parked().map(|_| self.forward_op(ix));
        forward.or(state.compensation.parked().map(|_| Op::Compensation))
    }

    /// Whether nothing but an operator can make the saga go on.
    ///
    /// Such a saga needs no coordinator: it is put back into the store, owned by nobody, until a verb comes.
    pub fn is_shelved(&self) -> bool {
        use crate::state::StepPhase;
        let mut parked = false;
        let moving = self.steps().any(|(ix, state)| {
            parked |= state.phase == StepPhase::Parked;
            !self.is_fanned(ix)
                && matches!(
                    state.phase,
                    StepPhase::Running
                        | StepPhase::Compensating
                        | StepPhase::Waiting { .. }
                        | StepPhase::Registered
                )
        });
        parked && !moving && !self.is_terminal()
    }
}

impl RepairRow {
    /// The row of the newest item of one of a step's calls.
    pub fn of(saga: &Saga, ix: StepIx, op: Op, repair: &Repair) -> RepairRow {
        // A step that waits for a signal calls nobody; it is stuck only because of its own expressions.
        let operation = saga.spec(ix).operation(op);
        let (participant, operation) =
            operation.map_or(("", ""), |operation| (operation.participant.as_str(), operation.name.as_str()));
        RepairRow {
            item: repair.item,
            saga: saga.id,
            definition: saga.definition.name.to_string(),
            step: saga.step_name(ix).to_string(),
            op,
            participant: participant.to_owned(),
            operation: operation.to_owned(),
            status: repair.status,
            reason: repair.reason,
            number: repair.number,
            opened_at: repair.opened_at,
            first_opened_at: repair.first_opened_at,
            updated_at: saga.updated_at,
            assignee: repair.assignee.clone(),
            settled_by: repair.settled.as_ref().and_then(|settled| settled.by.clone()),
            settled_how: repair.settled.as_ref().map(|settled| settled.how),
            seq: saga.seq,
        }
    }

    /// The rows of `after` that differ from what `before` had, where one event lies between them.
    ///
    /// An item that another one has followed is settled by that; folding the journal up to its `seq` shows
    /// it as it was.
    pub(crate) fn changed(before: &[(StepIx, Op, Repair)], after: &Saga) -> Vec<RepairRow> {
        let mut rows = Vec::new();
        for (ix, op, repair) in after.items() {
            let same = |(other, of, _): &&(StepIx, Op, Repair)| (*other, *of) == (ix, op);
            let older = before.iter().find(same).map(|(_, _, repair)| repair);
            match older {
                Some(older) if older == repair => {}
                Some(older) if older.item != repair.item => {
                    let status = RepairStatus::Settled;
                    let row = RepairRow::of(after, ix, op, older);
                    let (settled_how, seq) = (Some(How::ParkedAgain), after.seq - 1);
                    rows.push(RepairRow { status, settled_how, seq, ..row });
                    rows.push(RepairRow::of(after, ix, op, repair));
                }
                _ => rows.push(RepairRow::of(after, ix, op, repair)),
            }
        }
        rows
    }
}
