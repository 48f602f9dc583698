//! The figures follow the stock.

use sqlx::Connection;

use super::*;
use crate::tests::{Shop, cart, step};

async fn text(figures: &StockFigures) -> String {
    figures.look().await.expect("it is read");
    let mut text = Text::default();
    figures.write(&mut text);
    text.to_string()
}

#[tokio::test]
async fn the_figures_say_what_is_overdue_what_is_low_and_how_far_the_feed_goes() {
    let shop = Shop::open(&[(1, 10), (2, 10)]).await;
    let figures = StockFigures::new(shop.writer().database().readers());
    let before = text(&figures).await;
    for line in [
        "holds_overdue 0",
        "holds_overdue_seconds 0",
        "feed_head 2",
        "alerts_open 0",
        "records_not_merged 0",
        "activity_leftovers 0",
    ] {
        assert!(before.contains(&format!("\namends_inventory_{line}\n")), "{line} in {before}");
    }
    assert_eq!(shop.act("hold", step(1, "reserve"), &cart("1", &[(1, 4)])).await.0, 200);
    let mut books = sqlx::SqliteConnection::connect(&shop.store).await.expect("it opens");
    let late = "pragma busy_timeout = 5000;
        update inv_hold set expires_at = expires_at - 15 * 60000 - 90000;
        update inv_stock set mode = 2 where sku_id = 2;
        insert into inv_activity (activity_id, name, starts_at, ends_at, created_at, changed_at) values (9, 'n', 1, 2, 0, 0);
        update inv_stock set activity_id = 9, stock_type = 2 where sku_id = 2;
        insert into inv_alert (stock_id, open_stock_id, low_threshold, usable_opened, opened_at) values (1, 1, 5, 5, 1)";
    sqlx::raw_sql(late).execute(&mut books).await.expect("it is written");
    let after = text(&figures).await;
    for line in
        ["holds_overdue 1", "feed_head 3", "alerts_open 1", "records_not_merged 1", "activity_leftovers 10"]
    {
        assert!(after.contains(&format!("\namends_inventory_{line}\n")), "{line} in {after}");
    }
    let value = |name: &str| -> f64 {
        let line = after.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.expect("it is there").parse().expect("a number")
    };
    assert!((89.0..120.0).contains(&value("amends_inventory_holds_overdue_seconds")), "{after}");
    assert!(value("amends_inventory_feed_age_seconds") < 60.0, "{after}");
}
