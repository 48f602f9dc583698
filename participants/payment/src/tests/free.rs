//! Payments and refunds of nothing: what is free is sold and comes back like anything else, and no provider is asked.

use amends_sdk::Database;

use super::*;

#[tokio::test]
async fn a_charge_of_nothing_is_paid_at_once_whatever_the_provider_would_do() {
    let world = world(Behaviour::always(Mode::Never)).await;
    for (number, mode) in
        (1..).zip([None, Some("declined"), Some("declined_later"), Some("late"), Some("poll")])
    {
        let order = format!("A-{number}");
        let body = json!({ "order": order, "amount_minor": 0, "mode": mode });
        let (status, view) = world.charge(number, &body).await;
        assert_eq!(
            (status, &view["state"], &view["amount_minor"]),
            (200, &json!("paid"), &json!(0)),
            "{mode:?}"
        );
    }
    assert_eq!(
        world.charge(9, &json!({ "order": "A-1", "amount_minor": 0 })).await.0,
        409,
        "an order pays once"
    );
    let free = json!({ "order": "A-1", "amount_minor": 0 });
    let (status, view) = world.call_off(1, &free).await;
    assert_eq!((status, &view["state"], &view["refunded_minor"]), (200, &json!("void"), &json!(0)));
    let again = json!({ "order": "A-1", "payment": "A-1b", "amount_minor": 0 });
    assert_eq!(world.charge(10, &again).await.0, 200, "what was called off stands in nobody's way");
    let (status, view) = world.refund(11, &json!({ "order": "A-2" })).await;
    assert_eq!((status, &view["refund"]["amount_minor"]), (200, &json!(0)), "all of nothing");
    world.assert_kept().await;
}

#[tokio::test]
async fn a_refund_of_nothing_is_done_however_its_payment_stands() {
    let world = world(Behaviour::default()).await;
    for (number, (mode, state)) in (1..).zip([
        ("at_once", "paid"),
        ("never", "pending"),
        ("declined_later", "declined"),
        ("at_once", "refunded"),
    ]) {
        let order = format!("A-{number}");
        world.charge(number, &of(&order, mode)).await;
        if state == "refunded" {
            // The desk of 100 goes back first, then the gift that came with it.
            assert_eq!(world.refund(100, &json!({ "order": order, "amount_minor": 2500 })).await.0, 200);
        }
        world.until(&order, state).await;
        let gift =
            json!({ "order": order, "refund": format!("R-{number}"), "amount_minor": 0, "mode": "declined" });
        let (status, view) = world.refund(10 + number, &gift).await;
        assert_eq!((status, &view["state"]), (200, &json!(state)), "{view}");
        assert_eq!(view["refund"]["amount_minor"], 0);
        assert_eq!(world.refund(20 + number, &gift).await.0, 409, "a number counts once");
    }
    assert_eq!(
        world.refund(30, &json!({ "order": "A-4" })).await.0,
        409,
        "of all that is left there is none"
    );
    assert_eq!(
        world.refund(31, &json!({ "order": "none", "amount_minor": 0 })).await.0,
        409,
        "nor a payment"
    );
    assert_eq!(
        world.call_off(2, &of("A-2", "never")).await.1["state"],
        "void",
        "it is still to be called off"
    );
    world.assert_kept().await;
}

#[tokio::test]
async fn payments_of_the_first_schema_are_carried_over() {
    let folder = TempDir::new().expect("a folder");
    let store = format!("sqlite:{}", folder.path().join("payment.db").display());
    drop(Database::open(&store, &SQLITE[..5]).await.expect("the schema before"));
    let rows = "
        insert into payment values ('A', 'A', 'part_refunded', 'at_once', 25, 'EUR', 10, null, null, 0, 's', 'charge', 1, 2);
        insert into payment_refund values ('R-1', 'A', 'done', 'at_once', 10, null, null, null, 0, 's', 'money', 2, 2);
        insert into payment_event values (1, 'A', 'asked', null, 0, 0, 's', 'charge', 1), (2, 'A', 'paid', null, 25, 0, 's', 'charge', 1),
            (3, 'A', 'refund_asked', 'R-1', 0, 0, 's', 'money', 2), (4, 'A', 'refunded', 'R-1', 0, 10, 's', 'money', 2);";
    let mut before = SqliteConnection::connect(&store).await.expect("the database");
    sqlx::raw_sql(rows).execute(&mut before).await.expect("rows");
    drop(before);
    let payment = open(Config::new(store.clone()), Behaviour::default()).await.expect("it opens");
    let world = World { payment, coordinator: MockServer::start().await, store, _folder: folder };
    let (_, found) = world.get("/audit").await;
    assert_eq!(found["kept"], true, "{found}");
    assert_eq!(world.get("/payments/A").await.1["refunds"][0]["refund"], "R-1");
    let (status, view) = world.refund(1, &json!({ "order": "A" })).await;
    assert_eq!((status, &view["state"]), (200, &json!("refunded")));
    assert_eq!(world.charge(2, &json!({ "order": "B", "amount_minor": 0 })).await.0, 200);
    let (_, found) = world.get("/audit").await;
    assert_eq!(found["kept"], true, "{found}");
}
