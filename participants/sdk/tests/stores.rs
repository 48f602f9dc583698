//! Which stores can be opened, and what is said of the others.

use amends_sdk::{Database, Error, barrier};

#[tokio::test]
async fn a_store_is_opened_again_with_what_it_holds_and_never_by_an_older_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("sqlite:{}/deep/er/own.db", folder.path().display());
    let newer = [barrier::SQLITE, "create table one (n integer)"];
    for _ in 0..2 {
        let database = Database::open(&store, &newer).await.expect("it opens");
        let tables: i64 = sqlx::query_scalar("select count(*) from sqlite_schema where type = 'table'")
            .fetch_one(database.readers())
            .await
            .expect("a query");
        assert_eq!(tables, 2);
    }
    let older = Database::open(&store, &newer[..1]).await;
    assert!(older.is_err_and(|error| error.to_string().contains("use a newer program")));
}

#[tokio::test]
async fn a_script_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("sqlite:{}/own.db", folder.path().display());
    let broken = ["create table one (n integer); create tabel two (n integer)"];
    assert!(Database::open(&store, &broken).await.is_err());
    Database::open(&store, &["create table one (n integer)"]).await.expect("one is not there yet");
}

#[tokio::test]
async fn another_store_is_refused_without_repeating_its_password() {
    for (store, says) in [
        ("postgres://amends:hunter2@db/shop", "use sqlite:PATH in place of postgres"),
        ("mysql://amends:hunter2@db/shop", "use sqlite:PATH in place of mysql"),
        ("redis://amends:hunter2@db", "\"redis\" names no store"),
        ("shop.db", "\"shop.db\" names no store"),
        ("", "\"\" names no store"),
    ] {
        let error = Database::open(store, &[]).await.expect_err(store);
        assert!(matches!(error, Error::UnknownStore(_) | Error::OtherStore(_)), "{store}");
        let said = error.to_string();
        assert!(said.contains(says) && !said.contains("hunter2"), "{store}: {said}");
    }
}

#[tokio::test]
async fn a_barrier_that_knew_no_rounds_is_given_them_with_its_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("sqlite:{}/own.db", folder.path().display());
    let row = "insert into saga_barrier (saga_id, step, op, request_hash, status, created_at) values (x'01', 's', 0, x'', 409, 0)";
    let older = [barrier::SQLITE, row];
    Database::open(&store, &older).await.expect("it opens");
    let newer = [older[0], older[1], barrier::ROUND, barrier::OP_SQLITE];
    for known in [&newer[..3], &newer] {
        let database = Database::open(&store, known).await.expect("it opens");
        let row: (i64, i64) = sqlx::query_as("select round, status from saga_barrier")
            .fetch_one(database.readers())
            .await
            .expect("a query");
        assert_eq!(row, (0, 409));
    }
}
