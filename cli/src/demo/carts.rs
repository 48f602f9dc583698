//! What the demo's shop sells, and what its customers want.

use crate::{books::decimal, shop::Item};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A product: SKU, name, price in cents, pieces in stock.
const PRODUCTS: [(i64, &str, i64, i64); 12] = [
    (1, "Walnut Desk", 64_900, 40),
    (2, "Brass Desk Lamp", 8_900, 120),
    (3, "Linen Armchair", 42_500, 25),
    (4, "Oak Bookshelf", 31_900, 30),
    (5, "Wool Rug", 18_900, 60),
    (6, "Ceramic Teapot", 4_900, 200),
    (7, "Set of Six Cups", 3_600, 200),
    (8, "Hand-thrown Vase", 7_200, 3),
    (9, "Beeswax Candles", 1_450, 500),
    (10, "Cotton Throw", 5_400, 150),
    (11, "Cherry Stool", 12_900, 80),
    (12, "Wall Clock", 9_900, 70),
];

/// What is done with a cart once its saga is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Plot {
    /// The customer pays.
    Paid,
    /// The start is sent twice under one key, and the customer pays.
    PaidAndRepeated,
    /// More is wanted than there is.
    OutOfStock,
    /// The customer changes their mind before paying.
    Cancelled,
    /// The order service says no, and the inventory fails to give the stock back a few times.
    ReversalFails,
    /// The order service says no, and the inventory refuses to give the stock back until somebody asks again.
    Repaired,
}

/// A cart.
#[derive(Debug)]
pub(super) struct Cart {
    /// Its order number, and the key of its saga.
    pub(super) name: &'static str,
    /// Whose it is.
    pub(super) customer: &'static str,
    /// SKUs and pieces.
    pub(super) lines: &'static [(i64, i64)],
    /// What is done with it.
    pub(super) plot: Plot,
}

/// How often the reversal fails before it works: the three attempts in line.
pub(super) const REVERSALS_FAIL: u32 = 3;

/// The carts, in the order in which they are run. The third leaves too few vases for the fourth.
pub(super) const CARTS: [Cart; 8] = [
    Cart { name: "cart-1", customer: "Ada", lines: &[(1, 1), (2, 2)], plot: Plot::Paid },
    Cart {
        name: "cart-2",
        customer: "Grace",
        lines: &[(6, 1), (7, 2), (9, 12), (10, 1), (12, 1)],
        plot: Plot::Paid,
    },
    Cart { name: "cart-3", customer: "Edsger", lines: &[(8, 2), (9, 4)], plot: Plot::Paid },
    Cart { name: "cart-4", customer: "Barbara", lines: &[(4, 1), (8, 2)], plot: Plot::OutOfStock },
    Cart { name: "cart-5", customer: "Leslie", lines: &[(5, 1), (11, 4)], plot: Plot::Cancelled },
    Cart { name: "cart-6", customer: "Frances", lines: &[(2, 1), (6, 1)], plot: Plot::PaidAndRepeated },
    Cart { name: "cart-7", customer: "Jim", lines: &[(3, 2), (5, 1)], plot: Plot::ReversalFails },
    Cart { name: "cart-8", customer: "Margaret", lines: &[(1, 1), (12, 1)], plot: Plot::Repaired },
];

/// The catalogue.
pub(super) fn catalogue() -> Vec<Item> {
    let item = |(sku, name, price_minor, _): (i64, &str, i64, i64)| Item {
        sku,
        name: name.to_owned(),
        price_minor,
        currency: "EUR".to_owned(),
    };
    PRODUCTS.map(item).into()
}

/// The opening stock: pieces by SKU.
pub(super) fn stock() -> BTreeMap<i64, i64> {
    PRODUCTS.iter().map(|(sku, _, _, pieces)| (*sku, *pieces)).collect()
}

impl Cart {
    /// The saga's input.
    pub(super) fn input(&self) -> Value {
        let lines: Vec<Value> =
            self.lines.iter().map(|(sku, qty)| json!({ "sku": sku, "qty": qty })).collect();
        json!({ "order": self.name, "customer": self.customer, "currency": "EUR", "lines": lines })
    }

    /// What is in it, for people: `1 Walnut Desk, 2 Brass Desk Lamp`.
    pub(super) fn content(&self) -> String {
        let line = |(sku, qty): &(i64, i64)| format!("{qty} {}", product(*sku).1);
        self.lines.iter().map(line).collect::<Vec<_>>().join(", ")
    }

    /// What it comes to, in minor units.
    pub(super) fn total_minor(&self) -> i64 {
        self.lines.iter().map(|(sku, qty)| product(*sku).2 * qty).sum()
    }

    /// What it comes to, for people.
    pub(super) fn price(&self) -> String {
        format!("{} EUR", decimal(self.total_minor()))
    }
}

fn product(sku: i64) -> &'static (i64, &'static str, i64, i64) {
    let found = PRODUCTS.iter().find(|(known, ..)| *known == sku);
    found.expect("a cart holds what the shop sells")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_enough_for_every_cart_but_the_one_that_is_out_of_stock() {
        let mut stock = stock();
        for cart in &CARTS {
            let short = cart.lines.iter().any(|(sku, qty)| stock[sku] < *qty);
            assert_eq!(short, cart.plot == Plot::OutOfStock, "{}", cart.name);
            if matches!(cart.plot, Plot::Paid | Plot::PaidAndRepeated) {
                cart.lines.iter().for_each(|(sku, qty)| *stock.get_mut(sku).expect("a product") -= qty);
            }
        }
    }
}
