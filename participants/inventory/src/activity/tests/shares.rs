//! Whoever takes an activity's stock has the customer's share of it, whatever the cart and the operation.

use super::*;

/// A cart of an ordinary SKU and so many of the activity's.
fn mixed(order: &str, qty: i64) -> Value {
    json!({ "order": order, "lines": [{"sku": 2, "qty": 1}, {"sku": 1, "qty": qty, "activity": SALE}] })
}

/// A sale with stock that is taken by this route.
async fn stocked(route: &str, limit: Option<i64>) -> Shop {
    let shop = sale(&[(1, 100), (2, 100)], limit).await;
    assert_eq!(shop.act("activity_allocate", step(900, "stock"), &lines(&[(1, 50)])).await.0, 200);
    let place = json!({"sku": 1, "activity": SALE, "mode": route});
    assert_eq!(shop.post("/routes", &place).await.0, 200);
    shop
}

#[tokio::test]
async fn t7_a_cart_that_names_an_activity_takes_nothing_of_it_without_the_customers_share() {
    for route in ["merged", "row"] {
        let shop = stocked(route, Some(2)).await;
        for (saga, operation) in [(1, "hold"), (2, "deduct"), (3, "hold_short")] {
            let (status, answer) = shop.act(operation, step(saga, "take"), &mixed("a", 50)).await;
            let told = (&answer["activity"], &answer["wanted"], &answer["left"]);
            assert_eq!((status, told), (409, (&json!(SALE), &json!(50), &json!(0))), "{route} {operation}");
            // With a share, up to it.
            shop.share(saga + 10, SALE, 2).await;
            let (order, too_many) = (format!("b{saga}"), format!("c{saga}"));
            let (status, answer) = shop.act(operation, step(saga + 10, "more"), &mixed(&too_many, 3)).await;
            assert_eq!((status, &answer["left"]), (409, &json!(2)), "{route} {operation}");
            let (status, answer) = shop.act(operation, step(saga + 10, "take"), &mixed(&order, 2)).await;
            assert_eq!(status, 200, "{route} {operation}: {answer}");
            // What is used is used: another order of the same saga has nothing left.
            let (status, answer) = shop.act(operation, step(saga + 10, "again"), &mixed(&too_many, 1)).await;
            assert_eq!((status, &answer["left"]), (409, &json!(0)), "{route} {operation}");
        }
        assert_eq!(special(&shop, 1).await, Some((44, 6)), "{route}");
        assert_eq!(shop.stock(2).await, (97, 3), "{route}");
        shop.assert_sound().await;
    }
}

#[tokio::test]
async fn t7_a_share_that_was_returned_covers_nothing_and_what_was_given_back_may_be_taken_again() {
    let shop = stocked("merged", Some(2)).await;
    shop.share(1, SALE, 2).await;
    assert_eq!(shop.act("hold", step(1, "take"), &mixed("a", 2)).await.0, 200);
    assert_eq!(shop.act("release", step(1, "back"), &json!({"order": "a"})).await.0, 200);
    assert_eq!(shop.act("hold", step(1, "retake"), &mixed("a", 2)).await.0, 200);
    assert_eq!(shop.undo("release", step(1, "retake"), &mixed("a", 2)).await.0, 200);
    assert_eq!(shop.undo("quota_return", step(1, "share"), &json!({})).await.0, 200);
    let (status, answer) = shop.act("hold", step(1, "last"), &mixed("a", 1)).await;
    assert_eq!((status, &answer["left"]), (409, &json!(0)));
    shop.assert_sound().await;
}

#[tokio::test]
async fn t7_two_orders_of_one_saga_that_wait_together_share_one_share() {
    let shop = stocked("merged", None).await;
    shop.share(1, SALE, 3).await;
    let saga = uuid::Uuid::from_u128(1);
    let call = |order: &str| json!({"saga": saga, "step": order, "op": "action", "attempt": 1, "key": order, "body": mixed(order, 2)});
    let (_, answer) = shop.post("/hold/batch", &json!({ "calls": [call("a"), call("b")] })).await;
    let statuses: Vec<_> = answer["results"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, [200, 409], "{answer}");
    assert_eq!(special(&shop, 1).await, Some((48, 2)));
    shop.assert_sound().await;
}

#[tokio::test]
async fn t7_an_activitys_stock_is_taken_only_in_its_time_and_while_it_is_open() {
    for route in ["merged", "row"] {
        let shop = stocked(route, None).await;
        let cases = [
            (json!({"starts_at": "2998-01-01T00:00:00Z"}), 409, "begins at"),
            (json!({"ends_at": "2020-02-01T00:00:00Z"}), 409, "ended at"),
            (json!({"state": "closed"}), 409, "is closed"),
            (json!({}), 200, ""),
        ];
        for (saga, (change, expected, why)) in (1..).zip(cases) {
            assert_eq!(shop.post("/activities", &activity(None)).await.0, 200);
            shop.share(saga, SALE, 3).await;
            let mut changed = activity(None);
            changed.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            assert_eq!(shop.post("/activities", &changed).await.0, 200);
            for operation in ["hold", "deduct", "hold_short"] {
                let order = format!("{operation} {saga}");
                let (status, answer) = shop.act(operation, step(saga, operation), &mixed(&order, 1)).await;
                assert_eq!(status, expected, "{route} {operation} {changed}: {answer}");
                assert!(status == 200 || answer["message"].as_str().unwrap().contains(why), "{answer}");
            }
        }
        shop.assert_sound().await;
    }
}
