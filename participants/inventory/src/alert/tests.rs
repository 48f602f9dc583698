//! Records that run low, and recover.

use serde_json::{Value, json};

use super::{Alerts, Crossings, is_over};
use crate::tests::{Shop, cart, step};

async fn items(shop: &Shop, address: &str) -> Vec<Value> {
    let (status, page) = shop.get(address).await;
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().unwrap().clone()
}

async fn low(shop: &Shop, sku: i64, low: Option<i64>) {
    let (status, answer) = shop.post("/thresholds", &json!({"lines": [{"sku": sku, "low": low}]})).await;
    assert_eq!((status, &answer["set"]), (200, &json!(1)));
}

fn crossed(opened: u64, closed: u64) -> Crossings {
    Crossings { opened, closed }
}

#[tokio::test]
async fn b6_an_alert_fires_once_per_crossing() {
    let shop = Shop::open(&[(1, 20), (2, 20)]).await;
    low(&shop, 1, Some(10)).await;
    let mut alerts = Alerts::new(shop.writer());
    assert_eq!(alerts.look(1).await.unwrap(), Crossings::default());
    let mut saga = 0;
    let mut usable = 20;
    // What is wanted to be usable, and what that opens and closes. From 10 down it is low, from 12 up it is not any more.
    let story = [
        (11, 0, 0),
        (10, 1, 0),
        (9, 0, 0),
        (11, 0, 0),
        (10, 0, 0),
        (0, 0, 0),
        (11, 0, 0),
        (12, 0, 1),
        (11, 0, 0),
        (10, 1, 0),
        (30, 0, 1),
        (5, 1, 0),
    ];
    for (now, (wanted, opened, closed)) in (10..).zip(story) {
        saga += 1;
        match wanted - usable {
            up if up > 0 => {
                let delivery = json!({"biz_no": format!("r{saga}"), "lines": [{"sku": 1, "qty": up}]});
                assert_eq!(shop.post("/replenish", &delivery).await.0, 201);
            }
            down => {
                let body = cart(&format!("o{saga}"), &[(1, -down)]);
                assert_eq!(shop.act("deduct", step(saga, "deduct"), &body).await.0, 200);
            }
        }
        usable = wanted;
        assert_eq!(alerts.look(now).await.unwrap(), crossed(opened, closed), "at {usable}");
        assert_eq!(alerts.look(now).await.unwrap(), Crossings::default(), "again at {usable}");
    }
    let all = items(&shop, "/alerts").await;
    assert_eq!(all.len(), 3);
    assert_eq!(
        (&all[0]["sku"], &all[0]["usable"], &all[0]["usable_when_closed"]),
        (&json!(1), &json!(10), &json!(12))
    );
    let open = items(&shop, "/alerts?open=true").await;
    assert_eq!((open.len(), &open[0]["usable"], &open[0]["closed_at"]), (1, &json!(5), &Value::Null));
    assert_eq!(items(&shop, "/alerts?after=1&limit=1").await[0]["alert"], 2);
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_threshold_counts_from_the_moment_it_is_set() {
    let shop = Shop::open(&[(1, 5)]).await;
    let mut alerts = Alerts::new(shop.writer());
    low(&shop, 1, Some(5)).await;
    assert_eq!(items(&shop, "/alerts?open=true").await.len(), 1);
    assert_eq!(alerts.look(1).await.unwrap(), Crossings::default());
    low(&shop, 1, Some(4)).await;
    assert_eq!(items(&shop, "/alerts?open=true").await.len(), 0, "five is a fifth above four");
    low(&shop, 1, Some(5)).await;
    low(&shop, 1, None).await;
    assert_eq!(items(&shop, "/alerts?open=true").await.len(), 0, "without a threshold there is no alert");
    assert_eq!(items(&shop, "/alerts").await.len(), 2);
    let (status, answer) = shop.post("/thresholds", &json!({"lines": [{"sku": 404, "low": 1}]})).await;
    assert_eq!((status, answer), (200, json!({"set": 0, "unknown": 1})));
    assert_eq!(shop.post("/thresholds", &json!({"lines": [{"sku": 1, "low": -1}]})).await.0, 422);
    assert_eq!(shop.get("/alerts?limit=0").await.0, 400);
}

#[tokio::test]
async fn whoever_looks_for_the_first_time_looks_at_every_record() {
    let shop = Shop::open(&[(1, 5)]).await;
    low(&shop, 1, Some(2)).await;
    shop.act("hold", step(1, "hold"), &cart("a", &[(1, 4)])).await;
    for opened in [1, 0] {
        let mut alerts = Alerts::new(shop.writer());
        assert_eq!(alerts.look(1).await.unwrap(), crossed(opened, 0));
    }
    shop.undo("release", step(1, "hold"), &cart("a", &[(1, 4)])).await;
    assert_eq!(Alerts::new(shop.writer()).look(2).await.unwrap(), crossed(0, 1));
}

#[test]
fn an_alert_is_over_a_fifth_above_its_threshold() {
    for (low, usable) in [(0, 1), (1, 2), (4, 5), (5, 6), (6, 8), (10, 12), (100, 120)] {
        assert!(is_over(usable, low), "{usable} above {low}");
        assert!(!is_over(usable - 1, low), "{} above {low}", usable - 1);
    }
}
