//! Loads what sagas may take of activities. A batch without a line of an activity asks nothing.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::{Activity, open_at};
use crate::cart::Cart;
use crate::hold::Cause;
use crate::ledger::{self, Deed, Ledger, Share};

/// The share that a saga took, less what it has taken and not given back.
const SHARES: &str = "
    select wanted.key as place, a.*,
        (select coalesce(sum(m.delta), 0) from inv_quota_move m
         where m.saga = wanted.value ->> 0 and m.activity_id = wanted.value ->> 1)
        - (select coalesce(sum(case when f.op in (2, 3) then f.qty else -f.qty end), 0)
           from inv_flow f cross join inv_stock s on s.stock_id = f.stock_id
           where f.saga = wanted.value ->> 0 and f.op in (2, 3, 5, 6, 9) and s.activity_id = wanted.value ->> 1)
        as still
    from json_each(?1) wanted left join inv_activity a on a.activity_id = wanted.value ->> 1";

/// Tells the ledger what the sagas of these carts may take at a time, in unix milliseconds.
///
/// # Errors
/// The database's own.
pub(crate) async fn load(
    connection: &mut SqliteConnection,
    ledger: &mut Ledger,
    carts: impl Iterator<Item = (&Cart, &Cause)>,
    now: i64,
) -> Result<(), sqlx::Error> {
    let of_cart = |(cart, cause): (&Cart, &Cause)| {
        let saga = cause.saga;
        ledger::wanted(cart).into_keys().map(move |activity| (saga, activity))
    };
    let wanted: BTreeSet<(Uuid, i64)> = carts.flat_map(of_cart).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let wanted: Vec<(Uuid, i64)> = wanted.into_iter().collect();
    let list = Value::from_iter(wanted.iter().map(|(saga, activity)| json!([saga, activity])));
    for row in sqlx::query(SHARES).bind(list.to_string()).fetch_all(connection).await? {
        let place: i64 = row.try_get("place")?;
        let Some((saga, number)) = usize::try_from(place).ok().and_then(|place| wanted.get(place)) else {
            continue;
        };
        let is_known = row.try_get::<Option<i64>, _>("activity_id")?.is_some();
        let activity = if is_known { Some(Activity::of(&row)?) } else { None };
        let closed = open_at(activity, *number, now, true).err().map(|refusal| refusal.to_string());
        ledger.load_share(*saga, *number, Share { left: row.try_get("still")?, closed });
    }
    Ok(())
}

/// The cart that a call takes from stock, with its cause.
pub(crate) fn taken<'a>(deed: &'a Deed, cause: &'a Cause) -> Option<(&'a Cart, &'a Cause)> {
    match deed {
        Deed::Hold(cart) | Deed::Deduct(cart) => Some((cart, cause)),
        _ => None,
    }
}
