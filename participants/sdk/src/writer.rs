//! The writer: one task that takes everything that waits and commits it as one transaction.
//!
//! While a transaction is being committed the next calls gather, so load sets the size of a batch and a
//! lone call waits for nobody. A batch that fails is rolled back and run again one by one, so that one bad
//! call cannot fail its neighbours. No answer is given before the commit.

use crate::{Call, Database, Error, Reply, Tx, barrier};
use amends_wire::participant::CallOp;
use async_trait::async_trait;
use sqlx::{Connection, SqliteConnection};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// Calls in one transaction, at most.
const BATCH_MAX: usize = 1024;
/// Calls waiting, at most; one more is told to come back.
const WAITING_MAX: usize = 16_384;

/// What guarded operations do, inside the writer's transaction.
#[async_trait]
pub trait Body: Send + Sync + 'static {
    /// Carries out calls in their order and returns a reply for each.
    ///
    /// Every call is the first of its kind here. Nothing of a call that is refused may stay in the
    /// transaction. A reply that is not definite (5xx) makes the writer run that call alone and roll it back.
    ///
    /// # Errors
    /// The database's own; the writer rolls back and tries the calls one by one.
    async fn perform(&self, tx: &mut Tx<'_>, calls: &[&Call]) -> Result<Vec<Reply>, sqlx::Error>;
}

/// Something else to be done by the writer, in a transaction of its own.
#[async_trait]
pub trait Task: Send {
    /// Does it. Dropped without a word when it fails; the transaction is then rolled back.
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error>;
}

/// The way to the writer's task; cheap to clone. The task ends with the last of its writers.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
    database: Database,
}

enum Job {
    Call(Arc<dyn Body>, Call, oneshot::Sender<Reply>),
    Task(Box<dyn Task>, oneshot::Sender<Result<(), sqlx::Error>>),
}

struct Waiting {
    body: Arc<dyn Body>,
    call: Call,
    reply: oneshot::Sender<Reply>,
}

impl Writer {
    /// Starts a writer on a database whose schema has the barrier's table.
    pub fn start(database: &Database) -> Writer {
        let (queue, jobs) = mpsc::channel(WAITING_MAX);
        tokio::spawn(work(database.clone(), jobs));
        Writer { queue, database: database.clone() }
    }

    /// The database it writes.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Queues a guarded call; the answer comes when it is durable.
    pub(crate) fn call(&self, body: Arc<dyn Body>, call: Call) -> Result<oneshot::Receiver<Reply>, Error> {
        let (reply, answer) = oneshot::channel();
        self.queue(Job::Call(body, call, reply))?;
        Ok(answer)
    }

    /// Does something else with the writer's connection and returns when it is durable.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Stopping`], or the database's own.
    pub async fn run(&self, task: Box<dyn Task>) -> Result<(), Error> {
        let (reply, done) = oneshot::channel();
        self.queue(Job::Task(task, reply))?;
        done.await.map_err(|_| Error::Stopping)?.map_err(Error::Database)
    }

    fn queue(&self, job: Job) -> Result<(), Error> {
        self.queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy(WAITING_MAX),
            mpsc::error::TrySendError::Closed(_) => Error::Stopping,
        })
    }
}

async fn work(database: Database, mut jobs: mpsc::Receiver<Job>) {
    let mut taken = Vec::with_capacity(BATCH_MAX);
    let mut later: VecDeque<Waiting> = VecDeque::new();
    loop {
        if later.is_empty() && jobs.recv_many(&mut taken, BATCH_MAX).await == 0 {
            return;
        }
        let mut waiting: Vec<Waiting> = later.drain(..).collect();
        while taken.len() + waiting.len() < BATCH_MAX
            && let Ok(job) = jobs.try_recv()
        {
            taken.push(job);
        }
        let mut tasks = Vec::new();
        for job in taken.drain(..) {
            match job {
                Job::Call(body, call, reply) => waiting.push(Waiting { body, call, reply }),
                Job::Task(task, reply) => tasks.push((task, reply)),
            }
        }
        let mut connection = database.writer.lock().await;
        let batch = distinct(waiting, &mut later);
        if !batch.is_empty() {
            write(&mut connection, batch).await;
        }
        for (task, reply) in tasks {
            let _ = reply.send(alone(&mut connection, task).await);
        }
    }
}

/// Leaves one call of each saga's step in the batch; the others meet its row in the next one.
fn distinct(waiting: Vec<Waiting>, later: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut seen: BTreeSet<(Uuid, String)> = BTreeSet::new();
    let mut batch = Vec::with_capacity(waiting.len());
    for one in waiting {
        if seen.insert((one.call.caller.saga, one.call.caller.step.clone())) {
            batch.push(one);
        } else {
            later.push_back(one);
        }
    }
    batch
}

/// Runs a batch, and where it fails every call of it alone.
async fn write(connection: &mut SqliteConnection, batch: Vec<Waiting>) {
    let all: Vec<&Waiting> = batch.iter().collect();
    let replies = match transact(connection, &all).await {
        Ok(replies) => replies,
        Err(error) if batch.len() == 1 => vec![failed(&error)],
        Err(error) => {
            tracing::warn!(%error, calls = batch.len(), "a batch failed; its calls are run one by one");
            let mut replies = Vec::with_capacity(batch.len());
            for one in &batch {
                let reply = transact(connection, &[one]).await;
                replies.push(reply.map_or_else(|error| failed(&error), |mut replies| replies.remove(0)));
            }
            replies
        }
    };
    for (one, reply) in batch.into_iter().zip(replies) {
        let _ = one.reply.send(reply);
    }
}

fn failed(error: &Failed) -> Reply {
    match error {
        Failed::Database(error) => {
            tracing::error!(%error, "a call could not be carried out");
            Reply::unavailable(format!("the participant's database: {error}"), Some(1))
        }
        Failed::Indefinite(reply) => reply.clone(),
    }
}

/// Why a transaction was rolled back.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("a call was answered {}", .0.status)]
    Indefinite(Reply),
}

/// Runs calls in one transaction behind the barrier and commits.
async fn transact(connection: &mut SqliteConnection, batch: &[&Waiting]) -> Result<Vec<Reply>, Failed> {
    let mut tx = connection.begin_with("begin immediate").await?;
    let mut replies: Vec<Option<Reply>> = vec![None; batch.len()];
    let (questions, calls): (Vec<usize>, Vec<usize>) =
        (0..batch.len()).partition(|i| batch[*i].call.caller.op == CallOp::Status);
    let asked: Vec<&Call> = questions.iter().map(|i| &batch[*i].call).collect();
    for (i, reply) in questions.iter().zip(barrier::status(&mut tx, &asked).await?) {
        replies[*i] = Some(reply);
    }
    let entering: Vec<&Call> = calls.iter().map(|i| &batch[*i].call).collect();
    let entered = barrier::enter(&mut tx, &entering, now_ms()).await?;
    let mut first: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, entered) in calls.iter().zip(entered) {
        match entered {
            barrier::Entered::Answer(reply) => replies[*i] = Some(reply),
            barrier::Entered::First => {
                let body = Arc::as_ptr(&batch[*i].body).cast::<()>() as usize;
                first.entry(body).or_default().push(*i);
            }
        }
    }
    for together in first.values() {
        perform(&mut tx, batch, together, &mut replies).await?;
    }
    tx.commit().await?;
    Ok(replies.into_iter().map(|reply| reply.expect("every call is answered")).collect())
}

/// Carries out the calls of one body and keeps their answers.
async fn perform(
    tx: &mut SqliteConnection,
    batch: &[&Waiting],
    together: &[usize],
    replies: &mut [Option<Reply>],
) -> Result<(), Failed> {
    let calls: Vec<&Call> = together.iter().map(|i| &batch[*i].call).collect();
    let given = batch[together[0]].body.perform(&mut Tx::new(tx), &calls).await?;
    assert_eq!(given.len(), calls.len(), "a body replies to each of its calls");
    if let Some(indefinite) = given.iter().find(|reply| !reply.is_definite() && !is_contract(reply)) {
        return Err(Failed::Indefinite(indefinite.clone()));
    }
    let answers: Vec<(&Call, &Reply)> = calls.into_iter().zip(&given).collect();
    barrier::answer(tx, &answers).await?;
    for (i, reply) in together.iter().zip(given) {
        replies[*i] = Some(reply);
    }
    Ok(())
}

/// A contract error is definite as well: the same call will never be right.
fn is_contract(reply: &Reply) -> bool {
    matches!(reply.status, 400 | 413 | 422)
}

async fn alone(connection: &mut SqliteConnection, task: Box<dyn Task>) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin_with("begin immediate").await?;
    task.run(&mut Tx::new(&mut tx)).await?;
    tx.commit().await
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
