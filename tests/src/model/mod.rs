//! An exhaustive model: every interleaving of a small world around the production coordinator.
//!
//! One saga, two coordinators, the store's row, a participant's barrier, and a network that loses,
//! repeats, delays and reorders. Every schedule of retries has no wait, so that "later" is a late message
//! and not a timer; only what an await waits for needs the clock. What is bounded, so that the search
//! ends: attempts, claims, crashes, refusals, one cancel and one signal.
//!
//! [`space`] is the world, [`search`] goes through it, and the laws of [`state::State`] are the names of the project's
//! invariants.

mod laws;
mod open;
mod participant;
mod print;
pub mod search;
pub mod space;
pub mod state;

use amends_saga::{Definition, planted, sketch};
use space::Model;
use state::Bounds;
use std::sync::Arc;

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
    /// The participant does what it has undone before, because the call comes late.
    LateWorkDone,
    /// The participant repeats a compensation that it has done before.
    UndoRepeated,
    /// The store writes whatever it is given, whoever owns the saga.
    NoCondition,
    /// A coordinator takes a write that may have failed for done.
    UnknownCommitTrusted,
}

/// One model with its name.
pub type Named = (&'static str, Model);

const QUICK: &str =
    "attempts=2 first=0ms max=0ms quick=1 slow=1 slow_first=0ms slow_max=0ms undo_within=1000000h";
const ONCE: &str = "attempts=1 quick=1 slow=0 undo_within=1000000h";

/// As [`ONCE`], but given up by its age; in the other models nobody lives to see that, or it would be a way out of every
/// state of undoing and there would be ten times as many.
const AGED: &str = "attempts=1 quick=1 slow=0";

/// What a model is made of: its title, its definition as text, none for an open saga, and its bounds.
type Sketched = (&'static str, String, Bounds);

/// One take-over and nothing else; each model adds what it is about.
fn alone() -> Bounds {
    Bounds { claims: 0, crashes: 0, refusals: 0, zombies: false, ..Bounds { claims: 1, ..Bounds::default() } }
}

/// Conditions, lists, pivots, reverts and open sagas.
fn of_the_language() -> Vec<Sketched> {
    let alone = alone();
    let fan = format!(
        "fan\na: p.a / p.ua {ONCE} each=input.list with=item\nb: p.b / p.ub {ONCE} when=input.no\n\
         c: p.c / p.uc {ONCE} when=input.yes"
    );
    let whole = format!("whole\na: p.a / p.ua {ONCE}\nb: p.b / p.ub {ONCE}");
    let pivot = format!("pivot\na: p.a / p.ua {ONCE}\nb: p.b none pivot attempts=1\nc: p.c none attempts=1");
    let own = format!("own\na: p.a / p.ua {ONCE} pivot\nb: p.b none attempts=1");
    let open = String::new();
    vec![
        (
            "two items one after the other, and conditions",
            fan,
            Bounds { claims: 1, refusals: 1, cancels: 1, ..alone },
        ),
        ("completed and sent back", whole, Bounds { claims: 1, crashes: 1, reverts: 1, ..alone }),
        ("a pivot is not sent back", own.clone(), Bounds { reverts: 1, ..alone }),
        (
            "a branch whose confirm is refused",
            open.clone(),
            Bounds { claims: 1, refusals: 1, branches: 1, commits: 1, verbs: 1, ..alone },
        ),
        (
            "an open saga: commit, rollback and timeout",
            open,
            Bounds { claims: 1, crashes: 1, cancels: 1, branches: 2, commits: 1, ..alone },
        ),
        (
            "a pivot, cancelled, repaired forward",
            pivot.clone(),
            Bounds { refusals: 1, cancels: 1, verbs: 2, ..alone },
        ),
        (
            "a pivot across a take-over",
            pivot,
            Bounds { claims: 1, crashes: 1, cancels: 1, verbs: 1, ..alone },
        ),
        (
            "a pivot with a way back of its own",
            own,
            Bounds { claims: 1, crashes: 1, refusals: 1, cancels: 1, verbs: 1, ..alone },
        ),
    ]
}

/// Calls, awaits, take-overs and the queue.
fn of_the_course() -> Vec<Sketched> {
    let linear = format!("linear\na: p.a / p.ua {QUICK}\nb: p.b / p.ub {ONCE}\nc: p.c / p.uc {ONCE}");
    let single = format!("single\na: p.a / p.ua {ONCE}");
    let diamond = format!(
        "diamond\na: p.a / p.ua {ONCE}\nb: p.b / p.ub {ONCE} after=a\nc: p.c / p.uc {ONCE} after=a\n\
         d: p.d / p.ud {ONCE} after=b,c"
    );
    let payment = format!("payment\na: p.a / p.ua {QUICK}\npay: await pay timeout=1m\nc: p.c / p.uc {ONCE}");
    let asking = format!("asking\na: p.a / p.ua {QUICK} status\nb: p.b / p.ub {ONCE} status eager");
    let stuck = format!("stuck\na: p.a / p.ua {QUICK}");
    let pair = format!("pair\na: p.a / p.ua {ONCE}\nb: p.b / p.ub {ONCE} status");
    let wide_pair = format!("wide\na: p.a / p.ua {ONCE} after=-\nb: p.b / p.ub {ONCE} after=- eager");
    let aged = format!("aged\na: p.a / p.ua {AGED} status");
    let small = Bounds { claims: 1, ..Bounds::default() };
    let alone = alone();
    vec![
        ("an await that nothing answers", payment.clone(), alone),
        ("an undo given up by its age", aged, Bounds { claims: 1, crashes: 1, verbs: 1, ..alone }),
        ("claimed again while still held", single, Bounds { claims: 2, crashes: 1, ..alone }),
        ("a gateway in the way", asking.clone(), Bounds { claims: 1, gates: 1, ..alone }),
        ("three steps in a row", linear.clone(), Bounds { cancels: 1, ..small }),
        ("two take-overs", linear, Bounds { claims: 2, zombies: false, refusals: 0, ..small }),
        ("a diamond", diamond, Bounds { zombies: false, crashes: 0, refusals: 0, ..small }),
        (
            "an await: signal, timeout, cancel",
            payment.clone(),
            Bounds { cancels: 1, signals: 1, refusals: 0, ..small },
        ),
        (
            "a stuck step across a take-over",
            stuck,
            Bounds { claims: 1, crashes: 1, undo_refusals: 1, verbs: 2, ..alone },
        ),
        ("a stuck step before another", pair, Bounds { undo_refusals: 1, verbs: 2, ..alone }),
        ("a stuck step beside another", wide_pair, Bounds { undo_refusals: 1, verbs: 1, ..alone }),
        ("status first, eager undoing", asking, Bounds { undo_refusals: 1, crashes: 0, ..small }),
        (
            "payment, expiry and cancel: one wins",
            payment,
            Bounds { claims: 1, crashes: 1, cancels: 1, signals: 1, ..alone },
        ),
    ]
}

/// The models, with the bounds of the ordinary run or wider ones; small worlds first, where a bug is met soon.
pub fn models(bug: Option<Bug>, wide: bool) -> Vec<Named> {
    let widen = |bounds: Bounds| Bounds { claims: bounds.claims + 1, crashes: 2, zombies: true, ..bounds };
    let model = |(name, text, bounds): Sketched| {
        let bounds = if wide { widen(bounds) } else { bounds };
        let definition =
            if text.is_empty() { Arc::new(Definition::open()) } else { sketch::definition(&text) };
        (name, Model::new(definition, bounds, bug))
    };
    of_the_language().into_iter().chain(of_the_course()).map(model).collect()
}
