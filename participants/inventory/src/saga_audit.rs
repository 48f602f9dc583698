//! What the books say was done for which saga: the inventory's [`SagaAudit`].
//!
//! A page walks along the barrier first. For every step it holds three things against each other: what the caller was
//! answered, what the flows tell, and how the holds stand. Then it walks along flows and holds by themselves, for those
//! that no call accounts for. It reads one snapshot and changes nothing.
//!
//! The effect of a `hold` or `deduct` is `{"order", "lines": [{"sku", "qty"}]}`, of any other operation `{"order"}`, since
//! that is all such a body says. `expires_at` is when the first of the holds that still wait should have been paid.

mod judge;
mod orphans;
mod rows;

use amends_sdk::barrier::{Window, trail_sqlite};
use amends_sdk::saga_audit::{Failure, Place, SagaAudit, walk};
use amends_wire::audit::{Page, Query};
use async_trait::async_trait;
use sqlx::{SqliteConnection, SqlitePool};

/// The audit of an inventory.
pub(crate) struct StockAudit(pub(crate) SqlitePool);

#[async_trait]
impl SagaAudit for StockAudit {
    async fn page(&self, query: &Query) -> Result<Page, Failure> {
        let place = Place::read(query)?;
        let mut snapshot = self.0.begin().await?;
        let page = match place {
            Place::Barrier(after) => {
                let window = Window { since: query.since, after, limit: query.limit };
                on_the_barrier(&mut snapshot, &window).await?
            }
            Place::Own { table, after } => {
                walk(&mut snapshot, &orphans::WALKS, query.since, table, after).await?
            }
        };
        snapshot.rollback().await?;
        Ok(page)
    }
}

async fn on_the_barrier(snapshot: &mut SqliteConnection, window: &Window) -> Result<Page, Failure> {
    let trail = trail_sqlite(snapshot, window).await?;
    let books = rows::books_of(snapshot, &trail.steps).await?;
    let mut page = Page::default();
    for step in &trail.steps {
        page.effects.push(judge::judge(step, &books, &mut page.findings));
    }
    let next = match trail.next {
        Some(after) => Place::Barrier(Some(after)),
        None => Place::Own { table: 0, after: None },
    };
    Ok(Page { next: next.cursor(), ..page })
}

#[cfg(test)]
mod tests;
