//! What the simulated sagas run: definitions, carts and the static facts a checker needs of them.

use amends_saga::{Definition, Json, StepIx, sketch};
use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

/// A definition with its graph worked out a second time, independently of the core.
#[derive(Debug)]
pub struct Plan {
    /// The definition.
    pub definition: Arc<Definition>,
    /// For each step, the steps that come after it on some path.
    pub later: Vec<BTreeSet<u16>>,
}

/// The definitions the simulator starts.
pub static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| SKETCHES.iter().map(|s| Plan::of(s)).collect());

const SKETCHES: &[&str] = &[
    "checkout deadline=5m output=output.order
     quote: product.quote read_only
     reserve: inventory.hold / inventory.release slow_max=30s
     order: order.create / order.cancel slow_max=30s
     payment: await payment timeout=20s
     confirm: inventory.confirm / inventory.restore slow_max=30s
     paid: order.pay / order.refund slow_max=30s",
    "quick deadline=5m
     reserve: inventory.hold / inventory.release attempts=2 quick=2 slow=2 slow_first=200ms slow_max=1s
     order: order.create / order.cancel attempts=3 quick=1 slow=3 slow_first=200ms slow_max=2s
     count: product.record / product.unrecord attempts=2 quick=2 slow=2 slow_first=200ms slow_max=1s",
    "diamond
     quote: product.quote read_only
     reserve: inventory.hold / inventory.release after=quote status within=20s slow_max=20s
     order: order.create / order.cancel after=quote status attempts=3 slow_max=20s
     count: product.record / product.unrecord after=reserve,order attempts=3 slow=4 slow_max=20s",
    "wide deadline=30s
     reserve: inventory.hold / inventory.release after=- quick=1 slow=3 slow_max=4s eager
     order: order.create / order.cancel after=- quick=1 slow=3 slow_max=4s eager
     count: product.record / product.unrecord after=- quick=1 slow=3 slow_max=4s eager
     confirm: inventory.confirm / inventory.restore after=reserve,order,count quick=1 slow=3 slow_max=4s eager",
    "patient
     payment: await payment timeout=15s default=null
     reserve: inventory.hold / inventory.release status attempts=3 first=300ms slow_max=20s
     mail: product.mail none attempts=4
     order: order.create / order.cancel slow_max=20s eager",
];

impl Plan {
    fn of(text: &str) -> Plan {
        let definition = sketch::definition(text);
        let count = definition.len();
        let mut later = vec![BTreeSet::new(); count];
        // Repeat until nothing changes: slow, plain, and unlike the way the core does it.
        for _ in 0..count {
            for (ix, step) in definition.steps() {
                for parent in &step.after {
                    let mut below = later[usize::from(ix.0)].clone();
                    below.insert(ix.0);
                    later[usize::from(parent.0)].extend(below);
                }
            }
        }
        Plan { definition, later }
    }

    /// Whether a step has a compensation.
    pub fn has_undo(&self, step: u16) -> bool {
        self.definition.step(StepIx(step)).undo().is_some()
    }

    /// Whether a step calls something that has an effect.
    pub fn has_effect(&self, step: u16) -> bool {
        let step = self.definition.step(StepIx(step));
        step.call().is_some_and(|call| !matches!(call.undo, amends_saga::definition::Undo::ReadOnly))
    }

    /// Finds the plan of a definition by its hash.
    pub fn find(hash: &str) -> &'static Plan {
        PLANS.iter().find(|plan| plan.definition.hash == hash).expect("only known definitions are started")
    }
}

/// One line of a cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// What.
    pub sku: usize,
    /// How many pieces.
    pub pieces: i64,
}

/// A cart, as it travels in every call's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cart {
    /// The order's number.
    pub order: u64,
    /// Its lines.
    pub lines: Vec<Line>,
}

impl Cart {
    /// Writes it as a saga's input.
    pub fn to_json(&self) -> Json {
        let lines: Vec<_> =
            self.lines.iter().map(|line| serde_json::json!([line.sku, line.pieces])).collect();
        Arc::new(serde_json::json!({ "order": self.order, "lines": lines }))
    }

    /// Reads it from a call's body.
    pub fn from_json(body: &Json) -> Cart {
        let number = |value: &serde_json::Value| value.as_i64().expect("a number in the cart");
        let line =
            |pair: &serde_json::Value| Line { sku: number(&pair[0]) as usize, pieces: number(&pair[1]) };
        let lines = body["lines"].as_array().expect("a body with lines");
        Cart { order: number(&body["order"]) as u64, lines: lines.iter().map(line).collect() }
    }
}
