//! An exhaustive model: every interleaving of a small world around the production coordinator.
//!
//! One saga, two coordinators, the store's row, a participant's barrier, and a network that loses,
//! repeats, delays and reorders. Every schedule of retries has no wait, so that "later" is a late message
//! and not a timer; only what an await waits for needs the clock. What is bounded, so that the search
//! ends: attempts, claims, crashes, refusals, one cancel and one signal.
//!
//! [`space`] is the world, [`search`] goes through it, and the laws of [`space::State`] are the names of the project's
//! invariants.

pub mod search;
pub mod space;

use amends_saga::{planted, sketch};
use space::{Bounds, Model};

/// A bug of the model's participant or store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// In the production core.
    Core(planted::Bug),
    /// The participant repeats an action that it has done before.
    NoDedupe,
    /// The participant keeps nothing of a compensation that came before its action.
    NoTombstone,
    /// The participant forgets that it refused an action.
    RefusalForgotten,
    /// The participant repeats a compensation that it has done before.
    UndoRepeated,
    /// The store writes whatever it is given, whoever owns the saga.
    NoCondition,
    /// A coordinator takes a write that may have failed for done.
    UnknownCommitTrusted,
}

/// The models of the ordinary run, by name.
///
/// Together they have more than a million states.
pub fn models(bug: Option<Bug>) -> Vec<(&'static str, Model)> {
    let quick = "attempts=2 first=0ms max=0ms quick=1 slow=1 slow_first=0ms slow_max=0ms";
    let once = "attempts=1 quick=1 slow=0";
    let linear = format!("linear\na: p.a / p.ua {quick}\nb: p.b / p.ub {once}\nc: p.c / p.uc {once}");
    let diamond = format!(
        "diamond\na: p.a / p.ua {once}\nb: p.b / p.ub {once} after=a\nc: p.c / p.uc {once} after=a\n\
         d: p.d / p.ud {once} after=b,c"
    );
    let payment = format!("payment\na: p.a / p.ua {quick}\npay: await pay timeout=1m\nc: p.c / p.uc {once}");
    let asking = format!("asking\na: p.a / p.ua {quick} status\nb: p.b / p.ub {once} status");
    let bounds = Bounds::default();
    let list = [
        ("three steps in a row", linear, Bounds { cancels: 1, ..bounds }),
        ("a diamond", diamond, Bounds { claims: 1, zombies: false, ..bounds }),
        ("an await: signal, timeout and cancel", payment, Bounds { cancels: 1, signals: 1, ..bounds }),
        ("status first, and eager undoing", asking.replace("b: p.b", "b: p.b"), Bounds { undo_refusals: 1, ..bounds }),
    ];
    list.into_iter().map(|(name, text, bounds)| (name, Model::new(sketch::definition(&text), bounds, bug))).collect()
}
