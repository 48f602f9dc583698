//! Activities as their callers meet them.

use serde_json::{Value, json};

use crate::tests::{Shop, cart, step};

mod late;
mod shares;

const SALE: i64 = 11;

fn activity(limit: Option<i64>) -> Value {
    json!({
        "activity": SALE, "name": "double eleven", "starts_at": "2020-01-01T00:00:00Z",
        "ends_at": "2999-01-01T00:00:00Z", "per_user_limit": limit,
    })
}

async fn sale(stock: &[(i64, i64)], limit: Option<i64>) -> Shop {
    let shop = Shop::open(stock).await;
    assert_eq!(shop.post("/activities", &activity(limit)).await.0, 200);
    shop
}

fn lines(lines: &[(i64, i64)]) -> Value {
    let lines: Vec<_> = lines.iter().map(|(sku, qty)| json!({ "sku": sku, "qty": qty })).collect();
    json!({ "activity": SALE, "lines": lines })
}

/// Usable and held of an activity's SKU.
async fn special(shop: &Shop, sku: i64) -> Option<(i64, i64)> {
    let (_, body) = shop.get(&format!("/activities/{SALE}")).await;
    let line = body["lines"].as_array().unwrap().iter().find(|line| line["sku"] == sku)?.clone();
    Some((line["usable"].as_i64().unwrap(), line["held"].as_i64().unwrap()))
}

#[tokio::test]
async fn t1_activity_stock_is_asked_for_by_itself() {
    let shop = sale(&[(1, 10), (2, 10)], None).await;
    let body = lines(&[(1, 4), (2, 1)]);
    let (status, answer) = shop.act("activity_allocate", step(1, "stock"), &body).await;
    assert_eq!((status, &answer["lines"]), (200, &body["lines"]));
    assert_eq!(shop.stock(1).await, (6, 0));
    assert_eq!(special(&shop, 1).await, Some((4, 0)));
    // A repeat moves nothing.
    assert_eq!(shop.act("activity_allocate", step(1, "stock"), &body).await, (200, answer));
    assert_eq!((shop.stock(1).await, special(&shop, 1).await), ((6, 0), Some((4, 0))));
    let (_, page) = shop.get("/activities?limit=1").await;
    assert_eq!((&page["items"][0]["name"], &page["next"]), (&json!("double eleven"), &json!("11")));
    let (_, page) = shop.get("/activities?after=11").await;
    assert_eq!(page["items"], json!([]));
    assert_eq!(shop.get("/activities/404").await.0, 404);
    shop.assert_sound().await;
}

#[tokio::test]
async fn t7_what_an_activity_sells_never_touches_ordinary_stock() {
    let shop = sale(&[(1, 10)], None).await;
    shop.act("activity_allocate", step(1, "stock"), &lines(&[(1, 4)])).await;
    let order =
        |order: &str, qty: i64| json!({"order": order, "lines": [{"sku": 1, "qty": qty, "activity": SALE}]});
    shop.share(2, SALE, 3).await;
    shop.share(3, SALE, 2).await;
    assert_eq!(shop.act("hold", step(2, "reserve"), &order("a", 3)).await.0, 200);
    assert_eq!(shop.act("hold", step(3, "reserve"), &order("b", 2)).await.0, 409);
    assert_eq!((shop.stock(1).await, special(&shop, 1).await), ((6, 0), Some((1, 3))));
    assert_eq!(shop.act("hold", step(4, "reserve"), &cart("c", &[(1, 6)])).await.0, 200);
    assert_eq!((shop.stock(1).await, special(&shop, 1).await), ((0, 6), Some((1, 3))));
    shop.assert_sound().await;
}

#[tokio::test]
async fn allocate_and_return_undo_each_other_and_only_what_their_step_did() {
    let shop = sale(&[(1, 10), (2, 10)], None).await;
    let body = lines(&[(1, 4), (2, 2)]);
    assert_eq!(shop.act("activity_allocate", step(1, "stock"), &body).await.0, 200);
    assert_eq!(shop.act("activity_allocate", step(2, "stock"), &lines(&[(1, 1)])).await.0, 200);
    for _ in 0..2 {
        // The body of a compensation does not say how much.
        let (status, answer) =
            shop.undo("activity_return", step(1, "stock"), &json!({"activity": SALE})).await;
        assert_eq!((status, &answer["lines"]), (200, &body["lines"]));
        assert_eq!((shop.stock(1).await, special(&shop, 1).await), ((9, 0), Some((1, 0))));
    }
    assert_eq!(shop.act("activity_return", step(3, "rest"), &json!({"activity": SALE})).await.0, 200);
    assert_eq!((shop.stock(1).await, special(&shop, 1).await), ((10, 0), Some((0, 0))));
    let (status, answer) = shop.undo("activity_allocate", step(3, "rest"), &json!({"activity": SALE})).await;
    assert_eq!((status, &answer["lines"]), (200, &json!([{"sku": 1, "qty": 1}])));
    assert_eq!((shop.stock(1).await, special(&shop, 1).await), ((9, 0), Some((1, 0))));
    // An undoing that comes first bars its action.
    assert_eq!(shop.undo("activity_return", step(4, "stock"), &body).await.0, 200);
    assert_eq!(shop.act("activity_allocate", step(4, "stock"), &body).await.0, 409);
    let (_, page) = shop.get("/saga-audit?since=0").await;
    assert_eq!(page["findings"], json!([]), "{page}");
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_transfer_moves_every_line_or_none() {
    let shop = sale(&[(1, 10), (2, 1)], None).await;
    let body = lines(&[(1, 4), (2, 2), (404, 1)]);
    let (status, answer) = shop.act("activity_allocate", step(1, "stock"), &body).await;
    let short = json!([
        {"sku": 2, "wanted": 2, "available": 1}, {"sku": 404, "wanted": 1, "available": 0, "unknown": true},
    ]);
    assert_eq!((status, &answer["lines"]), (409, &short), "{answer}");
    assert_eq!((shop.stock(1).await, special(&shop, 1).await), ((10, 0), None));
    let nothing = json!({"activity": SALE});
    assert_eq!(shop.act("activity_return", step(2, "rest"), &nothing).await.0, 409);
    assert_eq!(shop.act("activity_allocate", step(3, "stock"), &nothing).await.0, 422);
    let other = json!({"activity": 404, "lines": [{"sku": 1, "qty": 1}]});
    assert_eq!(shop.act("activity_allocate", step(4, "stock"), &other).await.0, 409);
    shop.assert_sound().await;
}

#[tokio::test]
async fn what_is_sold_stands_in_the_way_of_undoing_an_allocation() {
    let shop = sale(&[(1, 10)], None).await;
    let body = lines(&[(1, 4)]);
    shop.act("activity_allocate", step(1, "stock"), &body).await;
    let order = json!({"order": "a", "lines": [{"sku": 1, "qty": 1, "activity": SALE}]});
    shop.share(2, SALE, 1).await;
    shop.act("hold", step(2, "reserve"), &order).await;
    let (status, answer) = shop.undo("activity_return", step(1, "stock"), &body).await;
    assert_eq!((status, &answer["lines"][0]["available"]), (409, &json!(3)));
    assert_eq!((shop.stock(1).await, special(&shop, 1).await), ((6, 0), Some((3, 1))));
    // Once the order is called off it can be undone.
    assert_eq!(shop.undo("release", step(2, "reserve"), &order).await.0, 200);
    assert_eq!(shop.undo("activity_return", step(1, "stock"), &body).await.0, 200);
    assert_eq!((shop.stock(1).await, special(&shop, 1).await), ((10, 0), Some((0, 0))));
    shop.assert_sound().await;
}

fn takes(user: &str, qty: i64) -> Value {
    json!({ "activity": SALE, "user": user, "qty": qty })
}

async fn bought(shop: &Shop, user: &str) -> i64 {
    let (_, body) = shop.get(&format!("/activities/{SALE}/users/{user}")).await;
    body["bought"].as_i64().unwrap()
}

#[tokio::test]
async fn a_hundred_calls_at_once_never_exceed_a_customers_limit() {
    let shop = std::sync::Arc::new(sale(&[], Some(5)).await);
    let mut calls = tokio::task::JoinSet::new();
    for saga in 1..=100u128 {
        let shop = std::sync::Arc::clone(&shop);
        calls.spawn(async move {
            let qty = i64::try_from(saga % 2).unwrap() + 1;
            let (status, _) = shop.act("quota_take", step(saga, "quota"), &takes("ada", qty)).await;
            if status == 200 { qty } else { 0 }
        });
    }
    let taken: i64 = calls.join_all().await.into_iter().sum();
    assert!((4..=5).contains(&taken), "{taken}");
    assert_eq!(bought(&shop, "ada").await, taken);
    assert_eq!(bought(&shop, "grace").await, 0);
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_quota_is_returned_once_and_what_was_returned_can_be_taken_again() {
    let shop = sale(&[], Some(3)).await;
    assert_eq!(shop.act("quota_take", step(1, "quota"), &takes("ada", 2)).await.0, 200);
    assert_eq!(shop.act("quota_take", step(1, "quota"), &takes("ada", 2)).await.0, 200);
    let (status, answer) = shop.act("quota_take", step(2, "quota"), &takes("ada", 2)).await;
    assert_eq!((status, &answer["bought"], &answer["limit"]), (409, &json!(2), &json!(3)), "{answer}");
    for _ in 0..2 {
        assert_eq!(shop.undo("quota_return", step(1, "quota"), &takes("ada", 2)).await.0, 200);
        assert_eq!(bought(&shop, "ada").await, 0);
    }
    assert_eq!(shop.undo("quota_return", step(2, "quota"), &takes("ada", 2)).await.0, 200);
    assert_eq!(shop.act("quota_take", step(3, "quota"), &takes("ada", 3)).await.0, 200);
    // A refund of a part gives a part back, and undoing that takes it again.
    assert_eq!(shop.act("quota_return", step(4, "refund"), &takes("ada", 1)).await.0, 200);
    assert_eq!(bought(&shop, "ada").await, 2);
    assert_eq!(shop.act("quota_return", step(5, "refund"), &takes("ada", 3)).await.0, 409);
    assert_eq!(shop.undo("quota_take", step(4, "refund"), &takes("ada", 1)).await.0, 200);
    assert_eq!(bought(&shop, "ada").await, 3);
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_carts_lines_count_where_they_name_the_activity() {
    let shop = sale(&[], Some(5)).await;
    let body = json!({"activity": SALE, "user": "ada", "lines": [
        {"sku": 1, "qty": 2, "activity": SALE}, {"sku": 2, "qty": 9}, {"sku": 3, "qty": 1, "activity": SALE},
    ]});
    assert_eq!(shop.act("quota_take", step(1, "quota"), &body).await.0, 200);
    assert_eq!(bought(&shop, "ada").await, 3);
    let none = json!({"activity": SALE, "user": "ada", "lines": [{"sku": 2, "qty": 9}]});
    let (status, answer) = shop.act("quota_take", step(2, "quota"), &none).await;
    assert_eq!((status, &answer["errors"][0]["path"]), (422, &json!("/lines")));
}

#[tokio::test]
async fn an_activity_is_sold_only_in_its_time_and_while_it_is_open() {
    let shop = sale(&[(1, 10)], None).await;
    let cases = [
        (json!({"starts_at": "2998-01-01T00:00:00Z"}), 409, 200, "begins at"),
        (json!({"ends_at": "2020-02-01T00:00:00Z"}), 409, 409, "ended at"),
        (json!({"state": "closed"}), 409, 409, "is closed"),
        (json!({}), 200, 200, ""),
    ];
    for (saga, (change, takes_status, allocate_status, why)) in (1..).zip(cases) {
        let mut activity = activity(None);
        activity.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(shop.post("/activities", &activity).await.0, 200, "{activity}");
        let (status, answer) = shop.act("quota_take", step(saga, "quota"), &takes("ada", 1)).await;
        assert_eq!(status, takes_status, "{activity}");
        assert!(status == 200 || answer["message"].as_str().unwrap().contains(why), "{answer}");
        let (status, _) = shop.act("activity_allocate", step(saga, "stock"), &lines(&[(1, 1)])).await;
        assert_eq!(status, allocate_status, "{activity}");
    }
    shop.assert_sound().await;
}

#[tokio::test]
async fn an_activity_that_does_not_fit_is_a_problem_with_a_path() {
    let shop = Shop::open(&[]).await;
    for (change, path) in [
        (json!({"activity": 0}), "/activity"),
        (json!({"name": ""}), "/name"),
        (json!({"starts_at": "tomorrow"}), "/starts_at"),
        (json!({"ends_at": "2019-01-01T00:00:00Z"}), "/ends_at"),
        (json!({"per_user_limit": 0}), "/per_user_limit"),
        (json!({"state": "ajar"}), "/state"),
    ] {
        let mut activity = activity(None);
        activity.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, answer) = shop.post("/activities", &activity).await;
        assert_eq!((status, &answer["errors"][0]["path"]), (422, &json!(path)), "{answer}");
    }
    assert_eq!(shop.act("quota_take", step(1, "quota"), &takes("ada", 1)).await.0, 409);
}

#[tokio::test]
async fn what_is_changed_by_hand_breaks_the_law_that_names_it() {
    for (damage, law) in [
        (
            "update inv_flow set d_usable = d_usable + 1 where op = 11 and d_usable > 0",
            "a_transfer_adds_up_to_nothing",
        ),
        ("update inv_quota set bought = bought + 1", "quotas_are_what_was_moved"),
        ("update inv_quota_move set delta = -1 where undo = 1", "what_is_undone_is_the_opposite"),
    ] {
        let shop = sale(&[(1, 10)], Some(5)).await;
        shop.act("activity_allocate", step(1, "stock"), &lines(&[(1, 4)])).await;
        shop.act("quota_take", step(2, "quota"), &takes("ada", 2)).await;
        shop.undo("quota_return", step(2, "quota"), &takes("ada", 2)).await;
        shop.assert_sound().await;
        let options: sqlx::sqlite::SqliteConnectOptions = shop.store.parse().unwrap();
        let mut hand = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::query(damage).execute(&mut hand).await.unwrap();
        let audit = shop.audit().await;
        let broken: Vec<&str> = audit.invariants.iter().filter(|law| !law.kept).map(|law| law.name).collect();
        assert!(broken.contains(&law), "{damage}: {broken:?}");
    }
}
