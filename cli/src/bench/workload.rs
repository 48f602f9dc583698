//! What the cells run: a definition, an input for each saga, and how each is to end.

use serde_json::{Value, json};

/// SKUs of the shop's catalogue; carts draw from them evenly, so no row is hot by itself.
pub(super) const SKUS: u64 = 1_000;
/// Lines of a shop's cart.
const LINES: u64 = 5;

/// A checkout that waits for nobody, since it is paid: all three of the shop's services, four steps.
const SHOP: &str = include_str!("../../../sagas/place.yaml");

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Workload {
    /// Three steps at a participant that does nothing
    Noop,
    /// The same, through the batch form of its operations
    NoopBatch,
    /// Three steps of which every third saga's last is refused, so that two are undone
    NoopThird,
    /// Five-line carts, four steps over product, inventory and order, each with its own database
    Shop,
}

impl Workload {
    pub(super) const ALL: [Workload; 4] =
        [Workload::Noop, Workload::NoopBatch, Workload::NoopThird, Workload::Shop];

    pub(super) fn label(self) -> &'static str {
        match self {
            Workload::Noop => "no-op, all succeed",
            Workload::NoopBatch => "no-op, batched, all succeed",
            Workload::NoopThird => "no-op, a third undone",
            Workload::Shop => "shop, five-line carts",
        }
    }

    /// The definition to register, as text.
    pub(super) fn definition(self) -> String {
        let operations = match self {
            Workload::Noop | Workload::NoopThird => ["a", "b", "c"],
            Workload::NoopBatch => ["a2", "b2", "c2"],
            Workload::Shop => return SHOP.to_owned(),
        };
        let mut text = "saga: bench\nversion: 1\ndeadline: 60s\nsteps:\n".to_owned();
        for operation in operations {
            text.push_str(&format!(
                "  - {operation}:\n      action: noop.{operation}\n      compensation: noop.undo\n      \
                 with: \"${{{{ input }}}}\"\n"
            ));
        }
        text
    }

    /// The name under which [`Workload::definition`] is started.
    pub(super) fn saga(self) -> &'static str {
        match self {
            Workload::Noop | Workload::NoopBatch | Workload::NoopThird => "bench",
            Workload::Shop => "place",
        }
    }

    /// The input of saga number `n` of a run, and the status it must end with.
    pub(super) fn start(self, run: &str, n: u64) -> (Value, &'static str) {
        match self {
            Workload::Noop | Workload::NoopBatch => (cart(run, n, 2, false), "completed"),
            Workload::NoopThird if n % 3 == 2 => (cart(run, n, 2, true), "compensated"),
            Workload::NoopThird => (cart(run, n, 2, false), "completed"),
            Workload::Shop => {
                let mut input = cart(run, n, LINES, false);
                if let Some(members) = input.as_object_mut() {
                    members.remove("refuse");
                    members.insert("prepaid".to_owned(), true.into());
                }
                (input, "completed")
            }
        }
    }
}

fn cart(run: &str, n: u64, lines: u64, refuse: bool) -> Value {
    let lines: Vec<Value> =
        (0..lines).map(|i| json!({ "sku": (n * 7 + i * 131) % SKUS + 1, "qty": i % 3 + 1 })).collect();
    json!({ "order": format!("{run}-{n}"), "refuse": refuse, "lines": lines })
}
