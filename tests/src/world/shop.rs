//! What the simulated sagas run: definitions, carts and the static facts a checker needs of them.

use amends_saga::{BranchTerms, Definition, Json, Name, Step, StepIx, schedule::UndoSchedule, sketch};
use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

/// Whatever is done and undone by itself, numbered by its name and not as the core numbers it: a step of the definition
/// by its place, an item of a fanned-out step behind all steps, a branch of an open saga by its own number.
pub type Unit = u16;

/// The units that the items of one step have.
const ITEMS: u16 = 100;

/// Branches that an open saga may have here.
pub const BRANCHES_MAX: u16 = 4;

/// A definition with its graph worked out a second time, independently of the core.
#[derive(Debug)]
pub struct Plan {
    /// The definition.
    pub definition: Arc<Definition>,
    /// For each step, the steps that come after it on some path.
    pub later: Vec<BTreeSet<u16>>,
}

/// The definitions the simulator starts.
pub static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| {
    let open = Plan { definition: Arc::new(Definition::open()), later: Vec::new() };
    SKETCHES.iter().map(|s| Plan::of(s)).chain([open]).collect()
});

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
    "parcels deadline=5m
     reserve: inventory.hold / inventory.release each=input.parts parallel=2 with=item attempts=3 slow_max=20s
     gift: product.record / product.unrecord when=input.gift attempts=3 slow_max=20s
     order: order.create / order.cancel attempts=3 slow_max=20s",
    "ship deadline=40s
     reserve: inventory.hold / inventory.release after=- attempts=3 slow_max=20s
     order: order.create / order.cancel after=- attempts=3 slow_max=20s
     paid: order.pay none pivot attempts=3
     confirm: inventory.confirm none after=paid attempts=2 status
     labels: product.record none each=input.parts parallel=2 with=item after=paid attempts=2
     gift: product.record none when=input.gift after=labels attempts=2",
    "reserve_long
     reserve: inventory.hold / inventory.release attempts=3 quick=1 slow=3 slow_first=40s slow_max=60s
     payment: await payment timeout=50s
     order: order.create / order.cancel pivot attempts=3 slow_max=20s
     confirm: inventory.confirm none attempts=2
     delivered: await delivered timeout=70s default=null",
    "queue
     reserve: inventory.hold / inventory.release each=input.parts with=item slow_max=20s eager
     payment: await payment timeout=45s default=null
     order: order.create / order.cancel slow_max=20s",
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

    /// The unit that a name means.
    ///
    /// # Panics
    /// When the plan has no such step.
    pub fn unit(&self, name: &str) -> Unit {
        let known = "a step of its definition";
        if self.is_open() {
            return name.strip_prefix('b').and_then(|number| number.parse().ok()).expect(known);
        }
        let Some((base, index)) = name.split_once('[') else {
            return self.definition.find(name).expect(known).0;
        };
        let index: u16 = index.trim_end_matches(']').parse().expect("an item's place");
        ITEMS * (self.definition.find(base).expect(known).0 + 1) + index
    }

    /// The step of the definition that a unit is, or is an item of.
    pub fn base(&self, unit: Unit) -> u16 {
        if unit < ITEMS { unit } else { unit / ITEMS - 1 }
    }

    /// The unit of one item of a step.
    pub fn item(&self, base: u16, index: u16) -> Unit {
        ITEMS * (base + 1) + index
    }

    /// What describes a unit; nothing does of a branch.
    pub fn step(&self, unit: Unit) -> Option<&Step> {
        (!self.is_open()).then(|| self.definition.step(StepIx(self.base(unit))))
    }

    /// Whether its sagas are open ones.
    pub fn is_open(&self) -> bool {
        self.definition.is_open()
    }

    /// Whether a unit has a compensation.
    pub fn has_undo(&self, unit: Unit) -> bool {
        self.step(unit).is_none_or(|step| step.undo().is_some())
    }

    /// Whether a unit calls something that has an effect.
    pub fn has_effect(&self, unit: Unit) -> bool {
        let Some(step) = self.step(unit) else { return true };
        step.call().is_some_and(|call| !matches!(call.undo, amends_saga::definition::Undo::ReadOnly))
    }

    /// How many units of a step may be under way at a time, where it is fanned out.
    pub fn parallel(&self, unit: Unit) -> usize {
        self.step(unit).and_then(|step| step.fan.as_ref()).map_or(1, |fan| fan.parallel as usize)
    }

    /// The step after which its sagas only go forward.
    pub fn pivot(&self) -> Option<Unit> {
        self.definition.steps().find(|(_, step)| step.pivot).map(|(ix, _)| ix.0)
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
        let parts: Vec<_> = self.parts().iter().map(Cart::plain).collect();
        let mut json = self.plain();
        json["parts"] = parts.into();
        json["gift"] = self.is_gift().into();
        Arc::new(json)
    }

    fn plain(&self) -> serde_json::Value {
        let lines: Vec<_> =
            self.lines.iter().map(|line| serde_json::json!([line.sku, line.pieces])).collect();
        serde_json::json!({ "order": self.order, "lines": lines })
    }

    /// The cart as parcels: one for each line, with an order number of its own.
    pub fn parts(&self) -> Vec<Cart> {
        let part = |(i, line): (usize, &Line)| Cart {
            order: (self.order + 1) * 1_000_000 + i as u64,
            lines: vec![*line],
        };
        self.lines.iter().enumerate().map(part).collect()
    }

    /// Whether it is a gift, which means one step more in some definitions.
    pub fn is_gift(&self) -> bool {
        self.order.is_multiple_of(2)
    }

    /// The work that a branch of an open saga does, and on what: one sets a line aside, the next makes an order.
    pub fn branch(&self, unit: Unit) -> (&'static str, Cart) {
        let line = self.lines[usize::from(unit) % self.lines.len()];
        let cart = Cart { order: (self.order + 1) * 1_000_000 + u64::from(unit), lines: vec![line] };
        (if unit.is_multiple_of(2) { "hold" } else { "create" }, cart)
    }

    /// What is registered of such a branch.
    pub fn branch_terms(&self, unit: Unit) -> (Name, BranchTerms) {
        let (work, cart) = self.branch(unit);
        let (undo, confirm) = match work {
            "hold" => ("inventory.release", Some("inventory.confirm")),
            _ => ("order.cancel", None),
        };
        let retry = UndoSchedule { slow: sketch_slow(), ..UndoSchedule::DEFAULT };
        let terms = BranchTerms {
            compensation: sketch::operation_of(undo),
            undo_retry: retry,
            confirm: confirm.map(sketch::operation_of),
            retry,
            input: Arc::new(cart.plain()),
        };
        (Name::parse(&format!("b{unit}")).expect("a name"), terms)
    }

    /// Reads it from a call's body or a saga's input.
    pub fn from_json(body: &Json) -> Cart {
        let number = |value: &serde_json::Value| value.as_i64().expect("a number in the cart");
        let line =
            |pair: &serde_json::Value| Line { sku: number(&pair[0]) as usize, pieces: number(&pair[1]) };
        let lines = body["lines"].as_array().expect("a body with lines");
        Cart { order: number(&body["order"]) as u64, lines: lines.iter().map(line).collect() }
    }
}

fn sketch_slow() -> amends_saga::schedule::Schedule {
    let slow = UndoSchedule::DEFAULT.slow;
    amends_saga::schedule::Schedule { attempts: 4, max: amends_saga::Millis(20_000), ..slow }
}
