//! What of a cart could be had now: read only, and the early no that comes of it.
//!
//! A quote reads and promises nothing: `quote` as a step of a saga, `POST /stock/quote` for everybody else.
//!
//! A record that is sold out is asked for again and again, above all by the last minutes of a flash sale, and every such
//! call would cost a place in a transaction to be told no. Therefore this process remembers which records were seen with
//! too little for a cart, and with how much ([`SoldOut`]). A cart that wants more of such a record is looked at by reading, and
//! where the books have less than it wants it is refused at once, without a transaction. Memory is a hint and the books
//! decide: where they have enough again the record is forgotten and the call goes its usual way.
//!
//! The early no is given to nobody of whom the barrier knows anything, so that a repeat is answered as the first was; and
//! it is [remembered](refused), so that a repeat of it is refused too, although there may be goods again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use amends_sdk::body::{Reader, does_not_fit};
use amends_sdk::{Body, Call, CallOp, Caller, Reply, Tx};
use amends_wire::problem::Misfit;
use async_trait::async_trait;
use refused::Refused;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, SqlitePool};

use crate::cart::Cart;
use crate::outcome::{Refusal, Shortage};
use crate::record::RecordKey;
use crate::sqlite::index;

pub(crate) mod http;
mod refused;

#[cfg(test)]
mod tests;

/// How long a cart may be looked at before it goes its usual way.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// The most records that are remembered as sold out.
const SOLD_OUT_MAX: usize = 100_000;

/// What of a cart could be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// Each line with what is available of its record; `None` where the record is not kept here.
    pub lines: Vec<Shortage>,
}

impl Quote {
    /// The lines that cannot be had.
    pub fn short(&self) -> Vec<Shortage> {
        let is_short = |line: &&Shortage| line.available.is_none_or(|available| available < line.wanted);
        self.lines.iter().filter(is_short).cloned().collect()
    }

    fn body(&self) -> Value {
        let line = |line: &Shortage| {
            let mut body = line.record.members();
            let available = line.available.unwrap_or(0);
            body.insert("wanted".into(), json!(line.wanted));
            body.insert("available".into(), json!(available));
            body.insert("enough".into(), json!(available >= line.wanted));
            Value::Object(body)
        };
        json!({ "enough": self.short().is_empty(), "lines": self.lines.iter().map(line).collect::<Vec<_>>() })
    }
}

/// Reads a cart that may have no order.
pub(crate) fn read(body: &Value) -> Result<Cart, Vec<Misfit>> {
    let mut body = body.clone();
    if let Some(members) = body.as_object_mut() {
        members.entry("order").or_insert_with(|| json!("quote"));
    }
    Cart::read(&body)
}

/// Quotes carts on what the connection sees.
///
/// # Errors
/// The database's own.
pub async fn quote(connection: &mut SqliteConnection, carts: &[&Cart]) -> Result<Vec<Quote>, sqlx::Error> {
    let records: BTreeSet<&RecordKey> =
        carts.iter().flat_map(|cart| cart.lines()).map(|line| &line.record).collect();
    let records: Vec<&RecordKey> = records.into_iter().collect();
    let rows = sqlx::query(AVAILABLE)
        .bind(Value::from_iter(records.iter().map(|record| index(record))).to_string())
        .fetch_all(connection)
        .await?;
    let mut available: BTreeMap<&RecordKey, i64> = BTreeMap::new();
    for row in &rows {
        let place: i64 = row.try_get(0)?;
        if let Some(record) = usize::try_from(place).ok().and_then(|place| records.get(place)) {
            available.insert(record, row.try_get(1)?);
        }
    }
    let quoted = |cart: &&Cart| Quote {
        lines: cart
            .lines()
            .iter()
            .map(|line| Shortage {
                record: line.record.clone(),
                wanted: line.qty,
                available: available.get(&line.record).copied(),
            })
            .collect(),
    };
    Ok(carts.iter().map(quoted).collect())
}

const AVAILABLE: &str = "
    select wanted.key, max(0, sum(b.usable) - s.safety_stock) from json_each(?1) wanted
    cross join inv_stock s on s.sku_id = wanted.value ->> 0 and s.stock_type = wanted.value ->> 1
        and s.dept_no = wanted.value ->> 2 and s.warehouse_no = wanted.value ->> 3 and s.stock_status = 1
        and s.goods_level = wanted.value ->> 4 and s.activity_id = wanted.value ->> 5 and s.channel = wanted.value ->> 6
    cross join inv_bucket b on b.stock_id = s.stock_id
    group by wanted.key";

/// Quotes as a step of a saga: 409 with what is short, as a hold would say it.
pub(crate) async fn step(readers: SqlitePool, call: Call) -> Reply {
    let cart = match read(&call.body) {
        Ok(cart) => cart,
        Err(misfits) => return Reply::problem(&does_not_fit(&misfits)),
    };
    let quoted = async { quote(&mut *readers.acquire().await?, &[&cart]).await }.await;
    match quoted.map(|quotes| quotes.into_iter().next()) {
        Ok(Some(quote)) => match quote.short() {
            short if short.is_empty() => Reply::done(quote.body()),
            short => refuse(short),
        },
        Ok(None) => Reply::unavailable("the cart was not quoted", Some(1)),
        Err(error) => Reply::unavailable(format!("the inventory's database: {error}"), Some(1)),
    }
}

fn refuse(short: Vec<Shortage>) -> Reply {
    let refusal = Refusal::Short(short);
    Reply::refused(refusal.to_string(), refusal.details())
}

/// Records that were seen with too little for a cart, and how much there was. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct SoldOut(Arc<RwLock<HashMap<RecordKey, i64>>>);

impl SoldOut {
    /// Reads which records have nothing to take.
    pub(crate) async fn read(connection: &mut SqliteConnection) -> Result<SoldOut, sqlx::Error> {
        let rows = sqlx::query(EMPTY)
            .bind(i64::try_from(SOLD_OUT_MAX).unwrap_or(i64::MAX))
            .fetch_all(connection)
            .await?;
        let sold_out = SoldOut::default();
        for row in &rows {
            let record: Value = serde_json::from_str(row.try_get(0)?).unwrap_or_default();
            sold_out.learn(&record, 0);
        }
        Ok(sold_out)
    }

    fn is_empty(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn has_too_little_for(&self, cart: &Cart) -> bool {
        let sold_out = self.0.read().unwrap_or_else(PoisonError::into_inner);
        cart.lines().iter().any(|line| sold_out.get(&line.record).is_some_and(|left| *left < line.qty))
    }

    /// Remembers the record that a line names, with so many left.
    fn learn(&self, line: &Value, left: i64) {
        let Some(record) = RecordKey::read(&mut Reader::default(), line, "") else { return };
        let mut sold_out = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if sold_out.len() < SOLD_OUT_MAX || sold_out.contains_key(&record) {
            sold_out.insert(record, left);
        }
    }

    /// Forgets records of which a quote has found enough, and remembers how much it has found of the others.
    fn correct(&self, quote: &Quote) {
        let mut sold_out = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for line in &quote.lines {
            match line.available {
                Some(left) if left >= line.wanted => drop(sold_out.remove(&line.record)),
                left => {
                    if let Some(known) = sold_out.get_mut(&line.record) {
                        *known = left.unwrap_or(0);
                    }
                }
            }
        }
    }
}

const EMPTY: &str = "
    select json_object('sku', s.sku_id, 'dept', s.dept_no, 'warehouse', s.warehouse_no, 'level', s.goods_level,
        'channel', s.channel, 'activity', s.activity_id)
    from inv_bucket b cross join inv_stock s on s.stock_id = b.stock_id
    where b.bucket_no = 0 and b.usable <= s.safety_stock and s.stock_status = 1 limit ?1";

/// The operations on carts, with the early no in front of them.
pub(crate) struct Glancing {
    pub(crate) carts: Arc<dyn Body>,
    sold_out: SoldOut,
    readers: SqlitePool,
    refused: Refused,
}

impl Glancing {
    pub(crate) fn new(carts: Arc<dyn Body>, sold_out: SoldOut, readers: SqlitePool) -> Glancing {
        Glancing { carts, sold_out, readers, refused: Refused::default() }
    }

    /// The early no that a call's step was given before.
    fn repeat(&self, call: &Call) -> Option<Reply> {
        takes(call).then(|| self.refused.find(&call.caller, Instant::now())).flatten()
    }

    /// The calls that may be refused early, with their carts.
    fn candidates(&self, calls: &[Call]) -> Vec<(usize, Cart)> {
        if self.sold_out.is_empty() {
            return Vec::new();
        }
        let candidate = |(place, call): (usize, &Call)| {
            let is_first = call.caller.attempt == 1 && call.caller.round == 0;
            if !is_first || !takes(call) {
                return None;
            }
            let cart = Cart::read(&call.body).ok()?;
            self.sold_out.has_too_little_for(&cart).then_some((place, cart))
        };
        calls.iter().enumerate().filter_map(candidate).collect()
    }

    async fn look(&self, calls: &[Call]) -> Result<Vec<(usize, Reply)>, sqlx::Error> {
        let candidates = self.candidates(calls);
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let looking = self.refused.look(candidates.iter().map(|(place, _)| &calls[*place].caller));
        let mut snapshot = self.readers.begin().await?;
        let carts: Vec<&Cart> = candidates.iter().map(|(_, cart)| cart).collect();
        let quotes = quote(&mut snapshot, &carts).await?;
        let steps = candidates.iter().map(|(place, _)| {
            let caller = &calls[*place].caller;
            json!([caller.saga, caller.step])
        });
        let known: Vec<i64> = sqlx::query_scalar(KNOWN)
            .bind(Value::from_iter(steps).to_string())
            .fetch_all(&mut *snapshot)
            .await?;
        snapshot.rollback().await?;
        let (mut replies, now) = (Vec::new(), Instant::now());
        for (number, ((place, _), quote)) in (0..).zip(candidates.iter().zip(&quotes)) {
            let short = quote.short();
            if !short.is_empty() && !known.contains(&number) {
                let reply = refuse(short);
                if looking.refuse(&calls[*place].caller, &reply, now) {
                    replies.push((*place, reply));
                }
            }
            self.sold_out.correct(quote);
        }
        Ok(replies)
    }
}

/// Whether a call takes a cart out of stock.
fn takes(call: &Call) -> bool {
    call.caller.op == CallOp::Action && ["hold", "deduct"].contains(&call.operation.as_str())
}

/// Which of these steps the barrier has met.
const KNOWN: &str = "
    select distinct wanted.key from json_each(?1) wanted
    cross join saga_barrier b on b.saga_id = unhex(wanted.value ->> 0, '-') and b.step = wanted.value ->> 1";

#[async_trait]
impl Body for Glancing {
    async fn perform(&self, tx: &mut Tx<'_>, calls: &[&Call]) -> Result<Vec<Reply>, sqlx::Error> {
        // A copy of the same call may have been given an early no while this one waited for its transaction.
        let (places, callers): (Vec<usize>, Vec<&Caller>) = (0..)
            .zip(calls)
            .filter(|(_, call)| takes(call))
            .map(|(place, call)| (place, &call.caller))
            .unzip();
        let met = places.into_iter().zip(self.refused.meet(&callers, Instant::now()));
        let mut early: BTreeMap<usize, Reply> =
            met.filter_map(|(place, reply)| Some((place, reply?))).collect();
        let others = calls.iter().enumerate().filter(|(place, _)| !early.contains_key(place));
        let others: Vec<&Call> = others.map(|(_, call)| *call).collect();
        let mut performed = self.carts.perform(tx, &others).await?.into_iter();
        let reply = |place| early.remove(&place).or_else(|| performed.next());
        let replies: Vec<Reply> = (0..calls.len()).filter_map(reply).collect();
        let refused = calls.iter().zip(&replies).filter(|(call, reply)| {
            reply.status == 409 && ["hold", "deduct"].contains(&call.operation.as_str())
        });
        for (_, reply) in refused {
            let lines = reply.body["lines"].as_array().into_iter().flatten();
            for line in lines.filter(|line| line.get("unknown").is_none()) {
                let (left, wanted) = (line["available"].as_i64(), line["wanted"].as_i64());
                if let Some(left) = left.filter(|left| wanted.is_some_and(|wanted| *left < wanted)) {
                    self.sold_out.learn(line, left);
                }
            }
        }
        Ok(replies)
    }

    fn prepare(&self, call: &Call) {
        self.carts.prepare(call);
    }

    fn isolates(&self) -> bool {
        self.carts.isolates()
    }

    fn alone(&self, call: &Call) -> bool {
        self.carts.alone(call)
    }

    /// Where the books cannot be read, the writer decides.
    async fn early(&self, calls: &[Call]) -> Vec<(usize, Reply)> {
        let mut replies = match tokio::time::timeout(LOOK_MAX, self.look(calls)).await {
            Ok(Ok(replies)) => replies,
            Ok(Err(error)) => {
                tracing::warn!(%error, "carts could not be looked at before they are written");
                Vec::new()
            }
            // Those who read the books otherwise have taken every connection.
            Err(_) => Vec::new(),
        };
        replies
            .extend(calls.iter().enumerate().filter_map(|(place, call)| Some((place, self.repeat(call)?))));
        replies
    }
}
