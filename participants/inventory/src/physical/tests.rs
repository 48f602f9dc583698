//! Counts of warehouses, as they arrive: late, twice and cut off.

use serde_json::{Value, json};

use crate::tests::{Shop, cart, step};

/// A batch of `(sku, on_hand, damaged, version)`.
fn batch(number: &str, rows: &[(i64, i64, i64, i64)]) -> Value {
    let row = |(sku, on_hand, damaged, version): &(i64, i64, i64, i64)| json!({ "sku": sku, "on_hand": on_hand, "damaged": damaged, "version": version });
    json!({ "batch_no": number, "source": "wms", "warehouse": "w1", "rows": rows.iter().map(row).collect::<Vec<_>>() })
}

fn with(mut batch: Value, members: Value) -> Value {
    batch.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    batch
}

/// Every SKU of a warehouse with how many lie there and the version of the count.
async fn lying(shop: &Shop, warehouse: &str) -> Vec<(i64, i64, i64)> {
    let (_, page) = shop.get(&format!("/physical?warehouse={warehouse}")).await;
    let item = |item: &Value| {
        let member = |name: &str| item[name].as_i64().unwrap();
        (member("sku"), member("on_hand"), member("version"))
    };
    page["items"].as_array().unwrap().iter().map(item).collect()
}

#[tokio::test]
async fn y1_counts_are_taken_once_and_only_when_they_are_newer() {
    let shop = Shop::open(&[]).await;
    let first = batch("b1", &[(1, 10, 1, 5), (2, 20, 0, 5)]);
    let (status, answer) = shop.post("/physical/sync", &first).await;
    assert_eq!((status, &answer), (201, &json!({"batch_no": "b1", "rows": 2, "applied": 2})));
    assert_eq!(shop.post("/physical/sync", &first).await, (200, answer));
    assert_eq!(shop.post("/physical/sync", &batch("b1", &[(1, 11, 0, 9)])).await.0, 409);
    // An older count, and the same again, change nothing; a newer one does.
    let (_, answer) = shop.post("/physical/sync", &batch("b2", &[(1, 99, 0, 4), (2, 99, 0, 5)])).await;
    assert_eq!(answer["applied"], 0);
    let (_, answer) =
        shop.post("/physical/sync", &batch("b3", &[(1, 7, 0, 6), (2, 99, 0, 3), (3, 1, 0, 1)])).await;
    assert_eq!(answer["applied"], 2);
    assert_eq!(lying(&shop, "w1").await, [(1, 7, 6), (2, 20, 5), (3, 1, 1)]);
    let elsewhere = with(batch("b4", &[(1, 3, 0, 1)]), json!({"warehouse": "w2"}));
    assert_eq!(shop.post("/physical/sync", &elsewhere).await.0, 201);
    let (_, page) = shop.get("/physical?sku=1").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert_eq!((lying(&shop, "w1").await.len(), lying(&shop, "w2").await), (3, vec![(1, 3, 1)]));
    // Without being asked for, nothing of it is sold.
    assert_eq!(shop.audit().await.totals.inbound, 0);
}

#[tokio::test]
async fn y1_a_full_count_clears_what_it_does_not_name_and_is_refused_when_it_looks_cut_off() {
    let shop = Shop::open(&[]).await;
    let full = |batch| with(batch, json!({"mode": "full"}));
    let rows: Vec<_> = (1..=5).map(|sku| (sku, 10, 0, 1)).collect();
    assert_eq!(shop.post("/physical/sync", &full(batch("b1", &rows))).await.0, 201);
    let (status, answer) =
        shop.post("/physical/sync", &full(batch("b2", &[(1, 9, 0, 2), (2, 9, 0, 2)]))).await;
    assert_eq!(status, 409, "{answer}");
    assert_eq!(lying(&shop, "w1").await.iter().filter(|row| row.1 == 10).count(), 5);
    // A newer count of SKU 5 came before: the full one is from an earlier moment.
    shop.post("/physical/sync", &batch("b3", &[(5, 77, 0, 9)])).await;
    let three = full(batch("b4", &[(1, 9, 0, 2), (2, 9, 0, 2), (3, 9, 0, 2)]));
    let (status, answer) = shop.post("/physical/sync", &three).await;
    assert_eq!((status, &answer["applied"]), (201, &json!(4)));
    assert_eq!(lying(&shop, "w1").await, [(1, 9, 2), (2, 9, 2), (3, 9, 2), (4, 0, 2), (5, 77, 9)]);
}

#[tokio::test]
async fn y1_sellable_stock_is_brought_to_what_lies_there_less_what_is_spoken_for() {
    let shop = Shop::open(&[(1, 10), (2, 5)]).await;
    shop.act("hold", step(1, "hold"), &cart("a", &[(1, 4)])).await;
    let activity = json!({"activity": 9, "name": "sale", "starts_at": "2020-01-01T00:00:00Z", "ends_at": "2999-01-01T00:00:00Z"});
    shop.post("/activities", &activity).await;
    let special = json!({"activity": 9, "lines": [{"sku": 1, "qty": 2}]});
    assert_eq!(shop.act("activity_allocate", step(2, "stock"), &special).await.0, 200);
    assert_eq!(shop.stock(1).await, (4, 4));
    let apply = |batch| with(batch, json!({"apply": true}));
    // 20 on hand, 3 damaged, 4 held, 2 in the activity: 11 can be sold. Of SKU 3 nothing was known here.
    let body = apply(batch("b1", &[(1, 20, 3, 1), (3, 8, 0, 1)]));
    let (status, answer) = shop.post("/physical/sync", &body).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(
        answer["lines"],
        json!([{"sku": 1, "delta": 7, "usable": 11}, {"sku": 3, "delta": 8, "usable": 8}])
    );
    assert_eq!((shop.stock(1).await, shop.stock(2).await, shop.stock(3).await), ((11, 4), (5, 0), (8, 0)));
    assert_eq!(shop.post("/physical/sync", &body).await.0, 200);
    assert_eq!(shop.stock(1).await, (11, 4));
    // Less lies there than is spoken for: nothing is left to sell, and what is held stays held.
    let (_, answer) = shop.post("/physical/sync", &apply(batch("b2", &[(1, 5, 0, 2)]))).await;
    assert_eq!(answer["lines"][0]["usable"], 0);
    assert_eq!(shop.stock(1).await, (0, 4));
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_batch_that_does_not_fit_is_a_problem_with_a_path() {
    let shop = Shop::open(&[]).await;
    let good = batch("b1", &[(1, 10, 0, 1)]);
    for (change, path) in [
        (json!({"batch_no": ""}), "/batch_no"),
        (json!({"warehouse": "*"}), "/warehouse"),
        (json!({"mode": "half"}), "/mode"),
        (json!({"apply": "yes"}), "/apply"),
        (json!({"counted_at": "yesterday"}), "/counted_at"),
        (json!({"rows": []}), "/rows"),
        (json!({"rows": [{"sku": 1, "on_hand": 1, "damaged": 2, "version": 1}]}), "/rows/0/damaged"),
        (json!({"rows": [{"sku": 1, "on_hand": -1, "version": 1}]}), "/rows/0/on_hand"),
        (json!({"rows": [{"sku": 1, "on_hand": 1}]}), "/rows/0/version"),
    ] {
        let (status, answer) = shop.post("/physical/sync", &with(good.clone(), change)).await;
        assert_eq!((status, &answer["errors"][0]["path"]), (422, &json!(path)), "{answer}");
    }
    for address in ["/physical", "/physical?sku=1&warehouse=w1", "/physical?warehouse=w1&limit=0"] {
        assert_eq!(shop.get(address).await.0, 400, "{address}");
    }
}
