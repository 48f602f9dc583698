//! One transaction: the barrier, the bodies, the answers, the commit.

use super::Waiting;
use crate::{
    Call, Reply, Tx,
    barrier::{self, Answer, Entered},
    database::Writing,
    metrics::WriterFigures,
};
use amends_wire::participant::CallOp;
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Why a transaction did not come to its end.
#[derive(Debug)]
pub(super) enum Failed {
    /// It could not begin, or not commit: what became of it is not known.
    Around(sqlx::Error),
    /// Something within it failed; it was rolled back.
    Inside(sqlx::Error),
    /// These calls, by place, were not answered definitely; it was rolled back so that nothing of them stays.
    Indefinite(Vec<(usize, Reply)>),
}

impl Failed {
    pub(super) fn into_error(self) -> sqlx::Error {
        match self {
            Failed::Around(error) | Failed::Inside(error) => error,
            Failed::Indefinite(_) => sqlx::Error::Protocol("calls were not answered definitely".to_owned()),
        }
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Failed {
        Failed::Inside(error)
    }
}

/// Runs calls of different steps behind the barrier and commits; the replies stand in their order.
pub(super) async fn transact(writing: &mut Writing, batch: &[Waiting]) -> Result<Vec<Reply>, Failed> {
    let figures = Arc::clone(&writing.figures);
    let mut open = writing.begin().await.map_err(Failed::Around)?;
    let replies = inside(&mut open.tx(), batch, &figures).await?;
    open.commit().await.map_err(Failed::Around)?;
    Ok(replies)
}

async fn inside(tx: &mut Tx<'_>, batch: &[Waiting], figures: &WriterFigures) -> Result<Vec<Reply>, Failed> {
    let replies = vec![None; batch.len()];
    let mut work = Work { batch, figures, now_ms: now_ms(), replies, keep: Vec::new(), forget: Vec::new() };
    work.answer_questions(tx).await?;
    let first = work.enter(tx).await?;
    for (body, places) in by_body(batch, &first) {
        let given = {
            let calls: Vec<&Call> = places.iter().map(|place| &batch[*place].call).collect();
            let given = batch[body].body.perform(tx, &calls).await?;
            assert_eq!(given.len(), calls.len(), "a body replies to each of its calls");
            given
        };
        work.take(body, places, given)?;
    }
    work.finish(tx).await
}

/// A batch on its way through a transaction.
struct Work<'a> {
    batch: &'a [Waiting],
    figures: &'a WriterFigures,
    now_ms: i64,
    replies: Vec<Option<Reply>>,
    /// Places whose reply is to be kept with their row.
    keep: Vec<usize>,
    /// Places whose row is to be taken back.
    forget: Vec<usize>,
}

impl Work<'_> {
    async fn answer_questions(&mut self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let asks = |place: &usize| self.batch[*place].call.caller.op == CallOp::Status;
        let places: Vec<usize> = (0..self.batch.len()).filter(asks).collect();
        if places.is_empty() {
            return Ok(());
        }
        let calls: Vec<&Call> = places.iter().map(|place| &self.batch[*place].call).collect();
        for (place, reply) in places.iter().zip(barrier::status(tx, &calls).await?) {
            self.replies[*place] = Some(reply);
        }
        Ok(())
    }

    /// Takes the calls through the barrier and returns the places of those whose body is to run.
    async fn enter(&mut self, tx: &mut Tx<'_>) -> Result<Vec<usize>, sqlx::Error> {
        let places: Vec<usize> =
            (0..self.batch.len()).filter(|place| self.replies[*place].is_none()).collect();
        if places.is_empty() {
            return Ok(places);
        }
        let calls: Vec<&Call> = places.iter().map(|place| &self.batch[*place].call).collect();
        let hashes: Vec<_> = places.iter().map(|place| self.batch[*place].hash).collect();
        let entered = barrier::enter_hashed(tx, &calls, &hashes, self.now_ms).await?;
        self.figures.met(&entered);
        let mut first = Vec::with_capacity(places.len());
        for (place, entered) in places.into_iter().zip(entered) {
            match entered {
                Entered::First => first.push(place),
                Entered::Null(reply) => {
                    self.keep.push(place);
                    self.replies[place] = Some(reply);
                }
                Entered::Repeat(reply) | Entered::Late(reply) | Entered::Mismatch(reply) => {
                    self.replies[place] = Some(reply);
                }
            }
        }
        Ok(first)
    }

    /// Sorts the replies of one body into those that are kept and those that are not.
    fn take(&mut self, body: usize, places: Vec<usize>, given: Vec<Reply>) -> Result<(), Failed> {
        let mut indefinite = Vec::new();
        for (place, reply) in places.into_iter().zip(given) {
            let op = self.batch[place].call.caller.op;
            if reply.is_kept(op) {
                self.keep.push(place);
            } else if self.batch[body].body.isolates() || reply.is_refusal() {
                self.forget.push(place);
            } else {
                indefinite.push((place, reply));
                continue;
            }
            self.replies[place] = Some(reply);
        }
        if indefinite.is_empty() { Ok(()) } else { Err(Failed::Indefinite(indefinite)) }
    }

    async fn finish(self, tx: &mut Tx<'_>) -> Result<Vec<Reply>, Failed> {
        let Work { batch, now_ms, replies, keep, forget, .. } = self;
        let replies: Vec<Reply> =
            replies.into_iter().map(|reply| reply.expect("every call is answered")).collect();
        if !keep.is_empty() {
            let answer = |place: &usize| {
                let Waiting { call, hash, .. } = &batch[*place];
                Answer { call, hash: *hash, reply: &replies[*place] }
            };
            let kept: Vec<Answer<'_>> = keep.iter().map(answer).collect();
            barrier::answer_hashed(tx, &kept, now_ms).await?;
        }
        if !forget.is_empty() {
            let forgotten: Vec<&Call> = forget.iter().map(|place| &batch[*place].call).collect();
            barrier::forget(tx, &forgotten).await?;
        }
        Ok(replies)
    }
}

/// Gathers places by their body, each named by its first place, in the order of arrival.
fn by_body(batch: &[Waiting], places: &[usize]) -> Vec<(usize, Vec<usize>)> {
    let mut bodies: Vec<(usize, Vec<usize>)> = Vec::new();
    for place in places {
        let body = &batch[*place].body;
        match bodies.iter_mut().find(|(first, _)| Arc::ptr_eq(&batch[*first].body, body)) {
            Some((_, together)) => together.push(*place),
            None => bodies.push((*place, vec![*place])),
        }
    }
    bodies
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
