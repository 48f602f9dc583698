//! Stores with a planted fault, each of which the conformance suite has to catch by the check that is meant
//! for it.
//!
//! The faults are made in a sound file: its triggers are where SQLite's store keeps a cause and its effects
//! in one transaction, so to change one is to break a law.

use amends_store::{
    Store,
    conformance::{self, Subject},
    sqlite::{Options, SqliteStore},
};
use async_trait::async_trait;
use futures::FutureExt as _;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};
use tempfile::TempDir;

/// What is done to the file, and the law that the check complains of.
struct Planted {
    fault: &'static str,
    /// The check that has to catch it.
    check: &'static str,
    /// A trigger to be made anew with one text replaced by another, if any.
    trigger: Option<(&'static str, &'static str, &'static str)>,
    /// What is run besides.
    sql: &'static str,
    law: &'static str,
}

const PLANTED: &[Planted] = &[
    Planted {
        fault: "an item is not written with the event that opens it",
        check: "a repair item is one with its cause",
        trigger: None,
        sql: "drop trigger append_repairs",
        law: "right: Some(Item",
    },
    Planted {
        fault: "an append is fenced without undoing what it did before",
        check: "an append that does not fit changes nothing",
        trigger: Some(("append_more", "raise(abort, 'fenced')", "raise(ignore)")),
        sql: "",
        law: "[Fenced]",
    },
    Planted {
        fault: "an item is written once and then left as it is",
        check: "a repair item goes through the verbs",
        trigger: Some(("append_repairs", "assignee = excluded.assignee", "assignee = assignee")),
        sql: "",
        law: "right: (Assigned, Some(",
    },
    Planted {
        fault: "a commit resets how loudly an item's age was told",
        check: "an item's age is told once for each level",
        trigger: Some(("append_repairs", "seq = excluded.seq", "seq = excluded.seq, level = 0")),
        sql: "",
        law: "Some(2)",
    },
    Planted {
        fault: "a shelved saga stays with its owner, and is claimed",
        check: "what waits for an operator is nobody's",
        trigger: Some(("append_more", "new.status < 3 and new.wake_at is not null", "new.status < 3")),
        sql: "",
        law: "what waits for an operator is not claimed",
    },
    Planted {
        fault: "a shelved saga's last owner is fenced",
        check: "a shelved saga's last owner may go on",
        trigger: Some(("append_more", "or owner is null and status < 3", "")),
        sql: "",
        law: "fenced",
    },
    Planted {
        fault: "a sleeping saga stays with its owner, and is lost awake",
        check: "what sleeps is nobody's until its time",
        trigger: Some(("append_more", "new.asleep", "0")),
        sql: "",
        law: "it is kept as asleep",
    },
    Planted {
        fault: "a saga that begins asleep is its owner's, and claimed with what that leaves",
        check: "what sleeps is not forgotten with its owner",
        trigger: Some(("append_first", "new.asleep", "0")),
        sql: "",
        law: "what sleeps sleeps on",
    },
    Planted {
        fault: "a sleeping saga forgets its time when its owner leaves",
        check: "what sleeps is not forgotten with its owner",
        trigger: None,
        sql: "create trigger planted after delete on node
              begin update saga set wake_at = 0 where sleeper is not null; end",
        law: "what sleeps sleeps on",
    },
    Planted {
        fault: "a sleeping saga wakes later when its owner leaves",
        check: "what sleeps wakes at its time when its owner is gone",
        trigger: None,
        sql: "create trigger planted after delete on node
              begin update saga set wake_at = wake_at + 2000 where sleeper is not null; end",
        law: "nobody else would wake them",
    },
    Planted {
        fault: "a sleeping saga is not its last owner's to wake",
        check: "what sleeps is left to its last owner for a while",
        trigger: Some(("append_first", "new.asleep = 1 then new.owner", "new.asleep = 1 then 1")),
        sql: "",
        law: "its last owner is about to wake it",
    },
    Planted {
        fault: "a saga that sleeps again keeps its first time to wake",
        check: "a sleeping saga's last owner may go on",
        trigger: Some((
            "append_more",
            "wake_at = new.wake_at",
            "wake_at = case when new.asleep = 1 then max(wake_at, new.wake_at) else new.wake_at end",
        )),
        sql: "",
        law: "the last time to wake counts",
    },
    Planted {
        fault: "a sleeping saga's last owner is fenced",
        check: "a sleeping saga's last owner may go on",
        trigger: Some(("append_more", "or owner is null and status < 3", "")),
        sql: "",
        law: "fenced",
    },
    Planted {
        fault: "a completed saga takes more from whoever knows its end",
        check: "an ended saga takes no more",
        trigger: Some(("append_more", "or owner is null and status < 3", "or owner is null")),
        sql: "",
        law: "an ended saga has no owner",
    },
    Planted {
        fault: "a saga that was brought back takes nothing",
        check: "a completed saga is brought back",
        trigger: Some((
            "append_more",
            "(owner = new.owner or owner is null and status < 3)",
            "(owner = new.owner or owner is null) and status < 3",
        )),
        sql: "",
        law: "fenced",
    },
    Planted {
        fault: "a saga that was brought back takes from anybody",
        check: "a completed saga is brought back",
        trigger: Some(("append_more", "owner is null and status < 3", "status >= 3")),
        sql: "",
        law: "only who has brought it back may write",
    },
    Planted {
        fault: "a saga that lives again still has its end",
        check: "a completed saga is brought back",
        trigger: Some((
            "append_more",
            "ended_at = new.ended_at",
            "ended_at = coalesce(ended_at, new.ended_at)",
        )),
        sql: "",
        law: "it lives again",
    },
    Planted {
        fault: "a saga that lives again is counted as completed",
        check: "a completed saga is brought back",
        trigger: Some((
            "saga_tally",
            "new.status <> old.status",
            "new.status <> old.status and old.status < 3",
        )),
        sql: "",
        law: "and counted once",
    },
    Planted {
        fault: "an item is as loud as the older ones of its step, whatever the call",
        check: "a repair item may be of any call of any step",
        trigger: Some(("append_repairs", "and its.op = value ->> 3", "")),
        sql: "",
        law: "each call of each step has its own age",
    },
    Planted {
        fault: "the secret is another after a crash",
        check: "the secret is made once",
        trigger: None,
        sql: "create trigger planted after update of secret on store when old.secret is null
              begin update store set secret = randomblob(32); end",
        law: "the same whoever asks",
    },
    Planted {
        fault: "a settled item is not told of",
        check: "each change is told to whoever wants it",
        trigger: None,
        sql: "drop trigger repair_is_settled",
        law: "each hook what it wants",
    },
    Planted {
        fault: "an escalation is told of as an opening",
        check: "each change is told to whoever wants it",
        trigger: Some(("repair_is_escalated", "name, 1, new.item", "name, 0, new.item")),
        sql: "",
        law: "Escalated",
    },
    Planted {
        fault: "an event is gone once it was given to somebody, who may crash",
        check: "what is told is one with its cause",
        trigger: None,
        sql: "create trigger planted after update of due_at on outbox
              begin delete from outbox where n = new.n; end",
        law: "and the crash of who delivers it",
    },
    Planted {
        fault: "an event is not held for whoever was given it",
        check: "an event is given to one at a time until it is done",
        trigger: None,
        sql: "create trigger planted after update of attempts on outbox
              begin update outbox set due_at = 0 where n = new.n; end",
        law: "each is given to one",
    },
];

/// Files with the fault.
struct Wrong {
    directory: TempDir,
    files: AtomicU64,
    planted: &'static Planted,
}

impl Wrong {
    fn path(&self, n: u64) -> PathBuf {
        self.directory.path().join(format!("{n}.db"))
    }

    async fn open(&self, path: PathBuf) -> Box<dyn Store> {
        Box::new(SqliteStore::open(Options::new(path)).await.expect("the file can be opened"))
    }

    async fn plant(&self, path: &PathBuf) {
        let options = SqliteConnectOptions::new().filename(path).disable_statement_logging();
        let mut connection = options.connect().await.expect("the file can be opened");
        if let Some((name, from, to)) = self.planted.trigger {
            let sql: String = sqlx::query_scalar("select sql from sqlite_schema where name = ?")
                .bind(name)
                .fetch_one(&mut connection)
                .await
                .expect("there is such a trigger");
            assert!(sql.contains(from), "{name} has {from:?}");
            let sql = format!("drop trigger {name}; {}", sql.replace(from, to));
            run(&mut connection, sql).await;
        }
        run(&mut connection, self.planted.sql.to_owned()).await;
        connection.close().await.expect("the file can be closed");
    }
}

async fn run(connection: &mut SqliteConnection, sql: String) {
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await;
    done.expect("the statement is sound");
}

#[async_trait]
impl Subject for Wrong {
    async fn fresh(&self) -> Box<dyn Store> {
        let path = self.path(self.files.fetch_add(1, Ordering::Relaxed) + 1);
        drop(self.open(path.clone()).await);
        self.plant(&path).await;
        self.open(path).await
    }

    async fn reopen(&self, store: Box<dyn Store>) -> Box<dyn Store> {
        let old = self.path(self.files.load(Ordering::Relaxed));
        let new = self.path(self.files.fetch_add(1, Ordering::Relaxed) + 1);
        for suffix in ["", "-wal"] {
            let with = |path: &PathBuf| format!("{}{suffix}", path.display());
            std::fs::copy(with(&old), with(&new)).expect("the file can be copied");
        }
        drop(store);
        self.open(new).await
    }
}

#[tokio::test]
async fn every_planted_fault_is_caught() {
    for planted in PLANTED {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let wrong = Wrong { directory, files: AtomicU64::new(0), planted };
        let ran = AssertUnwindSafe(conformance::run_one(&wrong, planted.check)).catch_unwind().await;
        let Err(complaint) = ran else { panic!("not caught: {}", planted.fault) };
        let said = complaint.downcast_ref::<String>().cloned().unwrap_or_default();
        assert!(said.contains(planted.law), "{}: caught for another reason: {said}", planted.fault);
    }
}
