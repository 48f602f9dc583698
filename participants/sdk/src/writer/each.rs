//! A body that carries out one call at a time.

use super::Body;
use crate::{Call, Reply, Tx};
use async_trait::async_trait;
use std::{future::Future, pin::Pin, sync::Arc};

/// What a function given to [`each`] returns: `Box::pin(async move { … })`.
pub type Perform<'a> = Pin<Box<dyn Future<Output = Result<Reply, sqlx::Error>> + Send + 'a>>;

/// Makes a body of a function that carries out one call.
///
/// The calls still share a commit, each within a savepoint: what a call wrote stays only when its reply is 2xx.
/// When the function fails, its call is answered 503 and its neighbours are not disturbed. A call costs two
/// more statements than with a [`Body`] that takes many calls at once.
///
/// ```
/// # use amends_sdk::{Reply, each};
/// let body = each(|tx, call| {
///     Box::pin(async move {
///         let points = call.body["points"].as_i64().unwrap_or(0);
///         sqlx::query("update account set points = points + ?").bind(points).execute(tx.sqlite()).await?;
///         Ok(Reply::done(call.body.clone()))
///     })
/// });
/// ```
pub fn each<F>(perform: F) -> Arc<dyn Body>
where
    F: for<'a> Fn(&'a mut Tx<'_>, &'a Call) -> Perform<'a> + Send + Sync + 'static,
{
    Arc::new(Each(perform))
}

struct Each<F>(F);

#[async_trait]
impl<F> Body for Each<F>
where
    F: for<'a> Fn(&'a mut Tx<'_>, &'a Call) -> Perform<'a> + Send + Sync + 'static,
{
    async fn perform(&self, tx: &mut Tx<'_>, calls: &[&Call]) -> Result<Vec<Reply>, sqlx::Error> {
        let mut replies = Vec::with_capacity(calls.len());
        for call in calls {
            tx.execute("savepoint one_call").await?;
            let reply = (self.0)(tx, call).await.unwrap_or_else(|error| {
                tracing::error!(%error, operation = call.operation, "a call could not be carried out");
                super::unavailable(&error)
            });
            if !(200..=299).contains(&reply.status) {
                tx.execute("rollback to savepoint one_call").await?;
            }
            tx.execute("release savepoint one_call").await?;
            replies.push(reply);
        }
        Ok(replies)
    }

    fn isolates(&self) -> bool {
        true
    }
}
