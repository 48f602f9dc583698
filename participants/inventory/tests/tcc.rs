//! The example of try, confirm, cancel, against a real inventory and a sketch of a coordinator that keeps its word: what
//! is registered is confirmed or compensated, in order, every call twice.

#![allow(missing_docs, reason = "the example is read as a module here")]

#[path = "../examples/tcc.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main is not run here")]
mod tcc;

use amends_sdk::Sagas;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tcc::{Outcome, Shop};
use tokio::net::TcpListener;
use uuid::Uuid;

#[derive(Debug, Default)]
struct OpenSaga {
    branches: Vec<Value>,
    status: Option<&'static str>,
}

#[derive(Clone)]
struct Coordinator {
    sagas: Arc<Mutex<BTreeMap<Uuid, OpenSaga>>>,
    inventory: Arc<Mutex<String>>,
    http: reqwest::Client,
}

type Answer = (StatusCode, Json<Value>);

impl Coordinator {
    fn sagas(&self) -> MutexGuard<'_, BTreeMap<Uuid, OpenSaga>> {
        self.sagas.lock().expect("not poisoned")
    }

    fn router(self) -> Router {
        Router::new()
            .route("/v1/sagas/open", post(open))
            .route("/v1/sagas/{id}", get(show))
            .route("/v1/sagas/{id}/branches", post(branch))
            .route("/v1/sagas/{id}/{decision}", post(decide))
            .with_state(self)
    }

    /// Calls a branch's confirm or compensation, twice, as a coordinator that has lost the first answer does.
    async fn call(&self, saga: Uuid, branch: &Value, op: &str) {
        let operation =
            branch[op].as_str().and_then(|name| name.strip_prefix("inventory.")).expect("an operation");
        let url = format!("{}/{operation}", self.inventory.lock().expect("not poisoned"));
        let name = branch["name"].as_str().expect("a name");
        for attempt in ["1", "2"] {
            let request = self.http.post(&url).json(&branch["with"]).header("saga-id", saga.to_string());
            let request =
                request.header("saga-step", name).header("saga-op", op).header("saga-attempt", attempt);
            let request = request.header("idempotency-key", format!("{saga}/{name}/{op}"));
            let answer = request.send().await.expect("the inventory answers");
            assert_eq!(answer.status(), 200, "{op} of {name}: {:?}", answer.text().await);
        }
    }
}

async fn open(State(coordinator): State<Coordinator>, Json(body): Json<Value>) -> Answer {
    assert_eq!(body["timeout"], "1m");
    let id = Uuid::now_v7();
    coordinator.sagas().insert(id, OpenSaga::default());
    (StatusCode::CREATED, Json(json!({ "id": id })))
}

async fn show(State(coordinator): State<Coordinator>, Path(id): Path<Uuid>) -> Json<Value> {
    Json(json!({ "status": coordinator.sagas()[&id].status.unwrap_or("running") }))
}

async fn branch(
    State(coordinator): State<Coordinator>,
    Path(id): Path<Uuid>,
    Json(body): Json<Value>,
) -> StatusCode {
    let mut sagas = coordinator.sagas();
    let saga = sagas.get_mut(&id).expect("a saga");
    if saga.branches.contains(&body) {
        return StatusCode::OK;
    }
    saga.branches.push(body);
    StatusCode::CREATED
}

async fn decide(
    State(coordinator): State<Coordinator>,
    Path((id, decision)): Path<(Uuid, String)>,
) -> StatusCode {
    let mut branches = coordinator.sagas()[&id].branches.clone();
    let (op, status) = match decision.as_str() {
        "commit" => ("confirm", "completed"),
        _ => ("compensation", "compensated"),
    };
    if op == "compensation" {
        branches.reverse();
    }
    for branch in &branches {
        coordinator.call(id, branch, op).await;
    }
    coordinator.sagas().get_mut(&id).expect("a saga").status = Some(status);
    StatusCode::OK
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn two_carts_are_confirmed_together_or_not_held_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("sqlite:{}/inventory.db", folder.path().display());
    let inventory = amends_inventory::open(amends_inventory::Config::new(store)).await.expect("it opens");
    inventory.replenish("opening", &[(1, 10), (2, 10)]).await.expect("goods come in");

    let coordinator = Coordinator {
        sagas: Arc::default(),
        inventory: Arc::default(),
        http: Shop::client().expect("a client"),
    };
    let at = serve(coordinator.clone().router()).await;
    let sagas = Sagas::at(&at, None).expect("a client");
    let inventory_at = serve(inventory.participant().clone().joins(&sagas).router()).await;
    coordinator.inventory.lock().expect("not poisoned").clone_from(&inventory_at);
    let shop = Shop { http: Shop::client().expect("a client"), coordinator: at, inventory: inventory_at };

    let cart =
        |order: &str, sku: i64, qty: u64| json!({ "order": order, "lines": [{ "sku": sku, "qty": qty }] });
    let fits = [cart("mine", 1, 3), cart("gift", 2, 4)];
    assert_eq!(shop.order("a", &fits).await.expect("an outcome"), Outcome::Confirmed);
    let too_much = [cart("ours", 1, 5), cart("hoard", 2, 7)];
    match shop.order("b", &too_much).await.expect("an outcome") {
        Outcome::Cancelled(why) => assert!(why.contains("wanted 7, available 6"), "{why}"),
        Outcome::Confirmed => panic!("7 of 6 pieces were confirmed"),
    }
    for (sku, usable, held) in [(1, 7, 3), (2, 6, 4)] {
        let stock = shop.stock(sku).await.expect("the stock");
        assert_eq!((&stock["usable"], &stock["held"]), (&json!(usable), &json!(held)), "sku {sku}: {stock}");
    }
    let audit = inventory.audit().await.expect("an audit");
    assert!(audit.kept, "{audit:#?}");
    let branches: Vec<Vec<Value>> = coordinator
        .sagas()
        .values()
        .map(|saga| saga.branches.iter().map(|branch| branch["confirm"].clone()).collect())
        .collect();
    assert_eq!(branches, [["inventory.confirm"; 2], ["inventory.confirm"; 2]]);

    // What is confirmed stays confirmed, whoever asks.
    let (id, first) =
        coordinator.sagas().iter().next().map(|(id, saga)| (*id, saga.branches[0].clone())).expect("one");
    let release = coordinator.http.post(format!("{}/release", shop.inventory)).json(&first["with"]);
    let release = release.header("saga-id", id.to_string()).header("saga-step", "cart-0");
    let release =
        release.header("saga-op", "compensation").header("saga-attempt", "1").header("idempotency-key", "k");
    assert_eq!(release.send().await.expect("an answer").status(), 409);
}
