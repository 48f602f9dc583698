//! What comes back to an activity when it is over goes on to ordinary sales by itself.
//!
//! `activity_return` moves what is usable when it is called. What is set aside then stays with the activity, and when its
//! order is not paid, or called off, it comes back to a record that sells nothing any more. So whoever returns all that is
//! left has said that the rest may follow, and a round ([`Late`]) moves it as soon as it is usable, as long as the activity
//! is over: ended, or closed. Stock that is allocated anew, and undoing the return, takes that back. Where nobody returned
//! anything, which is refused when nothing is left, the same happens [`FORGOTTEN_AFTER`] an activity's end.
//!
//! What is moved is told in the log and in the flows, as a return that no saga caused. How much of activities that are over
//! is not moved yet is a figure: `amends_inventory_activity_leftovers`.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use amends_sdk::{Task, Tx, Writer};
use async_trait::async_trait;
use sqlx::{Row, SqliteConnection};

use super::{Stop, Way, transfer};
use crate::body::now_ms;
use crate::cart::OrderNo;
use crate::sqlite::Error;

/// How often a round is made where nobody says otherwise.
pub const EVERY: Duration = Duration::from_secs(5);

/// How long after its end an activity that nobody returned is returned.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The activities that are to have nothing usable and have some.
const LATE: &str = "
    select a.activity_id from inv_activity a
    where (a.ends_at <= ?2 or (a.returned_at is not null and (a.state = 2 or a.ends_at <= ?1)))
        and exists (select 1 from inv_stock s cross join inv_bucket b on b.stock_id = s.stock_id and b.bucket_no = 0
            where s.activity_id = a.activity_id and s.activity_id <> 0 and s.stock_type = 2 and s.dept_no = '*'
                and s.warehouse_no = '*' and s.stock_status = 1 and s.goods_level = 1 and s.channel = 0 and b.usable > 0)
    order by a.activity_id";

/// The rounds.
#[derive(Debug)]
pub(crate) struct Late {
    writer: Writer,
}

impl Late {
    pub(crate) fn new(writer: &Writer) -> Late {
        Late { writer: writer.clone() }
    }

    /// Makes rounds for ever; dropping it stops it, and nothing is lost.
    pub(crate) async fn watch(self, every: Duration) -> Infallible {
        loop {
            if let Err(error) = self.round(now_ms()).await {
                tracing::warn!(%error, "what came back to activities that are over could not be returned now");
            }
            tokio::time::sleep(every).await;
        }
    }

    /// One round, at a time in unix milliseconds; how many pieces were moved. Where there are none it only reads.
    pub(crate) async fn round(&self, now: i64) -> Result<i64, amends_sdk::Error> {
        if late(&mut *self.writer.database().readers().acquire().await?, now).await?.is_empty() {
            return Ok(0);
        }
        let moved = Arc::new(OnceLock::new());
        self.writer.run(Box::new(Return { now, moved: moved.clone() })).await?;
        Ok(moved.get().copied().unwrap_or_default())
    }
}

async fn late(connection: &mut SqliteConnection, now: i64) -> Result<Vec<i64>, sqlx::Error> {
    let forgotten_ms = i64::try_from(FORGOTTEN_AFTER.as_millis()).unwrap_or(i64::MAX);
    let query = sqlx::query_scalar(LATE).bind(now).bind(now.saturating_sub(forgotten_ms));
    query.fetch_all(connection).await
}

struct Return {
    now: i64,
    moved: Arc<OnceLock<i64>>,
}

#[async_trait]
impl Task for Return {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let mut moved = 0;
        for activity in late(tx.sqlite(), self.now).await? {
            moved += follow(tx.sqlite(), activity, self.now).await.map_err(Error::into_database)?;
        }
        let _ = self.moved.set(moved);
        Ok(())
    }
}

/// Moves what is usable of one activity; how many pieces that were.
async fn follow(connection: &mut SqliteConnection, activity: i64, now: i64) -> Result<i64, Error> {
    // Nobody names these moves; the last flow before them tells them apart.
    let last =
        sqlx::query("select coalesce(max(flow_id), 0) from inv_flow").fetch_one(&mut *connection).await?;
    let number = OrderNo::stored(&format!("activity:{activity}:late:{}", last.try_get::<i64, _>(0)?));
    let moved = async {
        let lines = transfer::left(connection, activity).await?;
        let by = transfer::By { number, cause: None };
        transfer::transfer(connection, activity, &lines, Way::Back, &by, now).await?;
        Ok(lines.into_values().sum())
    };
    match moved.await {
        Ok(moved) => {
            tracing::info!(activity, moved, "what came back to an activity that is over is sold ordinarily");
            Ok(moved)
        }
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Refused(refusal)) => {
            tracing::warn!(activity, %refusal, "what came back to an activity that is over stays there");
            Ok(0)
        }
        // Nobody has sent a body here.
        Err(Stop::Misfits(_)) => Ok(0),
    }
}
