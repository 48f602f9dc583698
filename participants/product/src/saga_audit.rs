//! What the catalogue has to say to an audit of sagas: nothing was done for any saga, since quotes only read.
//!
//! What breaks a law of the catalogue is told, one finding for each row, under the name of the law: orders are priced by
//! these rows.

use amends_sdk::saga_audit::{Failure, SagaAudit};
use amends_wire::audit::{Page, Query, Reported};
use async_trait::async_trait;
use sqlx::SqlitePool;

use crate::audit::audit;

/// The audit of a catalogue.
pub(crate) struct CatalogueAudit(pub(crate) SqlitePool);

#[async_trait]
impl SagaAudit for CatalogueAudit {
    async fn page(&self, query: &Query) -> Result<Page, Failure> {
        if query.cursor.is_some() {
            return Err(Failure::Cursor);
        }
        let mut snapshot = self.0.begin().await?;
        let found = audit(&mut snapshot).await.map_err(sqlx::Error::from)?;
        snapshot.rollback().await?;
        let broken = found.invariants.into_iter().flat_map(|law| {
            law.violations.into_iter().map(move |row| Reported {
                name: law.name.to_owned(),
                saga: None,
                step: None,
                message: format!("this is not so: {}", law.law),
                detail: Some(row),
            })
        });
        Ok(Page { effects: Vec::new(), findings: broken.collect(), next: None })
    }
}
