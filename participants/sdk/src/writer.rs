//! The writer: one loop that takes everything that waits and commits it as one transaction.
//!
//! While a transaction is being committed the next calls gather, so load sets the size of a batch and a
//! lone call waits for nobody. On SQLite the loop has a thread of its own: among the tasks it would come to its
//! next statement only after the hundreds of callers whom it has just answered, and meanwhile nothing would be
//! written. No answer is given before the commit. A batch that fails is rolled back and halved until the bad
//! call stands alone, so that it cannot fail its neighbours; when the commit itself fails nobody knows what
//! became of it, so every call is answered 503 and meets the barrier when repeated.

mod each;
mod transact;

pub use each::{Perform, each};

use crate::{Call, Database, Dialect, Error, Reply, Tx, barrier, database::Writing};
use async_trait::async_trait;
use futures::FutureExt;
use std::{
    collections::{HashSet, VecDeque},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use transact::{Failed, transact};
use uuid::Uuid;

/// Calls in one transaction, at most.
const BATCH_MAX: usize = 1024;
/// Calls waiting, at most; one more is told to come back.
const WAITING_MAX: usize = 16_384;
/// How long a guarded call waits for its answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a transaction that lost a race for locks is run again as it is.
const RACES_MAX: u32 = 3;

/// What guarded operations do, inside the writer's transaction.
#[async_trait]
pub trait Body: Send + Sync + 'static {
    /// Carries out calls in their order and returns a reply for each.
    ///
    /// Every call is the first of its kind here, and no two are of the same step of a saga. Nothing of a call
    /// that is refused may stay in the transaction.
    ///
    /// # Errors
    /// The database's own; the writer rolls back and tries the calls in halves, down to one by one.
    async fn perform(&self, tx: &mut Tx<'_>, calls: &[&Call]) -> Result<Vec<Reply>, sqlx::Error>;

    /// Whether a call whose reply is not kept (see [`Reply::is_kept`]) left nothing behind in the transaction.
    ///
    /// Where this is false, the default, the writer rolls back and runs the other calls again without it.
    fn isolates(&self) -> bool {
        false
    }

    /// Does for a call what needs no transaction, in the task of whoever calls, before it waits: above all reading it, see
    /// [`Call::read`].
    fn prepare(&self, _call: &Call) {}

    /// Answers calls that reading alone shows to be refused, each named by its place, before they wait for a transaction.
    ///
    /// The barrier does not keep such an answer: only a definite no may be given, only to the first attempt of an action, and
    /// only where the barrier has no row of its step. The caller takes it that nothing was done, so a copy of the same call
    /// that the network delivers later must be given the same no: whoever answers early remembers for a while what it said.
    async fn early(&self, _calls: &[Call]) -> Vec<(usize, Reply)> {
        Vec::new()
    }

    /// Whether a call is to have a transaction of its own, however many wait. Asked in the task of whoever calls, like
    /// [`Body::prepare`], and after it.
    fn alone(&self, _call: &Call) -> bool {
        false
    }
}

/// Something else to be done by the writer, in a transaction of its own.
#[async_trait]
pub trait Task: Send {
    /// Does it. When it fails, the transaction is rolled back.
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error>;
}

/// The way to the writer's loop; cheap to clone. The loop ends with the last of its writers.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
    database: Database,
}

enum Job {
    Call(Box<Waiting>),
    Task(Box<dyn Task>, oneshot::Sender<Result<(), sqlx::Error>>),
}

/// A call and whoever waits for its answer.
struct Waiting {
    body: Arc<dyn Body>,
    call: Call,
    /// What attempts of the call have in common.
    hash: barrier::Hash,
    /// Whether it is to have a transaction of its own.
    alone: bool,
    /// Whether the next call of the same request comes right behind this one.
    has_next: bool,
    reply: oneshot::Sender<Answered>,
}

/// A call in the queue, or why it is not.
pub(crate) type Queued = Result<oneshot::Receiver<Answered>, Error>;

/// The reply to a call, with the call itself: it is taken apart by whoever called, and not while others wait.
#[derive(Debug)]
pub(crate) struct Answered {
    reply: Reply,
    _call: Call,
}

impl Waiting {
    fn answer(self, reply: Reply) {
        let _ = self.reply.send(Answered { reply, _call: self.call });
    }
}

impl Writer {
    /// Starts a writer on a database whose schema has the barrier's table.
    ///
    /// # Panics
    /// Outside a tokio runtime, and where the system has no thread left.
    pub fn start(database: &Database) -> Writer {
        let (queue, jobs) = mpsc::channel(WAITING_MAX);
        let work = work(database.clone(), jobs);
        match database.dialect() {
            Dialect::Sqlite => {
                let runtime = Handle::current();
                let thread = std::thread::Builder::new().name("amends-writer".to_owned());
                thread.spawn(move || runtime.block_on(work)).expect("a thread for the writer");
            }
            Dialect::Postgres | Dialect::MySql => drop(tokio::spawn(work)),
        }
        Writer { queue, database: database.clone() }
    }

    /// The database it writes.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Whether it is the way to the same task.
    pub(crate) fn is(&self, other: &Writer) -> bool {
        self.queue.same_channel(&other.queue)
    }

    /// How many calls and tasks wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Queues the guarded calls of a request; each answer comes when it is durable.
    ///
    /// They share a transaction where there is room for them.
    pub(crate) fn calls(&self, body: &Arc<dyn Body>, calls: impl IntoIterator<Item = Call>) -> Vec<Queued> {
        let made = calls.into_iter().map(|call| {
            let (reply, answer) = oneshot::channel();
            body.prepare(&call);
            let (hash, alone) = (barrier::fingerprint(&call), body.alone(&call));
            (Box::new(Waiting { body: Arc::clone(body), call, hash, alone, has_next: false, reply }), answer)
        });
        let made: Vec<_> = made.collect();
        let (last, count) = (made.len().saturating_sub(1), made.len());
        match self.queue.try_reserve_many(count) {
            Ok(places) => {
                let queued = places.zip(made).enumerate().map(|(at, (place, (mut one, answer)))| {
                    one.has_next = at < last;
                    place.send(Job::Call(one));
                    Ok(answer)
                });
                queued.collect()
            }
            // Some of them may find room.
            Err(_) => {
                let queued =
                    made.into_iter().map(|(one, answer)| self.queue(Job::Call(one)).map(|()| answer));
                queued.collect()
            }
        }
    }

    /// Carries out a guarded call and gives its answer, which is durable.
    pub(crate) async fn answer(&self, body: Arc<dyn Body>, call: Call) -> Reply {
        let until = tokio::time::Instant::now() + ANSWER_TIMEOUT;
        let queued = self.calls(&body, [call]).pop();
        awaited(queued.expect("a call is queued or told why not"), until).await
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

/// The answer of a queued call, or that there is none yet.
pub(crate) async fn awaited(queued: Queued, until: tokio::time::Instant) -> Reply {
    let answer = match queued {
        Ok(answer) => answer,
        Err(error) => return Reply::unavailable(error.to_string(), Some(1)),
    };
    match tokio::time::timeout_at(until, answer).await {
        Ok(Ok(answered)) => answered.reply,
        Ok(Err(_)) => Reply::unavailable("the participant is stopping", Some(1)),
        Err(_) => Reply::unavailable("the participant's database has not answered for 30 s", Some(1)),
    }
}

async fn work(database: Database, mut jobs: mpsc::Receiver<Job>) {
    let mut taken = Vec::with_capacity(BATCH_MAX);
    let mut later: VecDeque<Waiting> = VecDeque::new();
    let committed = database.writer.lock().await.look_after_log();
    loop {
        if later.is_empty() && jobs.recv_many(&mut taken, BATCH_MAX).await == 0 {
            return;
        }
        let mut waiting: Vec<Waiting> = later.drain(..).collect();
        // Where this is a task, whoever was answered just now runs first: what they call next shares this transaction.
        tokio::task::yield_now().await;
        while taken.len() + waiting.len() < BATCH_MAX {
            let next = match jobs.try_recv() {
                Ok(job) => Some(job),
                // Whoever queues a request does nothing else until all of it is here.
                Err(_) if has_next(taken.last()) => jobs.recv().await,
                Err(_) => None,
            };
            let Some(job) = next else { break };
            taken.push(job);
        }
        let mut tasks = Vec::new();
        for job in taken.drain(..) {
            match job {
                Job::Call(call) => waiting.push(*call),
                Job::Task(task, reply) => tasks.push((task, reply)),
            }
        }
        let mut writing = database.writer.lock().await;
        let batch = distinct(waiting, &mut later);
        let (single, together): (Vec<_>, Vec<_>) = batch.into_iter().partition(|one| one.alone);
        if !together.is_empty() {
            write(&mut writing, together).await;
        }
        for one in single {
            write(&mut writing, vec![one]).await;
        }
        for (task, reply) in tasks {
            let _ = reply.send(alone(&mut writing, task).await);
        }
        if let Some(committed) = &committed {
            // One word is enough, however many commits there were.
            let _ = committed.try_send(());
        }
    }
}

/// Whether a call of the same request comes right behind this job.
fn has_next(job: Option<&Job>) -> bool {
    matches!(job, Some(Job::Call(one)) if one.has_next)
}

/// Leaves one call of each saga's step in the batch; the others meet its row in the next one.
///
/// A call that nobody waits for any more is dropped: its caller asks again and is answered then.
fn distinct(waiting: Vec<Waiting>, later: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut seen: HashSet<(Uuid, &str)> = HashSet::with_capacity(waiting.len());
    let first: Vec<bool> =
        waiting.iter().map(|one| seen.insert((one.call.caller.saga, &one.call.caller.step))).collect();
    drop(seen);
    let mut batch = Vec::with_capacity(waiting.len());
    for (one, first) in waiting.into_iter().zip(first) {
        match first {
            _ if one.reply.is_closed() => {}
            true => batch.push(one),
            false => later.push_back(one),
        }
    }
    batch
}

/// Runs a batch; where it fails, halves it until the bad call stands alone.
async fn write(writing: &mut Writing, batch: Vec<Waiting>) {
    let mut todo = vec![batch];
    while let Some(mut batch) = todo.pop() {
        match guarded(writing, async |writing| patiently(writing, &batch).await).await {
            Ok(replies) => {
                writing.figures.committed(batch.len());
                // A task wakes them, since the next transaction need not wait until hundreds have been woken.
                tokio::spawn(async move {
                    batch.into_iter().zip(replies).for_each(|(one, reply)| one.answer(reply));
                });
            }
            Err(Failed::Indefinite(offenders)) => {
                // From the back, so that the places before stay right.
                for (place, reply) in offenders.into_iter().rev() {
                    batch.remove(place).answer(reply);
                }
                todo.extend((!batch.is_empty()).then_some(batch));
            }
            Err(Failed::Inside(error)) if batch.len() > 1 && !is_broken(&error) => {
                tracing::warn!(%error, calls = batch.len(), "a batch failed; its halves are run on their own");
                writing.figures.halved();
                let second = batch.split_off(batch.len() / 2);
                todo.extend([second, batch]);
            }
            Err(Failed::Inside(error) | Failed::Around(error)) => {
                tracing::error!(%error, calls = batch.len(), "calls could not be carried out");
                writing.figures.failed(batch.len());
                for one in batch {
                    one.answer(unavailable(&error));
                }
            }
        }
    }
}

/// Runs a batch, and again where it lost a race for locks.
async fn patiently(writing: &mut Writing, batch: &[Waiting]) -> Result<Vec<Reply>, Failed> {
    let mut races = 0;
    loop {
        match transact(writing, batch).await {
            Err(Failed::Inside(error)) if races < RACES_MAX && is_race(&error) => {
                races += 1;
                tracing::debug!(%error, races, "a transaction lost a race for locks and is run again");
                tokio::time::sleep(Duration::from_millis(5 << races)).await;
            }
            done => return done,
        }
    }
}

async fn alone(writing: &mut Writing, task: Box<dyn Task>) -> Result<(), sqlx::Error> {
    let done = guarded(writing, async |writing| {
        let mut open = writing.begin().await.map_err(Failed::Around)?;
        task.run(&mut open.tx()).await?;
        open.commit().await.map_err(Failed::Around)
    });
    done.await.map_err(Failed::into_error)
}

/// Runs a transaction; a panic fails it, and a failure that may have left the connection within one costs the connection.
async fn guarded<T>(
    writing: &mut Writing,
    work: impl AsyncFnOnce(&mut Writing) -> Result<T, Failed>,
) -> Result<T, Failed> {
    let done = AssertUnwindSafe(work(writing)).catch_unwind().await;
    let done = done.unwrap_or_else(|panic| Err(Failed::Inside(panicked(&*panic))));
    let in_doubt = match &done {
        Ok(_) | Err(Failed::Indefinite(_)) => false,
        Err(Failed::Inside(error)) => is_broken(error),
        Err(Failed::Around(_)) => true,
    };
    if in_doubt {
        writing.distrust();
    }
    done
}

fn unavailable(error: &sqlx::Error) -> Reply {
    let said: String = error.to_string().chars().take(200).collect();
    Reply::unavailable(format!("the participant's database: {said}"), Some(1))
}

/// Makes an error of a panic, which is a fault of a body: its call fails, the writer lives on.
fn panicked(panic: &(dyn std::any::Any + Send)) -> sqlx::Error {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let said = format!("the operation panicked: {}", text.unwrap_or("without a word"));
    tracing::error!("{said}");
    sqlx::Error::Protocol(said)
}

/// Whether the connection is of no use any more, so that no other call would do better on it.
fn is_broken(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed
    ) || code(error).is_some_and(|code| ["57P01", "57P02", "57P03", "1927", "1053"].contains(&code.as_str()))
        || ends_transaction(error)
}

/// Whether SQLite has ended the whole transaction with the statement: no memory, a disk that fails or is full. Whoever rolls
/// it back then is told that there is none, and could never begin another on the same connection.
fn ends_transaction(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    let is_sqlite = error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some();
    // Of an extended code the lowest byte is the code itself.
    let code = error.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
    is_sqlite && code.is_some_and(|code| [7, 10, 13].contains(&code))
}

/// Whether another transaction was in the way: deadlock, lock wait, serialization, busy.
fn is_race(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| {
        ["40001", "40P01", "55P03", "1213", "1205", "1020", "5", "6", "517"].contains(&code.as_str())
    })
}

/// The database's own code; MySQL's is its number, since several faults share an SQLSTATE.
fn code(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?;
    match error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        Some(mysql) => Some(mysql.number().to_string()),
        None => error.code().map(std::borrow::Cow::into_owned),
    }
}

#[cfg(test)]
mod tests;
