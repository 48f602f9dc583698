//! The laws that an audit checks, and the names of what breaks them.

use serde::Serialize;

/// A law between sagas and what participants have done for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Law {
    /// Its number among the project's invariants.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub law: &'static str,
}

/// Every law that an audit checks.
pub const LAWS: [Law; 7] = [
    Law {
        id: "I6",
        name: "completed_took_effect",
        law: "every step of a completed saga has taken effect, and nothing of it is undone",
    },
    Law { id: "I7", name: "compensated_left_nothing", law: "of a compensated saga nothing is left" },
    Law { id: "I8", name: "nothing_is_done_twice", law: "no step takes effect twice" },
    Law {
        id: "I9",
        name: "barred_has_no_effect",
        law: "a step that was refused, or undone before it was done, has no effect",
    },
    Law { id: "I11", name: "no_orphan_effects", law: "every effect belongs to a step of a saga" },
    Law { id: "I20", name: "effects_are_what_was_asked", law: "what was done is what the saga asked for" },
    Law {
        id: "I21",
        name: "holds_end_in_time",
        law: "no hold stands past its expiry when its saga has ended",
    },
];

/// The names of findings. They never change their meaning.
pub mod names {
    /// A participant has done something for a saga, or a step, that the coordinator does not know.
    pub const EFFECT_WITHOUT_A_SAGA: &str = "effect_without_a_saga";
    /// A step is said to be done, and the participant has no trace of it, or not all of it.
    pub const EFFECT_LOST: &str = "effect_lost";
    /// A step is said to be undone, and the participant still has it.
    pub const EFFECT_LEFT_BEHIND: &str = "effect_left_behind";
    /// A step is said to be done, and the participant has undone it.
    pub const UNDONE_THOUGH_COMPLETED: &str = "undone_though_completed";
    /// Something else was done than was asked for, and only numbers differ.
    pub const WRONG_QUANTITY: &str = "wrong_quantity";
    /// Something else was done than was asked for.
    pub const EFFECT_DIFFERS: &str = "effect_differs";
    /// A hold stands although its time is over and its saga has ended.
    pub const HOLD_PAST_ITS_EXPIRY: &str = "hold_past_its_expiry";
    /// A step was done more than once.
    pub const DOUBLED_EFFECT: &str = "doubled_effect";
    /// Stock is set aside for a step that never called.
    pub const ORPHAN_HOLD: &str = "orphan_hold";
    /// A row was written for a step that never called.
    pub const ORPHAN_EFFECT: &str = "orphan_effect";
    /// A step was refused, or undone before it was done, and yet something was done for it.
    pub const EFFECT_THOUGH_BARRED: &str = "effect_though_barred";

    /// Every name that is known here.
    pub const ALL: [&str; 11] = [
        EFFECT_WITHOUT_A_SAGA,
        EFFECT_LOST,
        EFFECT_LEFT_BEHIND,
        UNDONE_THOUGH_COMPLETED,
        WRONG_QUANTITY,
        EFFECT_DIFFERS,
        HOLD_PAST_ITS_EXPIRY,
        DOUBLED_EFFECT,
        ORPHAN_HOLD,
        ORPHAN_EFFECT,
        EFFECT_THOUGH_BARRED,
    ];
}

/// The name of the law that a finding breaks; `None` for a finding that is the participant's own invention.
pub(super) fn broken_by(name: &str) -> Option<&'static str> {
    Some(match name {
        names::EFFECT_LOST | names::UNDONE_THOUGH_COMPLETED => "completed_took_effect",
        names::EFFECT_LEFT_BEHIND => "compensated_left_nothing",
        names::DOUBLED_EFFECT => "nothing_is_done_twice",
        names::EFFECT_THOUGH_BARRED => "barred_has_no_effect",
        names::EFFECT_WITHOUT_A_SAGA | names::ORPHAN_HOLD | names::ORPHAN_EFFECT => "no_orphan_effects",
        names::WRONG_QUANTITY | names::EFFECT_DIFFERS => "effects_are_what_was_asked",
        names::HOLD_PAST_ITS_EXPIRY => "holds_end_in_time",
        _ => return None,
    })
}
