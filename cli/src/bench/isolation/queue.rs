//! How long the repair queue takes to answer while it is full.

use super::{
    fleet::{Fleet, PARKED, STUCK},
    phase::median,
};
use crate::client::Client;
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::time::Instant;

/// How often each question is asked; as many pages are followed.
const TIMES: usize = 20;

/// Who looks after one of the items.
const ASSIGNEE: &str = "ann";

/// How long the answers to one kind of question took.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Look {
    pub(super) what: String,
    /// How often it was asked.
    pub(super) times: usize,
    /// Items in the last answer; none where it is no list.
    pub(super) items: Option<usize>,
    pub(super) median_ms: f64,
    pub(super) slowest_ms: f64,
}

/// Asks every kind of question, each several times, one after the other.
pub(super) async fn look(fleet: &Fleet) -> anyhow::Result<Vec<Look>> {
    let client = &fleet.client;
    let page: Value = client.get("/v1/repairs", &[("limit", "1".to_owned())]).await?;
    let item = page["items"].get(0).context("the queue is empty")?;
    let text = |member: &str| item[member].as_str().unwrap_or_default().to_owned();
    let (id, saga) = (text("id"), text("saga"));
    let body = json!({ "assignee": ASSIGNEE, "by": "bench" });
    client.post::<Value>(&format!("/v1/repairs/{id}/assign"), &body).await?;
    let mut looks = Vec::new();
    let mut middle = text("opened_at");
    for limit in [50, 500] {
        looks.push(repeat(client, &format!("first page of {limit}"), &format!("?limit={limit}")).await?);
        let (paged, reached) = follow(client, limit).await?;
        looks.push(paged);
        middle = reached.unwrap_or(middle);
    }
    for (what, query) in questions(&saga, &middle) {
        looks.push(repeat(client, &what, &query).await?);
    }
    looks.push(repeat(client, "one item", &format!("/{id}")).await?);
    looks.push(repeat(client, "summary", "/summary").await?);
    Ok(looks)
}

/// What is asked of the list, with the words for it. Some of it fits every item and some fits none, so that a filter
/// which looks at every row is found out.
fn questions(saga: &str, middle: &str) -> Vec<(String, String)> {
    // A time is written with a `+` or a `Z`; only the former would be read as a space.
    let middle = middle.replace('+', "%2B");
    let filters = [
        format!("participant={STUCK}"),
        "participant=p7".to_owned(),
        "step=first".to_owned(),
        format!("definition={PARKED}"),
        format!("assignee={ASSIGNEE}"),
        "assignee=nobody".to_owned(),
        format!("saga={saga}"),
        "reason=refused".to_owned(),
        "reason=exhausted".to_owned(),
        "status=assigned".to_owned(),
        "kind=anomaly".to_owned(),
        format!("opened_before={middle}"),
        format!("opened_after={middle}"),
        format!("participant={STUCK}&step=first&definition={PARKED}&reason=refused&opened_after={middle}"),
    ];
    let words = |filter: &str| match filter.contains('&') {
        true => "all of these but saga and assignee".to_owned(),
        false if filter.contains(saga) => "saga".to_owned(),
        false if filter.starts_with("opened") => filter.split('=').next().unwrap_or_default().to_owned(),
        false => filter.to_owned(),
    };
    filters.iter().map(|filter| (words(filter), format!("?{filter}"))).collect()
}

/// Asks the same several times.
async fn repeat(client: &Client, what: &str, query: &str) -> anyhow::Result<Look> {
    let (mut times, mut items) = (Vec::with_capacity(TIMES), None);
    for _ in 0..TIMES {
        let (took, answer) = ask(client, query).await?;
        times.push(took);
        items = answer["items"].as_array().filter(|_| query.starts_with('?')).map(Vec::len);
    }
    Ok(summed(what.to_owned(), times, items))
}

/// Follows the list page by page; also says when the last item was opened that it came to.
async fn follow(client: &Client, limit: usize) -> anyhow::Result<(Look, Option<String>)> {
    let (mut times, mut seen, mut reached) = (Vec::new(), std::collections::BTreeSet::new(), None);
    let mut query = format!("?limit={limit}");
    for _ in 0..TIMES {
        let (took, page) = ask(client, &query).await?;
        times.push(took);
        let items = page["items"].as_array().context("a page without items")?;
        for item in items {
            if !seen.insert(item["id"].as_str().unwrap_or_default().to_owned()) {
                bail!("item {} stands on two pages", item["id"]);
            }
        }
        reached = items.last().and_then(|item| item["opened_at"].as_str()).map(str::to_owned);
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit={limit}&cursor={next}");
    }
    Ok((summed(format!("{} pages of {limit} by cursor", times.len()), times, Some(seen.len())), reached))
}

/// Asks once; the time is until the whole answer is here.
async fn ask(client: &Client, query: &str) -> anyhow::Result<(f64, Value)> {
    let begun = Instant::now();
    let text = client.text(&format!("/v1/repairs{query}")).await?;
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    Ok((took, serde_json::from_str(&text).context("the queue answered something that is no JSON")?))
}

fn summed(what: String, times: Vec<f64>, items: Option<usize>) -> Look {
    let slowest_ms = times.iter().copied().fold(0.0, f64::max);
    Look { what, times: times.len(), items, median_ms: median(times), slowest_ms }
}
