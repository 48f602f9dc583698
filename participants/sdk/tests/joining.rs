//! Taking part in open sagas: the branch is registered before its work, a rollback that is quicker refuses the work, and
//! the identity passes from service to service.

mod world;

use amends_sdk::{
    Branch, CallOp, InSaga, JoinError, Registered, Reply, Sagas,
    carry::{self, Carried, carry},
};
use axum::{
    Json, Router,
    extract::{FromRef, Path, State},
    http::{HeaderMap, StatusCode},
    middleware::from_fn,
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::net::TcpListener;
use uuid::Uuid;
use world::{Answer, Ask, Run, World};

/// A coordinator's open sagas, as far as a participant sees them.
#[derive(Clone, Default)]
struct Board(Arc<Mutex<Sketch>>);

#[derive(Default)]
struct Sketch {
    branches: BTreeMap<(Uuid, String), Value>,
    order: Vec<String>,
    token: Option<String>,
    decided: bool,
    /// How many requests are answered 503 before one is read.
    away: u32,
    asked: u32,
}

impl Board {
    fn sketch(&self) -> MutexGuard<'_, Sketch> {
        self.0.lock().expect("not poisoned")
    }
}

fn no(status: StatusCode, slug: &str, detail: &str) -> Response {
    (status, Json(json!({ "slug": slug, "detail": detail }))).into_response()
}

async fn register(
    State(board): State<Board>,
    Path(saga): Path<Uuid>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let mut sketch = board.sketch();
    sketch.asked += 1;
    if sketch.away > 0 {
        sketch.away -= 1;
        return no(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "the store is away");
    }
    sketch.token = headers.get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
    if saga.is_nil() {
        return no(StatusCode::NOT_FOUND, "not_found", "no saga has this id");
    }
    let name = body["name"].as_str().expect("a name").to_owned();
    if body["compensation"] == "nobody.undoes" {
        return no(StatusCode::CONFLICT, "unknown_operation", "nobody.undoes is offered by nobody");
    }
    match sketch.branches.get(&(saga, name.clone())) {
        Some(known) if *known == body => (StatusCode::OK, Json(json!({}))).into_response(),
        Some(_) => no(StatusCode::CONFLICT, "branch_conflict", "another branch has this name"),
        None if sketch.decided => no(StatusCode::CONFLICT, "saga_decided", "the saga was rolled back"),
        None => {
            sketch.order.push(name.clone());
            sketch.branches.insert((saga, name), body);
            (StatusCode::CREATED, Json(json!({}))).into_response()
        }
    }
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A participant that joins open sagas, its coordinator, and a folder for its database.
struct Scene {
    world: World,
    board: Board,
    sagas: Sagas,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn set() -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        let mut world = World::open(&format!("sqlite:{}/world.db", folder.path().display()), Run::Each).await;
        let board = Board::default();
        let router = Router::new().route("/v1/sagas/{id}/branches", post(register)).with_state(board.clone());
        let sagas = Sagas::at(&serve(router).await, Some("secret".to_owned())).expect("a client");
        world.router = world.participant.clone().joins(&sagas).router();
        Scene { world, board, sagas, _folder: folder }
    }

    /// Asks for an operation within a saga.
    async fn join(&self, saga: Uuid, branch: &str, operation: &str, body: Value) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("saga-id", saga.to_string().parse().expect("a header"));
        headers.insert("saga-branch", branch.parse().expect("a header"));
        self.world.post(&format!("/{operation}"), headers, body.to_string()).await
    }
}

#[tokio::test]
async fn an_operation_that_is_asked_for_within_a_saga_registers_its_branch_and_is_done_once() {
    let scene = Scene::set().await;
    let (saga, five) = (Uuid::now_v7(), json!({ "points": 5 }));
    for _ in 0..2 {
        let answer = scene.join(saga, "bonus", "add", five.clone()).await;
        assert_eq!((answer.status, answer.body), (200, five.clone()));
    }
    assert_eq!(scene.world.effects(saga).await, ["bonus action 5"]);
    let registered = scene.board.sketch().branches.clone();
    let body =
        json!({ "name": "bonus", "compensation": "account.take", "confirm": "account.seal", "with": five });
    assert_eq!(registered, BTreeMap::from([((saga, "bonus".to_owned()), body)]));
    assert_eq!(scene.board.sketch().token.as_deref(), Some("Bearer secret"));

    // What the coordinator does when the saga is committed, and what it does to another that is rolled back.
    let confirm = Ask::new(saga, "bonus", CallOp::Confirm, five.clone());
    assert_eq!(scene.world.ask(&confirm).await.status, 200);
    assert_eq!(scene.world.effects(saga).await, ["bonus action 5", "bonus confirm 5"]);
    let other = Uuid::now_v7();
    assert_eq!(scene.join(other, "bonus", "add", five.clone()).await.status, 200);
    assert_eq!(scene.world.ask(&Ask::new(other, "bonus", CallOp::Compensation, five)).await.status, 200);
    assert_eq!(scene.world.effects(other).await, ["bonus action 5", "bonus compensation 5"]);
}

#[tokio::test]
async fn work_whose_branch_is_not_taken_is_not_done() {
    let scene = Scene::set().await;
    let (saga, five, six) = (Uuid::now_v7(), json!({ "points": 5 }), json!({ "points": 6 }));
    let refuse = json!({ "points": 5, "then": "refuse" });
    let check = async |name: &str, saga: Uuid, body: &Value, status: u16, says: &str| {
        let answer = scene.join(saga, name, "add", body.clone()).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert!(answer.body.to_string().contains(says), "{name}: {answer:?} does not say {says}");
    };
    check("a", saga, &five, 200, "5").await;
    check("a", saga, &six, 409, "another branch of this name").await;
    check("b", Uuid::nil(), &five, 409, "no such open saga").await;
    check("c", saga, &refuse, 409, "not today").await;
    scene.board.sketch().away = 2;
    check("d", saga, &five, 200, "5").await;
    scene.board.sketch().away = 99;
    check("e", saga, &five, 503, "could not be asked").await;
    scene.board.sketch().away = 0;
    scene.board.sketch().decided = true;
    check("f", saga, &five, 409, r#""late":true"#).await;
    assert_eq!(scene.world.effects(saga).await, ["a action 5", "d action 5"]);

    // The registration was heard and its answer lost; then the saga was rolled back.
    scene.board.sketch().decided = false;
    let branch = Branch::of("g", "account.take").confirm("account.seal").with(five.clone());
    let in_saga = scene.sagas.saga(saga);
    assert_eq!(in_saga.register(&branch).await, Ok(Registered::New));
    assert_eq!(in_saga.register(&branch).await, Ok(Registered::Again));
    assert_eq!(scene.world.ask(&Ask::new(saga, "g", CallOp::Compensation, five.clone())).await.status, 200);
    check("g", saga, &five, 409, "compensated before").await;
    let unknown = in_saga.register(&Branch::of("h", "nobody.undoes")).await;
    assert!(matches!(unknown, Err(JoinError::Refused { status: 409, .. })), "{unknown:?}");
    assert_eq!(scene.world.effects(saga).await, ["a action 5", "d action 5"]);
    assert_eq!(scene.board.sketch().order, ["a", "c", "d", "g"]);
}

#[tokio::test]
async fn what_could_not_be_undone_is_not_done_within_a_saga() {
    let scene = Scene::set().await;
    let saga = Uuid::now_v7();
    for (operation, says) in [("echo", "behind no barrier"), ("take", "names no compensation")] {
        let answer = scene.join(saga, "s", operation, json!({})).await;
        assert_eq!((answer.status, answer.body["slug"].as_str()), (404, Some("not_found")), "{answer:?}");
        assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{answer:?}");
    }
    let mut headers = HeaderMap::new();
    headers.insert("saga-branch", "s".parse().expect("a header"));
    assert_eq!(scene.world.post("/add", headers, "{}").await.status, 400);
    let alone = Scene { world: World { router: scene.world.participant.router(), ..scene.world }, ..scene };
    let answer = alone.join(saga, "s", "add", json!({})).await;
    assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains("knows no coordinator")));
    assert_eq!(alone.board.sketch().asked, 0);
    assert!(alone.world.effects(saga).await.is_empty());
}

/// A service of its own, without the participant's addresses, that is called by another.
#[derive(Clone)]
struct Bank {
    sagas: Sagas,
    seen: Arc<Mutex<Vec<Option<Uuid>>>>,
}

impl FromRef<Bank> for Sagas {
    fn from_ref(bank: &Bank) -> Sagas {
        bank.sagas.clone()
    }
}

async fn pay(State(bank): State<Bank>, saga: Option<InSaga>) -> Reply {
    bank.seen.lock().expect("not poisoned").push(saga.map(|saga| saga.id()));
    Reply::done(json!("paid"))
}

async fn must(saga: InSaga) -> Reply {
    Reply::done(json!(saga.id()))
}

#[tokio::test]
async fn the_identity_passes_from_service_to_service() {
    let scene = Scene::set().await;
    let seen = Arc::<Mutex<Vec<Option<Uuid>>>>::default();
    let bank = Bank { sagas: scene.sagas.clone(), seen: seen.clone() };
    let inner =
        serve(Router::new().route("/pay", post(pay)).route("/must", post(must)).with_state(bank)).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let pass = {
        let (client, inner) = (client.clone(), inner.clone());
        move || async move {
            let passed = client.post(format!("{inner}/pay")).in_same_saga().send().await.expect("an answer");
            // The same with a request that is built already.
            let mut built = client.post(format!("{inner}/pay")).build().expect("a request");
            if let Some(saga) = carry::current() {
                built = built.in_saga(saga);
            }
            let again = client.execute(built).await.expect("an answer");
            (passed.status(), again.text().await.expect("a text"))
        }
    };
    let front = Router::new().route(
        "/trip",
        post(async move || {
            let (status, text) = pass().await;
            (status, text)
        }),
    );
    let front = serve(front.layer(from_fn(carry))).await;
    let saga = Uuid::now_v7();
    let trip = || client.post(format!("{front}/trip"));
    for request in [trip().in_saga(saga), trip()] {
        assert_eq!(request.send().await.expect("an answer").status(), 200);
    }
    assert_eq!(*seen.lock().expect("not poisoned"), [Some(saga), Some(saga), None, None]);

    let bad = trip().header("saga-id", "order-1").send().await.expect("an answer");
    assert_eq!(bad.status(), 400);
    let must = || client.post(format!("{inner}/must"));
    let told = must().in_saga(saga).send().await.expect("an answer");
    assert_eq!((told.status().as_u16(), told.json::<Value>().await.expect("JSON")), (200, json!(saga)));
    assert_eq!(must().send().await.expect("an answer").status(), 400);
    let twice = must().in_saga(saga).header("saga-id", saga.to_string());
    assert_eq!(twice.send().await.expect("an answer").status(), 400);
}
