//! SQLite's checkpoints, beside the writer.
//!
//! SQLite brings its log into the database within whichever commit finds the log long, and whoever waits for that commit
//! waits for the checkpoint as well. Here another connection does it while the writer goes on. Where it does not keep up,
//! commits bring the log in from [`LOG_PAGES`] on. Neither can begin the log anew while somebody reads from an old snapshot.

use sqlx::{
    ConnectOptions, Connection as _,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};
use std::{path::PathBuf, time::Duration};
use tokio::sync::mpsc;

/// Pages of the log with which a commit brings it in by itself: 64 MiB.
pub(super) const LOG_PAGES: &str = "16000";
/// How long the log's file is at least when it is brought in here, in bytes; what is shorter costs a commit little. The file
/// keeps its length when the log begins anew, so a database that was busy once is looked after from then on.
const LOG_BYTES: u64 = 4 << 20;
/// How long to wait between two checkpoints.
const PAUSE: Duration = Duration::from_millis(100);

/// Begins to look after the log of a database, and returns where to say that something was committed.
///
/// It ends when nobody can say so any more.
pub(super) fn beside(options: &SqliteConnectOptions) -> mpsc::Sender<()> {
    let (committed, hear) = mpsc::channel(1);
    tokio::spawn(look_after(options.clone(), hear));
    committed
}

async fn look_after(options: SqliteConnectOptions, mut committed: mpsc::Receiver<()>) {
    let mut log = options.get_filename().as_os_str().to_owned();
    log.push("-wal");
    let log = PathBuf::from(log);
    // A file that has gone is not made anew.
    let options = options.create_if_missing(false);
    let (mut kept, mut fails) = (None, false);
    while committed.recv().await.is_some() {
        tokio::time::sleep(PAUSE).await;
        if !std::fs::metadata(&log).is_ok_and(|log| log.len() >= LOG_BYTES) {
            continue;
        }
        let done = bring_in(&options, &mut kept).await;
        if let Err(error) = &done {
            kept = None;
            if !fails {
                tracing::warn!(%error, "the log cannot be brought into the database; it grows until it can");
            }
        }
        fails = done.is_err();
    }
    if let Some(connection) = kept {
        let _ = connection.close().await;
    }
}

/// Brings in what no reader still needs in the log, and waits for nobody.
async fn bring_in(
    options: &SqliteConnectOptions,
    kept: &mut Option<SqliteConnection>,
) -> Result<(), sqlx::Error> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(options.connect().await?),
    };
    sqlx::query("pragma wal_checkpoint(passive)").execute(connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    use crate::{Database, Task, Tx, Writer};
    use async_trait::async_trait;
    use std::time::Duration;

    /// A hundred thousand bytes, fifty times.
    struct Fill;

    #[async_trait]
    impl Task for Fill {
        async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
            let query = "with recursive n(i) as (values (1) union all select i + 1 from n where i < 50)
                insert into filler select zeroblob(100000) from n";
            sqlx::query(query).execute(tx.sqlite()).await.map(drop)
        }
    }

    #[tokio::test]
    async fn a_long_log_is_brought_in_beside_the_writer() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let store = format!("sqlite:{}", path.display());
        let database = Database::open(&store, &["create table filler (bytes blob)"]).await.expect("it opens");
        let writer = Writer::start(&database);
        let length = || std::fs::metadata(&path).map_or(0, |file| file.len());
        let before = length();
        writer.run(Box::new(Fill)).await.expect("it is written");
        // No commit has brought it in: the log is shorter than that by far.
        let mut waited = 0;
        while length() < 5_000_000 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            waited += 1;
            assert!(waited < 600, "{before} bytes before, {} bytes now", length());
        }
    }
}
