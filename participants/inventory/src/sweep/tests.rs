//! Holds past their time, with a clock that is told what time it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::*;
use crate::tests::{Shop, Step, cart, step};

const MINUTE: i64 = 60_000;

/// An order service that answers as it is told, and remembers what it was asked.
#[derive(Debug, Clone, Default)]
struct Orders {
    fates: Arc<Mutex<BTreeMap<String, Fate>>>,
    asked: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Orders {
    fn set(&self, order: &str, fate: Fate) {
        self.fates.lock().unwrap().insert(order.into(), fate);
    }

    /// What was asked since the last time.
    fn asked(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

#[async_trait]
impl OrderService for Orders {
    async fn expire(&self, orders: &[&str]) -> Result<Vec<Fate>, AskError> {
        self.asked.lock().unwrap().push(orders.iter().map(|order| (*order).to_owned()).collect());
        let fates = self.fates.lock().unwrap();
        Ok(orders.iter().map(|order| fates.get(*order).copied().unwrap_or(Fate::Absent)).collect())
    }
}

/// Holds a cart and says when its time is up, as the books have it.
async fn hold(shop: &Shop, at: Step, body: &Value) -> i64 {
    let (status, answer) = shop.act("hold", at, body).await;
    assert_eq!(status, 200, "{answer}");
    answer["hold_until"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn sweep(shop: &Shop, orders: &Orders) -> Sweep<Orders> {
    Sweep::new(shop.writer(), shop.routes(), orders.clone())
}

async fn released(shop: &Shop) -> i64 {
    shop.audit().await.totals.released
}

#[tokio::test]
async fn t5_at_14_59_it_is_held_and_after_15_00_and_a_sweep_it_is_released_once_by_the_order_service() {
    let shop = Shop::open(&[(1, 10)]).await;
    let orders = Orders::default();
    orders.set("a", Fate::CalledOff);
    let mut sweep = sweep(&shop, &orders);
    let until = hold(&shop, step(1, "reserve"), &cart("a", &[(1, 4)])).await;
    let ordered = until - 15 * MINUTE;
    // 14:59: nobody is asked, and it is held.
    assert_eq!(sweep.round(ordered + 14 * MINUTE + 59_000).await.unwrap(), Swept::default());
    assert_eq!((orders.asked(), shop.stock(1).await), (Vec::<Vec<String>>::new(), (6, 4)));
    // 15:00 and a sweep: the order service is asked once. The sweep itself gives nothing back.
    let swept = sweep.round(ordered + 15 * MINUTE + 5_000).await.unwrap();
    assert_eq!(swept, Swept { overdue: 1, asked: 1, called_off: 1, ..Swept::default() });
    assert_eq!((orders.asked(), shop.stock(1).await), (vec![vec!["a".to_owned()]], (6, 4)));
    // The saga of the order, which it has started, does; however often it says so.
    for _ in 0..3 {
        assert_eq!(shop.act("release", step(2, "release"), &json!({"order": "a"})).await.0, 200);
    }
    assert_eq!((shop.stock(1).await, released(&shop).await), ((10, 0), 4));
    // What is released is not asked about any more, and is not released again when it would be an orphan.
    for later in [16, 25, 60] {
        assert_eq!(sweep.round(ordered + later * MINUTE).await.unwrap(), Swept::default());
    }
    assert_eq!((orders.asked().len(), released(&shop).await), (0, 4));
    shop.assert_sound().await;
}

#[tokio::test]
async fn an_order_that_lives_keeps_its_hold_however_late_it_is() {
    let shop = Shop::open(&[(1, 10)]).await;
    let orders = Orders::default();
    orders.set("a", Fate::Alive);
    let mut sweep = sweep(&shop, &orders);
    let until = hold(&shop, step(1, "reserve"), &cart("a", &[(1, 4)])).await;
    let mut asked = 0;
    for late in (0..20 * MINUTE).step_by(5_000) {
        asked += sweep.round(until + late).await.unwrap().asked;
    }
    assert_eq!((asked, shop.stock(1).await), (20, (6, 4)), "asked once a minute, never released");
    assert_eq!(shop.act("confirm", step(2, "pay"), &json!({"order": "a"})).await.0, 200);
    assert_eq!(sweep.round(until + 30 * MINUTE).await.unwrap(), Swept::default());
    shop.assert_sound().await;
}

#[tokio::test]
async fn an_orphan_is_released_ten_minutes_after_its_time_and_not_before() {
    for fate in [Fate::Absent, Fate::CalledOff] {
        let shop = Shop::open(&[(1, 10), (2, 10)]).await;
        let orders = Orders::default();
        orders.set("a", fate);
        let mut sweep = sweep(&shop, &orders);
        let body = cart("a", &[(1, 4), (2, 1)]);
        let until = hold(&shop, step(1, "reserve"), &body).await;
        for late in [0, MINUTE, 9 * MINUTE + 59_999] {
            assert_eq!(sweep.round(until + late).await.unwrap().released, 0);
            assert_eq!(shop.stock(1).await, (6, 4));
        }
        let swept = sweep.round(until + 10 * MINUTE).await.unwrap();
        assert_eq!((swept.asked, swept.released), (1, 1), "it is asked once more at that moment");
        assert_eq!((shop.stock(1).await, shop.stock(2).await, released(&shop).await), ((10, 0), (10, 0), 5));
        assert_eq!(sweep.round(until + 11 * MINUTE).await.unwrap(), Swept::default());
        // Whoever comes late finds it given back, and gives nothing back a second time.
        assert_eq!(shop.act("confirm", step(1, "confirm"), &json!({"order": "a"})).await.0, 409);
        assert_eq!(shop.undo("release", step(1, "reserve"), &body).await.0, 200);
        assert_eq!((shop.stock(1).await, released(&shop).await), ((10, 0), 5));
        let (_, page) = shop.get("/saga-audit?since=0").await;
        assert_eq!(page["findings"], json!([]), "{page}");
        shop.assert_sound().await;
    }
}

#[tokio::test]
async fn an_order_that_is_called_off_late_is_asked_about_before_its_orphan_is_released() {
    let shop = Shop::open(&[(1, 10)]).await;
    let orders = Orders::default();
    let mut sweep = sweep(&shop, &orders);
    let until = hold(&shop, step(1, "reserve"), &cart("a", &[(1, 4)])).await;
    assert_eq!(sweep.round(until).await.unwrap().absent, 1);
    // The order was placed and paid in the meantime.
    orders.set("a", Fate::Alive);
    let swept = sweep.round(until + 10 * MINUTE).await.unwrap();
    assert_eq!((swept.alive, swept.released, shop.stock(1).await), (1, 0, (6, 4)));
    // An answer that says nothing changes nothing.
    orders.set("a", Fate::Unclear);
    let swept = sweep.round(until + 20 * MINUTE).await.unwrap();
    assert_eq!((swept.asked, swept.released, shop.stock(1).await), (1, 0, (6, 4)));
}

#[tokio::test]
async fn twelve_hundred_orders_are_asked_about_in_pages() {
    let shop = Shop::open(&[(1, 2000)]).await;
    let orders = Orders::default();
    let mut sweep = sweep(&shop, &orders);
    let mut until = 0;
    for saga in 1..=1200u128 {
        let body = cart(&format!("o{saga}"), &[(1, 1)]);
        until = hold(&shop, step(saga, "reserve"), &body).await.max(until);
    }
    let swept = sweep.round(until).await.unwrap();
    assert_eq!((swept.overdue, swept.asked, swept.absent), (1200, 1200, 1200));
    let pages: Vec<usize> = orders.asked().iter().map(Vec::len).collect();
    assert_eq!(pages, [500, 500, 200]);
    let swept = sweep.round(until + 10 * MINUTE).await.unwrap();
    assert_eq!((swept.released, shop.stock(1).await), (1200, (2000, 0)));
    shop.assert_sound().await;
}

#[tokio::test]
async fn the_order_service_is_asked_over_http() {
    let answer = |Json(body): Json<Value>| async move {
        let status = |order: &Value| match order.as_str() {
            Some("a") => 200,
            Some("b") => 409,
            Some("c") => 404,
            _ => 503,
        };
        let results = body["orders"].as_array().unwrap().iter().map(|order| json!({"status": status(order)}));
        Json(json!({ "results": results.collect::<Vec<_>>() }))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/expire", post(answer))).await.unwrap();
    });
    let orders = HttpOrders::at(&url).unwrap();
    let fates = orders.expire(&["a", "b", "c", "d"]).await.unwrap();
    assert_eq!(fates, [Fate::CalledOff, Fate::Alive, Fate::Absent, Fate::Unclear]);
    let elsewhere = HttpOrders::at(&format!("{url}nowhere")).unwrap().expire(&["a"]).await.unwrap_err();
    assert!(elsewhere.to_string().contains("answered 404"), "{elsewhere}");
    server.abort();
}
