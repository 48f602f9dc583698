//! The catalogue as a coordinator meets it: over the router, on a database file.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;
use uuid::Uuid;

use super::*;

/// A catalogue on a file of its own.
struct Shop {
    product: Product,
    folder: TempDir,
}

async fn shop() -> Shop {
    let folder = TempDir::new().expect("a folder");
    let config = Config::new(format!("sqlite:{}", folder.path().join("product.db").display()));
    let shop = Shop { product: open(config).await.expect("it opens"), folder };
    let items = json!({ "items": [
        { "sku": 1, "name": "mug", "price_minor": 250 },
        { "sku": 2, "name": "spoon", "price_minor": 100, "status": "off_sale" },
        { "sku": 3, "name": "fork", "price_minor": 100, "version": 7 },
    ] });
    assert_eq!(shop.send(Method::PUT, "/catalogue", items).await, (200, json!({ "items": 3, "written": 3 })));
    shop
}

impl Shop {
    async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("saga-id", Uuid::from_u128(1).to_string())
            .header("saga-step", "quote")
            .header("saga-op", "action")
            .header("saga-attempt", 1)
            .header("idempotency-key", "k")
            .body(Body::from(text))
            .expect("a request");
        let response = self.product.router().oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 24).await.expect("a body");
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn quote(&self, body: Value) -> (u16, Value) {
        self.send(Method::POST, "/quote", body).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path, Value::Null).await
    }
}

#[tokio::test]
async fn a_cart_is_priced_as_a_whole() {
    let shop = shop().await;
    let (status, quote) =
        shop.quote(json!({ "lines": [{ "sku": 3, "qty": 1 }, { "sku": 1, "qty": 4 }] })).await;
    assert_eq!(status, 200, "{quote}");
    assert_eq!(
        (&quote["total_minor"], &quote["total"], &quote["currency"]),
        (&json!(1100), &json!(1100), &json!("EUR"))
    );
    assert_eq!(
        quote["lines"][0],
        json!({ "sku": 1, "qty": 4, "price_minor": 250, "amount_minor": 1000, "name": "mug", "price_version": 1 })
    );
    assert!(quote["as_of"].as_str().is_some_and(|text| text.ends_with('Z')), "{quote}");
}

#[tokio::test]
async fn a_cart_that_cannot_be_bought_is_refused_line_by_line() {
    let shop = shop().await;
    let lines = [1, 2, 99].map(|sku| json!({ "sku": sku, "qty": 1 }));
    let (status, refused) = shop.quote(json!({ "lines": lines })).await;
    assert_eq!(status, 409);
    assert_eq!(
        refused,
        json!({
            "message": "2 of 3 lines cannot be bought",
            "lines": [{ "sku": 2, "qty": 1, "reason": "off_sale" }, { "sku": 99, "qty": 1, "reason": "unknown" }],
        })
    );
}

#[tokio::test]
async fn a_body_that_does_not_fit_names_the_place() {
    let shop = shop().await;
    for qty in [json!(0), json!(-1), json!(2.5), json!("3"), json!(1_000_001)] {
        let (status, problem) = shop.quote(json!({ "lines": [{ "sku": 1, "qty": qty }] })).await;
        assert_eq!((status, &problem["errors"][0]["path"]), (422, &json!("/lines/0/qty")), "{problem}");
    }
    assert_eq!(shop.quote(json!({ "lines": [] })).await.0, 422);
    assert_eq!(shop.quote(json!({ "lines": vec![json!({ "sku": 1, "qty": 1 }); 1001] })).await.0, 422);
    let (status, problem) = shop.send(Method::PUT, "/catalogue", json!({ "items": [{ "sku": 1 }] })).await;
    assert_eq!((status, &problem["errors"][0]["path"]), (422, &json!("/items/0/name")), "{problem}");
}

#[tokio::test]
async fn a_cart_of_a_thousand_lines_is_priced() {
    let shop = shop().await;
    let items: Vec<Value> =
        (1001..=2000).map(|sku| json!({ "sku": sku, "name": format!("n{sku}"), "price_minor": 2 })).collect();
    assert_eq!(shop.send(Method::PUT, "/catalogue", json!({ "items": items })).await.1["written"], 1000);
    let lines: Vec<Value> = (1001..=2000).map(|sku| json!({ "sku": sku, "qty": 3 })).collect();
    let (status, quote) = shop.quote(json!({ "lines": lines })).await;
    assert_eq!((status, &quote["total_minor"]), (200, &json!(6000)));
}

#[tokio::test]
async fn a_batch_answers_each_quote_in_its_place() {
    let shop = shop().await;
    let call = |number: u128, sku: i64| {
        json!({ "saga": Uuid::from_u128(number), "step": "quote", "op": "action", "attempt": 1, "key": "k",
                "body": { "lines": [{ "sku": sku, "qty": number }] } })
    };
    let calls: Vec<Value> = (1..=64).map(|number| call(number, [1, 3, 99][number as usize % 3])).collect();
    let (status, answer) = shop.send(Method::POST, "/quote/batch", json!({ "calls": calls })).await;
    assert_eq!(status, 200, "{answer}");
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), 64);
    for (number, result) in (1..).zip(results) {
        let expected =
            [(200, json!(250 * number)), (200, json!(100 * number)), (409, Value::Null)][number % 3].clone();
        let total = result["body"].get("total").cloned().unwrap_or_default();
        assert_eq!((result["status"].as_u64(), total), (Some(expected.0), expected.1), "call {number}");
    }
}

#[tokio::test]
async fn quotes_at_once_share_their_queries_and_get_their_own_answers() {
    let shop = std::sync::Arc::new(shop().await);
    let mut tasks = tokio::task::JoinSet::new();
    for qty in 1..=500i64 {
        let shop = shop.clone();
        tasks.spawn(async move { (qty, shop.quote(json!({ "lines": [{ "sku": 1, "qty": qty }] })).await) });
    }
    while let Some(done) = tasks.join_next().await {
        let (qty, (status, quote)) = done.expect("no panic");
        assert_eq!((status, &quote["total"]), (200, &json!(250 * qty)));
    }
}

#[tokio::test]
async fn p2_a_new_price_is_in_the_next_quote_and_an_old_one_never() {
    let shop = shop().await;
    let load = |price: i64, version: i64| json!({ "items": [{ "sku": 3, "name": "fork", "price_minor": price, "version": version }] });
    let price = async || shop.quote(json!({ "lines": [{ "sku": 3, "qty": 1 }] })).await.1["total"].clone();
    assert_eq!(shop.send(Method::PUT, "/catalogue", load(1, 6)).await.1["written"], 0);
    assert_eq!(price().await, 100);
    assert_eq!(shop.send(Method::PUT, "/catalogue", load(200, 8)).await.1["written"], 1);
    assert_eq!(price().await, 200);
}

#[tokio::test]
async fn prices_are_versioned_and_a_customer_is_told_when_the_one_he_saw_has_changed() {
    let shop = shop().await;
    let load = async |name: &str, price: i64, version: i64| {
        let item = json!({ "sku": 3, "name": name, "price_minor": price, "version": version });
        shop.send(Method::PUT, "/catalogue", json!({ "items": [item] })).await.1["written"].clone()
    };
    let quote = async |version: i64| {
        shop.quote(json!({ "lines": [{ "sku": 3, "qty": 1, "price_version": version }] })).await
    };
    assert_eq!(quote(7).await.0, 200);
    // Another name is no other price.
    assert_eq!(load("salad fork", 100, 8).await, 1);
    let (status, answer) = quote(7).await;
    assert_eq!((status, &answer["lines"][0]["name"]), (200, &json!("salad fork")));
    assert_eq!(load("salad fork", 120, 9).await, 1);
    let (status, refused) = quote(7).await;
    let line =
        json!({ "sku": 3, "qty": 1, "reason": "price_changed", "price_minor": 120, "price_version": 9 });
    assert_eq!((status, &refused["lines"][0]), (409, &line));
    assert_eq!(quote(9).await.1["total"], 120);
    let (_, history) = shop.get("/products/3/prices").await;
    let prices: Vec<_> = history["items"].as_array().expect("a list").iter().collect();
    assert_eq!(
        prices.iter().map(|price| (&price["price_version"], &price["price_minor"])).collect::<Vec<_>>(),
        [(&json!(9), &json!(120)), (&json!(7), &json!(100))]
    );
    assert_eq!(shop.get("/products/3/prices?limit=1").await.1["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        (shop.get("/products/99/prices").await.0, shop.get("/products/3/prices?limit=0").await.0),
        (404, 400)
    );
    assert_eq!(shop.get("/audit").await.1["kept"], true);
}

#[tokio::test]
async fn p1_quotes_are_answered_from_the_cache_and_the_figures_say_so() {
    let shop = shop().await;
    for _ in 0..3 {
        assert_eq!(
            shop.quote(json!({ "lines": [{ "sku": 1, "qty": 1 }, { "sku": 99, "qty": 1 }] })).await.0,
            409
        );
    }
    let request = Request::get("/metrics").body(Body::empty()).expect("a request");
    let response = shop.product.router().oneshot(request).await.expect("infallible");
    let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    for line in ["{outcome=\"hit\"} 4", "{outcome=\"missed\"} 2", "{outcome=\"unknown\"} 1"] {
        assert!(text.contains(&format!("amends_product_cache_total{line}\n")), "{line}:\n{text}");
    }
    assert!(!text.contains("feed"), "nothing is followed:\n{text}");
}

#[tokio::test]
async fn products_are_shown_and_listed() {
    let shop = shop().await;
    let said = json!({ "items": [{ "sku": 1, "usable": 0, "seq": 5 }] });
    assert_eq!(shop.send(Method::PUT, "/availability", said).await.1["written"], 1);
    let (status, product) = shop.get("/products/1").await;
    assert_eq!((status, &product["name"], &product["status"]), (200, &json!("mug"), &json!("on_sale")));
    assert_eq!(product["availability"], json!({ "usable": 0, "state": "sold_out", "seq": 5 }));
    for unknown in ["/products/99", "/products/x", "/products/99999999999999999999"] {
        assert_eq!(shop.get(unknown).await.0, 404, "{unknown}");
    }
    let (_, page) = shop.get("/products?after=1&limit=1").await;
    assert_eq!((&page["items"][0]["sku"], &page["next"]), (&json!(2), &json!("2")));
    for bad in ["/products?limit=0", "/products?limit=501", "/products?after=x", "/products?sideways=1"] {
        assert_eq!(shop.get(bad).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn the_audit_counts_the_catalogue_and_finds_it_in_order() {
    let shop = shop().await;
    let (status, found) = shop.get("/audit").await;
    assert_eq!((status, &found["kept"]), (200, &json!(true)), "{found}");
    assert_eq!(found["totals"]["by_status"], json!({ "off_sale": 1, "on_sale": 2 }));
}

#[tokio::test]
async fn the_registration_says_that_a_quote_needs_no_barrier() {
    let registration = shop().await.product.participant().registration("http://127.0.0.1:7103");
    let registration = serde_json::to_value(registration).expect("JSON");
    assert_eq!(registration["operations"]["quote"]["barrier"], false);
    assert_eq!(registration["operations"]["quote"]["batch"]["max"], 64);
}

#[tokio::test]
async fn no_saga_has_an_effect_here_and_broken_rows_are_told() {
    use sqlx::Connection;
    let shop = shop().await;
    shop.quote(json!({ "lines": [{ "sku": 1, "qty": 1 }] })).await;
    let nothing = json!({ "effects": [], "findings": [], "next": null });
    assert_eq!(shop.get("/saga-audit?since=0&limit=10").await, (200, nothing));
    assert_eq!(shop.get("/saga-audit?cursor=x").await.0, 400);
    let file = format!("sqlite:{}", shop.folder.path().join("product.db").display());
    let mut rows = sqlx::SqliteConnection::connect(&file).await.expect("it opens");
    let broken =
        "pragma ignore_check_constraints = on; update product_sku set price_minor = -1 where sku_id = 3";
    sqlx::raw_sql(broken).execute(&mut rows).await.expect("it is written");
    let (_, page) = shop.get("/saga-audit").await;
    let finding = &page["findings"][0];
    assert_eq!(finding["name"], "every_sku_has_a_price", "{page}");
    assert_eq!(finding["detail"], json!({ "sku": 3, "price_minor": -1, "currency": "EUR" }));
}
