//! What only SQLite can show: the lock, the disk, damage, and commits whose outcome is unknown.

use super::*;
use crate::conformance::{
    owner,
    sample::{Beginning, Plot, Script, asleep, id, moved},
};
use amends_saga::Timestamp;
use std::path::Path;
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(Options::new(path)).await.expect("the file can be opened")
}

fn first(n: u64) -> Append {
    Script::new(Beginning::nth(n).key(format!("k{n}")), Plot::Completes).next_append().expect("it begins")
}

async fn run(path: &Path, sql: &'static str) {
    let connector = Connector { path: path.to_owned(), size_max: AtomicU64::new(0) };
    let mut connection = connector.writer(false).await.expect("the file can be opened");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("the statement is sound");
}

fn refused(outcome: Result<SqliteStore, Error>) -> String {
    match outcome {
        Err(Error::Refused(why)) => why,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_has_the_file() {
    let directory = directory();
    let path = directory.path().join("a.db");
    let options = Options { name: "amends serve on 127.0.0.1:7070".to_owned(), ..Options::new(&path) };
    let store = SqliteStore::open(options.clone()).await.expect("the file is free");
    for shared in [false, true] {
        let why = refused(SqliteStore::open(Options { shared, ..options.clone() }).await);
        let process = format!("process {}", std::process::id());
        assert!(why.contains("amends serve on 127.0.0.1:7070") && why.contains(&process), "{why}");
    }
    drop(store);
    let shared = Options { shared: true, ..options.clone() };
    let one = SqliteStore::open(shared.clone()).await.expect("the file is free again");
    let two = SqliteStore::open(shared).await.expect("a shared file can be opened twice");
    refused(SqliteStore::open(options).await);
    drop((one, two));
}

#[tokio::test]
async fn the_next_process_claims_everything_at_once() {
    let directory = directory();
    let path = directory.path().join("a.db");
    let (me, next) = (owner("me"), owner("next"));
    let store = open(&path).await;
    store.heartbeat(&me, 3_600_000).await.expect("a new member");
    store.commit(&me, &[first(1), first(2)]).await.expect("it is written");
    drop(store);
    let store = open(&path).await;
    let claimed = store.claim(&next, 10).await.expect("a member may claim");
    assert_eq!(claimed.len(), 2, "the lock proves the old owner dead, whatever its lease says");
}

#[tokio::test]
async fn a_full_disk_writes_nothing_and_is_recovered_from() {
    let directory = directory();
    let path = directory.path().join("a.db");
    let me = owner("me");
    let store = open(&path).await;
    store.commit(&me, &[first(1)]).await.expect("it is written");
    store.limit_size(Some(1)).await.expect("the limit is taken");
    let batch: Vec<Append> = (2..300).map(first).collect();
    for _ in 0..2 {
        let outcome = store.commit(&me, &batch).await;
        assert!(
            matches!(&outcome, Err(Error::Unavailable(why)) if why.contains("disk is full")),
            "{outcome:?}"
        );
        assert_eq!(store.counts().await.expect("it can be read"), [(Status::Running, 1)]);
        assert_eq!(store.load(id(2)).await.expect("it can be read"), None);
    }
    store.limit_size(None).await.expect("the limit is taken");
    let outcomes = store.commit(&me, &batch).await.expect("there is space again");
    assert!(outcomes.iter().all(|outcome| *outcome == Written::Done));
    assert_eq!(store.counts().await.expect("it can be read"), [(Status::Running, 299)]);
}

#[tokio::test]
async fn a_damaged_saga_is_reported_and_holds_up_no_other() {
    for (damage, what) in [
        (
            "update journal set events = '[{' where seq_first = 1 and saga_id = (select min(id) from saga)",
            "journal",
        ),
        ("delete from journal where saga_id = (select min(id) from saga)", "0 records"),
        ("update saga set fingerprint = x'00' where id = (select min(id) from saga)", "1 bytes"),
        ("update saga set labels = '[]' where id = (select min(id) from saga)", "labels"),
    ] {
        let directory = directory();
        let path = directory.path().join("a.db");
        let me = owner("me");
        let store = open(&path).await;
        store.commit(&me, &[first(1), first(2)]).await.expect("it is written");
        run(&path, damage).await;
        let loaded = store.load(id(1)).await;
        assert!(matches!(&loaded, Err(Error::Corrupt(why)) if why.contains(what)), "{damage}: {loaded:?}");
        let listed = store.list(&Filter::default(), None, 10).await.expect("the others can be read");
        assert_eq!(listed.len(), 1, "{damage}");
        store.release(&me).await.expect("a member may leave");
        let claimed = store.claim(&owner("next"), 10).await.expect("the others can be claimed");
        assert_eq!(claimed.iter().map(|saga| saga.id).collect::<Vec<_>>(), [id(2)], "{damage}");
    }
}

#[tokio::test]
async fn a_damaged_saga_is_not_brought_back() {
    let directory = directory();
    let path = directory.path().join("a.db");
    let me = owner("me");
    let store = open(&path).await;
    store.commit(&me, &[first(1)]).await.expect("it is written");
    let stored = store.load(id(1)).await.expect("it can be read").expect("it is there");
    store.commit(&me, &[moved(&stored, Status::Completed)]).await.expect("it is written");
    run(&path, "update journal set events = '[{' where seq_first = 1").await;
    let revived = store.revive(&me, id(1)).await;
    assert!(matches!(&revived, Err(Error::Corrupt(why)) if why.contains("journal")), "{revived:?}");
    let connector = Connector { path, size_max: AtomicU64::new(0) };
    let mut reader = connector.reader().await.expect("the file can be opened");
    let row = sqlx::query("select owner is null, epoch from saga").fetch_one(&mut reader).await;
    let row = row.expect("it can be read");
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (1, 1), "and is left as it was");
}

#[tokio::test]
async fn processes_on_one_file_have_one_secret() {
    let directory = directory();
    let options = Options { shared: true, ..Options::new(directory.path().join("a.db")) };
    let one = SqliteStore::open(options.clone()).await.expect("the file can be opened");
    let two = SqliteStore::open(options).await.expect("the file can be opened");
    let (first, second) = tokio::join!(one.secret(), two.secret());
    assert_eq!(first.expect("there is one"), second.expect("there is one"));
}

#[tokio::test]
async fn a_damaged_secret_is_reported() {
    let directory = directory();
    let path = directory.path().join("a.db");
    let store = open(&path).await;
    run(&path, "pragma ignore_check_constraints = on; update store set secret = x'0102'").await;
    let secret = store.secret().await;
    assert!(matches!(&secret, Err(Error::Corrupt(why)) if why.contains("2 bytes")), "{secret:?}");
}

/// How many steps SQLite takes for a claim that finds nothing.
async fn steps_of_a_claim(store: &SqliteStore, me: &Owner) -> u64 {
    let steps = Arc::new(AtomicU64::new(0));
    let counted = steps.clone();
    let mut writer = store.writer.lock().await;
    let connection = writer.ready().await.expect("it is sound");
    connection.lock_handle().await.expect("it answers").set_progress_handler(1, move || {
        counted.fetch_add(1, Ordering::Relaxed);
        true
    });
    drop(writer);
    assert_eq!(store.claim(me, 64).await.expect("a member may claim"), []);
    steps.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_claim_costs_the_same_however_many_sleep() {
    let directory = directory();
    let me = owner("me");
    let mut steps = Vec::new();
    for sleepers in [1_000, 20_000] {
        let store = open(&directory.path().join(format!("{sleepers}.db"))).await;
        store.heartbeat(&me, 3_600_000).await.expect("a new member");
        let far = Timestamp(4_000_000_000_000);
        for from in (0..sleepers).step_by(1000) {
            let batch: Vec<Append> = (from..from + 1000).map(|n| asleep(first(n), far)).collect();
            store.commit(&me, &batch).await.expect("it is written");
        }
        store.commit(&me, &[first(1_000_000)]).await.expect("it is written");
        steps.push(steps_of_a_claim(&store, &me).await);
    }
    assert!(steps[1] <= steps[0] + 20, "{steps:?}");
}

#[tokio::test]
async fn a_damaged_file_is_found_by_the_check() {
    let directory = directory();
    let path = directory.path().join("a.db");
    let me = owner("me");
    let store = open(&path).await;
    store.commit(&me, &(1..200).map(first).collect::<Vec<_>>()).await.expect("it is written");
    drop(store);
    run(&path, "pragma wal_checkpoint(truncate)").await;
    let mut bytes = std::fs::read(&path).expect("the file can be read");
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    std::fs::write(&path, bytes).expect("the file can be written");
    let outcome = SqliteStore::open(Options { check: true, ..Options::new(&path) }).await;
    assert!(matches!(&outcome, Err(Error::Corrupt(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = directory();
    let path = directory.path().join("a.db");
    std::fs::write(&path, "not a database, and long enough to look like a file of some kind")
        .expect("written");
    refused(SqliteStore::open(Options::new(&path)).await);
    refused(SqliteStore::open(Options::new(directory.path().join("no/such/directory.db"))).await);
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused() {
    let directory = directory();
    let path = directory.path().join("a.db");
    drop(open(&path).await);
    run(&path, "insert into migration values (99, 'from the future', 0)").await;
    let why = refused(SqliteStore::open(Options::new(&path)).await);
    assert!(why.contains("99"), "{why}");
}

#[test]
fn versions_that_can_corrupt_a_file_are_refused() {
    for (version, sound) in [
        ("3.51.3", true),
        ("3.52.0", true),
        ("4.0.0", true),
        ("3.51.2", false),
        ("3.46.0", false),
        ("2.99.99", false),
        ("", false),
    ] {
        assert_eq!(connect::check_version(version).is_ok(), sound, "{version:?}");
    }
}

#[tokio::test]
async fn a_commit_made_again_is_done_once() {
    let directory = directory();
    let path = directory.path().join("a.db");
    let me = owner("me");
    let store = open(&path).await;
    let mut script = Script::new(Beginning::nth(1).key("k1"), Plot::Completes);
    let mut writer = store.writer.lock().await;
    while let Some(append) = script.next_append() {
        let batch = [append, first(2)];
        for _ in 0..3 {
            let outcomes = commit::again(&mut writer, &me, &batch).await.expect("it is written");
            assert_eq!(outcomes, [Written::Done, Written::Done]);
        }
    }
    drop(writer);
    let stored = store.load(id(1)).await.expect("it can be read").expect("it is there");
    assert_eq!(stored.head.status, Status::Completed);
    assert_eq!(store.counts().await.expect("it can be read"), [(Status::Running, 1), (Status::Completed, 1)]);
    store.revive(&me, id(1)).await.expect("it has completed");
    for until in [None, Some(Timestamp(4_000_000_000_000)), None] {
        let stored = store.load(id(1)).await.expect("it can be read").expect("it is there");
        let append = moved(&stored, Status::Compensating);
        let append = until.map_or(append.clone(), |until| asleep(append, until));
        let mut writer = store.writer.lock().await;
        for _ in 0..3 {
            let batch = std::slice::from_ref(&append);
            let outcomes = commit::again(&mut writer, &me, batch).await.expect("it is written");
            assert_eq!(outcomes, [Written::Done], "awake or asleep, and brought back");
        }
    }
    let counts = store.counts().await.expect("it can be read");
    assert_eq!(counts, [(Status::Running, 1), (Status::Compensating, 1)]);
}

#[tokio::test]
async fn a_dropped_future_leaves_nothing_half_done() {
    let directory = directory();
    let me = owner("me");
    let store = open(&directory.path().join("a.db")).await;
    store.heartbeat(&me, 60_000).await.expect("a new member");
    for n in 1..200u64 {
        let batch = [first(2 * n), first(2 * n + 1), first(1)];
        let time = std::time::Duration::from_micros(n * 7 % 900);
        let _ = tokio::time::timeout(time, store.commit(&me, &batch)).await;
        let _ = tokio::time::timeout(time, store.reclaim(&me, &[id(2 * n)])).await;
    }
    store.commit(&me, &[first(1000)]).await.expect("the writer is sound");
    let listed = store.list(&Filter::default(), None, 1000).await.expect("it can be read");
    assert!(listed.iter().any(|saga| saga.id == id(1000)), "what follows is durable");
    for n in 1..200 {
        let has = |wanted| listed.iter().any(|saga| saga.id == id(wanted));
        assert_eq!(has(2 * n), has(2 * n + 1), "a batch is written whole or not at all");
    }
    let live = store.counts().await.expect("it can be read");
    assert_eq!(live, [(Status::Running, listed.len() as u64)]);
}

#[tokio::test]
async fn two_processes_share_a_file_and_claim_each_saga_once() {
    let directory = directory();
    let options = Options { shared: true, ..Options::new(directory.path().join("a.db")) };
    let one = SqliteStore::open(options.clone()).await.expect("the file can be opened");
    let two = SqliteStore::open(options).await.expect("the file can be opened");
    let gone = owner("gone");
    one.commit(&gone, &(1..=60).map(first).collect::<Vec<_>>()).await.expect("it is written");
    one.release(&gone).await.expect("a member may leave");
    let claim_all = async |store: &SqliteStore, owner: Owner| {
        let mut ids = Vec::new();
        loop {
            let claimed = store.claim(&owner, 7).await.expect("a member may claim");
            if claimed.is_empty() {
                return ids;
            }
            ids.extend(claimed.iter().map(|saga| saga.id));
        }
    };
    let (mut all, more) = tokio::join!(claim_all(&one, owner("a")), claim_all(&two, owner("b")));
    all.extend(more);
    all.sort_unstable();
    assert_eq!(all, (1..=60).map(id).collect::<Vec<_>>(), "each exactly once");
}
