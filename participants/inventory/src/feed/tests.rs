//! The feed as its readers meet it: over the router, on a database in a file.

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

use super::*;
use crate::{Config, Inventory, open};

struct Shop {
    inventory: Inventory,
    store: String,
    _folder: TempDir,
}

impl Shop {
    async fn open(stock: &[(i64, i64)]) -> Shop {
        let folder = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", folder.path().join("inventory.db").display());
        let inventory = open(Config::new(store.clone())).await.unwrap();
        if !stock.is_empty() {
            inventory.replenish("opening", stock).await.unwrap();
        }
        Shop { inventory, store, _folder: folder }
    }

    async fn hold(&self, number: u128, sku: i64, qty: i64) -> u16 {
        let body = json!({ "order": number.to_string(), "lines": [{ "sku": sku, "qty": qty }] });
        let request = Request::post("/hold")
            .header("saga-id", Uuid::from_u128(number).to_string())
            .header("saga-step", "reserve")
            .header("saga-op", "action")
            .header("saga-attempt", "1")
            .header("idempotency-key", number.to_string())
            .body(Body::from(body.to_string()));
        self.send(request.unwrap()).await.status().as_u16()
    }

    async fn send(&self, request: Request<Body>) -> Response {
        self.inventory.router().oneshot(request).await.unwrap()
    }

    async fn post(&self, address: &str, body: Value) -> u16 {
        let request = Request::post(address).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await.status().as_u16()
    }

    async fn get(&self, address: &str) -> (u16, Value) {
        let response = self.send(Request::get(address).body(Body::empty()).unwrap()).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn batch(&self, address: &str) -> Value {
        let (status, batch) = self.get(address).await;
        assert_eq!(status, 200, "{batch}");
        batch
    }
}

/// SKU, usable and state of each event.
fn told(batch: &Value) -> Vec<(i64, i64, &str)> {
    let number = |event: &Value, member: &str| event[member].as_i64().unwrap();
    let events = batch["events"].as_array().unwrap().iter();
    events.map(|e| (number(e, "sku"), number(e, "usable"), e["state"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_reader_is_told_the_state_of_what_changed_since_its_cursor() {
    let shop = Shop::open(&[(7, 10), (9, 3)]).await;
    let all = shop.batch("/feed").await;
    assert_eq!(told(&all), [(7, 10, "in_stock"), (9, 3, "in_stock")]);
    assert_eq!((&all["after"], &all["next"], &all["head"]), (&json!(0), &json!(2), &json!(2)));
    assert!(all["feed"].is_string() && all["since"].is_string(), "{all}");
    assert_eq!(shop.hold(1, 9, 3).await, 200);
    let changed = shop.batch(&format!("/feed?after={}&wait=1s", all["next"])).await;
    assert_eq!(told(&changed), [(9, 0, "sold_out")]);
    assert_eq!((&changed["events"][0]["seq"], &changed["next"]), (&json!(3), &json!(3)));
    assert_eq!(changed["feed"], all["feed"]);
    let nothing = shop.batch("/feed?after=3").await;
    assert_eq!((told(&nothing), &nothing["next"], &nothing["since"]), (vec![], &json!(3), &Value::Null));
}

#[tokio::test]
async fn many_changes_of_a_sku_are_one_event() {
    let shop = Shop::open(&[(7, 1000)]).await;
    for number in 1..=200 {
        assert_eq!(shop.hold(number, 7, 1).await, 200);
    }
    let batch = shop.batch("/feed?after=1").await;
    assert_eq!(told(&batch), [(7, 800, "in_stock")]);
    assert_eq!((&batch["next"], &batch["events"][0]["seq"]), (&json!(201), &json!(201)));
}

#[tokio::test]
async fn what_is_more_than_one_answer_holds_comes_in_the_next() {
    let stock: Vec<(i64, i64)> = (1..=10).map(|sku| (sku, sku * 10)).collect();
    let shop = Shop::open(&stock).await;
    let (mut after, mut known) = (json!(0), BTreeMap::new());
    for _ in 0..4 {
        let batch = shop.batch(&format!("/feed?after={after}&limit=3")).await;
        assert!(told(&batch).len() <= 3);
        known.extend(told(&batch).into_iter().map(|(sku, usable, _)| (sku, usable)));
        after = batch["next"].clone();
    }
    assert_eq!((after, known), (json!(10), stock.into_iter().collect()));
}

#[tokio::test]
async fn the_whole_state_is_read_in_pages_and_has_a_cursor_to_go_on_from() {
    let shop = Shop::open(&[(1, 1), (2, 2), (3, 3)]).await;
    let first = shop.batch("/feed/state?limit=2").await;
    assert_eq!(told(&first), [(1, 1, "in_stock"), (2, 2, "in_stock")]);
    assert_eq!((&first["head"], &first["next"]), (&json!(3), &json!("2")));
    assert_eq!(shop.hold(1, 1, 1).await, 200);
    let rest = shop.batch("/feed/state?limit=2&after=2").await;
    assert_eq!((told(&rest), &rest["next"]), (vec![(3, 3, "in_stock")], &Value::Null));
    let since = shop.batch(&format!("/feed?after={}", first["head"])).await;
    assert_eq!(told(&since), [(1, 0, "sold_out")]);
}

#[tokio::test]
async fn a_low_stock_is_told_as_such() {
    let shop = Shop::open(&[(1, 10), (2, 10)]).await;
    let rows = sqlx::SqlitePool::connect(&shop.store).await.unwrap();
    sqlx::query("update inv_stock set low_threshold = 5 where sku_id = 1").execute(&rows).await.unwrap();
    assert_eq!((shop.hold(1, 1, 5).await, shop.hold(2, 2, 5).await), (200, 200));
    assert_eq!(told(&shop.batch("/feed?after=2").await), [(1, 5, "low"), (2, 5, "in_stock")]);
}

#[tokio::test]
async fn y2_what_is_told_is_what_a_line_can_take_and_nothing_else() {
    let shop = Shop::open(&[(7, 10)]).await;
    for (number, place, qty) in
        [("w", "warehouse", json!("w1")), ("c", "channel", json!(7)), ("l", "level", json!(2))]
    {
        let mut line = json!({ "sku": 7, "qty": 5 });
        line[place] = qty;
        assert_eq!(shop.post("/replenish", json!({ "biz_no": number, "lines": [line] })).await, 201);
        let mut elsewhere = line;
        elsewhere["sku"] = json!(8);
        assert_eq!(
            shop.post("/replenish", json!({ "biz_no": format!("{number}8"), "lines": [elsewhere] })).await,
            201
        );
    }
    assert_eq!(told(&shop.batch("/feed").await), [(7, 10, "in_stock")]);
    assert_eq!(told(&shop.batch("/feed/state").await), [(7, 10, "in_stock")]);
    assert_eq!(
        (shop.hold(1, 7, 10).await, shop.hold(2, 7, 1).await, shop.hold(3, 8, 1).await),
        (200, 409, 409)
    );
    assert_eq!(told(&shop.batch("/feed?after=7").await), [(7, 0, "sold_out")]);
    let (_, page) = shop.get("/stock?limit=5").await;
    let figures = |item: &Value| (item["sku"].clone(), item["usable"].clone(), item["available"].clone());
    let items: Vec<_> = page["items"].as_array().unwrap().iter().map(figures).collect();
    assert_eq!(items, [(json!(7), json!(15), json!(0)), (json!(8), json!(15), json!(0))]);
}

#[tokio::test]
async fn y2_safety_stock_and_threshold_are_told_when_they_are_set() {
    let shop = Shop::open(&[(7, 10)]).await;
    let safety = |qty: i64| json!({ "lines": [{ "sku": 7, "safety": qty }] });
    let low = |qty: Value| json!({ "lines": [{ "sku": 7, "low": qty }] });
    let mut after = json!(1);
    for (address, body, expected) in [
        ("/safety", safety(4), vec![(7, 6, "in_stock")]),
        ("/safety", safety(4), vec![]),
        ("/thresholds", low(json!(6)), vec![(7, 6, "low")]),
        ("/safety", safety(3), vec![(7, 7, "in_stock")]),
        ("/safety", safety(12), vec![(7, 0, "sold_out")]),
        ("/safety", safety(8), vec![(7, 2, "low")]),
        ("/thresholds", low(Value::Null), vec![(7, 2, "in_stock")]),
        ("/thresholds", low(Value::Null), vec![]),
    ] {
        assert_eq!(shop.post(address, body.clone()).await, 200, "{address} {body}");
        let batch = shop.batch(&format!("/feed?after={after}&wait=300ms")).await;
        assert_eq!(told(&batch), expected, "{address} {body}");
        after = batch["next"].clone();
    }
    let audit = shop.inventory.audit().await.unwrap();
    assert!(audit.kept, "{audit:#?}");
}

#[tokio::test]
async fn a_reader_that_waits_is_told_as_soon_as_something_changes() {
    let shop = Arc::new(Shop::open(&[(7, 10)]).await);
    let waiting = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { (shop.batch("/feed?after=1&wait=20s").await, Instant::now()) }
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(!waiting.is_finished());
    assert_eq!(shop.hold(1, 7, 4).await, 200);
    let changed = Instant::now();
    let (batch, at) = waiting.await.unwrap();
    assert_eq!(told(&batch), [(7, 6, "in_stock")]);
    assert!(at.saturating_duration_since(changed) < Duration::from_secs(2));
}

#[tokio::test]
async fn nobody_waits_longer_than_he_said_or_than_the_process_lives() {
    let shop = Shop::open(&[(7, 10)]).await;
    let began = Instant::now();
    assert_eq!(told(&shop.batch("/feed?after=1&wait=200ms").await), []);
    assert!(began.elapsed() >= Duration::from_millis(200));
    let stop = CancellationToken::new();
    let mut request = Request::get("/feed?after=1&wait=30s").body(Body::empty()).unwrap();
    request.extensions_mut().insert(Stopping(stop.clone()));
    let (response, ()) = tokio::join!(shop.send(request), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.cancel();
    });
    assert_eq!(response.status(), 200);
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// Reads a stream up to its `count`-th `head` and gives what it said, as `(event, data, id)`.
async fn heads(response: Response, count: usize) -> Vec<(String, Value, Option<String>)> {
    assert_eq!(response.status(), 200);
    let (mut body, mut text, mut heads) = (response.into_body(), String::new(), 0);
    while heads < count {
        let frame = body.frame().await.expect("the stream goes on").unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        heads = text.matches("event: head").count();
    }
    let member = |block: &str, name: &str| -> Option<String> {
        block.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks
        .map(|block| {
            let data = serde_json::from_str(&member(block, "data:").unwrap()).unwrap();
            (member(block, "event:").unwrap(), data, member(block, "id:"))
        })
        .collect()
}

#[tokio::test]
async fn a_stream_tells_states_and_is_taken_up_where_it_broke() {
    let shop = Arc::new(Shop::open(&[(7, 10), (9, 5)]).await);
    let stream = |header: &'static str, value: String| {
        let request = Request::get("/feed").header("accept", "text/event-stream").header(header, value);
        let shop = Arc::clone(&shop);
        async move { shop.send(request.body(Body::empty()).unwrap()).await }
    };
    let selling = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move {
            tokio::time::sleep(Duration::from_millis(150)).await;
            shop.hold(1, 7, 1).await
        }
    });
    let told = heads(stream("accept", "text/event-stream".into()).await, 2).await;
    assert_eq!(selling.await.unwrap(), 200);
    let names: Vec<&str> = told.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["state", "state", "head", "state", "head"]);
    assert_eq!((&told[3].1["sku"], &told[3].1["usable"], &told[3].2), (&json!(7), &json!(9), &None));
    assert_eq!((told[2].2.as_deref(), told[4].2.as_deref()), (Some("2"), Some("3")));
    assert_eq!(shop.hold(2, 9, 5).await, 200);
    let resumed = heads(stream(stream::LAST_EVENT_ID, "3".into()).await, 1).await;
    assert_eq!((&resumed[0].1["sku"], &resumed[0].1["state"]), (&json!(9), &json!("sold_out")));
    assert_eq!(resumed.last().unwrap().2.as_deref(), Some("4"));
}

#[tokio::test]
async fn readers_are_bounded() {
    let shop = Arc::new(Shop::open(&[(7, 10)]).await);
    let mut streams = Vec::new();
    for _ in 0..READERS_MAX {
        let request = Request::get("/feed").header("accept", "text/event-stream");
        let response = shop.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        streams.push(response);
    }
    let (status, answer) = shop.get("/feed").await;
    assert_eq!(status, 503, "{answer}");
    streams.pop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(shop.get("/feed").await.0, 200);
}

#[tokio::test]
async fn a_cursor_of_another_feed_is_gone_and_a_bad_query_is_refused() {
    let shop = Shop::open(&[(7, 10)]).await;
    let (status, answer) = shop.get("/feed?after=9&wait=20s").await;
    assert_eq!((status, answer["message"].is_string()), (410, true), "{answer}");
    let bad = ["after=x", "after=-1", "wait=31s", "wait=long", "limit=0", "limit=5001", "sideways=1"];
    for query in bad {
        assert_eq!(shop.get(&format!("/feed?{query}")).await.0, 400, "{query}");
    }
    assert_eq!(shop.get("/feed/state?limit=0").await.0, 400);
    let empty = Shop::open(&[]).await;
    let nothing = empty.batch("/feed").await;
    assert_eq!((&nothing["feed"], &nothing["next"]), (&Value::Null, &json!(0)));
}
