//! Performs a batch of calls that the barrier has let through: load, decide each in the order of arrival, write. This is
//! the merged route.

use std::sync::Arc;

use sqlx::SqliteConnection;

use crate::activity::share;
use crate::cart::OrderNo;
use crate::hold::Cause;
use crate::ledger::{Broken, Deed};
use crate::outcome::{Done, Refusal};
use crate::route::Routes;
use crate::safety;
use crate::short;
use crate::sqlite::{self, Scope};

/// Why a batch could not be performed; nothing of it may be committed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The books could not be read or written.
    #[error(transparent)]
    Books(#[from] sqlite::Error),
    /// The books contradict themselves.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Performs the calls at a time, in unix milliseconds, within a transaction that somebody else commits.
///
/// What `tell` makes of the answers stands in the order of the calls; it is made while the database writes. A refusal
/// changes nothing and is no error.
///
/// # Errors
/// When any of it cannot be written: the transaction must be rolled back, and the calls may be tried one by one.
pub(crate) async fn perform<T>(
    connection: &mut SqliteConnection,
    calls: &[(Deed, Arc<Cause>)],
    now: i64,
    hold_for: i64,
    routes: &Routes,
    tell: impl Fn(Result<Done, Refusal>) -> T,
) -> Result<Vec<T>, Error> {
    let mut scope = Scope::default();
    calls.iter().for_each(|(deed, _)| scope.add(deed));
    let mut ledger = sqlite::load(connection, &scope, now, hold_for).await?;
    if calls.iter().any(|(deed, _)| matches!(deed, Deed::Hold(_) | Deed::Deduct(_))) {
        safety::load(connection, &mut ledger).await.map_err(sqlite::Error::from)?;
        let carts = calls.iter().filter_map(|(deed, cause)| share::taken(deed, cause));
        share::load(connection, &mut ledger, carts, now).await.map_err(sqlite::Error::from)?;
    }
    // What goes by another route is taken here while this process does not know yet; from now on it does.
    ledger.elsewhere().for_each(|(key, record)| routes.learn(key, record));
    let answers =
        calls.iter().map(|(deed, cause)| ledger.decide(deed, cause)).collect::<Result<Vec<_>, _>>()?;
    let freed = calls.iter().zip(&answers).filter_map(freed);
    let given_back: Vec<&OrderNo> = freed.filter(|order| !ledger.has_open(order)).collect();
    let changes = ledger.into_changes();
    let telling = async { answers.into_iter().map(tell).collect() };
    let (written, told) = futures::join!(sqlite::write(connection, &changes, now), telling);
    written?;
    short::given_back(connection, &given_back, now).await.map_err(sqlite::Error::from)?;
    Ok(told)
}

/// The order that a call has freed stock of, or would have if there had been any.
fn freed<'a>(((deed, _), answer): (&'a (Deed, Arc<Cause>), &Result<Done, Refusal>)) -> Option<&'a OrderNo> {
    match (deed, answer) {
        (
            Deed::Release(order) | Deed::ReleaseHeld(order) | Deed::Restore(order) | Deed::Undo(order, _),
            Ok(_),
        ) => Some(order),
        _ => None,
    }
}
