//! What comes back to an activity that is over is sold ordinarily.

use super::*;
use crate::activity::late::{FORGOTTEN_AFTER, Late};
use crate::body::now_ms;

async fn ends(shop: &Shop, change: Value) {
    let mut changed = activity(None);
    changed.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    assert_eq!(shop.post("/activities", &changed).await.0, 200);
}

async fn round(shop: &Shop) -> i64 {
    Late::new(shop.writer()).round(now_ms()).await.unwrap()
}

/// A sale of four, of which two are held and one is taken.
async fn sold() -> Shop {
    let shop = sale(&[(1, 10)], None).await;
    assert_eq!(shop.act("activity_allocate", step(1, "stock"), &lines(&[(1, 4)])).await.0, 200);
    for (saga, operation, qty) in [(2, "hold", 2), (3, "deduct", 1)] {
        let line = json!({"sku": 1, "qty": qty, "activity": SALE});
        let order = json!({"order": operation, "lines": [line]});
        shop.share(saga, SALE, qty).await;
        assert_eq!(shop.act(operation, step(saga, "take"), &order).await.0, 200);
    }
    shop
}

#[tokio::test]
async fn t7_what_comes_back_to_an_activity_that_was_returned_is_sold_ordinarily() {
    let shop = sold().await;
    ends(&shop, json!({"ends_at": "2020-02-01T00:00:00Z"})).await;
    ends(&shop, json!({"state": "closed"})).await;
    assert_eq!(round(&shop).await, 0, "nobody has returned anything");
    assert_eq!(shop.act("activity_return", step(4, "rest"), &json!({"activity": SALE})).await.0, 200);
    assert_eq!((shop.stock(1).await, special(&shop, 1).await), ((7, 0), Some((0, 3))));
    assert_eq!(round(&shop).await, 0, "what is set aside stays so");
    for (saga, operation, order) in [(5, "release", "hold"), (6, "restore", "deduct")] {
        assert_eq!(shop.act(operation, step(saga, "back"), &json!({ "order": order })).await.0, 200);
        assert!(round(&shop).await > 0);
        assert_eq!(round(&shop).await, 0, "once");
    }
    assert_eq!((shop.stock(1).await, special(&shop, 1).await), ((10, 0), Some((0, 0))));
    shop.assert_sound().await;
}

#[tokio::test]
async fn what_comes_back_to_an_activity_that_is_sold_stays_with_it() {
    let shop = sold().await;
    // Returned in the middle of the sale, and sold on.
    assert_eq!(shop.act("activity_return", step(4, "rest"), &json!({"activity": SALE})).await.0, 200);
    assert_eq!(shop.act("release", step(5, "back"), &json!({"order": "hold"})).await.0, 200);
    assert_eq!((round(&shop).await, special(&shop, 1).await), (0, Some((2, 1))));
    // Given stock anew, and closed for a while: it is not returned any more.
    assert_eq!(shop.act("activity_allocate", step(6, "more"), &lines(&[(1, 1)])).await.0, 200);
    ends(&shop, json!({"state": "closed"})).await;
    assert_eq!((round(&shop).await, special(&shop, 1).await), (0, Some((3, 1))));
    // Undoing a return takes it back as well.
    assert_eq!(shop.act("activity_return", step(7, "rest"), &json!({"activity": SALE})).await.0, 200);
    assert_eq!(shop.undo("activity_allocate", step(7, "rest"), &json!({"activity": SALE})).await.0, 200);
    assert_eq!((round(&shop).await, special(&shop, 1).await), (0, Some((3, 1))));
    shop.assert_sound().await;
}

#[tokio::test]
async fn an_activity_that_nobody_returned_is_returned_a_day_after_its_end() {
    let shop = sold().await;
    let end = jiff::Timestamp::now().as_millisecond();
    ends(&shop, json!({"ends_at": jiff::Timestamp::from_millisecond(end).unwrap().to_string()})).await;
    let late = Late::new(shop.writer());
    let day = i64::try_from(FORGOTTEN_AFTER.as_millis()).unwrap();
    assert_eq!(late.round(end + day - 1).await.unwrap(), 0);
    assert_eq!(late.round(end + day).await.unwrap(), 1);
    assert_eq!((shop.stock(1).await, special(&shop, 1).await), ((7, 0), Some((0, 3))));
    shop.assert_sound().await;
}
