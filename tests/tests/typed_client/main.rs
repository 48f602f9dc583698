//! The typed client against real coordinators: what a checkout flow and an operator do with it.

mod world;

use amends_client::{
    Branch, Client, Definition, Detail, Error, Name, Open, SagaView, Sagas, Signal, Slug, Start, Status,
    StepStatus,
    definition::{Built, call, expr, retry, signal, undo},
    has_ended,
    wire::api::{AssignRequest, BulkRequest, GiveUpRequest, RepairAction, RepairFilter, ResolveRequest},
};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use std::{
    pin::pin,
    time::{Duration, Instant},
};
use world::{PATIENCE, World, coordinator, stuck, url};

/// One step that takes, one that decides.
fn order() -> Built {
    let give = undo("shop.give").retry(retry().quick(1).attempts(1).first("10ms"));
    let order = Definition::named("order")
        .version(1)
        .input(json!({ "type": "object", "properties": { "decide": { "type": "string" } } }))
        .step(call("take", "shop.take").compensation(give).with(expr("input")))
        .step(call("decide", "shop.decide").read_only().with(expr("input")))
        .output(json!({ "taken": expr("steps.take.output.operation") }));
    order.build().expect("it has no fault")
}

/// One step that takes, and one that waits for a payment.
fn paid() -> Built {
    let paid = Definition::named("paid")
        .step(call("take", "shop.take").compensation("shop.give"))
        .step(signal("payment", "payment").timeout(PATIENCE));
    paid.build().expect("it has no fault")
}

fn slug<T: std::fmt::Debug>(result: Result<T, Error>) -> Slug {
    let problem = result.expect_err("a problem");
    problem.problem().unwrap_or_else(|| panic!("{problem}")).slug.expect("a kind that is known")
}

async fn repairs(client: &Client, saga: &SagaView) -> Vec<amends_client::RepairView> {
    let filter = RepairFilter { saga: Some(saga.id), ..RepairFilter::default() };
    for _ in 0..1_000 {
        let found: Vec<_> = client.repairs(&filter).try_collect().await.expect("a list");
        if !found.is_empty() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing is stuck");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_are_written_registered_and_run() {
    let world = World::start().await;
    let client = &world.client;
    let first = client.register(&order()).await.expect("it is registered");
    assert!(first.is_new && first.view.hash == order().hash());
    assert!(!client.register(&order()).await.expect("again").is_new);
    let other = Definition::named("order").version(1).step(call("take", "shop.take").read_only());
    let exists = client.register(&other.build().expect("no fault")).await.expect_err("another content");
    assert!(
        matches!(&exists.problem().expect("a problem").detail, Detail::Registered { hash } if hash == order().hash())
    );
    assert_eq!(client.definitions().await.expect("a list").len(), 1);
    assert_eq!(client.versions("order").await.expect("a list").len(), 1);
    let content = client.definition("order", 1).await.expect("it is there").content;
    assert_eq!(content, serde_json::from_str(order().json()).ok());

    let start = Start::of("order@1").input(&json!({})).key("k").label("order", "1");
    let done = client.run(start.clone(), PATIENCE).await.expect("it ends");
    assert_eq!((done.status, done.output.as_deref()), (Status::Completed, Some(&json!({ "taken": "take" }))));
    let again = client.start(start.clone().wait(PATIENCE)).await.expect("the same");
    assert_eq!((again.is_new, again.saga.id), (false, done.id));
    let reused = client.start(start.input(&json!({ "x": 1 }))).await.expect_err("another start");
    assert_eq!(reused.problem().expect("a problem").detail, Detail::KeyReused { saga: done.id });
    let misfit = client.start(Start::of("order").input(&json!({ "decide": 1 }))).await.expect_err("a misfit");
    assert!(
        matches!(&misfit.problem().expect("a problem").detail, Detail::Misfits(misfits) if misfits[0].path == "/decide")
    );
    let whole = client.run(Start::built(&order()).input(&json!({ "decide": "refuse" })), PATIENCE).await;
    assert_eq!(whole.expect("it ends").status, Status::Compensated);
    assert_eq!(slug(client.get(uuid::Uuid::now_v7()).await), Slug::NotFound);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_is_followed_signalled_cancelled_and_reverted() {
    let world = World::start().await;
    let client = &world.client;
    client.register(&paid()).await.expect("it is registered");
    let began = Instant::now();
    let waits = client.start(Start::of("paid").wait(Duration::from_millis(200))).await.expect("it starts");
    assert!(!has_ended(&waits.saga) && began.elapsed() >= Duration::from_millis(200));
    let late = client.wait_end(waits.saga.id, Duration::from_millis(200)).await.expect_err("it waits");
    assert!(matches!(late, Error::Timeout { known: Some(saga), .. } if saga.id == waits.saga.id));

    let id = waits.saga.id;
    let following = {
        let client = client.clone();
        tokio::spawn(async move { client.follow(id, 0).try_collect::<Vec<_>>().await })
    };
    assert_eq!(slug(client.signal(id, &Signal::of("weather")).await), Slug::NoSuchSignal);
    let payment = Signal::of("payment").id("p-1").payload(&json!({ "cents": 100 }));
    assert!(client.signal(id, &payment).await.expect("it is taken").is_taken);
    assert!(client.signal(id, &payment).await.expect("once").is_taken);
    let other = Signal::of("payment").payload(&json!(7));
    assert_eq!(slug(client.signal(id, &other).await), Slug::SignalConflict);
    let journal = following.await.expect("no panic").expect("the whole journal");
    assert_eq!(
        journal.iter().map(|item| item.seq).collect::<Vec<_>>(),
        (1..=journal.len() as u64).collect::<Vec<_>>()
    );
    assert_eq!(journal.last().map(|item| item.kind.as_str()), Some("completed"));

    assert_eq!(slug(client.cancel(id, None).await), Slug::SagaEnded);
    client.revert(id, Some("changed my mind")).await.expect("it turns round");
    let undone = client.wait_end(id, PATIENCE).await.expect("it ends");
    assert_eq!(undone.status, Status::Compensated);
    let rest: Vec<_> = client.follow(id, journal.len() as u64).try_collect().await.expect("the rest");
    assert_eq!(rest.last().map(|item| item.kind.as_str()), Some("compensated"));

    let other = client.start(Start::of("paid")).await.expect("it starts").saga.id;
    client.cancel(other, None).await.expect("it turns round");
    assert_eq!(client.wait_end(other, PATIENCE).await.expect("it ends").status, Status::Compensated);
    let undone = Sagas { status: vec![Status::Compensated], ..Sagas::default() };
    assert_eq!(client.list(&undone).try_collect::<Vec<_>>().await.expect("a list").len(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_saga_is_kept_or_undone_as_a_whole() {
    let world = World::start().await;
    let client = &world.client;
    let begin = Open::within(Duration::from_secs(60)).key("trip-7").label("trip", "7");
    let open = client.open(&begin).await.expect("it is begun");
    assert_eq!(client.open(&begin).await.expect("the same").id(), open.id());
    let branch = Branch::of("stock", "shop.give").confirm("shop.keep").with(&json!({ "order": 7 }));
    open.branch(&branch).await.expect("it is registered");
    open.branch(&branch).await.expect("again");
    assert_eq!(slug(open.branch(&branch.clone().with(&json!({}))).await), Slug::BranchConflict);
    assert_eq!(open.identity().1, open.id().to_string().as_str());
    open.renew(Duration::from_secs(90)).await.expect("it has more time");
    open.commit().await.expect("it is kept");
    open.commit().await.expect("still");
    let kept = open.wait_end(PATIENCE).await.expect("it ends");
    assert_eq!((kept.status, kept.open), (Status::Completed, true));
    let steps = kept.steps.expect("its branches");
    assert_eq!((steps[0].name.to_string().as_str(), steps[0].status), ("stock", StepStatus::Done));

    let open = client.open(&Open::within(Duration::from_secs(60))).await.expect("another");
    client.join(open.id()).branch(&branch).await.expect("somebody else's branch");
    open.rollback(Some("no seats")).await.expect("it is undone");
    open.rollback(None).await.expect("still");
    assert_eq!(open.wait_end(PATIENCE).await.expect("it ends").status, Status::Compensated);
    assert_eq!(slug(open.commit().await), Slug::SagaDecided);
    assert_eq!(slug(open.branch(&Branch::of("late", "shop.give")).await), Slug::SagaDecided);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_settles_what_is_stuck() {
    let world = World::start().await;
    let client = &world.client;
    client.register(&order()).await.expect("it is registered");
    let start = || client.start(Start::of("order").input(&stuck()));
    let by = || Some("ada".to_owned());
    let give_up = || GiveUpRequest { note: Some("it stays".into()), by: by() };

    let saga = start().await.expect("it starts").saga;
    let item = repairs(client, &saga).await.remove(0);
    let assign = AssignRequest { assignee: "ada".into(), note: None, by: by() };
    assert_eq!(client.assign_repair(item.id, &assign).await.expect("assigned").assignee, by());
    assert_eq!(slug(client.resolve_repair(item.id, &ResolveRequest::default()).await), Slug::NoteRequired);
    let by_hand = ResolveRequest { note: Some("given back".into()), by: by(), ..ResolveRequest::default() };
    client.resolve_repair(item.id, &by_hand).await.expect("resolved");
    assert_eq!(client.wait_end(saga.id, PATIENCE).await.expect("it ends").status, Status::Compensated);
    let settled = client.skip_repair(item.id, &give_up()).await.expect_err("it is settled");
    assert!(matches!(
        &settled.problem().expect("a problem").detail,
        Detail::Settled { settled: Some(settled), .. } if settled.by == by()
    ));
    assert_eq!(client.repair(item.id).await.expect("the item").notes.len(), 1);

    let saga = start().await.expect("it starts").saga;
    let item = repairs(client, &saga).await.remove(0);
    client.abandon_repair(item.id, &give_up()).await.expect("abandoned");
    assert_eq!(client.wait_end(saga.id, PATIENCE).await.expect("it ends").status, Status::Abandoned);

    for _ in 0..3 {
        repairs(client, &start().await.expect("it starts").saga).await;
    }
    assert_eq!(client.repair_summary().await.expect("numbers").open, 3);
    let all = BulkRequest {
        action: RepairAction::Skip,
        filter: RepairFilter { participant: Name::parse("shop").ok(), ..RepairFilter::default() },
        all: false,
        note: Some("they stay".into()),
        assignee: None,
        by: by(),
        dry_run: false,
        per_second: None,
    };
    assert_eq!(client.preview_bulk(&all).await.expect("a preview").matched, 3);
    let job = client.start_bulk(&all).await.expect("a job");
    let began = Instant::now();
    while client.bulk(job.id).await.expect("the job").done < 3 {
        assert!(began.elapsed() < PATIENCE, "{:?}", client.bulk(job.id).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_goes_away_is_not_noticed() {
    let world = World::start().await;
    let second = coordinator("two", &world.store).await;
    let urls = [url(&world.server), url(&second)];
    let both = urls.iter().fold(Client::builder(), |builder, url| builder.coordinator(url));
    let client = both.build().expect("a client");
    client.register(&paid()).await.expect("it is registered");
    let id = client.start(Start::of("paid")).await.expect("it starts").saga.id;

    let following = {
        let client = client.clone();
        tokio::spawn(async move {
            let journal = client.follow(id, 0);
            let mut journal = pin!(journal);
            let mut seen = Vec::new();
            while let Some(item) = journal.next().await {
                seen.push(item.expect("an event").seq);
            }
            seen
        })
    };
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { client.wait_end(id, PATIENCE).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.server.stop().await;
    client.signal(id, &Signal::of("payment").id("p")).await.expect("the other takes it");
    assert_eq!(waiting.await.expect("no panic").expect("it ends").status, Status::Completed);
    let seen = following.await.expect("no panic");
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>(), "each event once and in order");
    second.stop().await;
}
