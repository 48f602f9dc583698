//! Changes that hold only while nobody else has changed anything.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::tests::{Shop, cart, step};

/// The version of a SKU's only record.
async fn version(shop: &Shop, sku: i64) -> i64 {
    let (status, page) = shop.get(&format!("/stock?sku={sku}&by=record")).await;
    assert_eq!((status, page["items"].as_array().unwrap().len()), (200, 1), "{page}");
    page["items"][0]["version"].as_i64().unwrap()
}

fn count(number: &str, lines: Value) -> Value {
    json!({ "adjust_no": number, "lines": lines })
}

#[tokio::test]
async fn c4_a_change_made_under_a_version_that_has_passed_does_nothing_and_is_told_the_present_one() {
    let shop = Shop::open(&[(1, 10), (2, 10)]).await;
    let seen = version(&shop, 1).await;
    let (one, two) = (version(&shop, 1).await, version(&shop, 2).await);
    let good = count(
        "c-1",
        json!([{"sku": 1, "delta": -1, "if_version": one}, {"sku": 2, "delta": 1, "if_version": two}]),
    );
    let (status, answer) = shop.post("/adjust", &good).await;
    assert_eq!(status, 201, "{answer}");
    // The same again under its number is answered as it was, although the version has passed.
    assert_eq!(shop.post("/adjust", &good).await, (200, answer));
    // Of a count with one line that has passed nothing is done, whoever changed the stock: here a sale.
    let now = version(&shop, 2).await;
    shop.act("hold", step(1, "hold"), &cart("a", &[(1, 2)])).await;
    let late = count(
        "c-2",
        json!([{"sku": 1, "delta": -1, "if_version": seen}, {"sku": 2, "delta": 1, "if_version": now}]),
    );
    let (status, answer) = shop.post("/adjust", &late).await;
    let lines = json!([{"sku": 1, "if_version": seen, "version": version(&shop, 1).await}]);
    assert_eq!((status, &answer["lines"]), (409, &lines), "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("read it again"), "{answer}");
    assert_eq!((shop.stock(1).await, shop.stock(2).await), ((7, 2), (11, 0)));
    // With what was read anew it is done, under the number that was refused before.
    let anew = version(&shop, 1).await;
    let good = count(
        "c-2",
        json!([{"sku": 1, "delta": -1, "if_version": anew}, {"sku": 2, "delta": 1, "if_version": now}]),
    );
    assert_eq!(shop.post("/adjust", &good).await.0, 201);
    shop.assert_sound().await;
}

#[tokio::test]
async fn c4_deliveries_and_routes_have_the_same_lock() {
    let shop = Shop::open(&[(1, 10)]).await;
    let bring = |number: &str, lines: Value| json!({ "biz_no": number, "lines": lines });
    let late = bring("r-1", json!([{"sku": 1, "qty": 5, "if_version": 0}, {"sku": 9, "qty": 1}]));
    let (status, answer) = shop.post("/replenish", &late).await;
    assert_eq!((status, &answer["lines"][0]["version"]), (409, &json!(version(&shop, 1).await)), "{answer}");
    assert_eq!(shop.get("/stock?sku=9").await.1["items"], json!([]));
    // What is not kept here yet has version 0, and has it once.
    let first = bring("r-2", json!([{"sku": 9, "qty": 1, "if_version": 0}]));
    assert_eq!(shop.post("/replenish", &first).await.0, 201);
    assert_eq!(shop.post("/replenish", &first).await.0, 200);
    let second = bring("r-3", json!([{"sku": 9, "qty": 1, "if_version": 0}]));
    assert_eq!(shop.post("/replenish", &second).await.0, 409);
    assert_eq!(shop.post("/routes", &json!({"sku": 1, "mode": "row", "epoch": 1})).await.0, 200);
    let (status, answer) = shop.post("/routes", &json!({"sku": 1, "mode": "merged", "epoch": 1})).await;
    assert!(status == 409 && answer["detail"].as_str().unwrap().contains("its epoch is 2 now"), "{answer}");
    for (lines, path) in [
        (json!([{"sku": 1, "qty": 1, "if_version": -1}]), "/lines/0/if_version"),
        (json!([{"sku": 1, "qty": 1, "if_version": "2"}]), "/lines/0/if_version"),
        (
            json!([{"sku": 1, "qty": 1, "if_version": 1}, {"sku": 1, "qty": 1, "if_version": 2}]),
            "/lines/1/if_version",
        ),
    ] {
        let (status, answer) = shop.post("/replenish", &bring("r-9", lines)).await;
        assert_eq!((status, &answer["errors"][0]["path"]), (422, &json!(path)), "{answer}");
    }
    shop.assert_sound().await;
}

#[tokio::test]
async fn c4_of_many_who_saw_the_same_version_exactly_one_changes_it() {
    let shop = Arc::new(Shop::open(&[(1, 10)]).await);
    for round in 0..10 {
        let seen = version(&shop, 1).await;
        let mut counters = tokio::task::JoinSet::new();
        for counter in 0..8 {
            let shop = Arc::clone(&shop);
            counters.spawn(async move {
                let lines = json!([{"sku": 1, "delta": 1, "if_version": seen}]);
                shop.post("/adjust", &count(&format!("{round}-{counter}"), lines)).await.0
            });
        }
        let answers = counters.join_all().await;
        assert_eq!(answers.iter().filter(|status| **status == 201).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|status| **status == 409).count(), 7, "{answers:?}");
    }
    assert_eq!(shop.stock(1).await, (20, 0));
    shop.assert_sound().await;
}

#[tokio::test]
async fn records_of_a_sku_are_told_apart() {
    let shop = Shop::open(&[(1, 10)]).await;
    let lines = json!([{"sku": 1, "qty": 3, "warehouse": "w1"}, {"sku": 1, "qty": 2, "level": 2, "channel": 7},
        {"sku": 1, "qty": 5, "activity": 9}]);
    assert_eq!(shop.post("/replenish", &json!({"biz_no": "r", "lines": lines})).await.0, 201);
    shop.post("/routes", &json!({"sku": 1, "warehouse": "w1", "mode": "row"})).await;
    shop.post("/safety", &json!({"lines": [{"sku": 1, "safety": 4}]})).await;
    shop.post("/thresholds", &json!({"lines": [{"sku": 1, "low": 6}]})).await;
    let (status, page) = shop.get("/stock?sku=1&by=record").await;
    let items = page["items"].as_array().unwrap();
    let told: Vec<_> = items
        .iter()
        .map(|item| {
            json!([item["warehouse"], item["level"], item["channel"], item["activity"], item["usable"]])
        })
        .collect();
    let expected = [
        json!(["*", 1, 0, 0, 10]),
        json!(["w1", 1, 0, 0, 3]),
        json!(["*", 2, 7, 0, 2]),
        json!(["*", 1, 0, 9, 5]),
    ];
    assert_eq!((status, told.len()), (200, 4));
    assert!(expected.iter().all(|one| told.contains(one)), "{page}");
    assert_eq!(
        items[0],
        json!({"sku": 1, "dept": "*", "warehouse": "*", "level": 1, "channel": 0, "activity": 0, "usable": 10, "held": 0,
            "shipped": 0, "inbound": 10, "safety": 4, "low": 6, "route": "merged", "epoch": 1, "version": 1})
    );
    let placed = items.iter().find(|item| item["warehouse"] == "w1").unwrap();
    assert_eq!((&placed["route"], &placed["epoch"]), (&json!("row"), &json!(2)));
    // Without it, a SKU is what it was: its ordinary records together.
    assert_eq!(shop.get("/stock?sku=1&by=sku").await.1["items"][0]["usable"], 15);
    for address in ["/stock?sku=1&by=shelf", "/stock?by=record"] {
        assert_eq!(shop.get(address).await.0, 400, "{address}");
    }
}
