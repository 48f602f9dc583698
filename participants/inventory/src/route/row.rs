//! The row route: one cart, one transaction, conditional updates.
//!
//! Whether there is enough, and whether the route is still the one the call was decided under, is decided by each update
//! itself: `usable - qty >= safety_stock` and the epoch stand in its condition. The records are met in the one global order. After an
//! update that found nothing, everything is rolled back to where the call began: on PostgreSQL and MySQL an update that
//! waited and then found nothing keeps its lock, so trying another row in the same transaction would deadlock.

use std::sync::Arc;

use sqlx::{Executor, Row, SqliteConnection};

use super::{Fence, Mode, Pin};
use crate::activity::share;
use crate::balance::Balance;
use crate::books::Error;
use crate::cart::{Cart, Line};
use crate::hold::{BucketKey, Cause};
use crate::ledger::{Deed, Ledger, Record};
use crate::outcome::{Done, Refusal};
use crate::safety;
use crate::sqlite::{self, Scope};

/// What became of a call on the row route.
pub(crate) enum Taken {
    /// It was decided.
    Decided(Result<Done, Refusal>),
    /// The route has changed since the call was sent this way; nothing was done.
    Moved,
}

/// The time of a call, and how long what it holds is held; both in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) now: i64,
    pub(crate) hold_for: i64,
}

const TAKE: &str = "
    update inv_bucket set usable = usable - ?1, held = held + ?1, version = version + 1
    where stock_id = ?2 and bucket_no = 0
        and usable - ?1 >= (select s.safety_stock from inv_stock s where s.stock_id = ?2 and s.epoch = ?3)
    returning usable, held, shipped";

#[cfg(test)]
const TAKE_UNFENCED: &str = "
    update inv_bucket set usable = usable - ?1, held = held + ?1, version = version + 1
    where stock_id = ?2 and bucket_no = 0
        and usable - ?1 >= (select s.safety_stock from inv_stock s where s.stock_id = ?2 and ?3 > 0)
    returning usable, held, shipped";

impl Fence {
    fn statement(self) -> &'static str {
        match self {
            Fence::Kept => TAKE,
            #[cfg(test)]
            Fence::Forgotten => TAKE_UNFENCED,
        }
    }
}

/// Takes a cart: a hold or a deduction whose lines have these pins.
///
/// # Errors
/// When any of it cannot be written: the transaction must be rolled back.
pub(crate) async fn take(
    connection: &mut SqliteConnection,
    call: (&Deed, &Arc<Cause>),
    pins: &[Option<Pin>],
    fence: Fence,
    clock: Clock,
) -> Result<Taken, Error> {
    let (deed, cause) = call;
    let (Deed::Hold(cart) | Deed::Deduct(cart)) = deed else { return Ok(Taken::Moved) };
    let mut ledger = load(connection, cart, pins, clock).await?;
    load_shares(connection, &mut ledger, call, clock).await?;
    connection.execute("savepoint row_route").await.map_err(sqlite::Error::from)?;
    let taken = take_lines(connection, &mut ledger, cart, pins, fence).await?;
    let answer = if taken { ledger.decide(deed, cause)? } else { Err(Refusal::Short(Vec::new())) };
    if answer.is_ok() {
        let mut changes = ledger.into_changes();
        // The counters were moved by the updates that decided.
        changes.buckets.clear();
        sqlite::write(connection, &changes, clock.now).await?;
        connection.execute("release savepoint row_route").await.map_err(sqlite::Error::from)?;
        return Ok(Taken::Decided(answer));
    }
    connection.execute("rollback to savepoint row_route").await.map_err(sqlite::Error::from)?;
    connection.execute("release savepoint row_route").await.map_err(sqlite::Error::from)?;
    refuse(connection, call, pins, clock).await
}

/// Loads the order's holds, and those records of the cart that have no pin.
async fn load(
    connection: &mut SqliteConnection,
    cart: &Cart,
    pins: &[Option<Pin>],
    clock: Clock,
) -> Result<Ledger, Error> {
    let mut scope = Scope::default();
    scope.orders.insert(cart.order().clone());
    let unpinned = cart.lines().iter().zip(pins).filter(|(_, pin)| pin.is_none());
    scope.records.extend(unpinned.map(|(line, _)| line.record.clone()));
    Ok(sqlite::load(connection, &scope, clock.now, clock.hold_for).await?)
}

async fn load_shares(
    connection: &mut SqliteConnection,
    ledger: &mut Ledger,
    (deed, cause): (&Deed, &Arc<Cause>),
    clock: Clock,
) -> Result<(), Error> {
    let cart = share::taken(deed, cause).into_iter();
    Ok(share::load(connection, ledger, cart, clock.now).await.map_err(sqlite::Error::from)?)
}

/// Moves the counters of every line; `false` if one did not move.
///
/// The ledger is given each bucket as it was before, so that it writes the same holds and flows as on the other route.
async fn take_lines(
    connection: &mut SqliteConnection,
    ledger: &mut Ledger,
    cart: &Cart,
    pins: &[Option<Pin>],
    fence: Fence,
) -> Result<bool, Error> {
    for (Line { record, qty }, pin) in cart.lines().iter().zip(pins) {
        let at = match (pin, ledger.record(record)) {
            (Some(Pin { stock_id, epoch }), _) => {
                Record { stock_id: *stock_id, epoch: *epoch, mode: Mode::Row }
            }
            (None, Some(loaded)) => loaded,
            (None, None) => return Ok(false),
        };
        let update = sqlx::query(fence.statement()).bind(qty).bind(at.stock_id).bind(at.epoch);
        let Some(row) = update.fetch_optional(&mut *connection).await.map_err(sqlite::Error::from)? else {
            return Ok(false);
        };
        let column = |name| row.try_get::<i64, _>(name).map_err(sqlite::Error::from);
        let before = Balance {
            usable: column("usable")? + qty,
            held: column("held")? - qty,
            shipped: column("shipped")?,
        };
        ledger.load_record(record.clone(), at);
        ledger.load_bucket(BucketKey { stock_id: at.stock_id, bucket_no: 0 }, record.sku, before, 0);
    }
    Ok(true)
}

/// Says why a cart could not be taken: the route has changed, or there is a reason that the books give.
async fn refuse(
    connection: &mut SqliteConnection,
    (deed, cause): (&Deed, &Arc<Cause>),
    pins: &[Option<Pin>],
    clock: Clock,
) -> Result<Taken, Error> {
    let mut scope = Scope::default();
    scope.add(deed);
    let mut ledger = sqlite::load(connection, &scope, clock.now, clock.hold_for).await?;
    safety::load(connection, &mut ledger).await.map_err(sqlite::Error::from)?;
    load_shares(connection, &mut ledger, (deed, cause), clock).await?;
    let (Deed::Hold(cart) | Deed::Deduct(cart)) = deed else { return Ok(Taken::Moved) };
    let mut lines = cart.lines().iter().zip(pins);
    let holds =
        |line: &Line, pin: &Pin| ledger.record(&line.record).is_some_and(|record| record.epoch == pin.epoch);
    if !lines.all(|(line, pin)| pin.is_none_or(|pin| holds(line, &pin))) {
        return Ok(Taken::Moved);
    }
    match ledger.decide(deed, cause)? {
        Err(refusal) => Ok(Taken::Decided(Err(refusal))),
        // What was short a moment ago no longer is.
        Ok(_) => Ok(Taken::Moved),
    }
}
