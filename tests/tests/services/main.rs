//! The services of a shop as the processes they are: each on a database file of its own, killed by SIGKILL at every step of
//! an order's way, looked into while they run, and gone for a while.
//!
//! The processes are this very binary, started again with a role in its environment; the coordinator is in this one. Between
//! them stands a line for each service ([`line`]), which counts the calls and strikes when it is told to. What only this
//! test can show is that a service which dies before, in or after any one of its calls leaves an order done or made good.

mod line;
mod process;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amends_client::Status;
use amends_client::wire::api::BreakerState;
use line::{Blow, Side};
use process::Service;
use serde_json::json;
use world::{End, World};

/// Not a test by itself: where the processes of the others begin. Without a role it does nothing.
#[test]
fn a_process_of_this_test() {
    process::live_if_told_to();
}

/// A saga calls a service less often than this, or something goes round in circles.
const CALLS_MAX: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn b7_whichever_service_is_killed_at_whichever_step_all_is_done_or_all_is_made_good() {
    let world = World::start().await;
    let mut deaths: BTreeMap<String, u64> = BTreeMap::new();
    let mut orders: Vec<(String, End)> = Vec::new();
    for (mode, end) in [("at_once", End::Done), ("declined", End::MadeGood)] {
        for service in Service::ALL {
            for side in [Side::Before, Side::Amid, Side::After] {
                let mut killed = 0;
                for call in 1..=CALLS_MAX {
                    let order = format!("{mode}-{service:?}-{side:?}-{call}");
                    world.line(service).strike_at(Blow { side, call });
                    let saga = world.order(&order, mode).await;
                    let status = match end {
                        End::Done => Status::Completed,
                        End::MadeGood => Status::Compensated,
                    };
                    assert_eq!(saga.status, status, "{order}: {saga:#?}");
                    orders.push((order, end));
                    // A call there is none of: the order went its way undisturbed, and all of its calls were struck.
                    if world.line(service).forget_blow() {
                        break;
                    }
                    killed += 1;
                }
                assert!(killed < CALLS_MAX, "{service:?} is called again and again");
                deaths.insert(format!("{mode}, {service:?}, {side:?}"), killed);
            }
        }
    }
    println!("{} orders; deaths: {deaths:#?}", orders.len());
    assert!(deaths.values().all(|count| *count >= 1), "a service was never killed: {deaths:?}");
    assert!(deaths.values().sum::<u64>() >= 36, "too few calls were met: {deaths:?}");
    world.books_hold(&orders).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b1_no_service_has_a_table_of_another_and_an_order_goes_through_all_four() {
    let world = World::start().await;
    assert_eq!(world.order("A", "at_once").await.status, Status::Completed);
    let mut tables: BTreeMap<Service, BTreeSet<String>> = BTreeMap::new();
    for service in Service::ALL {
        tables.insert(service, world.tables(service).await);
        // What a process has open is its own database and nobody else's, where the system tells.
        if cfg!(target_os = "linux") {
            let open = world.open_databases(service);
            assert_eq!(open, BTreeSet::from([service.file().to_owned()]), "{service:?}");
        }
    }
    // What the sdk keeps in every participant's database, each in its own.
    let common: BTreeSet<&str> = ["saga_barrier", "saga_participant_schema"].into();
    for (service, own) in &tables {
        let own: BTreeSet<&str> =
            own.iter().map(String::as_str).filter(|name| !common.contains(name)).collect();
        assert!(own.len() > 2, "{service:?} has {own:?}");
        for (other, others) in tables.iter().filter(|(other, _)| *other != service) {
            let shared: Vec<&&str> = own.iter().filter(|name| others.contains(**name)).collect();
            assert!(shared.is_empty(), "{service:?} has {shared:?} as {other:?} has");
        }
        let is_stock = own.iter().any(|name| name.starts_with("inv_"));
        assert_eq!(is_stock, *service == Service::Inventory, "{service:?} has {own:?}");
    }
    world.end().await;
}

#[test]
fn b3_activities_catalogue_orders_and_payments_are_built_and_kept_apart() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |path: String| std::fs::read_to_string(format!("{root}/{path}")).expect("a file");
    let mut made_by: BTreeMap<String, String> = BTreeMap::new();
    for service in Service::ALL.map(Service::name) {
        // A crate of its own, which knows none of the others.
        let manifest = read(format!("participants/{service}/Cargo.toml"));
        for other in Service::ALL.map(Service::name).into_iter().filter(|other| *other != service) {
            assert!(!manifest.contains(&format!("amends-{other}")), "{service} knows {other}");
        }
        for dialect in ["sqlite", "postgres", "mysql"] {
            let scripts =
                std::fs::read_dir(format!("{root}/migrations/{service}/{dialect}")).expect("migrations");
            for script in scripts.map(|entry| entry.expect("an entry").path()) {
                let script = std::fs::read_to_string(script).expect("a script");
                let tables =
                    script.split("create table ").skip(1).filter_map(|rest| rest.split_whitespace().next());
                for table in tables {
                    let before = made_by.insert(table.to_owned(), service.to_owned());
                    assert!(before.is_none_or(|before| before == service), "{table} is made twice");
                }
            }
        }
    }
    // Activities are a module of the inventory, in tables that ordinary stock does not know.
    let activities = read("migrations/inventory/sqlite/0003_activity.sql".into());
    for table in ["inv_activity", "inv_quota"] {
        assert!(
            activities.contains(&format!("create table {table} ")) && made_by[table] == "inventory",
            "{table}"
        );
    }
    assert!(!read("migrations/inventory/sqlite/0001_stock.sql".into()).contains("inv_activity"));
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_service_that_is_gone_is_behind_an_open_breaker_and_is_called_again_when_it_is_back() {
    let world = World::start().await;
    let breaker = async || world.client.participant("payment").await.expect("it is known").breaker.state;
    assert_eq!(breaker().await, BreakerState::Closed);
    world.line(Service::Payment).kill();
    let mut waiting = Vec::new();
    for number in 0..12 {
        waiting.push(world.begin(&format!("w-{number}"), "at_once").await);
    }
    world.until("the breaker opens", async || breaker().await == BreakerState::Open).await;
    // While it is open the dead service is left in peace, and whoever does not need it is served as ever.
    let calls = world.line(Service::Payment).calls();
    let own = json!({ "saga": "own", "steps": [{ "hold": {
        "action": "inventory.hold", "compensation": "inventory.release",
        "with": { "order": "own", "lines": [{ "sku": 1, "qty": 1 }] },
    } }] });
    let begin = std::time::Instant::now();
    assert_eq!(world.whole(&own).await.status, Status::Completed);
    assert!(begin.elapsed() < Duration::from_secs(3), "it took {:?}", begin.elapsed());
    let tried = world.line(Service::Payment).calls() - calls;
    assert!(tried <= 6, "{tried} calls went to a service that is gone");
    world.line(Service::Payment).restart().await;
    for saga in waiting {
        let ended = world.client.wait_end(saga, world::PATIENCE).await.expect("it ends");
        assert_eq!(ended.status, Status::Completed, "{:?}", ended.error);
    }
    assert_eq!(breaker().await, BreakerState::Closed);
    let orders: Vec<(String, End)> = (0..12).map(|number| (format!("w-{number}"), End::Done)).collect();
    world.books_hold(&orders).await;
    world.end().await;
}
