//! Files of every earlier version are brought up to date with what they hold.

use super::*;
use crate::{
    Store as _,
    conformance::{
        owner,
        sample::{Beginning, Plot, Script, id},
    },
    repairs::{ItemFilter, Repairs as _},
    sqlite::{Options, SqliteStore, connect::Connector},
};
use amends_saga::{Op, Status, coordinator::Append};
use std::{path::Path, sync::atomic::AtomicU64};
use tempfile::TempDir;

/// A file of a version, with four sagas: one that runs, one that is repaired, one that waits for an operator,
/// one that is compensated.
struct Old {
    directory: TempDir,
    connection: SqliteConnection,
}

const SAGAS: [(u64, i64, Option<i64>); 4] = [(1, 0, Some(1)), (2, 2, Some(1)), (3, 2, None), (4, 4, None)];

fn first(n: u64) -> Append {
    Script::new(Beginning::nth(n).key(format!("k{n}")), Plot::Completes).next_append().expect("it begins")
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(Options::new(path)).await.expect("the file can be opened")
}

impl Old {
    async fn make(version: i64) -> Old {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let connector = Connector { path: directory.path().join("a.db"), size_max: AtomicU64::new(0) };
        let mut connection = connector.writer(true).await.expect("a file can be made");
        migrate_to(&mut connection, version).await.expect("the version is made");
        let mut old = Old { directory, connection };
        old.run("insert into saga_definition values (1, 'checkout', 1, 'hash')").await;
        for (n, status, wake_at) in SAGAS {
            old.write(&first(n), status, wake_at, version).await;
        }
        old
    }

    async fn run(&mut self, sql: &'static str) {
        run(&mut self.connection, sql).await.expect("it fits");
    }

    /// Writes a saga with one append. In the first version every live one had an owner.
    async fn write(&mut self, append: &Append, status: i64, wake_at: Option<i64>, version: i64) {
        let events = serde_json::to_string(&append.records).expect("records can be written");
        let owned = status < 3 && (version == 1 || wake_at.is_some());
        let records = append.records.len() as i64;
        let rows = [
            sqlx::query(
                "insert into saga (id, status, owner, epoch, seq, definition, created_at, updated_at, ended_at,
                   wake_at, key, fingerprint)
                 values (?, ?, ?, 4, ?, 1, 1, 1, null, ?, ?, zeroblob(32))",
            )
            .bind(append.id.as_bytes().to_vec())
            .bind(status)
            .bind(owned.then_some(7))
            .bind(records)
            .bind(wake_at)
            .bind(append.head.key.clone()),
            sqlx::query("insert into journal values (?, 1, ?, ?)")
                .bind(append.id.as_bytes().to_vec())
                .bind(records)
                .bind(events),
            sqlx::query("update tally set sagas = sagas + 1 where status = ?").bind(status),
        ];
        for row in rows {
            row.execute(&mut self.connection).await.expect("it fits");
        }
    }

    /// Opens the file with this program, and demands that the sagas are all there.
    async fn brought_up_to_date(self) -> (TempDir, SqliteStore) {
        drop(self.connection);
        let store = open(&self.directory.path().join("a.db")).await;
        let statuses = [Status::Running, Status::Repair, Status::Compensated].into_iter().zip([1, 2, 1]);
        assert_eq!(store.counts().await.expect("it can be read"), statuses.collect::<Vec<_>>());
        for (n, _, wake_at) in SAGAS {
            let stored = store.load(id(n)).await.expect("it can be read").expect("it is there");
            assert_eq!((stored.epoch, stored.records), (4, first(n).records), "saga {n} comes whole");
            assert_eq!((stored.head.wake_at.map(|at| at.0), stored.head.asleep), (wake_at, false));
        }
        let found = store.find_key("k2").await.expect("it can be read");
        assert_eq!(found.map(|(found, _)| found), Some(id(2)));
        let live = store.versions().await.expect("it can be read");
        assert_eq!(live, [("checkout".to_owned(), 1, 3)]);
        let claimed = store.claim(&owner("next"), 10).await.expect("a member may claim");
        let claimed: Vec<_> = claimed.iter().map(|saga| saga.id).collect();
        assert_eq!(claimed, [id(2), id(1)], "what only waits for an operator is nobody's");
        (self.directory, store)
    }
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date_with_its_sagas() {
    let (directory, store) = Old::make(1).await.brought_up_to_date().await;
    drop(store);
    open(&directory.path().join("a.db")).await;
}

#[tokio::test]
async fn a_file_of_the_second_version_is_brought_up_to_date_with_its_items() {
    let mut old = Old::make(2).await;
    old.run(
        "insert into pile values (5, 'inventory', 'checkout', 'reserve', 1, 'release', 2, 0, '');
         insert into hook values ('a', 7);
         insert into repair (item, saga_id, pile, status, number, opened_at, first_opened_at, updated_at, seq,
           level)
         select x'00000000000000000000000000000001', id, 5, 0, 1, 8, 8, 8, 3, 0 from saga where key = 'k3'",
    )
    .await;
    let (_directory, store) = old.brought_up_to_date().await;
    let items = store.items(&ItemFilter::default(), None, 10).await.expect("they can be read");
    let [item] = &items[..] else { panic!("there is one item: {items:?}") };
    assert_eq!((item.saga, item.op, item.step.as_deref()), (Some(id(3)), Op::Compensation, Some("reserve")));
    assert_eq!(store.deliveries_pending().await.expect("it can be read"), 1, "and what was to be told");
    let parked = item.saga.expect("it has one");
    let taken = store.reclaim(&owner("operator"), &[parked]).await.expect("a member may reclaim");
    assert_eq!(taken.len(), 1, "it can be taken back");
    store.secret().await.expect("it gets a secret");
}
