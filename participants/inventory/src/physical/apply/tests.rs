//! What is applied is sold once, and what has left is not sold again.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Counted, lying};
use crate::tests::{Random, Shop, step};

/// A count of one SKU 1, applied.
fn count(number: &str, warehouse: &str, on_hand: i64, version: i64) -> Value {
    json!({ "batch_no": number, "warehouse": warehouse, "apply": true,
        "rows": [{ "sku": 1, "on_hand": on_hand, "version": version }] })
}

async fn sync(shop: &Shop, batch: &Value) -> Value {
    let (status, answer) = shop.post("/physical/sync", batch).await;
    assert_eq!(status, 201, "{answer}");
    answer["lines"].clone()
}

async fn sell_and_ship(shop: &Shop, saga: u128, line: &Value) {
    let order = format!("o{saga}");
    let body = json!({ "order": order, "lines": [line] });
    assert_eq!(shop.act("deduct", step(saga, "take"), &body).await.0, 200);
    assert_eq!(shop.act("ship", step(saga, "ship"), &json!({ "order": order })).await.0, 200);
}

#[test]
fn what_has_left_is_taken_off_the_counts_from_before_it() {
    let counted = |(sound, shipped_then): &(i64, i64)| Counted { sound: *sound, shipped_then: *shipped_then };
    for (counts, shipped, lies) in [
        (vec![], 5, 0),
        (vec![(10, 0)], 3, 7),
        (vec![(10, 0), (0, 3)], 3, 7),
        (vec![(10, 0), (5, 3)], 3, 12),
        (vec![(10, 0), (5, 3)], 7, 8),
        // No more can have left of what was counted first than was counted.
        (vec![(10, 0), (5, 50)], 52, 3),
        (vec![(4, 7), (6, 7)], 9, 8),
        (vec![(4, 0)], 9, 0),
    ] {
        let counts: Vec<Counted> = counts.iter().map(counted).collect();
        assert_eq!(lying(&counts, shipped), lies, "{counts:?} {shipped}");
    }
}

#[tokio::test]
async fn y1_what_has_left_since_it_was_counted_is_not_on_sale_again() {
    let shop = Shop::open(&[]).await;
    sync(&shop, &count("b1", "w1", 10, 1)).await;
    sell_and_ship(&shop, 1, &json!({"sku": 1, "qty": 3})).await;
    assert_eq!(shop.stock(1).await, (7, 0));
    assert_eq!(sync(&shop, &count("b2", "w2", 0, 1)).await, json!([]));
    assert_eq!(shop.stock(1).await, (7, 0));
    // The warehouse counts anew: what has left is no longer in its count, and is not taken off a second time.
    assert_eq!(sync(&shop, &count("b3", "w1", 7, 2)).await, json!([]));
    assert_eq!(sync(&shop, &count("b4", "w2", 5, 2)).await, json!([{"sku": 1, "delta": 5, "usable": 12}]));
    shop.assert_sound().await;
}

#[tokio::test]
async fn y1_what_has_left_while_a_count_was_on_its_way_is_not_on_sale_again() {
    let shop = Shop::open(&[]).await;
    sync(&shop, &count("b1", "w1", 10, 1)).await;
    let mut late = count("b2", "w1", 10, 2);
    late["counted_at"] = json!(jiff::Timestamp::now().to_string());
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    sell_and_ship(&shop, 1, &json!({"sku": 1, "qty": 3})).await;
    assert_eq!(sync(&shop, &late).await, json!([]));
    assert_eq!(shop.stock(1).await, (7, 0));
    // Whoever does not say when it was counted says that it is now.
    assert_eq!(sync(&shop, &count("b3", "w1", 10, 3)).await, json!([{"sku": 1, "delta": 3, "usable": 10}]));
    shop.assert_sound().await;
}

#[tokio::test]
async fn y1_what_channels_have_is_not_sold_by_the_store_as_well() {
    let shop = Shop::open(&[(1, 10)]).await;
    let of_channel = json!([{"sku": 1, "qty": 3, "channel": 7}]);
    assert_eq!(shop.post("/replenish", &json!({"biz_no": "r", "lines": of_channel})).await.0, 201);
    assert_eq!(sync(&shop, &count("b1", "w1", 13, 1)).await, json!([]));
    // What leaves by way of the channel has left all the same.
    sell_and_ship(&shop, 1, &json!({"sku": 1, "qty": 2, "channel": 7})).await;
    assert_eq!(sync(&shop, &count("b2", "w2", 0, 1)).await, json!([]));
    // Less lies there than is on sale: the store gives way first, and then the channel.
    let less = sync(&shop, &count("b3", "w1", 4, 2)).await;
    assert_eq!(less, json!([{"sku": 1, "delta": -7, "usable": 3}]));
    let less = sync(&shop, &count("b4", "w1", 0, 3)).await;
    assert_eq!(
        less,
        json!([{"sku": 1, "delta": -3, "usable": 0}, {"sku": 1, "channel": 7, "delta": -1, "usable": 0}])
    );
    shop.assert_sound().await;
}

/// A SKU in two warehouses, as it lies there, beside the books.
struct World {
    shop: Shop,
    random: Random,
    seed: u64,
    lies: BTreeMap<&'static str, i64>,
    turn: u128,
    /// Counts that are on their way.
    late: Vec<Value>,
    /// Orders that are taken and have not left, with how many each has.
    taken: Vec<(String, i64)>,
}

impl World {
    fn below(&mut self, limit: i64) -> i64 {
        let limit = u64::try_from(limit).unwrap();
        i64::try_from(self.random.below(limit)).unwrap()
    }

    fn warehouse(&mut self) -> &'static str {
        ["w1", "w2", "w3"][usize::try_from(self.below(3)).unwrap()]
    }

    /// Goods come in, which nobody may sell before they are counted.
    fn arrive(&mut self) {
        let (warehouse, qty) = (self.warehouse(), self.below(8));
        *self.lies.entry(warehouse).or_default() += qty;
    }

    async fn count(&mut self) {
        let warehouse = self.warehouse();
        let on_hand = self.lies.get(warehouse).copied().unwrap_or(0);
        let version = i64::try_from(self.turn).unwrap();
        let mut batch = count(&format!("b{version}"), warehouse, on_hand, version);
        batch["counted_at"] = json!(jiff::Timestamp::now().to_string());
        self.late.push(batch);
        self.deliver().await;
    }

    /// A count arrives, in whatever order they were made; or none does.
    async fn deliver(&mut self) {
        let limit = i64::try_from(self.late.len()).unwrap() + 1;
        let place = usize::try_from(self.below(limit)).unwrap();
        if place < self.late.len() {
            let batch = self.late.swap_remove(place);
            sync(&self.shop, &batch).await;
        }
    }

    async fn order(&mut self) {
        let (order, qty) = (format!("o{}", self.turn), self.below(4) + 1);
        let line = json!({ "sku": 1, "qty": qty, "channel": self.below(2) * 7 });
        let body = json!({ "order": order, "lines": [line] });
        if self.shop.act("deduct", step(self.turn, "take"), &body).await.0 == 200 {
            self.taken.push((order, qty));
        }
    }

    /// Moves stock from the store to a channel.
    async fn hand_over(&mut self) {
        let (number, qty) = (format!("m{}", self.turn), self.below(3) + 1);
        let (usable, _) = self.default().await;
        let qty = qty.min(usable);
        let lines = json!([{"sku": 1, "delta": -qty}, {"sku": 1, "channel": 7, "delta": qty}]);
        self.shop.post("/adjust", &json!({ "adjust_no": number, "lines": lines })).await;
    }

    /// An order leaves from wherever there is any, or is called off.
    async fn finish(&mut self) {
        if self.taken.is_empty() {
            return;
        }
        let limit = i64::try_from(self.taken.len()).unwrap();
        let place = usize::try_from(self.below(limit)).unwrap();
        let (order, mut qty) = self.taken.swap_remove(place);
        let operation = if self.below(4) == 0 { "restore" } else { "ship" };
        let (status, answer) =
            self.shop.act(operation, step(self.turn, "end"), &json!({ "order": order })).await;
        assert_eq!(status, 200, "{answer}");
        while operation == "ship" && qty > 0 {
            let warehouse = self.warehouse();
            let lies = self.lies.entry(warehouse).or_default();
            let leaves = qty.min(*lies);
            (*lies, qty) = (*lies - leaves, qty - leaves);
        }
    }

    async fn default(&self) -> (i64, i64) {
        let (_, page) = self.shop.get("/stock?sku=1&by=record").await;
        let of_store = page["items"].as_array().unwrap().iter().find(|item| item["channel"] == 0);
        let member = |name: &str| of_store.map_or(0, |item| item[name].as_i64().unwrap());
        (member("usable"), member("held"))
    }

    async fn check(&self, deed: i64) {
        let (_, page) = self.shop.get("/stock?sku=1").await;
        let member = |name: &str| page["items"][0][name].as_i64().unwrap_or(0);
        let (sold, lies) = (member("usable") + member("held"), self.lies.values().sum::<i64>());
        assert!(
            sold <= lies,
            "seed {}, turn {}: {sold} on sale or sold, {lies} lie there, after {deed}",
            self.seed,
            self.turn
        );
    }
}

#[tokio::test]
async fn y1_applied_stock_never_sells_more_than_lies_there() {
    for seed in 1..=8 {
        let shop = Shop::open(&[]).await;
        let (random, lies) = (Random(seed * 0x9e37_79b9), BTreeMap::new());
        let mut world = World { shop, random, seed, lies, turn: 0, late: Vec::new(), taken: Vec::new() };
        for turn in 1..=120 {
            world.turn = turn;
            let deed = world.below(11);
            match deed {
                0..=1 => world.arrive(),
                2..=3 => world.count().await,
                4..=6 => world.order().await,
                7 => world.hand_over().await,
                8 => world.deliver().await,
                _ => world.finish().await,
            }
            world.check(deed).await;
        }
        assert!(world.default().await != (0, 0) || !world.taken.is_empty(), "seed {seed} sold something");
        world.shop.assert_sound().await;
    }
}
