//! The laws that no participant can check by itself: orders and the catalogue against stock, and orders against payments.
//!
//! A participant says in its own audit what its tables keep (`keeps`: `orders`, `stock`, `catalogue`, `payments`). Where
//! there are two of which one says something of the other's, its list is read page by page and given to that other
//! (`POST /audit`), which holds it against its books in one query. Nothing is kept here but what looks wrong.
//!
//! It is right while the shop is at work: [`orders`] that have changed a moment ago are left out, an [availability] counts
//! at the flow up to which it knows, and whatever looks wrong is looked at again after a pause, and once more after
//! another, before it is told. What a saga that has not ended accounts for is in motion and not broken.

mod availability;
mod kept;
mod orders;
mod payments;

use super::{
    gather::{Asked, Wanted},
    site::SiteError,
};
use crate::client::{Client, ClientError};
use amends_saga::{SagaId, Status};
use amends_wire::api::SagaView;
use indicatif::ProgressBar;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// What is waited before something that looks wrong is looked at again, each time.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(4)];

/// Orders, or SKUs, that are read at a time; a page of the participants' lists.
const PAGE: usize = 500;

/// Rows that one law shows at most: as many may be more.
const ROWS_MAX: usize = 20;

/// The longest body that is sent, in bytes; participants take a mebibyte.
const BODY_BYTES_MAX: usize = 900_000;

/// Suspicions of one law that are followed; beyond them nothing more is read.
const SUSPICIONS_MAX: usize = 500;

/// What came of one law between two participants.
#[derive(Debug)]
pub(super) struct Compared {
    /// Whose books it was held against.
    pub(super) participant: String,
    /// The law, by the name it has there.
    pub(super) law: &'static str,
    /// How many orders, or SKUs, were compared.
    pub(super) checked: u64,
    /// How many proved nothing, because something of them is under way.
    pub(super) in_motion: u64,
    /// What is wrong.
    pub(super) found: Vec<Found>,
    /// Why not everything was compared.
    pub(super) failed: Option<String>,
}

/// What is wrong with one order or SKU.
#[derive(Debug)]
pub(super) struct Found {
    /// What it is about, in words.
    pub(super) message: String,
    /// What those books say.
    pub(super) row: Value,
}

/// The laws that are checked here, by the names they have at whoever's books are held against.
pub(super) const LAWS: [&str; 4] = [orders::LAW, availability::LAW, payments::LAW, kept::LAW];

/// Why something could not be compared.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("the coordinator: {0}")]
    Coordinator(#[from] ClientError),
}

/// A page of a participant's list.
#[derive(Debug, Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// An audit of one law.
#[derive(Debug, Deserialize)]
struct Answer {
    invariants: Vec<Judged>,
}

#[derive(Debug, Deserialize)]
struct Judged {
    violations: Vec<Value>,
}

/// Holds the participants against each other, as far as those that are there can be.
pub(super) async fn compare(
    client: &Client,
    wanted: &Wanted,
    participants: &[Asked],
    bar: &ProgressBar,
) -> Vec<Compared> {
    let [stock, orders, catalogue, payments] =
        ["stock", "orders", "catalogue", "payments"].map(|keeps| only(participants, keeps));
    let mut compared = Vec::new();
    if let (Some(of), Some(stock)) = (orders, stock) {
        let mut comparing = orders::Orders::new(client, wanted, of, stock);
        compared.push(run(&mut comparing, stock, bar).await);
    }
    if let (Some(of), Some(stock)) = (catalogue, stock) {
        let mut comparing = availability::Availability::new(wanted, of);
        compared.push(run(&mut comparing, stock, bar).await);
    }
    if let (Some(of), Some(payments)) = (orders, payments) {
        let mut comparing = payments::Payments::new(client, wanted, of, payments);
        compared.push(run(&mut comparing, payments, bar).await);
        let mut comparing = kept::Kept::new(client, payments);
        compared.push(run(&mut comparing, of, bar).await);
    }
    compared
}

/// The one that keeps something; nobody where several do, since it is not known then which goes with which.
fn only<'a>(participants: &'a [Asked], keeps: &str) -> Option<&'a Asked> {
    let mut all = participants.iter().filter(|one| one.keeps.as_deref() == Some(keeps));
    all.next().filter(|_| all.next().is_none())
}

/// One side of a comparison: a list, and how its members are given to whoever has the books.
trait Side {
    /// What names a member.
    type Key: Clone + Ord;

    /// The law.
    const LAW: &'static str;
    /// The member of the body that holds what is given.
    const LIST: &'static str;
    /// The column of a row that names what it is about.
    const COLUMN: &'static str;

    /// The members after a place in the list, and the next place.
    async fn page(&mut self, after: &str) -> Result<(Vec<Given<Self::Key>>, Option<String>), Error>;

    /// A member as it stands now, with what may account for what looks wrong.
    async fn again(&mut self, key: &Self::Key) -> Result<Standing<Self::Key>, Error>;

    /// What else the law is to know, in a body.
    fn terms(&self) -> Value;

    /// Says what is wrong.
    fn message(&self, row: &Value) -> String;
}

/// A member, as it is given; nothing where it proves nothing now.
struct Given<Key> {
    key: Key,
    given: Option<Value>,
}

/// How a member stands that looked wrong.
enum Standing<Key> {
    /// It is still there to be judged.
    Judge(Given<Key>),
    /// Something of it is under way, so it proves nothing.
    InMotion,
}

/// Compares everything, and looks again at what looks wrong.
async fn run<S: Side>(side: &mut S, books: &Asked, bar: &ProgressBar) -> Compared {
    let mut compared = Compared {
        participant: books.name.clone(),
        law: S::LAW,
        checked: 0,
        in_motion: 0,
        found: Vec::new(),
        failed: None,
    };
    let mut suspicions = BTreeMap::new();
    if let Err(error) = read(side, books, &mut compared, &mut suspicions, bar).await {
        compared.failed = Some(format!("{} could not be checked: {error}", S::LAW));
    }
    for pause in PAUSES {
        if suspicions.is_empty() {
            break;
        }
        bar.set_message(format!("{} look wrong and are looked at again", suspicions.len()));
        tokio::time::sleep(pause).await;
        if let Err(error) = look_again(side, books, &mut compared, &mut suspicions).await {
            // What could not be looked at again is not known to be wrong.
            compared.failed = Some(format!("{} could not be checked again: {error}", S::LAW));
            return compared;
        }
    }
    let told = suspicions.into_values().flatten();
    compared.found = told.map(|row| Found { message: side.message(&row), row }).collect();
    compared
}

/// What looks wrong: the rows of each order or SKU.
type Suspicions<Key> = BTreeMap<Key, Vec<Value>>;

/// Reads the whole list and has it judged, page by page.
async fn read<S: Side>(
    side: &mut S,
    books: &Asked,
    compared: &mut Compared,
    suspicions: &mut Suspicions<S::Key>,
    bar: &ProgressBar,
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let (members, next) = side.page(after.as_deref().unwrap_or_default()).await?;
        let count = members.len();
        let judged: Vec<Given<S::Key>> = members.into_iter().filter(|one| one.given.is_some()).collect();
        compared.checked += judged.len() as u64;
        compared.in_motion += (count - judged.len()) as u64;
        suspicions.extend(judge(side, books, judged).await?);
        bar.set_message(format!("{} {} compared with {}", compared.checked, S::LIST, books.name));
        if suspicions.len() >= SUSPICIONS_MAX || next.is_none() {
            return Ok(());
        }
        after = next;
    }
}

/// Looks again at what looks wrong; what does not any more is forgotten.
async fn look_again<S: Side>(
    side: &mut S,
    books: &Asked,
    compared: &mut Compared,
    suspicions: &mut Suspicions<S::Key>,
) -> Result<(), Error> {
    let mut members = Vec::new();
    for key in suspicions.keys() {
        match side.again(key).await? {
            Standing::Judge(member) => members.push(member),
            Standing::InMotion => {
                compared.checked = compared.checked.saturating_sub(1);
                compared.in_motion += 1;
            }
        }
    }
    members.retain(|one| one.given.is_some());
    *suspicions = judge(side, books, members).await?;
    Ok(())
}

/// Has members judged. A law shows so many rows and no more, so what comes back full is asked again in halves.
async fn judge<S: Side>(
    side: &S,
    books: &Asked,
    members: Vec<Given<S::Key>>,
) -> Result<Suspicions<S::Key>, Error> {
    let mut suspicions: Suspicions<S::Key> = BTreeMap::new();
    let mut todo: Vec<&[Given<S::Key>]> = members.chunks(PAGE).collect();
    while let Some(members) = todo.pop() {
        if members.is_empty() || suspicions.len() >= SUSPICIONS_MAX {
            continue;
        }
        let mut body = side.terms();
        body["laws"] = json!([S::LAW]);
        body[S::LIST] = members.iter().filter_map(|one| one.given.clone()).collect();
        let body = body.to_string();
        let halves = members.split_at(members.len() / 2);
        if body.len() > BODY_BYTES_MAX && members.len() > 1 {
            todo.extend([halves.1, halves.0]);
            continue;
        }
        let answer: Answer = books.site.post("/audit", body).await?;
        let rows: Vec<Value> = answer.invariants.into_iter().flat_map(|law| law.violations).collect();
        if rows.len() >= ROWS_MAX && members.len() > 1 {
            todo.extend([halves.1, halves.0]);
            continue;
        }
        for row in rows {
            let named = members.iter().find(|one| named(&one.given, S::COLUMN) == row[S::COLUMN]);
            if let Some(one) = named {
                suspicions.entry(one.key.clone()).or_default().push(row);
            }
        }
    }
    Ok(suspicions)
}

fn named(given: &Option<Value>, column: &str) -> Value {
    given.as_ref().map(|given| given[column].clone()).unwrap_or_default()
}

/// A list's page at a participant.
async fn page_of<T: DeserializeOwned>(of: &Asked, path: &str, after: &str) -> Result<Page<T>, Error> {
    let limit = PAGE.to_string();
    let mut query = vec![("limit", limit.as_str())];
    if !after.is_empty() {
        query.push(("after", after));
    }
    Ok(of.site.get(path, &query).await?)
}

/// Whether one of these sagas accounts for what looks wrong.
async fn one_accounts_for_it(
    client: &Client,
    sagas: impl IntoIterator<Item = SagaId>,
) -> Result<bool, Error> {
    for saga in sagas {
        match client.saga::<SagaView>(saga, None).await {
            Ok(view) if accounts_for_it(view.status) => return Ok(true),
            // Of a saga that nobody knows the comparison of effects tells.
            Ok(_) => {}
            Err(ClientError::Refused { status, .. }) if status.as_u16() == 404 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// A number as a part of a path.
fn segment(number: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    number.bytes().map(byte).collect()
}

/// Whether a saga accounts for what looks wrong: it has not come to its end, or an operator has decided to leave it so.
fn accounts_for_it(status: Status) -> bool {
    match status {
        Status::Running | Status::Compensating | Status::Repair | Status::Abandoned => true,
        Status::Completed | Status::Compensated => false,
    }
}
